//! The attestor against an origin that counts.

use std::time::Duration;

use tabswarm_core::{
    content::{GROUP_LEN, GroupList, SegmentKey},
    id::SegmentId,
    units::{ByteRange, GroupIndex},
    wire::{AttestFailure, Attested, ServiceMessage},
};
use tabswarm_signaling::{AccessToken, AttestOrigin, Config, Limits, StartError};

use crate::{
    client::{Client, STREAM_NAME, stream},
    harness::Harness,
    origin::{FILE_LEN, Origin, content},
};

fn key(path: &str) -> SegmentKey {
    SegmentKey::new(path, None).expect("the path is one")
}

fn range_key(path: &str, start: u64, end: u64) -> SegmentKey {
    SegmentKey::new(path, ByteRange::new(start, end)).expect("the path is one")
}

fn segment(key: &SegmentKey) -> SegmentId {
    key.id(&stream())
}

async fn attesting(origin: &Origin, limits: Limits) -> Harness {
    let attest = vec![AttestOrigin::new("/", &origin.url(), None).expect("the origin is one")];
    Harness::start(Config { attest, allow_private_origin: true, limits, ..Config::default() }).await
}

enum Outcome {
    Attested(Box<Attested>),
    Failed(AttestFailure),
}

/// A peer in the test's swarm.
async fn member(harness: &Harness, seed: u8) -> Client {
    let mut client = Client::connect(harness.address, seed).await;
    client.join(0).await;
    client
}

/// Whether nothing but the size of the swarm came.
async fn is_quiet(client: &mut Client) -> bool {
    client.drain().await.iter().all(|message| {
        matches!(message, ServiceMessage::Population { .. } | ServiceMessage::Newcomers { .. })
    })
}

/// Waits for what the service says about a segment.
async fn outcome(client: &mut Client, key: &SegmentKey) -> Outcome {
    let (issuers, now) = (client.welcome.issuers.clone(), client.now());
    client
        .until(|message| match message {
            ServiceMessage::Attested(attested) => {
                let attestation = attested.attestation.verify(&issuers, now).expect("the issuer signed it");
                let about_it = attestation.stream == stream() && attestation.key == *key;
                about_it.then_some(Outcome::Attested(attested))
            }
            ServiceMessage::AttestFailed { segment: of, reason } if of == segment(key) => {
                Some(Outcome::Failed(reason))
            }
            _ => None,
        })
        .await
}

/// Waits for a segment's list, which must be that of these bytes.
async fn expect_list(client: &mut Client, key: &SegmentKey, bytes: &[u8]) {
    let attested = match outcome(client, key).await {
        Outcome::Attested(attested) => attested,
        Outcome::Failed(reason) => panic!("{}: {reason:?}", key.path()),
    };
    let attestation =
        attested.attestation.verify(&client.welcome.issuers, client.now()).expect("verified before");
    assert_eq!(attestation.len.bytes(), bytes.len() as u64);
    let list = GroupList::verified(attestation.root, attestation.len, attested.values.into_vec());
    let list = list.expect("the values hash up to the root");
    for (index, group) in (0..).zip(bytes.chunks(GROUP_LEN as usize)) {
        assert!(list.check(GroupIndex::new(index), group), "group {index} of {}", key.path());
    }
}

async fn expect_failure(client: &mut Client, key: &SegmentKey) -> AttestFailure {
    match outcome(client, key).await {
        Outcome::Attested(_) => panic!("{} was attested", key.path()),
        Outcome::Failed(reason) => reason,
    }
}

#[tokio::test]
async fn many_askers_are_one_request_and_every_member_is_told() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let key = key("v0/gated.m4s");
    let mut askers = Vec::new();
    for seed in 1..=8 {
        let mut asker = member(&harness, seed).await;
        assert!(asker.welcome.attests);
        asker.attest(&key).await;
        assert!(is_quiet(&mut asker).await, "the request was taken");
        askers.push(asker);
    }
    let mut member_only = member(&harness, 9).await;
    let mut bystander = Client::connect(harness.address, 10).await;
    origin.open_gate();
    let bytes = content("/show/v0/gated.m4s", FILE_LEN);
    for told in askers.iter_mut().chain([&mut member_only]) {
        expect_list(told, &key, &bytes).await;
    }
    assert!(bystander.drain().await.is_empty());

    let mut newcomer = member(&harness, 11).await;
    newcomer.attest(&key).await;
    expect_list(&mut newcomer, &key, &bytes).await;
    assert_eq!(origin.requests("/show/v0/gated.m4s"), 1);
    assert_eq!(harness.health().await["segmentsAttested"].as_u64(), Some(1));
}

