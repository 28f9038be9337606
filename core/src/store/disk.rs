//! The index of what a driver keeps on disk, across page loads: addresses and lengths, never bytes.
//!
//! What is written here is a driver's word, and as little trusted as a peer's: bytes count when they hash to their address.

use litemap::LiteMap;

use super::{MAX_STORED, Place, Worth};
use crate::id::{ContentId, StreamId};

/// A segment on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its length in bytes.
    pub len: u64,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Where it lies in its stream; `None` until it is fetched in this session.
    pub place: Option<Place>,
    used: u64,
}

/// The bounded index of the disk.
#[derive(Clone, Debug)]
pub struct Disk {
    bytes: u64,
    limit: u64,
    segments: LiteMap<ContentId, Kept>,
    uses: u64,
}

impl Disk {
    /// An index of at most `limit` bytes; 0: nothing is kept.
    pub fn new(limit: u64) -> Self {
        Self { bytes: 0, limit, segments: LiteMap::new(), uses: 0 }
    }

    /// Most bytes on disk.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Lowers the limit to what is there: the disk takes no more.
    pub fn close(&mut self) {
        self.limit = self.limit.min(self.bytes);
    }

    /// A segment, if it is on disk.
    pub fn get(&self, content: &ContentId) -> Option<&Kept> {
        self.segments.get(content)
    }

    /// All segments, ordered by address.
    pub fn iter(&self) -> impl Iterator<Item = (&ContentId, &Kept)> {
        self.segments.iter()
    }

    /// Adds a segment, or says that it was used.
    pub fn insert(&mut self, content: ContentId, len: u64, stream: StreamId, place: Option<Place>) {
        self.remove(&content);
        self.uses += 1;
        self.bytes += len;
        self.segments.insert(content, Kept { len, stream, place, used: self.uses });
    }

    /// Removes a segment.
    pub fn remove(&mut self, content: &ContentId) -> Option<Kept> {
        let kept = self.segments.remove(content)?;
        self.bytes -= kept.len;
        Some(kept)
    }

    /// The segment to go next while there is no room for so many bytes more.
    pub fn surplus(&self, more: u64, worth: impl Fn(&ContentId, &Kept) -> Worth) -> Option<ContentId> {
        let fits = self.bytes.saturating_add(more) <= self.limit;
        if fits && self.segments.len() + usize::from(more > 0) <= MAX_STORED {
            return None;
        }
        let least = self.segments.iter().min_by_key(|(content, kept)| (worth(content, kept), kept.used));
        least.map(|(content, _)| *content)
    }
}
