//! What a remote can't do to the service: flood it, fill it, stall it or crash it.

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    identity::Identity,
    wire::{ClientMessage, FRAME_HEADER_LEN, GoawayReason, MAX_MESSAGE_LEN, ServiceMessage},
};
use tabswarm_signaling::{Config, Limits, Rate};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::{
    client::{Client, Entry, Stranger, open},
    harness::Harness,
};

/// One whole frame of an unknown type, which is skipped unless the message is too long.
fn skipped(message_len: usize) -> Message {
    let mut message = vec![0xff, 0xff];
    let len = u32::try_from(message_len - FRAME_HEADER_LEN).expect("the message is short");
    message.extend_from_slice(&len.to_le_bytes());
    message.resize(message_len, 0);
    Message::binary(message)
}

#[tokio::test]
async fn an_oversized_message_ends_its_connection_and_no_other() {
    let harness = Harness::start(Config::default()).await;
    let mut other = Client::connect(harness.address, 2).await;
    let mut client = Client::connect(harness.address, 1).await;
    assert!(client.send_raw(skipped(MAX_MESSAGE_LEN)).await);
    assert!(client.drain().await.is_empty());
    client.send_raw(skipped(MAX_MESSAGE_LEN + 1)).await;
    assert!(matches!(client.goaway().await, None | Some(GoawayReason::Misbehaviour)));
    harness.until_health(|health| health["connections"] == 1).await;
    assert!(other.drain().await.is_empty());
}

#[tokio::test]
async fn malformed_messages_end_the_connection() {
    let harness = Harness::start(Config::default()).await;
    let malformed = [
        Message::text("hello"),
        // A frame that claims 4 GiB.
        Message::binary(vec![65, 0, 0xff, 0xff, 0xff, 0xff, 1]),
        // Half a header.
        Message::binary(vec![65, 0, 1]),
        // A join without a stream.
        Message::binary(vec![65, 0, 2, 0, 0, 0, 1, 2]),
    ];
    for (seed, message) in (1..).zip(malformed) {
        let mut client = Client::connect(harness.address, seed).await;
        client.send_raw(message).await;
        assert_eq!(client.goaway().await, Some(GoawayReason::Misbehaviour));
    }
}

#[tokio::test]
async fn unknown_messages_are_skipped() {
    let harness = Harness::start(Config::default()).await;
    let mut client = Client::connect(harness.address, 1).await;
    let mut message = vec![0x34, 0x12, 3, 0, 0, 0, 9, 9, 9];
    ClientMessage::Ping.encode(&mut message);
    client.send_raw(Message::binary(message)).await;
    assert_eq!(client.next().await, Some(ServiceMessage::Pong));
}

#[tokio::test]
async fn a_flood_is_sent_away() {
    let limits = Limits { messages: Rate::per_second(50, 10), ..Limits::default() };
    let harness = Harness::start(Config { limits, ..Config::default() }).await;
    let mut polite = Client::connect(harness.address, 1).await;
    for flood in [Message::binary(ClientMessage::Ping.to_bytes()), Message::Ping(vec![1].into()), {
        let mut many = Vec::new();
        (0..200).for_each(|_| ClientMessage::Ping.encode(&mut many));
        Message::binary(many)
    }] {
        let mut flooder = Client::connect(harness.address, 2).await;
        for _ in 0..200 {
            if !flooder.send_raw(flood.clone()).await {
                break;
            }
        }
        assert_eq!(flooder.goaway().await, Some(GoawayReason::Misbehaviour));
    }
    assert!(polite.drain().await.is_empty());
}

