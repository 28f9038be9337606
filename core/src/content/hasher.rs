//! Hashing as bytes come: any slices, from any group on. Holds the state of one hash, never the bytes.

use blake3::{Hasher, hazmat::HasherExt};

use super::{
    ChainingValue, ContentError, GROUP_LEN, GroupList, MAX_SEGMENT_LEN, SegmentLen, list::tree_root,
};
use crate::{id::ContentId, units::GroupIndex};

/// What hashing a group gives: enough to check it against a list that comes later, whatever the segment's length is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GroupDigest {
    value: ChainingValue,
    root: Option<ContentId>,
}

impl GroupDigest {
    /// Its value in a group list.
    pub fn value(self) -> ChainingValue {
        self.value
    }

    /// For the first group, the root of a segment that is this group alone.
    pub fn root(self) -> Option<ContentId> {
        self.root
    }
}

/// Hashes consecutive groups of a segment.
#[derive(Clone, Debug)]
pub struct SegmentHasher {
    group: GroupIndex,
    state: Hasher,
    filled: u32,
}

fn group_state(group: GroupIndex) -> Hasher {
    let mut state = Hasher::new();
    state.set_input_offset(u64::from(group.value()) * u64::from(GROUP_LEN));
    state
}

impl SegmentHasher {
    /// Starts at the first byte of a group.
    pub fn new(first: GroupIndex) -> Self {
        Self { group: first, state: group_state(first), filled: 0 }
    }

    /// The group that the next byte belongs to.
    pub fn group(&self) -> GroupIndex {
        self.group
    }

    /// Takes the next bytes and tells each group that they complete.
    pub fn update(&mut self, mut bytes: &[u8], mut on_group: impl FnMut(GroupIndex, GroupDigest)) {
        while !bytes.is_empty() {
            let room = (GROUP_LEN - self.filled) as usize;
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.state.update(taken);
            self.filled += taken.len() as u32;
            bytes = rest;
            if self.filled == GROUP_LEN {
                on_group(self.group, self.current());
                *self = Self::new(GroupIndex::new(self.group.value().saturating_add(1)));
            }
        }
    }

    /// The last group, if the bytes end within it.
    pub fn finish(self) -> Option<(GroupIndex, GroupDigest)> {
        (self.filled > 0).then(|| (self.group, self.current()))
    }

    /// The digest of one group; `None` for no bytes or more than [`GROUP_LEN`].
    pub fn digest(index: GroupIndex, bytes: &[u8]) -> Option<GroupDigest> {
        if bytes.is_empty() || bytes.len() > GROUP_LEN as usize {
            return None;
        }
        let mut hasher = Self::new(index);
        hasher.state.update(bytes);
        Some(hasher.current())
    }

    fn current(&self) -> GroupDigest {
        let root =
            (self.group.value() == 0).then(|| ContentId::from_bytes(*self.state.finalize().as_bytes()));
        GroupDigest { value: ChainingValue::from_bytes(self.state.finalize_non_root()), root }
    }
}

/// Hashes a whole segment of unknown length to its group list.
#[derive(Clone, Debug)]
pub struct ListHasher {
    hasher: SegmentHasher,
    digests: Vec<GroupDigest>,
    len: u64,
}

impl Default for ListHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl ListHasher {
    /// Starts at the first byte of the segment.
    pub fn new() -> Self {
        Self { hasher: SegmentHasher::new(GroupIndex::new(0)), digests: Vec::new(), len: 0 }
    }

