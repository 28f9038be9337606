//! One segment on its way to the player.

use std::time::Duration;

use litemap::LiteMap;

use super::{
    asked::AskedGroups,
    io::{FetchError, FetchRequest},
};
use crate::{
    content::{ChainingValue, GroupDigest, SegmentKey, SegmentLen},
    id::{BlobHandle, ContentId, FetchId, LinkId, OriginRequestId, PeerId, SegmentId, StreamId},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
};

/// Most fetches of one segment that share its transfer.
pub(super) const MAX_WAITERS: usize = 16;
/// An origin that sends nothing for so long does not keep peers from being asked for the same groups.
pub(super) const ORIGIN_STALL: Duration = Duration::from_secs(1);

/// How much is known of the segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// The root is being asked for.
    Resolving,
    /// The root is known, the group list is being asked for.
    Listing { content: ContentId, len: SegmentLen, ask: ListAsk },
    /// It is being read from disk; other ways are tried then.
    Restoring { content: ContentId, until: Timestamp },
    /// The group list is known: groups are checked as they come.
    Trading { content: ContentId },
    /// There is no root: HTTP only.
    Rootless,
}

/// Who was asked for a group list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ListAsk {
    Nobody,
    /// There is none to be had: a whole body from the origin makes its own.
    Nowhere,
    /// The peer of this link, until this time.
    Peer(LinkId, Timestamp),
    /// The manifest's sidecar.
    Sidecar(OriginRequestId),
}

/// A request to the origin, and the groups that it brings; `None`: all.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginRun {
    pub(super) request: OriginRequestId,
    pub(super) groups: Option<GroupRange>,
}

/// The fetch of one segment.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// Chaining values of a group list that comes in parts.
    pub(super) list_values: Vec<ChainingValue>,
    /// The player's requests and when each needs the segment; none once it was served and only the root is awaited.
    pub(super) waiters: LiteMap<FetchId, Timestamp>,
    /// The last request that was served unchecked: it hears of a mismatch that shows later.
    pub(super) served: Option<FetchId>,
    pub(super) stream: StreamId,
    pub(super) key: SegmentKey,
    pub(super) segment: SegmentId,
    pub(super) started: Timestamp,
    /// The earliest deadline of those who wait, or waited last.
    pub(super) deadline: Timestamp,
    pub(super) phase: Phase,
    pub(super) blob: BlobHandle,
    pub(super) opened: bool,
    /// Parts in which it is taken from the origin, unless time runs out.
    pub(super) parts: u32,
    /// Parts of which neighbours were told that they are on their way here, a bit each.
    pub(super) told: u8,
    /// Parts that somebody asks the origin for, or has, as a neighbour says, a bit each.
    pub(super) on_duty: u8,
    /// Since when a slow origin may be asked for it, what is needed sooner being nearly here.
    pub(super) turn: Option<Timestamp>,
    /// When the group list was known, or the fetch began.
    pub(super) listed: Timestamp,
    /// Requests to the origin that are under way: one for all of it or a part, or several for what is missing near the deadline.
    pub(super) origins: Vec<OriginRun>,
    /// Last time one of them brought bytes, or was sent.
    pub(super) origin_progress: Timestamp,
    /// How often they were given up for that of another name of the same bytes.
    pub(super) overtaken: u8,
    pub(super) origin_error: Option<FetchError>,
    /// The origin's groups that wait for the group list.
    pub(super) digests: LiteMap<GroupIndex, GroupDigest>,
    /// The segment's length, once the origin sent all of it.
    pub(super) whole: Option<u64>,
    /// When `whole` was reached.
    pub(super) whole_at: Timestamp,
    /// Last time a group was verified or the phase changed.
    pub(super) progress: Timestamp,
    /// Ranges are not asked of the origin: it does not serve them.
    pub(super) no_range: bool,
    /// The origin's bytes contradicted the root once.
    pub(super) contradicted: bool,
    pub(super) origin_bytes: u64,
    pub(super) peer_bytes: u64,
    pub(super) disk_bytes: u64,
    pub(super) peers: Vec<PeerId>,
    /// Groups that were asked of a peer and have not come.
    pub(super) asked: AskedGroups,
    /// Something happened that it has to do with.
    pub(super) stirred: bool,
    /// When something is due.
    pub(super) wake: Option<Timestamp>,
}

