use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    id::RequestId,
    identity::Rights,
    units::{GroupIndex, GroupRange},
    wire::{
        ClientMessage, GoawayReason, Held, LinkMessage, PROTOCOL_VERSIONS, Request, ServiceMessage, Welcome,
    },
};

fn attempts(lab: &mut Lab, within: Duration) -> Vec<Timestamp> {
    let end = lab.now + within;
    let mut attempts = Vec::new();
    while lab.now < end {
        let before = lab.tabs[0].outputs.len();
        lab.advance(Duration::from_millis(10));
        if lab.tabs[0].outputs[before..].contains(&Output::ConnectService) {
            attempts.push(lab.now);
        }
    }
    attempts
}

fn told(lab: &Lab, tab: usize, message: impl Fn(&ClientMessage) -> bool) -> usize {
    lab.tabs[tab].told_service.iter().filter(|told| message(told)).count()
}

fn is_ready(lab: &Lab, tab: usize) -> bool {
    lab.tabs[tab].node.service.is_ready()
}

#[test]
fn attempts_come_less_and_less_often_and_never_in_step() {
    let runs = [0, 1].map(|number| {
        let mut lab = Lab::empty();
        lab.service = false;
        lab.add(config(number), Roots::Origin);
        lab.settle();
        let attempts = attempts(&mut lab, Duration::from_secs(200));
        let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
        let longest =
            |step: u32| (Duration::from_millis(500) * 2_u32.pow(step.min(8))).min(Duration::from_secs(15));
        for (step, wait) in waits.iter().enumerate() {
            let longest = longest(step as u32 + 1);
            let range = longest / 2 - Duration::from_millis(20)..=longest + Duration::from_millis(20);
            assert!(range.contains(wait), "wait {step} is {wait:?}, not {range:?}");
        }
        assert!(waits.len() > 10);
        waits
    });
    assert_ne!(runs[0], runs[1], "two tabs wait differently");
}

#[test]
fn links_live_on_while_the_service_is_away_and_the_peer_keeps_its_id() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let ids = [lab.peer_id(0), lab.peer_id(1)];
    lab.service_down();
    lab.advance(Duration::from_secs(60));
    lab.fetch(1, 0, Duration::from_secs(20));
    assert_eq!(lab.tabs[1].delivered[0].1, segment(0));
    lab.service = true;
    lab.advance(Duration::from_secs(16));
    assert_eq!([lab.peer_id(0), lab.peer_id(1)], ids);
    assert!(is_ready(&lab, 0) && is_ready(&lab, 1));
    assert_eq!(lab.tabs[1].node.links().count(), 1);
    let again =
        |told: &ClientMessage| matches!(told, ClientMessage::Hello(hello) if hello.previous.is_some());
    assert_eq!(told(&lab, 0, again), 1, "it shows its earlier certificate");
    assert_eq!(told(&lab, 0, |told| matches!(told, ClientMessage::Join { .. })), 2, "and joins again");
}

#[test]
fn a_silent_service_is_pinged_and_then_given_up() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let pings = |lab: &Lab| told(lab, 0, |told| *told == ClientMessage::Ping);
    lab.advance(Duration::from_secs(300));
    assert!(is_ready(&lab, 0) && pings(&lab) >= 10);
    // It takes messages and says nothing any more: no tab is known to the lab's service.
    let node = &mut lab.tabs[0].node;
    while node.poll_output().is_some() {}
    let start = lab.now;
    let mut closed = None;
    while closed.is_none() {
        let due = node.poll_timeout().expect("it watches");
        node.handle_timeout(due);
        while let Some(output) = node.poll_output() {
            if output == Output::CloseService {
                closed = Some(due);
            }
        }
    }
    let waited = closed.expect("it closed").saturating_since(start);
    assert!((Duration::from_secs(15)..=Duration::from_secs(35)).contains(&waited), "{waited:?}");
}

#[test]
fn a_certificate_is_renewed_before_it_expires() {
    let mut lab = Lab::connected(2);
    lab.advance(Duration::from_secs(3 * 3600));
    assert!(told(&lab, 0, |told| *told == ClientMessage::Renew) >= 6);
    lab.add(config(2), Roots::Origin);
    lab.settle();
    assert_eq!(lab.tabs[2].node.links().filter(|link| link.ready).count(), 2);
}

#[test]
fn a_goodbye_of_the_service_sets_the_time_of_the_next_attempt() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    lab.tell(0, &ServiceMessage::Goaway { reason: GoawayReason::Overloaded, retry_after_secs: 100 });
    lab.advance(Duration::from_secs(99));
    assert!(!is_ready(&lab, 0));
    lab.advance(Duration::from_secs(27));
    assert!(is_ready(&lab, 0));
}

