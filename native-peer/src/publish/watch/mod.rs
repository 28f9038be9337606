//! Following a live stream: the manifest and its sidecars keep in step with what a packager writes.
//!
//! With a directory of its own to write to, everything that viewers load goes through here, and in this order: segments,
//! sidecars, manifest, playlists. A viewer who reads of a segment in a playlist then finds it in the manifest, which comes along in
//! the playlist if it is short. Without one the packager's playlists are served as they are written, and the manifest follows as
//! soon as it can.
//!
//! A playlist or segment counts when two looks in succession find it the same: some packagers write them in place.

mod along;
mod files;
mod follow;
mod ledger;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tabswarm_core::{
    content::{MAX_TRACKS, Manifest, ManifestError, Track, Trust},
    identity::Identity,
    time::WallTime,
};

use self::{
    along::bring_along,
    files::Files,
    follow::Followed,
    ledger::{Known, Ledger},
};
use super::{
    MANIFEST_SUFFIX, PublishError, dated_after, encode, last_manifest,
    output::Output,
    sidecar::SidecarPlace,
    source::{Source, decoded_path},
    withdrawal::{Withdrawal, withdraw},
};

/// Between two looks when something has changed.
const SETTLE: Duration = Duration::from_millis(20);
/// Between two looks otherwise: a sixteenth of a segment, within these limits.
const SHORTEST_POLL: Duration = Duration::from_millis(50);
const LONGEST_POLL: Duration = Duration::from_millis(250);
/// A problem is told when it has lasted so long.
const TRANSIENT: Duration = Duration::from_secs(2);
/// Group lists of manifests that are not the newest are kept so long.
const LISTS_AGE: Duration = Duration::from_secs(60);

/// What to follow, and where to write.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// File of a master or media playlist; it need not be there yet.
    pub playlist: String,
    /// Directory that viewers load from; the packager's own if there is none.
    pub out: Option<PathBuf>,
    /// Name of the stream; the playlist's URL path if there is none.
    pub stream: Option<String>,
    /// A segment stays so long after it left its playlist, or as long as the playlist plays if that is longer.
    pub grace: Duration,
    /// The manifest lists so much of each playlist, the newest.
    pub window: Duration,
    /// What is withdrawn, a path as soon as and while a segment of it is listed, besides what manifests before withdrew.
    pub withdraw: Vec<Withdrawal>,
}

/// What one look came to.
#[derive(Debug, Default)]
pub struct Pass {
    /// Files were written.
    pub written: bool,
    /// Something changed that must be seen twice.
    pub unsettled: bool,
    /// Every playlist has ended, and the last manifest is there.
    pub ended: bool,
    /// What is not as it should be. Some of it is over the next moment.
    pub problems: Vec<String>,
    /// Segments of the manifest.
    pub segments: usize,
    /// Bytes of its file.
    pub manifest_bytes: usize,
}

/// Follows one stream. Call [`Watch::pass`] again and again.
pub struct Watch<'a> {
    options: WatchOptions,
    publisher: Option<&'a Identity>,
    stage: Option<Stage>,
    /// Every playlist that the master playlist has named; their places are the manifest's tracks.
    tracks: Vec<Followed>,
    ledger: Ledger,
    reading: u64,
    last: Option<Manifest>,
    master: Master,
    /// Something is to be written, unless it is what is there.
    changed: bool,
}

/// Text of the master playlist: as seen last, as understood, and as viewers can load it.
#[derive(Default)]
struct Master {
    seen: Vec<u8>,
    taken: Vec<u8>,
    published: Vec<u8>,
    /// What it names that is left to HTTP.
    problems: Vec<String>,
}

/// Where the stream is, known when its playlist is there.
struct Stage {
    source: Source,
    files: Files,
    manifest: PathBuf,
}

impl<'a> Watch<'a> {
    /// Begins to follow a stream; nothing is looked at yet.
    pub fn new(options: WatchOptions, publisher: Option<&'a Identity>) -> Self {
        let (tracks, ledger, master) = (Vec::new(), Ledger::default(), Master::default());
        Self {
            options,
            publisher,
            stage: None,
            tracks,
            ledger,
            reading: 0,
            last: None,
            master,
            changed: true,
        }
    }

