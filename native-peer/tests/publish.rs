//! `tabswarm publish` and `tabswarm keygen` on a stream in a directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path};

use support::{
    HIGH, LOW, MASTER, assert_verifies, fail, manifest, sample, sidecars, stream, succeed, tree, write,
};
use tabswarm_core::{
    content::{Manifest, ManifestError, SegmentKey, Trust},
    identity::{Identity, PublicKey},
    units::ByteRange,
};

fn key(path: &str) -> SegmentKey {
    SegmentKey::new(path, None).unwrap()
}

fn range_key(path: &str, start: u64, end: u64) -> SegmentKey {
    SegmentKey::new(path, ByteRange::new(start, end)).unwrap()
}

#[test]
fn every_level_rendition_byte_range_and_init_segment_verifies() {
    let directory = stream();
    let show = directory.path().join("show");
    let said = succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    let manifest = manifest(&show.join("master.m3u8.tabswarm"));
    assert_eq!(manifest.stream(), "/show/master.m3u8");
    assert_eq!((manifest.tracks().len(), manifest.segments().len()), (3, 7));
    let all = sample(3, 71_000);
    for (key, bytes) in [
        (key("low/0.ts"), &sample(1, 70_000)[..]),
        (key("low/1.ts"), &sample(2, 16_384)),
        (range_key("high/all.mp4", 0, 1000), &all[..1000]),
        (range_key("high/all.mp4", 1000, 21_000), &all[1000..21_000]),
        (range_key("high/all.mp4", 21_000, 71_000), &all[21_000..]),
        (key("audio/init.mp4"), &sample(4, 800)),
        (key("audio/0.m4s"), &sample(5, 30_000)),
    ] {
        assert_verifies(&show, &manifest, &key, bytes);
    }
    assert_eq!(sidecars(&show, "low/index.m3u8."), [manifest.tracks()[1].sidecar()]);
    assert!(said.contains("playlists      3") && said.contains("segments       7 (188184 bytes)"), "{said}");
}

#[test]
fn a_signed_manifest_counts_for_its_key_and_no_other() {
    let directory = stream();
    let made = succeed(directory.path(), &["keygen"]);
    let said = succeed(directory.path(), &["publish", "show/master.m3u8"]);
    let printed = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("publisher key  ")).unwrap();
        line.parse::<PublicKey>().unwrap()
    };
    assert_eq!(printed(&made), printed(&said));
    let file = fs::read(directory.path().join("show/master.m3u8.tabswarm")).unwrap();
    assert!(Manifest::decode(&file, &Trust::Signed(printed(&made))).is_ok());
    let other = Trust::Signed(Identity::from_seed([1; 32]).public_key());
    assert_eq!(Manifest::decode(&file, &other), Err(ManifestError::WrongPublisher));
}

#[test]
fn a_media_playlist_alone_is_a_stream() {
    let directory = stream();
    succeed(&directory.path().join("show/low"), &["publish", "index.m3u8", "--unsigned"]);
    let root = directory.path().join("show/low");
    let manifest = manifest(&root.join("index.m3u8.tabswarm"));
    assert_eq!(manifest.stream(), "/low/index.m3u8");
    assert_verifies(&root, &manifest, &key("0.ts"), &sample(1, 70_000));
}

#[test]
fn publishing_again_changes_nothing_and_new_bytes_change_the_manifest() {
    let directory = stream();
    succeed(directory.path(), &["keygen", "--key", "k"]);
    let publish = || succeed(directory.path(), &["publish", "show/master.m3u8", "--key", "k"]);
    publish();
    let first = tree(directory.path());
    // An older date in the manifest that is there stands for time that has passed.
    let identity = tabswarm_native_peer::key_file::read(&directory.path().join("k")).unwrap();
    let file = directory.path().join("show/master.m3u8.tabswarm");
    let made = manifest(&file);
    let older = Manifest::new(
        made.stream(),
        tabswarm_core::time::WallTime::from_secs(1),
        made.tracks().to_vec(),
        made.segments().to_vec(),
    );
    let older = older.unwrap().encode_signed(&identity).unwrap();
    fs::write(&file, &older).unwrap();
    publish();
    let second = tree(directory.path());
    assert_eq!(second[Path::new("show/master.m3u8.tabswarm")], older);
    assert_eq!(second.len(), first.len());
    write(&directory.path().join("show"), "low/0.ts", sample(9, 70_000));
    publish();
    assert_ne!(fs::read(&file).unwrap(), older);
    assert_verifies(&directory.path().join("show"), &manifest(&file), &key("low/0.ts"), &sample(9, 70_000));
}