#[tokio::test]
async fn only_members_of_the_swarm_have_a_segment_attested() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let mut outsider = Client::connect(harness.address, 1).await;
    let mut keys: Vec<_> = (0..17).map(|number| key(&format!("{number}.m4s"))).collect();
    for key in &keys {
        outsider.attest(key).await;
    }
    let beyond = keys.pop().expect("there are 17");
    assert_eq!(expect_failure(&mut outsider, &beyond).await, AttestFailure::Refused);
    assert!(outsider.drain().await.is_empty() && origin.log().is_empty());
    outsider.join_named("/another/master.m3u8").await;
    assert!(is_quiet(&mut outsider).await && origin.log().is_empty());
    // What was asked for before is carried out.
    outsider.join(0).await;
    let mut missing: Vec<_> = keys.iter().map(segment).collect();
    while !missing.is_empty() {
        let attested = outsider.until(|message| match message {
            ServiceMessage::Attested(attested) => Some(attested),
            _ => None,
        });
        let attestation = attested.await.attestation;
        let now = outsider.now();
        let key = attestation.verify(&outsider.welcome.issuers, now).expect("the issuer signed it").key;
        missing.retain(|wanted| *wanted != segment(&key));
    }
}

#[tokio::test]
async fn files_that_are_no_segments_are_neither_read_nor_hashed() {
    let origin = Origin::start().await;
    let attest = vec![AttestOrigin::new("/", &origin.url(), None).expect("the origin is one")];
    let attest_extensions = vec!["seg".parse().expect("the extension is one")];
    let config = Config { attest, attest_extensions, allow_private_origin: true, ..Config::default() };
    let harness = Harness::start(config).await;
    let mut client = member(&harness, 1).await;
    for key in [key("drm.key"), range_key("users.json", 0, 2), key("v0.m3u8"), key("admin"), key("a;.ts")] {
        client.attest(&key).await;
        assert_eq!(expect_failure(&mut client, &key).await, AttestFailure::Refused, "{}", key.path());
    }
    assert!(origin.log().is_empty());
    client.attest(&key("1.seg")).await;
    expect_list(&mut client, &key("1.seg"), &content("/show/1.seg", FILE_LEN)).await;
}

#[tokio::test]
async fn byte_ranges_and_absolute_paths_are_attested() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let mut client = member(&harness, 1).await;
    let plain = content("/show/all.mp4", FILE_LEN);
    for (start, end) in [(0, 1), (0, 16_384), (1_000, 90_000), (99_999, 100_000)] {
        let key = range_key("all.mp4", start, end);
        client.attest(&key).await;
        expect_list(&mut client, &key, &plain[start as usize..end as usize]).await;
    }
    // The origin takes no notice of Range: the slice is taken from the whole.
    let key = range_key("whole.mp4", 20_000, 60_000);
    client.attest(&key).await;
    expect_list(&mut client, &key, &content("/show/whole.mp4", FILE_LEN)[20_000..60_000]).await;
    let key = range_key("/elsewhere/1.ts", 5, 50);
    client.attest(&key).await;
    expect_list(&mut client, &key, &content("/elsewhere/1.ts", FILE_LEN)[5..50]).await;
}

#[tokio::test]
async fn a_range_that_cuts_another_is_told_to_those_who_ask_only() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let (mut asker, mut other) = (member(&harness, 1).await, member(&harness, 2).await);
    let plain = content("/show/all.mp4", FILE_LEN);
    let (first, cutting) = (range_key("all.mp4", 0, 1_000), range_key("all.mp4", 500, 1_500));
    asker.attest(&first).await;
    expect_list(&mut other, &first, &plain[..1_000]).await;
    asker.attest(&cutting).await;
    expect_list(&mut asker, &cutting, &plain[500..1_500]).await;
    assert!(is_quiet(&mut other).await);
    other.attest(&cutting).await;
    expect_list(&mut other, &cutting, &plain[500..1_500]).await;
    // The same file by another name.
    let renamed = range_key("/show/./all.mp4", 0, 1_000);
    asker.attest(&renamed).await;
    expect_list(&mut asker, &renamed, &plain[..1_000]).await;
    assert!(is_quiet(&mut other).await);
    assert_eq!(origin.requests("/show/all.mp4"), 3);
}

