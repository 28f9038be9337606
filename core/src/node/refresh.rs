//! Live streams: when a manifest is asked for again, and which of two counts.
//!
//! A fetch that the manifest does not list, or that finds it older than a segment is long, has it asked for again: one request
//! at a time, soon after one that brought a newer manifest, and less and less often while they bring nothing new. What the old manifest lists is
//! believed again after a moment, so that nobody who withholds the newer one gets unchecked bytes past it. A playlist may bring the
//! manifest along: then there is no need to ask.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, Phase},
    io::{Event, Output, Roots, Stream},
    roots::ManifestState,
};
use crate::{
    content::{Manifest, SegmentKey},
    id::{SegmentId, StreamId},
    time::Timestamp,
};

/// A newer manifest may take this long before the old one is believed.
const PATIENCE: Duration = Duration::from_millis(400);
/// A request without an answer for so long is made again.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// After a newer manifest, the next is asked for no earlier than this: two playlists may be published one after the other.
const PAUSE: Duration = Duration::from_millis(250);
/// What counts as the length of a segment, whatever the manifest says.
const LEAST_PERIOD: Duration = Duration::from_millis(500);
const LONGEST_PERIOD: Duration = Duration::from_secs(30);
/// The first pause after an answer that brings nothing new, of a segment's length: about as often as a publisher looks for new segments,
/// since a playlist that is written in place runs a moment ahead of its manifest.
const PAUSES: u64 = 16;
/// So often the pause doubles while answers bring nothing new: to eight segments.
const MAX_DOUBLINGS: u32 = 7;

/// The requests for newer manifests of one stream.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// When it was asked for, until there is an answer.
    asked: Option<Timestamp>,
    /// When there was an answer last; `None`: what is there is doubted.
    checked: Option<Timestamp>,
    /// When it may be asked for again.
    next: Timestamp,
    /// Answers in a row that were nothing new.
    fruitless: u32,
    /// When a fetch that waits for it is to be looked at.
    wake: Option<Timestamp>,
    /// A rollback was told.
    rolled_back: bool,
}

impl Refresh {
    /// Takes note of an answer.
    pub(super) fn answered(&mut self, period: Duration, newer: bool, now: Timestamp) {
        self.asked = None;
        self.checked = Some(now);
        if newer {
            self.fruitless = 0;
            self.next = now + PAUSE;
            return;
        }
        let pause_ms = (period.as_millis() as u64 / PAUSES) << self.fruitless;
        self.next = now + Duration::from_millis(pause_ms);
        self.fruitless = (self.fruitless + 1).min(MAX_DOUBLINGS);
    }
}

/// What counts as the length of a live stream's segment; `None` if it is complete.
pub(super) fn period(manifest: &Manifest) -> Option<Duration> {
    manifest.refresh().map(|period| period.clamp(LEAST_PERIOD, LONGEST_PERIOD))
}

/// The publisher's key signs other streams too.
fn is_of_stream(stream: &Stream, manifest: &Manifest) -> bool {
    !matches!(stream.roots, Roots::Signed(_)) || manifest.stream() == stream.name
}

