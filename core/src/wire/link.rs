//! Messages between two peers on a link (docs/protocol.md §4).
//!
//! The control channel carries every [`LinkMessage`]; the bulk channel carries [`Data`] frames alone.

use serde::{Deserialize, Serialize};

use super::{
    WireError,
    frame::{FRAME_HEADER_LEN, Frame, frames, read_body, write_frame},
};
use crate::{
    bounded::BoundedVec,
    content::{ChainingValue, GROUP_LEN, SegmentLen},
    id::{ContentId, RequestId, StreamId},
    identity::LinkHello,
    units::{GroupIndex, GroupRange},
};

/// Most entries in one [`Have`].
pub const MAX_HAVE_ENTRIES: usize = 256;
/// Most ranges in one request or one entry of a [`Have`].
pub const MAX_RANGES: usize = 64;
/// Most chaining values in one [`ListPart`]: 32 KiB.
pub const MAX_LIST_PART: usize = 1024;
/// Upper bound of the bytes a [`Data`] frame has before its groups.
pub const DATA_HEADER_MAX: usize = 64;
/// Most groups in one [`Data`] frame: 128 KiB, half of what a browser takes in a message.
pub const MAX_RUN: usize = 8;
/// Longest transport message that is accepted on a bulk channel.
pub const MAX_DATA_LEN: usize = DATA_HEADER_MAX + MAX_RUN * GROUP_LEN as usize;

const HELLO: u16 = 1;
const BYE: u16 = 2;
const PING: u16 = 3;
const PONG: u16 = 4;
const HAVE: u16 = 5;
const LOST: u16 = 6;
const REQUEST: u16 = 7;
const CANCEL: u16 = 8;
const REJECT: u16 = 9;
const GET_LIST: u16 = 10;
const LIST_PART: u16 = 11;
const NO_LIST: u16 = 12;
const UNCHOKE: u16 = 13;
const RELEASE: u16 = 14;
const PARTNER: u16 = 21;
const DATA: u16 = 32;

/// A control message between two peers.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkMessage {
    /// First message of both sides, nothing else is read before it.
    Hello(Box<LinkHello>),
    /// The sender leaves or throws the receiver out.
    Bye(ByeReason),
    /// Asks for a [`LinkMessage::Pong`] with the same number.
    Ping(u32),
    /// Answers a [`LinkMessage::Ping`].
    Pong(u32),
    /// What the sender holds, adding to what it said before.
    Have(Have),
    /// Content the sender has no more.
    Lost(BoundedVec<ContentId, MAX_HAVE_ENTRIES>),
    /// Asks for groups; this is the credit to send them.
    Request(Request),
    /// The groups of this request are no longer wanted.
    Cancel(RequestId),
    /// The sender will not serve (the rest of) this request.
    Reject(RequestId, RejectReason),
    /// Asks for the group list of a segment.
    GetList(ContentId),
    /// A part of a group list.
    ListPart(ListPart),
    /// The sender has no group list of this content.
    NoList(ContentId),
    /// The sender, who rejected a request for being busy, has time for requests now.
    Unchoke,
    /// The sender would give the link up: trade over it, or if there is none the link. Who can spare that too ends it, others do nothing.
    Release,
    /// Whether the sender would trade segments over the link.
    Partner(bool),
}

/// Why a peer says goodbye.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ByeReason {
    /// The page goes away or P2P was switched off.
    Leaving,
    /// The receiver broke a rule of the protocol.
    Misbehaviour,
    /// The sides share no protocol version.
    NoCommonVersion,
    /// The receiver would give the link up, and the sender can spare it.
    TooManyLinks,
}

/// What a peer holds of one stream.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Have {
    /// The stream whose viewers want to know.
    pub stream: StreamId,
    /// Held segments.
    pub entries: BoundedVec<HaveEntry, MAX_HAVE_ENTRIES>,
}

/// One segment of a [`Have`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HaveEntry {
    /// The segment.
    pub content: ContentId,
    /// How much of it.
    pub held: Held,
}

/// How much of a segment a peer holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Held {
    /// Every group.
    All,
    /// These groups, besides those said before.
    Groups(BoundedVec<GroupRange, MAX_RANGES>),
    /// These groups not yet: the sender gets them now, from the origin or a neighbour, and passes them on as they verify.
    Coming(BoundedVec<GroupRange, MAX_RANGES>),
    /// These groups, held or coming, have a place on the sender's uplink for the receiver: a request that comes soon is kept until
    /// they are there.
    Offered(BoundedVec<GroupRange, MAX_RANGES>),
    /// These groups not yet, and not for sure: somebody in the swarm asks the origin for them now.
    OnDuty(BoundedVec<GroupRange, MAX_RANGES>),
}

/// Asks for groups of one segment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Request {
    /// Number of the request, rising on each link and side.
    pub id: RequestId,
    /// The segment.
    pub content: ContentId,
    /// The groups, in the order they are wanted.
    pub groups: BoundedVec<GroupRange, MAX_RANGES>,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum RejectReason {
    /// The sender has no time for groups after the first so many; it says when it does.
    Busy(u32),
    /// The sender does not hold (all of) the groups.
    NotHeld,
    /// The place that was offered has gone to others.
    Taken,
}