#[test]
fn unknown_service_messages_are_skipped_and_malformed_ones_end_the_connection() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let unknown = [&999_u16.to_le_bytes()[..], &1_u32.to_le_bytes(), b"?"].concat();
    lab.call(0, &[], |node, now| node.handle_service_message(&unknown, now));
    assert!(is_ready(&lab, 0));
    let short = [&99_u16.to_le_bytes()[..], &1_u32.to_le_bytes(), b"?"].concat();
    lab.call(0, &[], |node, now| node.handle_service_message(&short, now));
    lab.settle();
    assert!(!is_ready(&lab, 0));
    lab.advance(Duration::from_secs(1));
    assert!(is_ready(&lab, 0));
    lab.call(0, &[], |node, now| node.handle_service_message(&[0; 64 * 1024 + 1], now));
    assert!(!is_ready(&lab, 0));
}

#[test]
fn only_a_pinned_issuer_admits() {
    for (pinned, admitted) in [(issuer(), true), (Identity::from_seed([55; 32]), false)] {
        let mut lab = Lab::empty();
        lab.add(Config { issuers: vec![pinned.public_key()], ..config(0) }, Roots::Origin);
        lab.settle();
        assert_eq!(is_ready(&lab, 0), admitted);
    }
}

#[test]
fn of_two_pinned_issuers_either_may_be_the_one_in_use() {
    let other = Identity::from_seed([55; 32]).public_key();
    let mut lab = Lab::empty();
    for number in 0..2 {
        lab.add(Config { issuers: vec![other, issuer().public_key()], ..config(number) }, Roots::Origin);
    }
    lab.settle();
    assert!(lab.tabs.iter().all(|tab| tab.node.links().filter(|link| link.ready).count() == 1));
}

#[test]
fn who_may_not_upload_is_not_asked_and_gives_nothing() {
    let mut lab = Lab::empty();
    lab.rights = Rights::SWARM;
    lab.add(config(0), Roots::Origin);
    lab.settle();
    lab.rights = Rights::SWARM.with(Rights::UPLOAD);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    lab.hold(1, 1);
    assert!(!lab.tabs[0].said.iter().any(|(_, said)| matches!(said, LinkMessage::Have(_))));
    lab.claim(0, 1, 0, Held::All);
    lab.fetch(1, 0, Duration::from_secs(3));
    assert!(!lab.tabs[1].said.iter().any(|(_, said)| matches!(said, LinkMessage::Request(_))));
    lab.fetch(0, 1, Duration::from_secs(3));
    assert_eq!(lab.tabs[0].delivered.last().unwrap().1, segment(1), "it may receive");
    let groups = BoundedVec::first_of(GroupRange::new(GroupIndex::new(0), GroupIndex::new(1)));
    let request = Request { id: RequestId::new(0), content: content(0), groups };
    lab.say(1, 0, &LinkMessage::Request(request).to_bytes());
    assert_eq!(lab.tabs[0].node.stats().upload_bytes, 0);
}

#[test]
fn a_welcome_of_an_unknown_version_is_no_welcome() {
    let mut lab = Lab::empty();
    lab.service = false;
    lab.add(config(0), Roots::Origin);
    lab.settle();
    for (version, admitted) in [(PROTOCOL_VERSIONS.max() + 1, false), (PROTOCOL_VERSIONS.max(), true)] {
        lab.now = lab.now + Duration::from_secs(20);
        let (wall, now) = (lab.wall(), lab.now);
        let node = &mut lab.tabs[0].node;
        node.handle_timeout(now);
        node.handle_service_open(now);
        let welcome = Welcome {
            version,
            features: 0,
            issuers: BoundedVec::first_of([issuer().public_key()]),
            certificate: certificate(node.identity.public_key(), wall),
            now: wall,
            ice_servers: BoundedVec::new(),
            attests: false,
        };
        node.handle_service_message(&ServiceMessage::Welcome(Box::new(welcome)).to_bytes(), now);
        assert_eq!(node.service.is_ready(), admitted);
    }
}

