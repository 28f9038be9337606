//! What is kept on disk, across page loads: written when it is complete and nothing is urgent, read when it is wanted, and
//! checked like anybody's bytes before it is played or sent.
//!
//! Only segments of complete streams are written: what is live is of no use when the page opens again.

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;

use super::{
    Node,
    fetch::{Fetch, Phase},
    io::{Output, Persisted},
    roots::ManifestState,
};
use crate::{
    content::{GroupSet, ListHasher, SegmentLen},
    id::{BlobHandle, ContentId, LinkId, RequestId, SegmentId, StreamId},
    store::{Disk, MAX_STORED, Place},
    time::Timestamp,
    wire::Request,
};

/// A disk that takes longer to bring a segment is not waited for; less long if the segment is needed before, down to the first.
const LOAD_PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Nothing is written while a segment is needed sooner than this.
const URGENT: Duration = Duration::from_secs(1);
/// Most segments that are read at a time because peers ask for them.
const MAX_LOADS: usize = 4;
/// Most messages of peers that wait for one segment to be read.
const MAX_READERS: usize = 16;
/// After so many writes in a row that failed no more are tried.
const MAX_FAILURES: u32 = 3;

/// What a peer asked for that is being read.
#[derive(Debug)]
pub(super) enum Reader {
    List(LinkId, ContentId),
    Request(LinkId, Request),
}

/// A segment that is being read.
#[derive(Debug)]
struct Load {
    blob: BlobHandle,
    hasher: ListHasher,
    readers: Vec<Reader>,
    since: Timestamp,
    /// When it is given up.
    until: Timestamp,
}

impl Load {
    /// A player needs it then.
    fn needed_at(&mut self, deadline: Timestamp) {
        let (least, most) = LOAD_PATIENCE;
        let wait = deadline.saturating_since(self.since).clamp(least, most);
        self.until = self.until.min(self.since + wait);
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct DiskState {
    pub(super) index: Disk,
    failures: u32,
    /// By address: as many as there are fetches.
    loads: LiteMap<ContentId, Load>,
    /// Complete segments that are to be written, as many as the store has.
    wanted: VecDeque<ContentId>,
    writing: Option<Writing>,
}

/// A segment that is being written.
#[derive(Debug)]
struct Writing {
    content: ContentId,
    len: u64,
    stream: StreamId,
    place: Option<Place>,
}

impl DiskState {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            index: Disk::new(limit),
            failures: 0,
            loads: LiteMap::new(),
            wanted: VecDeque::new(),
            writing: None,
        }
    }

    /// When a read is not waited for any longer.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.loads.values().map(|load| load.until).min()
    }

    fn is_open(&self) -> bool {
        self.index.limit() > 0 && self.failures < MAX_FAILURES
    }
}

impl Node {
    /// Says that a segment is on disk, from another time: call it for each, quickest in the order of their addresses, before the
    /// first fetch. What goes beyond the limit is forgotten. There may be thousands: outputs may wait for the next call.
    pub fn handle_restored(&mut self, stream: StreamId, content: ContentId, len: SegmentLen) {
        self.disk.index.insert(content, len.bytes(), stream, None);
        if self.is_blocked(&stream, &content) {
            self.forget(&content);
        }
        self.make_room(0);
    }

    /// Says how an [`Output::Persist`] went.
    pub fn handle_persisted(&mut self, content: ContentId, persisted: Persisted, now: Timestamp) {
        if let Some(writing) = self.disk.writing.take_if(|writing| writing.content == content) {
            self.end_write(&writing, persisted);
        }
        self.settle_calmly(now);
    }

    /// Gives the next bytes of a blob that [`Output::Load`] asked for; `None` after the last, or if it can't be read any more.
    pub fn handle_blob(&mut self, blob: BlobHandle, bytes: Option<&[u8]>, now: Timestamp) {
        let load = self.disk.loads.iter_mut().find(|(_, load)| load.blob == blob);
        if let Some((content, load)) = load {
            let content = *content;
            let read = bytes.map(|bytes| load.hasher.update(bytes));
            match read {
                Some(Ok(())) => {}
                Some(Err(_)) => self.end_load(content, true, now),
                None => self.finish_load(content, now),
            }
        }
        self.settle_calmly(now);
    }