#[test]
fn what_is_withdrawn_stays_withdrawn_and_dates_the_manifest_later() {
    let directory = stream();
    let file = directory.path().join("show/master.m3u8.tabswarm");
    let publish = |more: &[&str]| {
        succeed(directory.path(), &[&["publish", "show/master.m3u8", "--unsigned"], more].concat());
        manifest(&file)
    };
    let first = publish(&[]);
    assert!(first.withdrawn().is_empty());
    let root = |key: SegmentKey| first.lookup(&key).unwrap().root();
    let second = publish(&["--withdraw", "low/1.ts"]);
    assert_eq!(second.withdrawn(), [root(key("low/1.ts"))]);
    assert!(second.created() > first.created());
    // By its id, and every byte range of a file; what was withdrawn before is not forgotten.
    let id = root(key("low/0.ts")).to_string();
    let third = publish(&["--withdraw", &id, "--withdraw", "high/all.mp4"]);
    assert_eq!(third.withdrawn().len(), 5);
    assert_eq!(publish(&[]), third);
    let said =
        fail(directory.path(), &["publish", "show/master.m3u8", "--unsigned", "--withdraw", "low/7.ts"]);
    assert!(said.contains("low/7.ts"), "{said}");
    assert_eq!(manifest(&file), third);
}

#[test]
fn viewers_of_the_last_manifest_still_find_its_lists() {
    let directory = stream();
    let show = directory.path().join("show");
    let file = show.join("master.m3u8.tabswarm");
    let publish = |seed| {
        write(&show, "low/0.ts", sample(seed, 70_000));
        succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
        manifest(&file)
    };
    // A stream that shares the playlist keeps its own lists.
    let first = publish(1);
    succeed(&show.join("low"), &["publish", "index.m3u8", "--unsigned"]);
    let alone = manifest(&show.join("low/index.m3u8.tabswarm"));
    let second = publish(8);
    for _ in 0..3 {
        publish(8);
        assert_verifies(&show, &first, &key("low/0.ts"), &sample(1, 70_000));
        assert_verifies(&show, &second, &key("low/0.ts"), &sample(8, 70_000));
    }
    let third = publish(9);
    assert_verifies(&show, &second, &key("low/0.ts"), &sample(8, 70_000));
    assert_verifies(&show, &third, &key("low/0.ts"), &sample(9, 70_000));
    assert!(!show.join(first.tracks()[1].sidecar()).exists(), "two changes ago");
    assert_eq!((sidecars(&show, "low/").len(), sidecars(&show, "high/").len()), (3, 1));
    assert_verifies(&show.join("low"), &alone, &key("0.ts"), &sample(1, 70_000));
}

#[test]
fn a_damaged_manifest_is_replaced_with_a_warning() {
    let directory = stream();
    let file = directory.path().join("show/master.m3u8.tabswarm");
    let publish = || succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    assert!(!publish().contains("warning"));
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, bytes).unwrap();
    let said = publish();
    assert!(said.contains("warning: ") && said.contains("master.m3u8.tabswarm could not be read"), "{said}");
    assert_eq!(manifest(&file).segments().len(), 7);
    assert!(!publish().contains("warning"));
}

#[test]
fn out_has_the_streams_layout_and_leaves_the_source_alone() {
    let directory = stream();
    let before = tree(&directory.path().join("show"));
    succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned", "--out", "a/b"]);
    assert_eq!(tree(&directory.path().join("show")), before);
    let written: Vec<String> =
        tree(&directory.path().join("a/b")).keys().map(|path| path.display().to_string()).collect();
    let without_hash = |path: &String| match path.split_once(".m3u8.") {
        Some((playlist, end)) if end.ends_with(".groups") => format!("{playlist}.m3u8 lists"),
        _ => path.clone(),
    };
    let expected = [
        "audio",
        "audio/index.m3u8 lists",
        "high",
        "high/index.m3u8 lists",
        "low",
        "low/index.m3u8 lists",
        "master.m3u8.tabswarm",
    ];
    assert_eq!(written.iter().map(without_hash).collect::<Vec<_>>(), expected);
}

