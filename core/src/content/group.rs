//! Groups: the 16 KiB pieces a segment is verified and travels in.

use serde::{Deserialize, Serialize};

use super::ContentError;
use crate::{
    id::fixed_bytes,
    units::{ByteRange, GroupIndex, GroupRange},
};

/// Bytes of a group; the last of a segment may have fewer.
pub const GROUP_LEN: u32 = 16 * 1024;

/// Most bytes of a segment.
pub const MAX_SEGMENT_LEN: u64 = 64 * 1024 * 1024;

fixed_bytes! {
    /// The BLAKE3 hash of a subtree that is not the root: what a group list is made of.
    ChainingValue[32];
}

/// Length of a segment: 1 to [`MAX_SEGMENT_LEN`] bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SegmentLen(u32);

impl SegmentLen {
    /// Refuses an empty segment and one that is too long.
    pub fn new(bytes: u64) -> Result<Self, ContentError> {
        match u32::try_from(bytes) {
            Ok(len @ 1..) if bytes <= MAX_SEGMENT_LEN => Ok(Self(len)),
            _ => Err(ContentError::SegmentLength { len: bytes }),
        }
    }

    /// Length in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// Number of groups, 1 to 4,096.
    pub const fn groups(self) -> u32 {
        self.0.div_ceil(GROUP_LEN)
    }

    /// All groups.
    pub fn all_groups(self) -> GroupRange {
        GroupRange::new(GroupIndex::new(0), GroupIndex::new(self.groups()))
            .expect("a segment has at least one byte, thus one group")
    }

    /// The bytes of a group; `None` beyond the last.
    pub fn group_bytes(self, index: GroupIndex) -> Option<ByteRange> {
        let start = u64::from(index.value()) * u64::from(GROUP_LEN);
        ByteRange::new(start, (start + u64::from(GROUP_LEN)).min(self.bytes()))
    }

    /// The bytes of consecutive groups; `None` if one is beyond the last.
    pub fn range_bytes(self, groups: GroupRange) -> Option<ByteRange> {
        let last = self.group_bytes(GroupIndex::new(groups.end().value() - 1))?;
        ByteRange::new(u64::from(groups.start().value()) * u64::from(GROUP_LEN), last.end())
    }

    /// Number of chaining values in the group list: none for a single group, which the root itself checks.
    pub const fn list_values(self) -> u32 {
        if self.groups() == 1 { 0 } else { self.groups() }
    }
}

impl TryFrom<u64> for SegmentLen {
    type Error = ContentError;

    fn try_from(bytes: u64) -> Result<Self, ContentError> {
        Self::new(bytes)
    }
}

impl From<SegmentLen> for u64 {
    fn from(len: SegmentLen) -> u64 {
        len.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(bytes: u64) -> SegmentLen {
        SegmentLen::new(bytes).unwrap()
    }

    #[test]
    fn empty_and_huge_segments_are_refused() {
        for bytes in [0, MAX_SEGMENT_LEN + 1, u64::MAX, 1 << 32] {
            assert_eq!(SegmentLen::new(bytes), Err(ContentError::SegmentLength { len: bytes }));
            assert!(postcard::from_bytes::<SegmentLen>(&postcard::to_allocvec(&bytes).unwrap()).is_err());
        }
        assert_eq!(len(MAX_SEGMENT_LEN).groups(), 4096);
        assert_eq!(postcard::from_bytes(&postcard::to_allocvec(&len(77)).unwrap()), Ok(len(77)));
    }

    #[test]
    fn groups_cover_every_byte_once() {
        for bytes in [1, 16_383, 16_384, 16_385, 49_153] {
            let len = len(bytes);
            let mut end = 0;
            for index in len.all_groups().iter() {
                let range = len.group_bytes(index).unwrap();
                assert_eq!(range.start(), end);
                end = range.end();
            }
            assert_eq!(end, bytes);
            assert_eq!(len.group_bytes(GroupIndex::new(len.groups())), None);
            assert_eq!(len.group_bytes(GroupIndex::new(u32::MAX)), None);
            assert_eq!(len.range_bytes(len.all_groups()), ByteRange::new(0, bytes));
        }
        let range = |start, end| GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap();
        assert_eq!(len(49_153).range_bytes(range(1, 4)), ByteRange::new(16_384, 49_153));
        assert_eq!(len(49_153).range_bytes(range(1, 5)), None);
    }
}
