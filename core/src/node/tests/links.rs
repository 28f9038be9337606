use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    guard::Violation,
    identity::{Fingerprint, LinkHello, VersionRange},
    wire::{ByeReason, LinkMessage, ServiceMessage},
};

/// Two tabs with a link of which tab 0 heard nothing yet; with the hello that tab 1 said.
fn ungreeted() -> (Lab, LinkHello) {
    let mut lab = Lab::new(2, Roots::Origin);
    lab.silent.insert(1);
    lab.settle();
    let hello = lab.tabs[1].said.iter().find_map(|(_, message)| match message {
        LinkMessage::Hello(hello) => Some((**hello).clone()),
        _ => None,
    });
    (lab, hello.expect("the channels are open"))
}

fn hello(hello: LinkHello) -> Vec<u8> {
    LinkMessage::Hello(Box::new(hello)).to_bytes()
}

fn said_bye(lab: &Lab, tab: usize) -> Option<ByeReason> {
    lab.tabs[tab].said.iter().find_map(|(_, message)| match message {
        LinkMessage::Bye(reason) => Some(*reason),
        _ => None,
    })
}

fn ready(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].node.partner_links().count()
}

#[test]
fn a_link_is_ready_after_both_hellos() {
    let (mut lab, greeting) = ungreeted();
    assert_eq!(ready(&lab, 0), 0);
    lab.say(1, 0, &hello(greeting));
    assert_eq!(ready(&lab, 0), 1);
}

#[test]
fn a_hello_with_another_fingerprint_than_the_introduced_ones_is_a_violation() {
    for own in [true, false] {
        let (mut lab, mut greeting) = ungreeted();
        let changed = if own { &mut greeting.own } else { &mut greeting.peer };
        *changed = Fingerprint::from_bytes([99; 32]);
        lab.say(1, 0, &hello(greeting));
        assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::BadHello)]);
        assert_eq!(lab.tabs[0].node.links().count(), 0);
    }
}

#[test]
fn without_a_common_version_the_link_closes_with_that_reason_and_no_ban() {
    let (mut lab, mut greeting) = ungreeted();
    greeting.versions = VersionRange::new(2, 9).unwrap();
    lab.say(1, 0, &hello(greeting));
    assert_eq!(said_bye(&lab, 0), Some(ByeReason::NoCommonVersion));
    assert_eq!((lab.bans(0), lab.tabs[0].node.links().count()), (Vec::new(), 0));
}

#[test]
fn nothing_is_read_before_the_hello() {
    let (mut lab, _) = ungreeted();
    lab.say(1, 0, &LinkMessage::Ping(1).to_bytes());
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::BadHello)]);
    let (mut lab, _) = ungreeted();
    lab.send_bulk(1, 0, b"anything");
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::BadHello)]);
}

#[test]
fn a_link_that_never_greets_is_given_up() {
    let (mut lab, _) = ungreeted();
    let link = lab.link(0, 1);
    let is_there = |lab: &Lab| lab.tabs[0].node.links.contains_key(&link);
    lab.advance(Duration::from_millis(9_900));
    assert!(is_there(&lab));
    lab.advance(Duration::from_millis(100));
    assert!(!is_there(&lab) && lab.bans(0).is_empty());
}

#[test]
fn peers_that_answer_stay_connected() {
    let mut lab = Lab::connected(2);
    lab.advance(Duration::from_secs(300));
    assert_eq!((ready(&lab, 0), ready(&lab, 1)), (1, 1));
}

#[test]
fn a_peer_is_dead_15_s_after_a_ping_it_did_not_answer() {
    let mut lab = Lab::connected(2);
    lab.silent.insert(1);
    lab.advance(Duration::from_millis(24_900));
    assert_eq!(ready(&lab, 0), 1);
    lab.advance(Duration::from_millis(200));
    assert_eq!((ready(&lab, 0), lab.bans(0)), (0, Vec::new()));
}

#[test]
fn timers_that_did_not_run_say_nothing_about_peers() {
    for first_is_a_timer in [true, false] {
        let mut lab = Lab::connected(3);
        let link = lab.link(0, 1);
        lab.silent.insert(1);
        lab.advance(Duration::from_secs(15));
        // The tab was suspended with a ping under way.
        lab.now = lab.now + Duration::from_secs(60);
        lab.silent.clear();
        if first_is_a_timer {
            lab.call(0, &[], |node, now| node.handle_timeout(now));
            lab.settle();
        } else {
            lab.say(2, 0, &LinkMessage::Ping(1).to_bytes());
        }
        let is_there = |lab: &Lab| lab.tabs[0].node.links.contains_key(&link);
        assert!(is_there(&lab), "timer first: {first_is_a_timer}");
        lab.silent.insert(1);
        lab.advance(Duration::from_secs(26));
        assert!(!is_there(&lab), "but silence afterwards does");
    }
}

#[test]
fn a_goodbye_ends_the_link_at_both_ends() {
    let mut lab = Lab::connected(2);
    lab.call(0, &[], |node, now| node.shut_down(now));
    lab.settle();
    assert_eq!(said_bye(&lab, 0), Some(ByeReason::Leaving));
    assert_eq!((lab.tabs[0].node.links().count(), lab.tabs[1].node.links().count()), (0, 0));
    assert_eq!(lab.bans(1), []);
}

