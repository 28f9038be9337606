//! Peers and the links between them.

use std::time::Duration;

use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use tabswarm_core::{
    id::{LinkId, NetworkGroup, PeerId},
    kad::{Contact, Key, Routes, Table, Width},
    time::Timestamp,
};

use super::{lookups::Scenario, space::Place};
use crate::sim::fraction;

/// When the mesh is there: its links are old enough for their peers to count as settled.
pub(super) const READY: Timestamp = Timestamp::from_millis(600_000);
/// Most links of a tab, and of a super-peer.
const TAB_LINKS: usize = 60;
const SUPER_PEER_LINKS: usize = 1000;
/// Super-peers that each tab has a link to.
const SUPER_PEERS: usize = 2;
/// Of so many times as many as a bucket keeps the quickest are taken.
const CHOICE: usize = 4;

/// A peer. Each calls its link to another by the other's number.
pub(super) struct Peer {
    pub(super) place: Place,
    pub(super) table: Table,
    pub(super) routes: Routes,
    /// Asks only.
    pub(super) client: bool,
    /// Takes everything and says nothing.
    pub(super) silent: bool,
    /// When its timer goes off.
    pub(super) due: Option<Timestamp>,
}

pub(super) struct Mesh {
    pub(super) peers: Vec<Peer>,
    ids: Vec<PeerId>,
    /// Those who are no clients, by their ids.
    sorted: Vec<(Key, usize)>,
}

pub(super) fn link(to: usize) -> LinkId {
    LinkId::new(to as u64)
}

/// Bytes that look like chance, the same each time.
fn bytes(seed: u64, what: &str, number: usize) -> [u8; 32] {
    *blake3::hash(format!("{seed} {what} {number}").as_bytes()).as_bytes()
}

impl Mesh {
    /// Peers that have met whom they looked for.
    pub(super) fn of(scenario: &Scenario, rng: &mut ChaCha8Rng) -> Self {
        let Scenario { seed, peers: count, .. } = *scenario;
        let super_peers = (count as f64 * scenario.super_peers) as usize;
        let ids: Vec<PeerId> =
            (0..count).map(|number| PeerId::from_bytes(bytes(seed, "peer", number))).collect();
        let peers: Vec<Peer> = (0..count)
            .map(|number| {
                let (most, width) = if number < super_peers {
                    (SUPER_PEER_LINKS, Width::SUPER_PEER)
                } else {
                    (TAB_LINKS, Width::TAB.of(count as f64))
                };
                Peer {
                    place: Place::random(rng),
                    table: Table::new(ids[number], most, width, None),
                    routes: Routes::new(),
                    client: number >= super_peers && fraction(rng) < scenario.clients,
                    silent: fraction(rng) < scenario.silent,
                    due: None,
                }
            })
            .collect();
        let mut sorted: Vec<_> =
            (0..count).filter(|peer| !peers[*peer].client).map(|peer| (Key::from(ids[peer]), peer)).collect();
        sorted.sort_unstable();
        let mut mesh = Self { peers, ids, sorted };
        let mut order: Vec<usize> = (0..count).collect();
        shuffle(&mut order, rng);
        for peer in order {
            for other in mesh.wishes(peer, super_peers, rng) {
                mesh.connect(peer, other, seed);
            }
        }
        mesh
    }

    /// Whom a peer looks for: its siblings, a few for each bucket, and super-peers.
    fn wishes(&self, me: usize, super_peers: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let (key, width) = (Key::from(self.ids[me]), self.peers[me].table.width());
        let mut wishes: Vec<usize> =
            self.nearest(key, width.siblings + 1).into_iter().filter(|other| *other != me).collect();
        for bits in 0..self.sorted.len().ilog2() + 2 {
            let bucket = self.bucket(key, bits);
            let choice = if bucket.len() <= CHOICE * width.bucket {
                bucket.to_vec()
            } else {
                (0..CHOICE * width.bucket).map(|_| bucket[rng.next_u32() as usize % bucket.len()]).collect()
            };
            let mut quickest: Vec<(Duration, usize)> =
                choice.iter().map(|(_, other)| (self.rtt(me, *other), *other)).collect();
            quickest.sort_unstable();
            quickest.dedup();
            wishes.extend(quickest.iter().take(width.bucket).map(|(_, other)| *other));
        }
        let wants = if me < super_peers { 0 } else { SUPER_PEERS.min(super_peers) };
        wishes.extend((0..wants).map(|_| rng.next_u32() as usize % super_peers));
        wishes
    }

