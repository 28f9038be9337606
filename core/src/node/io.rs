//! What goes into and comes out of a [`Node`](super::Node), besides messages.

use std::{ops::Range, time::Duration};

use thiserror::Error;

use crate::{
    content::SegmentKey,
    id::{BlobHandle, ContentId, FetchId, LinkId, OriginRequestId, PeerId, StreamId},
    identity::{Candidate, Description, PublicKey},
    kad::Forwarded,
    time::Timestamp,
    units::{ByteRange, BytesPerSec},
};

/// How a node is set up. Everything has a default but the seed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Randomness of the whole node: the peer's key, nonces, jitter. Fresh for every page load.
    pub seed: [u8; 32],
    /// Issuer keys the page pins; empty: learned from the service.
    pub issuers: Vec<PublicKey>,
    /// Access token for the service, at most 4096 bytes.
    pub token: Option<String>,
    /// Most bytes of verified segments that are kept. Default 128 MiB.
    pub cache_limit: u64,
    /// Most bytes of verified segments that are kept on disk; 0: none. Default 0.
    pub disk_limit: u64,
    /// Most bytes of segments a second that are given to peers, all together; 0: none, and nothing is announced. Default: no
    /// limit.
    pub upload_limit: Option<BytesPerSec>,
    /// Whom the uplink serves while more is asked of it than it carries. Default [`Choking::Calls`].
    pub choking: Choking,
    /// Partners that a peer looks for: links that segments are traded over. Default 10.
    pub links: usize,
    /// Most partners, but for up to two more while one takes another's place. Default 12.
    pub max_links: usize,
    /// Most links, contacts of the mesh among them, as soon as one that is of no use can be given up. Default 60.
    pub most_links: usize,
    /// Whether links make up a mesh that finds and introduces peers without the service. Default `true`.
    pub mesh: bool,
    /// Whether the service may introduce peers of the same network group first. Default `true`.
    pub near: bool,
    /// When the first connection to a peer may be made.
    pub start: Start,
    /// Whether a service is there at all; without one the node fetches over HTTP only.
    pub service: bool,
    /// Whether P2P is on from the start; see [`Node::set_p2p`](super::Node::set_p2p).
    pub p2p: bool,
    /// What happens to origin bytes that contradict a signed root twice.
    pub deliver_signed_mismatch: bool,
}

impl Config {
    /// The defaults around a seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            issuers: Vec::new(),
            token: None,
            cache_limit: 128 << 20,
            disk_limit: 0,
            upload_limit: None,
            choking: Choking::Calls,
            links: 10,
            max_links: 12,
            most_links: 60,
            mesh: true,
            near: true,
            start: Start::Playback,
            service: true,
            p2p: true,
            deliver_signed_mismatch: false,
        }
    }
}

impl Config {
    /// Allows so many links, and no more partners than that. Five of six are looked for, as by default: whoever calls is let in beyond.
    pub fn bound_links(&mut self, most: usize) {
        self.most_links = most;
        self.max_links = self.max_links.min(most);
        self.links = self.links.min((most * 5 / 6).max(1));
    }
}

/// Whom the uplink serves while more is asked of it than it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choking {
    /// As BitTorrent does (BEP 3): four peers for 10 s at a time, one more for 30 s. To compare with, and only with the feature
    /// `bep3`.
    #[cfg(any(test, feature = "bep3"))]
    Bep3,
    /// One peer after the other for half a second of the uplink, who gave most first.
    Calls,
}

/// When the first connection to a peer may be made: playback comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// At once: saves the most origin bytes.
    Economy,
    /// At the first frame, or 800 ms after the first segment's request if that is still incomplete.
    Playback,
}

/// Where the roots of a stream's segments come from, strongest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Roots {
    /// The service fetches segments itself and publishes their roots.
    Attested,
    /// An unsigned manifest from the page's own origin or over HTTPS.
    Origin,
    /// A manifest signed by this publisher.
    Signed(PublicKey),
}

/// A stream whose swarm is joined.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The swarm.
    pub id: StreamId,
    /// Its name: the path of the master playlist, or what the publisher calls it.
    pub name: String,
    /// Where roots come from.
    pub roots: Roots,
}

/// Asks for one segment.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// A joined stream.
    pub stream: StreamId,
    /// The segment.
    pub key: SegmentKey,
    /// When the player needs it; `None`: within two seconds.
    pub deadline: Option<Timestamp>,
}

/// The two channels of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    /// Data frames, ordered and reliable.
    Bulk,
    /// Everything else, ordered and reliable.
    Control,
}

/// Whether a remote description answers ours or asks for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SdpKind {
    /// `answer`
    Answer,
    /// `offer`
    Offer,
}

/// Why a driver could not make or keep a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkFailure {
    /// The connection or a channel closed, ICE failed.
    Closed,
    /// The environment refuses another connection: dialling pauses for 60 s.
    Exhausted,
    /// The remote broke the transport's rules (opened a channel of its own, sent text).
    Misbehaviour,
}