#[tokio::test]
async fn whatever_the_origin_does_wrong_is_a_failure_and_remembered_for_a_moment() {
    let origin = Origin::start().await;
    let limits = Limits {
        attest_deadline: Duration::from_secs(2),
        attest_retry: Duration::from_secs(3600),
        ..Limits::default()
    };
    let harness = attesting(&origin, limits).await;
    let mut client = member(&harness, 1).await;
    let bad = [
        key("missing.m4s"),
        key("broken.m4s"),
        key("denied.m4s"),
        key("empty.m4s"),
        key("slow.m4s"),
        key("stalled.m4s"),
        key("short.m4s"),
        key("packed.m4s"),
        key("redirect-loop.m4s"),
        // An answer for another range, one beyond the file, and one that reaches past its end.
        range_key("shifted.mp4", 500, 1_500),
        range_key("all.mp4", 200_000, 200_001),
        range_key("all.mp4", 90_000, 110_000),
        range_key("whole.mp4", 90_000, 110_000),
    ];
    for key in &bad {
        client.attest(key).await;
        assert_eq!(expect_failure(&mut client, key).await, AttestFailure::Origin, "{}", key.path());
    }
    let asked = origin.log().len();
    for key in &bad {
        client.attest(key).await;
        assert_eq!(expect_failure(&mut client, key).await, AttestFailure::Origin);
    }
    assert_eq!(origin.log().len(), asked);
}

#[tokio::test]
async fn a_failure_of_one_segment_is_none_of_another() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let mut client = member(&harness, 1).await;
    for bad in [key("missing.m4s"), key("short.m4s")] {
        client.attest(&bad).await;
        assert_eq!(expect_failure(&mut client, &bad).await, AttestFailure::Origin);
    }
    client.attest(&key("good.m4s")).await;
    expect_list(&mut client, &key("good.m4s"), &content("/show/good.m4s", FILE_LEN)).await;
}

#[tokio::test]
async fn a_failure_is_forgotten_after_a_moment() {
    let origin = Origin::start().await;
    let limits = Limits { attest_retry: Duration::from_millis(1), ..Limits::default() };
    let harness = attesting(&origin, limits).await;
    let mut client = member(&harness, 1).await;
    while origin.requests("/show/missing.m4s") < 2 {
        client.attest(&key("missing.m4s")).await;
        expect_failure(&mut client, &key("missing.m4s")).await;
    }
}

#[tokio::test]
async fn a_segment_whose_list_fits_no_message_is_refused() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let mut client = member(&harness, 1).await;
    for key in [key("huge.m4s"), range_key("all.mp4", 0, 17 * 1024 * 1024)] {
        client.attest(&key).await;
        assert_eq!(expect_failure(&mut client, &key).await, AttestFailure::Refused);
    }
}

#[tokio::test]
async fn redirects_stay_within_the_origin() {
    let (origin, elsewhere) = (Origin::start().await, Origin::start().await);
    let harness = attesting(&origin, Limits::default()).await;
    let mut client = member(&harness, 1).await;
    origin.redirect_to(format!("{}/stolen.m4s", elsewhere.url()));
    client.attest(&key("redirect-out.m4s")).await;
    assert_eq!(expect_failure(&mut client, &key("redirect-out.m4s")).await, AttestFailure::Origin);
    assert!(elsewhere.log().is_empty());
    client.attest(&key("redirect-in.m4s")).await;
    expect_list(&mut client, &key("redirect-in.m4s"), &content("/moved/1.m4s", FILE_LEN)).await;
}

#[tokio::test]
async fn a_private_origin_needs_the_flag_whether_by_address_or_by_name() {
    let origin = Origin::start().await;
    let at = |url: &str| vec![AttestOrigin::new("/", url, None).unwrap()];
    let literal = Config { attest: at(&origin.url()), ..Config::default() };
    let state_dir = crate::harness::state_dir();
    let config = Config { state_dir: state_dir.path().to_owned(), ..literal };
    let refused = Harness::start_as_configured(config).await.err().unwrap();
    assert!(matches!(refused, StartError::Attestor(_)), "{refused}");
    assert!(refused.to_string().contains("--allow-private-origin"), "{refused}");

    let by_name = at(&format!("http://localhost:{}", origin.address.port()));
    let harness = Harness::start(Config { attest: by_name.clone(), ..Config::default() }).await;
    let mut client = member(&harness, 1).await;
    client.attest(&key("1.m4s")).await;
    assert_eq!(expect_failure(&mut client, &key("1.m4s")).await, AttestFailure::Origin);
    assert!(origin.log().is_empty());

    let allowed = Config { attest: by_name, allow_private_origin: true, ..Config::default() };
    let harness = Harness::start(allowed).await;
    let mut client = member(&harness, 1).await;
    client.attest(&key("1.m4s")).await;
    expect_list(&mut client, &key("1.m4s"), &content("/show/1.m4s", FILE_LEN)).await;
}

