//! Who is connected, who is in which swarm, and who may send an introduction to whom.
//!
//! Sans-IO: `now` is an argument, randomness a seed, and what a peer is reached by is the caller's type `H`, so the
//! service and the simulator run the same code. Drive rule: after every command, drain
//! [`Registry::poll_announcement`], then call again at [`Registry::poll_timeout`].
//!
//! Left out on purpose: keys are not verified here, and nothing is stored over a restart.

mod introduced;
mod members;
mod newcomers;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    bounded::BoundedVec,
    id::{NetworkGroup, PeerId, StreamId},
    identity::PublicKey,
    time::Timestamp,
    wire::{MAX_INTRODUCED, ServiceMessage},
};

use introduced::Introduced;
use members::Members;
use newcomers::Newcomers;

/// Least time between two announcements of one swarm's population.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);

/// Members to which one announcement a second is affordable; larger swarms are told in proportion less often.
pub const ANNOUNCE_FULL_RATE_MEMBERS: usize = 1_000;

/// What a registry holds at most.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Swarms in all (default 20,000).
    pub swarms: usize,
    /// Swarms one peer is in at a time (default 16).
    pub swarms_per_peer: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { swarms: 20_000, swarms_per_peer: 16 }
    }
}

/// Why a peer can't join a swarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There are as many swarms as the registry holds.
    #[error("the registry is full of swarms")]
    Full,
    /// The connection was replaced or closed.
    #[error("the connection is no longer the peer's")]
    Stale,
    /// The peer is in as many swarms as it may be.
    #[error("the peer is in too many swarms")]
    TooManySwarms,
}

/// A connected peer's place: commands with the seat of a replaced connection do nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seat {
    peer: PeerId,
    connection: u64,
}

impl Seat {
    /// The peer that sits here.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

/// What [`Registry::join`] and [`Registry::more_peers`] answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Introductions {
    /// Peers in the swarm, the asker among them.
    pub population: u32,
    /// Other members, at most [`MAX_INTRODUCED`]: those drawn by chance first, then some of the asker's network group. The asker
    /// and each of them may now write to each other.
    pub peers: Vec<PeerId>,
}

/// What members of a swarm are to hear of it.
#[derive(Clone, Debug)]
pub struct Announcement<H> {
    /// Its size changed, or some joined at the same time.
    pub message: ServiceMessage,
    /// Whom to tell.
    pub to: Vec<H>,
}

/// What is due for a swarm.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    Newcomers,
    Population,
}

#[derive(Debug)]
struct Entry<H> {
    connection: u64,
    key: PublicKey,
    handle: H,
    /// The network group that it wants to be introduced in.
    group: Option<NetworkGroup>,
    /// It takes no more links.
    full: bool,
    swarms: Vec<StreamId>,
    introduced: Introduced,
}

#[derive(Debug, Default)]
struct Swarm {
    members: Members,
    /// Members that want to be introduced to others of their network group.
    groups: HashMap<NetworkGroup, Members>,
    newcomers: Newcomers,
    announced: u32,
    announced_at: Option<Timestamp>,
    due: Option<Timestamp>,
}

impl Swarm {
    fn insert(&mut self, peer: PeerId, group: Option<NetworkGroup>) {
        self.members.insert(peer);
        if let Some(group) = group {
            self.groups.entry(group).or_default().insert(peer);
        }
    }

    /// Whether the peer was a member.
    fn remove(&mut self, peer: PeerId, group: Option<NetworkGroup>) -> bool {
        if let Some(group) = group
            && let Some(members) = self.groups.get_mut(&group)
            && members.remove(peer)
            && members.len() == 0
        {
            self.groups.remove(&group);
        }
        self.members.remove(peer)
    }

