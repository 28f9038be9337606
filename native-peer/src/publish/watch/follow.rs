//! One look at the playlists: what they name is taken when it is complete.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tabswarm_core::content::{SegmentKey, relative_path};
use url::Url;

use super::{
    Pass, Stage, Watch,
    files::{Print, Taken},
    ledger::Known,
};
use crate::publish::{
    PublishError, line_error,
    playlist::{self, Media, Playlist, Reference},
    source::{Source, SourceError},
};

/// How many of the newest segments of an unchanged playlist are looked at.
const RECENT: usize = 3;
/// Least time that a playlist waits for a segment that is not there.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A playlist that has not changed for so long, and the length of three segments, is told.
const SILENCE: Duration = Duration::from_secs(10);

/// A media playlist.
pub(super) struct Followed {
    /// Path in the manifest.
    pub(super) path: String,
    /// Under the stream's directory.
    pub(super) file: PathBuf,
    /// The master playlist names it.
    pub(super) named: bool,
    /// No segment will follow.
    pub(super) ended: bool,
    /// Text at the last look, and what its files were like.
    seen: (Vec<u8>, Vec<Option<Print>>),
    /// Text whose segments are known; empty before the first.
    pub(super) taken: Vec<u8>,
    /// Text that viewers can load.
    pub(super) published: Vec<u8>,
    /// Since when a text waits for its segments.
    waiting: Option<Instant>,
    /// When the text was last another than before.
    changed: Option<Instant>,
    /// The longest segment.
    pub(super) longest: Duration,
    /// The longest that the playlist was.
    total: Duration,
}

impl Followed {
    pub(super) fn new(path: String) -> Self {
        let (seen, taken, published) = Default::default();
        let (longest, total) = (Duration::ZERO, Duration::ZERO);
        let (file, named, ended) = (PathBuf::new(), false, false);
        Self {
            path,
            file,
            named,
            ended,
            seen,
            taken,
            published,
            waiting: None,
            changed: None,
            longest,
            total,
        }
    }

    /// Whether it should have changed by now.
    fn is_silent(&self, now: Instant) -> bool {
        let patience = SILENCE.max(self.longest * 3);
        !self.ended && self.changed.is_some_and(|changed| now > changed + patience)
    }

    /// Whether a text goes on waiting for its segments.
    fn waits(&mut self, now: Instant) -> bool {
        now < *self.waiting.get_or_insert(now) + self.longest.max(LEAST_PATIENCE)
    }

    /// Whether text and files are what they were at the last look.
    fn settles(&mut self, text: &[u8], named: &[Named<'_>]) -> bool {
        let prints = named.iter().map(|named| named.print.filter(|_| named.reference.range.is_none()));
        let seen = (text.to_vec(), prints.collect());
        std::mem::replace(&mut self.seen, seen.clone()) == seen
    }

    fn measure(&mut self, media: &Media) {
        let durations = || media.segments.iter().map(|segment| segment.duration);
        self.longest = durations().max().unwrap_or_default();
        self.total = self.total.max(durations().sum());
    }
}

/// A file that a playlist names.
struct Named<'a> {
    reference: &'a Reference,
    key: SegmentKey,
    file: PathBuf,
    print: Option<Print>,
    /// It is to be checked by viewers.
    is_segment: bool,
}