#[tokio::test]
async fn the_origin_sees_the_services_credential_and_nothing_of_a_viewer() {
    let (origin, elsewhere) = (Origin::start().await, Origin::start().await);
    let credential = Some("Authorization: Bearer of-the-operator");
    let attest = vec![AttestOrigin::new("/", &origin.url(), credential).unwrap()];
    let config = Config {
        attest,
        allow_private_origin: true,
        tokens: vec![AccessToken::new("token-of-a-viewer").unwrap()],
        client_address_header: Some("x-forwarded-for".parse().unwrap()),
        ..Config::default()
    };
    let harness = Harness::start(config).await;
    let entered = Client::connect_with(harness.address, 1, |hello| {
        hello.token = Some("token-of-a-viewer".try_into().unwrap());
    });
    let mut client = entered.await.unwrap();
    client.join(0).await;
    origin.redirect_to(format!("{}/stolen.m4s", elsewhere.url()));
    for path in ["1.m4s", "missing.m4s", "redirect-in.m4s", "redirect-out.m4s"] {
        client.attest(&key(path)).await;
        outcome(&mut client, &key(path)).await;
    }
    let log = origin.log();
    assert!(log.iter().any(|logged| logged.path == "/moved/1.m4s") && elsewhere.log().is_empty());
    for logged in log {
        assert_eq!(logged.query, None);
        let text = format!("{:?}", logged.headers);
        assert!(!text.contains("viewer"), "{text}");
        let mut names: Vec<_> = logged.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "authorization", "host", "user-agent"]);
        assert_eq!(logged.headers["authorization"], "Bearer of-the-operator");
        assert_eq!(logged.headers["user-agent"], tabswarm_signaling::ATTESTOR_USER_AGENT);
    }
}

#[tokio::test]
async fn each_stream_has_the_origin_of_its_prefix_or_none() {
    let (live, archive) = (Origin::start().await, Origin::start().await);
    let attest = vec![
        AttestOrigin::new("/live/", &live.url(), Some("Cookie: live")).unwrap(),
        AttestOrigin::new("/archive/", &archive.url(), None).unwrap(),
    ];
    let harness = Harness::start(Config { attest, allow_private_origin: true, ..Config::default() }).await;
    let mut client = member(&harness, 1).await;
    let ask = |stream: &'static str, path: &str| (stream, key(path));
    let failure = |wanted: AttestFailure| {
        move |message| match message {
            ServiceMessage::AttestFailed { reason, .. } => {
                assert_eq!(reason, wanted);
                Some(())
            }
            _ => None,
        }
    };
    for (stream, key) in [ask(STREAM_NAME, "1.m4s"), ask("live/a.m3u8", "1.m4s"), ask("my stream", "1.m4s")] {
        client.join_named(stream).await;
        client.attest_in(stream, &key).await;
        client.until(failure(AttestFailure::NotServed)).await;
    }
    for (stream, key) in [
        ask("/live/../archive/a.m3u8", "1.m4s"),
        ask("/live/a.m3u8", "/archive/1.m4s"),
        ask("/live/a?.m3u8", "1.m4s"),
    ] {
        client.join_named(stream).await;
        client.attest_in(stream, &key).await;
        client.until(failure(AttestFailure::Refused)).await;
    }
    for stream in ["/live/a/b.m3u8", "/archive/a.m3u8"] {
        client.join_named(stream).await;
        client.attest_in(stream, &key("1.m4s")).await;
        client.until(|message| matches!(message, ServiceMessage::Attested(_)).then_some(())).await;
    }
    let paths = |origin: &Origin| origin.log().into_iter().map(|logged| logged.path).collect::<Vec<_>>();
    assert_eq!(
        (paths(&live), paths(&archive)),
        (vec!["/live/a/1.m4s".into()], vec!["/archive/1.m4s".into()])
    );
    assert!(!archive.log()[0].headers.contains_key("cookie"));
}

#[tokio::test]
async fn a_service_without_an_origin_attests_nothing() {
    let harness = Harness::start(Config::default()).await;
    let mut client = member(&harness, 1).await;
    assert!(!client.welcome.attests);
    client.attest(&key("1.m4s")).await;
    assert_eq!(expect_failure(&mut client, &key("1.m4s")).await, AttestFailure::NotServed);
}