impl Node {
    /// Takes an answer to [`Output::ManifestFetch`], or the first manifest.
    pub(super) fn take_manifest(&mut self, stream: StreamId, manifest: Option<Manifest>, now: Timestamp) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let ManifestState::Loaded(old) = &state.manifest else {
            state.refresh.checked = Some(now);
            state.manifest =
                manifest.map_or(ManifestState::Missing, |manifest| ManifestState::Loaded(Box::new(manifest)));
            self.purge_withdrawn(stream, now);
            return;
        };
        let manifest = manifest.filter(|manifest| is_of_stream(&state.stream, manifest));
        // One that came along with a playlist may have overtaken what was asked for before.
        let overtaken = state.refresh.asked.is_some_and(|asked| Some(asked) <= state.refresh.checked);
        let is_older = manifest.as_ref().is_some_and(|manifest| manifest.created() < old.created());
        let newer = manifest.filter(|manifest| manifest.created() > old.created());
        let period = period(newer.as_ref().unwrap_or(old)).unwrap_or(LONGEST_PERIOD);
        state.refresh.answered(period, newer.is_some(), now);
        let tell = is_older && !overtaken && !std::mem::replace(&mut state.refresh.rolled_back, true);
        if let Some(newer) = newer {
            self.replace_manifest(stream, newer, now);
        }
        if tell {
            self.event(Event::ManifestRolledBack { stream });
        }
    }

    /// Takes a manifest that came along with a playlist. It may be older than the one at hand: a playlist brings the manifest of when it
    /// was written itself, and one of several may be kept by a cache.
    pub(super) fn take_manifest_along(&mut self, stream: StreamId, manifest: Manifest, now: Timestamp) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let ManifestState::Loaded(old) = &state.manifest else {
            return self.take_manifest(stream, Some(manifest), now);
        };
        if !is_of_stream(&state.stream, &manifest) || manifest.created() < old.created() {
            return;
        }
        state.refresh.checked = Some(now);
        if manifest.created() > old.created() {
            self.replace_manifest(stream, manifest, now);
        }
    }

    fn replace_manifest(&mut self, stream: StreamId, newer: Manifest, now: Timestamp) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        state.manifest = ManifestState::Loaded(Box::new(newer));
        self.purge_withdrawn(stream, now);
        self.drop_renamed(stream, now);
    }

    /// Fetches of names that now stand for other bytes start over.
    fn drop_renamed(&mut self, stream: StreamId, now: Timestamp) {
        let Some(ManifestState::Loaded(manifest)) = self.streams.get(&stream).map(|state| &state.manifest)
        else {
            return;
        };
        let renamed = |fetch: &Fetch| {
            let entry = manifest.lookup(&fetch.key).filter(|_| fetch.stream == stream)?;
            Some(entry.root() != fetch.content()?)
        };
        let fetches = self.fetches.values().filter(|fetch| renamed(fetch) == Some(true));
        let segments: Vec<SegmentId> = fetches.map(|fetch| fetch.segment).collect();
        for segment in segments {
            self.with_fetch(segment, |node, fetch| node.start_over(fetch, Phase::Resolving, now));
        }
    }

    /// A segment contradicts its root. That of a live stream may be another one by now, under the same name: `true` if there
    /// will be an answer to that.
    pub(super) fn doubt_manifest(&mut self, stream: StreamId, now: Timestamp) -> bool {
        let p2p = self.p2p;
        let Some(state) = self.streams.get_mut(&stream) else { return false };
        let ManifestState::Loaded(manifest) = &state.manifest else { return false };
        let askable = state.refresh.asked.is_some() || state.refresh.next <= now;
        let doubted = p2p && askable && manifest.refresh().is_some();
        if doubted {
            state.refresh.checked = None;
        }
        doubted
    }

    /// Whether a newer manifest is to be waited for, to look up a segment that the one at hand lists or not. Has it asked for if
    /// it may be.
    pub(super) fn await_manifest(&mut self, stream: StreamId, listed: bool, now: Timestamp) -> bool {
        let Some(state) = self.streams.get_mut(&stream) else { return false };
        let ManifestState::Loaded(manifest) = &state.manifest else { return false };
        let Some(period) = period(manifest).filter(|_| self.p2p) else { return false };
        let refresh = &mut state.refresh;
        if listed && refresh.checked.is_some_and(|checked| now < checked + period) {
            return false;
        }
        refresh.asked.take_if(|asked| *asked + LOST_AFTER <= now);
        if refresh.asked.is_none() && refresh.next <= now {
            refresh.asked = Some(now);
            self.outputs.push_back(Output::ManifestFetch { stream });
        }
        let until = refresh.asked.map_or(refresh.next, |asked| asked + PATIENCE);
        let waits = !listed || (refresh.asked.is_some() && now < until);
        if waits && now < until {
            refresh.wake = Some(refresh.wake.map_or(until, |wake| wake.min(until)));
        }
        waits
    }

    /// Has fetches looked at that wait for a newer manifest, when one may be asked for or is not waited for any longer.
    pub(super) fn wake_wants(&mut self, now: Timestamp) {
        let mut due = false;
        for (_, state) in self.streams.iter_mut() {
            due |= state.refresh.wake.take_if(|wake| *wake <= now).is_some();
        }
        if due {
            self.stir();
        }
    }

    /// When that is.
    pub(super) fn refresh_timeout(&self) -> Option<Timestamp> {
        self.streams.values().filter_map(|state| state.refresh.wake).min()
    }

    /// Whether the root of a fetch is worth waiting for.
    pub(super) fn root_is_coming(&self, fetch: &Fetch) -> bool {
        let Some(state) = self.streams.get(&fetch.stream) else { return false };
        match &state.manifest {
            ManifestState::Loaded(_) => {
                let Refresh { asked, next, .. } = state.refresh;
                asked.is_some() || next <= fetch.progress + PATIENCE
            }
            ManifestState::Missing | ManifestState::Pending => true,
        }
    }

    /// Whether there is a manifest and it does not list this segment.
    pub(super) fn is_unlisted(&self, stream: &StreamId, key: &SegmentKey) -> bool {
        let manifest = self.streams.get(stream).map(|state| &state.manifest);
        matches!(manifest, Some(ManifestState::Loaded(manifest)) if manifest.lookup(key).is_none())
    }
}