#[test]
fn who_leaves_its_last_stream_keeps_nobody_who_watches_that() {
    let mut lab = Lab::connected(3);
    let id = stream(Roots::Origin).id;
    lab.call(0, &[], |node, now| node.leave(id, now));
    lab.settle();
    assert_eq!(said_bye(&lab, 0), Some(ByeReason::Leaving));
    assert_eq!((lab.tabs[0].node.links().count(), ready(&lab, 1)), (0, 1));
    // Another stream of the page keeps them.
    let mut lab = Lab::connected(3);
    let other = Stream { id: StreamId::new(None, "another"), ..stream(Roots::Origin) };
    lab.call(0, &[], |node, now| node.join(other, now));
    lab.call(0, &[], |node, now| node.leave(id, now));
    lab.settle();
    assert_eq!(ready(&lab, 0), 2);
}

#[test]
fn the_driver_may_close_a_link_for_misbehaviour() {
    let mut lab = Lab::connected(2);
    let link = lab.link(0, 1);
    lab.call(0, &[], |node, now| node.handle_link_closed(link, LinkFailure::Misbehaviour, now));
    assert_eq!(lab.tabs[0].node.links().count(), 0);
    lab.settle();
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::Transport)]);
}

#[test]
fn dialling_pauses_where_no_connection_can_be_made() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let peers = |number: u8| ServiceMessage::Peers {
        stream: stream(Roots::Origin).id,
        population: 9,
        peers: BoundedVec::first_of([PeerId::from_bytes([number; 32])]),
    };
    let dials = |lab: &Lab| lab.tabs[0].node.links().count();
    lab.tell(0, &peers(1));
    let link = lab.tabs[0].node.links().next().unwrap().link;
    lab.call(0, &[], |node, now| node.handle_link_closed(link, LinkFailure::Exhausted, now));
    lab.tell(0, &peers(2));
    assert_eq!(dials(&lab), 0);
    lab.now = lab.now + Duration::from_secs(60);
    lab.tell(0, &peers(3));
    assert_eq!(dials(&lab), 1);
}

#[test]
fn among_many_a_tab_calls_more_peers_at_a_time() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let others = (0..10).map(|number| PeerId::from_bytes([number + 1; 32]));
    let peers = BoundedVec::first_of(others);
    lab.tell(0, &ServiceMessage::Peers { stream: stream(Roots::Origin).id, population: 14, peers });
    for expected in [1, 2, 3, 4, 5, 6, 7, 8, 8] {
        assert_eq!(lab.tabs[0].node.links().count(), expected);
        lab.advance(Duration::from_millis(70));
    }
}

#[test]
fn a_tab_calls_a_few_peers_at_a_time_and_never_itself() {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let me = lab.peer_id(0);
    let others = (0..7).map(|number| PeerId::from_bytes([number + 1; 32]));
    let peers = BoundedVec::first_of(std::iter::once(me).chain(others));
    lab.tell(0, &ServiceMessage::Peers { stream: stream(Roots::Origin).id, population: 13, peers });
    // None of them answers, so the next is called a moment later, while there are not too many.
    for expected in [1, 2, 3, 3, 3] {
        let links: Vec<_> = lab.tabs[0].node.links().collect();
        assert!(links.len() == expected && links.iter().all(|link| link.peer != me), "{links:?}");
        lab.advance(Duration::from_millis(250));
    }
    // Who can't be reached makes room for the next at once.
    let mut called = 0;
    loop {
        let Some(info) = lab.tabs[0].node.links().next() else { break };
        lab.call(0, &[], |node, now| node.handle_link_closed(info.link, LinkFailure::Closed, now));
        called += 1;
    }
    assert_eq!(called, 7);
}

#[test]
fn the_next_peer_is_called_once_the_one_before_is_there() {
    let lab = Lab::connected(4);
    let took = lab.now.saturating_since(Lab::empty().now);
    assert_eq!(took, Duration::ZERO, "nobody waited for a timer");
}

#[test]
fn a_tab_calls_no_more_peers_than_it_wants() {
    let mut lab = Lab::new(12, Roots::Origin);
    lab.settle();
    let last = lab.tabs.last().unwrap();
    assert_eq!(last.node.partner_links().count(), 8);
}

#[test]
fn what_goes_to_one_peer_at_a_time_is_one_message_up_to_a_limit() {
    let mut lab = Lab::connected(2);
    let node = &mut lab.tabs[0].node;
    for (link, len) in [(1, 10), (2, 10), (1, 20), (1, MAX_JOINED)] {
        node.output(Output::SendControl { link: LinkId::new(link), payload: vec![0; len] });
    }
    let sent: Vec<_> = std::iter::from_fn(|| node.poll_output())
        .map(|output| match output {
            Output::SendControl { link, payload } => (link.value(), payload.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sent, [(1, 30), (2, 10), (1, MAX_JOINED)]);
}
