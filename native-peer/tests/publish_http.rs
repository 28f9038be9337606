//! `tabswarm publish` on a stream at a URL: a real server on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path};

use support::{AUDIO, Behaviour, HIGH, LOW, MASTER, Server, fail, sample, stream, succeed, tree, write};
use tabswarm_core::content::{Manifest, SegmentKey, Trust};

fn manifest(file: &Path) -> Manifest {
    Manifest::decode(&fs::read(file).unwrap(), &Trust::Origin).unwrap()
}

fn publish(directory: &Path, url: &str) -> String {
    succeed(directory, &["publish", url, "--unsigned", "--out", "out"])
}

#[test]
fn a_url_and_its_directory_give_the_same_segments_and_lists() {
    let directory = stream();
    succeed(directory.path(), &["publish", "show/master.m3u8", "--unsigned", "--out", "local"]);
    let local = tree(&directory.path().join("local"));
    let expected = manifest(&directory.path().join("local/master.m3u8.tabswarm"));
    for ignores_ranges in [false, true] {
        let server = Server::start(directory.path(), Behaviour { ignores_ranges, ..Behaviour::default() });
        publish(directory.path(), &format!("{}/show/master.m3u8", server.address));
        let found = manifest(&directory.path().join("out/master.m3u8.tabswarm"));
        assert_eq!((found.stream(), found.tracks()), ("/show/master.m3u8", expected.tracks()));
        assert_eq!(found.segments(), expected.segments());
        let out = tree(&directory.path().join("out"));
        for (path, bytes) in
            local.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "groups"))
        {
            assert!(&out[path] == bytes, "{}", path.display());
        }
        let requests = server.requests.lock().unwrap();
        assert!(requests.contains(&String::from("/show/high/all.mp4 1000-20999")), "{requests:?}");
    }
}

#[test]
fn tokens_are_sent_to_the_server_and_kept_out_of_the_manifest() {
    let directory = stream();
    let show = directory.path().join("show");
    let with_token = |text: &str| {
        text.replace(".m3u8", ".m3u8?token=secret")
            .replace(".ts", ".ts?token=secret")
            .replace(".mp4", ".mp4?token=secret")
            .replace(".m4s", ".m4s?token=secret")
    };
    write(&show, "master.m3u8", with_token(MASTER));
    write(&show, "low/index.m3u8", with_token(LOW));
    write(&show, "high/index.m3u8", with_token(HIGH));
    write(&show, "audio/index.m3u8", with_token(AUDIO));
    let server =
        Server::start(directory.path(), Behaviour { token: Some("token=secret"), ..Behaviour::default() });
    publish(directory.path(), &format!("{}/show/master.m3u8?token=secret", server.address));
    for (path, bytes) in tree(&directory.path().join("out")) {
        assert!(!bytes.windows(6).any(|window| window == b"secret"), "{}", path.display());
        assert!(!path.display().to_string().contains("secret"));
    }
    let manifest = manifest(&directory.path().join("out/master.m3u8.tabswarm"));
    assert_eq!(manifest.stream(), "/show/master.m3u8");
    assert!(manifest.tracks()[1].sidecar().starts_with("low/index.m3u8."));
    assert_eq!(manifest.segments().len(), 7);
}

#[test]
fn segments_on_another_host_have_keys_by_their_path() {
    let directory = stream();
    let cdn = Server::start(directory.path(), Behaviour::default());
    let show = directory.path().join("show");
    write(&show, "low/index.m3u8", LOW.replace("1.ts", &format!("{}/show/low/1.ts?a=b", cdn.address)));
    write(directory.path(), "ads/1.ts", sample(8, 40_000));
    write(&show, "high/index.m3u8", format!("#EXTM3U\n#EXTINF:4,\n{}/ads/1.ts\n", cdn.address));
    let origin = Server::start(directory.path(), Behaviour::default());
    publish(directory.path(), &format!("{}/show/master.m3u8", origin.address));
    let manifest = manifest(&directory.path().join("out/master.m3u8.tabswarm"));
    for path in ["low/0.ts", "low/1.ts", "/ads/1.ts"] {
        assert!(manifest.lookup(&SegmentKey::new(path, None).unwrap()).is_some(), "{path}");
    }
    assert_eq!(cdn.requests.lock().unwrap().len(), 2);
}

