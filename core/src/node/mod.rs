//! The node: service session, links, fetches and store of one peer, composed (docs/architecture.md).
//!
//! Sans-IO. After every call that takes `now`, the driver drains [`Node::poll_output`], carries the outputs out in
//! order and arms one timer for [`Node::poll_timeout`]. The node owns no segment bytes: it names blobs, and
//! [`Output::Keep`] refers to the slice lent to the call just made.

mod announce;
mod asked;
mod blocks;
mod calls;
mod coming;
mod delivery;
mod disk;
mod duty;
mod fetch;
mod fetching;
mod intake;
mod introductions;
mod io;
mod line;
mod links;
mod lists;
mod members;
mod mesh;
mod messages;
mod newcomers;
mod news;
mod offers;
mod origins;
mod pace;
mod partners;
mod refresh;
mod roots;
mod service;
mod trade;
mod uploads;
mod worth;

use std::{collections::VecDeque, ops::Range, time::Duration};

use self::{
    announce::Announcements, disk::DiskState, fetch::Fetch, introductions::Named, links::Link,
    lists::ListsAhead, mesh::Mesh, origins::OriginUse, pace::Pace, partners::Partners, roots::StreamState,
    service::Service, uploads::Uploads,
};
pub use crate::swarm::BULK_LOW;
use crate::{
    content::{BlockList, GroupList, Manifest, Trust},
    guard::{Bans, DialBudget},
    id::{BlobHandle, FetchId, LinkId, OriginRequestId, PeerId, SegmentId, StreamId},
    identity::Identity,
    random::Random,
    store::Index,
    swarm::Rate,
    time::{Timestamp, WallTime},
    wire::IceServer,
};
pub use io::{
    Channel, Choking, Config, Delivery, Event, FetchError, FetchRequest, LinkFailure, LinkInfo, MeshStats,
    OriginHead, Output, Persisted, Provenance, Roots, SdpKind, Start, Stats, Stream,
};
use litemap::LiteMap;

/// Most streams one node joins.
pub const MAX_STREAMS: usize = 16;
/// A fetch without a deadline is wanted after this.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
/// [`Start::Playback`] connects this long after the first request if the segment is still incomplete.
const SLOW_START: Duration = Duration::from_millis(800);
/// Most bytes of control messages to one peer that are sent as one.
const MAX_JOINED: usize = 4096;
/// How long what the player took is remembered.
const DEMAND_MEMORY: Duration = Duration::from_secs(20);
/// An event so long after something was due says nothing about peers that were silent meanwhile.
const LATE_TICK: Duration = Duration::from_secs(3);

/// One peer. See the module documentation for how it is driven.
#[derive(Debug)]
pub struct Node {
    announcements: Announcements,
    bans: Bans,
    /// The newest block list.
    blocks: Option<BlockList>,
    budget: DialBudget,
    /// When a neighbour had no time last.
    busy: Option<Timestamp>,
    config: Config,
    /// Bytes of segments that were delivered lately.
    demand: Rate,
    disk: DiskState,
    /// When something is due next; an event much later says that nothing ran meanwhile.
    due: Option<Timestamp>,
    /// Keys whose origin contradicted their root: HTTP only from then on.
    distrusted: VecDeque<SegmentId>,
    fetches: LiteMap<SegmentId, Fetch>,
    /// When the first segment was asked for.
    first_fetch: Option<Timestamp>,
    first_frame: bool,
    identity: Identity,
    /// When a link became ready last.
    last_ready: Option<Timestamp>,
    /// When a part did not come that somebody was said to ask the origin for.
    let_down: Option<Timestamp>,
    links: LiteMap<LinkId, Link>,
    lists: ListsAhead,
    mesh: Mesh,
    /// Peers that were named as partners and not dialled yet.
    named: VecDeque<Named>,
    next_handle: u64,
    origins: LiteMap<OriginRequestId, OriginUse>,
    outputs: VecDeque<Output>,
    p2p: bool,
    pace: Pace,
    partners: Partners,
    random: Random,
    service: Service,
    stats: Stats,
    store: Index,
    streams: LiteMap<StreamId, StreamState>,
    uploads: Uploads,
    waiters: LiteMap<FetchId, SegmentId>,
    wall: Option<(WallTime, Timestamp)>,
}

