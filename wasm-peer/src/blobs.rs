//! Segment bytes, in JS memory: the node names blobs, this keeps them.
//!
//! Little is copied to be kept: a blob is a list of views of the messages and response chunks that its bytes came in. Bytes are
//! written into fresh memory once, when somebody wants all of them, and that copy is given away. Touching memory for the first time is
//! what costs most about a segment.

use std::ops::Range;

use js_sys::Uint8Array;
use litemap::LiteMap;
use tabswarm_core::{id::BlobHandle, units::ByteRange, wire::MAX_DATA_LEN};

/// Neighbouring bytes of a blob, as they came.
struct Part {
    start: u32,
    bytes: Uint8Array,
}

impl Part {
    fn end(&self) -> u32 {
        self.start + self.bytes.length()
    }

    /// What of it lies between two places of the blob.
    fn within(&self, start: u32, end: u32) -> Option<Self> {
        let (start, end) = (start.max(self.start), end.min(self.end()));
        let bytes = (start < end).then(|| self.bytes.subarray(start - self.start, end - self.start))?;
        Some(Self { start, bytes })
    }
}

/// The parts of a blob in order, none over another.
#[derive(Default)]
struct Blob(Vec<Part>);

impl Blob {
    /// What is at the same place already is replaced.
    fn insert(&mut self, part: Part) {
        let (start, end) = (part.start, part.end());
        let first = self.0.partition_point(|other| other.end() <= start);
        let after = first + self.0[first..].partition_point(|other| other.start < end);
        let before = self.0[first..after].first().and_then(|other| other.within(0, start));
        let behind = self.0[first..after].last().and_then(|other| other.within(end, u32::MAX));
        self.0.splice(first..after, before.into_iter().chain([part]).chain(behind));
    }

    /// Writes the bytes between two places to `target` from `at` on; whether all of them are there.
    fn write(&self, start: u32, end: u32, target: &Uint8Array, at: u32) -> bool {
        let first = self.0.partition_point(|part| part.end() <= start);
        let mut next = start;
        for part in self.0[first..].iter().map_while(|part| part.within(start, end)) {
            if part.start != next {
                return false;
            }
            target.set(&part.bytes, at + (next - start));
            next = part.end();
        }
        next == end
    }

    fn end(&self) -> u32 {
        self.0.last().map_or(0, Part::end)
    }
}

/// See the module documentation.
pub(crate) struct Blobs {
    blobs: LiteMap<BlobHandle, Blob>,
    /// Where messages are put together: what is sent is copied by the browser at once.
    message: Uint8Array,
}

impl Blobs {
    pub(crate) fn new() -> Self {
        Self { blobs: LiteMap::new(), message: Uint8Array::new_with_length(MAX_DATA_LEN as u32) }
    }

    /// Begins a blob.
    pub(crate) fn open(&mut self, blob: BlobHandle) {
        self.blobs.insert(blob, Blob::default());
    }

    /// Keeps a part of a JS buffer that nobody writes to any more.
    pub(crate) fn keep(&mut self, blob: BlobHandle, offset: u64, lent: &Uint8Array, source: Range<usize>) {
        let Some(kept) = self.blobs.get_mut(&blob) else { return };
        // A blob is far below 4 GiB: the core refuses longer segments.
        let Ok(start) = u32::try_from(offset) else { return };
        // A message of which little is of use is not kept for that.
        let (from, to) = (source.start as u32, source.end as u32);
        let is_most = 2 * source.len() >= lent.length() as usize;
        let bytes = if is_most { lent.subarray(from, to) } else { lent.slice(from, to) };
        if start.checked_add(bytes.length()).is_some() && !source.is_empty() {
            kept.insert(Part { start, bytes });
        }
    }

    /// Takes bytes that were read for a blob. Whether it is still wanted.
    pub(crate) fn fill(&mut self, blob: BlobHandle, bytes: &Uint8Array) -> bool {
        let Some(kept) = self.blobs.get_mut(&blob) else { return false };
        kept.0.clear();
        if bytes.length() > 0 {
            kept.0.push(Part { start: 0, bytes: bytes.clone() });
        }
        true
    }

    /// A copy of the first `len` bytes, if they are there.
    pub(crate) fn copy(&self, blob: BlobHandle, len: u64) -> Option<Uint8Array> {
        let kept = self.blobs.get(&blob)?;
        // Nothing is allocated for a length that is only claimed.
        let len = u32::try_from(len).ok().filter(|len| *len <= kept.end())?;
        let copy = Uint8Array::new_with_length(len);
        kept.write(0, len, &copy, 0).then_some(copy)
    }

    /// `header` and then `range` of the blob, as one message: valid until the next.
    pub(crate) fn message(&self, header: &[u8], blob: BlobHandle, range: ByteRange) -> Option<Uint8Array> {
        let kept = self.blobs.get(&blob)?;
        let (start, end) = (u32::try_from(range.start()).ok()?, u32::try_from(range.end()).ok()?);
        let header_len = header.len() as u32;
        let len = header_len + (end - start);
        if len > self.message.length() || !kept.write(start, end, &self.message, header_len) {
            return None;
        }
        self.message.subarray(0, header_len).copy_from(header);
        Some(self.message.subarray(0, len))
    }

