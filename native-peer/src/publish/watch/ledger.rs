//! What is known of a live stream's segments, and which of them its manifest lists.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tabswarm_core::content::{GroupList, ManifestError, SegmentEntry, SegmentKey};

use super::files::Print;

/// A file that a playlist names or named.
pub(super) struct Known {
    /// The playlist, by its place.
    pub(super) track: usize,
    /// Where it lies under the stream's directory.
    pub(super) file: PathBuf,
    /// What it was like when it was taken; `None` for one of an earlier run.
    pub(super) print: Option<Print>,
    /// Its group list; `None` for what is no segment, or too long for one.
    pub(super) list: Option<GroupList>,
    /// It is a segment, not a key or a part of a segment.
    pub(super) is_segment: bool,
    pub(super) duration: Duration,
    /// Which reading of the playlist named it last, and where in that.
    pub(super) order: (u64, usize),
    /// When the playlist named it no longer.
    pub(super) left: Option<Instant>,
}

/// The files of all playlists.
#[derive(Default)]
pub(super) struct Ledger {
    known: BTreeMap<SegmentKey, Known>,
}

impl Ledger {
    pub(super) fn get(&self, key: &SegmentKey) -> Option<&Known> {
        self.known.get(key)
    }

    pub(super) fn insert(&mut self, key: SegmentKey, known: Known) {
        self.known.insert(key, known);
    }

    /// A playlist names a file, in this reading and place.
    pub(super) fn name(&mut self, key: &SegmentKey, order: (u64, usize)) {
        if let Some(known) = self.known.get_mut(key) {
            known.order = order;
            known.left = None;
        }
    }

    /// All other files of a playlist than those that this reading named have left it.
    pub(super) fn leave(&mut self, track: usize, reading: u64, now: Instant) {
        let known = self.known.values_mut().filter(|known| known.track == track && known.order.0 != reading);
        known.for_each(|known| known.left = known.left.or(Some(now)));
    }

    /// Forgets the byte ranges of a file that was begun anew.
    pub(super) fn forget(&mut self, file: &Path) {
        self.known.retain(|key, known| known.file != file || key.range().is_none());
    }

    /// Forgets what left its playlist so long ago; returns the files that nothing is known of any more.
    pub(super) fn expire(&mut self, grace: impl Fn(usize) -> Duration, now: Instant) -> Vec<PathBuf> {
        let expired = |known: &Known| known.left.is_some_and(|left| now >= left + grace(known.track));
        let keys: Vec<_> =
            self.known.iter().filter(|(_, known)| expired(known)).map(|(key, _)| key.clone()).collect();
        let files: Vec<_> =
            keys.iter().filter_map(|key| self.known.remove(key)).map(|known| known.file).collect();
        files.into_iter().filter(|file| !self.known.values().any(|known| known.file == *file)).collect()
    }

    /// The list of a playlist's newest segment, unless that needs none.
    pub(super) fn newest(&self, track: usize) -> Option<&GroupList> {
        let known = self.known.values().filter(|known| known.track == track && known.list.is_some());
        let newest = known.max_by_key(|known| known.order)?;
        newest.list.as_ref().filter(|list| !list.values().is_empty())
    }

    /// The entries of a playlist's newest `window`, and its group lists one after the other.
    pub(super) fn listed(
        &self,
        track: usize,
        window: Duration,
    ) -> Result<(Vec<SegmentEntry>, Vec<u8>), ManifestError> {
        let number = u16::try_from(track).map_err(|_| ManifestError::TooMany { what: "playlists" })?;
        let mut known: Vec<_> = self.known.iter().filter(|(_, known)| known.track == track).collect();
        known.sort_by_key(|(_, known)| std::cmp::Reverse(known.order));
        let mut listed = Duration::ZERO;
        // An init segment lies before all that it serves, and has no duration.
        known.retain(|(_, known)| {
            let fits = known.duration.is_zero() || listed < window;
            listed += known.duration;
            fits
        });
        let mut entries = Vec::with_capacity(known.len());
        let mut lists = Vec::new();
        for (key, known) in known.into_iter().rev() {
            let Some(list) = &known.list else { continue };
            entries.push(SegmentEntry::new(key.clone(), number, list.len(), list.root(), lists.len() as u64));
            lists.extend(list.values().iter().flat_map(|value| *value.as_bytes()));
        }
        Ok((entries, lists))
    }
}
