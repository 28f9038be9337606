//! The index of what this peer holds: blobs, group lists, held groups. It owns no bytes.
//!
//! Bounded by bytes: the segment that was used longest ago goes first, one that is being fetched stays.

use litemap::LiteMap;

use crate::{
    content::{GroupList, GroupSet},
    id::{BlobHandle, ContentId, StreamId},
};

/// Most segments in the index, whatever their length.
const MAX_STORED: usize = 4096;

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
    used: u64,
}

/// What was evicted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Evicted {
    /// The segment.
    pub content: ContentId,
    /// Its bytes.
    pub blob: BlobHandle,
    /// Its stream.
    pub stream: StreamId,
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

    /// Removes the segment that was used longest ago while the index is over its limit.
    pub fn evict(&mut self) -> Option<Evicted> {
        if self.bytes <= self.limit && self.segments.len() <= MAX_STORED {
            return None;
        }
        let (content, _) = self
            .segments
            .iter()
            .filter(|(_, stored)| !stored.pinned)
            .min_by_key(|(_, stored)| stored.used)?;
        let content = *content;
        let stored = self.remove(&content)?;
        Some(Evicted { content, blob: stored.blob, stream: stored.stream })
    }
}
