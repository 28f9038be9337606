//! The members of one swarm, drawn at random in constant time however many there are.

use std::collections::HashMap;

use rand_chacha::rand_core::Rng;
use tabswarm_core::id::PeerId;

#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<PeerId>,
    positions: HashMap<PeerId, usize>,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn as_slice(&self) -> &[PeerId] {
        &self.list
    }

    pub(super) fn insert(&mut self, peer: PeerId) {
        if !self.positions.contains_key(&peer) {
            self.positions.insert(peer, self.list.len());
            self.list.push(peer);
        }
    }

    /// Whether the peer was a member.
    pub(super) fn remove(&mut self, peer: PeerId) -> bool {
        let Some(position) = self.positions.remove(&peer) else { return false };
        self.list.swap_remove(position);
        if let Some(moved) = self.list.get(position) {
            self.positions.insert(*moved, position);
        }
        true
    }

    /// Up to `count` distinct members other than `asker`, in random order.
    pub(super) fn draw(&self, count: usize, asker: PeerId, rng: &mut impl Rng) -> Vec<PeerId> {
        if self.list.len() <= 2 * count {
            let mut others: Vec<PeerId> = self.list.iter().copied().filter(|peer| *peer != asker).collect();
            for last in (1..others.len()).rev() {
                others.swap(last, below(last + 1, rng));
            }
            others.truncate(count);
            return others;
        }
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let peer = self.list[below(self.list.len(), rng)];
            if peer != asker && !drawn.contains(&peer) {
                drawn.push(peer);
            }
        }
        drawn
    }
}

/// A number below `bound`; the bias of at most 2^-32 per member is of no use to anybody.
fn below(bound: usize, rng: &mut impl Rng) -> usize {
    let scaled = (u64::from(rng.next_u32()) * bound as u64) >> 32;
    usize::try_from(scaled).expect("below bound, which is a usize")
}
