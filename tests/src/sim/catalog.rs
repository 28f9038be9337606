//! The stream that is played: its files, group lists, manifest and sidecars, all real.

use std::{rc::Rc, time::Duration};

use tabswarm_core::{
    content::{GroupList, ListHasher, Manifest, SegmentEntry, SegmentKey, Track, Trust},
    id::StreamId,
    identity::Identity,
    node::{Roots, Stream},
    time::{Timestamp, WallTime},
    units::ByteRange,
};

use super::bytes::{FileId, Library};

/// Segments between the newest one and where a viewer of a live stream starts (RFC 8216 §6.3.3).
pub(crate) const LIVE_SEGMENTS: usize = 3;
/// Segments of a track that a manifest lists which is published as the stream is recorded.
const LISTED: usize = 23;
/// Name of the stream: the path of its master playlist.
const NAME: &str = "/show/master.m3u8";

/// Where the roots of the stream come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RootsMode {
    /// The service attests them.
    Attested,
    /// An unsigned manifest from the page's own origin.
    Origin,
    /// A manifest that its publisher signed.
    Signed,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct CatalogSpec {
    /// Bytes per second of each track, on average.
    pub byte_rate: u64,
    /// Whether the segments of a track are ranges of one file.
    pub byte_ranges: bool,
    /// Whether it is recorded while it is watched: a segment can be had once it has ended, and who comes starts
    /// three behind the newest.
    pub live: bool,
    /// Whether the manifest of a live stream is published as it is recorded, or lists all of it from the start.
    pub publishes: bool,
    /// Where roots come from.
    pub roots: RootsMode,
    /// How long a segment plays.
    pub segment: Duration,
    /// Segments of a track.
    pub segments: usize,
    /// Tracks of equal rate; viewer `n` plays track `n` modulo their number.
    pub tracks: usize,
}

impl CatalogSpec {
    /// When a segment can be had; media time runs with the simulation's.
    pub(crate) fn available(&self, position: usize) -> Timestamp {
        let recorded = if self.live { self.segment * (position as u32 + 1) } else { Duration::ZERO };
        Timestamp::default() + recorded
    }

    /// The segment with which a viewer starts who comes now.
    pub(crate) fn start(&self, now: Timestamp) -> usize {
        let recorded = (0..self.segments).take_while(|position| self.available(*position) <= now).count();
        if self.live { recorded.saturating_sub(LIVE_SEGMENTS) } else { 0 }
    }
}

impl Default for CatalogSpec {
    /// 60 s in segments of 2 s at 2 Mbit/s, one track, signed.
    fn default() -> Self {
        Self {
            byte_rate: 250_000,
            byte_ranges: false,
            live: false,
            publishes: false,
            roots: RootsMode::Signed,
            segment: Duration::from_secs(2),
            segments: 30,
            tracks: 1,
        }
    }
}

/// One segment of one track.
pub(crate) struct Segment {
    pub(crate) key: SegmentKey,
    pub(crate) file: FileId,
    /// Its bytes in the file.
    pub(crate) start: u64,
    pub(crate) list: GroupList,
}

impl Segment {
    pub(crate) fn len(&self) -> u64 {
        self.list.len().bytes()
    }
}

/// The whole stream.
pub(crate) struct Catalog {
    pub(crate) spec: CatalogSpec,
    pub(crate) library: Library,
    pub(crate) stream: Stream,
    pub(crate) manifest: Option<Rc<Manifest>>,
    /// By track and then in playing order.
    pub(crate) segments: Vec<Segment>,
    sidecars: Vec<Vec<u8>>,
}

impl Catalog {
    pub(crate) fn new(spec: CatalogSpec, seed: u64) -> Self {
        let publisher = Identity::from_seed([3; 32]);
        let (roots, key) = match spec.roots {
            RootsMode::Attested => (Roots::Attested, None),
            RootsMode::Origin => (Roots::Origin, None),
            RootsMode::Signed => (Roots::Signed(publisher.public_key()), Some(publisher.public_key())),
        };
        let id = StreamId::new(key.as_ref(), NAME);
        let mut library = Library::default();
        let mut segments = Vec::new();
        for track in 0..spec.tracks {
            add_track(&spec, track, seed, &mut library, &mut segments);
        }
        let (sidecars, entries) = sidecars(&spec, &segments);
        let mut catalog = Self {
            spec,
            library,
            stream: Stream { id, name: NAME.to_owned(), roots },
            manifest: None,
            segments,
            sidecars,
        };
        catalog.manifest = catalog.read_manifest(entries, &publisher);
        catalog
    }