    /// Forgets a blob.
    pub(crate) fn drop_blob(&mut self, blob: BlobHandle) {
        self.blobs.remove(&blob);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.blobs.clear();
    }
}

#[cfg(all(test, target_arch = "wasm32"))]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const BLOB: BlobHandle = BlobHandle::new(7);

    fn pattern(len: u32) -> Uint8Array {
        let bytes: Vec<u8> = (0..len).map(|index| (index * 31 % 251) as u8).collect();
        Uint8Array::from(bytes.as_slice())
    }

    fn copied(blobs: &Blobs, len: u64) -> Option<Vec<u8>> {
        blobs.copy(BLOB, len).map(|copy| copy.to_vec())
    }

    #[test]
    fn kept_parts_come_back_in_place() {
        let mut blobs = Blobs::new();
        let source = pattern(100);
        blobs.open(BLOB);
        blobs.keep(BLOB, 60, &source, 60..100);
        blobs.keep(BLOB, 0, &source, 0..60);
        assert_eq!(copied(&blobs, 100), Some(source.to_vec()));
        assert_eq!(copied(&blobs, 70), Some(source.to_vec()[..70].to_vec()));
    }

    #[test]
    fn what_comes_again_takes_the_place_of_what_was_there() {
        // Begin and end of the later part; the earlier ones are 10..20, 20..30 and 40..50.
        for (start, end) in
            [(10, 20), (10, 15), (12, 18), (15, 20), (5, 45), (15, 25), (0, 60), (30, 40), (25, 60)]
        {
            let mut blobs = Blobs::new();
            blobs.open(BLOB);
            let mut expected = pattern(60).to_vec();
            blobs.keep(BLOB, 0, &pattern(60), 0..10);
            for earlier in [40..50, 10..20, 20..30] {
                blobs.keep(BLOB, earlier.start as u64, &pattern(60), earlier);
            }
            let later = Uint8Array::new_with_length(60);
            blobs.keep(BLOB, start as u64, &later, start..end);
            expected[start..end].fill(0);
            blobs.keep(BLOB, 30, &Uint8Array::from(&expected[30..40]), 0..10);
            blobs.keep(BLOB, 50, &Uint8Array::from(&expected[50..60]), 0..10);
            assert_eq!(copied(&blobs, 60), Some(expected), "{start}..{end}");
        }
    }

    #[test]
    fn what_is_not_all_there_is_not_given_out() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB);
        blobs.keep(BLOB, 0, &pattern(10), 0..10);
        blobs.keep(BLOB, 20, &pattern(10), 0..10);
        assert_eq!(copied(&blobs, 10), Some(pattern(10).to_vec()));
        assert_eq!(copied(&blobs, 30), None);
        assert_eq!(copied(&blobs, u64::MAX), None);
        let over_the_gap = ByteRange::new(5, 25).expect("not empty");
        assert!(blobs.message(&[], BLOB, over_the_gap).is_none());
    }

    #[test]
    fn a_copy_is_the_receivers_own() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB);
        blobs.keep(BLOB, 0, &pattern(10), 0..10);
        blobs.copy(BLOB, 10).expect("it is there").fill(0, 0, 10);
        assert_eq!(copied(&blobs, 10), Some(pattern(10).to_vec()));
    }

    #[test]
    fn a_long_message_is_not_kept_for_the_little_of_it_that_is_of_use() {
        let mut blobs = Blobs::new();
        let message = pattern(64);
        blobs.open(BLOB);
        blobs.keep(BLOB, 0, &message, 0..16);
        blobs.keep(BLOB, 16, &message, 16..64);
        let held: Vec<u32> =
            blobs.blobs[&BLOB].0.iter().map(|part| part.bytes.buffer().byte_length()).collect();
        assert_eq!(held, [16, 64]);
        assert_eq!(copied(&blobs, 64), Some(message.to_vec()));
    }

    #[test]
    fn a_message_is_its_header_and_the_range() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB);
        blobs.keep(BLOB, 0, &pattern(10), 0..4);
        blobs.keep(BLOB, 4, &pattern(10), 4..10);
        let range = ByteRange::new(2, 5).expect("not empty");
        let message = blobs.message(&[1, 2], BLOB, range).expect("inside the blob").to_vec();
        assert_eq!(message[..2], [1, 2]);
        assert_eq!(message[2..], pattern(10).to_vec()[2..5]);
        assert!(blobs.message(&[], BLOB, ByteRange::new(9, 11).expect("not empty")).is_none());
        assert_eq!(blobs.message(&[3], BLOB, range).expect("inside the blob").to_vec()[1..], message[2..]);
    }

    #[test]
    fn what_is_read_fills_only_a_blob_that_is_wanted() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB);
        assert!(blobs.fill(BLOB, &pattern(9)));
        assert_eq!(copied(&blobs, 9), Some(pattern(9).to_vec()));
        blobs.drop_blob(BLOB);
        assert!(!blobs.fill(BLOB, &pattern(9)));
        assert!(copied(&blobs, 9).is_none());
    }

    #[test]
    fn a_dropped_blob_is_gone() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB);
        blobs.drop_blob(BLOB);
        blobs.keep(BLOB, 0, &pattern(4), 0..4);
        assert!(copied(&blobs, 4).is_none());
    }
}
