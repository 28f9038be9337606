//! Messages between a peer and the signaling service (docs/protocol.md §3), over one WebSocket.

use serde::{Deserialize, Serialize};

use super::{
    MAX_LIST_PART, WireError,
    frame::{Frame, read_body, write_frame},
};
use crate::{
    bounded::{BoundedString, BoundedVec},
    content::{ChainingValue, SegmentKey, SignedAttestation, SignedBlockList},
    id::{PeerId, SegmentId, StreamId},
    identity::{PublicKey, Signature, SignedCertificate, SignedIntroduction, VersionRange},
    time::WallTime,
};

/// Feature bit of a peer that is introduced to peers of its own network group first.
pub const FEATURE_NEAR: u64 = 1;
/// Most peers the service introduces in one answer.
pub const MAX_INTRODUCED: usize = 8;
/// Most peers of a crowd that hear of each other.
pub const MAX_NEWCOMERS: usize = 16;

const CLIENT_HELLO: u16 = 64;
const JOIN: u16 = 65;
const LEAVE: u16 = 66;
const MORE_PEERS: u16 = 67;
const INTRODUCE: u16 = 68;
const ATTEST: u16 = 69;
const RENEW: u16 = 70;
const CLIENT_PING: u16 = 71;
const FULL: u16 = 72;
const REFUSE: u16 = 73;

const CHALLENGE: u16 = 96;
const WELCOME: u16 = 97;
const PEERS: u16 = 98;
const POPULATION: u16 = 99;
const INTRODUCED: u16 = 100;
const ATTESTED: u16 = 101;
const ATTEST_FAILED: u16 = 102;
const RENEWED: u16 = 103;
const SERVICE_PONG: u16 = 104;
const GOAWAY: u16 = 105;
const UNREACHABLE: u16 = 106;
const BLOCKED: u16 = 107;
const NEWCOMERS: u16 = 108;

/// What a peer says to the service.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Answers the challenge; the first message.
    Hello(Box<ClientHello>),
    /// Joins a swarm and asks for up to `want` peers. Answered by [`ServiceMessage::Peers`].
    Join {
        /// The swarm.
        stream: StreamId,
        /// Peers wanted, at most [`MAX_INTRODUCED`] are given.
        want: u8,
    },
    /// Leaves a swarm.
    Leave(StreamId),
    /// Asks for other peers of a joined swarm. Answered by [`ServiceMessage::Peers`].
    MorePeers {
        /// The swarm.
        stream: StreamId,
        /// Peers wanted.
        want: u8,
    },
    /// Asks to carry an introduction to a peer that was introduced before, or that introduced itself.
    Introduce {
        /// The receiver.
        to: PeerId,
        /// The introduction.
        introduction: Box<SignedIntroduction>,
    },
    /// Asks for the root and group list of a segment.
    Attest(AttestRequest),
    /// Asks for a fresh certificate with the same nonce. Answered by [`ServiceMessage::Renewed`].
    Renew,
    /// Asks for a [`ServiceMessage::Pong`].
    Ping,
    /// The sender has all the links it wants, or has room again: others are introduced to it last, or as usual.
    Full(bool),
    /// The sender does not take this peer's offer. The peer gets [`ServiceMessage::Unreachable`].
    Refuse(PeerId),
}

/// First message of a peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClientHello {
    /// Versions the peer speaks.
    pub versions: VersionRange,
    /// Feature bits; unknown ones are ignored.
    pub features: u64,
    /// The peer's key.
    pub public_key: PublicKey,
    /// Signature over the challenge, domain [`crate::identity::domain::SERVICE_HELLO`].
    pub proof: Signature,
    /// The certificate of an earlier connection: its nonce, so the peer id, is kept.
    pub previous: Option<SignedCertificate>,
    /// Access token, where the service wants one.
    pub token: Option<BoundedString<4096>>,
}

/// Asks for a segment's root.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct AttestRequest {
    /// Name of the stream: the path of its master playlist, without host and query.
    pub stream_name: BoundedString<1024>,
    /// The segment.
    pub key: SegmentKey,
}

