//! Units: positions and ranges in a segment, and rates.
//!
//! Ranges are half-open and never empty; one read from the wire is refused if it is.

use serde::{Deserialize, Serialize};

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct BytesPerSec(u64);

impl BytesPerSec {
    /// Wraps a rate in bytes per second.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The rate in bytes per second.
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// Position of a group in its segment, from 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct GroupIndex(u32);

impl GroupIndex {
    /// Wraps a position.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The position.
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// An empty or inverted range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("range is empty or inverted")]
pub struct EmptyRange;

/// Bytes of a file, end exclusive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// From the first byte to the one after the last; `None` if that is empty or inverted.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start < end { Some(Self { start, end }) } else { None }
    }

    /// First byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The byte after the last.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Bytes in the range, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = EmptyRange;

    fn try_from((start, end): (u64, u64)) -> Result<Self, EmptyRange> {
        Self::new(start, end).ok_or(EmptyRange)
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.end)
    }
}

/// Groups of a segment, end exclusive.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "(GroupIndex, GroupIndex)", into = "(GroupIndex, GroupIndex)")]
pub struct GroupRange {
    start: GroupIndex,
    end: GroupIndex,
}

impl GroupRange {
    /// From the first group to the one after the last; `None` if that is empty or inverted.
    pub const fn new(start: GroupIndex, end: GroupIndex) -> Option<Self> {
        if start.0 < end.0 { Some(Self { start, end }) } else { None }
    }

    /// First group.
    pub const fn start(self) -> GroupIndex {
        self.start
    }

    /// The group after the last.
    pub const fn end(self) -> GroupIndex {
        self.end
    }

    /// Groups in the range, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(self) -> u32 {
        self.end.0 - self.start.0
    }

    /// Whether the range has this group.
    pub const fn contains(self, index: GroupIndex) -> bool {
        self.start.0 <= index.0 && index.0 < self.end.0
    }

    /// Its groups, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = GroupIndex> + ExactSizeIterator + Clone {
        (self.start.0..self.end.0).map(GroupIndex)
    }
}

impl TryFrom<(GroupIndex, GroupIndex)> for GroupRange {
    type Error = EmptyRange;

    fn try_from((start, end): (GroupIndex, GroupIndex)) -> Result<Self, EmptyRange> {
        Self::new(start, end).ok_or(EmptyRange)
    }
}

impl From<GroupRange> for (GroupIndex, GroupIndex) {
    fn from(range: GroupRange) -> Self {
        (range.start, range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_inverted_ranges_are_refused() {
        assert_eq!(ByteRange::new(3, 3), None);
        assert_eq!(ByteRange::new(4, 3), None);
        assert_eq!(GroupRange::new(GroupIndex::new(1), GroupIndex::new(1)), None);
        assert!(postcard::from_bytes::<ByteRange>(&[4, 3]).is_err());
        assert!(postcard::from_bytes::<GroupRange>(&[3, 3]).is_err());
    }

    #[test]
    fn ranges_round_trip() {
        let bytes = ByteRange::new(3, 300).unwrap();
        assert_eq!(bytes.len(), 297);
        let encoded = postcard::to_allocvec(&bytes).unwrap();
        assert_eq!(encoded, [3, 0xac, 2]);
        assert_eq!(postcard::from_bytes::<ByteRange>(&encoded), Ok(bytes));
        let groups = GroupRange::new(GroupIndex::new(2), GroupIndex::new(4)).unwrap();
        assert_eq!(postcard::from_bytes(&postcard::to_allocvec(&groups).unwrap()), Ok(groups));
        assert_eq!(groups.iter().map(GroupIndex::value).collect::<Vec<_>>(), [2, 3]);
        assert!(groups.contains(GroupIndex::new(3)) && !groups.contains(GroupIndex::new(4)));
    }
}
