//! A packager's directory, what viewers load, and a watch between them whose time is the test's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tabswarm_core::{
    content::{GroupList, Manifest, SegmentKey, Trust},
    identity::Identity,
    time::WallTime,
};
use tabswarm_native_peer::publish::{Pass, PublishError, Watch, WatchOptions};
use tempfile::TempDir;

use super::{assert_verifies, manifest, sample, tree, write};

pub const GRACE: Duration = Duration::from_secs(30);
pub const SECOND: Duration = Duration::from_secs(1);

pub fn key(path: &str) -> SegmentKey {
    SegmentKey::new(path, None).unwrap()
}

/// A playlist of 2 s segments `first..end`.
pub fn playlist(first: u32, end: u32) -> String {
    let head = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    (first..end).fold(head, |text, number| text + &format!("#EXTINF:2.0,\n{number}.m4s\n"))
}

/// A packager's directory, what viewers load, and who keeps them in step.
pub struct Live<'a> {
    pub directory: TempDir,
    pub watch: Watch<'a>,
    pub options: WatchOptions,
    pub publisher: Option<&'a Identity>,
    pub now: Instant,
    pub wall: u64,
}

impl Live<'static> {
    /// A stream of one media playlist.
    pub fn new() -> Self {
        Self::of("index.m3u8", true)
    }

    pub fn of(playlist: &str, copies: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("packager")).unwrap();
        let options = WatchOptions {
            playlist: directory.path().join("packager").join(playlist).display().to_string(),
            out: copies.then(|| directory.path().join("web")),
            stream: None,
            grace: GRACE,
            window: Duration::from_secs(180),
            withdraw: Vec::new(),
        };
        let watch = Watch::new(options.clone(), None);
        Self { directory, watch, options, publisher: None, now: Instant::now(), wall: 1_000_000 }
    }
}

impl<'a> Live<'a> {
    pub fn packager(&self) -> PathBuf {
        self.directory.path().join("packager")
    }

    /// Where viewers load from.
    pub fn web(&self) -> PathBuf {
        self.options.out.clone().unwrap_or_else(|| self.packager())
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        write(&self.packager(), path, bytes);
    }

    /// Writes segments, their bytes made from their numbers, and the playlist.
    pub fn package(&self, first: u32, end: u32) {
        self.write("init.mp4", sample(1000, 800));
        for number in first..end {
            self.write(&format!("{number}.m4s"), sample(number, 40_000));
        }
        self.write("index.m3u8", playlist(first, end));
    }

    pub fn pass(&mut self) -> Result<Pass, PublishError> {
        self.watch.pass(self.now, WallTime::from_secs(self.wall))
    }

    /// Looks until nothing changes any more, and checks after each look what viewers can load.
    #[track_caller]
    pub fn look(&mut self) -> Pass {
        for _ in 0..20 {
            let pass = self.pass().unwrap();
            self.assert_in_step();
            if !pass.unsettled {
                return pass;
            }
        }
        panic!("it never settles");
    }

    pub fn later(&mut self, time: Duration) {
        self.now += time;
        self.wall += time.as_secs();
    }

    /// As after a crash.
    pub fn restart(&mut self) {
        self.watch = Watch::new(self.options.clone(), self.publisher);
    }

    pub fn manifest(&self) -> Manifest {
        manifest(&self.web().join("index.m3u8.tabswarm"))
    }

    /// A playlist that viewers can load, as the packager wrote it, and the manifest that comes along with it.
    pub fn published(&self, path: &str) -> (String, Option<Manifest>) {
        let (text, along) = self.published_along(path);
        (text, along.map(|(manifest, _)| manifest))
    }

    /// That, and the group list that comes along, too.
    pub fn published_along(&self, path: &str) -> (String, Option<(Manifest, Option<GroupList>)>) {
        let text = fs::read_to_string(self.web().join(path)).unwrap();
        match text.strip_suffix('\n').and_then(|text| text.rsplit_once("\n#EXT-X-TABSWARM:")) {
            Some((packaged, along)) if !along.contains('\n') => {
                let along = STANDARD.decode(along).unwrap();
                let manifest = Manifest::decode(&along, &Trust::Origin).unwrap();
                let list = manifest.list_along(&along);
                (format!("{packaged}\n"), Some((manifest, list)))
            }
            _ => (text, None),
        }
    }

    pub fn lists(&self, path: &str) -> bool {
        self.manifest().lookup(&key(path)).is_some()
    }

    /// What the playlists name that viewers can load is in the manifest, and is what they load.
    #[track_caller]
    pub fn assert_in_step(&self) {
        if self.options.out.is_none() || !self.web().is_dir() {
            return;
        }
        let master = fs::read_to_string(self.web().join("master.m3u8")).ok();
        let name = if self.options.playlist.ends_with("master.m3u8") { "master.m3u8" } else { "index.m3u8" };
        for (path, text) in tree(&self.web()) {
            let is_named = |master: &String| master.contains(&path.display().to_string());
            if !path.ends_with("index.m3u8") || !master.as_ref().is_none_or(is_named) {
                continue;
            }
            let manifest = manifest(&self.web().join(format!("{name}.tabswarm")));
            let text = String::from_utf8(text).unwrap();
            // Of a long playlist the newest.
            for segment in text.lines().rev().filter(|line| line.ends_with(".m4s")).take(80) {
                let path = path.with_file_name(segment).display().to_string();
                let bytes = fs::read(self.web().join(&path)).unwrap();
                assert_verifies(&self.web(), &manifest, &key(&path), &bytes);
            }
        }
    }
}
