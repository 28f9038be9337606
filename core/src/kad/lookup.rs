//! One lookup: how many copies of its request go out, and what their answers come to.
//!
//! Most lookups end with the first copies; where peers are silent or lie it takes more. So copies are added in waves, each when the one before
//! has come to nothing, or has brought nothing for a while. Behind the last wave are the ways that do not lead through the mesh: super-peers, and
//! the service. That nothing is to be found counts only when neighbours of several network groups bring that back: one of them may be
//! an attacker's. All of them may have it from one peer, the nearest to the key; who can't have that asks the service as well.

use std::time::Duration;

use crate::{id::NetworkGroup, time::Timestamp};

/// Copies that are out after each wave, …
const WAVES: [u8; 3] = [2, 6, 16];
/// …and of what somebody does not wait for, or that does something wherever it comes to.
const FRUGAL: [u8; 3] = [1, 2, 6];
/// A wave that has brought nothing for so long is followed by the next, while its copies go on: twice what a lookup takes where all are good.
const HEDGE: Duration = Duration::from_millis(600);
/// Network groups whose neighbours have to bring back that there is nothing, or all that there are.
const ABSENT_GROUPS: usize = 3;

/// What one copy came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// An answer that is true, as far as can be checked.
    Valid,
    /// A neighbour of this group brings back that there is nothing.
    Nothing(NetworkGroup),
    /// It found no way, or its answer is false.
    Useless,
}

/// Whom to ask next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Send copies with these numbers, from the first to before the second.
    Copies(u8, u8),
    /// Ask the super-peers that there are links to.
    SuperPeers,
    /// Ask the service.
    Service,
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// There are as many valid answers as were wanted.
    Found,
    /// There is nothing.
    Absent,
    /// Nobody who was asked can say.
    Unknown,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Lookup {
    waves: [u8; 3],
    /// Valid answers that are wanted.
    wanted: usize,
    /// Groups whose neighbours have to bring back that there is nothing.
    groups: usize,
    valid: usize,
    absent: Vec<NetworkGroup>,
    /// Steps that were taken.
    steps: usize,
    /// Copies and others that were asked and have not come to anything yet.
    out: usize,
    /// When the next step is taken even if something is out.
    hedge: Timestamp,
}

impl Lookup {
    /// A lookup that wants so many valid answers, in a network of so many known groups.
    pub fn new(wanted: usize, groups: usize, now: Timestamp) -> Self {
        let groups = groups.clamp(1, ABSENT_GROUPS);
        Self { waves: WAVES, wanted, groups, valid: 0, absent: Vec::new(), steps: 0, out: 0, hedge: now }
    }

    /// The same with fewer copies.
    #[must_use]
    pub fn frugal(self) -> Self {
        Self { waves: FRUGAL, ..self }
    }

    /// Whom to ask now, if anybody; to be called until there is nobody. Say with [`Self::asked`] how many were.
    pub fn poll_step(&mut self, now: Timestamp) -> Option<Step> {
        if self.valid >= self.wanted || self.is_absent() || self.out > 0 && now < self.hedge {
            return None;
        }
        let step = match self.steps {
            wave if wave < WAVES.len() => {
                Step::Copies(if wave == 0 { 0 } else { self.waves[wave - 1] }, self.waves[wave])
            }
            3 => Step::SuperPeers,
            4 => Step::Service,
            _ => return None,
        };
        self.steps += 1;
        self.hedge = now + HEDGE;
        Some(step)
    }

    /// So many were asked as a step said.
    pub fn asked(&mut self, many: usize) {
        self.out += many;
    }

    /// One of those who were asked came to something.
    pub fn answered(&mut self, found: Found) {
        self.out = self.out.saturating_sub(1);
        match found {
            Found::Valid => self.valid += 1,
            Found::Nothing(group) if !self.absent.contains(&group) && self.absent.len() < ABSENT_GROUPS => {
                self.absent.push(group);
            }
            Found::Nothing(_) | Found::Useless => {}
        }
    }