    /// Has a segment read from disk, if it is there: `true` if the fetch is to wait for that.
    pub(super) fn restore(
        &mut self,
        fetch: &mut Fetch,
        content: ContentId,
        len: SegmentLen,
        now: Timestamp,
    ) -> bool {
        let Some(kept) = self.disk.index.get(&content).copied() else { return false };
        if kept.len != len.bytes() {
            self.forget(&content);
            return false;
        }
        let place = self.place_of(&fetch.stream, &fetch.key);
        self.disk.index.insert(content, kept.len, kept.stream, place);
        let load = self.load(content, kept.stream, now);
        load.needed_at(fetch.deadline);
        fetch.phase = Phase::Restoring { content, until: load.until };
        true
    }

    /// The read of a segment, which begins unless it is under way.
    fn load(&mut self, content: ContentId, stream: StreamId, now: Timestamp) -> &mut Load {
        let begun = self.disk.loads.contains_key(&content);
        let blob = self.new_blob();
        if !begun {
            self.output(Output::Load { blob, content, stream });
        }
        let until = now + LOAD_PATIENCE.1;
        let load = Load { blob, hasher: ListHasher::new(), readers: Vec::new(), since: now, until };
        self.disk.loads.entry(content).or_insert(load)
    }

    /// Has a segment read that a peer asks for: `true` if it is answered then.
    pub(super) fn read_for(&mut self, reader: Reader, content: &ContentId, now: Timestamp) -> bool {
        let Some(kept) = self.disk.index.get(content).copied() else { return false };
        if self.disk.loads.len() >= MAX_LOADS && !self.disk.loads.contains_key(content) {
            return false;
        }
        let load = self.load(*content, kept.stream, now);
        let has_room = load.readers.len() < MAX_READERS;
        if has_room {
            load.readers.push(reader);
        }
        has_room
    }

    /// A peer takes a request back.
    pub(super) fn stop_reading(&mut self, link: LinkId, request: RequestId) {
        let is_it = |reader: &Reader| matches!(reader, Reader::Request(of, asked) if (*of, asked.id) == (link, request));
        self.disk.loads.iter_mut().for_each(|(_, load)| load.readers.retain(|reader| !is_it(reader)));
    }

    /// What peers asked for is there, or is not to be had.
    fn answer(&mut self, readers: Vec<Reader>, now: Timestamp) {
        for reader in readers {
            match reader {
                Reader::List(link, content) => self.send_list(link, &content, now),
                Reader::Request(link, request) if self.links.contains_key(&link) => {
                    self.handle_request(link, &request, now);
                }
                Reader::Request(..) => {}
            }
        }
    }

    /// All bytes were read. They count if they hash to their address.
    fn finish_load(&mut self, content: ContentId, now: Timestamp) {
        let hasher = self.disk.loads.get(&content).map(|load| load.hasher.clone());
        let list = hasher.and_then(|hasher| hasher.finish_list().ok()).filter(|list| list.root() == content);
        let (Some(list), Some(kept)) = (list, self.disk.index.get(&content).copied()) else {
            self.end_load(content, true, now);
            return;
        };
        let Some(load) = self.disk.loads.remove(&content) else { return };
        if self.store.get(&content).is_none() {
            let stored = self.store.insert(list.clone(), load.blob, kept.stream);
            stored.held = GroupSet::full(list.len().groups());
            stored.place = kept.place;
            stored.pinned = false;
            self.stats.disk_bytes += kept.len;
            self.announce_all_of(kept.stream, content, now);
        } else {
            self.output(Output::Drop { blob: load.blob });
        }
        for segment in self.restoring(&content) {
            let list = list.clone();
            self.with_fetch(segment, |node, fetch| {
                fetch.disk_bytes = kept.len;
                node.start_trading(fetch, list, now);
            });
        }
        self.answer(load.readers, now);
    }