/// Publishing fails with this said, and the directory stays as it was.
#[track_caller]
fn assert_refused(directory: &Path, said: &[&str]) {
    let before = tree(directory);
    let error = fail(directory, &["publish", "show/master.m3u8", "--unsigned"]);
    for part in said {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(tree(directory) == before, "something was written");
}

#[test]
fn a_missing_segment_is_named_with_its_line_and_nothing_is_written() {
    let directory = stream();
    fs::remove_file(directory.path().join("show/low/1.ts")).unwrap();
    assert_refused(directory.path(), &["low/index.m3u8: line 6: ", "low/1.ts: ", "No such file"]);
}

#[test]
fn a_missing_media_playlist_is_named_with_its_line() {
    let directory = stream();
    fs::remove_file(directory.path().join("show/high/index.m3u8")).unwrap();
    assert_refused(directory.path(), &["master.m3u8: line 7: ", "high/index.m3u8: ", "No such file"]);
}

#[test]
fn a_malformed_playlist_names_the_line_and_nothing_is_written() {
    for (path, from, to, said) in [
        ("master.m3u8", "#EXTM3U", "#EXTM3", "master.m3u8: line 1: a playlist starts with #EXTM3U"),
        (
            "master.m3u8",
            "BANDWIDTH=800000",
            "SPEED=1",
            "line 4: #EXT-X-STREAM-INF: required attribute BANDWIDTH",
        ),
        ("master.m3u8", "high/index.m3u8\n", "", "master.m3u8: line 6: no URI follows"),
        ("low/index.m3u8", "#EXTINF:4.0,\n1", "#EXTINF:long,\n1", "low/index.m3u8: line 5: #EXTINF: "),
        ("low/index.m3u8", "#EXTINF:4.0,\n1.ts", "1.ts", "low/index.m3u8: line 5: a URI without #EXTINF"),
        ("high/index.m3u8", "20000@1000", "20000", "high/index.m3u8: line 6: byte range has no offset"),
        ("high/index.m3u8", "20000@1000", "20000@x", "high/index.m3u8: line 5: #EXT-X-BYTERANGE: "),
        ("high/index.m3u8", "1000@0", "1000-0", "high/index.m3u8: line 3: #EXT-X-MAP: "),
    ] {
        let directory = stream();
        let file = directory.path().join("show").join(path);
        let changed = fs::read_to_string(&file).unwrap().replacen(from, to, 1);
        assert_ne!(changed, fs::read_to_string(&file).unwrap());
        fs::write(&file, changed).unwrap();
        assert_refused(directory.path(), &[said]);
    }
}

#[test]
fn a_byte_range_past_the_end_of_its_file_is_refused() {
    let directory = stream();
    write(&directory.path().join("show"), "high/all.mp4", sample(3, 70_999));
    assert_refused(
        directory.path(),
        &["high/index.m3u8: line 9: ", "ends 1 bytes before the end of the byte range"],
    );
}

#[test]
fn an_empty_segment_and_a_master_as_a_level_are_refused() {
    let directory = stream();
    write(&directory.path().join("show"), "low/0.ts", b"");
    assert_refused(directory.path(), &["low/index.m3u8: line 4: ", "segment of 0 bytes"]);
    write(&directory.path().join("show"), "low/index.m3u8", MASTER);
    assert_refused(directory.path(), &["master.m3u8: line 5: ", "is a master playlist"]);
}

#[test]
fn nothing_outside_of_the_playlists_directory_is_read() {
    let directory = stream();
    write(directory.path(), "secret.ts", b"secret");
    for uri in [
        "../../secret.ts",
        "/secret.ts",
        "%2e%2e/%2e%2e/secret.ts",
        "..%2f..%2fsecret.ts",
        "file:///etc/hostname",
    ] {
        write(&directory.path().join("show"), "low/index.m3u8", LOW.replace("1.ts", uri));
        assert_refused(directory.path(), &["low/index.m3u8: line 6: "]);
    }
}

#[test]
fn names_that_urls_escape_have_the_keys_that_browsers_make() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "low/index.m3u8", LOW.replace("1.ts", "one & zwei é.ts"));
    write(&show, "low/one & zwei é.ts", sample(7, 20_000));
    succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    let manifest = manifest(&show.join("master.m3u8.tabswarm"));
    let escaped = key("low/one%20&%20zwei%20%C3%A9.ts");
    assert_verifies(&show, &manifest, &escaped, &sample(7, 20_000));
}

