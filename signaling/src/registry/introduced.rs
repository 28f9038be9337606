//! The peers one peer was given.
//!
//! The pair is kept at the asker only: what others ask for can't push anything out of a peer's own list.

use std::collections::VecDeque;

use tabswarm_core::id::PeerId;

/// Most peers remembered for one asker; the oldest go first.
pub(super) const MAX_REMEMBERED: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Introduced(VecDeque<PeerId>);

impl Introduced {
    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.0.contains(&peer)
    }

    /// Remembers a peer as the newest.
    pub(super) fn insert(&mut self, peer: PeerId) {
        if let Some(position) = self.0.iter().position(|known| *known == peer) {
            self.0.remove(position);
        }
        if self.0.len() >= MAX_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut introduced = Introduced::default();
        let limit = u16::try_from(MAX_REMEMBERED).unwrap();
        for number in 0..limit {
            introduced.insert(peer(number));
        }
        introduced.insert(peer(0));
        introduced.insert(peer(limit));
        assert!(introduced.contains(peer(0)) && introduced.contains(peer(limit)));
        assert!(!introduced.contains(peer(1)));
        assert_eq!(introduced.0.len(), MAX_REMEMBERED);
    }
}
