//! Publishing: reads an HLS stream once, hashes every segment, and writes the manifest and the group lists.
//!
//! A fault names the playlist and the line that led to it, and nothing is written then. Live streams are published as far as
//! their playlists reach.

mod hashing;
mod output;
mod playlist;
mod sidecar;
mod source;
mod watch;
mod withdrawal;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

pub use output::OutputError;
pub use playlist::{LineFault, PlaylistError};
pub use sidecar::SIDECAR_SUFFIX;
pub use source::SourceError;
use tabswarm_core::{
    content::{ContentError, MAX_TRACKS, Manifest, ManifestError, PathError, Track, Trust, relative_path},
    identity::Identity,
    time::WallTime,
};
use url::Url;
pub use watch::{Pass, Watch, WatchOptions, watch};
pub use withdrawal::Withdrawal;

use hashing::Hashing;
use output::Output;
use playlist::{Media, Playlist, Reference};
use sidecar::SidecarPlace;
use source::Source;
use withdrawal::withdraw;

/// What is added to the name of the playlist that was given.
pub const MANIFEST_SUFFIX: &str = ".tabswarm";

/// Most bytes of a playlist.
const MAX_PLAYLIST_LEN: u64 = 16 * 1024 * 1024;

/// What to publish, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// File or http(s) URL of a master or media playlist.
    pub playlist: String,
    /// Directory to write under; beside the playlists if there is none.
    pub out: Option<PathBuf>,
    /// Name of the stream; the playlist's URL path if there is none.
    pub stream: Option<String>,
    /// What is withdrawn, besides what the last manifest withdrew.
    pub withdraw: Vec<Withdrawal>,
    /// What a new manifest is dated. One that says the same as the last keeps that one's date.
    pub created: WallTime,
}

/// What was published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Name of the stream.
    pub stream: String,
    /// Media playlists read.
    pub playlists: usize,
    /// Segments in the manifest.
    pub segments: usize,
    /// Bytes of these segments.
    pub segment_bytes: u64,
    /// Bytes of the group lists.
    pub list_bytes: u64,
    /// The manifest's file.
    pub manifest: PathBuf,
    /// Bytes of that file.
    pub manifest_bytes: usize,
    /// Files too long for a segment: left to HTTP.
    pub too_long: Vec<String>,
    /// Why the manifest that was there before could not be read, if so.
    pub damaged_before: Option<String>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Something is wrong with what a line of a playlist says or names.
    #[error("{playlist}: line {line}: {fault}")]
    Line {
        /// The playlist.
        playlist: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// The parts make no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A path to withdraw that the stream does not have.
    #[error("--withdraw {withdrawal}: the stream has no segment of that name; give its content id")]
    NotPublished {
        /// What was asked for.
        withdrawal: Withdrawal,
    },
    /// A stream that is read from a URL can't be written beside its playlists.
    #[error("a stream at a URL needs --out, a directory to write under")]
    NoOutput,
    /// A stream at a URL can't be followed.
    #[error("--watch follows a playlist in a directory, not at a URL")]
    NotAFile,
    /// The result can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The playlist that was given can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The playlist that was given can't be read to its end.
    #[error(transparent)]
    Whole(Box<Fault>),
}

