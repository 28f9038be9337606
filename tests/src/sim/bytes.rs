//! Bytes that are mostly not there: a part of a file of the origin is named by file and place.
//!
//! Only what differs from the origin's files (faults, tampering) is kept as bytes. So a host's blobs cost a few words each,
//! and what a peer corrupted is still told apart byte by byte.

use std::{ops::Range, rc::Rc};

/// Number of a file in the [`Library`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FileId(pub(crate) u32);

/// The origin's files, made from their seeds.
#[derive(Default)]
pub(crate) struct Library {
    files: Vec<Rc<[u8]>>,
}

impl Library {
    /// Adds a file of `len` bytes that its seed determines.
    pub(crate) fn add(&mut self, seed: u64, len: u64) -> FileId {
        let mut bytes = Vec::with_capacity(len as usize + 8);
        for index in 0..len.div_ceil(8) {
            bytes.extend_from_slice(&word(seed, index).to_le_bytes());
        }
        bytes.truncate(len as usize);
        self.files.push(bytes.into());
        FileId(self.files.len() as u32 - 1)
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn len(&self, file: FileId) -> u64 {
        self.files[file.0 as usize].len() as u64
    }

    pub(crate) fn bytes(&self, file: FileId, range: Range<u64>) -> &[u8] {
        &self.files[file.0 as usize][range.start as usize..range.end as usize]
    }

    /// The bytes of a body, one after the other.
    pub(crate) fn append(&self, body: &Body, out: &mut Vec<u8>) {
        match body {
            Body::Empty => {}
            Body::Part { file, start, len } => {
                out.extend_from_slice(self.bytes(*file, *start..start + len));
            }
            Body::Raw(bytes, range) => out.extend_from_slice(&bytes[range.clone()]),
        }
    }
}

/// SplitMix64 of a word's place: any word without those before it.
fn word(seed: u64, index: u64) -> u64 {
    let mut word = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Some bytes.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Empty,
    /// A part of a file of the origin.
    Part {
        file: FileId,
        start: u64,
        len: u64,
    },
    /// Bytes that are no part of a file, or not known to be.
    Raw(Rc<[u8]>, Range<usize>),
}

impl Body {
    pub(crate) fn raw(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self::Raw(bytes.into(), range)
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Part { len, .. } => *len,
            Self::Raw(_, range) => range.len() as u64,
        }
    }

    fn slice(&self, from: u64, len: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Part { file, start, .. } => Self::Part { file: *file, start: start + from, len },
            Self::Raw(bytes, range) => {
                let start = range.start + from as usize;
                Self::Raw(bytes.clone(), start..start + len as usize)
            }
        }
    }

    /// Both as one part, if the second goes on where the first ends.
    fn joined(&self, next: &Self) -> Option<Self> {
        match (self, next) {
            (Self::Part { file, start, len }, Self::Part { file: other, start: next, len: more })
                if file == other && start + len == *next =>
            {
                Some(Self::Part { file: *file, start: *start, len: len + more })
            }
            _ => None,
        }
    }
}

/// A message on its way: a few real bytes, then a body.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) header: Vec<u8>,
    pub(crate) body: Body,
}

impl Message {
    pub(crate) fn plain(bytes: Vec<u8>) -> Self {
        Self { header: bytes, body: Body::Empty }
    }

    pub(crate) fn len(&self) -> u64 {
        self.header.len() as u64 + self.body.len()
    }

    /// All bytes of the message.
    pub(crate) fn to_bytes(&self, library: &Library) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len() as usize);
        bytes.extend_from_slice(&self.header);
        library.append(&self.body, &mut bytes);
        bytes
    }

    /// A part of the message, as bytes of a file where it is that.
    pub(crate) fn part(&self, range: Range<usize>, library: &Library) -> Body {
        match range.start.checked_sub(self.header.len()) {
            Some(from) => self.body.slice(from as u64, range.len() as u64),
            None => Body::raw(self.to_bytes(library)[range].to_vec()),
        }
    }
}

/// What a driver keeps for a blob: pieces by offset, none overlapping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blob {
    pieces: Vec<(u64, Body)>,
}

