//! Records that change: the newest that a key's owner has signed, as a replica keeps them.
//!
//! The shape is [BEP 44](https://www.bittorrent.org/beps/bep_0044.html)'s: a slot is named by an Ed25519 key and a salt, its value has
//! a sequence number that only rises, and a writer may ask that the one before is a certain one (compare and swap). A number that was
//! seen is remembered longer than its value, so that nobody brings an older one back.

use std::time::Duration;

use litemap::LiteMap;

use super::Key;
use crate::{
    id::{NetworkGroup, PeerId},
    time::Timestamp,
};

/// Most bytes of a value.
pub const MAX_VALUE: usize = 1000;
/// Longest time that a record is kept without being stored anew.
pub const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// A slot's highest sequence number is remembered for so long after its value is gone.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// Most slots, those that are only remembered included.
const MAX_SLOTS: usize = 4096;
/// Most slots that one peer has stored here.
const MAX_OF_PEER: usize = 32;
/// Most slots of one group are a tenth of all, or so many if that is more.
const LEAST_OF_GROUP: usize = 128;
const GROUP_SHARE: usize = 10;

/// A value, as its owner signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Value {
    /// Rises with each change.
    pub sequence: u64,
    /// The signed record, as it travels: key, salt, sequence and at most [`MAX_VALUE`] bytes.
    pub record: Vec<u8>,
}

/// Who had it stored: the owner's key is no peer, so the one that brings it answers for the room it takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sponsor {
    /// The peer.
    pub peer: PeerId,
    /// Where it connects from.
    pub group: NetworkGroup,
}

/// What became of a value that was to be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Put {
    /// It is the newest now, or was that already and stays longer.
    Stored,
    /// There is, or was, one with this higher number, or another one with the same.
    Older {
        /// The highest sequence number that was seen.
        sequence: u64,
    },
    /// The writer expected another number to be the newest.
    Changed {
        /// The newest one's, 0 if there is none.
        sequence: u64,
    },
    /// Sponsor, its group or all together have too many slots here.
    Full,
}

#[derive(Clone, Debug)]
struct Slot {
    /// Nothing once it has expired.
    value: Option<Value>,
    /// The highest number that was seen.
    mark: u64,
    expires: Timestamp,
    sponsor: Sponsor,
}

/// The mutable records that this peer keeps for others.
#[derive(Clone, Debug, Default)]
pub struct Mutables {
    slots: LiteMap<Key, Slot>,
}

impl Mutables {
    /// No records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a verified value for `lifetime`, [`LONGEST`] at most, if it is the newest; with `expected` only if the one before has
    /// that number (0: if there is none).
    pub fn put(
        &mut self,
        slot: Key,
        value: Value,
        expected: Option<u64>,
        sponsor: Sponsor,
        lifetime: Duration,
        now: Timestamp,
    ) -> Put {
        self.expire(now);
        let expires = now + lifetime.min(LONGEST);
        let Some(known) = self.slots.get_mut(&slot) else {
            if expected.is_some_and(|expected| expected != 0) {
                return Put::Changed { sequence: 0 };
            }
            if !self.make_room(&sponsor) {
                return Put::Full;
            }
            let mark = value.sequence;
            self.slots.insert(slot, Slot { value: Some(value), mark, expires, sponsor });
            return Put::Stored;
        };
        let is_same = known.value.as_ref() == Some(&value);
        if value.sequence < known.mark || value.sequence == known.mark && known.value.is_some() && !is_same {
            return Put::Older { sequence: known.mark };
        }
        let newest = known.value.as_ref().map_or(0, |newest| newest.sequence);
        if expected.is_some_and(|expected| expected != newest) && !is_same {
            return Put::Changed { sequence: newest };
        }
        known.mark = value.sequence;
        known.expires = if is_same { known.expires.max(expires) } else { expires };
        known.value = Some(value);
        Put::Stored
    }

    /// The newest value of a slot.
    pub fn get(&self, slot: Key, now: Timestamp) -> Option<&Value> {
        self.slots.get(&slot).filter(|known| now < known.expires)?.value.as_ref()
    }