#[tokio::test]
async fn the_queue_of_fetches_is_bounded() {
    let origin = Origin::start().await;
    let limits = Limits { attest_fetches: 1, attest_queue: 2, ..Limits::default() };
    let harness = attesting(&origin, limits).await;
    let mut client = member(&harness, 1).await;
    let keys = [key("gated.m4s"), key("b.m4s"), key("c.m4s")];
    client.attest(&keys[0]).await;
    origin.until_requested("/show/gated.m4s").await;
    for key in &keys[1..] {
        client.attest(key).await;
    }
    assert_eq!(expect_failure(&mut client, &keys[2]).await, AttestFailure::Origin);
    // Two at a time would bring the second meanwhile.
    for _ in 0..50 {
        assert!(is_quiet(&mut client).await, "one at a time");
    }
    origin.open_gate();
    expect_list(&mut client, &keys[0], &content("/show/gated.m4s", FILE_LEN)).await;
    expect_list(&mut client, &keys[1], &content("/show/b.m4s", FILE_LEN)).await;
    let paths: Vec<_> = origin.log().into_iter().map(|logged| logged.path).collect();
    assert_eq!(paths, ["/show/gated.m4s", "/show/b.m4s"]);
}

#[tokio::test]
async fn one_peer_asks_for_so_many_segments_and_no_more() {
    let origin = Origin::start().await;
    let attests = tabswarm_signaling::Rate { burst: 3, interval: Duration::from_secs(3600) };
    let harness = attesting(&origin, Limits { attests, ..Limits::default() }).await;
    let mut greedy = member(&harness, 1).await;
    for number in 0..3 {
        let key = key(&format!("{number}.m4s"));
        greedy.attest(&key).await;
        expect_list(&mut greedy, &key, &content(&format!("/show/{number}.m4s"), FILE_LEN)).await;
    }
    greedy.attest(&key("3.m4s")).await;
    assert_eq!(expect_failure(&mut greedy, &key("3.m4s")).await, AttestFailure::Origin);
    assert_eq!(origin.requests("/show/3.m4s"), 0);
}

#[tokio::test]
async fn one_network_group_causes_so_many_fetches_however_often_it_connects() {
    let origin = Origin::start().await;
    let attest_fetches_per_group = tabswarm_signaling::Rate { burst: 3, interval: Duration::from_secs(3600) };
    let config = Config {
        attest: vec![AttestOrigin::new("/", &origin.url(), None).expect("the origin is one")],
        allow_private_origin: true,
        client_address_header: Some("x-forwarded-for".parse().expect("the name is one")),
        limits: Limits { attest_fetches_per_group, ..Limits::default() },
        ..Config::default()
    };
    let harness = Harness::start(config).await;
    for (seed, path) in (1..).zip(["0.m4s", "1.m4s", "2.m4s"]) {
        let mut greedy = Client::connect_from(harness.address, seed, "203.0.113.1").await.unwrap();
        greedy.join(0).await;
        greedy.attest(&key(path)).await;
        expect_list(&mut greedy, &key(path), &content(&format!("/show/{path}"), FILE_LEN)).await;
    }
    let mut fourth = Client::connect_from(harness.address, 4, "203.0.113.2").await.unwrap();
    fourth.join(0).await;
    fourth.attest(&key("3.m4s")).await;
    assert_eq!(expect_failure(&mut fourth, &key("3.m4s")).await, AttestFailure::Origin);
    fourth.attest(&key("0.m4s")).await;
    expect_list(&mut fourth, &key("0.m4s"), &content("/show/0.m4s", FILE_LEN)).await;
    let mut elsewhere = Client::connect_from(harness.address, 5, "203.0.114.1").await.unwrap();
    elsewhere.join(0).await;
    elsewhere.attest(&key("3.m4s")).await;
    expect_list(&mut elsewhere, &key("3.m4s"), &content("/show/3.m4s", FILE_LEN)).await;
}

#[tokio::test]
async fn the_swarm_is_told_at_the_last_byte_and_not_before() {
    let origin = Origin::start().await;
    let harness = attesting(&origin, Limits::default()).await;
    let (mut asker, mut other) = (member(&harness, 1).await, member(&harness, 2).await);
    let key = key("last-gated.m4s");
    asker.attest(&key).await;
    origin.until_requested("/show/last-gated.m4s").await;
    for _ in 0..50 {
        assert!(is_quiet(&mut asker).await && is_quiet(&mut other).await);
    }
    origin.open_gate();
    let bytes = content("/show/last-gated.m4s", FILE_LEN);
    expect_list(&mut asker, &key, &bytes).await;
    expect_list(&mut other, &key, &bytes).await;
}
