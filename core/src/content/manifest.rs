//! Stream manifests: the roots of every segment of a stream, and where their group lists lie.
//!
//! A manifest is small enough to read whole; the group lists are in one sidecar a media playlist, read by byte range when a
//! segment is wanted. The file around it is in `manifest_file`.

use std::{cmp::Ordering, time::Duration};

use serde::{Deserialize, Serialize};

use super::{MAX_BLOCKED, MAX_PATH_LEN, PathError, SegmentKey, SegmentLen, key::check_path};
use crate::{
    bounded::{BoundedString, BoundedVec},
    id::ContentId,
    identity::IdentityError,
    time::WallTime,
    units::ByteRange,
};

/// Most segments of a manifest.
pub const MAX_SEGMENTS: usize = 65_536;

/// Most tracks (media playlists) of a manifest.
pub const MAX_TRACKS: usize = 64;

/// Most bytes of a sidecar: the lists of half a terabyte.
pub const MAX_SIDECAR_LEN: u64 = 1 << 30;

/// Most bytes of a stream's name.
const MAX_STREAM_LEN: usize = 1024;

/// Why a manifest is refused, read or made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The signature does not verify, or the key is none.
    #[error("manifest signature: {0}")]
    BadSignature(#[from] IdentityError),
    /// Two entries of one segment.
    #[error("segment {path} is listed twice")]
    DuplicateSegment {
        /// Path of the segment.
        path: String,
    },
    /// The body is not that of a manifest.
    #[error("malformed manifest")]
    Malformed,
    /// The file does not start as a manifest does.
    #[error("not a manifest")]
    NotAManifest,
    /// A group list beyond what a sidecar may have.
    #[error("group list of {path} is beyond the sidecar's limit")]
    SidecarOffset {
        /// Path of the segment.
        path: String,
    },
    /// No stream name, one that is too long, or one with control characters.
    #[error("bad stream name")]
    StreamName,
    /// More bytes, segments or tracks than a manifest may have.
    #[error("too many {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
    },
    /// A playlist's or sidecar's path is not usable.
    #[error("track path: {0}")]
    TrackPath(#[from] PathError),
    /// Shorter than it says.
    #[error("manifest is cut short")]
    Truncated,
    /// A segment of a track that is not there.
    #[error("segment {path} is of an unknown track")]
    UnknownTrack {
        /// Path of the segment.
        path: String,
    },
    /// A version this build does not read.
    #[error("manifest of unknown version {version}")]
    UnknownVersion {
        /// The version.
        version: u16,
    },
    /// A key was pinned, and the manifest has no signature.
    #[error("manifest is not signed")]
    Unsigned,
    /// Signed by another key than the pinned one.
    #[error("manifest is signed by another key")]
    WrongPublisher,
}

/// A media playlist of a stream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "(BoundedString<MAX_PATH_LEN>, BoundedString<MAX_PATH_LEN>)")]
pub struct Track {
    playlist: String,
    sidecar: String,
}

impl Track {
    /// Both paths are as in a [`SegmentKey`]: relative to the master playlist.
    pub fn new(playlist: impl Into<String>, sidecar: impl Into<String>) -> Result<Self, PathError> {
        let track = Self { playlist: playlist.into(), sidecar: sidecar.into() };
        check_path(&track.playlist)?;
        check_path(&track.sidecar)?;
        Ok(track)
    }

    /// Path of the media playlist.
    pub fn playlist(&self) -> &str {
        &self.playlist
    }

    /// Path of the file with the track's group lists, one after the other.
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }
}

impl TryFrom<(BoundedString<MAX_PATH_LEN>, BoundedString<MAX_PATH_LEN>)> for Track {
    type Error = PathError;

    fn try_from(
        (playlist, sidecar): (BoundedString<MAX_PATH_LEN>, BoundedString<MAX_PATH_LEN>),
    ) -> Result<Self, PathError> {
        Self::new(playlist.into_string(), sidecar.into_string())
    }
}

/// A segment of a manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SegmentEntry {
    key: SegmentKey,
    track: u16,
    len: SegmentLen,
    root: ContentId,
    list_offset: u64,
}

impl SegmentEntry {
    /// `track` counts the manifest's tracks from 0; `list_offset` is where its group list starts in that track's sidecar.
    pub fn new(key: SegmentKey, track: u16, len: SegmentLen, root: ContentId, list_offset: u64) -> Self {
        Self { key, track, len, root, list_offset }
    }

    /// What the segment is called.
    pub fn key(&self) -> &SegmentKey {
        &self.key
    }

