//! What peers of the overlay say to each other, as frames of a control channel (docs/protocol.md §4.10).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Key, MAX_ASK, MAX_RECORD, OverlayMessage, RouteId, RouteMessage};
use crate::{
    bounded::BoundedBytes,
    wire::{Frame, WireError, read_body, write_frame},
};

/// Most bytes of an answer along a route: 16 records fit.
pub const MAX_ROUTED: usize = 20 * 1024;

const FORWARD: u16 = 15;
const ACK: u16 = 16;
const REPLY: u16 = 17;
const NO_WAY: u16 = 18;
const KEEP: u16 = 19;
const CLIENT: u16 = 20;

#[derive(Deserialize, Serialize)]
struct Forward {
    route: RouteId,
    key: Key,
    budget: u8,
    patience_ms: u16,
    body: BoundedBytes<MAX_ASK>,
}

/// What is asked, answered or kept is bounded where it is made and where it is read.
fn bounded<const N: usize>(bytes: Vec<u8>) -> BoundedBytes<N> {
    bytes.try_into().expect("nothing longer is made or read")
}

impl OverlayMessage {
    /// Appends the message as one frame.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Route(RouteMessage::Forward { route, key, budget, patience, body }) => {
                let patience_ms = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX);
                let body = bounded(body);
                write_frame(out, FORWARD, &Forward { route, key, budget, patience_ms, body });
            }
            Self::Route(RouteMessage::Ack(route)) => write_frame(out, ACK, &route),
            Self::Route(RouteMessage::Reply(route, body)) => {
                write_frame(out, REPLY, &(route, bounded::<MAX_ROUTED>(body)));
            }
            Self::Route(RouteMessage::NoWay(route, spent)) => write_frame(out, NO_WAY, &(route, spent)),
            Self::Keep(key, record) => write_frame(out, KEEP, &(key, bounded::<MAX_RECORD>(record))),
            Self::Client(client) => write_frame(out, CLIENT, &client),
        }
    }

    /// What it costs of a neighbour's allowance: about the work it makes. A record has two signatures to be checked.
    pub fn cost(&self) -> u32 {
        match self {
            Self::Keep(..) => 16,
            Self::Route(RouteMessage::Forward { .. }) | Self::Client(_) => 8,
            Self::Route(RouteMessage::Reply(..)) => 2,
            Self::Route(RouteMessage::Ack(_) | RouteMessage::NoWay(..)) => 1,
        }
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`WireError::Malformed`]; `Ok(None)` for a type that is none of the overlay's.
    pub fn decode(frame: &Frame<'_>) -> Result<Option<Self>, WireError> {
        Ok(Some(match frame.kind {
            FORWARD => {
                let Forward { route, key, budget, patience_ms, body } = read_body(frame)?;
                let patience = Duration::from_millis(patience_ms.into());
                let body = body.into_vec();
                Self::Route(RouteMessage::Forward { route, key, budget, patience, body })
            }
            ACK => Self::Route(RouteMessage::Ack(read_body(frame)?)),
            REPLY => {
                let (route, body): (RouteId, BoundedBytes<MAX_ROUTED>) = read_body(frame)?;
                Self::Route(RouteMessage::Reply(route, body.into_vec()))
            }
            NO_WAY => {
                let (route, spent) = read_body(frame)?;
                Self::Route(RouteMessage::NoWay(route, spent))
            }
            KEEP => {
                let (key, record): (Key, BoundedBytes<MAX_RECORD>) = read_body(frame)?;
                Self::Keep(key, record.into_vec())
            }
            CLIENT => Self::Client(read_body(frame)?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kad::PATIENCE,
        wire::{FRAME_HEADER_LEN, frames},
    };

    fn messages() -> Vec<OverlayMessage> {
        let route = RouteId(u64::MAX);
        let key = Key::from_bytes([7; 32]);
        let forward = |body| RouteMessage::Forward { route, key, budget: 24, patience: PATIENCE, body };
        vec![
            OverlayMessage::Route(forward(Vec::new())),
            OverlayMessage::Route(forward(vec![9; MAX_ASK])),
            OverlayMessage::Route(RouteMessage::Ack(route)),
            OverlayMessage::Route(RouteMessage::Reply(route, vec![1; MAX_ROUTED])),
            OverlayMessage::Route(RouteMessage::NoWay(route, 3)),
            OverlayMessage::Keep(key, vec![2; MAX_RECORD]),
            OverlayMessage::Client(true),
        ]
    }

    fn read(bytes: &[u8]) -> Result<Option<OverlayMessage>, WireError> {
        frames(bytes).next().expect("there is a frame").and_then(|frame| OverlayMessage::decode(&frame))
    }

    #[test]
    fn what_is_said_reads_back() {
        for message in messages() {
            let mut bytes = Vec::new();
            message.clone().encode(&mut bytes);
            assert_eq!(read(&bytes), Ok(Some(message)));
        }
    }

    #[test]
    fn more_than_may_be_is_malformed() {
        let route = RouteId(1);
        let long = |kind: u16, len: usize| {
            let mut bytes = Vec::new();
            match kind {
                REPLY => write_frame(&mut bytes, REPLY, &(route, vec![0_u8; len])),
                _ => write_frame(&mut bytes, KEEP, &(Key::from_bytes([0; 32]), vec![0_u8; len])),
            }
            read(&bytes)
        };
        for (kind, most) in [(REPLY, MAX_ROUTED), (KEEP, MAX_RECORD)] {
            assert!(matches!(long(kind, most), Ok(Some(_))));
            assert_eq!(long(kind, most + 1), Err(WireError::Malformed { kind }));
        }
    }

    #[test]
    fn what_ends_too_soon_is_malformed_and_other_types_are_nothing() {
        for message in messages() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let kind = u16::from_le_bytes([bytes[0], bytes[1]]);
            let frame = Frame { kind, body: &bytes[FRAME_HEADER_LEN..bytes.len() - 1] };
            assert_eq!(OverlayMessage::decode(&frame), Err(WireError::Malformed { kind }));
        }
        for kind in (0..15).chain(21..64) {
            assert_eq!(OverlayMessage::decode(&Frame { kind, body: &[] }), Ok(None));
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(
            kind in FORWARD..=CLIENT,
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            drop(OverlayMessage::decode(&Frame { kind, body: &body }));
        }
    }
}