#[tokio::test]
async fn a_reader_with_too_much_waiting_is_cut_and_the_sender_is_told() {
    let (outbox_bytes, write_timeout) = (64 * 1024, Duration::from_secs(3600));
    cut_slow_reader(Limits { outbox_bytes, write_timeout, ..Limits::default() }).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_too_long_is_cut() {
    let (outbox_bytes, outbox_messages) = (usize::MAX / 2, 1_000_000);
    let write_timeout = Duration::from_millis(500);
    cut_slow_reader(Limits { outbox_bytes, outbox_messages, write_timeout, ..Limits::default() }).await;
}

/// Fills a reader that does not read until the service has cut it.
async fn cut_slow_reader(limits: Limits) {
    let limits = Limits { messages: Rate::per_second(1_000_000, 1_000_000), ..limits };
    let harness = Harness::start(Config { limits, ..Config::default() }).await;
    let entry = Entry { receive_buffer: Some(4096), ..Entry::default() };
    let stranger = Stranger::enter(harness.address, &entry).await;
    let identity = Identity::from_seed([1; 32]);
    let hello = stranger.hello(&identity);
    let mut slow = stranger.greet(identity, hello).await.expect("the peer is welcome");
    slow.join(8).await;
    let mut sender = Client::connect(harness.address, 2).await;
    sender.join(8).await;
    let victim = slow.me;
    let mut sent = 0;
    loop {
        for _ in 0..200 {
            let introduction = sender.introduction(victim);
            sender.introduce(victim, introduction).await;
            sent += 1;
        }
        if sender.drain().await.contains(&ServiceMessage::Unreachable(victim)) {
            break;
        }
        assert!(sent < 100_000, "the slow reader is still there");
    }
    harness.until_health(|health| health["connections"] == 1).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_get_503() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let harness = Harness::start(Config { limits, ..Config::default() }).await;
    let held = Client::connect(harness.address, 1).await;
    let refused = open(harness.address, &Entry::default()).await.unwrap_err();
    match *refused {
        tungstenite::Error::Http(response) => assert_eq!(response.status(), 503),
        other => panic!("{other}"),
    }
    drop(held);
    harness.until_health(|health| health["connections"] == 0).await;
    Client::connect(harness.address, 2).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_closed() {
    let limits = Limits { hello_timeout: Duration::from_millis(100), ..Limits::default() };
    let harness = Harness::start(Config { limits, ..Config::default() }).await;
    let _mute = Stranger::open(harness.address).await;
    harness.until_health(|health| health["connections"] == 0).await;
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    let limits = Limits {
        ping_interval: Duration::from_millis(100),
        silence: Duration::from_secs(2),
        ..Limits::default()
    };
    let harness = Harness::start(Config { limits, ..Config::default() }).await;
    let _unread = Client::connect(harness.address, 1).await;
    let mut alive = Client::connect(harness.address, 2).await;
    let reading = async {
        while alive.next().await.is_some() {}
        panic!("the peer that answers pings was closed");
    };
    tokio::select! {
        () = harness.until_health(|health| health["connections"] == 1) => {}
        () = reading => {}
    }
    assert!(alive.drain().await.is_empty());
}

#[tokio::test]
async fn arbitrary_bytes_never_stop_the_service() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let harness = Harness::start(Config::default()).await;
    let mut witness = Client::connect(harness.address, 1).await;
    for round in 0..150_u32 {
        let mut bytes = vec![0; (rng.next_u32() % 600) as usize];
        rng.fill_bytes(&mut bytes);
        // Most get past the framing, to a body of a type that exists.
        if bytes.len() >= 6 && round % 5 != 0 {
            let len = u32::try_from(bytes.len() - 6).unwrap();
            bytes[..2].copy_from_slice(&(64 + (rng.next_u32() % 8) as u16).to_le_bytes());
            bytes[2..6].copy_from_slice(&len.to_le_bytes());
        }
        let message = Message::binary(bytes);
        if round % 3 == 0 {
            let mut stranger = Stranger::open(harness.address).await;
            futures_util::SinkExt::send(&mut stranger.socket, message).await.unwrap();
        } else {
            let mut client = Client::connect(harness.address, 2).await;
            client.send_raw(message).await;
            client.send_raw(Message::binary(ClientMessage::Ping.to_bytes())).await;
            while let Some(answer) = client.next().await {
                if answer == ServiceMessage::Pong {
                    break;
                }
            }
        }
    }
    assert!(witness.drain().await.is_empty());
}
