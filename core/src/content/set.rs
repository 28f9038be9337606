//! Sets of groups of one segment: which are held, wanted, on their way.

use crate::units::{GroupIndex, GroupRange};

const WORD_BITS: u32 = u64::BITS;

/// A set of groups of a segment with a known number of groups: one bit each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupSet {
    words: Vec<u64>,
    groups: u32,
    len: u32,
}

fn place(index: GroupIndex) -> (usize, u64) {
    ((index.value() / WORD_BITS) as usize, 1 << (index.value() % WORD_BITS))
}

impl GroupSet {
    /// No group of `groups`.
    pub fn empty(groups: u32) -> Self {
        Self { words: vec![0; groups.div_ceil(WORD_BITS) as usize], groups, len: 0 }
    }

    /// All of `groups`.
    pub fn full(groups: u32) -> Self {
        let mut set = Self::empty(groups);
        for index in 0..groups {
            set.insert(GroupIndex::new(index));
        }
        set
    }

    /// Number of groups the segment has.
    pub fn groups(&self) -> u32 {
        self.groups
    }

    /// Adds a group. Whether it was new; a group beyond the segment never is.
    pub fn insert(&mut self, index: GroupIndex) -> bool {
        let fresh = index.value() < self.groups && !self.contains(index);
        if fresh {
            let (word, bit) = place(index);
            self.words[word] |= bit;
            self.len += 1;
        }
        fresh
    }

    /// Adds every group of a range that the segment has.
    pub fn insert_range(&mut self, range: GroupRange) {
        let end = range.end().value().min(self.groups);
        let mut start = range.start().value().min(end);
        // Word by word: ranges come from remotes, many in a message.
        while start < end {
            let word = &mut self.words[(start / WORD_BITS) as usize];
            let (from, run) = (start % WORD_BITS, (WORD_BITS - start % WORD_BITS).min(end - start));
            let mask = (u64::MAX >> (WORD_BITS - run)) << from;
            self.len += (mask & !*word).count_ones();
            *word |= mask;
            start += run;
        }
    }

    /// Takes a group out. Whether it was in.
    pub fn remove(&mut self, index: GroupIndex) -> bool {
        let held = self.contains(index);
        if held {
            let (word, bit) = place(index);
            self.words[word] &= !bit;
            self.len -= 1;
        }
        held
    }

    /// Whether a group is in.
    pub fn contains(&self, index: GroupIndex) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Number of groups in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no group is in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether every group is in.
    pub fn is_full(&self) -> bool {
        self.len == self.groups
    }

    /// The groups that are in, ascending.
    pub fn iter(&self) -> impl Iterator<Item = GroupIndex> + '_ {
        (0..self.groups).map(GroupIndex::new).filter(|index| self.contains(*index))
    }

    /// The groups that are not in, ascending.
    pub fn missing(&self) -> impl Iterator<Item = GroupIndex> + '_ {
        (0..self.groups).map(GroupIndex::new).filter(|index| !self.contains(*index))
    }

    /// The groups that are in as the fewest ranges, ascending.
    pub fn ranges(&self) -> Vec<GroupRange> {
        let mut ranges: Vec<GroupRange> = Vec::new();
        for index in self.iter() {
            let start = ranges.pop_if(|last| last.end() == index).map_or(index, GroupRange::start);
            ranges.extend(GroupRange::new(start, GroupIndex::new(index.value() + 1)));
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, end: u32) -> GroupRange {
        GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap()
    }

    #[test]
    fn groups_beyond_the_segment_are_never_in() {
        let mut set = GroupSet::empty(65);
        assert!(!set.insert(GroupIndex::new(65)));
        assert!(!set.insert(GroupIndex::new(u32::MAX)));
        set.insert_range(range(60, u32::MAX));
        assert_eq!((set.len(), set.ranges()), (5, vec![range(60, 65)]));
        assert!(!set.contains(GroupIndex::new(65)) && !set.remove(GroupIndex::new(127)));
    }

    #[test]
    fn full_and_empty_are_told_apart_at_word_boundaries() {
        for groups in [1, 63, 64, 65, 4096] {
            let mut set = GroupSet::full(groups);
            assert!(set.is_full() && !set.is_empty());
            assert_eq!((set.len(), set.ranges()), (groups, vec![range(0, groups)]));
            assert!(set.remove(GroupIndex::new(groups - 1)) && !set.is_full());
            assert_eq!(set.missing().collect::<Vec<_>>(), [GroupIndex::new(groups - 1)]);
            assert_eq!(GroupSet::empty(groups).ranges(), []);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn a_range_is_its_groups(ranges in proptest::collection::vec((0u32..150, 1u32..150), 0..9)) {
            let (mut whole, mut single) = (GroupSet::empty(140), GroupSet::empty(140));
            for (start, len) in ranges {
                whole.insert_range(range(start, start + len));
                (start..start + len).for_each(|index| {
                    single.insert(GroupIndex::new(index));
                });
            }
            proptest::prop_assert_eq!(whole, single);
        }

        #[test]
        fn it_behaves_as_a_sorted_set(changes in proptest::collection::vec((0u32..140, proptest::bool::ANY), 0..200)) {
            let mut set = GroupSet::empty(130);
            let mut model = std::collections::BTreeSet::new();
            for (index, add) in changes {
                if add {
                    proptest::prop_assert_eq!(set.insert(GroupIndex::new(index)), index < 130 && model.insert(index));
                } else {
                    proptest::prop_assert_eq!(set.remove(GroupIndex::new(index)), model.remove(&index));
                }
                model.retain(|index| *index < 130);
            }
            let held: Vec<u32> = set.iter().map(GroupIndex::value).collect();
            proptest::prop_assert_eq!(&held, &model.iter().copied().collect::<Vec<_>>());
            proptest::prop_assert_eq!(set.len() as usize, model.len());
            let ranges = set.ranges();
            let unrolled: Vec<u32> = ranges.iter().flat_map(|range| range.iter()).map(GroupIndex::value).collect();
            proptest::prop_assert_eq!(unrolled, held);
            proptest::prop_assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        }
    }
}