    /// Looks at the playlists, takes what is new and writes what follows. After an error the next call tries again; what viewers
    /// load is complete and fits together at any time.
    pub fn pass(&mut self, now: Instant, wall: WallTime) -> Result<Pass, PublishError> {
        let mut pass = Pass::default();
        if self.stage.is_none() {
            self.open(now, &mut pass)?;
        }
        let Some(mut stage) = self.stage.take() else { return Ok(pass) };
        let done =
            self.follow(&mut stage, &mut pass, now).and_then(|()| self.write(&mut stage, &mut pass, wall));
        self.stage = Some(stage);
        done.map(|()| pass)
    }

    /// Finds the playlist, and what an earlier run has published.
    fn open(&mut self, now: Instant, pass: &mut Pass) -> Result<(), PublishError> {
        let source = Source::new(&self.options.playlist, self.options.stream.as_deref())?;
        let Some(directory) = source.directory() else { return Err(PublishError::NotAFile) };
        let files = Files::new(directory.to_owned(), self.options.out.clone());
        let manifest = files.root().join(format!("{}{MANIFEST_SUFFIX}", source.file_name()));
        let trust = self.publisher.map_or(Trust::Origin, |publisher| Trust::Signed(publisher.public_key()));
        match last_manifest(&manifest, &trust) {
            Ok(last) => self.last = last,
            Err(why) => pass.problems.push(format!("{} is replaced: {why}", manifest.display())),
        }
        for segment in self.last.iter().flat_map(Manifest::segments) {
            let (key, range) = (segment.key(), segment.key().range());
            let Some(file) = decoded_path(key.path()) else { continue };
            let Some(list) = files.served(&file, range).filter(|list| list.root() == segment.root()) else {
                continue;
            };
            let known = Known {
                track: usize::from(segment.track()),
                print: None,
                list: Some(list),
                is_segment: true,
                // It is listed until its time is up.
                duration: Duration::ZERO,
                order: (0, 0),
                left: Some(now),
                file,
            };
            self.ledger.insert(key.clone(), known);
        }
        let tracks = self.last.iter().flat_map(Manifest::tracks);
        self.tracks = tracks.map(|track| Followed::new(track.playlist().to_owned())).collect();
        self.stage = Some(Stage { source, files, manifest });
        Ok(())
    }

    /// How long a segment of the stream is; of several playlists, in the one with the shortest.
    fn period(&self) -> Duration {
        let longest = self.tracks.iter().filter(|track| track.named).map(|track| track.longest);
        longest.filter(|longest| !longest.is_zero()).min().unwrap_or(Duration::from_secs(2))
    }

    /// Until the next look.
    fn pause(&self, pass: Option<&Pass>) -> Duration {
        match pass {
            Some(Pass { unsettled: true, .. }) => SETTLE,
            _ => (self.period() / 16).clamp(SHORTEST_POLL, LONGEST_POLL),
        }
    }

    /// Writes what has changed, in the order that viewers may see it in.
    fn write(&mut self, stage: &mut Stage, pass: &mut Pass, wall: WallTime) -> Result<(), PublishError> {
        let mut named = self.tracks.iter().filter(|track| track.named).peekable();
        pass.ended = named.peek().is_some() && named.all(|track| track.ended);
        if !self.changed {
            return Ok(());
        }
        let stream = self.options.stream.clone().unwrap_or_else(|| stage.source.playlist().path().to_owned());
        let places =
            SidecarPlace::of_all(&stage.source, &stream, self.tracks.iter().map(|track| &track.path));
        let (manifest, sidecars) = self.manifest(&stream, &places, pass.ended, wall)?;
        let mut output = Output::default();
        let manifest = withdraw(manifest, &self.options.withdraw, self.last.as_ref())?;
        let manifest = self.last.as_ref().map_or(manifest.clone(), |last| dated_after(manifest, last));
        let new = !manifest.segments().is_empty() && self.last.as_ref() != Some(&manifest);
        let bytes = encode(&manifest, self.publisher)?;
        (pass.segments, pass.manifest_bytes) = (manifest.segments().len(), bytes.len());
        if new {
            let root = stage.files.root();
            let sidecars = sidecars.into_iter().map(|(file, lists)| (root.join(file), lists));
            sidecars.filter(|(file, _)| !file.exists()).for_each(|(file, lists)| output.push(file, lists));
            output.push(stage.manifest.clone(), bytes.clone());
        }
        let along = Some(bytes.as_slice()).filter(|_| !manifest.segments().is_empty() && !pass.ended);
        let texts =
            if stage.files.copies() { self.push_playlists(stage, along, &mut output) } else { Vec::new() };
        pass.written = new || !texts.is_empty();
        output.commit()?;
        for (place, text) in texts {
            match place {
                Some(place) => self.tracks[place].published = text,
                None => self.master.published = text,
            }
        }
        self.changed = false;
        if new {
            let last = self.last.replace(manifest.clone());
            let kept = [&manifest, last.as_ref().unwrap_or(&manifest)];
            places.iter().for_each(|place| place.prune(stage.files.root(), kept, LISTS_AGE));
        }
        Ok(())
    }

