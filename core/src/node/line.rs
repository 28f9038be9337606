//! The line for origin duty: what this peer and its neighbours drew for the parts of a segment, and how many others there are.

use super::{Node, fetch::Fetch, links::Link};
use crate::{
    id::{PeerId, StreamId},
    swarm::{self, Asking, duty},
    time::Timestamp,
};

/// Duty is weighed by the uplink, but never less than by this part of what it takes to pass everything on twice, …
const LEAST_FITNESS: f64 = 0.1;
/// …nor by more than this, where uplinks are scarce: who has much more is early enough.
const MOST_FITNESS: f64 = 1.6;

/// Who has just come leaves it to the others, many tiers long.
pub(super) const NEWCOMERS_FITNESS: f64 = 1e-4;

/// This peer's draws for the parts of a segment: they differ by part, segment and peer.
pub(super) struct Lots([u8; 32]);

impl Lots {
    /// The draw for the part in this place, 0 to 1.
    pub(super) fn draw(&self, place: usize) -> f64 {
        f64::from(u16::from_le_bytes([self.0[2 * place], self.0[2 * place + 1]])) / f64::from(u16::MAX)
    }
}

/// The draws of this peer and its neighbours for the parts of a segment.
pub(super) struct Line {
    own: Lots,
    neighbours: Vec<Lots>,
    /// Who joined at the same time and is no neighbour yet.
    newcomers: Vec<Lots>,
    /// Peers that are no neighbours.
    unknown: u32,
    fitness: f64,
}

impl Line {
    /// This peer's place for the part in this place.
    pub(super) fn place(&self, part: usize) -> duty::Place {
        let draw = self.own.draw(part);
        let known = self.neighbours.iter().chain(&self.newcomers);
        let before = known.filter(|lots| lots.draw(part) < draw).count() as u32;
        duty::Place { before, unknown: self.unknown, draw, fitness: self.fitness }
    }

    /// Whether somebody who is still to become a neighbour goes first.
    pub(super) fn awaits(&self, part: usize) -> bool {
        self.newcomers.iter().any(|lots| lots.draw(part) < self.own.draw(part))
    }
}

impl Node {
    /// Viewers of a stream, as far as is known.
    pub(super) fn swarm_size(&self, stream: &StreamId) -> u32 {
        let told = self.streams.get(stream).and_then(|state| state.population).unwrap_or(1);
        // Nobody waits for those. Some of them may be gone, and who is banned must not make a swarm look small.
        let told = told - (self.bans.count() as u32).min(told / 2);
        let known = self.partner_links().count().max(self.newcomers(stream).len());
        told.max(known as u32 + 1)
    }

    /// Viewers of the fetch's stream that are no neighbours, as far as is known.
    pub(super) fn strangers(&self, fetch: &Fetch) -> u32 {
        self.swarm_size(&fetch.stream) - 1 - self.partner_links().count() as u32
    }

    /// Whether the swarm is too large for all to be neighbours, so that things have to be passed on.
    pub(super) fn is_wide(&self, stream: &StreamId) -> bool {
        self.swarm_size(stream) as usize > self.config.max_links + 1
    }

    /// How fit this peer is for origin duty. 1 is an uplink that passes on what it fetched twice as fast as it is played, or that
    /// was never full: who has less is of little use to the others, and where uplinks are scarce who has more
    /// comes due in the place of those.
    fn fitness(&self, stream: &StreamId, now: Timestamp) -> f64 {
        if self.is_wide(stream) && self.is_newcomer(now) {
            return NEWCOMERS_FITNESS;
        }
        let Some(capacity) = self.uploads.capacity() else { return 1.0 };
        // Where nobody is sent away all uplinks are as good, and as many come due as are to.
        let is_scarce = |asking: &Asking| match self.is_wide(stream) {
            true => asking.was_choked(now),
            false => asking.rested_at(now).is_some(),
        };
        let scarce = self.links.values().any(|state| is_scarce(&state.asking));
        let most = if scarce { MOST_FITNESS } else { 1.0 };
        let twice = 2.0 * self.demand.at(now).value().max(1) as f64;
        let part = (capacity.value() as f64 / twice).clamp(LEAST_FITNESS, most);
        part * part * part * part
    }

    /// Whether this peer has just come to others who have been there for longer: it hears of little yet, and has enough to catch up.
    fn is_newcomer(&self, now: Timestamp) -> bool {
        let ready = self.links.values().filter(|state| state.is_partner());
        let (new, all) =
            ready.fold((0, 0), |(new, all), state| (new + usize::from(state.merit.is_new(now)), all + 1));
        2 * new < all && self.first_fetch.is_none_or(|at| now < at + swarm::NEW)
    }

    pub(super) fn lots(&self, fetch: &Fetch) -> Lots {
        Self::lots_of(self.service.peer().unwrap_or(PeerId::from_bytes([0; 32])), fetch)
    }

    pub(super) fn line(&self, fetch: &Fetch, now: Timestamp) -> Line {
        let wide = self.is_wide(&fetch.stream);
        let ready: Vec<_> = self.links.values().filter(|state| state.is_partner()).collect();
        // Among many it is of no use to others that somebody is first who passes nothing on.
        let counts = |state: &&&Link| !wide || state.merit.is_giver(now);
        let neighbours: Vec<_> =
            ready.iter().filter(counts).map(|state| Self::lots_of(state.peer, fetch)).collect();
        let mut newcomers = Vec::new();
        if self.sharing_start(fetch, now).is_some() {
            let is_ready = |peer| self.links.values().any(|state| state.peer == peer && state.is_partner());
            let others = self.newcomers(&fetch.stream).iter().filter(|peer| !is_ready(**peer));
            newcomers.extend(others.map(|peer| Self::lots_of(*peer, fetch)));
        }
        // As many of the others pass something on as of the neighbours.
        let strangers = match ready.len() as u64 {
            0 => self.strangers(fetch),
            all => (u64::from(self.strangers(fetch)) * (neighbours.len() as u64).max(1) / all) as u32,
        };
        let unknown = strangers.saturating_sub(newcomers.len() as u32);
        Line {
            own: self.lots(fetch),
            neighbours,
            newcomers,
            unknown,
            fitness: self.fitness(&fetch.stream, now),
        }
    }

    fn lots_of(peer: PeerId, fetch: &Fetch) -> Lots {
        let mut hasher = blake3::Hasher::new();
        hasher.update(peer.as_bytes());
        hasher.update(fetch.segment.as_bytes());
        Lots(*hasher.finalize().as_bytes())
    }
}