impl Node {
    /// A node that has joined nothing yet.
    pub fn new(config: Config, now: Timestamp) -> Self {
        let mut random = Random::new(config.seed);
        let identity = Identity::from_seed(random.bytes());
        Self {
            announcements: Announcements::default(),
            bans: Bans::default(),
            blocks: None,
            budget: DialBudget::new(now),
            busy: None,
            demand: Rate::over(DEMAND_MEMORY, now),
            disk: DiskState::new(config.disk_limit),
            distrusted: VecDeque::new(),
            fetches: LiteMap::new(),
            first_fetch: None,
            first_frame: false,
            identity,
            last_ready: None,
            let_down: None,
            links: LiteMap::new(),
            lists: ListsAhead::default(),
            mesh: Mesh::default(),
            named: VecDeque::new(),
            next_handle: 0,
            origins: LiteMap::new(),
            outputs: VecDeque::new(),
            p2p: config.p2p,
            pace: Pace::default(),
            partners: Partners::default(),
            random,
            service: Service::new(&config, now),
            stats: Stats::default(),
            store: Index::new(config.cache_limit),
            streams: LiteMap::new(),
            uploads: Uploads::new(&config, now),
            waiters: LiteMap::new(),
            wall: None,
            config,
            due: None,
        }
    }

    /// Joins a stream. Its manifest, where it has one, is expected at [`Node::add_manifest`] or
    /// [`Node::manifest_failed`]. A stream past [`MAX_STREAMS`] is not joined: its segments come over HTTP.
    pub fn join(&mut self, stream: Stream, now: Timestamp) {
        if self.streams.len() < MAX_STREAMS {
            self.streams.entry(stream.id).or_insert_with(|| StreamState::new(stream));
        }
        self.settle(now);
    }

    /// Leaves a stream; its segments stay until they are evicted. Nobody stays a neighbour for a stream that is to come: who watches that
    /// is to be found among its own viewers.
    pub fn leave(&mut self, stream: StreamId, now: Timestamp) {
        if let Some(state) = self.streams.remove(&stream) {
            self.leave_swarm(&state);
            self.leave_mesh(stream);
            if self.streams.is_empty() {
                self.named.clear();
                self.close_all_links(now);
            }
        }
        self.settle(now);
    }

    /// Gives the manifest of a joined stream: its first, or the answer to an [`Output::ManifestFetch`]. It must satisfy
    /// [`Node::trust`]. A later one replaces an earlier one, and never the other way round.
    pub fn add_manifest(&mut self, stream: StreamId, manifest: Manifest, now: Timestamp) {
        self.take_manifest(stream, Some(manifest), now);
        self.settle(now);
    }

    /// Gives what came along with a playlist of a joined stream: a manifest, which must satisfy [`Node::trust`], and the group list of
    /// one of its segments. A manifest that is not newer than what is there changes nothing, and does no harm.
    pub fn take_along(
        &mut self,
        stream: StreamId,
        manifest: Manifest,
        list: Option<GroupList>,
        now: Timestamp,
    ) {
        self.take_manifest_along(stream, manifest, now);
        if let Some(list) = list {
            self.handle_list(list, now);
        }
        self.settle(now);
    }

    /// Says that there is no usable manifest to be had. A stream that has none yet is HTTP only from now on; one that has
    /// keeps it.
    pub fn manifest_failed(&mut self, stream: StreamId, now: Timestamp) {
        self.take_manifest(stream, None, now);
        self.settle(now);
    }

    /// What makes a manifest of a joined stream count.
    pub fn trust(&self, stream: StreamId) -> Option<Trust> {
        self.streams.get(&stream).map(|state| match state.stream.roots {
            Roots::Signed(publisher) => Trust::Signed(publisher),
            Roots::Attested | Roots::Origin => Trust::Origin,
        })
    }

    /// Switches P2P on or off. Off: peers and service are left, running fetches finish over HTTP.
    pub fn set_p2p(&mut self, on: bool, now: Timestamp) {
        if self.p2p && !on {
            self.leave_everything(now);
        }
        self.p2p = on;
        self.settle(now);
    }

    /// Leaves peers and service for good, as on `pagehide`.
    pub fn shut_down(&mut self, now: Timestamp) {
        self.set_p2p(false, now);
    }

    /// Says that playback shows its first frame: [`Start::Playback`] connects now.
    pub fn handle_first_frame(&mut self, now: Timestamp) {
        self.first_frame = true;
        self.settle(now);
    }

    /// Sets the wall clock. The service's word for it comes with its welcome; this is for drivers without a service.
    pub fn handle_clock(&mut self, wall: WallTime, now: Timestamp) {
        self.wall = Some((wall, now));
        self.settle(now);
    }

