//! What peers say of themselves, made of their numbers, as long as what real ones say.

use std::time::Duration;

use tabswarm_core::{
    bounded::BoundedBytes,
    id::{NetworkGroup, PeerId},
    kad::{Card, EXPIRY, Key, MAX_CERTIFICATE, OverlayMessage, Proofs, RouteMessage},
    time::Timestamp,
    wire::FRAME_HEADER_LEN,
};

/// Bytes of a certificate, a provider record and an introduction, about as many as real ones have.
pub(super) const CERTIFICATE: usize = 180;
pub(super) const RECORD: usize = 320;
pub(super) const INTRODUCTION: usize = 900;

/// A record is the key, the number of its peer and when it was signed.
#[derive(Debug)]
pub(super) struct Readable(pub(super) u64);

impl Proofs for Readable {
    fn peer(&self, certificate: &[u8], _: Timestamp) -> Option<Card> {
        Some(card(self.0, u32::from_le_bytes(*certificate.first_chunk()?)))
    }

    fn provider(&self, key: Key, record: &[u8], now: Timestamp) -> Option<(Card, Duration)> {
        let (of, rest) = record.split_first_chunk::<32>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let at = Timestamp::from_micros(u64::from_le_bytes(*rest.first_chunk()?));
        let holds = (at + EXPIRY).saturating_since(now);
        let is_true = of == key.as_bytes() && !holds.is_zero();
        is_true.then(|| (card(self.0, u32::from_le_bytes(*number)), holds))
    }
}

pub(super) fn hash(seed: u64, what: &str, number: u32) -> [u8; 32] {
    *blake3::hash(format!("{seed} {what} {number}").as_bytes()).as_bytes()
}

pub(super) fn card(seed: u64, number: u32) -> Card {
    let group = *hash(seed, "group", number).first_chunk().expect("there are 32 bytes");
    Card { peer: PeerId::from_bytes(hash(seed, "peer", number)), group: NetworkGroup::from_bytes(group) }
}

pub(super) fn certificate(number: u32) -> BoundedBytes<MAX_CERTIFICATE> {
    padded(&number.to_le_bytes(), CERTIFICATE).try_into().expect("it is short")
}

/// These bytes, and as many behind them that say nothing.
pub(super) fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(len, 0);
    padded
}

/// Bytes of a message as a frame.
pub(super) fn frame_len(message: &OverlayMessage) -> usize {
    // A route's number, a length or a patience takes as many bytes as it needs.
    const ROUTE: usize = 10;
    let of_it = match message {
        OverlayMessage::Route(RouteMessage::Forward { body, .. }) => ROUTE + 32 + 1 + 2 + 2 + body.len(),
        OverlayMessage::Route(RouteMessage::Ack(_)) => ROUTE,
        OverlayMessage::Route(RouteMessage::Reply(_, body)) => ROUTE + 2 + body.len(),
        OverlayMessage::Route(RouteMessage::NoWay(..)) => ROUTE + 1,
        OverlayMessage::Keep(_, record) => 32 + 2 + record.len(),
        OverlayMessage::Client(_) => 1,
    };
    FRAME_HEADER_LEN + of_it
}
