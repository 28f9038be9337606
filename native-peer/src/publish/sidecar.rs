//! Files of group lists: what they are called, and which of them are no longer wanted.
//!
//! A name has a hash of the lists in it. A page that has read a manifest finds the lists of that manifest, and not those of
//! a later one, until the stream has changed twice; and caches may keep them for ever.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tabswarm_core::content::{Manifest, relative_path};

use super::source::{self, Source};

/// How the name of a file with group lists ends.
pub const SIDECAR_SUFFIX: &str = ".groups";

/// Hexadecimal digits of the hash of the lists.
const LISTS_DIGITS: usize = 16;

/// Hexadecimal digits of the stream's hash, which keeps apart streams that share a media playlist.
const STREAM_DIGITS: usize = 8;

fn digits(bytes: &[u8], count: usize) -> String {
    let mut hex = blake3::hash(bytes).to_hex().to_string();
    hex.truncate(count);
    hex
}

/// Where the group lists of one playlist go, but for the end of the name.
pub struct SidecarPlace {
    /// Path in the manifest, up to the hash of the lists.
    path: String,
    /// That of the file.
    file: PathBuf,
}

impl SidecarPlace {
    /// The place of each playlist: beside the playlist, or beside the manifest for one that lies elsewhere or shares its
    /// path with another.
    pub fn of_all<'a>(
        source: &Source,
        stream: &str,
        playlists: impl IntoIterator<Item = &'a String>,
    ) -> Vec<Self> {
        let stream = digits(stream.as_bytes(), STREAM_DIGITS);
        let mut taken = BTreeSet::new();
        let places = playlists.into_iter().enumerate().map(|(index, playlist)| {
            let path = format!("{playlist}.{stream}-");
            if let Some(file) = source::decoded_path(&path).filter(|file| taken.insert(file.clone())) {
                return Self { path, file };
            }
            let master = relative_path(source.playlist().path(), source.playlist().path());
            let name = |master: &str| format!("{master}.{index}.{stream}-");
            Self { path: name(&master), file: PathBuf::from(name(source.file_name())) }
        });
        places.collect()
    }

    /// Path in the manifest and file of these lists.
    pub fn of(&self, lists: &[u8]) -> (String, PathBuf) {
        let end = format!("{}{SIDECAR_SUFFIX}", digits(lists, LISTS_DIGITS));
        let mut file = self.file.clone().into_os_string();
        file.push(&end);
        (format!("{}{end}", self.path), file.into())
    }

    /// Removes the files at this place that neither manifest names and that are older than `age`. One that stays only takes
    /// room.
    pub fn prune(&self, root: &Path, manifests: [&Manifest; 2], age: Duration) {
        let place = root.join(&self.file);
        let (Some(directory), Some(start)) =
            (place.parent(), place.file_name().and_then(|name| name.to_str()))
        else {
            return;
        };
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.strip_prefix(start)?.strip_suffix(SIDECAR_SUFFIX));
            let Some(hash) = hash.filter(|hash| is_hash(hash)) else { continue };
            let path = format!("{}{hash}{SIDECAR_SUFFIX}", self.path);
            let mut tracks = manifests.iter().flat_map(|manifest| manifest.tracks());
            if !tracks.any(|track| track.sidecar() == path) && is_older(&entry, age) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether a file was written so long ago. One from the future was not.
fn is_older(file: &fs::DirEntry, age: Duration) -> bool {
    let written = file.metadata().and_then(|metadata| metadata.modified());
    age.is_zero() || written.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed > age))
}

fn is_hash(text: &str) -> bool {
    text.len() == LISTS_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