    /// Values of slots that `is_one` chooses, to be handed to who keeps them from now on, and how long they still last.
    pub fn of_slots(
        &self,
        is_one: impl Fn(Key) -> bool,
        now: Timestamp,
    ) -> impl Iterator<Item = (Key, &Value, Duration)> {
        let of_it = self.slots.iter().filter(move |(slot, _)| is_one(**slot));
        of_it.filter_map(move |(slot, known)| {
            let left = known.expires.saturating_since(now);
            Some((*slot, known.value.as_ref()?, left)).filter(|_| !left.is_zero())
        })
    }

    /// Whether a sponsor may have one more slot. Those that are only remembered count as well, so that nobody fills the memory with records
    /// that expire soon; where it is full, the one whose value is gone longest is forgotten.
    fn make_room(&mut self, sponsor: &Sponsor) -> bool {
        let (mut of_peer, mut of_group) = (0, 0);
        for known in self.slots.values() {
            of_peer += usize::from(known.sponsor.peer == sponsor.peer);
            of_group += usize::from(known.sponsor.group == sponsor.group);
        }
        if of_peer >= MAX_OF_PEER || of_group >= LEAST_OF_GROUP.max(self.slots.len() / GROUP_SHARE) {
            return false;
        }
        if self.slots.len() >= MAX_SLOTS {
            let remembered = self.slots.iter().filter(|(_, known)| known.value.is_none());
            let oldest = remembered.min_by_key(|(_, known)| known.expires).map(|(slot, _)| *slot);
            oldest.and_then(|oldest| self.slots.remove(&oldest));
        }
        self.slots.len() < MAX_SLOTS
    }