/// The head of an origin's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OriginHead {
    /// HTTP status.
    pub status: u16,
    /// Absolute offset of the body's first byte in the resource: from `Content-Range` of a 206, else 0;
    /// `None` when a 206 hides its `Content-Range`.
    pub start: Option<u64>,
    /// Length of the body, if it is known. With a content coding it is not.
    pub len: Option<u64>,
}

/// Why an origin request or a fetch failed, as plain HTTP would have shown it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FetchError {
    /// The fetch was cancelled.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// The origin's bytes contradict the publisher's signature.
    #[error("the origin's bytes contradict the publisher's signature")]
    Mismatch,
    /// No answer, or the body broke off.
    #[error("the origin did not answer")]
    Network,
    /// The origin answered with an error status.
    #[error("the origin answered with status {0}")]
    Status(u16),
}

/// What became of an [`Output::Persist`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persisted {
    /// Not written, for a reason that may pass.
    Failed,
    /// Not written: there is no room.
    Full,
    /// On disk.
    Kept,
}

/// What is known of delivered bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Complete from the origin, without a root to check against. Never given to peers.
    OriginWhole,
    /// Every group was checked against a root.
    Verified,
}

/// Where a segment came from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Provenance {
    /// Bytes from the origin, lists not counted.
    pub origin_bytes: u64,
    /// Bytes from peers.
    pub peer_bytes: u64,
    /// Bytes read from disk.
    pub disk_bytes: u64,
    /// The peers that gave some.
    pub peers: Vec<PeerId>,
    /// From the request to the delivery.
    pub took: Duration,
}

/// What the driver does next. Outputs are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Opens the WebSocket to the service.
    ConnectService,
    /// Closes it.
    CloseService,
    /// Sends one binary message to the service.
    SendService(Vec<u8>),
    /// Makes a connection with both channels and an offer, then calls `handle_local_description`, and `handle_local_candidate` for
    /// what is found after that.
    Dial {
        /// Names the connection from now on.
        link: LinkId,
    },
    /// Makes a connection with both channels, applies the remote offer, makes an answer, then calls
    /// `handle_local_description` and `handle_local_candidate`.
    Accept {
        /// Names the connection from now on.
        link: LinkId,
        /// The remote side's offer.
        remote: Description,
    },
    /// Applies the remote answer.
    SetRemote {
        /// The connection.
        link: LinkId,
        /// The remote side's answer.
        remote: Description,
    },
    /// Adds a remote candidate (`candidate:…`).
    AddCandidate {
        /// The connection.
        link: LinkId,
        /// The candidate line.
        candidate: Candidate,
    },
    /// Sends one message on the control channel.
    SendControl {
        /// The connection.
        link: LinkId,
        /// The message.
        payload: Vec<u8>,
    },
    /// Sends `header` and then `range` of the blob, one group or a few, as one message on the bulk channel.
    SendGroups {
        /// The connection.
        link: LinkId,
        /// What goes before the bytes.
        header: Vec<u8>,
        /// The blob to read.
        blob: BlobHandle,
        /// The bytes to read, inside the blob.
        range: ByteRange,
    },
    /// Closes a connection, after what was sent before it.
    CloseLink {
        /// The connection.
        link: LinkId,
    },
    /// Begins a blob.
    Open {
        /// The blob.
        blob: BlobHandle,
    },
    /// Keeps a part of the slice that was lent to the call just made.
    Keep {
        /// The blob.
        blob: BlobHandle,
        /// Where the bytes go in the blob.
        offset: u64,
        /// Which bytes of the lent slice.
        source: Range<usize>,
    },
    /// Forgets a blob.
    Drop {
        /// The blob.
        blob: BlobHandle,
    },
    /// Writes a blob to disk, when the page has nothing better to do, and calls `handle_persisted`. The blob may be dropped before
    /// that: its bytes must be written all the same.
    Persist {
        /// Its address.
        content: ContentId,
        /// Its stream.
        stream: StreamId,
        /// The blob.
        blob: BlobHandle,
        /// Its length.
        len: u64,
    },
    /// Makes a blob of what is on disk: its bytes go to `handle_blob` in order.
    Load {
        /// The blob to make.
        blob: BlobHandle,
        /// What is to be read.
        content: ContentId,
        /// Its stream.
        stream: StreamId,
    },
    /// Removes a segment from disk.
    Forget {
        /// What is to be removed.
        content: ContentId,
        /// Its stream.
        stream: StreamId,
    },
    /// Keeps these bytes in the place of those before, for `handle_kept_blocks` at the next start.
    KeepBlocks {
        /// A signed block list.
        bytes: Vec<u8>,
    },
    /// Fetches from the origin. The body goes to `handle_origin_bytes` as it comes.
    OriginFetch {
        /// Names the request.
        request: OriginRequestId,
        /// The fetch it serves: its URL is the one to ask.
        fetch: FetchId,
        /// Absolute range of the resource for a `Range` header; `None`: the whole resource.
        range: Option<ByteRange>,
        /// Ask past the HTTP cache: what came before was wrong.
        fresh: bool,
    },
    /// Fetches a part of a group-list sidecar; the whole body goes to `handle_sidecar`.
    SidecarFetch {
        /// Names the request.
        request: OriginRequestId,
        /// The stream whose manifest names the sidecar.
        stream: StreamId,
        /// The sidecar's path, relative to the master playlist.
        path: String,
        /// The bytes wanted.
        range: ByteRange,
    },
    /// Fetches the manifest of a live stream again, past the HTTP cache. Exactly one `add_manifest` or `manifest_failed`
    /// follows; the driver sets the request a limit.
    ManifestFetch {
        /// The stream.
        stream: StreamId,
    },
    /// Gives up an origin or sidecar request.
    OriginAbort {
        /// The request.
        request: OriginRequestId,
    },
    /// Hands a copy of the blob to the player.
    Deliver {
        /// The fetch that is done.
        fetch: FetchId,
        /// The blob.
        blob: BlobHandle,
        /// The segment's length in the blob, from offset 0.
        len: u64,
        /// HTTP status to show: 200, or 206 for a byte-range segment.
        status: u16,
        /// What is known of the bytes.
        delivery: Delivery,
        /// Where they came from.
        provenance: Provenance,
    },
    /// Tells the player that the fetch failed.
    Fail {
        /// The fetch that is done.
        fetch: FetchId,
        /// Why.
        error: FetchError,
    },
    /// Something a page may want to show.
    Event(Event),
}

