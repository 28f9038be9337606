//! The index of what this peer holds: blobs, group lists, held groups. It owns no bytes.
//!
//! Bounded by bytes: what is worth least goes first, and of what is worth the same the segment that was used longest ago. One
//! that is being fetched stays.

mod disk;

use std::cmp::Reverse;

use litemap::LiteMap;

use crate::{
    content::{GroupList, GroupSet},
    id::{BlobHandle, ContentId, StreamId},
};

pub use disk::{Disk, Kept};

/// Most segments in an index, whatever their length.
pub(crate) const MAX_STORED: usize = 4096;

/// What was used in the last so many uses is about to be used again.
const RECENT: u64 = 4;

/// Where a segment lies in its stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its track.
    pub track: u16,
    /// Bytes of the track before it, in whole groups.
    pub at: u64,
}

/// What keeping a segment is worth; the lowest goes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Worth {
    /// It lies close to what is played: it will be wanted soon, or was a moment ago.
    pub near: bool,
    /// Neighbours that hold all of it.
    pub holders: Reverse<usize>,
    /// Bytes between it and what was fetched last of its track.
    pub distance: Reverse<u64>,
}

/// A segment in the index.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where its bytes are.
    pub blob: BlobHandle,
    /// Groups that were verified.
    pub held: GroupSet,
    /// Its group list.
    pub list: GroupList,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// A fetch works on it: it can't be evicted.
    pub pinned: bool,
    /// Where it lies in its stream, as far as a manifest says.
    pub place: Option<Place>,
    used: u64,
}

/// The bounded index.
#[derive(Clone, Debug)]
pub struct Index {
    bytes: u64,
    limit: u64,
    segments: LiteMap<ContentId, Stored>,
    uses: u64,
}

impl Index {
    /// An index of at most `limit` bytes of segments.
    pub fn new(limit: u64) -> Self {
        Self { bytes: 0, limit, segments: LiteMap::new(), uses: 0 }
    }

    /// Most bytes of segments.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes of all indexed segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A segment, if it is indexed.
    pub fn get(&self, content: &ContentId) -> Option<&Stored> {
        self.segments.get(content)
    }

    /// A segment, if it is indexed.
    pub fn get_mut(&mut self, content: &ContentId) -> Option<&mut Stored> {
        self.segments.get_mut(content)
    }

    /// All segments, ordered by address.
    pub fn iter(&self) -> impl Iterator<Item = (&ContentId, &Stored)> {
        self.segments.iter()
    }

    /// Adds a segment, pinned and with nothing held. Replaces nothing: the caller looked first.
    pub fn insert(&mut self, list: GroupList, blob: BlobHandle, stream: StreamId) -> &mut Stored {
        let content = list.root();
        self.uses += 1;
        self.bytes += list.len().bytes();
        let held = GroupSet::empty(list.len().groups());
        self.segments.entry(content).or_insert(Stored {
            blob,
            held,
            list,
            stream,
            pinned: true,
            place: None,
            used: self.uses,
        })
    }

    /// Marks a segment as just used.
    pub fn touch(&mut self, content: &ContentId) {
        self.uses += 1;
        if let Some(stored) = self.segments.get_mut(content) {
            stored.used = self.uses;
        }
    }

    /// Removes a segment.
    pub fn remove(&mut self, content: &ContentId) -> Option<Stored> {
        let stored = self.segments.remove(content)?;
        self.bytes -= stored.list.len().bytes();
        Some(stored)
    }

    /// Whether a segment is one of the last that were used.
    pub fn is_recent(&self, stored: &Stored) -> bool {
        self.was_used_within(stored, RECENT)
    }

    /// Whether a segment was used in the last so many uses.
    pub fn was_used_within(&self, stored: &Stored, uses: u64) -> bool {
        stored.used + uses > self.uses
    }

    /// The segment to go next while the index is over its limit.
    pub fn surplus(&self, worth: impl Fn(&ContentId, &Stored) -> Worth) -> Option<ContentId> {
        if self.bytes <= self.limit && self.segments.len() <= MAX_STORED {
            return None;
        }
        let loose = self.segments.iter().filter(|(_, stored)| !stored.pinned);
        let least = loose.min_by_key(|(content, stored)| (worth(content, stored), stored.used));
        least.map(|(content, _)| *content)
    }
}
