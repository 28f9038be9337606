//! Hello, certificates, tokens, renewal, replacement, restart.

use tabswarm_core::{
    id::NetworkId,
    identity::{Identity, VersionRange, domain},
    wire::{ClientMessage, GoawayReason, PROTOCOL_VERSIONS, ServiceMessage},
};
use tabswarm_signaling::{AccessToken, Config, Limits};
use tabswarm_turn_config::{IceServers, SharedSecret, TurnRelay};

use crate::{
    client::{Client, Stranger, stream},
    harness::{Harness, state_dir},
};

#[tokio::test]
async fn a_peer_is_certified_and_welcomed() {
    let harness = Harness::start(Config::default()).await;
    let client = Client::connect(harness.address, 1).await;
    let welcome = &client.welcome;
    assert_eq!(welcome.version, PROTOCOL_VERSIONS.max());
    assert_eq!(&welcome.issuers[..], [harness.service.issuer()]);
    assert_eq!(NetworkId::of_issuer(&welcome.issuers[0]), harness.service.network());
    assert_eq!(client.certificate.public_key, client.identity.public_key());
    assert_eq!(client.certificate.expires.as_secs() - client.certificate.issued.as_secs(), 30 * 60);
    assert!(!welcome.attests && welcome.ice_servers.is_empty());

    let other = Client::connect(harness.address, 2).await;
    assert_ne!(other.me, client.me);
    assert_eq!(other.certificate.group, client.certificate.group, "both are on loopback");
    let health = harness.health().await;
    assert_eq!((health["connections"].as_u64(), health["swarms"].as_u64()), (Some(2), Some(0)));
    assert_eq!(health["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn ice_servers_come_with_a_credential_for_the_peer() {
    let secret = SharedSecret::new("north wind, east wind").unwrap();
    let urls = vec!["turn:relay.example.org".parse().unwrap()];
    let turn = TurnRelay { urls, secret: secret.clone(), lifetime: std::time::Duration::from_secs(600) };
    let ice = IceServers::new(vec!["stun:stun.example.org".parse().unwrap()], Some(turn)).unwrap();
    let harness = Harness::start(Config { ice, ..Config::default() }).await;
    let client = Client::connect(harness.address, 1).await;
    let servers = &client.welcome.ice_servers;
    assert_eq!(&*servers[0].urls[0], "stun:stun.example.org");
    let (expires, user) = servers[1].username.split_once(':').unwrap();
    assert_eq!(user, client.me.to_string());
    let expected = secret.credential(user, expires.parse().unwrap());
    assert_eq!(&*servers[1].credential, expected.credential);
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_same_peer() {
    let harness = Harness::start(Config::default()).await;
    let mut client = Client::connect(harness.address, 1).await;
    client.send(&ClientMessage::Renew).await;
    let renewed = client
        .until(|message| match message {
            ServiceMessage::Renewed(certificate) => Some(certificate),
            _ => None,
        })
        .await;
    let renewed = renewed.verify(&client.welcome.issuers, client.now()).unwrap();
    assert_eq!((renewed.peer_id(), renewed.since), (client.me, client.certificate.since));
    assert!(renewed.expires >= client.certificate.expires);
}

#[tokio::test]
async fn a_wrong_proof_is_refused() {
    let harness = Harness::start(Config::default()).await;
    let another_challenge = Client::connect_with(harness.address, 1, |hello| {
        hello.proof = Identity::from_seed([1; 32]).sign(domain::SERVICE_HELLO, &[0; 32]);
    });
    assert_eq!(another_challenge.await.err(), Some(GoawayReason::Misbehaviour));
    let another_key = Client::connect_with(harness.address, 1, |hello| {
        hello.public_key = Identity::from_seed([2; 32]).public_key();
    });
    assert_eq!(another_key.await.err(), Some(GoawayReason::Misbehaviour));
    assert_eq!(harness.health().await["connectionsRefused"].as_u64(), Some(2));
}

#[tokio::test]
async fn a_peer_without_a_common_version_is_told_so() {
    let harness = Harness::start(Config::default()).await;
    let later = PROTOCOL_VERSIONS.max() + 1;
    let refused = Client::connect_with(harness.address, 1, |hello| {
        hello.versions = VersionRange::new(later, later + 5).unwrap();
    });
    assert_eq!(refused.await.err(), Some(GoawayReason::NoCommonVersion));
    let overlapping = Client::connect_with(harness.address, 1, |hello| {
        hello.versions = VersionRange::new(PROTOCOL_VERSIONS.max(), u16::MAX).unwrap();
    });
    assert_eq!(overlapping.await.unwrap().welcome.version, PROTOCOL_VERSIONS.max());
}

#[tokio::test]
async fn where_tokens_are_wanted_one_must_be_shown() {
    let tokens = vec![AccessToken::new("first").unwrap(), AccessToken::new("second").unwrap()];
    let harness = Harness::start(Config { tokens, ..Config::default() }).await;
    for (token, refused) in [
        (None, true),
        (Some("firs"), true),
        (Some("third"), true),
        (Some(""), true),
        (Some("first"), false),
        (Some("second"), false),
    ] {
        let entered = Client::connect_with(harness.address, 1, |hello| {
            hello.token = token.map(|token| token.try_into().unwrap());
        })
        .await;
        assert_eq!(entered.err(), refused.then_some(GoawayReason::Unauthorised), "{token:?}");
    }
}

#[tokio::test]
async fn only_a_hello_opens_the_conversation() {
    let harness = Harness::start(Config::default()).await;
    for early in [ClientMessage::Ping, ClientMessage::Join { stream: stream(), want: 8 }] {
        let mut stranger = Stranger::open(harness.address).await;
        let hello = stranger.hello(&Identity::from_seed([1; 32]));
        futures_util::SinkExt::send(
            &mut stranger.socket,
            tokio_tungstenite::tungstenite::Message::binary(early.to_bytes()),
        )
        .await
        .unwrap();
        assert_eq!(
            stranger.greet(Identity::from_seed([1; 32]), hello).await.err(),
            Some(GoawayReason::Misbehaviour)
        );
    }
    let mut twice = Client::connect(harness.address, 1).await;
    let hello = Stranger::open(harness.address).await.hello(&twice.identity);
    twice.send(&ClientMessage::Hello(Box::new(hello))).await;
    assert_eq!(twice.goaway().await, Some(GoawayReason::Misbehaviour));
}

#[tokio::test]
async fn an_earlier_certificate_keeps_the_peer_id() {
    let harness = Harness::start(Config::default()).await;
    let first = Client::connect(harness.address, 1).await;
    let (me, certificate) = (first.me, first.welcome.certificate.clone());
    drop(first);
    let without = Client::connect(harness.address, 1).await;
    assert_ne!(without.me, me);
    let previous = Some(certificate.clone());
    let again = Client::connect_with(harness.address, 1, |hello| hello.previous = previous).await.unwrap();
    assert_eq!(again.me, me);
    let stolen = Client::connect_with(harness.address, 2, |hello| hello.previous = Some(certificate)).await;
    assert_ne!(stolen.unwrap().me, me);
}

#[tokio::test]
async fn a_restart_with_the_same_state_keeps_network_and_peer_ids() {
    let state = state_dir();
    let config = || Config { state_dir: state.path().join("made/on/start"), ..Config::default() };
    let before = Harness::start_as_configured(config()).await.unwrap();
    let network = before.service.network();
    let first = Client::connect(before.address, 1).await;
    let (me, certificate) = (first.me, first.welcome.certificate.clone());
    before.stop().await;

    let after = Harness::start_as_configured(config()).await.unwrap();
    assert_eq!(after.service.network(), network);
    let again = Client::connect_with(after.address, 1, |hello| hello.previous = Some(certificate)).await;
    assert_eq!(again.unwrap().me, me);
    let elsewhere = Harness::start(Config::default()).await;
    assert_ne!(elsewhere.service.network(), network);
}

#[cfg(unix)]
#[tokio::test]
async fn the_issuer_key_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let state = state_dir();
    let config = Config { state_dir: state.path().to_owned(), ..Config::default() };
    Harness::start_as_configured(config.clone()).await.unwrap();
    let key = state.path().join(tabswarm_signaling::ISSUER_KEY_FILE);
    let metadata = std::fs::metadata(&key).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, 32));
    std::fs::write(&key, [0; 31]).unwrap();
    let error = Harness::start_as_configured(config).await.err().unwrap().to_string();
    assert!(error.contains("31 bytes") && error.contains("restore it"), "{error}");
}