    /// Writes the manifest's file and reads it as a page would.
    fn read_manifest(&self, entries: Vec<SegmentEntry>, publisher: &Identity) -> Option<Rc<Manifest>> {
        let tracks =
            (0..self.spec.tracks).map(|track| Track::new(format!("{track}.m3u8"), sidecar_path(track)));
        let tracks = tracks.collect::<Result<_, _>>().expect("the paths are plain");
        let manifest =
            Manifest::new(NAME, WallTime::from_secs(1), tracks, entries).expect("the parts fit together");
        let (file, trust) = match self.stream.roots {
            Roots::Attested => return None,
            Roots::Origin => (manifest.encode_unsigned(), Trust::Origin),
            Roots::Signed(key) => (manifest.encode_signed(publisher), Trust::Signed(key)),
        };
        let file = file.expect("a few hundred segments fit into a manifest");
        Some(Rc::new(Manifest::decode(&file, &trust).expect("what was written reads back")))
    }

    /// The manifest that the origin has at this time.
    pub(crate) fn manifest_at(&self, now: Timestamp) -> Option<Manifest> {
        let manifest = self.manifest.as_ref()?;
        let recorded = |position: usize| self.spec.available(position) <= now;
        let count = (0..self.spec.segments).filter(|position| recorded(*position)).count();
        if !self.spec.publishes || count == self.spec.segments {
            return Some(Manifest::clone(manifest).dated(WallTime::from_secs(count as u64)));
        }
        let is_listed = |key: &SegmentKey| {
            let position = self.position(self.find(key).expect("the manifest is of this stream"));
            recorded(position) && position + LISTED >= count
        };
        let entries = manifest.segments().iter().filter(|entry| is_listed(entry.key())).cloned().collect();
        let tracks = manifest.tracks().to_vec();
        let listed = Manifest::new(NAME, WallTime::from_secs(count as u64), tracks, entries);
        Some(listed.expect("it is a part of another").live(self.spec.segment))
    }

    /// Number of a track's segment in [`Catalog::segments`].
    pub(crate) fn index(&self, track: usize, position: usize) -> usize {
        track * self.spec.segments + position
    }

    pub(crate) fn position(&self, index: usize) -> usize {
        index % self.spec.segments
    }

    pub(crate) fn find(&self, key: &SegmentKey) -> Option<usize> {
        self.segments.iter().position(|segment| segment.key == *key)
    }

    pub(crate) fn sidecar(&self, path: &str, range: ByteRange) -> Option<&[u8]> {
        let track = (0..self.spec.tracks).find(|track| sidecar_path(*track) == path)?;
        self.sidecars[track].get(range.start() as usize..range.end() as usize)
    }
}

fn sidecar_path(track: usize) -> String {
    format!("{track}.m3u8.groups")
}

fn add_track(
    spec: &CatalogSpec,
    track: usize,
    seed: u64,
    library: &mut Library,
    segments: &mut Vec<Segment>,
) {
    let mean = (spec.byte_rate as f64 * spec.segment.as_secs_f64()) as u64;
    let file_seed =
        |position: usize| seed.wrapping_mul(0x1_0000_01b3) ^ ((track as u64) << 32 | position as u64);
    // 75 to 125 % of the mean, never a multiple of a group.
    let lens: Vec<u64> = (0..spec.segments)
        .map(|position| {
            (mean * 3 / 4 + mean * ((position as u64 * 29 + 7 * track as u64) % 51) / 100).max(1) | 1
        })
        .collect();
    let shared = spec.byte_ranges.then(|| library.add(file_seed(0), lens.iter().sum()));
    let mut start = 0;
    for (position, len) in lens.into_iter().enumerate() {
        let (file, path, range) = match shared {
            Some(file) => (file, format!("{track}/all.mp4"), ByteRange::new(start, start + len)),
            None => (library.add(file_seed(position), len), format!("{track}/{position}.m4s"), None),
        };
        let key = SegmentKey::new(path, range).expect("the paths are plain");
        let from = if shared.is_some() { start } else { 0 };
        let mut hasher = ListHasher::new();
        hasher.update(library.bytes(file, from..from + len)).expect("segments are short");
        let list = hasher.finish_list().expect("segments are not empty");
        segments.push(Segment { key, file, start: from, list });
        start += len;
    }
}

/// The group lists of each track one after the other, and the manifest's entries that say where.
fn sidecars(spec: &CatalogSpec, segments: &[Segment]) -> (Vec<Vec<u8>>, Vec<SegmentEntry>) {
    let mut sidecars = vec![Vec::new(); spec.tracks];
    let mut entries = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let track = index / spec.segments;
        let offset = sidecars[track].len() as u64;
        let number = u16::try_from(track).expect("a few tracks");
        entries.push(SegmentEntry::new(
            segment.key.clone(),
            number,
            segment.list.len(),
            segment.list.root(),
            offset,
        ));
        sidecars[track].extend(segment.list.values().iter().flat_map(|value| *value.as_bytes()));
    }
    (sidecars, entries)
}
