//! Files that a packager writes: whether they are the same as before, and how they come to where viewers load them from.
//!
//! What is hashed is what viewers get: with a directory of its own the bytes are hashed as they are copied there. A file takes
//! its place by rename, complete.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tabswarm_core::{content::GroupList, units::ByteRange};

use crate::publish::{
    Fault, MAX_PLAYLIST_LEN, PublishError,
    hashing::{self, CopyError},
    output::{OutputError, stage},
};

/// What tells a file from another one of the same name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Print {
    pub(super) len: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Print {
    fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { len: metadata.len(), modified: metadata.modified().ok(), inode }
    }

    /// That of a file, if it is there.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| Self::of(&metadata))
    }
}

/// What came of taking a file.
pub(super) enum Taken {
    /// It changed meanwhile, or is not there.
    NotYet,
    /// It is there; its list, unless it is no segment.
    Whole(Option<GroupList>),
}

/// Where the packager writes, and where viewers load from.
pub(super) struct Files {
    /// Where playlists and segments are read.
    source: PathBuf,
    /// Where they are copied to, unless viewers load them where they are.
    out: Option<PathBuf>,
    /// Files of byte ranges, which grow: what was seen of them last, and how much of that was copied.
    growing: BTreeMap<PathBuf, (Print, u64)>,
}

impl Files {
    pub(super) fn new(source: PathBuf, out: Option<PathBuf>) -> Self {
        Self { source, out, growing: BTreeMap::new() }
    }

    /// Where viewers load from.
    pub(super) fn root(&self) -> &Path {
        self.out.as_deref().unwrap_or(&self.source)
    }

    /// Whether files are copied to where viewers load them from.
    pub(super) fn copies(&self) -> bool {
        self.out.is_some()
    }

    /// A file of the packager as people know it.
    pub(super) fn name(&self, file: &Path) -> String {
        self.source.join(file).display().to_string()
    }

    /// What a file of the packager is like now.
    pub(super) fn print(&self, file: &Path) -> Option<Print> {
        Print::at(&self.source.join(file))
    }

    /// The text of a playlist; `None` for one that ends within a line.
    pub(super) fn playlist(&self, file: &Path) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.source.join(file);
        let name = || path.display().to_string();
        let mut text = Vec::new();
        let read =
            File::open(&path).and_then(|opened| opened.take(MAX_PLAYLIST_LEN + 1).read_to_end(&mut text));
        read.map_err(|cause| Fault::Read { name: name(), cause })?;
        if text.len() as u64 > MAX_PLAYLIST_LEN {
            return Err(Fault::PlaylistLength { name: name() });
        }
        Ok(Some(text).filter(|text| text.ends_with(b"\n")))
    }

    /// Hashes a whole file, and copies it to where viewers load it from.
    pub(super) fn take_whole(&self, file: &Path) -> Result<Taken, PublishError> {
        let path = self.source.join(file);
        let opened = File::open(&path).and_then(|opened| Ok((Print::of(&opened.metadata()?), opened)));
        let Ok((before, mut opened)) = opened else { return Ok(Taken::NotYet) };
        let target = self.out.as_ref().map(|out| out.join(file));
        let mut copy = target.as_ref().map(|target| stage(target).map_err(failed(target))).transpose()?;
        let to = target.as_deref().unwrap_or(&path);
        let hashed = hashing::hash(&mut opened, copy.as_mut().map(|copy| copy as &mut dyn Write));
        let hashed = hashed.map_err(|error| copy_failed(&path, to, error))?;
        if opened.metadata().map(|metadata| Print::of(&metadata)).ok() != Some(before) {
            return Ok(Taken::NotYet);
        }
        if let (Some(copy), Some(target)) = (copy, &target) {
            copy.persist(target).map_err(|error| failed(target)(error.error))?;
        }
        Ok(Taken::Whole(hashed.list.ok()))
    }

    /// Whether a file of byte ranges was begun anew: nothing that was known of it holds.
    pub(super) fn is_new(&mut self, file: &Path, print: Print) -> bool {
        let seen = self.growing.get_mut(file);
        let new = seen.as_ref().is_none_or(|(seen, _)| seen.inode != print.inode || print.len < seen.len);
        match seen.filter(|_| !new) {
            Some((seen, _)) => *seen = print,
            None => drop(self.growing.insert(file.to_owned(), (print, 0))),
        }
        new
    }

    /// Hashes a range of a file that grows, and copies the file as far as it goes.
    pub(super) fn take_range(&mut self, file: &Path, range: ByteRange) -> Result<Taken, PublishError> {
        let path = self.source.join(file);
        if Print::at(&path).is_none_or(|print| print.len < range.end()) {
            return Ok(Taken::NotYet);
        }
        let target = self.out.as_ref().map(|out| out.join(file));
        if let Some(target) = &target {
            let copied = self.growing.get(file).map_or(0, |(_, copied)| *copied);
            if copied < range.end() {
                let copied = append(&path, target, copied)?;
                self.growing.entry(file.to_owned()).and_modify(|(_, known)| *known = copied);
            }
        }
        Ok(Taken::Whole(hash_range(target.as_deref().unwrap_or(&path), Some(range))?))
    }

    /// The list of what viewers load, if it is there and a segment.
    pub(super) fn served(&self, file: &Path, range: Option<ByteRange>) -> Option<GroupList> {
        hash_range(&self.root().join(file), range).ok().flatten()
    }

    /// Removes a file from where it was copied to.
    pub(super) fn remove(&mut self, file: &Path) {
        self.growing.remove(file);
        if let Some(out) = &self.out {
            // One that stays only takes room.
            let _ = fs::remove_file(out.join(file));
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PublishError {
    move |cause| OutputError::new(path, cause).into()
}

fn unreadable(path: &Path, cause: io::Error) -> PublishError {
    PublishError::Whole(Box::new(Fault::Read { name: path.display().to_string(), cause }))
}

fn copy_failed(from: &Path, to: &Path, error: CopyError) -> PublishError {
    match error {
        CopyError::Read(cause) => unreadable(from, cause),
        CopyError::Write(cause) => failed(to)(cause),
    }
}

fn hash_range(path: &Path, range: Option<ByteRange>) -> Result<Option<GroupList>, PublishError> {
    let opened = File::open(path).and_then(|mut file| {
        let range = range.map_or(0..u64::MAX, |range| range.start()..range.end());
        file.seek(SeekFrom::Start(range.start))?;
        Ok(file.take(range.end - range.start))
    });
    let opened = opened.map_err(|cause| unreadable(path, cause))?;
    let hashed = hashing::hash(opened, None).map_err(|error| copy_failed(path, path, error))?;
    let complete = range.is_none_or(|range| hashed.len == range.len());
    Ok(hashed.list.ok().filter(|_| complete))
}

/// Copies what a file has grown by since `copied` bytes; all of it, as another file, if that is nothing. Returns how much is
/// there now.
fn append(from: &Path, to: &Path, copied: u64) -> Result<u64, PublishError> {
    let mut source = File::open(from).map_err(|cause| unreadable(from, cause))?;
    if copied == 0 {
        let mut staged = stage(to).map_err(failed(to))?;
        let len = io::copy(&mut source, &mut staged).map_err(failed(to))?;
        staged.persist(to).map_err(|error| failed(to)(error.error))?;
        return Ok(len);
    }
    let grown = || {
        let mut target = OpenOptions::new().write(true).open(to)?;
        source.seek(SeekFrom::Start(copied))?;
        target.seek(SeekFrom::Start(copied))?;
        io::copy(&mut source, &mut target)
    };
    Ok(copied + { grown }().map_err(failed(to))?)
}