#[tokio::test]
async fn the_newest_connection_of_a_key_wins() {
    let harness = Harness::start(Config::default()).await;
    let mut older = Client::connect(harness.address, 1).await;
    older.join(8).await;
    let mut newer = Client::connect(harness.address, 1).await;
    assert_eq!(older.goaway().await, Some(GoawayReason::Replaced));
    assert_eq!(newer.join(8).await, (1, Vec::new()), "the older one is no member any more");
}

#[tokio::test]
async fn a_peer_that_closes_gets_its_close_answered() {
    let harness = Harness::start(Config::default()).await;
    let mut stranger = Stranger::open(harness.address).await;
    stranger.socket.close(None).await.unwrap();
    let answer = futures_util::StreamExt::next(&mut stranger.socket).await;
    assert!(matches!(answer, Some(Ok(tokio_tungstenite::tungstenite::Message::Close(_)))), "{answer:?}");
}

#[tokio::test]
async fn everybody_is_told_when_the_service_goes_down() {
    let harness = Harness::start(Config::default()).await;
    let mut clients = Vec::new();
    for seed in 1..4 {
        clients.push(Client::connect(harness.address, seed).await);
    }
    let stopping = tokio::spawn(harness.stop());
    for client in &mut clients {
        assert_eq!(client.goaway().await, Some(GoawayReason::Shutdown));
    }
    stopping.await.unwrap();
}

