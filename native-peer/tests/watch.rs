//! `tabswarm publish --watch`: what viewers can load while a packager writes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use support::{assert_verifies, fail, manifest, sample, sidecars, tree, write};
use tabswarm_core::{
    content::{Manifest, SegmentKey, Trust},
    identity::Identity,
    time::WallTime,
    units::ByteRange,
};
use tabswarm_native_peer::publish::{Pass, PublishError, Watch, WatchOptions};
use tempfile::TempDir;

const GRACE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn key(path: &str) -> SegmentKey {
    SegmentKey::new(path, None).unwrap()
}

/// A playlist of 2 s segments `first..end`.
fn playlist(first: u32, end: u32) -> String {
    let head = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    (first..end).fold(head, |text, number| text + &format!("#EXTINF:2.0,\n{number}.m4s\n"))
}

/// A packager's directory, what viewers load, and who keeps them in step.
struct Live<'a> {
    directory: TempDir,
    watch: Watch<'a>,
    options: WatchOptions,
    publisher: Option<&'a Identity>,
    now: Instant,
    wall: u64,
}

impl Live<'static> {
    /// A stream of one media playlist.
    fn new() -> Self {
        Self::of("index.m3u8", true)
    }

    fn of(playlist: &str, copies: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("packager")).unwrap();
        let options = WatchOptions {
            playlist: directory.path().join("packager").join(playlist).display().to_string(),
            out: copies.then(|| directory.path().join("web")),
            stream: None,
            grace: GRACE,
            window: Duration::from_secs(180),
        };
        let watch = Watch::new(options.clone(), None);
        Self { directory, watch, options, publisher: None, now: Instant::now(), wall: 1_000_000 }
    }
}

impl<'a> Live<'a> {
    fn packager(&self) -> PathBuf {
        self.directory.path().join("packager")
    }

    /// Where viewers load from.
    fn web(&self) -> PathBuf {
        self.options.out.clone().unwrap_or_else(|| self.packager())
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        write(&self.packager(), path, bytes);
    }

    /// Writes segments, their bytes made from their numbers, and the playlist.
    fn package(&self, first: u32, end: u32) {
        self.write("init.mp4", sample(1000, 800));
        for number in first..end {
            self.write(&format!("{number}.m4s"), sample(number, 40_000));
        }
        self.write("index.m3u8", playlist(first, end));
    }

    fn pass(&mut self) -> Result<Pass, PublishError> {
        self.watch.pass(self.now, WallTime::from_secs(self.wall))
    }

    /// Looks until nothing changes any more, and checks after each look what viewers can load.
    #[track_caller]
    fn look(&mut self) -> Pass {
        for _ in 0..20 {
            let pass = self.pass().unwrap();
            self.assert_in_step();
            if !pass.unsettled {
                return pass;
            }
        }
        panic!("it never settles");
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.wall += time.as_secs();
    }

    /// As after a crash.
    fn restart(&mut self) {
        self.watch = Watch::new(self.options.clone(), self.publisher);
    }

    fn manifest(&self) -> Manifest {
        manifest(&self.web().join("index.m3u8.tabswarm"))
    }

    fn lists(&self, path: &str) -> bool {
        self.manifest().lookup(&key(path)).is_some()
    }