    /// Those who share so many bits with a key and not the next one.
    fn bucket(&self, key: Key, bits: u32) -> &[(Key, usize)] {
        // All keys that begin like this one lie together; of those the ones with the next bit set are behind the others.
        let common = |other: &Key| key.distance(*other).common_bits();
        let first = self.sorted.partition_point(|(other, _)| *other < key && common(other) < bits);
        let len = self.sorted[first..].partition_point(|(other, _)| common(other) >= bits);
        let all = &self.sorted[first..first + len];
        let Some((first, _)) = all.first() else { return all };
        let nearer = all.partition_point(|(other, _)| (common(other) > bits) == (common(first) > bits));
        if common(first) > bits { &all[nearer..] } else { &all[..nearer] }
    }

    /// The peers nearest to a key that are no clients, the nearest first.
    pub(super) fn nearest(&self, key: Key, most: usize) -> Vec<usize> {
        nearest(&self.sorted, key, most)
    }

    fn rtt(&self, a: usize, b: usize) -> Duration {
        self.peers[a].place.rtt(self.peers[b].place)
    }

    fn connect(&mut self, from: usize, to: usize, seed: u64) {
        let rtt = Some(self.rtt(from, to));
        for (me, other, inbound) in [(from, to, false), (to, from, true)] {
            let group = *bytes(seed, "group", other).first_chunk().expect("there are 32 bytes");
            let contact = Contact {
                link: link(other),
                peer: self.ids[other],
                group: NetworkGroup::from_bytes(group),
                since: Timestamp::default(),
                rtt,
                inbound,
                client: self.peers[other].client,
            };
            self.peers[me].table.offer(contact, READY);
        }
    }
}

fn shuffle(order: &mut [usize], rng: &mut ChaCha8Rng) {
    for place in (1..order.len()).rev() {
        order.swap(place, rng.next_u32() as usize % (place + 1));
    }
}

/// Of peers sorted by their keys those nearest to a key, the nearest first.
pub(super) fn nearest<T: Copy + Ord>(sorted: &[(Key, T)], key: Key, most: usize) -> Vec<T> {
    let at = sorted.partition_point(|(other, _)| *other < key);
    // Whoever is among the nearest shares as many bits with the key as the last of those around its place, or more.
    let around = &sorted[at.saturating_sub(most)..(at + most).min(sorted.len())];
    let mut apart: Vec<_> = around.iter().map(|(other, _)| key.distance(*other)).collect();
    apart.sort_unstable();
    let last = apart.get(most.min(apart.len()).wrapping_sub(1));
    let Some(bits) = last.map(|apart| apart.common_bits()) else { return Vec::new() };
    let from = sorted.partition_point(|(other, _)| *other < key && key.distance(*other).common_bits() < bits);
    let near = sorted[from..].iter().take_while(|(other, _)| key.distance(*other).common_bits() >= bits);
    let mut near: Vec<_> = near.map(|(other, peer)| (key.distance(*other), *peer)).collect();
    near.sort_unstable();
    near.truncate(most);
    near.into_iter().map(|(_, peer)| peer).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_nearest_and_the_buckets_are_those_that_looking_at_all_finds() {
        let scenario = Scenario { peers: 300, ..Scenario::default() };
        let mesh = Mesh::of(&scenario, &mut ChaCha8Rng::from_seed([1; 32]));
        for number in 0..50 {
            let key = Key::from_bytes(bytes(9, "key", number));
            let mut all: Vec<_> =
                mesh.sorted.iter().map(|(other, peer)| (key.distance(*other), *peer)).collect();
            all.sort_unstable();
            let nearest: Vec<_> = all.iter().take(8).map(|(_, peer)| *peer).collect();
            assert_eq!(mesh.nearest(key, 8), nearest);
            for bits in 0..10 {
                let bucket: Vec<_> = mesh
                    .sorted
                    .iter()
                    .filter(|(other, _)| key.distance(*other).common_bits() == bits)
                    .copied()
                    .collect();
                assert_eq!(mesh.bucket(key, bits), bucket, "{bits} bits");
            }
        }
    }
}