impl Watch<'_> {
    /// Looks at every playlist.
    pub(super) fn follow(
        &mut self,
        stage: &mut Stage,
        pass: &mut Pass,
        now: Instant,
    ) -> Result<(), PublishError> {
        self.expire(stage, now);
        for (place, url) in self.playlists(stage, pass, now) {
            let file = self.tracks[place].file.clone();
            match read(stage, pass, &file, &url) {
                Some((text, Playlist::Media(media))) => {
                    self.media(stage, pass, (place, &url), &text, &media, now)?;
                }
                Some((_, Playlist::Master(_))) => {
                    pass.problems.push(format!("{} is a master playlist", stage.source.name(&url)));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Removes what left its playlist long ago. First of all, for it may be the room that others need.
    fn expire(&mut self, stage: &mut Stage, now: Instant) {
        // A segment stays as long after it left as the playlist plays (RFC 8216 §6.2.2).
        let (tracks, grace) = (&self.tracks, self.options.grace);
        let playlist =
            |track: usize| tracks.get(track).map_or(Duration::ZERO, |track| track.total + track.longest);
        for file in self.ledger.expire(|track| grace.max(playlist(track)), now) {
            stage.files.remove(&file);
            self.changed = true;
        }
    }

    /// The media playlists that there are now, with their places.
    fn playlists(&mut self, stage: &Stage, pass: &mut Pass, now: Instant) -> Vec<(usize, Url)> {
        let url = stage.source.playlist();
        let file = PathBuf::from(stage.source.file_name());
        match read(stage, pass, &file, url) {
            Some((_, Playlist::Media(_))) => {
                let place = self.place(relative_path(url.path(), url.path()), file);
                return vec![(place, url.clone())];
            }
            Some((text, Playlist::Master(_))) if self.master.taken == text => {}
            Some((text, Playlist::Master(_))) if self.master.seen != text => {
                self.master.seen = text;
                pass.unsettled = true;
            }
            Some((text, Playlist::Master(references))) => {
                self.master.taken = text;
                self.changed = true;
                self.take_master(stage, &references, now);
            }
            None => {}
        }
        pass.problems.extend(self.master.problems.iter().cloned());
        let named = self.tracks.iter().enumerate().filter(|(_, track)| track.named);
        named.filter_map(|(place, track)| Some((place, Source::resolve(url, &track.path).ok()?))).collect()
    }

    /// Takes what the master playlist names; others have left.
    fn take_master(&mut self, stage: &Stage, references: &[Reference], now: Instant) {
        let master = stage.source.playlist();
        self.master.problems.clear();
        self.tracks.iter_mut().for_each(|track| track.named = false);
        for reference in references {
            match local(stage, master, &reference.uri) {
                Ok((file, url)) => drop(self.place(relative_path(master.path(), url.path()), file)),
                Err(error) => self.master.problems.push(format!("{error}: left to HTTP")),
            }
        }
        for (place, track) in self.tracks.iter_mut().enumerate().filter(|(_, track)| !track.named) {
            track.taken.clear();
            self.ledger.leave(place, u64::MAX, now);
        }
    }

    /// The place of a playlist that is named.
    fn place(&mut self, path: String, file: PathBuf) -> usize {
        let known = self.tracks.iter().position(|track| track.path == path);
        let place = known.unwrap_or_else(|| {
            self.tracks.push(Followed::new(path));
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[place];
        (track.file, track.named) = (file, true);
        place
    }

    /// Takes what a media playlist names.
    fn media(
        &mut self,
        stage: &mut Stage,
        pass: &mut Pass,
        (place, url): (usize, &Url),
        text: &[u8],
        media: &Media,
        now: Instant,
    ) -> Result<(), PublishError> {
        let unchanged = self.tracks[place].taken == text;
        let recent = media.segments.len().saturating_sub(if unchanged { RECENT } else { usize::MAX });
        let mut named = self.named(stage, pass, url, &media.segments[recent..], true);
        let others: Vec<Reference> = media.others.iter().map(|uri| Reference::other(uri)).collect();
        if stage.files.copies() && !unchanged {
            named.extend(self.named(stage, pass, url, &others, false));
        }
        if unchanged && named.iter().all(|named| self.is_known(named)) {
            if self.tracks[place].is_silent(now) {
                let name = stage.source.name(url);
                pass.problems.push(format!("{name} does not change any more: the packager may be gone"));
            }
            return Ok(());
        }
        if !self.tracks[place].settles(text, &named) {
            pass.unsettled = true;
            return Ok(());
        }
        let missing = self.take_all(stage, place, &named)?;
        let track = &mut self.tracks[place];
        track.measure(media);
        if let Some(missing) = missing {
            pass.problems.push(format!("{} is not there, or not complete", stage.files.name(missing)));
            if track.waits(now) {
                return Ok(());
            }
        }
        track.waiting = None;
        self.changed = true;
        if !unchanged {
            (track.taken, track.changed, track.ended) = (text.to_vec(), Some(now), media.ended);
            self.reading += 1;
            let keys = named.iter().map(|named| &named.key).enumerate();
            keys.for_each(|(index, key)| self.ledger.name(key, (self.reading, index)));
            self.ledger.leave(place, self.reading, now);
        }
        Ok(())
    }

    /// Takes all that is complete; the first file that is not.
    fn take_all<'n>(
        &mut self,
        stage: &mut Stage,
        track: usize,
        named: &'n [Named<'_>],
    ) -> Result<Option<&'n Path>, PublishError> {
        let mut missing = None;
        for named in named {
            if !self.take(stage, track, named)? {
                missing = missing.or(Some(named.file.as_path()));
            }
        }
        Ok(missing)
    }

    /// What a playlist's references stand for here. Others are left to HTTP.
    fn named<'r>(
        &mut self,
        stage: &mut Stage,
        pass: &mut Pass,
        url: &Url,
        references: &'r [Reference],
        is_segment: bool,
    ) -> Vec<Named<'r>> {
        let master = stage.source.playlist().clone();
        let mut named = Vec::with_capacity(references.len());
        for reference in references {
            let (file, url) = match local(stage, url, &reference.uri) {
                Ok(found) => found,
                Err(error) => {
                    pass.problems.push(format!("{error}: left to HTTP"));
                    continue;
                }
            };
            match SegmentKey::new(relative_path(master.path(), url.path()), reference.range) {
                Ok(key) => {
                    let print = stage.files.print(&file);
                    let new = |print| stage.files.is_new(&file, print);
                    if reference.range.is_some() && print.is_some_and(new) {
                        self.ledger.forget(&file);
                        self.changed = true;
                    }
                    named.push(Named { reference, key, file, print, is_segment });
                }
                Err(error) => {
                    pass.problems.push(format!("{}: {error}: left to HTTP", stage.source.name(&url)))
                }
            }
        }
        named
    }

    /// Whether what lies there now was taken before.
    fn is_known(&self, named: &Named<'_>) -> bool {
        self.ledger.get(&named.key).is_some_and(|known| {
            let same = named.reference.range.is_some() || known.print == named.print;
            known.print.is_some() && same && (known.is_segment || !named.is_segment)
        })
    }

    /// Takes a file; `false` if it is not complete yet.
    fn take(&mut self, stage: &mut Stage, track: usize, named: &Named<'_>) -> Result<bool, PublishError> {
        if self.is_known(named) {
            return Ok(true);
        }
        let taken = match named.reference.range {
            Some(range) => stage.files.take_range(&named.file, range)?,
            None => stage.files.take_whole(&named.file)?,
        };
        // A partial segment or key may go as it came.
        let Taken::Whole(list) = taken else { return Ok(!named.is_segment) };
        let known = Known {
            track,
            file: named.file.clone(),
            print: named.print,
            list: list.filter(|_| named.is_segment),
            is_segment: named.is_segment,
            duration: named.reference.duration,
            order: (self.reading, usize::MAX),
            left: None,
        };
        self.ledger.insert(named.key.clone(), known);
        self.changed = true;
        Ok(true)
    }
}

/// Reads a playlist; `None` if it can't be understood, or not yet.
fn read(stage: &Stage, pass: &mut Pass, file: &Path, url: &Url) -> Option<(Vec<u8>, Playlist)> {
    let problem = match stage.files.playlist(file) {
        Ok(None) => return None,
        Ok(Some(text)) => match playlist::parse(&text) {
            Ok(playlist) => return Some((text, playlist)),
            Err(error) => line_error(stage.source.name(url), error.line, error.fault.into()).to_string(),
        },
        Err(fault) => fault.to_string(),
    };
    pass.problems.push(problem);
    None
}

/// The file of the packager that a URI stands for, and its URL.
fn local(stage: &Stage, base: &Url, uri: &str) -> Result<(PathBuf, Url), SourceError> {
    let url = Source::resolve(base, uri)?;
    Ok((stage.source.local(&url)?, url))
}
