//! What a reader makes of replicas' answers about a mutable record: one of them may be behind, or bring an older value back.

use litemap::LiteMap;

use super::{Key, Value};
use crate::id::PeerId;

/// Replicas that have to answer.
pub const QUORUM: usize = 3;
/// Most slots whose numbers a reader remembers. The one that was read the longest ago is forgotten first.
const MAX_MARKS: usize = 1024;

/// One read of a slot.
#[derive(Clone, Debug)]
pub struct Reading {
    slot: Key,
    /// The highest number that was read before.
    mark: u64,
    /// Who has answered, each once.
    answers: Vec<PeerId>,
    newest: Option<Value>,
}

impl Reading {
    /// A replica answered: with a verified value, or that it has none. Who answers again says nothing more.
    pub fn answered(&mut self, replica: PeerId, value: Option<Value>) {
        if self.answers.contains(&replica) {
            return;
        }
        self.answers.push(replica);
        let number = |value: &Option<Value>| value.as_ref().map(|value| value.sequence);
        if value.as_ref().is_some_and(|value| value.sequence >= self.mark)
            && number(&value) > number(&self.newest)
        {
            self.newest = value;
        }
    }

    /// Whether [`QUORUM`] replicas have answered.
    pub fn is_enough(&self) -> bool {
        self.answers.len() >= QUORUM
    }
}

/// The highest number of each slot that was read: nothing older is believed any more. Keep it as long as what was made of the values.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// The numbers, and when each was read last, counted in reads.
    marks: LiteMap<Key, (u64, u64)>,
    reads: u64,
}

impl Marks {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to read a slot.
    pub fn read(&self, slot: Key) -> Reading {
        let mark = self.marks.get(&slot).map_or(0, |(number, _)| *number);
        Reading { slot, mark, answers: Vec::new(), newest: None }
    }

    /// Ends a read: the newest value, none older than any that was read before; `None` if there is none, or fewer than [`QUORUM`]
    /// replicas have answered.
    pub fn finish(&mut self, reading: Reading) -> Option<Value> {
        if !reading.is_enough() {
            return None;
        }
        // Another read of the slot may have ended meanwhile.
        let mark = self.marks.get(&reading.slot).map_or(0, |(number, _)| *number);
        let newest = reading.newest.filter(|newest| newest.sequence >= mark)?;
        self.reads += 1;
        if self.marks.len() >= MAX_MARKS && !self.marks.contains_key(&reading.slot) {
            let oldest = self.marks.iter().min_by_key(|(_, (_, read))| *read).map(|(slot, _)| *slot);
            oldest.and_then(|oldest| self.marks.remove(&oldest));
        }
        self.marks.insert(reading.slot, (newest.sequence, self.reads));
        Some(newest)
    }

    /// The numbers, to be kept.
    pub fn iter(&self) -> impl Iterator<Item = (Key, u64)> {
        self.marks.iter().map(|(slot, (number, _))| (*slot, *number))
    }

    /// Takes a number that was kept.
    pub fn restore(&mut self, slot: Key, number: u64) {
        if self.marks.len() < MAX_MARKS || self.marks.contains_key(&slot) {
            let known = self.marks.entry(slot).or_insert((number, 0));
            known.0 = known.0.max(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Key {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn value(sequence: u64) -> Value {
        Value { sequence, record: sequence.to_be_bytes().to_vec() }
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn read(marks: &mut Marks, answers: &[Option<u64>]) -> Option<u64> {
        let mut reading = marks.read(slot(1));
        (1..).zip(answers).for_each(|(replica, answer)| reading.answered(peer(replica), answer.map(value)));
        marks.finish(reading).map(|value| value.sequence)
    }

    #[test]
    fn the_newest_of_three_answers_counts() {
        let mut marks = Marks::new();
        assert_eq!(read(&mut marks, &[Some(2), Some(5), Some(4)]), Some(5));
        assert_eq!(read(&mut marks, &[None, None, Some(6)]), Some(6));
        assert_eq!(read(&mut marks, &[Some(9), Some(9)]), None, "two may be one attacker's");
        assert_eq!(read(&mut marks, &[None, None, None]), None);
    }

    #[test]
    fn one_replica_that_answers_three_times_is_no_quorum() {
        let mut marks = Marks::new();
        let mut reading = marks.read(slot(1));
        (0..QUORUM).for_each(|_| reading.answered(peer(1), Some(value(9))));
        assert!(!reading.is_enough());
        assert_eq!(marks.finish(reading), None);
    }

    #[test]
    fn nothing_older_than_what_was_read_is_believed_whoever_says_it() {
        let mut marks = Marks::new();
        assert_eq!(read(&mut marks, &[Some(5), None, None]), Some(5));
        assert_eq!(read(&mut marks, &[Some(4), Some(4), Some(4), Some(4)]), None);
        assert_eq!(read(&mut marks, &[Some(4), Some(5), None]), Some(5));
        let mut kept = Marks::new();
        marks.iter().for_each(|(slot, number)| kept.restore(slot, number));
        assert_eq!(read(&mut kept, &[Some(4), Some(4), Some(4)]), None, "nor after a reload");
    }

    #[test]
    fn of_two_reads_at_a_time_the_later_one_to_end_does_not_go_back() {
        let mut marks = Marks::new();
        let mut readings = [marks.read(slot(1)), marks.read(slot(1))];
        for (reading, sequence) in readings.iter_mut().zip([4, 7]) {
            (0..QUORUM as u8).for_each(|replica| reading.answered(peer(replica), Some(value(sequence))));
        }
        let [behind, ahead] = readings;
        assert_eq!(marks.finish(ahead), Some(value(7)));
        assert_eq!(marks.finish(behind), None);
    }

    #[test]
    fn the_slots_that_are_remembered_are_bounded_and_those_read_last_are_among_them() {
        let mut marks = Marks::new();
        for number in 0..2 * MAX_MARKS as u16 {
            for slot in [slot(number), slot(0)] {
                let mut reading = marks.read(slot);
                (0..QUORUM as u8)
                    .for_each(|replica| reading.answered(peer(replica), Some(value(u64::from(number) + 1))));
                assert!(marks.finish(reading).is_some());
            }
        }
        assert_eq!(marks.iter().count(), MAX_MARKS);
        assert_eq!(marks.iter().next(), Some((slot(0), 2 * MAX_MARKS as u64)));
    }
}
