//! What keeping a segment is worth: what is rare among the neighbours, and near to what is played, stays.

use std::cmp::Reverse;

use super::{Node, fetch::Fetch, io::Output, roots::ManifestState};
use crate::{
    content::{GROUP_LEN, SegmentKey},
    id::{ContentId, StreamId},
    store::{Kept, Place, Stored, Worth},
};

/// Bytes of a group's value in a sidecar.
const VALUE_LEN: u64 = 32;
/// What is closer than this part of the limit to what was fetched last is near.
const NEAR: u64 = 4;

impl Node {
    /// Drops what is over the limit.
    #[inline(never)]
    pub(super) fn evict(&mut self) {
        while let Some(content) = self.store.surplus(|content, stored| self.worth(content, stored)) {
            let Some(stored) = self.store.remove(&content) else { return };
            self.output(Output::Drop { blob: stored.blob });
            self.announce_gone(content);
        }
    }

    fn worth(&self, content: &ContentId, stored: &Stored) -> Worth {
        let distance = stored.place.and_then(|place| self.distance(&stored.stream, place));
        let close = distance.is_some_and(|distance| distance < self.store.limit() / NEAR);
        self.worth_at(content, distance, close || self.store.is_recent(stored))
    }

    /// As for what is in memory.
    pub(super) fn disk_worth(&self, content: &ContentId, kept: &Kept) -> Worth {
        let distance = kept.place.and_then(|place| self.distance(&kept.stream, place));
        let close = distance.is_some_and(|distance| distance < self.disk.index.limit() / NEAR);
        self.worth_at(content, distance, close || self.streams.contains_key(&kept.stream))
    }

    fn worth_at(&self, content: &ContentId, distance: Option<u64>, near: bool) -> Worth {
        let holders = self.claims_on(*content).filter(|(_, claim)| claim.holds_all()).count();
        Worth { near, holders: Reverse(holders), distance: Reverse(distance.unwrap_or(u64::MAX)) }
    }

    /// Bytes between a place and what was fetched last of its track.
    fn distance(&self, stream: &StreamId, place: Place) -> Option<u64> {
        let head = self.streams.get(stream)?.heads.get(&place.track)?;
        Some(head.abs_diff(place.at))
    }

    /// Where the manifest says that a segment lies. Lists lie in a sidecar in the order of the track.
    pub(super) fn place_of(&self, stream: &StreamId, key: &SegmentKey) -> Option<Place> {
        let ManifestState::Loaded(manifest) = &self.streams.get(stream)?.manifest else { return None };
        let entry = manifest.lookup(key)?;
        let groups = entry.list_offset() / VALUE_LEN;
        Some(Place { track: entry.track(), at: groups * u64::from(GROUP_LEN) })
    }

    /// A segment is fetched: playback is about there.
    pub(super) fn move_head(&mut self, fetch: &Fetch, content: &ContentId) {
        let Some(place) = self.place_of(&fetch.stream, &fetch.key) else { return };
        if let Some(state) = self.streams.get_mut(&fetch.stream) {
            // As many as the manifest has tracks.
            state.heads.insert(place.track, place.at);
        }
        if let Some(stored) = self.store.get_mut(content) {
            stored.place = Some(place);
        }
    }
}
