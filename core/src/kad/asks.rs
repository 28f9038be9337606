//! What goes along a route: what is asked of whoever lives near a key, and what they say.

use serde::{Deserialize, Serialize};

use super::MAX_ANSWER;
use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::{NetworkGroup, PeerId},
};

/// Most bytes of a peer's certificate as it travels.
pub const MAX_CERTIFICATE: usize = 640;
/// Most bytes of a provider record.
pub const MAX_RECORD: usize = 1024;
/// Most bytes of what two peers tell each other who want to connect.
pub const MAX_INTRODUCTION: usize = 8 * 1024;
/// Most peers in an answer.
pub(super) const MAX_CARDS: usize = 16;

/// A certificate, as it travels and whatever it is worth.
pub(super) type Certificate = BoundedBytes<MAX_CERTIFICATE>;

/// What a certificate says of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Card {
    /// Who.
    pub peer: PeerId,
    /// Where it connects from.
    pub group: NetworkGroup,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Ask {
    /// Who lives near the key.
    Peers,
    /// Who provides it.
    Providers,
    /// Keep this record of a provider.
    Provide(BoundedBytes<MAX_RECORD>),
    /// For this peer, or for who has a link to it: somebody wants one. The key is its own, or that of a peer that knows it.
    Introduce(PeerId, BoundedBytes<MAX_INTRODUCTION>),
}

/// What is said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Answer {
    /// There is nothing, as far as the one knows who is nearest.
    Nothing,
    /// Certificates of peers near the key, first of all of the one that says so.
    Peers(BoundedVec<Certificate, MAX_CARDS>),
    /// Records of providers.
    Providers(BoundedVec<BoundedBytes<MAX_RECORD>, MAX_ANSWER>),
    /// The record is kept; of so many thousand renewals of it one is enough to be made.
    Kept(u16),
    /// What the peer says to an introduction.
    Introduced(BoundedBytes<MAX_INTRODUCTION>),
}

/// A share of 1, in thousandths: one at least.
pub(super) fn thousandths(share: f64) -> u16 {
    (share.clamp(0.001, 1.0) * 1000.0) as u16
}

pub(super) fn encode(said: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(said).expect("it has an encoding")
}

/// What these bytes say; `None` if that is nothing, or something is behind it.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (said, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_said_reads_back() {
        let certificate = BoundedBytes::try_from(vec![2; MAX_CERTIFICATE]).unwrap();
        let record = BoundedBytes::try_from(vec![3; MAX_RECORD]).unwrap();
        let introduction = BoundedBytes::try_from(vec![4; MAX_INTRODUCTION]).unwrap();
        let introduce = Ask::Introduce(PeerId::from_bytes([1; 32]), introduction);
        for ask in [Ask::Peers, Ask::Providers, Ask::Provide(record.clone()), introduce] {
            assert_eq!(decode(&encode(&ask)), Some(ask.clone()));
            assert_eq!(decode::<Ask>(&[encode(&ask), vec![0]].concat()), None, "something behind it");
        }
        let answers = [
            Answer::Nothing,
            Answer::Peers(BoundedVec::first_of(std::iter::repeat_n(certificate, MAX_CARDS))),
            Answer::Providers(BoundedVec::first_of([record])),
            Answer::Kept(1000),
        ];
        for answer in answers {
            assert_eq!(decode(&encode(&answer)), Some(answer));
        }
    }

    #[test]
    fn more_than_may_be_is_nothing() {
        for certificates in [vec![vec![1_u8; 2]; MAX_CARDS + 1], vec![vec![1; MAX_CERTIFICATE + 1]]] {
            let mut peers = encode(&Answer::Peers(BoundedVec::new()));
            peers.truncate(1);
            peers.extend(encode(&certificates));
            assert_eq!(decode::<Answer>(&peers), None);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let (_, _) = (decode::<Ask>(&bytes), decode::<Answer>(&bytes));
        }
    }
}