impl Fetch {
    pub(super) fn new(
        waiter: FetchId,
        request: FetchRequest,
        segment: SegmentId,
        blob: BlobHandle,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Self {
        let mut waiters = LiteMap::new();
        waiters.insert(waiter, deadline);
        Self {
            asked: AskedGroups::default(),
            blob,
            contradicted: false,
            deadline,
            digests: LiteMap::new(),
            disk_bytes: 0,
            key: request.key,
            list_values: Vec::new(),
            no_range: false,
            opened: false,
            origins: Vec::new(),
            origin_bytes: 0,
            origin_progress: now,
            overtaken: 0,
            origin_error: None,
            peer_bytes: 0,
            parts: 1,
            peers: Vec::new(),
            phase: Phase::Resolving,
            progress: now,
            segment,
            served: None,
            started: now,
            stirred: true,
            stream: request.stream,
            told: 0,
            on_duty: 0,
            turn: None,
            listed: now,
            waiters,
            wake: None,
            whole: None,
            whole_at: now,
        }
    }

    /// The address, once it is known.
    pub(super) fn content(&self) -> Option<ContentId> {
        match &self.phase {
            Phase::Listing { content, .. }
            | Phase::Restoring { content, .. }
            | Phase::Trading { content } => Some(*content),
            Phase::Resolving | Phase::Rootless => None,
        }
    }

    /// Whether its group list comes with this request.
    pub(super) fn waits_for_sidecar(&self, request: OriginRequestId) -> bool {
        matches!(self.phase, Phase::Listing { ask: ListAsk::Sidecar(asked), .. } if asked == request)
    }

    /// There is no group list to be had.
    pub(super) fn list_is_nowhere(&mut self) {
        if let Phase::Listing { ask, .. } = &mut self.phase {
            *ask = ListAsk::Nowhere;
        }
    }

    /// Whose URL the origin is asked with.
    pub(super) fn first_waiter(&self) -> Option<FetchId> {
        self.waiters.first().map(|(waiter, _)| *waiter)
    }

    /// Adds a request, or moves its deadline.
    pub(super) fn wait(&mut self, waiter: FetchId, deadline: Timestamp) {
        self.waiters.insert(waiter, deadline);
        self.stirred = true;
        self.note_deadline();
    }

    /// Takes a request back.
    pub(super) fn stop_waiting(&mut self, waiter: FetchId) {
        self.waiters.remove(&waiter);
        self.stirred = true;
        self.note_deadline();
    }

    fn note_deadline(&mut self) {
        self.deadline = self.waiters.values().copied().min().unwrap_or(self.deadline);
    }

    /// Ends the wait of all requests, in the order they came.
    pub(super) fn take_waiters(&mut self) -> Vec<FetchId> {
        std::mem::take(&mut self.waiters).into_iter().map(|(waiter, _)| waiter).collect()
    }

    /// Whether the origin is bringing a group, in time and without a pause.
    pub(super) fn origin_brings(&self, group: GroupIndex, now: Timestamp) -> bool {
        now < self.deadline && now < self.origin_progress + ORIGIN_STALL && self.origin_asked(group)
    }

    /// Whether the origin is being asked for anything.
    pub(super) fn asks_origin(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Whether the origin is being asked for a group.
    pub(super) fn origin_asked(&self, group: GroupIndex) -> bool {
        self.origins.iter().any(|run| run.groups.is_none_or(|groups| groups.contains(group)))
    }

    /// Notes a peer that gave something.
    pub(super) fn credit_peer(&mut self, peer: PeerId, bytes: u64) {
        self.peer_bytes += bytes;
        if !self.peers.contains(&peer) {
            self.peers.push(peer);
        }
    }

    /// Something is due then, or earlier.
    pub(super) fn wake_by(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// How long the fetch has been running.
    pub(super) fn took(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.started)
    }
}