    /// Index of its track in the manifest.
    pub fn track(&self) -> u16 {
        self.track
    }

    /// Its length.
    pub fn len(&self) -> SegmentLen {
        self.len
    }

    /// Its address.
    pub fn root(&self) -> ContentId {
        self.root
    }

    /// Where its group list starts in its track's sidecar.
    pub fn list_offset(&self) -> u64 {
        self.list_offset
    }

    /// The bytes of its track's sidecar that are its group list; `None` for a segment of a single group, which has none.
    pub fn list_range(&self) -> Option<ByteRange> {
        let end = self.list_offset.checked_add(32 * u64::from(self.len.list_values()))?;
        ByteRange::new(self.list_offset, end)
    }
}

/// The segments of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    stream: String,
    created: WallTime,
    tracks: Vec<Track>,
    segments: Vec<SegmentEntry>,
    /// Milliseconds after which a newer one is to be expected; 0: this is the last.
    pub(super) refresh_ms: u32,
    pub(super) withdrawn: BoundedVec<ContentId, MAX_BLOCKED>,
}

impl Manifest {
    /// Refuses parts that do not fit together or are beyond the limits. Segments may come in any order.
    pub fn new(
        stream: impl Into<String>,
        created: WallTime,
        tracks: Vec<Track>,
        mut segments: Vec<SegmentEntry>,
    ) -> Result<Self, ManifestError> {
        segments.sort_by(|one, other| one.key.cmp(&other.key));
        Self::sorted(stream.into(), created, tracks, segments)
    }

    /// As [`Manifest::new`], of segments that are in order already: a tab carries no code to sort them.
    pub(super) fn sorted(
        stream: String,
        created: WallTime,
        tracks: Vec<Track>,
        segments: Vec<SegmentEntry>,
    ) -> Result<Self, ManifestError> {
        if stream.is_empty() || stream.len() > MAX_STREAM_LEN || stream.chars().any(char::is_control) {
            return Err(ManifestError::StreamName);
        }
        if tracks.len() > MAX_TRACKS {
            return Err(ManifestError::TooMany { what: "tracks" });
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(ManifestError::TooMany { what: "segments" });
        }
        for (index, segment) in segments.iter().enumerate() {
            let path = || segment.key.path().to_owned();
            match index.checked_sub(1).map(|before| segments[before].key.cmp(&segment.key)) {
                Some(Ordering::Equal) => return Err(ManifestError::DuplicateSegment { path: path() }),
                Some(Ordering::Greater) => return Err(ManifestError::Malformed),
                Some(Ordering::Less) | None => {}
            }
            if usize::from(segment.track) >= tracks.len() {
                return Err(ManifestError::UnknownTrack { path: path() });
            }
            let list_end = segment.list_range().map_or(segment.list_offset, ByteRange::end);
            if list_end > MAX_SIDECAR_LEN {
                return Err(ManifestError::SidecarOffset { path: path() });
            }
        }
        Ok(Self { stream, created, tracks, segments, refresh_ms: 0, withdrawn: BoundedVec::new() })
    }

    /// Name of the stream, as in its `StreamId`.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// When it was made. Of two manifests of a stream the later one counts, so each is dated later than the one before it.
    pub fn created(&self) -> WallTime {
        self.created
    }

    /// The same with another date.
    #[must_use]
    pub fn dated(mut self, created: WallTime) -> Self {
        self.created = created;
        self
    }