/// What the service says to a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceMessage {
    /// First message: 32 random bytes to sign.
    Challenge([u8; 32]),
    /// Answers the hello.
    Welcome(Box<Welcome>),
    /// Answers a join or a wish for more peers.
    Peers {
        /// The swarm.
        stream: StreamId,
        /// Peers in the swarm, the asker among them.
        population: u32,
        /// Other members, those drawn by chance first, then some of the asker's network group.
        peers: BoundedVec<PeerId, MAX_INTRODUCED>,
    },
    /// The size of a joined swarm changed.
    Population {
        /// The swarm.
        stream: StreamId,
        /// Peers in the swarm.
        population: u32,
    },
    /// An introduction from another peer.
    Introduced(Box<SignedIntroduction>),
    /// A segment's root and group list. Comes to every member of the swarm, asked for or not.
    Attested(Box<Attested>),
    /// A segment can't be attested.
    AttestFailed {
        /// The segment.
        segment: SegmentId,
        /// Why.
        reason: AttestFailure,
    },
    /// A fresh certificate.
    Renewed(Box<SignedCertificate>),
    /// Answers a ping.
    Pong,
    /// The service closes the connection.
    Goaway {
        /// Why.
        reason: GoawayReason,
        /// Seconds the peer waits before it connects again.
        retry_after_secs: u32,
    },
    /// The receiver of an introduction is gone, was never introduced to the sender, or does not take its offer.
    Unreachable(PeerId),
    /// What is not to be kept, given or taken; right after the welcome, where there is such a list, and when it changes.
    Blocked(Box<SignedBlockList>),
    /// Members that joined a swarm at the same time, the receiver among them.
    Newcomers {
        /// The swarm.
        stream: StreamId,
        /// Who joined.
        peers: BoundedVec<PeerId, MAX_NEWCOMERS>,
    },
}

/// Answers a [`ClientHello`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Welcome {
    /// Version both speak from now on.
    pub version: u16,
    /// Feature bits of the service.
    pub features: u64,
    /// Issuer keys that are valid now; the first one's hash is the network id.
    pub issuers: BoundedVec<PublicKey, 2>,
    /// The peer's certificate.
    pub certificate: SignedCertificate,
    /// The service's wall clock.
    pub now: WallTime,
    /// STUN and TURN servers.
    pub ice_servers: BoundedVec<IceServer, 8>,
    /// Whether segments can be attested here.
    pub attests: bool,
}

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: BoundedVec<BoundedString<256>, 4>,
    /// User name for TURN, else empty.
    pub username: BoundedString<256>,
    /// Credential for TURN, else empty.
    pub credential: BoundedString<256>,
}

/// A segment's root with its group list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Attested {
    /// The signed statement: stream, key, length, root.
    pub attestation: SignedAttestation,
    /// The chaining values, none for a segment of one group. Longer segments are not attested.
    pub values: BoundedVec<ChainingValue, MAX_LIST_PART>,
}

/// Why a segment can't be attested.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum AttestFailure {
    /// The service attests nothing, or not this stream.
    NotServed,
    /// The origin did not answer with the segment; asking again later may help.
    Origin,
    /// The request breaks a rule (path, size).
    Refused,
}

/// Why the service closes a connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum GoawayReason {
    /// The peer broke a rule of the protocol.
    Misbehaviour,
    /// The sides share no protocol version.
    NoCommonVersion,
    /// Too many connections or certificates for this network group.
    Overloaded,
    /// Another connection of the same key took over.
    Replaced,
    /// The service goes down.
    Shutdown,
    /// The access token was missing or refused.
    Unauthorised,
}