impl Blob {
    /// Puts bytes at an offset, over what was there.
    pub(crate) fn write(&mut self, offset: u64, body: Body) {
        let end = offset + body.len();
        let mut pieces: Vec<(u64, Body)> = Vec::with_capacity(self.pieces.len() + 2);
        let mut put = |at: u64, body: Body| match pieces.last_mut() {
            _ if body.len() == 0 => {}
            Some((last_at, last)) if *last_at + last.len() == at && last.joined(&body).is_some() => {
                *last = last.joined(&body).expect("the guard joined them");
            }
            _ => pieces.push((at, body)),
        };
        let old = std::mem::take(&mut self.pieces);
        let after = old.partition_point(|(at, piece)| at + piece.len() <= offset);
        let mut rest = old.into_iter();
        rest.by_ref().take(after).for_each(|(at, piece)| put(at, piece));
        let mut body = Some(body);
        for (at, piece) in rest {
            let piece_end = at + piece.len();
            if at < offset {
                put(at, piece.slice(0, offset - at));
            }
            if piece_end > end {
                body.take().into_iter().for_each(|body| put(offset, body));
                let from = end.max(at);
                put(from, piece.slice(from - at, piece_end - from));
            }
        }
        body.take().into_iter().for_each(|body| put(offset, body));
        self.pieces = pieces;
    }

    /// The bytes of a range; `None` if some are missing.
    pub(crate) fn read(&self, range: Range<u64>, library: &Library) -> Option<Body> {
        let first = self.pieces.partition_point(|(at, piece)| at + piece.len() <= range.start);
        let (at, piece) = self.pieces.get(first)?;
        if *at <= range.start && range.end <= at + piece.len() {
            return Some(piece.slice(range.start - at, range.end - range.start));
        }
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let mut cursor = range.start;
        for (at, piece) in &self.pieces[first..] {
            if cursor == range.end || *at > cursor {
                break;
            }
            let end = range.end.min(at + piece.len());
            library.append(&piece.slice(cursor - at, end - cursor), &mut bytes);
            cursor = end;
        }
        (cursor == range.end).then(|| Body::raw(bytes))
    }

    /// Whether the blob has exactly these bytes of the file from its offset 0 on.
    pub(crate) fn is(&self, file: FileId, bytes: Range<u64>, library: &Library) -> bool {
        match self.read(0..bytes.end - bytes.start, library) {
            Some(Body::Part { file: found, start, .. }) if found == file && start == bytes.start => true,
            Some(body) => {
                let mut found = Vec::new();
                library.append(&body, &mut found);
                found == library.bytes(file, bytes)
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, len: u64) -> Body {
        Body::Part { file: FileId(0), start, len }
    }

    fn library() -> Library {
        let mut library = Library::default();
        library.add(7, 1003);
        library
    }

    #[test]
    fn parts_that_come_in_any_order_make_the_file() {
        let library = library();
        let mut blob = Blob::default();
        for (start, len) in [(500, 503), (0, 100), (90, 20), (100, 300), (400, 100)] {
            assert!(!blob.is(FileId(0), 0..1003, &library));
            blob.write(start, part(start, len));
        }
        assert!(blob.is(FileId(0), 0..1003, &library));
        assert_eq!(blob.pieces.len(), 1);
    }

    #[test]
    fn one_wrong_byte_is_seen_until_it_is_written_over() {
        let library = library();
        let mut blob = Blob::default();
        blob.write(0, part(0, 1003));
        blob.write(10, Body::raw(vec![!library.bytes(FileId(0), 10..11)[0]]));
        assert!(!blob.is(FileId(0), 0..1003, &library));
        assert!(blob.read(0..1004, &library).is_none());
        blob.write(5, part(5, 50));
        assert!(blob.is(FileId(0), 0..1003, &library));
        assert!(!blob.is(FileId(0), 1..1003, &library), "the same bytes at another place");
    }

    #[test]
    fn a_part_of_a_message_may_begin_in_its_header() {
        let library = library();
        let message = Message { header: vec![1, 2, 3], body: part(4, 100) };
        let whole = message.to_bytes(&library);
        for range in [3..103, 5..9, 2..20] {
            let mut bytes = Vec::new();
            library.append(&message.part(range.clone(), &library), &mut bytes);
            assert_eq!(bytes, whole[range]);
        }
    }
}