    /// The disk does not bring a segment: whoever waits for it goes on as if it had never been there.
    pub(super) fn end_load(&mut self, content: ContentId, bad: bool, now: Timestamp) {
        let Some(load) = self.disk.loads.remove(&content) else { return };
        self.output(Output::Drop { blob: load.blob });
        if bad {
            self.forget(&content);
        } else {
            self.disk.index.remove(&content);
            self.announce_gone(content);
        }
        self.answer(load.readers, now);
        for segment in self.restoring(&content) {
            self.with_fetch(segment, |_, fetch| {
                fetch.phase = Phase::Resolving;
                fetch.progress = now;
            });
        }
    }

    fn restoring(&self, content: &ContentId) -> Vec<SegmentId> {
        let waits = |fetch: &&Fetch| matches!(fetch.phase, Phase::Restoring { content: other, .. } if other == *content);
        self.fetches.values().filter(waits).map(|fetch| fetch.segment).collect()
    }

    /// Gives up what the disk does not bring in time.
    #[inline(never)]
    pub(super) fn expire_loads(&mut self, now: Timestamp) {
        let late = |load: &Load| load.until <= now;
        while let Some((content, _)) = self.disk.loads.iter().find(|(_, load)| late(load)) {
            let content = *content;
            self.end_load(content, false, now);
        }
    }

    /// A segment is complete: it is written when there is time.
    pub(super) fn want_persisted(&mut self, content: ContentId) {
        let disk = &mut self.disk;
        let known = disk.index.get(&content).is_some()
            || disk.writing.as_ref().is_some_and(|writing| writing.content == content);
        if !disk.is_open() || known || disk.wanted.contains(&content) {
            return;
        }
        if disk.wanted.len() >= MAX_STORED {
            disk.wanted.pop_front();
        }
        disk.wanted.push_back(content);
    }

    /// Writes one segment at a time, while nothing is urgent.
    #[inline(never)]
    pub(super) fn drive_disk(&mut self, now: Timestamp) {
        let urgent = |fetch: &Fetch| !fetch.waiters.is_empty() && fetch.deadline <= now + URGENT;
        if self.disk.writing.is_some() || !self.disk.is_open() || self.fetches.values().any(urgent) {
            return;
        }
        while let Some(content) = self.disk.wanted.pop_front() {
            let Some(stored) = self.store.get(&content).filter(|stored| stored.held.is_full()) else {
                continue;
            };
            let (blob, len) = (stored.blob, stored.list.len().bytes());
            let (stream, place) = (stored.stream, stored.place);
            if len > self.disk.index.limit() || !self.is_complete(&stream) {
                continue;
            }
            self.make_room(len);
            self.disk.writing = Some(Writing { content, len, stream, place });
            self.output(Output::Persist { blob, content, len, stream });
            return;
        }
    }

    fn end_write(&mut self, writing: &Writing, persisted: Persisted) {
        let Writing { content, len, stream, place } = *writing;
        match persisted {
            Persisted::Kept => {
                self.disk.failures = 0;
                self.disk.index.insert(content, len, stream, place);
                if self.is_blocked(&stream, &content) {
                    self.forget(&content);
                }
            }
            Persisted::Full => {
                self.disk.index.close();
                self.disk.wanted.push_front(content);
            }
            Persisted::Failed => self.disk.failures += 1,
        }
    }

    fn make_room(&mut self, more: u64) {
        while let Some(content) =
            self.disk.index.surplus(more, |content, kept| self.disk_worth(content, kept))
        {
            self.forget(&content);
        }
    }

    /// Has a segment removed from disk.
    pub(super) fn forget(&mut self, content: &ContentId) {
        if let Some(kept) = self.disk.index.remove(content) {
            self.output(Output::Forget { content: *content, stream: kept.stream });
            self.announce_gone(*content);
        }
    }

    /// Whether a manifest says that this is all of the stream there will be.
    fn is_complete(&self, stream: &StreamId) -> bool {
        let manifest = self.streams.get(stream).map(|state| &state.manifest);
        matches!(manifest, Some(ManifestState::Loaded(manifest)) if manifest.refresh().is_none())
    }
}
