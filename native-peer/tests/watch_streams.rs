//! `tabswarm publish --watch`: kinds of streams, what goes wrong, and the command.

mod support;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use support::{
    assert_verifies, fail,
    live::{GRACE, Live, SECOND, key, playlist},
    manifest, sample, tree, write,
};
use tabswarm_core::{
    content::{Manifest, SegmentKey, Trust},
    identity::Identity,
    units::ByteRange,
};

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
    assert_eq!(live.published("index.m3u8").0, parts);
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
        assert_eq!(live.published("index.m3u8").0, playlist(0, 2));
        fs::remove_dir_all(&place).unwrap();
    }
    live.look();
    assert!(live.lists("2.m4s"));
    assert_eq!(live.published("index.m3u8").0, playlist(0, 3));
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
    let absurd = playlist(0, 2).replacen("2.0", "17000000000000000000", 1);
    let text = hostile.iter().fold(absurd, |text, uri| text + &format!("#EXTINF:2.0,\n{uri}\n"));
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
