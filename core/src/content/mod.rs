//! Immutable content: segments as trees of 16 KiB groups, the lists that verify them, and who vouches for a root.
//!
//! A segment's address is its BLAKE3 root. Its group list, the chaining value of every group, hashes up to the root, so it can
//! come from anybody; with it each group verifies alone, in any order (docs/protocol.md). Bytes only pass through: nothing
//! here keeps them.

mod attestation;
mod blocks;
mod group;
mod hasher;
mod key;
mod list;
mod manifest;
mod manifest_file;
mod set;

pub use attestation::{ATTESTATION_LIFETIME, Attestation, MAX_ATTESTATION_LEN, SignedAttestation};
pub use blocks::{BlockList, MAX_BLOCK_LIST_LEN, MAX_BLOCKED, SignedBlockList};
pub use group::{ChainingValue, GROUP_LEN, MAX_SEGMENT_LEN, SegmentLen};
pub use hasher::{GroupDigest, ListHasher, SegmentHasher};
pub use key::{MAX_PATH_LEN, PathError, SegmentKey, relative_path};
pub use list::GroupList;
pub use manifest::{MAX_SEGMENTS, MAX_SIDECAR_LEN, MAX_TRACKS, Manifest, ManifestError, SegmentEntry, Track};
pub use manifest_file::{MAX_MANIFEST_LEN, Trust};
pub use set::GroupSet;

use crate::id::ContentId;

/// Why bytes or hashes are not a segment, or not its group list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The chaining values do not hash up to the root.
    #[error("group list does not hash up to {root}")]
    ListMismatch {
        /// The root it was to have.
        root: ContentId,
    },
    /// A segment of no bytes, or of more than [`MAX_SEGMENT_LEN`].
    #[error("segment of {len} bytes")]
    SegmentLength {
        /// The length.
        len: u64,
    },
    /// A list with a number of values that does not fit the length.
    #[error("group list has {found} values, not {expected}")]
    ValueCount {
        /// Values a segment of this length has.
        expected: usize,
        /// Values that came.
        found: usize,
    },
}
