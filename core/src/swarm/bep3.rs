//! Choking as BitTorrent does it (BEP 3), to compare with: four peers are unchoked for ten seconds at a time, those who gave
//! most lately, and one more for thirty seconds whoever it is.
//!
//! Left out: a newcomer's threefold chance of being that one, and the choice by upload rate of who has everything.

use std::time::Duration;

use super::Candidate;
use crate::{id::LinkId, time::Timestamp};

/// Peers that are unchoked for what they gave.
const SLOTS: usize = 4;
/// Time between choices.
const ROUND: Duration = Duration::from_secs(10);
/// How long the optimistic unchoke lasts.
const OPTIMISTIC: Duration = Duration::from_secs(30);

/// Who is unchoked.
#[derive(Debug)]
pub(crate) struct Rounds {
    unchoked: Vec<LinkId>,
    optimistic: Option<LinkId>,
    next: Timestamp,
    next_optimistic: Timestamp,
}

impl Rounds {
    #[cfg(any(test, feature = "bep3"))]
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { unchoked: Vec::new(), optimistic: None, next: now, next_optimistic: now }
    }

    /// When the next choice is due.
    pub(crate) fn due(&self) -> Timestamp {
        self.next
    }

    /// Whether a peer's requests are served.
    pub(crate) fn serves(&self, link: LinkId) -> bool {
        self.unchoked.contains(&link) || self.optimistic == Some(link)
    }

    /// Takes a peer that asks while a place is free.
    pub(crate) fn admit(&mut self, link: LinkId) {
        if !self.serves(link) && self.unchoked.len() < SLOTS {
            self.unchoked.push(link);
        }
    }

    /// Chooses among the peers that want something, once that is due; `draw`, 0 to 1, picks the optimistic one. Those who were
    /// not unchoked before.
    pub(crate) fn choose(&mut self, mut wanting: Vec<Candidate>, draw: f64, now: Timestamp) -> Vec<LinkId> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + ROUND;
        let before: Vec<LinkId> = self.unchoked.drain(..).chain(self.optimistic).collect();
        while self.unchoked.len() < SLOTS {
            let best = (0..wanting.len()).max_by_key(|place| wanting[*place].given);
            let Some(place) = best else { break };
            self.unchoked.push(wanting.swap_remove(place).link);
        }
        let stays = self.optimistic.is_some_and(|link| wanting.iter().any(|other| other.link == link));
        if !stays || self.next_optimistic <= now {
            self.next_optimistic = now + OPTIMISTIC;
            let place = (draw * wanting.len() as f64) as usize;
            self.optimistic = wanting.get(place.min(wanting.len().saturating_sub(1))).map(|other| other.link);
        }
        let chosen = self.unchoked.iter().copied().chain(self.optimistic);
        chosen.filter(|link| !before.contains(link)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BytesPerSec;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1000 * seconds)
    }

    /// Eight peers of which each gave more than the one before.
    fn wanting() -> Vec<Candidate> {
        let candidate = |number: u64| Candidate {
            link: LinkId::new(number),
            since: at(0),
            given: BytesPerSec::new(1000 * number),
            is_new: false,
            gives: true,
        };
        (1..=8).map(candidate).collect()
    }

    fn served(rounds: &Rounds) -> Vec<u64> {
        (1..=8).filter(|number| rounds.serves(LinkId::new(*number))).collect()
    }

    #[test]
    fn four_who_gave_most_and_one_more_are_served_for_ten_seconds() {
        let mut rounds = Rounds::new(at(0));
        assert_eq!(rounds.choose(wanting(), 0.0, at(0)).len(), 5);
        assert_eq!(served(&rounds), [1, 5, 6, 7, 8]);
        assert!(rounds.choose(Vec::new(), 0.9, at(9)).is_empty());
        assert_eq!((served(&rounds), rounds.due()), (vec![1, 5, 6, 7, 8], at(10)));
    }

    #[test]
    fn the_optimistic_place_is_kept_for_thirty_seconds() {
        let mut rounds = Rounds::new(at(0));
        for (second, expected) in [(0, 1), (10, 1), (20, 1), (30, 4)] {
            rounds.choose(wanting(), if second == 0 { 0.0 } else { 0.99 }, at(second));
            assert_eq!(served(&rounds), [expected, 5, 6, 7, 8], "after {second} s");
        }
    }

    #[test]
    fn a_free_place_goes_to_who_asks() {
        let mut rounds = Rounds::new(at(0));
        rounds.choose(Vec::new(), 0.0, at(0));
        (1..=8).for_each(|number| rounds.admit(LinkId::new(number)));
        assert_eq!(served(&rounds), [1, 2, 3, 4]);
    }
}