#[derive(Deserialize)]
struct ChallengeBody(#[serde(with = "crate::bytes")] [u8; 32]);

impl ClientMessage {
    /// Appends the message as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => write_frame(out, CLIENT_HELLO, hello),
            Self::Join { stream, want } => write_frame(out, JOIN, &(stream, want)),
            Self::Leave(stream) => write_frame(out, LEAVE, stream),
            Self::MorePeers { stream, want } => write_frame(out, MORE_PEERS, &(stream, want)),
            Self::Introduce { to, introduction } => write_frame(out, INTRODUCE, &(to, introduction)),
            Self::Attest(request) => write_frame(out, ATTEST, request),
            Self::Renew => write_frame(out, RENEW, &()),
            Self::Ping => write_frame(out, CLIENT_PING, &()),
            Self::Full(full) => write_frame(out, FULL, full),
            Self::Refuse(peer) => write_frame(out, REFUSE, peer),
        }
    }

    /// The message alone in a transport message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`WireError::Malformed`]; `Ok(None)` for an unknown type, which is skipped.
    pub fn decode(frame: &Frame<'_>) -> Result<Option<Self>, WireError> {
        Ok(Some(match frame.kind {
            CLIENT_HELLO => Self::Hello(read_body(frame)?),
            JOIN => {
                let (stream, want) = read_body(frame)?;
                Self::Join { stream, want }
            }
            LEAVE => Self::Leave(read_body(frame)?),
            MORE_PEERS => {
                let (stream, want) = read_body(frame)?;
                Self::MorePeers { stream, want }
            }
            INTRODUCE => {
                let (to, introduction) = read_body(frame)?;
                Self::Introduce { to, introduction }
            }
            ATTEST => Self::Attest(read_body(frame)?),
            RENEW => Self::Renew,
            CLIENT_PING => Self::Ping,
            FULL => Self::Full(read_body(frame)?),
            REFUSE => Self::Refuse(read_body(frame)?),
            _ => return Ok(None),
        }))
    }
}

impl ServiceMessage {
    /// Appends the message as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Challenge(challenge) => write_frame(out, CHALLENGE, challenge),
            Self::Welcome(welcome) => write_frame(out, WELCOME, welcome),
            Self::Peers { stream, population, peers } => {
                write_frame(out, PEERS, &(stream, population, peers))
            }
            Self::Population { stream, population } => write_frame(out, POPULATION, &(stream, population)),
            Self::Introduced(introduction) => write_frame(out, INTRODUCED, introduction),
            Self::Attested(attested) => write_frame(out, ATTESTED, attested),
            Self::AttestFailed { segment, reason } => write_frame(out, ATTEST_FAILED, &(segment, reason)),
            Self::Renewed(certificate) => write_frame(out, RENEWED, certificate),
            Self::Pong => write_frame(out, SERVICE_PONG, &()),
            Self::Goaway { reason, retry_after_secs } => {
                write_frame(out, GOAWAY, &(reason, retry_after_secs))
            }
            Self::Unreachable(peer) => write_frame(out, UNREACHABLE, peer),
            Self::Blocked(list) => write_frame(out, BLOCKED, list),
            Self::Newcomers { stream, peers } => write_frame(out, NEWCOMERS, &(stream, peers)),
        }
    }

    /// The message alone in a transport message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`WireError::Malformed`]; `Ok(None)` for an unknown type, which is skipped.
    pub fn decode(frame: &Frame<'_>) -> Result<Option<Self>, WireError> {
        Ok(Some(match frame.kind {
            CHALLENGE => {
                let ChallengeBody(challenge) = read_body(frame)?;
                Self::Challenge(challenge)
            }
            WELCOME => Self::Welcome(read_body(frame)?),
            PEERS => {
                let (stream, population, peers) = read_body(frame)?;
                Self::Peers { stream, population, peers }
            }
            POPULATION => {
                let (stream, population) = read_body(frame)?;
                Self::Population { stream, population }
            }
            INTRODUCED => Self::Introduced(read_body(frame)?),
            ATTESTED => Self::Attested(read_body(frame)?),
            ATTEST_FAILED => {
                let (segment, reason) = read_body(frame)?;
                Self::AttestFailed { segment, reason }
            }
            RENEWED => Self::Renewed(read_body(frame)?),
            SERVICE_PONG => Self::Pong,
            GOAWAY => {
                let (reason, retry_after_secs) = read_body(frame)?;
                Self::Goaway { reason, retry_after_secs }
            }
            UNREACHABLE => Self::Unreachable(read_body(frame)?),
            BLOCKED => Self::Blocked(read_body(frame)?),
            NEWCOMERS => {
                let (stream, peers) = read_body(frame)?;
                Self::Newcomers { stream, peers }
            }
            _ => return Ok(None),
        }))
    }
}