    /// What the playlists name that viewers can load is in the manifest, and is what they load.
    #[track_caller]
    fn assert_in_step(&self) {
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

#[test]
fn what_a_playlist_names_is_in_the_manifest_before_viewers_can_read_of_it() {
    let mut live = Live::new();
    assert!(live.pass().is_err(), "the packager has not begun");
    live.package(0, 1);
    let pass = live.look();
    assert_eq!((pass.segments, pass.problems.as_slice()), (2, &[][..]));
    assert_eq!(live.manifest().refresh(), Some(2 * SECOND));
    assert_eq!(live.manifest().stream(), "/packager/index.m3u8");
    for number in 1..12u32 {
        live.later(2 * SECOND);
        live.package(number.saturating_sub(7), number + 1);
        live.look();
        assert!(live.lists(&format!("{number}.m4s")));
        assert_eq!(
            fs::read(live.web().join("index.m3u8")).unwrap(),
            fs::read(live.packager().join("index.m3u8")).unwrap()
        );
    }
    assert!(!live.pass().unwrap().written, "nothing is new");
}

#[test]
fn a_segment_that_left_the_playlist_stays_for_a_while() {
    let mut live = Live::new();
    live.package(0, 4);
    live.look();
    fs::remove_file(live.packager().join("0.m4s")).unwrap();
    live.package(1, 5);
    live.look();
    live.later(GRACE - SECOND);
    live.look();
    assert!(live.lists("0.m4s"));
    assert_verifies(&live.web(), &live.manifest(), &key("0.m4s"), &sample(0, 40_000));
    live.later(SECOND);
    live.look();
    assert!(!live.lists("0.m4s") && live.lists("1.m4s") && live.lists("init.mp4"));
    assert!(!live.web().join("0.m4s").exists());
}

#[test]
fn a_segment_stays_as_long_as_its_playlist_plays() {
    let mut live = Live::new();
    live.package(0, 60);
    live.look();
    live.package(1, 61);
    live.look();
    live.later(120 * SECOND);
    live.look();
    assert!(live.web().join("0.m4s").exists());
    live.later(2 * SECOND);
    live.look();
    assert!(!live.web().join("0.m4s").exists());
}

#[test]
fn a_playlist_that_is_being_written_changes_nothing() {
    let mut live = Live::new();
    live.package(0, 3);
    live.look();
    let before = tree(&live.web());
    live.package(1, 4);
    let text = playlist(1, 4);
    for len in 0..text.len() {
        live.write("index.m3u8", &text[..len]);
        live.pass().unwrap();
        assert!(tree(&live.web()) == before, "{len} bytes");
    }
    live.write("index.m3u8", text);
    live.look();
    assert!(live.lists("3.m4s"));
}

#[test]
fn a_segment_that_grows_is_waited_for() {
    let mut live = Live::new();
    live.package(0, 3);
    live.look();
    let before = tree(&live.web());
    live.write("index.m3u8", playlist(0, 4));
    let bytes = sample(3, 40_000);
    for len in (1000..40_000).step_by(3000) {
        live.write("3.m4s", &bytes[..len]);
        assert!(live.pass().unwrap().unsettled);
        assert!(tree(&live.web()) == before, "{len} bytes");
    }
    live.write("3.m4s", &bytes);
    live.look();
    assert_verifies(&live.web(), &live.manifest(), &key("3.m4s"), &bytes);
}

#[test]
fn a_segment_that_does_not_come_holds_its_playlist_up_for_the_length_of_one() {
    let mut live = Live::new();
    live.package(0, 3);
    live.look();
    live.package(1, 5);
    fs::remove_file(live.packager().join("3.m4s")).unwrap();
    let pass = live.look();
    assert!(pass.problems[0].contains("3.m4s is not there"), "{:?}", pass.problems);
    assert_eq!(fs::read_to_string(live.web().join("index.m3u8")).unwrap(), playlist(0, 3));
    live.later(2 * SECOND);
    live.pass().unwrap();
    assert_eq!(fs::read_to_string(live.web().join("index.m3u8")).unwrap(), playlist(1, 5));
    assert!(live.lists("4.m4s") && !live.lists("3.m4s"));
    live.write("3.m4s", sample(3, 40_000));
    live.pass().unwrap();
    live.look();
    assert!(live.lists("3.m4s"), "late, but there");
}

#[test]
fn a_packager_that_is_gone_is_told_and_followed_when_it_is_back() {
    let mut live = Live::new();
    live.package(0, 3);
    live.look();
    live.later(10 * SECOND);
    assert!(live.look().problems.is_empty());
    live.later(SECOND);
    assert!(live.look().problems[0].contains("the packager may be gone"));
    assert!(live.lists("0.m4s"), "viewers go on");
    live.later(500 * SECOND);
    live.package(3, 4);
    assert!(live.look().problems.is_empty());
    assert!(live.lists("3.m4s"));
}

#[test]
fn a_packager_that_begins_anew_with_the_same_names_is_followed() {
    let mut live = Live::new();
    live.package(0, 8);
    live.look();
    let first = live.manifest();
    live.later(5 * SECOND);
    live.write("0.m4s", sample(70, 50_000));
    live.write("init.mp4", sample(71, 700));
    live.write("index.m3u8", playlist(0, 1));
    live.look();
    let second = live.manifest();
    assert!(second.created() > first.created());
    assert_verifies(&live.web(), &second, &key("0.m4s"), &sample(70, 50_000));
    assert_verifies(&live.web(), &second, &key("init.mp4"), &sample(71, 700));
    assert_verifies(&live.web(), &second, &key("7.m4s"), &sample(7, 40_000));
    // The same name with other bytes while the playlist says the same.
    live.write("0.m4s", sample(72, 50_000));
    live.look();
    assert_verifies(&live.web(), &live.manifest(), &key("0.m4s"), &sample(72, 50_000));
}

#[test]
fn manifests_are_dated_one_after_the_other_whatever_the_clock_says() {
    let mut live = Live::new();
    let mut last = WallTime::from_secs(0);
    for (number, wall) in [1_000_000, 1_000_000, 5, 9_000_000, 1_000_007].into_iter().enumerate() {
        live.wall = wall;
        if number % 2 == 1 {
            live.restart();
        }
        live.package(0, number as u32 + 1);
        live.look();
        let created = live.manifest().created();
        assert!(created > last, "{wall}");
        last = created;
    }
}

#[test]
fn a_restart_forgets_nothing_that_viewers_may_still_want() {
    let mut live = Live::new();
    live.package(0, 4);
    live.look();
    live.package(2, 6);
    live.look();
    let before = live.manifest();
    (0..2).for_each(|number| fs::remove_file(live.packager().join(format!("{number}.m4s"))).unwrap());
    live.restart();
    live.later(SECOND);
    live.look();
    assert_eq!(live.manifest().segments().len(), before.segments().len());
    assert_verifies(&live.web(), &live.manifest(), &key("0.m4s"), &sample(0, 40_000));
    // What was changed meanwhile is not what the manifest said.
    write(&live.web(), "1.m4s", b"changed");
    live.restart();
    live.look();
    assert!(live.lists("0.m4s") && !live.lists("1.m4s"));
    live.later(GRACE);
    live.look();
    assert!(!live.lists("0.m4s") && live.lists("2.m4s"));
}

#[test]
fn group_lists_of_the_manifests_before_are_still_there() {
    let mut live = Live::new();
    let mut manifests = Vec::new();
    for number in 1..6 {
        live.package(0, number);
        live.look();
        manifests.push(live.manifest());
    }
    for manifest in &manifests {
        assert_verifies(&live.web(), manifest, &key("0.m4s"), &sample(0, 40_000));
    }
    assert_eq!(sidecars(&live.web(), "index.m3u8.").len(), manifests.len());
}

#[test]
fn the_manifest_lists_the_newest_of_a_long_playlist_and_in_the_end_all_of_it() {
    let mut live = Live::new();
    live.package(0, 200);
    live.look();
    assert_eq!(live.manifest().segments().len(), 91);
    assert!(
        live.lists("199.m4s") && live.lists("110.m4s") && live.lists("init.mp4") && !live.lists("109.m4s")
    );
    live.write("index.m3u8", playlist(0, 200) + "#EXT-X-ENDLIST\n");
    assert!(live.look().ended);
    assert_eq!(live.manifest().segments().len(), 201);
    assert_eq!(live.manifest().refresh(), None);
    live.restart();
    assert!(live.look().ended);
}

const TWO_LEVELS: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nlow/index.m3u8\n\
    #EXT-X-STREAM-INF:BANDWIDTH=2000000\nhigh/index.m3u8\n";

#[test]
fn several_levels_share_a_manifest_and_the_master_playlist_comes_last() {
    let mut live = Live::of("master.m3u8", true);
    let level = |live: &Live, level: &str, seed: u32, end: u32| {
        live.write(&format!("{level}/init.mp4"), sample(seed, 500));
        for number in 0..end {
            live.write(&format!("{level}/{number}.m4s"), sample(seed + number, 20_000));
        }
        live.write(&format!("{level}/index.m3u8"), playlist(0, end));
    };
    live.write("master.m3u8", TWO_LEVELS);
    level(&live, "low", 10, 2);
    let pass = live.look();
    assert!(pass.problems[0].contains("high/index.m3u8"), "{:?}", pass.problems);
    assert!(!live.web().join("master.m3u8").exists() && live.web().join("low/index.m3u8").exists());
    level(&live, "high", 50, 1);
    live.look();
    assert_eq!(fs::read_to_string(live.web().join("master.m3u8")).unwrap(), TWO_LEVELS);
    let listed = manifest(&live.web().join("master.m3u8.tabswarm"));
    assert_eq!((listed.tracks().len(), listed.segments().len()), (2, 5));
    // One level ends before the other.
    live.write("low/index.m3u8", playlist(0, 2) + "#EXT-X-ENDLIST\n");
    assert!(!live.look().ended);
    live.write("high/index.m3u8", playlist(0, 1) + "#EXT-X-ENDLIST\n");
    assert!(live.look().ended);
    // The packager begins anew, with one level.
    live.write(
        "master.m3u8",
        TWO_LEVELS.replace("#EXT-X-STREAM-INF:BANDWIDTH=2000000\nhigh/index.m3u8\n", ""),
    );
    level(&live, "low", 90, 1);
    assert!(!live.look().ended);
    live.later(GRACE);
    live.look();
    let listed = manifest(&live.web().join("master.m3u8.tabswarm"));
    assert_eq!(listed.refresh(), Some(2 * SECOND));
    assert!(listed.lookup(&key("high/0.m4s")).is_none() && listed.lookup(&key("low/0.m4s")).is_some());
}

#[test]
fn byte_ranges_of_a_file_that_grows_are_taken_as_they_come() {
    for copies in [true, false] {
        let mut live = Live::of("index.m3u8", copies);
        let all = sample(3, 100_000);
        let text = |ranges: &[(u64, u64)]| {
            let head = String::from(
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"800@0\"\n",
            );
            ranges.iter().fold(head, |text, (start, end)| {
                text + &format!("#EXTINF:2.0,\n#EXT-X-BYTERANGE:{}@{start}\nall.mp4\n", end - start)
            })
        };
        let range = |start, end| SegmentKey::new("all.mp4", ByteRange::new(start, end)).unwrap();
        let mut ranges = Vec::new();
        for (start, end) in [(800, 30_000), (30_000, 65_000), (65_000, 99_000)] {
            live.later(2 * SECOND);
            ranges.push((start, end));
            // A part of the next one is there already.
            live.write("all.mp4", &all[..end as usize + 1000]);
            live.write("index.m3u8", text(&ranges));
            live.look();
            for (start, end) in &ranges {
                let bytes = &all[*start as usize..*end as usize];
                assert_verifies(&live.web(), &live.manifest(), &range(*start, *end), bytes);
                assert_eq!(
                    &fs::read(live.web().join("all.mp4")).unwrap()[*start as usize..*end as usize],
                    bytes
                );
            }
        }
        // The packager begins anew, in the same file.
        let other = sample(4, 40_000);
        live.write("all.mp4", &other);
        live.write("index.m3u8", text(&[(800, 30_000)]));
        live.look();
        assert_verifies(&live.web(), &live.manifest(), &range(800, 30_000), &other[800..30_000]);
        assert!(live.manifest().lookup(&range(30_000, 65_000)).is_none());
        assert_eq!(fs::read(live.web().join("all.mp4")).unwrap(), other);
    }
}

#[test]
fn partial_segments_and_keys_come_along_and_are_not_listed() {
    let mut live = Live::new();
    live.package(0, 2);
    live.write("key.bin", b"0123456789abcdef");
    live.write("2.0.m4s", sample(20, 5000));
    let parts = playlist(0, 2).replace("#EXT-X-MAP", "#EXT-X-KEY:METHOD=AES-128,URI=\"key.bin\"\n#EXT-X-MAP")
        + "#EXT-X-PART:DURATION=1.0,URI=\"2.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"2.1.m4s\"\n";
    live.write("index.m3u8", &parts);
    live.look();
    assert_eq!(fs::read_to_string(live.web().join("index.m3u8")).unwrap(), parts);
    assert_eq!(fs::read(live.web().join("2.0.m4s")).unwrap(), sample(20, 5000));
    assert_eq!(fs::read(live.web().join("key.bin")).unwrap(), b"0123456789abcdef");
    assert_eq!(live.manifest().segments().len(), 3);
    // A part that is a range of the segment to come is not taken for it.
    live.write("2.m4s", &sample(2, 40_000)[..9000]);
    live.write(
        "index.m3u8",
        playlist(0, 2) + "#EXT-X-PART:DURATION=1.0,URI=\"2.m4s\",BYTERANGE=\"9000@0\"\n",
    );
    live.look();
    assert!(!live.lists("2.m4s") && live.web().join("2.m4s").exists());
    live.package(0, 3);
    live.look();
    assert_verifies(&live.web(), &live.manifest(), &key("2.m4s"), &sample(2, 40_000));
}

#[test]
fn in_place_the_manifest_follows_and_nothing_else_is_written() {
    let mut live = Live::of("index.m3u8", false);
    live.package(0, 3);
    live.look();
    assert!(live.lists("2.m4s"));
    live.package(1, 5);
    fs::remove_file(live.packager().join("0.m4s")).unwrap();
    fs::remove_file(live.packager().join("3.m4s")).unwrap();
    let before = tree(&live.packager());
    live.look();
    assert!(live.lists("4.m4s"), "one that is missing does not keep the others");
    let changed = tree(&live.packager()).into_iter().filter(|(path, bytes)| before.get(path) != Some(bytes));
    for (path, _) in changed {
        let name = path.display().to_string();
        assert!(name.ends_with(".tabswarm") || name.ends_with(".groups"), "{name}");
    }
    live.write("3.m4s", sample(3, 40_000));
    live.look();
    assert!(live.lists("3.m4s") && live.lists("0.m4s"));
    live.later(GRACE);
    live.look();
    assert!(!live.lists("0.m4s"));
}

#[test]
fn what_cannot_be_written_is_tried_again() {
    let mut live = Live::new();
    live.package(0, 2);
    live.look();
    live.package(0, 3);
    for blocked in ["2.m4s", "index.m3u8.tabswarm"] {
        let place = live.web().join(blocked);
        let _ = fs::remove_file(&place);
        write(&place, "in-the-way", b"");
        let error = (0..3).find_map(|_| live.pass().err()).expect("a directory is in the way").to_string();
        assert!(error.contains(blocked), "{error}");
        assert_eq!(fs::read_to_string(live.web().join("index.m3u8")).unwrap(), playlist(0, 2));
        fs::remove_dir_all(&place).unwrap();
    }
    live.look();
    assert!(live.lists("2.m4s"));
    assert_eq!(fs::read_to_string(live.web().join("index.m3u8")).unwrap(), playlist(0, 3));
}

#[test]
fn a_hostile_playlist_reads_nothing_outside_and_keeps_nobody_else_from_the_rest() {
    let mut live = Live::new();
    live.package(0, 2);
    write(live.directory.path(), "secret.m4s", b"secret");
    let hostile = [
        "../secret.m4s",
        "%2e%2e/secret.m4s",
        "..%2fsecret.m4s",
        "/secret.m4s",
        "file:///etc/hostname",
        "http://127.0.0.1:1/x.m4s",
        "http://tabswarm.invalid/secret.m4s",
        "a%00b.m4s",
    ];
    let text = hostile.iter().fold(playlist(0, 2), |text, uri| text + &format!("#EXTINF:2.0,\n{uri}\n"));
    live.write("index.m3u8", text);
    for _ in 0..9 {
        let pass = live.pass().unwrap();
        assert!(pass.problems.len() >= 3);
        live.later(SECOND);
    }
    assert!(live.lists("1.m4s"));
    let names: Vec<_> = tree(&live.web()).into_keys().map(|path| path.display().to_string()).collect();
    assert!(names.iter().all(|name| !name.contains("secret") && !name.contains("hostname")), "{names:?}");
    assert!(tree(&live.web()).values().all(|bytes| bytes != b"secret"));
}

#[test]
fn another_publishers_manifest_is_replaced() {
    let (mine, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let live = Live::new();
    let mut live = Live { publisher: Some(&other), ..live };
    live.restart();
    live.package(0, 2);
    live.look();
    live.publisher = Some(&mine);
    live.restart();
    let pass = live.pass().unwrap();
    assert!(pass.problems[0].contains("another key"), "{:?}", pass.problems);
    live.look();
    let file = fs::read(live.web().join("index.m3u8.tabswarm")).unwrap();
    assert!(Manifest::decode(&file, &Trust::Signed(mine.public_key())).is_ok());
}

#[test]
fn a_url_cannot_be_followed() {
    let directory = tempfile::tempdir().unwrap();
    let url = ["publish", "--watch", "--unsigned", "--out", "web", "http://127.0.0.1:1/index.m3u8"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tabswarm"));
    let output = command.args(url).current_dir(directory.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--watch follows a playlist in a directory"), "{said}");
    let said = fail(directory.path(), &["publish", "--grace", "9", "x.m3u8"]);
    assert!(said.contains("--watch"), "{said}");
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(unix)]
#[test]
fn the_command_follows_until_a_signal_and_until_the_end() {
    let live = Live::new();
    let spawn = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tabswarm"));
        command.args(["publish", "--watch", "--unsigned", "--out", "web", "packager/index.m3u8"]);
        let command = command.current_dir(live.directory.path()).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let published = |path: &str| {
        let file = live.web().join("index.m3u8.tabswarm");
        file.exists() && manifest(&file).lookup(&key(path)).is_some()
    };
    let child = spawn();
    live.package(0, 1);
    until("the first segment is listed", || published("0.m4s"));
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("stopped"));
    let child = spawn();
    live.package(0, 2);
    until("the second segment is listed", || published("1.m4s"));
    live.write("index.m3u8", playlist(0, 2) + "#EXT-X-ENDLIST\n");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("the stream has ended"));
    assert_eq!(live.manifest().refresh(), None);
    assert!(
        tree(&live.web()).keys().all(|path: &PathBuf| !path.display().to_string().contains(".tabswarm-"))
    );
}
