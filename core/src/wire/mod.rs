//! The wire format (docs/protocol.md): what peers say to each other and to the service.
//!
//! Everything here is bounded at the edge: a message that parses obeys every limit of its fields.

mod frame;
mod link;
mod service;

use thiserror::Error;

use crate::identity::VersionRange;

pub use frame::{FRAME_HEADER_LEN, Frame, Frames, MAX_MESSAGE_LEN, frames};
pub(crate) use frame::{read_body, write_frame};
pub use link::{
    ByeReason, DATA_HEADER_MAX, Data, Have, HaveEntry, Held, LinkMessage, ListPart, MAX_DATA_LEN,
    MAX_HAVE_ENTRIES, MAX_LIST_PART, MAX_RANGES, MAX_RUN, RejectReason, Request, data_header,
};
pub use service::{
    AttestFailure, AttestRequest, Attested, ClientHello, ClientMessage, FEATURE_NEAR, GoawayReason,
    IceServer, MAX_INTRODUCED, MAX_NEWCOMERS, ServiceMessage, Welcome,
};

/// Lowest and highest protocol version this build speaks.
pub const PROTOCOL_VERSIONS: VersionRange = match VersionRange::new(1, 1) {
    Some(versions) => versions,
    None => panic!("the range is in order"),
};

/// Why a transport message could not be read. The sender's fault, always.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WireError {
    /// A body does not decode as its type says.
    #[error("message of type {kind} is malformed")]
    Malformed {
        /// The message type.
        kind: u16,
    },
    /// The message is longer than the limit of its channel.
    #[error("message of {len} bytes is over the limit")]
    TooLong {
        /// Bytes that came.
        len: usize,
    },
    /// A frame claims more bytes than came.
    #[error("message ends inside a frame")]
    Truncated,
}