#[test]
fn a_certificate_of_another_key_is_not_taken() {
    let mut lab = Lab::empty();
    lab.service = false;
    lab.add(config(0), Roots::Origin);
    lab.settle();
    lab.service = true;
    let welcome = Welcome {
        version: 1,
        features: 0,
        issuers: BoundedVec::first_of([issuer().public_key()]),
        certificate: certificate(Identity::from_seed([7; 32]).public_key(), lab.wall()),
        now: lab.wall(),
        ice_servers: BoundedVec::new(),
        attests: false,
    };
    let (node, now) = (&mut lab.tabs[0].node, lab.now + Duration::from_secs(20));
    node.handle_timeout(now);
    node.handle_service_open(now);
    node.handle_service_message(&ServiceMessage::Welcome(Box::new(welcome)).to_bytes(), now);
    assert!(!node.service.is_ready() && node.peer_id().is_none());
}

#[test]
fn a_node_that_has_nothing_to_do_sets_no_timer() {
    let now = Timestamp::from_millis(7);
    let mut node = Node::new(config(0), now);
    assert_eq!(node.poll_timeout(), None);
    node.handle_timeout(now);
    assert_eq!((node.poll_output(), node.poll_timeout()), (None, None));
    node.join(stream(Roots::Origin), now);
    assert_eq!(node.poll_output(), Some(Output::ConnectService), "a stream makes it connect at once");
}

#[test]
fn with_p2p_off_from_the_start_the_service_is_not_called_until_it_is_on() {
    let now = Timestamp::from_millis(7);
    let mut node = Node::new(Config { p2p: false, ..config(0) }, now);
    node.join(stream(Roots::Origin), now);
    assert_eq!((node.poll_output(), node.poll_timeout()), (None, None));
    node.set_p2p(true, now);
    assert_eq!(node.poll_output(), Some(Output::ConnectService));
}

#[test]
fn without_a_service_everything_comes_over_http_at_once() {
    let mut lab = Lab::empty();
    lab.add(Config { service: false, ..config(0) }, Roots::Origin);
    lab.fetch(0, 0, Duration::from_secs(20));
    lab.answer_sidecars(0, 0);
    assert_eq!(lab.tabs[0].asked.len(), 1);
    assert!(lab.tabs[0].told_service.is_empty());
}

#[test]
fn playback_comes_first() {
    let mut lab = Lab::empty();
    (0..2).for_each(|number| lab.add(Config { start: Start::Playback, ..config(number) }, Roots::Origin));
    lab.settle();
    lab.advance(Duration::from_secs(60));
    assert!(
        is_ready(&lab, 0) && lab.tabs[0].node.links().count() == 0,
        "no connection before the first frame"
    );
    for tab in 0..2 {
        lab.call(tab, &[], |node, now| node.handle_first_frame(now));
    }
    lab.settle();
    assert_eq!(lab.tabs[0].node.links().filter(|link| link.ready).count(), 1);
}

#[test]
fn a_first_segment_that_is_slow_or_fails_connects_before_the_first_frame() {
    for fails in [false, true] {
        let mut lab = Lab::empty();
        lab.add(Config { start: Start::Playback, ..config(0) }, Roots::Origin);
        lab.settle();
        let joined = |lab: &Lab| told(lab, 0, |told| matches!(told, ClientMessage::Join { .. }));
        lab.fetch(0, 0, Duration::ZERO);
        if fails {
            let asked = lab.tabs[0].asked.pop().unwrap();
            lab.call(0, &[], |node, now| node.handle_origin_failed(asked.request, now));
        }
        lab.advance(Duration::from_millis(799));
        assert_eq!(joined(&lab), 0);
        lab.advance(Duration::from_millis(1));
        assert_eq!(joined(&lab), 1, "fails: {fails}");
    }
}

#[test]
fn a_quick_first_segment_leaves_peers_to_the_first_frame() {
    let mut lab = Lab::empty();
    lab.add(Config { start: Start::Playback, ..config(0) }, Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    lab.advance(Duration::from_secs(10));
    assert_eq!(told(&lab, 0, |told| matches!(told, ClientMessage::Join { .. })), 0);
}

#[test]
fn a_first_segment_that_is_on_its_way_whole_makes_its_own_list() {
    let mut lab = Lab::empty();
    lab.add(Config { start: Start::Playback, ..config(0) }, Roots::Origin);
    lab.settle();
    lab.fetch(0, 0, Duration::ZERO);
    assert_eq!(lab.tabs[0].sidecars.len(), 0);
    let asked = lab.tabs[0].asked.pop().unwrap();
    lab.answer(0, asked, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn the_list_of_a_first_segment_is_asked_for_when_the_crowd_must_help() {
    let mut lab = Lab::empty();
    lab.add(Config { start: Start::Playback, ..config(0) }, Roots::Origin);
    lab.settle();
    lab.fetch(0, 0, Duration::ZERO);
    lab.advance(Duration::from_millis(800));
    assert_eq!(lab.tabs[0].sidecars.len(), 1);
}
