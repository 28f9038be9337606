//! Segment bytes, in JS memory: the node names blobs, this keeps them.

use std::ops::Range;

use js_sys::Uint8Array;
use litemap::LiteMap;
use tabswarm_core::{id::BlobHandle, units::ByteRange, wire::MAX_DATA_LEN};

/// Most bytes that are allocated because of a length somebody claims; beyond it a blob grows with what comes.
const MAX_CLAIMED: u32 = 16 << 20;
/// Room of a blob of unknown length.
const FIRST_ROOM: u32 = 256 << 10;

/// See the module documentation.
pub(crate) struct Blobs {
    blobs: LiteMap<BlobHandle, Uint8Array>,
    /// Where messages are put together: what is sent is copied by the browser at once.
    message: Uint8Array,
}

impl Blobs {
    pub(crate) fn new() -> Self {
        Self { blobs: LiteMap::new(), message: Uint8Array::new_with_length(MAX_DATA_LEN as u32) }
    }

    /// Makes room for a blob.
    pub(crate) fn open(&mut self, blob: BlobHandle, len: Option<u64>) {
        let claimed = len.map_or(FIRST_ROOM, |len| u32::try_from(len).unwrap_or(MAX_CLAIMED));
        self.blobs.insert(blob, Uint8Array::new_with_length(claimed.min(MAX_CLAIMED)));
    }

    /// Copies a part of a JS buffer into a blob, which grows if it has to.
    pub(crate) fn keep(&mut self, blob: BlobHandle, offset: u64, lent: &Uint8Array, source: Range<usize>) {
        let Some(bytes) = self.blobs.get_mut(&blob) else { return };
        let end = offset + source.len() as u64;
        // A blob is far below 4 GiB: the core refuses longer segments.
        let (Ok(offset), Ok(end)) = (u32::try_from(offset), u32::try_from(end)) else { return };
        if end > bytes.length() {
            let grown = Uint8Array::new_with_length(end.max(bytes.length().saturating_mul(2)));
            grown.set(bytes, 0);
            *bytes = grown;
        }
        bytes.set(&lent.subarray(source.start as u32, source.end as u32), offset);
    }

    /// Takes bytes that were read for a blob. Whether it is still wanted.
    pub(crate) fn fill(&mut self, blob: BlobHandle, bytes: &Uint8Array) -> bool {
        let wanted = self.blobs.get_mut(&blob);
        wanted.map(|kept| *kept = bytes.clone()).is_some()
    }

    /// The first `len` bytes, to be read only: the player copies what it changes or gives away.
    pub(crate) fn view(&self, blob: BlobHandle, len: u64) -> Option<Uint8Array> {
        let bytes = self.blobs.get(&blob)?;
        let len = u32::try_from(len).ok().filter(|len| *len <= bytes.length())?;
        Some(bytes.subarray(0, len))
    }

    /// `header` and then `range` of the blob, as one message: valid until the next.
    pub(crate) fn message(&self, header: &[u8], blob: BlobHandle, range: ByteRange) -> Option<Uint8Array> {
        let bytes = self.blobs.get(&blob)?;
        let (start, end) = (u32::try_from(range.start()).ok()?, u32::try_from(range.end()).ok()?);
        if end > bytes.length() {
            return None;
        }
        let header_len = header.len() as u32;
        let len = header_len + (end - start);
        if len > self.message.length() {
            return None;
        }
        self.message.subarray(0, header_len).copy_from(header);
        self.message.set(&bytes.subarray(start, end), header_len);
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

    #[test]
    fn kept_parts_come_back_in_place() {
        let mut blobs = Blobs::new();
        let source = pattern(100);
        blobs.open(BLOB, Some(100));
        blobs.keep(BLOB, 60, &source, 60..100);
        blobs.keep(BLOB, 0, &source, 0..60);
        assert_eq!(blobs.view(BLOB, 100).map(|view| view.to_vec()), Some(source.to_vec()));
    }

    #[test]
    fn a_blob_of_unknown_length_grows() {
        let mut blobs = Blobs::new();
        let source = pattern(64 << 10);
        blobs.open(BLOB, None);
        for part in 0..40 {
            blobs.keep(BLOB, part * (64 << 10), &source, 0..64 << 10);
        }
        let view = blobs.view(BLOB, 40 * (64 << 10)).expect("everything was kept");
        assert_eq!(view.subarray(39 * (64 << 10), 40 * (64 << 10)).to_vec(), source.to_vec());
    }

    #[test]
    fn a_claimed_length_allocates_no_more_than_its_limit() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB, Some(u64::MAX));
        assert_eq!(blobs.blobs[&BLOB].length(), MAX_CLAIMED);
    }

    #[test]
    fn a_message_is_its_header_and_the_range() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB, Some(10));
        blobs.keep(BLOB, 0, &pattern(10), 0..10);
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
        blobs.open(BLOB, Some(0));
        assert!(blobs.fill(BLOB, &pattern(9)));
        assert_eq!(blobs.view(BLOB, 9).map(|view| view.to_vec()), Some(pattern(9).to_vec()));
        blobs.drop_blob(BLOB);
        assert!(!blobs.fill(BLOB, &pattern(9)));
        assert!(blobs.view(BLOB, 9).is_none());
    }

    #[test]
    fn a_dropped_blob_is_gone() {
        let mut blobs = Blobs::new();
        blobs.open(BLOB, Some(4));
        blobs.drop_blob(BLOB);
        blobs.keep(BLOB, 0, &pattern(4), 0..4);
        assert!(blobs.view(BLOB, 4).is_none());
    }
}