    /// Makes it that of a live stream: a newer one is to be expected after this time, the length of a segment.
    #[must_use]
    pub fn live(mut self, refresh: Duration) -> Self {
        self.refresh_ms = u32::try_from(refresh.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// After which time a newer manifest is to be expected; `None`: the stream is complete.
    pub fn refresh(&self) -> Option<Duration> {
        (self.refresh_ms > 0).then(|| Duration::from_millis(u64::from(self.refresh_ms)))
    }

    /// Names content of this stream that is not to be kept, given or taken any more.
    #[must_use]
    pub fn withdrawing(mut self, contents: BoundedVec<ContentId, MAX_BLOCKED>) -> Self {
        self.withdrawn = contents;
        self
    }

    /// Content that the publisher has withdrawn.
    pub fn withdrawn(&self) -> &[ContentId] {
        &self.withdrawn
    }

    /// Media playlists.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Segments, ordered by key.
    pub fn segments(&self) -> &[SegmentEntry] {
        &self.segments
    }

    /// The entry of a segment.
    pub fn lookup(&self, key: &SegmentKey) -> Option<&SegmentEntry> {
        let place = self.segments.binary_search_by(|segment| segment.key.cmp(key)).ok()?;
        self.segments.get(place)
    }

    /// The track of a segment of this manifest.
    pub fn track_of(&self, entry: &SegmentEntry) -> Option<&Track> {
        self.tracks.get(usize::from(entry.track))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn entry(path: &str, range: Option<ByteRange>, track: u16, offset: u64) -> SegmentEntry {
        let key = SegmentKey::new(path, range).unwrap();
        SegmentEntry::new(
            key,
            track,
            SegmentLen::new(40_000).unwrap(),
            ContentId::from_bytes([5; 32]),
            offset,
        )
    }

    pub(crate) fn manifest() -> Manifest {
        let track = |name: &str| Track::new(name, format!("{name}.groups")).unwrap();
        Manifest::new(
            "/show/master.m3u8",
            WallTime::from_secs(1_000_000),
            vec![track("low/index.m3u8"), track("high/index.m3u8")],
            vec![
                entry("low/2.ts", None, 0, 96),
                entry("low/1.ts", None, 0, 0),
                entry("high/all.mp4", ByteRange::new(10, 20), 1, 0),
                entry("high/all.mp4", ByteRange::new(0, 10), 1, 96),
                entry("high/all.mp4", None, 1, 192),
            ],
        )
        .unwrap()
    }

    fn refused(segments: Vec<SegmentEntry>) -> Option<ManifestError> {
        let track = Track::new("a", "b").unwrap();
        Manifest::new("s", WallTime::default(), vec![track], segments).err()
    }

    #[test]
    fn a_segment_is_found_by_path_and_range() {
        let manifest = manifest();
        for segment in manifest.segments() {
            assert_eq!(manifest.lookup(segment.key()), Some(segment));
        }
        let second = manifest.lookup(&SegmentKey::new("low/2.ts", None).unwrap()).unwrap();
        assert_eq!(second.list_range(), ByteRange::new(96, 192));
        assert_eq!(manifest.track_of(second).unwrap().sidecar(), "low/index.m3u8.groups");
        assert_eq!(manifest.lookup(&SegmentKey::new("low/3.ts", None).unwrap()), None);
        assert_eq!(manifest.lookup(&SegmentKey::new("low/1.ts", ByteRange::new(0, 1)).unwrap()), None);
    }

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let path = String::from("1.ts");
        let twice = vec![entry("1.ts", None, 0, 0), entry("2.ts", None, 0, 0), entry("1.ts", None, 0, 96)];
        assert_eq!(refused(twice), Some(ManifestError::DuplicateSegment { path: path.clone() }));
        let unknown = vec![entry("1.ts", None, 1, 0)];
        assert_eq!(refused(unknown), Some(ManifestError::UnknownTrack { path: path.clone() }));
        for offset in [u64::MAX, MAX_SIDECAR_LEN - 95] {
            let far = vec![entry("1.ts", None, 0, offset)];
            assert_eq!(refused(far), Some(ManifestError::SidecarOffset { path: path.clone() }));
        }
        assert_eq!(refused(vec![entry("1.ts", None, 0, MAX_SIDECAR_LEN - 96)]), None);
        assert_eq!(Track::new("../a", "b"), Err(PathError::Parent));
        assert_eq!(Track::new("a", "https://elsewhere.example/b"), Err(PathError::Host));
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let named = |name: &str| Manifest::new(name, WallTime::default(), vec![], vec![]);
        assert!(named(&"a".repeat(1024)).is_ok());
        for name in ["", "a\nb", &"a".repeat(1025)] {
            assert_eq!(named(name), Err(ManifestError::StreamName));
        }
        let tracks = |count| vec![Track::new("a", "b").unwrap(); count];
        let with_tracks = |count| Manifest::new("s", WallTime::default(), tracks(count), vec![]);
        assert!(with_tracks(MAX_TRACKS).is_ok());
        assert_eq!(with_tracks(MAX_TRACKS + 1), Err(ManifestError::TooMany { what: "tracks" }));
        let segments = |count| (0..count).map(|index| entry(&index.to_string(), None, 0, 0)).collect();
        assert_eq!(refused(segments(MAX_SEGMENTS)), None);
        assert_eq!(refused(segments(MAX_SEGMENTS + 1)), Some(ManifestError::TooMany { what: "segments" }));
    }

    #[test]
    fn a_segment_of_a_single_group_has_no_list() {
        let key = SegmentKey::new("init.mp4", None).unwrap();
        let len = SegmentLen::new(16_384).unwrap();
        let entry = SegmentEntry::new(key, 0, len, ContentId::from_bytes([5; 32]), 7);
        assert_eq!(entry.list_range(), None);
    }
}