#[tokio::test]
async fn one_network_group_gets_eight_peer_ids_at_once() {
    let client_address_header = Some("x-forwarded-for".parse().unwrap());
    let harness = Harness::start(Config { client_address_header, ..Config::default() }).await;
    let mut admitted = Vec::new();
    for seed in 1..=8 {
        // Only the last address is the proxy's word; the first is whatever the client wrote.
        let list = format!("10.0.0.{seed}, 203.0.113.{seed}");
        admitted.push(Client::connect_from(harness.address, seed, &list).await.unwrap());
    }
    let ninth = Client::connect_from(harness.address, 9, "203.0.113.99").await;
    assert_eq!(ninth.err(), Some(GoawayReason::Overloaded));
    let elsewhere = Client::connect_from(harness.address, 9, "203.0.114.99").await.unwrap();
    assert_ne!(elsewhere.certificate.group, admitted[0].certificate.group);
    assert_eq!(admitted[0].certificate.group, admitted[7].certificate.group);
}

#[tokio::test]
async fn connections_of_one_network_group_are_limited() {
    let client_address_header = Some("x-forwarded-for".parse().unwrap());
    let limits = Limits { connections_per_group: 2, ..Limits::default() };
    let harness = Harness::start(Config { client_address_header, limits, ..Config::default() }).await;
    let _held = [
        Client::connect_from(harness.address, 1, "2001:db8::1").await.unwrap(),
        Client::connect_from(harness.address, 2, "2001:db8::2").await.unwrap(),
    ];
    let entry = crate::client::Entry { forwarded_for: Some("2001:db8::3"), ..Default::default() };
    let mut third = crate::client::open(harness.address, &entry).await.unwrap();
    let told = futures_util::StreamExt::next(&mut third).await.unwrap().unwrap().into_data();
    let goaway = tabswarm_core::wire::frames(&told).next().unwrap().unwrap();
    let goaway = ServiceMessage::decode(&goaway).unwrap();
    assert!(
        matches!(
            goaway,
            Some(ServiceMessage::Goaway { reason: GoawayReason::Overloaded, retry_after_secs: 1.. })
        ),
        "{goaway:?}"
    );
}

#[tokio::test]
async fn clients_of_whom_the_proxy_says_nothing_share_one_places_limits() {
    let client_address_header = Some("x-forwarded-for".parse().unwrap());
    let limits = Limits { connections_per_group: 2, ..Limits::default() };
    let harness = Harness::start(Config { client_address_header, limits, ..Config::default() }).await;
    let held = [
        Client::connect(harness.address, 1).await,
        Client::connect_from(harness.address, 2, "unknown").await.unwrap(),
    ];
    assert_eq!(held[0].certificate.group, held[1].certificate.group);
    let mut third = crate::client::open(harness.address, &crate::client::Entry::default()).await.unwrap();
    let told = futures_util::StreamExt::next(&mut third).await.unwrap().unwrap().into_data();
    let goaway = tabswarm_core::wire::frames(&told).next().unwrap().unwrap();
    let goaway = ServiceMessage::decode(&goaway).unwrap();
    assert!(
        matches!(goaway, Some(ServiceMessage::Goaway { reason: GoawayReason::Overloaded, .. })),
        "{goaway:?}"
    );
    let named = Client::connect_from(harness.address, 3, "203.0.113.1:4711").await.unwrap();
    let same = Client::connect_from(harness.address, 4, "203.0.113.2").await.unwrap();
    assert_eq!(named.certificate.group, same.certificate.group);
}
