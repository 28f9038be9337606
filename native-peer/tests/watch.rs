//! `tabswarm publish --watch`: what viewers can load while a packager writes.

mod support;

use std::{fs, time::Duration};

use support::{
    assert_verifies,
    live::{GRACE, Live, SECOND, key, playlist},
    sample, sidecars, tree, write,
};
use tabswarm_core::time::WallTime;

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
        let packaged = fs::read_to_string(live.packager().join("index.m3u8")).unwrap();
        let (text, along) = live.published("index.m3u8");
        assert_eq!((text, along.as_ref()), (packaged, Some(&live.manifest())));
    }
    assert!(!live.pass().unwrap().written, "nothing is new");
}

#[test]
fn a_playlist_brings_the_manifest_along_while_that_is_short_and_the_stream_goes_on() {
    let mut live = Live::new();
    live.package(0, 80);
    live.look();
    assert_eq!(live.published("index.m3u8").1, Some(live.manifest()));
    live.package(0, 200);
    live.options.window = Duration::from_secs(600);
    live.restart();
    live.look();
    assert_eq!(live.published("index.m3u8"), (playlist(0, 200), None), "too long");
    live.package(190, 201);
    live.look();
    live.later(500 * SECOND);
    live.package(191, 202);
    live.look();
    assert_eq!(live.published("index.m3u8"), (playlist(191, 202), Some(live.manifest())));
    let whole = playlist(191, 202) + "#EXT-X-ENDLIST\n";
    live.write("index.m3u8", &whole);
    assert!(live.look().ended);
    assert_eq!(live.published("index.m3u8"), (whole, None), "complete");
}

#[test]
fn a_playlist_brings_the_list_of_its_newest_segment_along_while_there_is_room() {
    let mut live = Live::new();
    let newest = |live: &Live, path: &str| {
        let (manifest, list) = live.published_along("index.m3u8").1.expect("short");
        let list = list?;
        assert_eq!(manifest.lookup(&key(path)).map(|entry| entry.root()), Some(list.root()));
        Some(list)
    };
    live.package(0, 3);
    live.look();
    assert_eq!(newest(&live, "2.m4s").unwrap().values().len(), 3);
    live.package(0, 4);
    live.write("3.m4s", sample(3, 100));
    live.look();
    assert_eq!(newest(&live, "3.m4s"), None, "one of a single group needs none");
    live.package(0, 5);
    live.write("4.m4s", sample(4, 300 * 16 * 1024));
    live.look();
    assert_eq!(newest(&live, "4.m4s"), None, "too long");
    live.package(0, 6);
    live.look();
    assert!(newest(&live, "5.m4s").is_some());
}

#[test]
fn what_was_published_before_can_be_followed_itself() {
    let mut live = Live::new();
    live.package(0, 3);
    live.look();
    let (served, _) = live.published("index.m3u8");
    live.write("index.m3u8", fs::read(live.web().join("index.m3u8")).unwrap());
    live.package(3, 4);
    let text = served + "#EXT-X-TABSWARM:AAAA\n#EXTINF:2.0,\n3.m4s\n";
    live.write("index.m3u8", &text);
    live.look();
    let (before, along) = live.published("index.m3u8");
    assert_eq!((before, along), (text, Some(live.manifest())), "the last one counts");
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
fn what_is_withdrawn_stays_withdrawn_when_the_manifest_lists_it_no_more() {
    let mut live = Live::new();
    live.package(0, 4);
    live.look();
    let before = live.manifest();
    let root = before.lookup(&key("1.m4s")).unwrap().root();
    live.options.withdraw = vec!["1.m4s".parse().unwrap()];
    live.restart();
    live.look();
    assert_eq!(live.manifest().withdrawn(), [root]);
    assert!(live.manifest().created() > before.created() && live.manifest().refresh().is_some());
    live.package(4, 8);
    live.look();
    live.later(GRACE + 20 * SECOND);
    live.look();
    assert!(!live.lists("1.m4s"));
    assert_eq!(live.manifest().withdrawn(), [root]);
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
    assert_eq!(live.published("index.m3u8").0, playlist(0, 3));
    live.later(2 * SECOND);
    live.pass().unwrap();
    assert_eq!(live.published("index.m3u8").0, playlist(1, 5));
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