#[test]
fn a_playlist_elsewhere_has_its_lists_beside_the_manifest() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "master.m3u8", MASTER.replace("low/index", "/other/index"));
    write(directory.path(), "other/index.m3u8", LOW);
    write(directory.path(), "other/0.ts", sample(1, 70_000));
    write(directory.path(), "other/1.ts", sample(2, 16_384));
    let server = Server::start(directory.path(), Behaviour::default());
    publish(directory.path(), &format!("{}/show/master.m3u8", server.address));
    let manifest = manifest(&directory.path().join("out/master.m3u8.tabswarm"));
    let track = &manifest.tracks()[1];
    assert!(track.playlist() == "/other/index.m3u8" && track.sidecar().starts_with("master.m3u8.1."));
    assert_eq!(fs::read(directory.path().join("out").join(track.sidecar())).unwrap().len(), 5 * 32);
}

#[test]
fn redirects_are_followed_and_uris_are_relative_to_where_they_lead() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "master.m3u8", MASTER.replace("low/index", "/moved/show/low/index"));
    let server = Server::start(directory.path(), Behaviour::default());
    publish(directory.path(), &format!("{}/show/master.m3u8", server.address));
    let manifest = manifest(&directory.path().join("out/master.m3u8.tabswarm"));
    assert!(manifest.lookup(&SegmentKey::new("low/1.ts", None).unwrap()).is_some());
}

#[track_caller]
fn assert_refused(directory: &Path, url: &str, said: &[&str]) {
    let error = fail(directory, &["publish", url, "--unsigned", "--out", "out"]);
    for part in said {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(!directory.join("out").exists());
}

#[test]
fn what_the_server_does_not_give_whole_is_refused_and_nothing_is_written() {
    let directory = stream();
    let show = directory.path().join("show");
    let server = Server::start(directory.path(), Behaviour::default());
    let url = format!("{}/show/master.m3u8", server.address);
    assert_refused(
        directory.path(),
        &format!("{}/none.m3u8", server.address),
        &["none.m3u8: HTTP status 404"],
    );
    let cut = Server::start(directory.path(), Behaviour { cuts_bodies: true, ..Behaviour::default() });
    let cut_url = format!("{}/show/master.m3u8", cut.address);
    assert_refused(
        directory.path(),
        &cut_url,
        &["/show/audio/index.m3u8: line 3: ", "/show/audio/init.mp4: "],
    );
    let unframed = Server::start(directory.path(), Behaviour { unframed: true, ..Behaviour::default() });
    let unframed = format!("{}/show/master.m3u8", unframed.address);
    assert_refused(
        directory.path(),
        &unframed,
        &["line 3: ", "/show/audio/init.mp4: the answer has no length"],
    );
    let packed =
        Server::start(directory.path(), Behaviour { encoding: Some("gzip"), ..Behaviour::default() });
    let packed = format!("{}/show/master.m3u8", packed.address);
    assert_refused(
        directory.path(),
        &packed,
        &["line 3: ", "/show/audio/init.mp4: ", "content encoding gzip"],
    );
    write(&show, "high/all.mp4", sample(3, 70_999));
    assert_refused(directory.path(), &url, &["high/index.m3u8: line 9: ", "ends 1 bytes before"]);
    fs::remove_file(show.join("low/1.ts")).unwrap();
    assert_refused(directory.path(), &url, &["/show/low/index.m3u8: line 6: ", "low/1.ts: HTTP status 404"]);
}

#[test]
fn bytes_that_differ_only_by_query_are_refused() {
    let directory = stream();
    let show = directory.path().join("show");
    write(&show, "low/index.m3u8", LOW.replace("0.ts", "1.ts?n=0"));
    let server = Server::start(directory.path(), Behaviour::default());
    let url = format!("{}/show/master.m3u8", server.address);
    publish(directory.path(), &url);
    fs::remove_dir_all(directory.path().join("out")).unwrap();
    // The other server gives other bytes under the same path.
    let other = stream();
    write(&other.path().join("show"), "low/1.ts", sample(9, 16_384));
    let other = Server::start(other.path(), Behaviour::default());
    write(&show, "low/index.m3u8", LOW.replace("0.ts", &format!("{}/show/low/1.ts", other.address)));
    assert_refused(
        directory.path(),
        &url,
        &["low/index.m3u8: line 6: ", "has other bytes than", "the key low/1.ts"],
    );
}

#[test]
fn a_url_needs_a_place_to_write_and_a_file_name() {
    let directory = stream();
    let error = fail(directory.path(), &["publish", "http://127.0.0.1:9/master.m3u8", "--unsigned"]);
    assert!(error.contains("--out"), "{error}");
    assert_refused(directory.path(), "http://127.0.0.1:9/", &["names no file"]);
}
