//! Schedules of all that can happen to one mutable record: is an older value ever taken for the newest?

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    id::{NetworkGroup, PeerId},
    kad::{Key, Marks, Mutables, Sponsor, Value},
    time::Timestamp,
};

const REPLICAS: usize = 8;
const READERS: usize = 2;
/// What happens in a schedule.
const STEPS: usize = 30;
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// Of so many replicas that are asked one is hostile, and says anything that was ever signed.
const HOSTILE: u64 = 4;

/// What came of the schedules of a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rollbacks {
    /// Reads that came to a value.
    pub reads: u64,
    /// Older values that were brought back to a replica that knew a newer one, or said to a reader that had read a newer one.
    pub attempts: u64,
    /// Those of them that were taken for the newest.
    pub accepted: u64,
}

struct Schedule {
    rng: ChaCha8Rng,
    now: Timestamp,
    /// Everything that the owner signed, the oldest first.
    signed: Vec<Value>,
    replicas: [(Mutables, u64); REPLICAS],
    readers: [(Marks, u64); READERS],
    /// Whether readers remember what they have read.
    remembers: bool,
    found: Rollbacks,
}

/// Runs so many schedules; with readers who don't remember what they have read, to see what that is worth.
pub fn rollbacks(schedules: u64, remembers: bool, seed: u64) -> Rollbacks {
    let mut found = Rollbacks::default();
    for number in 0..schedules {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        let mut schedule = Schedule {
            rng: ChaCha8Rng::from_seed(bytes),
            now: Timestamp::from_millis(1_000_000),
            signed: Vec::new(),
            replicas: Default::default(),
            readers: Default::default(),
            remembers,
            found: Rollbacks::default(),
        };
        schedule.write();
        (0..STEPS).for_each(|_| schedule.step());
        found.reads += schedule.found.reads;
        found.attempts += schedule.found.attempts;
        found.accepted += schedule.found.accepted;
    }
    found
}

impl Schedule {
    fn step(&mut self) {
        match self.below(12) {
            0..=2 => self.write(),
            3..=4 => self.replay(),
            5 => self.hand_on(),
            6 => self.lose(),
            7 => self.reload(),
            8 => self.now = self.now + Duration::from_secs(self.below(2 * 60 * 60)),
            _ => self.read(),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn replica(&mut self) -> usize {
        self.below(REPLICAS as u64) as usize
    }

    /// The owner signs a new value, and some replicas get it.
    fn write(&mut self) {
        let sequence = self.signed.last().map_or(0, |last| last.sequence) + 1 + self.below(3);
        let value = Value { sequence, record: self.rng.next_u64().to_le_bytes().to_vec() };
        self.signed.push(value.clone());
        for replica in 0..REPLICAS {
            if self.below(2) == 0 {
                let expected = (self.below(4) == 0).then(|| sequence.saturating_sub(1));
                self.store(replica, value.clone(), expected);
            }
        }
    }

    /// Somebody brings an old value to a replica.
    fn replay(&mut self) {
        let (replica, value) = (self.replica(), self.any_signed());
        self.store(replica, value, None);
    }

    fn any_signed(&mut self) -> Value {
        let place = self.below(self.signed.len() as u64) as usize;
        self.signed[place].clone()
    }

    fn store(&mut self, replica: usize, value: Value, expected: Option<u64>) {
        let (now, slot) = (self.now, slot());
        let (records, highest) = &mut self.replicas[replica];
        self.found.attempts += u64::from(value.sequence < *highest);
        records.put(slot, value, expected, sponsor(), LIFETIME, now);
        if let Some(newest) = records.get(slot, now) {
            self.found.accepted += u64::from(newest.sequence < *highest);
            *highest = newest.sequence.max(*highest);
        }
    }

    /// A replica hands what it has to another one.
    fn hand_on(&mut self) {
        let (from, to) = (self.replica(), self.replica());
        let value = self.replicas[from].0.get(slot(), self.now).cloned();
        value.into_iter().for_each(|value| self.store(to, value, None));
    }

    /// A replica leaves, and another peer takes its place.
    fn lose(&mut self) {
        let replica = self.replica();
        self.replicas[replica] = Default::default();
    }

    /// A reader's page is loaded anew: what it kept is all that it has.
    fn reload(&mut self) {
        let reader = self.below(READERS as u64) as usize;
        let mut marks = Marks::new();
        self.readers[reader].0.iter().for_each(|(slot, number)| marks.restore(slot, number));
        self.readers[reader].0 = marks;
    }

    fn read(&mut self) {
        let reader = self.below(READERS as u64) as usize;
        if !self.remembers {
            self.readers[reader].0 = Marks::new();
        }
        let mut reading = self.readers[reader].0.read(slot());
        for _ in 0..3 + self.below(3) {
            let replica = self.replica();
            let answer = match self.below(HOSTILE) {
                0 => Some(self.any_signed()),
                _ => self.replicas[replica].0.get(slot(), self.now).cloned(),
            };
            let older = answer.as_ref().is_some_and(|value| value.sequence < self.readers[reader].1);
            self.found.attempts += u64::from(older);
            reading.answered(PeerId::from_bytes([replica as u8; 32]), answer);
        }
        let (marks, highest) = &mut self.readers[reader];
        if let Some(value) = marks.finish(reading) {
            self.found.reads += 1;
            self.found.accepted += u64::from(value.sequence < *highest);
            *highest = value.sequence.max(*highest);
        }
    }
}

fn slot() -> Key {
    Key::from_bytes([7; 32])
}

fn sponsor() -> Sponsor {
    Sponsor { peer: PeerId::from_bytes([1; 32]), group: NetworkGroup::from_bytes([1; 16]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_older_value_is_taken_for_the_newest_in_two_thousand_schedules() {
        let found = rollbacks(2000, true, 1);
        assert_eq!(found.accepted, 0);
        assert!(found.reads > 2000 && found.attempts > 2000, "{found:?}");
    }

    #[test]
    fn readers_who_remember_nothing_are_deceived() {
        assert!(rollbacks(2000, false, 1).accepted > 0);
    }
}