/// A part of a segment's group list.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ListPart {
    /// The segment.
    pub content: ContentId,
    /// Its length.
    pub len: SegmentLen,
    /// Index of the first value in this part.
    pub first: GroupIndex,
    /// The values; none at all for a segment of one group.
    pub values: BoundedVec<ChainingValue, MAX_LIST_PART>,
}

/// Consecutive groups of a segment, on the bulk channel: at least one, at most [`MAX_RUN`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Data<'a> {
    /// The request this answers.
    pub request: RequestId,
    /// The first group.
    pub first: GroupIndex,
    /// Their bytes.
    pub bytes: &'a [u8],
}

#[derive(Deserialize, Serialize)]
struct DataHeader {
    request: RequestId,
    first: GroupIndex,
}

/// Writes the bytes that go before groups of `len` bytes together in their bulk message.
pub fn data_header(request: RequestId, first: GroupIndex, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(DATA_HEADER_MAX);
    write_frame(&mut out, DATA, &DataHeader { request, first });
    let body_len = u32::try_from(out.len() - FRAME_HEADER_LEN + len).expect("a run is at most 64 KiB");
    out[2..FRAME_HEADER_LEN].copy_from_slice(&body_len.to_le_bytes());
    out
}

impl<'a> Data<'a> {
    /// Reads a bulk message: exactly one data frame.
    ///
    /// # Errors
    /// [`WireError`] if it is anything else, or has no groups or too many; `Ok(None)` for a frame of an unknown type, which is
    /// skipped.
    pub fn decode(message: &'a [u8]) -> Result<Option<Self>, WireError> {
        let frame = frames(message).next().ok_or(WireError::Truncated)??;
        if frame.kind != DATA {
            return Ok(None);
        }
        // What is checked has to be what is kept, and that is named by its place at the message's end.
        if FRAME_HEADER_LEN + frame.body.len() != message.len() {
            return Err(WireError::Malformed { kind: DATA });
        }
        let (DataHeader { request, first }, bytes) =
            postcard::take_from_bytes(frame.body).map_err(|_| WireError::Malformed { kind: DATA })?;
        if bytes.is_empty() || bytes.len() > MAX_RUN * GROUP_LEN as usize {
            return Err(WireError::Malformed { kind: DATA });
        }
        Ok(Some(Self { request, first, bytes }))
    }

    /// The groups, each with its bytes: all but the last are whole.
    pub fn groups(&self) -> impl Iterator<Item = (GroupIndex, &'a [u8])> {
        let first = self.first.value();
        let groups = self.bytes.chunks(GROUP_LEN as usize).zip(0..);
        groups.map(move |(bytes, place)| (GroupIndex::new(first.saturating_add(place)), bytes))
    }
}

impl LinkMessage {
    /// Appends the message as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => write_frame(out, HELLO, hello),
            Self::Bye(reason) => write_frame(out, BYE, reason),
            Self::Ping(number) => write_frame(out, PING, number),
            Self::Pong(number) => write_frame(out, PONG, number),
            Self::Have(have) => write_frame(out, HAVE, have),
            Self::Lost(contents) => write_frame(out, LOST, contents),
            Self::Request(request) => write_frame(out, REQUEST, request),
            Self::Cancel(request) => write_frame(out, CANCEL, request),
            Self::Reject(request, reason) => write_frame(out, REJECT, &(request, reason)),
            Self::GetList(content) => write_frame(out, GET_LIST, content),
            Self::ListPart(part) => write_frame(out, LIST_PART, part),
            Self::NoList(content) => write_frame(out, NO_LIST, content),
            Self::Unchoke => write_frame(out, UNCHOKE, &()),
            Self::Release => write_frame(out, RELEASE, &()),
            Self::Partner(wants) => write_frame(out, PARTNER, wants),
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
            HELLO => Self::Hello(read_body(frame)?),
            BYE => Self::Bye(read_body(frame)?),
            PING => Self::Ping(read_body(frame)?),
            PONG => Self::Pong(read_body(frame)?),
            HAVE => Self::Have(read_body(frame)?),
            LOST => Self::Lost(read_body(frame)?),
            REQUEST => Self::Request(read_body(frame)?),
            CANCEL => Self::Cancel(read_body(frame)?),
            REJECT => {
                let (request, reason) = read_body(frame)?;
                Self::Reject(request, reason)
            }
            GET_LIST => Self::GetList(read_body(frame)?),
            LIST_PART => Self::ListPart(read_body(frame)?),
            NO_LIST => Self::NoList(read_body(frame)?),
            UNCHOKE => Self::Unchoke,
            RELEASE => Self::Release,
            PARTNER => Self::Partner(read_body(frame)?),
            _ => return Ok(None),
        }))
    }
}