/// What is wrong with something that a playlist names. Names are paths of a local stream, and URLs otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Two addresses that differ only in what a key leaves out have different bytes.
    #[error("{name} has other bytes than {other}, and both have the key {key}")]
    Ambiguous {
        /// The file.
        name: String,
        /// The file before it.
        other: String,
        /// Path of their key.
        key: String,
    },
    /// It is no segment.
    #[error("{name}: {cause}")]
    Content {
        /// The file.
        name: String,
        /// Why.
        cause: ContentError,
    },
    /// The line itself.
    #[error(transparent)]
    Line(#[from] LineFault),
    /// A level or rendition that is a master playlist itself.
    #[error("{name} is a master playlist, not a media playlist")]
    NotMedia {
        /// The file.
        name: String,
    },
    /// Its path makes no key.
    #[error("{name}: {cause}")]
    Path {
        /// The file.
        name: String,
        /// Why.
        cause: PathError,
    },
    /// A playlist beyond the limit of 16 MiB.
    #[error("{name} is too long for a playlist")]
    PlaylistLength {
        /// The file.
        name: String,
    },
    /// It broke off while it was read.
    #[error("{name}: {cause}")]
    Read {
        /// The file.
        name: String,
        /// What went wrong.
        cause: io::Error,
    },
    /// Fewer bytes than the byte range of the playlist.
    #[error("{name} ends {missing} bytes before the end of the byte range")]
    Short {
        /// The file.
        name: String,
        /// Bytes that are missing.
        missing: u64,
    },
    /// It can't be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A media playlist with what it names.
struct MediaPlaylist {
    url: Url,
    /// Path in the manifest.
    path: String,
    references: Vec<Reference>,
}

/// Reads a stream and writes its manifest, signed if there is a publisher, and its group lists.
pub fn publish(options: &Options, publisher: Option<&Identity>) -> Result<Report, PublishError> {
    let source = Source::new(&options.playlist, options.stream.as_deref())?;
    let root = match (&options.out, source.directory()) {
        (Some(out), _) => out.clone(),
        (None, Some(directory)) => directory.to_owned(),
        (None, None) => return Err(PublishError::NoOutput),
    };
    let stream = options.stream.clone().unwrap_or_else(|| source.playlist().path().to_owned());
    let playlists = media_playlists(&source)?;
    if playlists.len() > MAX_TRACKS {
        return Err(ManifestError::TooMany { what: "playlists" }.into());
    }
    let places = SidecarPlace::of_all(&source, &stream, playlists.iter().map(|playlist| &playlist.path));

    let mut hashing = Hashing::new(&source);
    let mut output = Output::default();
    let mut tracks = Vec::with_capacity(playlists.len());
    let mut list_bytes = 0;
    for (playlist, place) in playlists.iter().zip(&places) {
        let sidecar = hashing.media_playlist(playlist)?;
        let (sidecar_path, sidecar_file) = place.of(&sidecar);
        list_bytes += sidecar.len() as u64;
        tracks.push(Track::new(&playlist.path, sidecar_path).map_err(ManifestError::from)?);
        output.push(root.join(sidecar_file), sidecar);
    }

    let (segments, segment_bytes) = (hashing.entries.len(), hashing.bytes);
    let mut manifest = Manifest::new(&stream, options.created, tracks, hashing.entries)?;
    let file = root.join(format!("{}{MANIFEST_SUFFIX}", source.file_name()));
    let (last, damaged_before) = match last_manifest(&file, &Trust::Origin) {
        Ok(last) => (last, None),
        Err(why) => (None, Some(why)),
    };
    if let Some(unknown) = options.withdraw.iter().find(|withdrawal| !withdrawal.is_known(&manifest)) {
        return Err(PublishError::NotPublished { withdrawal: unknown.clone() });
    }
    manifest = withdraw(manifest, &options.withdraw, last.as_ref())?;
    if let Some(last) = &last {
        manifest = dated_after(manifest, last);
    }
    let bytes = encode(&manifest, publisher)?;
    let manifest_bytes = bytes.len();
    // The manifest takes its place last: it never names a list that is not there.
    output.push(file.clone(), bytes);
    output.commit()?;
    // Viewers have the last manifest still, so its lists stay; and those before it, until it is another.
    if let Some(last) = last.filter(|last| *last != manifest) {
        places.iter().for_each(|place| place.prune(&root, [&manifest, &last], Duration::ZERO));
    }
    Ok(Report {
        stream,
        playlists: playlists.len(),
        segments,
        segment_bytes,
        list_bytes,
        manifest: file,
        manifest_bytes,
        too_long: hashing.too_long,
        damaged_before,
    })
}

fn encode(manifest: &Manifest, publisher: Option<&Identity>) -> Result<Vec<u8>, ManifestError> {
    match publisher {
        Some(publisher) => manifest.encode_signed(publisher),
        None => manifest.encode_unsigned(),
    }
}

/// The manifest of the last run, or why it can't be read.
fn last_manifest(file: &Path, trust: &Trust) -> Result<Option<Manifest>, String> {
    match fs::read(file) {
        Ok(bytes) => Manifest::decode(&bytes, trust).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Publishing an unchanged stream again makes the same bytes, which caches then keep. A changed one is dated later, whatever
/// the clock says: of two manifests viewers take the later.
fn dated_after(manifest: Manifest, last: &Manifest) -> Manifest {
    let redated = manifest.clone().dated(last.created());
    if redated == *last {
        return redated;
    }
    let created = manifest.created().max(last.created() + Duration::from_secs(1));
    manifest.dated(created)
}

/// The media playlists of the source, each once, in the order of the master playlist.
fn media_playlists(source: &Source) -> Result<Vec<MediaPlaylist>, PublishError> {
    let master = source.playlist();
    let (base, playlist) = read_playlist(source, master, |fault| PublishError::Whole(Box::new(fault)))?;
    let references = match playlist {
        Playlist::Media(Media { segments: references, .. }) => {
            let path = relative_path(master.path(), master.path());
            return Ok(vec![MediaPlaylist { url: base, path, references }]);
        }
        Playlist::Master(references) => references,
    };
    let mut seen = BTreeSet::new();
    let mut playlists = Vec::new();
    for reference in references {
        let at = |fault| line_error(source.name(master), reference.line, fault);
        let url = Source::resolve(&base, &reference.uri).map_err(|error| at(error.into()))?;
        if !seen.insert(url.clone()) {
            continue;
        }
        let path = relative_path(master.path(), url.path());
        match read_playlist(source, &url, at)? {
            (base, Playlist::Media(Media { segments: references, .. })) => {
                playlists.push(MediaPlaylist { url: base, path, references })
            }
            (_, Playlist::Master(_)) => return Err(at(Fault::NotMedia { name: source.name(&url) })),
        }
    }
    Ok(playlists)
}

fn line_error(playlist: String, line: usize, fault: Fault) -> PublishError {
    PublishError::Line { playlist, line, fault: Box::new(fault) }
}

/// Reads a playlist; `unreadable` tells where it was named.
fn read_playlist(
    source: &Source,
    url: &Url,
    unreadable: impl Fn(Fault) -> PublishError,
) -> Result<(Url, Playlist), PublishError> {
    let opened = source.open(url, None).map_err(|error| unreadable(error.into()))?;
    let mut text = Vec::new();
    let read = opened.reader.take(MAX_PLAYLIST_LEN + 1).read_to_end(&mut text);
    read.map_err(|cause| unreadable(Fault::Read { name: source.name(url), cause }))?;
    if text.len() as u64 > MAX_PLAYLIST_LEN {
        return Err(unreadable(Fault::PlaylistLength { name: source.name(url) }));
    }
    let playlist = playlist::parse(&text)
        .map_err(|error| line_error(source.name(url), error.line, error.fault.into()))?;
    Ok((opened.url, playlist))
}