/// Something a page may want to show. No event asks for an action.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A peer was banned for the session.
    PeerBanned {
        /// The peer.
        peer: PeerId,
        /// What it did.
        violation: crate::guard::Violation,
    },
    /// Segments are traded over a link from now on.
    PeerConnected {
        /// The connection.
        link: LinkId,
        /// Who is at the other end.
        peer: PeerId,
    },
    /// They are not any more: the link is gone, or one end had a better one.
    PeerClosed {
        /// The connection.
        link: LinkId,
        /// Who was at the other end.
        peer: PeerId,
    },
    /// Groups were checked and kept.
    GroupsVerified {
        /// The fetch they are for.
        fetch: FetchId,
        /// The peer that sent them; `None`: the origin.
        peer: Option<PeerId>,
        /// Their length.
        bytes: u32,
    },
    /// Groups were given to a peer.
    GroupsSent {
        /// The peer.
        peer: PeerId,
        /// Their length.
        bytes: u32,
    },
    /// An older manifest came in the place of a newer one and was refused; told once a stream. A cache may lag, or somebody
    /// tries to have old segments taken for new ones.
    ManifestRolledBack {
        /// The stream.
        stream: StreamId,
    },
    /// Origin bytes contradict the root of a segment.
    OriginMismatch {
        /// The fetch; it may have been delivered unchecked before.
        fetch: FetchId,
    },
    /// The size of a joined swarm, as the service says.
    Population {
        /// The swarm.
        stream: StreamId,
        /// Viewers, this one among them.
        viewers: u32,
    },
    /// The service accepted this peer.
    ServiceReady {
        /// The peer's id for this page load.
        peer: PeerId,
    },
    /// The connection to the service is gone; it is made again with backoff.
    ServiceLost,
}

/// Counters of a node, all since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Groups that failed verification, from peers or the origin.
    pub bad_groups: u64,
    /// Segment bytes read from disk that were as they should be.
    pub disk_bytes: u64,
    /// Groups that came and were already held.
    pub duplicate_groups: u64,
    /// Segment bytes from the origin.
    pub origin_bytes: u64,
    /// Segment bytes from peers that were kept.
    pub peer_bytes: u64,
    /// Segments that were delivered.
    pub segments: u64,
    /// Segment bytes given to peers.
    pub upload_bytes: u64,
    /// Groups that were checked and kept.
    pub verified_groups: u64,
}

/// What a page may want to show of the mesh. Counters are since the node was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MeshStats {
    /// Whether this peer answers what others look up.
    pub answers: bool,
    /// Links that lookups go over.
    pub contacts: usize,
    /// Links that this peer dialled and that became ready, introduced by the service.
    pub service_introductions: u64,
    /// The same by the mesh.
    pub mesh_introductions: u64,
    /// Swarms that were looked up, …
    pub lookups: u64,
    /// …and found.
    pub found: u64,
    /// Copies of own requests that were sent, and of others that were passed on.
    pub forwarded: Forwarded,
}

/// A link as a page may want to show it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkInfo {
    /// The connection.
    pub link: LinkId,
    /// Who is, or should be, at the other end.
    pub peer: PeerId,
    /// Whether both hellos were read.
    pub ready: bool,
    /// Whether segments are traded over it; otherwise it is a contact of the mesh only.
    pub partner: bool,
    /// Whether the mesh introduced the peers, not the service.
    pub by_mesh: bool,
    /// Smoothed round-trip time, once it was measured.
    pub rtt: Option<Duration>,
    /// Segment bytes received.
    pub bytes_in: u64,
    /// Segment bytes sent.
    pub bytes_out: u64,
}
