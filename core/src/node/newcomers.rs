//! Others who joined at the same time. Where they are most of the swarm nobody holds what follows, and they share it out by their
//! draws before there are links, instead of each asking the origin for all of it.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, Phase},
};
use crate::{
    id::{PeerId, StreamId},
    swarm::duty,
    time::Timestamp,
};

/// More may be named for so long after the first ones were.
const SETTLE: Duration = Duration::from_millis(200);
/// They are new for so long. Then who is no neighbour yet is not waited for.
pub(super) const NEW: Duration = Duration::from_secs(4);

/// Who joined a swarm at the same time as this peer.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    others: Vec<PeerId>,
    /// When the first of them were named.
    since: Option<Timestamp>,
}

impl Node {
    /// The service named those who joined at the same time.
    pub(super) fn note_newcomers(&mut self, stream: StreamId, peers: &[PeerId], now: Timestamp) {
        let me = self.service.peer();
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let since = state.newcomers.since.filter(|since| now < *since + NEW).unwrap_or(now);
        let others = peers.iter().copied().filter(|peer| Some(*peer) != me).collect();
        state.newcomers = Newcomers { others, since: Some(since) };
        // What nobody has heard of is divided anew.
        let size = self.swarm_size(&stream);
        for (_, fetch) in self.fetches.iter_mut() {
            let untold =
                fetch.told == 0 && !fetch.asks_origin() && matches!(fetch.phase, Phase::Trading { .. });
            if untold && fetch.stream == stream {
                fetch.parts = duty::part_count(size);
                fetch.on_duty = 0;
            }
        }
        self.stir();
    }

    /// Others who joined at the same time, neighbours or not yet.
    pub(super) fn newcomers(&self, stream: &StreamId) -> &[PeerId] {
        self.streams.get(stream).map_or(&[], |state| &state.newcomers.others)
    }

    /// From when on this peer does its part of what they share out, while they are new and most of the swarm.
    pub(super) fn sharing_start(&self, fetch: &Fetch, now: Timestamp) -> Option<Timestamp> {
        let since = self.streams.get(&fetch.stream)?.newcomers.since.filter(|since| now < *since + NEW)?;
        let new = self.newcomers(&fetch.stream).len() as u32 + 1;
        (new > 1 && 2 * new > self.swarm_size(&fetch.stream)).then_some(since + SETTLE)
    }
}