    /// The manifest of what is known, and the sidecars that it names.
    fn manifest(
        &self,
        stream: &str,
        places: &[SidecarPlace],
        ended: bool,
        wall: WallTime,
    ) -> Result<(Manifest, BTreeMap<PathBuf, Vec<u8>>), PublishError> {
        if self.tracks.len() > MAX_TRACKS {
            return Err(ManifestError::TooMany { what: "playlists" }.into());
        }
        let window = if ended { Duration::MAX } else { self.options.window };
        let (mut tracks, mut segments, mut sidecars) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (number, (track, place)) in self.tracks.iter().zip(places).enumerate() {
            let (entries, lists) = self.ledger.listed(number, window)?;
            let (path, file) = place.of(&lists);
            tracks.push(Track::new(&track.path, path).map_err(ManifestError::from)?);
            segments.extend(entries);
            sidecars.insert(file, lists);
        }
        let manifest = Manifest::new(stream, wall, tracks, segments)?;
        Ok((if ended { manifest } else { manifest.live(self.period()) }, sidecars))
    }

    /// Adds the playlists whose segments are there, with the manifest and their newest list, and the master playlist when all that it names are.
    fn push_playlists(
        &self,
        stage: &Stage,
        manifest: Option<&[u8]>,
        output: &mut Output,
    ) -> Vec<(Option<usize>, Vec<u8>)> {
        let mut texts = Vec::new();
        for (place, track) in self.tracks.iter().enumerate() {
            if track.named && !track.taken.is_empty() && track.taken != track.published {
                let along = bring_along(&track.taken, manifest, self.ledger.newest(place));
                output.push(stage.files.root().join(&track.file), along);
                texts.push((Some(place), track.taken.clone()));
            }
        }
        let complete = self.tracks.iter().all(|track| !track.named || !track.taken.is_empty());
        if complete && self.master.taken != self.master.published {
            output.push(stage.files.root().join(stage.source.file_name()), self.master.taken.clone());
            texts.push((None, self.master.taken.clone()));
        }
        texts
    }
}

/// Follows a stream until it has ended, which is `true`, or `stop` is set. `tell` hears of each look that wrote something, and of problems that
/// last.
pub fn watch(
    options: WatchOptions,
    publisher: Option<&Identity>,
    stop: &AtomicBool,
    mut tell: impl FnMut(Result<&Pass, &str>),
) -> Result<bool, PublishError> {
    let mut watch = Watch::new(options, publisher);
    let mut told: BTreeMap<String, (Instant, bool)> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pass = watch.pass(now, WallTime::from_secs(since_epoch.as_secs()));
        let problems = match &pass {
            Ok(pass) => pass.problems.clone(),
            Err(PublishError::NotAFile) => return Err(PublishError::NotAFile),
            Err(error) => vec![error.to_string()],
        };
        told.retain(|problem, _| problems.contains(problem));
        for problem in problems {
            let (since, said) = told.entry(problem.clone()).or_insert((now, false));
            if !*said && now >= *since + TRANSIENT {
                *said = true;
                tell(Err(&problem));
            }
        }
        let pass = pass.ok();
        if let Some(pass) = pass.as_ref().filter(|pass| pass.written || pass.ended) {
            tell(Ok(pass));
            if pass.ended {
                return Ok(true);
            }
        }
        std::thread::sleep(watch.pause(pass.as_ref()));
    }
    Ok(false)
}
