//! Swarms, introductions, and who may send one to whom.

use std::collections::BTreeSet;

use tabswarm_core::{
    identity::Trusted,
    time::WallTime,
    wire::{ClientMessage, GoawayReason, MAX_INTRODUCED, ServiceMessage},
};
use tabswarm_signaling::{Config, Limits, registry::RegistryLimits};

use crate::{
    client::{Client, stream},
    harness::Harness,
};

/// A peer in the swarm, and another that was introduced to it.
async fn introduced_pair(harness: &Harness) -> (Client, Client) {
    let mut first = Client::connect(harness.address, 101).await;
    assert_eq!(first.join(8).await, (1, Vec::new()));
    let mut second = Client::connect(harness.address, 102).await;
    assert_eq!(second.join(8).await, (2, vec![first.me]));
    (first, second)
}

#[tokio::test]
async fn an_introduction_and_its_answer_are_carried() {
    let harness = Harness::start(Config::default()).await;
    let (mut first, mut second) = introduced_pair(&harness).await;
    let offer = second.introduction(first.me);
    second.introduce(first.me, offer.clone()).await;
    let carried = first.introduced().await;
    assert_eq!(carried, offer);
    let (issuers, network, now) = (&first.welcome.issuers[..], harness.service.network(), first.now());
    let verified = carried.verify(&Trusted { issuers, me: first.me, network, now }).unwrap();
    assert_eq!(verified.from, second.me);

    let answer = first.introduction(second.me);
    first.introduce(second.me, answer.clone()).await;
    assert_eq!(second.introduced().await, answer);
    assert_eq!(harness.health().await["introductionsCarried"].as_u64(), Some(2));
}

#[tokio::test]
async fn members_are_introduced_eight_at_most_and_counted() {
    let harness = Harness::start(Config::default()).await;
    let mut members = Vec::new();
    for seed in 1..=12 {
        let mut member = Client::connect(harness.address, seed).await;
        let (population, peers) = member.join(u8::MAX).await;
        assert_eq!(population, u32::from(seed));
        assert_eq!(peers.len(), usize::from(seed - 1).min(MAX_INTRODUCED));
        members.push(member);
    }
    let everybody: BTreeSet<_> = members.iter().map(|member| member.me).collect();
    let last = members.last_mut().unwrap();
    last.send(&ClientMessage::MorePeers { stream: stream(), want: 8 }).await;
    let (_, more) = last.peers().await;
    assert!(more.iter().all(|peer| everybody.contains(peer) && *peer != last.me));
    assert_eq!(more.iter().collect::<BTreeSet<_>>().len(), MAX_INTRODUCED);
    assert_eq!(harness.health().await["swarms"].as_u64(), Some(1));
}

#[tokio::test]
async fn members_hear_how_many_there_are() {
    let harness = Harness::start(Config::default()).await;
    let (mut first, mut second) = introduced_pair(&harness).await;
    let population = |wanted| {
        move |message| match message {
            ServiceMessage::Population { stream: of, population }
                if of == stream() && population == wanted =>
            {
                Some(())
            }
            _ => None,
        }
    };
    first.until(population(2)).await;
    second.send(&ClientMessage::Leave(stream())).await;
    first.until(population(1)).await;
    second.join(8).await;
    first.until(population(2)).await;
    drop(second);
    first.until(population(1)).await;
}

#[tokio::test]
async fn who_joins_at_the_same_time_hears_of_each_other() {
    let harness = Harness::start(Config::default()).await;
    let mut members = Vec::new();
    for number in 1..4 {
        members.push(Client::connect(harness.address, number).await);
    }
    for member in &mut members {
        member.send(&ClientMessage::Join { stream: stream(), want: 0 }).await;
    }
    let all: BTreeSet<_> = members.iter().map(|member| member.me).collect();
    for member in &mut members {
        let named = |message| match message {
            ServiceMessage::Newcomers { stream: of, peers } if of == stream() => {
                (peers.iter().copied().collect::<BTreeSet<_>>() == all).then_some(())
            }
            _ => None,
        };
        member.until(named).await;
    }
}

#[tokio::test]
async fn an_introduction_to_a_peer_never_introduced_is_not_carried() {
    let harness = Harness::start(Config::default()).await;
    let mut first = Client::connect(harness.address, 1).await;
    let mut second = Client::connect(harness.address, 2).await;
    // Both are members, but neither was given the other.
    first.join(0).await;
    second.join(0).await;
    let offer = second.introduction(first.me);
    second.introduce(first.me, offer).await;
    assert!(second.drain().await.contains(&ServiceMessage::Unreachable(first.me)));
    let carried = |message: &ServiceMessage| matches!(message, ServiceMessage::Introduced(_));
    assert!(!first.drain().await.iter().any(carried));
    assert_eq!(harness.health().await["introductionsRefused"].as_u64(), Some(1));
}

#[tokio::test]
async fn a_peer_that_left_is_unreachable() {
    let harness = Harness::start(Config::default()).await;
    let (first, mut second) = introduced_pair(&harness).await;
    let gone = first.me;
    drop(first);
    harness.until_health(|health| health["connections"] == 1).await;
    let offer = second.introduction(gone);
    second.introduce(gone, offer).await;
    assert!(second.drain().await.contains(&ServiceMessage::Unreachable(gone)));
}