    /// Does what is due. Call it at [`Node::poll_timeout`]; earlier or later does no harm.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.settle_calmly(now);
    }

    /// Closed connections that the environment has not collected yet; they count against the dial budget.
    pub fn handle_uncollected(&mut self, connections: usize) {
        self.budget.set_uncollected(connections);
    }

    /// What the driver does next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Node::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.due
    }

    /// Counters since the node was made.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// This peer's id, once the service gave it a certificate.
    pub fn peer_id(&self) -> Option<PeerId> {
        self.service.peer()
    }

    /// STUN and TURN servers, as the service says.
    pub fn ice_servers(&self) -> &[IceServer] {
        self.service.ice_servers()
    }

    /// Whether P2P is on.
    pub fn p2p(&self) -> bool {
        self.p2p
    }

    /// Viewers of a joined stream as the service said last, this one among them.
    pub fn population(&self, stream: StreamId) -> Option<u32> {
        self.streams.get(&stream).and_then(|state| state.population)
    }

    /// Bytes of the segments in the store, complete or not.
    pub fn stored_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Everything that follows from an input that may have to do with every fetch.
    fn settle(&mut self, now: Timestamp) {
        self.stir();
        self.settle_calmly(now);
    }

    /// Everything that follows from an input that stirred the fetches it has to do with: timers that are due, requests,
    /// announcements.
    ///
    /// What it calls is never inlined, nor is what a message calls: a browser compiles a function that runs often once more, as a
    /// whole, and what of it runs seldom too. That takes more than in proportion to its length (decision 0028).
    fn settle_calmly(&mut self, now: Timestamp) {
        if self.due.is_some_and(|due| now.saturating_since(due) > LATE_TICK) {
            self.forgive_silence(now);
        }
        self.notice_slow_start(now);
        self.drive_service(now);
        self.drive_discovery(now);
        self.drive_links(now);
        self.drive_mesh(now);
        self.drive_dials(now);
        self.drive_partners(now);
        // Those may have closed links.
        self.drive_mesh(now);
        self.expire_loads(now);
        self.drive_fetches(now);
        self.drive_announcements(now);
        self.drive_uploads(now);
        self.drive_disk(now);
        self.evict();
        self.due = self.next_timeout(now);
    }

    fn next_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let slow_start = self.slow_start();
        [
            slow_start,
            self.service_timeout(),
            self.links_timeout(now),
            self.uploads_timeout(now),
            self.fetches_timeout(),
            self.refresh_timeout(),
            self.disk.timeout(),
            self.announcements.due(),
            self.discovery_timeout(),
            self.dials_timeout(now),
            self.partners_timeout(),
            self.mesh.timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether connections to peers may be made: playback comes first.
    fn may_connect(&self) -> bool {
        self.p2p && self.config.service && self.may_connect_for_sure()
    }

    fn may_connect_for_sure(&self) -> bool {
        self.first_frame || self.config.start == Start::Economy
    }

    /// A slow origin is when the crowd must help: do not wait for the first frame.
    fn notice_slow_start(&mut self, now: Timestamp) {
        self.first_frame |= self.slow_start().is_some_and(|at| at <= now);
    }

    /// When the origin counts as slow: a segment is on its way for so long, or the first one has failed.
    fn slow_start(&self) -> Option<Timestamp> {
        if self.may_connect_for_sure() {
            return None;
        }
        let awaited = self.fetches.values().filter(|fetch| !fetch.waiters.is_empty());
        let failed = self.first_fetch.filter(|_| self.stats.segments == 0);
        awaited.map(|fetch| fetch.started).chain(failed).min().map(|at| at + SLOW_START)
    }

    fn wall(&self, now: Timestamp) -> Option<WallTime> {
        self.wall.map(|(wall, at)| wall + now.saturating_since(at))
    }

    fn next_handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    fn new_blob(&mut self) -> BlobHandle {
        BlobHandle::new(self.next_handle())
    }

    /// Keeps a part of what was lent; with the part before, if they go together.
    fn keep(&mut self, blob: BlobHandle, offset: u64, source: Range<usize>) {
        match self.outputs.back_mut() {
            Some(Output::Keep { blob: last, offset: start, source: before })
                if *last == blob && before.end == source.start && *start + before.len() as u64 == offset =>
            {
                before.end = source.end;
            }
            _ => self.output(Output::Keep { blob, offset, source }),
        }
    }

    fn output(&mut self, output: Output) {
        if let Some(output) = self.unjoined(output) {
            self.outputs.push_back(output);
        }
    }

    /// Adds a control message to what else goes to its link now; anything else comes back. A message costs a packet and a task
    /// at both ends, however short it is.
    fn unjoined(&mut self, output: Output) -> Option<Output> {
        let Output::SendControl { link, payload } = output else { return Some(output) };
        let waiting = self.outputs.iter_mut().rev().find_map(|waiting| match waiting {
            Output::SendControl { link: other, payload } if *other == link => Some(payload),
            _ => None,
        });
        match waiting {
            Some(waiting) if waiting.len() + payload.len() <= MAX_JOINED => {
                waiting.extend(payload);
                None
            }
            _ => Some(Output::SendControl { link, payload }),
        }
    }

    fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }
}

#[cfg(test)]
mod tests;
