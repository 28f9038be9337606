//! Group lists: the chaining values that verify each group of a segment on its own (BLAKE3 specification §2.1).

use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::{ChainingValue, ContentError, GroupDigest, SegmentEntry, SegmentHasher, SegmentLen};
use crate::{id::ContentId, units::GroupIndex};

/// A group list that hashes up to its root: there is no other kind.
///
/// A segment of a single group has no values: that group is checked by the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupList {
    root: ContentId,
    len: SegmentLen,
    values: Vec<ChainingValue>,
}

impl GroupList {
    /// Refuses values that do not hash up to `root` as the tree of a segment of this length.
    pub fn verified(
        root: ContentId,
        len: SegmentLen,
        values: Vec<ChainingValue>,
    ) -> Result<Self, ContentError> {
        let expected = len.list_values() as usize;
        if values.len() != expected {
            return Err(ContentError::ValueCount { expected, found: values.len() });
        }
        if tree_root(&values).is_some_and(|found| found != root) {
            return Err(ContentError::ListMismatch { root });
        }
        Ok(Self { root, len, values })
    }

    /// The list of a segment in a manifest, from the bytes at [`SegmentEntry::list_range`] of its track's sidecar.
    pub fn from_sidecar(entry: &SegmentEntry, bytes: &[u8]) -> Result<Self, ContentError> {
        let (values, rest) = bytes.as_chunks::<32>();
        let expected = entry.len().list_values() as usize;
        if values.len() != expected || !rest.is_empty() {
            return Err(ContentError::ValueCount { expected, found: values.len() });
        }
        let values = values.iter().map(|value| ChainingValue::from_bytes(*value)).collect();
        Self::verified(entry.root(), entry.len(), values)
    }

    /// The segment's address.
    pub fn root(&self) -> ContentId {
        self.root
    }

    /// The segment's length.
    pub fn len(&self) -> SegmentLen {
        self.len
    }

    /// One value a group; empty for a segment of a single group.
    pub fn values(&self) -> &[ChainingValue] {
        &self.values
    }

    /// Whether these are the bytes of this group.
    pub fn check(&self, index: GroupIndex, bytes: &[u8]) -> bool {
        let expected = self.len.group_bytes(index).map(|range| range.len());
        expected == Some(bytes.len() as u64)
            && SegmentHasher::digest(index, bytes).is_some_and(|digest| self.check_value(index, digest))
    }

    /// Whether a group that was hashed with [`SegmentHasher`] is this group.
    pub fn check_value(&self, index: GroupIndex, digest: GroupDigest) -> bool {
        if self.values.is_empty() {
            return index.value() == 0 && digest.root() == Some(self.root);
        }
        self.values.get(index.value() as usize) == Some(&digest.value())
    }
}

/// The root above the values of two groups or more.
///
/// Merging neighbours level by level, the odd one moving up, makes BLAKE3's tree: left subtrees are full, and a group is
/// a full subtree but for the last.
pub(super) fn tree_root(values: &[ChainingValue]) -> Option<ContentId> {
    let mut level: Vec<[u8; 32]> = values.iter().map(|value| *value.as_bytes()).collect();
    while level.len() > 2 {
        let pairs = level.chunks(2).map(|pair| match pair {
            [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
            odd => odd[0],
        });
        level = pairs.collect();
    }
    let [left, right] = level.as_slice() else { return None };
    Some(ContentId::from_bytes(*merge_subtrees_root(left, right, Mode::Hash).as_bytes()))
}