    /// When [`Self::poll_step`] wants to be called without an answer; `None` if all have been asked.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let goes_on = self.outcome().is_none() && self.steps < WAVES.len() + 2;
        goes_on.then_some(self.hedge)
    }

    /// What it came to, once that is known.
    pub fn outcome(&self) -> Option<Outcome> {
        if self.valid >= self.wanted {
            return Some(Outcome::Found);
        }
        if self.is_absent() {
            return Some(Outcome::Absent);
        }
        (self.steps == WAVES.len() + 2 && self.out == 0).then_some(Outcome::Unknown)
    }

    /// Whether enough groups say that there is nothing, and nobody says otherwise.
    fn is_absent(&self) -> bool {
        self.valid == 0 && self.absent.len() >= self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn group(number: u8) -> NetworkGroup {
        NetworkGroup::from_bytes([number; 16])
    }

    /// Takes the next step, of which so many are asked.
    fn step(lookup: &mut Lookup, now: Timestamp) -> Option<Step> {
        let step = lookup.poll_step(now)?;
        lookup.asked(match step {
            Step::Copies(from, to) => usize::from(to - from),
            Step::SuperPeers => 2,
            Step::Service => 1,
        });
        Some(step)
    }

    #[test]
    fn one_valid_answer_ends_a_lookup_that_wants_one() {
        let mut lookup = Lookup::new(1, 9, NOW);
        assert_eq!((step(&mut lookup, NOW), step(&mut lookup, NOW)), (Some(Step::Copies(0, 2)), None));
        lookup.answered(Found::Useless);
        assert_eq!((lookup.outcome(), step(&mut lookup, NOW)), (None, None));
        lookup.answered(Found::Valid);
        assert_eq!((lookup.outcome(), step(&mut lookup, NOW + HEDGE)), (Some(Outcome::Found), None));
        assert_eq!(lookup.poll_timeout(), None);
    }

    #[test]
    fn copies_are_added_when_those_before_came_to_nothing_and_then_other_ways() {
        let mut lookup = Lookup::new(1, 9, NOW);
        let mut steps = Vec::new();
        while let Some(next) = step(&mut lookup, NOW) {
            steps.push(next);
            while lookup.out > 0 {
                assert_eq!(lookup.outcome(), None);
                lookup.answered(Found::Useless);
            }
        }
        let copies = [Step::Copies(0, 2), Step::Copies(2, 6), Step::Copies(6, 16)];
        assert_eq!(steps, [&copies[..], &[Step::SuperPeers, Step::Service]].concat());
        assert_eq!(lookup.outcome(), Some(Outcome::Unknown));
    }

    #[test]
    fn copies_are_added_while_those_before_are_silent() {
        let mut lookup = Lookup::new(1, 9, NOW);
        let mut now = NOW;
        for _ in 0..5 {
            assert!(step(&mut lookup, now).is_some());
            assert_eq!(step(&mut lookup, now), None);
            now = lookup.poll_timeout().unwrap_or(now + HEDGE);
        }
        assert_eq!(
            (lookup.poll_timeout(), lookup.outcome()),
            (None, None),
            "all were asked, and some may answer yet"
        );
        lookup.answered(Found::Valid);
        assert_eq!(lookup.outcome(), Some(Outcome::Found));
    }

    #[test]
    fn a_step_with_nobody_to_ask_is_followed_by_the_next() {
        let mut lookup = Lookup::new(1, 9, NOW);
        let steps = std::iter::from_fn(|| lookup.poll_step(NOW)).count();
        assert_eq!((steps, lookup.outcome()), (5, Some(Outcome::Unknown)));
    }

    #[test]
    fn nothing_is_there_only_if_several_groups_say_so() {
        for (known, needed) in [(0, 1), (1, 1), (2, 2), (50, 3)] {
            let mut lookup = Lookup::new(1, known, NOW);
            step(&mut lookup, NOW);
            for number in 0..needed {
                assert_eq!(lookup.outcome(), None, "{known} groups");
                // One that says it again has said it once.
                (0..2).for_each(|_| lookup.answered(Found::Nothing(group(number))));
            }
            assert_eq!(lookup.outcome(), Some(Outcome::Absent));
        }
    }

    #[test]
    fn whoever_has_something_is_believed_before_all_who_have_nothing() {
        let mut lookup = Lookup::new(2, 9, NOW);
        step(&mut lookup, NOW);
        lookup.answered(Found::Valid);
        (0..5).for_each(|number| lookup.answered(Found::Nothing(group(number))));
        assert_eq!(lookup.outcome(), None);
        assert_eq!(step(&mut lookup, NOW), Some(Step::Copies(2, 6)));
        lookup.answered(Found::Valid);
        assert_eq!(lookup.outcome(), Some(Outcome::Found));
    }
}
