//! Hashing the segments of media playlists, each once, as they stream by.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use tabswarm_core::{
    content::{
        ContentError, GroupList, ListHasher, MAX_SEGMENT_LEN, SegmentEntry, SegmentKey, relative_path,
    },
    id::ContentId,
};
use url::Url;

use super::{Fault, MediaPlaylist, PublishError, line_error, playlist::Reference, source::Source};

const BUFFER_LEN: usize = 64 * 1024;

/// Where a key was first found, and its root unless the file is too long for a segment.
struct Found {
    url: Url,
    root: Option<ContentId>,
}

/// The segments found so far.
pub(super) struct Hashing<'a> {
    source: &'a Source,
    found: BTreeMap<SegmentKey, Found>,
    pub(super) entries: Vec<SegmentEntry>,
    pub(super) bytes: u64,
    pub(super) too_long: Vec<String>,
    tracks: u16,
}

impl<'a> Hashing<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        let (found, entries, too_long) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { source, found, entries, bytes: 0, too_long, tracks: 0 }
    }

    /// Hashes what a media playlist names for the first time; returns its group lists, one after the other.
    pub(super) fn media_playlist(&mut self, playlist: &MediaPlaylist) -> Result<Vec<u8>, PublishError> {
        let mut sidecar = Vec::new();
        for reference in &playlist.references {
            self.segment(playlist, reference, &mut sidecar)
                .map_err(|fault| line_error(self.source.name(&playlist.url), reference.line, fault))?;
        }
        self.tracks += 1;
        Ok(sidecar)
    }

    fn segment(
        &mut self,
        playlist: &MediaPlaylist,
        reference: &Reference,
        sidecar: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let url = Source::resolve(&playlist.url, &reference.uri)?;
        let path = relative_path(self.source.playlist().path(), url.path());
        let key = SegmentKey::new(path, reference.range)
            .map_err(|cause| Fault::Path { name: self.source.name(&url), cause })?;
        if self.found.get(&key).is_some_and(|found| found.url == url) {
            return Ok(());
        }
        let list = self.hash(&url, reference)?;
        let root = list.as_ref().map(GroupList::root);
        if let Some(found) = self.found.get(&key) {
            if found.root == root {
                return Ok(());
            }
            let (name, other) = (self.source.name(&url), self.source.name(&found.url));
            return Err(Fault::Ambiguous { name, other, key: key.path().to_owned() });
        }
        match list {
            Some(list) => {
                let offset = sidecar.len() as u64;
                sidecar.extend(list.values().iter().flat_map(|value| *value.as_bytes()));
                self.bytes += list.len().bytes();
                self.entries.push(SegmentEntry::new(
                    key.clone(),
                    self.tracks,
                    list.len(),
                    list.root(),
                    offset,
                ));
            }
            None => self.too_long.push(self.source.name(&url)),
        }
        self.found.insert(key, Found { url, root });
        Ok(())
    }

    /// The group list of a file or byte range; `None` for one that is too long.
    fn hash(&self, url: &Url, reference: &Reference) -> Result<Option<GroupList>, Fault> {
        if reference.range.is_some_and(|range| range.len() > MAX_SEGMENT_LEN) {
            return Ok(None);
        }
        let name = || self.source.name(url);
        let reader = self.source.open(url, reference.range)?.reader;
        let hashed =
            hash(reader, None).map_err(|error| Fault::Read { name: name(), cause: error.into_inner() })?;
        if let Some(range) = reference.range.filter(|range| hashed.len < range.len()) {
            return Err(Fault::Short { name: name(), missing: range.len() - hashed.len });
        }
        match hashed.list {
            Err(ContentError::SegmentLength { len }) if len > MAX_SEGMENT_LEN => Ok(None),
            list => list.map(Some).map_err(|cause| Fault::Content { name: name(), cause }),
        }
    }
}

/// What was read, and its group list.
pub(super) struct Hashed {
    /// Bytes that were read: all, or the first of too many.
    pub(super) len: u64,
    /// The list, unless it is no segment.
    pub(super) list: Result<GroupList, ContentError>,
}

/// Reading or writing failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    /// What went wrong.
    pub(super) fn into_inner(self) -> io::Error {
        match self {
            Self::Read(cause) | Self::Write(cause) => cause,
        }
    }
}

/// Hashes what a reader gives, and copies it. Without a copy, what is too long for a segment is not read to its end.
pub(super) fn hash(mut reader: impl Read, mut copy: Option<&mut dyn Write>) -> Result<Hashed, CopyError> {
    let mut hasher = ListHasher::new();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut len = 0;
    let mut too_long = None;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        len += read as u64;
        if let Some(copy) = &mut copy {
            copy.write_all(&buffer[..read]).map_err(CopyError::Write)?;
        }
        if too_long.is_none() {
            too_long = hasher.update(&buffer[..read]).err();
        }
        if too_long.is_some() && copy.is_none() {
            break;
        }
    }
    Ok(Hashed { len, list: too_long.map_or_else(|| hasher.finish_list(), Err) })
}
