//! Peers that broke a rule, for the rest of the session.

use std::collections::VecDeque;

use thiserror::Error;

use crate::id::PeerId;

/// Most peers remembered; the oldest ban is forgotten first.
const MAX_BANS: usize = 1024;

/// A rule a peer broke. One is enough for a ban.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Violation {
    /// A group's bytes do not match the segment's group list.
    #[error("sent a group that fails verification")]
    BadGroup,
    /// The hello contradicts the introduction.
    #[error("its hello contradicts its introduction")]
    BadHello,
    /// A message does not parse or is over its limit.
    #[error("sent a malformed message")]
    Malformed,
    /// What it says it holds does not come, and nothing else ever did.
    #[error("never sends what it says it holds")]
    NeverGives,
    /// More messages than the limit.
    #[error("sent too many messages")]
    TooManyMessages,
    /// The transport's rules were broken: an unknown data channel, text instead of bytes.
    #[error("broke the rules of the transport")]
    Transport,
    /// Groups came that nobody asked for.
    #[error("sent groups that nobody asked for")]
    Unsolicited,
}

/// The banned peers.
#[derive(Clone, Debug, Default)]
pub struct Bans {
    peers: VecDeque<PeerId>,
}

impl Bans {
    /// Bans a peer.
    pub fn insert(&mut self, peer: PeerId) {
        if self.contains(&peer) {
            return;
        }
        self.peers.push_back(peer);
        if self.peers.len() > MAX_BANS {
            self.peers.pop_front();
        }
    }

    /// How many are banned.
    pub fn count(&self) -> usize {
        self.peers.len()
    }

    /// Whether a peer is banned.
    pub fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        PeerId::from_bytes(bytes)
    }

    #[test]
    fn the_oldest_ban_is_forgotten_at_the_limit() {
        let mut bans = Bans::default();
        for number in 0..=MAX_BANS {
            bans.insert(peer(number));
        }
        assert!(!bans.contains(&peer(0)));
        assert!(bans.contains(&peer(1)) && bans.contains(&peer(MAX_BANS)));
    }
}