#[test]
fn queries_and_fragments_are_no_part_of_a_key() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "low/index.m3u8", LOW.replace("1.ts", "1.ts?token=secret#frame"));
    succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    let file = fs::read(show.join("master.m3u8.tabswarm")).unwrap();
    assert!(!file.windows(6).any(|window| window == b"secret"));
    assert!(manifest(&show.join("master.m3u8.tabswarm")).lookup(&key("low/1.ts")).is_some());
}

#[test]
fn a_place_that_is_taken_by_a_directory_leaves_everything_unwritten() {
    let directory = stream();
    fs::create_dir(directory.path().join("show/master.m3u8.tabswarm")).unwrap();
    assert_refused(directory.path(), &["master.m3u8.tabswarm: ", "directory"]);
    fs::create_dir_all(directory.path().join("out/master.m3u8.tabswarm")).unwrap();
    let before = tree(directory.path());
    fail(directory.path(), &["publish", "show/master.m3u8", "--unsigned", "--out", "out"]);
    assert!(tree(directory.path()) == before, "something was written");
}

#[test]
fn a_file_too_long_for_a_segment_stays_with_http() {
    let directory = stream();
    let long = fs::File::create(directory.path().join("show/low/1.ts")).unwrap();
    long.set_len(64 * 1024 * 1024 + 1).unwrap();
    let said = succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    assert!(
        said.contains("warning: ") && said.contains("low/1.ts is longer than a segment may be"),
        "{said}"
    );
    let manifest = manifest(&directory.path().join("show/master.m3u8.tabswarm"));
    assert!(manifest.lookup(&key("low/1.ts")).is_none() && manifest.lookup(&key("low/0.ts")).is_some());
}

#[test]
fn a_stream_name_tells_where_absolute_paths_lead() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "high/index.m3u8", HIGH.replace("all.mp4", "/vod/7/high/all.mp4"));
    assert_refused(directory.path(), &["high/index.m3u8: line 3: /vod/7/high/all.mp4 is outside"]);
    let name = ["publish", "show/master.m3u8", "--unsigned", "--stream", "/vod/7/index.m3u8"];
    succeed(directory.path(), &name);
    let manifest = manifest(&show.join("master.m3u8.tabswarm"));
    assert_eq!(manifest.stream(), "/vod/7/index.m3u8");
    assert_verifies(&show, &manifest, &range_key("high/all.mp4", 0, 1000), &sample(3, 71_000)[..1000]);
}

#[test]
fn a_key_is_private_never_overwritten_and_asked_for() {
    let directory = stream();
    let error = fail(directory.path(), &["publish", "show/master.m3u8"]);
    assert!(error.contains("publisher.key") && error.contains("tabswarm keygen"), "{error}");
    succeed(directory.path(), &["keygen"]);
    let file = directory.path().join("publisher.key");
    let seed = fs::read_to_string(&file).unwrap();
    assert_eq!(seed.trim_end().len(), 64);
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions()) & 0o777,
        0o600
    );
    let error = fail(directory.path(), &["keygen"]);
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), seed);
    fs::write(&file, &seed[..63]).unwrap();
    let error = fail(directory.path(), &["publish", "show/master.m3u8"]);
    assert!(error.contains("64 hexadecimal digits"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let directory = stream();
    succeed(directory.path(), &["keygen"]);
    let publish = || succeed(directory.path(), &["publish", "show/master.m3u8"]);
    assert!(!publish().contains("warning"));
    let file = directory.path().join("publisher.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = publish();
    assert!(said.contains("warning: ") && said.contains("chmod 600 publisher.key"), "{said}");
}

#[cfg(unix)]
#[test]
fn what_is_written_can_be_read_by_a_web_server() {
    use std::os::unix::fs::PermissionsExt;
    let directory = stream();
    succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned"]);
    let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
    // The same as any other file that a process makes here.
    assert_eq!(mode("show/master.m3u8.tabswarm"), mode("show/master.m3u8"));
    let lists = &sidecars(directory.path(), "show/low/index.m3u8.")[0];
    assert_eq!(mode(lists), mode("show/master.m3u8"));
}