    /// Values go when their time is over, the memory of their numbers later.
    fn expire(&mut self, now: Timestamp) {
        for (_, known) in self.slots.iter_mut() {
            known.value.take_if(|_| known.expires <= now);
        }
        self.slots.retain(|_, known| now < known.expires + MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn slot(number: u16) -> Key {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn value(sequence: u64, content: u8) -> Value {
        Value { sequence, record: vec![content] }
    }

    fn sponsor(number: u8) -> Sponsor {
        Sponsor { peer: PeerId::from_bytes([number; 32]), group: NetworkGroup::from_bytes([number; 16]) }
    }

    fn put(records: &mut Mutables, sequence: u64, content: u8, expected: Option<u64>) -> Put {
        records.put(slot(1), value(sequence, content), expected, sponsor(1), HOUR, NOW)
    }

    #[test]
    fn the_highest_number_counts_and_the_same_number_only_for_the_same_value() {
        let mut records = Mutables::new();
        assert_eq!(put(&mut records, 5, 1, None), Put::Stored);
        assert_eq!(put(&mut records, 4, 2, None), Put::Older { sequence: 5 });
        assert_eq!(put(&mut records, 5, 2, None), Put::Older { sequence: 5 });
        assert_eq!(put(&mut records, 5, 1, None), Put::Stored);
        assert_eq!(put(&mut records, 7, 3, None), Put::Stored);
        assert_eq!(records.get(slot(1), NOW), Some(&value(7, 3)));
        assert_eq!(records.get(slot(2), NOW), None);
    }

    #[test]
    fn who_expects_another_number_changes_nothing() {
        let mut records = Mutables::new();
        assert_eq!(put(&mut records, 3, 1, Some(2)), Put::Changed { sequence: 0 });
        assert_eq!(put(&mut records, 3, 1, Some(0)), Put::Stored);
        assert_eq!(put(&mut records, 4, 2, Some(0)), Put::Changed { sequence: 3 });
        assert_eq!(put(&mut records, 4, 2, Some(3)), Put::Stored);
        assert_eq!(
            put(&mut records, 4, 2, Some(3)),
            Put::Stored,
            "a writer that was not answered asks again"
        );
        assert_eq!(records.get(slot(1), NOW), Some(&value(4, 2)));
    }

    #[test]
    fn a_number_is_remembered_when_its_value_is_gone() {
        let mut records = Mutables::new();
        assert_eq!(put(&mut records, 5, 1, None), Put::Stored);
        let later = NOW + HOUR;
        assert_eq!(records.get(slot(1), later), None);
        let again = |records: &mut Mutables, sequence, now| {
            records.put(slot(1), value(sequence, 9), None, sponsor(2), HOUR, now)
        };
        assert_eq!(again(&mut records, 4, later), Put::Older { sequence: 5 });
        assert_eq!(again(&mut records, 5, later), Put::Stored, "it may be stored anew");
        let much_later = later + HOUR + MEMORY;
        assert_eq!(again(&mut records, 1, much_later), Put::Stored);
        assert_eq!(records.of_slots(|_| true, much_later).count(), 1);
    }

    #[test]
    fn nothing_lasts_longer_than_two_hours_unless_it_is_stored_again() {
        let mut records = Mutables::new();
        let store = |records: &mut Mutables, now| {
            records.put(slot(1), value(1, 1), None, sponsor(1), Duration::MAX / 2, now)
        };
        assert_eq!(store(&mut records, NOW), Put::Stored);
        assert_eq!(store(&mut records, NOW + HOUR), Put::Stored);
        assert!(records.get(slot(1), NOW + LONGEST).is_some());
        assert!(records.get(slot(1), NOW + HOUR + LONGEST).is_none());
        assert_eq!(put(&mut records, 1, 1, None), Put::Stored, "a shorter time shortens nothing");
    }

    #[test]
    fn one_sponsor_and_one_group_fill_no_replica() {
        let mut records = Mutables::new();
        let mut number = 0;
        let mut store = |sponsor: Sponsor| {
            number += 1;
            records.put(slot(number), value(1, 1), None, sponsor, HOUR, NOW)
        };
        for _ in 0..MAX_OF_PEER {
            assert_eq!(store(sponsor(1)), Put::Stored);
        }
        assert_eq!(store(sponsor(1)), Put::Full);
        for peer in (2..).take(LEAST_OF_GROUP - MAX_OF_PEER) {
            assert_eq!(store(Sponsor { peer: sponsor(peer).peer, ..sponsor(1) }), Put::Stored);
        }
        assert_eq!(store(Sponsor { peer: sponsor(200).peer, ..sponsor(1) }), Put::Full);
        assert_eq!(store(sponsor(200)), Put::Stored);
        assert_eq!(put(&mut records, 2, 1, None), Put::Stored, "to change one is none more");
    }

    #[test]
    fn records_that_expire_at_once_fill_no_replica_either() {
        let mut records = Mutables::new();
        let (mut number, mut now) = (0, NOW);
        let mut store = |by: u16, now| {
            number += 1;
            let mut peer = [0xff; 32];
            peer[..2].copy_from_slice(&by.to_be_bytes());
            let group = NetworkGroup::from_bytes([(by / 80) as u8; 16]);
            let sponsor = Sponsor { peer: PeerId::from_bytes(peer), group };
            records.put(slot(number), value(1, 1), None, sponsor, Duration::from_secs(1), now)
        };
        // Of one peer: no more than it could have that last.
        let mut stored = 0;
        for _ in 0..2 * MAX_OF_PEER {
            stored += usize::from(store(0, now) == Put::Stored);
            now = now + Duration::from_secs(2);
        }
        assert_eq!(stored, MAX_OF_PEER);
        // Of many groups: whose values are gone make way.
        for by in 1..=MAX_SLOTS as u16 {
            assert_eq!(store(by, now), Put::Stored, "{by}");
            now = now + Duration::from_secs(2);
        }
        assert_eq!(records.slots.len(), MAX_SLOTS);
        assert_eq!(put(&mut records, 1, 1, None), Put::Stored, "a newcomer finds room");
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn a_slot_never_goes_back(
            puts in proptest::collection::vec(
                (0u64..9, 0u8..3, proptest::option::of(0u64..9), 0u64..1400), 1..60,
            ),
        ) {
            let (mut records, mut now, mut highest) = (Mutables::new(), NOW, 0);
            for (sequence, content, expected, later) in puts {
                now = now + Duration::from_secs(later);
                let before = records.get(slot(1), now).cloned();
                let said = records.put(slot(1), value(sequence, content), expected, sponsor(1), HOUR, now);
                let after = records.get(slot(1), now).cloned();
                match said {
                    Put::Stored => {
                        proptest::prop_assert!(sequence >= highest);
                        proptest::prop_assert_eq!(after.clone(), Some(value(sequence, content)));
                        highest = sequence;
                    }
                    _ => proptest::prop_assert_eq!(after.clone(), before.clone()),
                }
                let number = |value: &Option<Value>| value.as_ref().map(|value| value.sequence);
                proptest::prop_assert!(before.is_none() || number(&after) >= number(&before));
            }
        }
    }
}