    fn population(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn interval(&self) -> Duration {
        let factor = self.members.len().div_ceil(ANNOUNCE_FULL_RATE_MEMBERS).max(1);
        ANNOUNCE_INTERVAL * u32::try_from(factor).unwrap_or(u32::MAX)
    }
}

/// Connected peers and their swarms. `H` is what a peer is reached by.
#[derive(Debug)]
pub struct Registry<H> {
    limits: RegistryLimits,
    rng: ChaCha8Rng,
    next_connection: u64,
    peers: HashMap<PeerId, Entry<H>>,
    keys: HashMap<PublicKey, PeerId>,
    swarms: HashMap<StreamId, Swarm>,
    due: BTreeSet<(Timestamp, StreamId, Due)>,
}

impl<H: Clone> Registry<H> {
    /// An empty registry; `seed` decides who is introduced to whom.
    pub fn new(limits: RegistryLimits, seed: [u8; 32]) -> Self {
        Self {
            limits,
            rng: ChaCha8Rng::from_seed(seed),
            next_connection: 0,
            peers: HashMap::new(),
            keys: HashMap::new(),
            swarms: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Connected peers.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Swarms with at least one member.
    pub fn swarms(&self) -> usize {
        self.swarms.len()
    }

    /// Takes a verified peer in. The handle of an earlier connection of the same key comes back: the newest wins, and
    /// the caller closes the other. A peer that gives its network group is introduced to others of it first, and they to it.
    pub fn connect(
        &mut self,
        peer: PeerId,
        key: PublicKey,
        group: Option<NetworkGroup>,
        handle: H,
        now: Timestamp,
    ) -> (Seat, Option<H>) {
        let mut introduced = Introduced::default();
        let replaced = self.keys.get(&key).copied().and_then(|old| {
            let entry = self.remove(old, now)?;
            // A peer that only reconnected goes on with the handshakes it is in.
            if old == peer {
                introduced = entry.introduced;
            }
            Some(entry.handle)
        });
        self.next_connection += 1;
        let connection = self.next_connection;
        self.keys.insert(key, peer);
        let entry = Entry { connection, key, handle, group, full: false, swarms: Vec::new(), introduced };
        self.peers.insert(peer, entry);
        (Seat { peer, connection }, replaced)
    }

    /// The connection is gone. Does nothing for a seat that was replaced.
    pub fn disconnect(&mut self, seat: Seat, now: Timestamp) {
        if self.entry(seat).is_some() {
            self.remove(seat.peer, now);
        }
    }

    /// Joins a swarm and introduces up to `want` of its members; joining again only introduces more.
    ///
    /// # Errors
    /// [`JoinError`], and nothing has changed.
    pub fn join(
        &mut self,
        seat: Seat,
        stream: StreamId,
        want: u8,
        now: Timestamp,
    ) -> Result<Introductions, JoinError> {
        let entry = self.entry(seat).ok_or(JoinError::Stale)?;
        if !entry.swarms.contains(&stream) {
            if entry.swarms.len() >= self.limits.swarms_per_peer {
                return Err(JoinError::TooManySwarms);
            }
            if self.swarms.len() >= self.limits.swarms && !self.swarms.contains_key(&stream) {
                return Err(JoinError::Full);
            }
            let group = entry.group;
            let swarm = self.swarms.entry(stream).or_default();
            swarm.insert(seat.peer, group);
            if let Some(at) = swarm.newcomers.insert(seat.peer, now) {
                self.due.insert((at, stream, Due::Newcomers));
            }
            self.peers.entry(seat.peer).and_modify(|entry| entry.swarms.push(stream));
            self.population_changed(stream, now);
        }
        Ok(self.introduce(seat.peer, stream, want))
    }

    /// Introduces up to `want` other members of a joined swarm; `None` if the peer is not in it.
    pub fn more_peers(&mut self, seat: Seat, stream: StreamId, want: u8) -> Option<Introductions> {
        self.is_member(seat, stream).then(|| self.introduce(seat.peer, stream, want))
    }

    /// Leaves a swarm, if the peer is in it.
    pub fn leave(&mut self, seat: Seat, stream: StreamId, now: Timestamp) {
        let Some(entry) = self.entry_mut(seat) else { return };
        entry.swarms.retain(|joined| *joined != stream);
        let group = entry.group;
        self.remove_member(seat.peer, group, stream, now);
    }

    /// The peer takes no more links, or has room again: others are introduced to it last, or as usual.
    pub fn set_full(&mut self, seat: Seat, full: bool) {
        if let Some(entry) = self.entry_mut(seat) {
            entry.full = full;
        }
    }

    /// What `to` is reached by, if it is connected and one of the two was introduced to the other.
    pub fn receiver(&self, seat: Seat, to: PeerId) -> Option<&H> {
        let from = self.entry(seat)?;
        let receiver = self.peers.get(&to)?;
        let introduced = from.introduced.contains(to) || receiver.introduced.contains(seat.peer);
        introduced.then_some(&receiver.handle)
    }

    /// Whether the peer is in a swarm.
    pub fn is_member(&self, seat: Seat, stream: StreamId) -> bool {
        self.entry(seat).is_some_and(|entry| entry.swarms.contains(&stream))
    }

    /// The members of a swarm.
    pub fn members(&self, stream: StreamId) -> impl Iterator<Item = (PeerId, &H)> {
        let members = self.swarms.get(&stream).map_or(&[][..], |swarm| swarm.members.as_slice());
        members.iter().filter_map(|peer| Some((*peer, &self.peers.get(peer)?.handle)))
    }

    /// What is due next to be told to members of a swarm.
    pub fn poll_announcement(&mut self, now: Timestamp) -> Option<Announcement<H>> {
        while let Some(&next) = self.due.first().filter(|(at, ..)| *at <= now) {
            self.due.remove(&next);
            let (_, stream, due) = next;
            let announcement = match due {
                Due::Newcomers => self.announce_newcomers(stream, now),
                Due::Population => self.announce_population(stream, now),
            };
            if announcement.is_some() {
                return announcement;
            }
        }
        None
    }

    fn announce_newcomers(&mut self, stream: StreamId, now: Timestamp) -> Option<Announcement<H>> {
        let newcomers = self.swarms.get_mut(&stream)?.newcomers.take(now);
        let handles = newcomers.iter().filter_map(|peer| self.peers.get(peer));
        let to: Vec<H> = handles.map(|entry| entry.handle.clone()).collect();
        let message = ServiceMessage::Newcomers { stream, peers: BoundedVec::first_of(newcomers) };
        (!to.is_empty()).then_some(Announcement { message, to })
    }

    fn announce_population(&mut self, stream: StreamId, now: Timestamp) -> Option<Announcement<H>> {
        let swarm = self.swarms.get_mut(&stream)?;
        swarm.due = None;
        let population = swarm.population();
        if population == swarm.announced {
            return None;
        }
        swarm.announced = population;
        swarm.announced_at = Some(now);
        let to = self.members(stream).map(|(_, handle)| handle.clone()).collect();
        Some(Announcement { message: ServiceMessage::Population { stream, population }, to })
    }

    /// When [`Registry::poll_announcement`] has something next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, ..)| *at)
    }

    fn entry(&self, seat: Seat) -> Option<&Entry<H>> {
        self.peers.get(&seat.peer).filter(|entry| entry.connection == seat.connection)
    }

    fn entry_mut(&mut self, seat: Seat) -> Option<&mut Entry<H>> {
        self.peers.get_mut(&seat.peer).filter(|entry| entry.connection == seat.connection)
    }

    fn remove(&mut self, peer: PeerId, now: Timestamp) -> Option<Entry<H>> {
        let entry = self.peers.remove(&peer)?;
        self.keys.remove(&entry.key);
        for stream in &entry.swarms {
            self.remove_member(peer, entry.group, *stream, now);
        }
        Some(entry)
    }

    fn remove_member(&mut self, peer: PeerId, group: Option<NetworkGroup>, stream: StreamId, now: Timestamp) {
        let Some(swarm) = self.swarms.get_mut(&stream) else { return };
        if !swarm.remove(peer, group) {
            return;
        }
        swarm.newcomers.remove(peer);
        if swarm.members.len() > 0 {
            self.population_changed(stream, now);
        } else if let Some(swarm) = self.swarms.remove(&stream) {
            swarm.due.map(|at| self.due.remove(&(at, stream, Due::Population)));
            swarm.newcomers.due().map(|at| self.due.remove(&(at, stream, Due::Newcomers)));
        }
    }

    fn population_changed(&mut self, stream: StreamId, now: Timestamp) {
        let Some(swarm) = self.swarms.get_mut(&stream).filter(|swarm| swarm.due.is_none()) else { return };
        let due = swarm.announced_at.map_or(now, |at| now.max(at + swarm.interval()));
        swarm.due = Some(due);
        self.due.insert((due, stream, Due::Population));
    }

    fn introduce(&mut self, asker: PeerId, stream: StreamId, want: u8) -> Introductions {
        let (Some(swarm), Some(entry)) = (self.swarms.get(&stream), self.peers.get(&asker)) else {
            return Introductions { population: 0, peers: Vec::new() };
        };
        let population = swarm.population();
        let want = usize::from(want).min(MAX_INTRODUCED);
        // More than wanted are drawn, so that a peer that asks again meets new ones while there are any, and ones with room.
        let mut draw = |from: &Members| {
            let mut drawn = from.draw(4 * want, asker, &mut self.rng);
            let full = |peer: &PeerId| self.peers.get(peer).is_none_or(|other| other.full);
            drawn.sort_by_cached_key(|peer| (entry.introduced.contains(*peer), full(peer)));
            drawn
        };
        let mut peers = draw(&swarm.members);
        if let Some(members) = entry.group.and_then(|group| swarm.groups.get(&group)) {
            // Half by chance and first: groups stay connected to each other, and no group has a newcomer to itself.
            let near = draw(members).into_iter().filter(|peer| !entry.introduced.contains(*peer));
            let odd = (self.rng.next_u32() as usize) & 1;
            let near: Vec<PeerId> = near.take((want + odd) / 2).collect();
            peers.retain(|peer| !near.contains(peer));
            peers.truncate(want - near.len());
            peers.extend(near);
        }
        peers.truncate(want);
        if let Some(entry) = self.peers.get_mut(&asker) {
            peers.iter().for_each(|peer| entry.introduced.insert(*peer));
        }
        Introductions { population, peers }
    }
}

#[cfg(test)]
mod tests;