    /// Takes the next bytes; refuses what goes beyond [`MAX_SEGMENT_LEN`].
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        let len = self.len.saturating_add(bytes.len() as u64);
        if len > MAX_SEGMENT_LEN {
            return Err(ContentError::SegmentLength { len });
        }
        self.len = len;
        let digests = &mut self.digests;
        self.hasher.update(bytes, |_, digest| digests.push(digest));
        Ok(())
    }

    /// The list, with the root it hashes up to; refuses a segment of no bytes.
    pub fn finish_list(mut self) -> Result<GroupList, ContentError> {
        let len = SegmentLen::new(self.len)?;
        self.digests.extend(self.hasher.finish().map(|(_, digest)| digest));
        let values: Vec<ChainingValue> = match self.digests.as_slice() {
            [_] => Vec::new(),
            digests => digests.iter().map(|digest| digest.value).collect(),
        };
        let root = tree_root(&values).or(self.digests[0].root);
        GroupList::verified(root.expect("the first digest has a root"), len, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 7] = [1, 16_383, 16_384, 16_385, 32_768, 49_153, 1024 * 1024 + 1];

    fn sample(len: usize) -> Vec<u8> {
        (0..len as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn list_of(bytes: &[u8]) -> GroupList {
        let mut hasher = ListHasher::new();
        hasher.update(bytes).unwrap();
        hasher.finish_list().unwrap()
    }

    fn groups(bytes: &[u8]) -> impl Iterator<Item = (GroupIndex, &[u8])> {
        bytes
            .chunks(GROUP_LEN as usize)
            .enumerate()
            .map(|(index, group)| (GroupIndex::new(index as u32), group))
    }

    #[test]
    fn the_root_is_the_plain_hash_at_every_tree_shape() {
        for len in LENGTHS {
            let list = list_of(&sample(len));
            assert_eq!(list.root().as_bytes(), blake3::hash(&sample(len)).as_bytes(), "{len}");
            assert_eq!(list.len().bytes(), len as u64);
            let verified = GroupList::verified(list.root(), list.len(), list.values().to_vec());
            assert_eq!(verified, Ok(list));
        }
        for groups in 1..70 {
            let bytes = sample(groups * GROUP_LEN as usize - 5);
            assert_eq!(list_of(&bytes).root().as_bytes(), blake3::hash(&bytes).as_bytes(), "{groups} groups");
        }
    }

    #[test]
    fn each_group_checks_alone_and_no_other_bytes_do() {
        for len in LENGTHS {
            let bytes = sample(len);
            let list = list_of(&bytes);
            for (index, group) in groups(&bytes) {
                assert!(list.check(index, group), "{len}");
                let next = GroupIndex::new(index.value() + 1);
                assert!(!list.check(next, group), "group under a wrong index");
                assert!(!list.check(index, &group[1..]), "truncated group");
                let extended = [group, &[0]].concat();
                assert!(!list.check(index, &extended), "extended group");
            }
            assert!(!list.check(GroupIndex::new(u32::MAX), b"x"));
            assert!(!list.check(GroupIndex::new(0), b""));
        }
    }

    #[test]
    fn a_flipped_bit_is_never_accepted() {
        for len in [1, 40, 16_385] {
            let bytes = sample(len);
            let list = list_of(&bytes);
            for (index, group) in groups(&bytes) {
                for bit in (0..8 * group.len()).step_by(if len > 99 { 1021 } else { 1 }) {
                    let mut flipped = group.to_vec();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert!(!list.check(index, &flipped), "length {len}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn a_list_with_one_wrong_bit_or_value_too_many_is_refused() {
        for len in [32_768, 49_153, 1024 * 1024 + 1] {
            let list = list_of(&sample(len));
            for place in 0..list.values().len() {
                let mut values = list.values().to_vec();
                let mut bytes = *values[place].as_bytes();
                bytes[place % 32] ^= 1;
                values[place] = ChainingValue::from_bytes(bytes);
                let refused = GroupList::verified(list.root(), list.len(), values);
                assert_eq!(refused, Err(ContentError::ListMismatch { root: list.root() }));
            }
            let mut values = list.values().to_vec();
            values.swap(0, 1);
            assert!(GroupList::verified(list.root(), list.len(), values).is_err());
            let (expected, found) = (list.values().len(), list.values().len() - 1);
            let refused = GroupList::verified(list.root(), list.len(), list.values()[1..].to_vec());
            assert_eq!(refused, Err(ContentError::ValueCount { expected, found }));
        }
        let one = list_of(b"one group");
        let value = SegmentHasher::digest(GroupIndex::new(0), b"one group").unwrap().value();
        let refused = GroupList::verified(one.root(), one.len(), vec![value]);
        assert_eq!(refused, Err(ContentError::ValueCount { expected: 0, found: 1 }));
    }

    #[test]
    fn segments_without_bytes_or_beyond_the_limit_have_no_list() {
        assert_eq!(ListHasher::new().finish_list(), Err(ContentError::SegmentLength { len: 0 }));
        let mut hasher = ListHasher::new();
        let block = vec![0; 1 << 20];
        for _ in 0..64 {
            hasher.update(&block).unwrap();
        }
        let len = MAX_SEGMENT_LEN + 1;
        assert_eq!(hasher.clone().update(b"x"), Err(ContentError::SegmentLength { len }));
        assert_eq!(hasher.finish_list().unwrap().values().len(), 4096);
    }

    #[test]
    fn hashing_starts_at_any_group_and_takes_any_slices() {
        let bytes = sample(5 * GROUP_LEN as usize + 77);
        let list = list_of(&bytes);
        for (first, step) in [(0, 1000), (0, 16_384), (2, 40_000), (5, 7), (3, 1 << 20)] {
            let mut hasher = SegmentHasher::new(GroupIndex::new(first));
            let mut seen = Vec::new();
            for slice in bytes[(first * GROUP_LEN) as usize..].chunks(step) {
                hasher.update(slice, |index, digest| seen.push((index, digest)));
            }
            seen.extend(hasher.finish());
            let indices: Vec<u32> = seen.iter().map(|(index, _)| index.value()).collect();
            assert_eq!(indices, (first..6).collect::<Vec<_>>());
            assert!(seen.iter().all(|(index, digest)| list.check_value(*index, *digest)));
        }
    }

    #[test]
    fn a_digest_taken_before_the_length_is_known_checks_a_single_group() {
        let bytes = sample(16_384);
        let mut digest = None;
        SegmentHasher::new(GroupIndex::new(0)).update(&bytes, |_, group| digest = Some(group));
        let digest = digest.unwrap();
        assert!(list_of(&bytes).check_value(GroupIndex::new(0), digest));
        assert!(list_of(&sample(16_385)).check_value(GroupIndex::new(0), digest));
        assert!(!list_of(&bytes).check_value(GroupIndex::new(1), digest));
    }
}