#[tokio::test]
async fn a_forged_sender_is_sent_away_and_nothing_is_carried() {
    let harness = Harness::start(Config::default()).await;
    let (mut victim, other) = introduced_pair(&harness).await;
    let mut forgers = Vec::new();
    for seed in 1..=4 {
        let mut forger = Client::connect(harness.address, seed).await;
        let (_, peers) = forger.join(8).await;
        assert!(peers.contains(&victim.me));
        forgers.push(forger);
    }
    let forged = [
        forgers[0].introduction_as(victim.me, &other.welcome.certificate),
        // Truly signed by the other, but not by whoever sends it.
        other.introduction(victim.me),
        // For somebody else.
        forgers[2].introduction(other.me),
        // Of another network: that of another issuer.
        {
            let elsewhere = Harness::start(Config::default()).await;
            Client::connect(elsewhere.address, 4).await.introduction(victim.me)
        },
    ];
    for (forger, introduction) in forgers.iter_mut().zip(forged) {
        forger.introduce(victim.me, introduction).await;
        assert_eq!(forger.goaway().await, Some(GoawayReason::Misbehaviour));
    }
    let carried = |message: &ServiceMessage| matches!(message, ServiceMessage::Introduced(_));
    assert!(!victim.drain().await.iter().any(carried));
}

#[tokio::test]
async fn an_expired_introduction_is_dropped_and_the_next_one_carried() {
    let harness = Harness::start(Config::default()).await;
    let (mut first, mut second) = introduced_pair(&harness).await;
    let past = WallTime::from_secs(second.now().as_secs() - 1);
    let far = WallTime::from_secs(second.now().as_secs() + 3600);
    for expires in [past, far] {
        let introduction = second.introduction_until(first.me, expires);
        second.introduce(first.me, introduction).await;
    }
    let fresh = second.introduction(first.me);
    second.introduce(first.me, fresh.clone()).await;
    assert_eq!(first.introduced().await, fresh);
    assert_eq!(harness.health().await["introductionsRefused"].as_u64(), Some(2));
}

#[tokio::test]
async fn a_peer_joins_so_many_swarms_and_no_more() {
    let registry = RegistryLimits { swarms: 3, swarms_per_peer: 2 };
    let harness =
        Harness::start(Config { limits: Limits { registry, ..Limits::default() }, ..Config::default() })
            .await;
    let join = |number| ClientMessage::Join {
        stream: tabswarm_core::id::StreamId::from_bytes([number; 32]),
        want: 1,
    };
    let mut greedy = Client::connect(harness.address, 1).await;
    for number in 0..3 {
        greedy.send(&join(number)).await;
    }
    assert_eq!(greedy.goaway().await, Some(GoawayReason::Misbehaviour));
    let mut members = Vec::new();
    for number in 0..4 {
        let mut member = Client::connect(harness.address, 10 + number).await;
        member.send(&join(number)).await;
        members.push(member);
    }
    assert_eq!(members[3].goaway().await, Some(GoawayReason::Overloaded));
    assert_eq!(members[0].drain().await.len(), 2, "peers and population");
}

#[tokio::test]
async fn who_is_refused_hears_it_from_the_service_and_nobody_else_does() {
    let harness = Harness::start(Config::default()).await;
    let (mut first, mut second) = introduced_pair(&harness).await;
    let mut stranger = Client::connect(harness.address, 103).await;
    stranger.send(&ClientMessage::Refuse(second.me)).await;
    assert_eq!(stranger.drain().await, []);
    first.send(&ClientMessage::Refuse(second.me)).await;
    first.drain().await;
    let told = second.drain().await;
    assert!(told.contains(&ServiceMessage::Unreachable(first.me)));
    assert!(!told.contains(&ServiceMessage::Unreachable(stranger.me)));
}

#[tokio::test]
async fn peers_of_ones_own_network_group_are_named_first_if_both_want_that() {
    let header = Some(axum::http::HeaderName::from_static("x-forwarded-for"));
    let harness = Harness::start(Config { client_address_header: header, ..Config::default() }).await;
    let mut members = Vec::new();
    for number in 0..40 {
        // Every tenth of them is in the asker's network.
        let address = format!("203.0.{}.7", if number % 10 == 0 { 100 } else { number });
        let mut member = Client::connect_from(harness.address, 1 + number, &address).await.unwrap();
        member.join(0).await;
        members.push(member);
    }
    let near: BTreeSet<_> = members.iter().step_by(10).map(|member| member.me).collect();
    let mut asker = Client::connect_from(harness.address, 101, "203.0.100.99").await.unwrap();
    let (_, named) = asker.join(8).await;
    assert_eq!(named[4..].iter().copied().collect::<BTreeSet<_>>(), near);

    let entry = crate::client::Entry { forwarded_for: Some("203.0.100.98"), ..Default::default() };
    let stranger = crate::client::Stranger::enter(harness.address, &entry).await;
    let identity = tabswarm_core::identity::Identity::from_seed([102; 32]);
    let mut hello = stranger.hello(&identity);
    hello.features = 0;
    let mut aloof = stranger.greet(identity, hello).await.unwrap();
    let (population, named) = aloof.join(8).await;
    assert_eq!((population, named.len()), (42, 8));
    let named: BTreeSet<_> = named.into_iter().collect();
    assert!(!near.is_subset(&named), "all four by chance");
}
