use std::{ops::Range, time::Duration};

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    id::RequestId,
    units::{BytesPerSec, GroupIndex, GroupRange},
    wire::{HaveEntry, Held, LinkMessage, RejectReason, Request, frames},
};

const FAR: Duration = Duration::from_secs(20);

/// What a peer did.
#[derive(Debug, Default, PartialEq)]
struct Did {
    sent: usize,
    refused: Vec<u32>,
    called: Vec<LinkId>,
}

fn did(node: &mut Node) -> Did {
    let mut did = Did::default();
    while let Some(output) = node.poll_output() {
        match output {
            Output::SendGroups { .. } => did.sent += 1,
            Output::SendControl { link, payload } => {
                let frame = frames(&payload).next().unwrap().unwrap();
                match LinkMessage::decode(&frame).unwrap() {
                    Some(LinkMessage::Reject(_, RejectReason::Busy(serves))) => did.refused.push(serves),
                    Some(LinkMessage::Unchoke) => did.called.push(link),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    did
}

/// What tab 0, which holds segment 0, does with a request for these groups, its uplink taking nothing.
fn serve(lab: &mut Lab, from: usize, id: u32, groups: Range<u32>) -> Did {
    let range = GroupRange::new(GroupIndex::new(groups.start), GroupIndex::new(groups.end)).unwrap();
    let request =
        Request { id: RequestId::new(id), content: content(0), groups: BoundedVec::first_of([range]) };
    let (link, now) = (lab.link(0, from), lab.now);
    let node = &mut lab.tabs[0].node;
    node.handle_link_message(link, Channel::Control, &LinkMessage::Request(request).to_bytes(), now);
    did(node)
}

/// What tab 0 does when the bulk channel to a peer has drained.
fn drain(lab: &mut Lab, to: usize) -> Did {
    let (link, now) = (lab.link(0, to), lab.now);
    let node = &mut lab.tabs[0].node;
    node.handle_link_buffered(link, 0, now);
    did(node)
}

fn later(lab: &mut Lab, millis: u64) -> Did {
    lab.now = lab.now + Duration::from_millis(millis);
    let node = &mut lab.tabs[0].node;
    node.handle_timeout(lab.now);
    did(node)
}

#[test]
fn what_leaves_soon_is_served_and_the_rest_is_refused_at_once() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    let first = serve(&mut lab, 1, 0, 0..7);
    assert_eq!((first.sent, first.refused), (2, vec![4]), "a link holds one more than its mark, two wait");
    let second = serve(&mut lab, 2, 0, 0..2);
    assert_eq!((second.sent, second.refused), (0, vec![0]), "an uplink that moves nothing is full with four");
}

#[test]
fn while_there_is_time_for_all_everybody_is_served() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    for id in 0..4 {
        for from in 1..3 {
            assert_eq!(serve(&mut lab, from, id, 0..2), Did { sent: 2, ..Did::default() });
            drain(&mut lab, from);
        }
    }
}

#[test]
fn who_was_sent_away_is_called_when_there_is_time_and_nobody_comes_between() {
    let mut lab = Lab::connected(4);
    lab.hold(0, 0);
    serve(&mut lab, 1, 0, 0..4);
    assert_eq!(serve(&mut lab, 2, 0, 0..4).refused, [0]);
    let calls = drain(&mut lab, 1);
    assert_eq!((calls.sent, calls.called), (2, vec![lab.link(0, 2)]));
    assert_eq!(drain(&mut lab, 1).called, []);
    assert_eq!(serve(&mut lab, 2, 1, 0..4).sent, 2);
    assert_eq!(serve(&mut lab, 3, 0, 0..1).refused, [0], "the uplink is full again");
    assert_eq!(serve(&mut lab, 1, 1, 4..5).refused, [0], "and somebody waits");
}

#[test]
fn who_heard_the_news_when_it_was_called_is_not_told_again_with_those_who_were_not() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    // The uplink becomes known.
    serve(&mut lab, 1, 0, 0..2);
    let (link, now) = (lab.link(0, 1), lab.now);
    lab.tabs[0].node.handle_link_buffered(link, 2 * u64::from(crate::content::GROUP_LEN), now);
    lab.now = lab.now + Duration::from_millis(100);
    drain(&mut lab, 1);
    assert!(lab.tabs[0].node.uploads.calls());
    lab.tabs[0].said.clear();
    lab.hold(0, 1);
    lab.advance(Duration::from_secs(3));
    let entries = lab.tabs[0].said.iter().filter_map(|(link, said)| match said {
        LinkMessage::Have(have) => Some((*link, have.entries.to_vec())),
        _ => None,
    });
    let whole = HaveEntry { content: content(1), held: Held::All };
    let mut told: Vec<_> =
        entries.filter(|(_, entries)| entries.contains(&whole)).map(|(link, _)| link).collect();
    told.sort_unstable();
    assert_eq!(told, [lab.link(0, 1), lab.link(0, 2)]);
}

#[test]
fn a_peer_is_new_for_ten_seconds_from_its_first_certificate_on_and_not_from_a_renewed_one() {
    for (age, is_new) in [(0, true), (9, true), (10, false), (60, false)] {
        let mut lab = Lab::new(2, Roots::Origin);
        lab.age = Duration::from_secs(age);
        lab.settle();
        let merit = &lab.tabs[0].node.links[&lab.link(0, 1)].merit;
        assert_eq!(merit.is_new(lab.now), is_new, "{age} s after the first, with one issued just now");
    }
}

#[test]
fn who_has_just_come_is_served_while_others_wait_and_then_is_no_longer() {
    let mut lab = Lab::connected(4);
    lab.hold(0, 0);
    serve(&mut lab, 1, 0, 0..4);
    assert_eq!(serve(&mut lab, 2, 0, 0..4).refused, [0]);
    let link = lab.link(0, 3);
    let now = lab.now;
    let state = lab.tabs[0].node.links.get_mut(&link).unwrap();
    state.merit.note_age(Duration::from_secs(8), now);
    assert_eq!(serve(&mut lab, 3, 0, 0..5).refused, [4], "a longer line for who is new");
    later(&mut lab, 2000);
    assert_eq!(serve(&mut lab, 3, 1, 5..6).refused, [0], "it has been there for ten seconds");
}

#[test]
fn who_gives_nothing_is_called_when_an_uplink_too_small_for_the_others_is_idle() {
    let mut lab = Lab::connected(4);
    lab.hold(0, 0);
    later(&mut lab, 9000);
    let (giver, now) = (lab.link(0, 2), lab.now);
    let state = lab.tabs[0].node.links.get_mut(&giver).unwrap();
    state.merit.note_given(1000, now);
    serve(&mut lab, 1, 0, 0..4);
    assert_eq!(serve(&mut lab, 2, 0, 0..4).refused, [0], "one who gives is sent away");
    assert_eq!(drain(&mut lab, 1).called, [giver]);
    serve(&mut lab, 2, 1, 0..2);
    assert_eq!(serve(&mut lab, 3, 0, 0..4).refused, [0]);
    assert_eq!(drain(&mut lab, 1).called, [], "the uplink is not idle");
    drain(&mut lab, 2);
    assert_eq!(later(&mut lab, 100).called, [lab.link(0, 3)], "nothing is sent, and nobody else will ask");
}

#[test]
fn who_is_called_and_does_not_ask_makes_room_for_the_next_one() {
    let mut lab = Lab::connected(4);
    lab.hold(0, 0);
    serve(&mut lab, 1, 0, 0..4);
    serve(&mut lab, 2, 0, 0..4);
    later(&mut lab, 1);
    serve(&mut lab, 3, 0, 0..4);
    assert_eq!(drain(&mut lab, 1).called, [lab.link(0, 2)]);
    assert_eq!(later(&mut lab, 99).called, []);
    assert_eq!(later(&mut lab, 1).called, [lab.link(0, 3)]);
}

#[test]
fn who_waited_for_two_seconds_waits_no_more() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    serve(&mut lab, 1, 0, 0..4);
    serve(&mut lab, 2, 0, 0..4);
    later(&mut lab, 2000);
    assert_eq!(drain(&mut lab, 1).called, []);
}

#[test]
fn a_link_that_takes_nothing_does_not_keep_others_from_being_served() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    assert_eq!(serve(&mut lab, 1, 0, 0..4).sent, 2);
    assert_eq!(serve(&mut lab, 2, 0, 0..2).refused, [0]);
    let due = lab.tabs[0].node.poll_timeout().expect("something waits");
    assert!(due <= lab.now + Duration::from_millis(500));
    assert_eq!(later(&mut lab, 500).called, [lab.link(0, 2)]);
    assert_eq!(serve(&mut lab, 2, 1, 0..2).sent, 2);
}

/// Groups that tab 1 asked for.
fn asked(lab: &Lab) -> u32 {
    let requests = lab.tabs[1].said.iter().filter_map(|(_, message)| match message {
        LinkMessage::Request(request) => Some(request.groups.iter().map(|range| range.len()).sum::<u32>()),
        _ => None,
    });
    requests.sum()
}

/// Tab 1 asked tab 0, which says nothing, for four groups of a segment.
fn asking() -> Lab {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.silent.insert(0);
    lab.fetch(1, 0, FAR);
    lab.advance(Duration::from_millis(500));
    lab.answer_sidecars(1, 0);
    assert_eq!(asked(&lab), 4);
    lab
}

#[test]
fn a_group_is_given_once_however_often_one_request_names_it() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let range = GroupRange::new(GroupIndex::new(0), GroupIndex::new(2)).unwrap();
    let groups = BoundedVec::first_of(std::iter::repeat_n(range, 60));
    let request = LinkMessage::Request(Request { id: RequestId::new(0), content: content(0), groups });
    let (link, now) = (lab.link(0, 1), lab.now);
    lab.tabs[0].node.handle_link_message(link, Channel::Control, &request.to_bytes(), now);
    let first = did(&mut lab.tabs[0].node);
    assert_eq!((first.sent + drain(&mut lab, 1).sent, first.refused), (2, vec![]));
    assert_eq!(drain(&mut lab, 1).sent, 0);
}

#[test]
fn a_refusal_of_what_nobody_asked_for_is_no_sign_that_uplinks_are_busy() {
    let mut lab = Lab::connected(2);
    reject(&mut lab, RejectReason::Busy(0));
    assert_eq!(lab.tabs[1].node.busy, None);
    let mut lab = asking();
    reject(&mut lab, RejectReason::Busy(0));
    assert!(lab.tabs[1].node.busy.is_some());
}

fn reject(lab: &mut Lab, reason: RejectReason) {
    for id in 0..10 {
        lab.say(0, 1, &LinkMessage::Reject(RequestId::new(id), reason).to_bytes());
    }
}

#[test]
fn a_neighbour_that_has_no_time_is_asked_again_after_two_seconds() {
    let mut lab = asking();
    reject(&mut lab, RejectReason::Busy(0));
    lab.advance(Duration::from_millis(1999));
    assert_eq!(asked(&lab), 4);
    lab.advance(Duration::from_millis(1));
    assert_eq!(asked(&lab), 8);
}

#[test]
fn a_neighbour_that_has_no_time_is_asked_again_when_it_calls() {
    let mut lab = asking();
    reject(&mut lab, RejectReason::Busy(0));
    lab.say(0, 1, &LinkMessage::Unchoke.to_bytes());
    assert_eq!(asked(&lab), 8);
}

#[test]
fn who_holds_nothing_after_all_is_not_asked_again() {
    let mut lab = asking();
    reject(&mut lab, RejectReason::NotHeld);
    lab.say(0, 1, &LinkMessage::Unchoke.to_bytes());
    lab.advance(Duration::from_millis(900));
    assert_eq!(asked(&lab), 4);
}

#[test]
fn what_is_given_keeps_to_the_limit_that_the_page_sets() {
    const LIMIT: u64 = 100_000;
    let mut lab = Lab::empty();
    lab.add(Config { upload_limit: Some(BytesPerSec::new(LIMIT)), ..config(0) }, Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    for tick in 0..1200 {
        serve(&mut lab, 1, tick, 0..4);
        drain(&mut lab, 1);
        later(&mut lab, 50);
    }
    let sent = lab.tabs[0].node.stats().upload_bytes as f64 / (60 * LIMIT) as f64;
    assert!((0.95..1.05).contains(&sent), "{sent}");
}

fn limit(lab: &mut Lab, limit: Option<u64>) {
    lab.call(0, &[], |node, now| node.set_upload_limit(limit.map(BytesPerSec::new), now));
    lab.settle();
}

fn given(lab: &Lab) -> u64 {
    lab.tabs[0].node.stats().upload_bytes
}

#[test]
fn who_stops_giving_takes_its_word_back_and_refuses_what_waits() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    serve(&mut lab, 1, 0, 0..4);
    serve(&mut lab, 2, 0, 0..1);
    let before = given(&lab);
    lab.tabs[0].said.clear();
    limit(&mut lab, Some(0));
    let said = |message: LinkMessage| lab.tabs[0].said.iter().filter(|(_, said)| *said == message).count();
    assert_eq!(said(LinkMessage::Lost(BoundedVec::first_of([content(0)]))), 2, "both neighbours hear of it");
    assert_eq!(said(LinkMessage::Reject(RequestId::new(0), RejectReason::NotHeld)), 1);
    assert_eq!(drain(&mut lab, 1), Did::default(), "and nobody is called");
    assert_eq!(later(&mut lab, 2000), Did::default());
    assert_eq!(given(&lab), before);
    let (link, node) = (lab.link(1, 0), &lab.tabs[1].node);
    assert!(node.links[&link].claims.on(&content(0)).is_none());
}

#[test]
fn who_gives_again_is_asked_again() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    limit(&mut lab, Some(0));
    lab.hold(0, 1);
    limit(&mut lab, Some(100_000));
    lab.fetch(1, 0, FAR);
    lab.fetch(1, 1, FAR);
    lab.advance(Duration::from_secs(3));
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, 2 * LEN);
    assert_eq!(given(&lab), 2 * LEN);
}

#[test]
fn a_fetch_whose_only_holder_stops_giving_is_finished_by_the_origin() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    limit(&mut lab, Some(10_000));
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    assert!(lab.tabs[1].asked.is_empty(), "the neighbour has it all");
    limit(&mut lab, Some(0));
    for _ in 0..2 {
        lab.advance(Duration::from_secs(1));
        while let Some(asked) = lab.tabs[1].asked.pop() {
            let range = asked.range.expect("some of it came");
            lab.answer(1, asked, 206, &segment(0)[range.start() as usize..range.end() as usize]);
        }
    }
    // Long before the deadline.
    assert_eq!(lab.tabs[1].delivered.last().unwrap().1, segment(0));
}

#[test]
fn a_limit_that_changes_holds_from_then_on() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    // Nobody receives what is sent here: nobody asked for it.
    let set = |lab: &mut Lab, limit: Option<u64>| {
        lab.tabs[0].node.set_upload_limit(limit.map(BytesPerSec::new), lab.now);
        did(&mut lab.tabs[0].node);
    };
    let mut tick = 0;
    let mut ten_seconds = |lab: &mut Lab| {
        let before = given(lab);
        for _ in 0..200 {
            tick += 1;
            serve(lab, 1, tick, 0..4);
            drain(lab, 1);
            later(lab, 50);
        }
        (given(lab) - before) / 10
    };
    set(&mut lab, Some(100_000));
    let low = ten_seconds(&mut lab);
    set(&mut lab, Some(200_000));
    let high = ten_seconds(&mut lab);
    set(&mut lab, None);
    let free = ten_seconds(&mut lab);
    assert!((95_000..105_000).contains(&low) && (190_000..210_000).contains(&high), "{low} {high}");
    assert!(free > 2 * high, "{free}");
}

#[test]
fn who_gives_nothing_gives_no_lists_either() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let answer = |lab: &mut Lab| {
        lab.tabs[0].said.clear();
        lab.say(1, 0, &LinkMessage::GetList(content(0)).to_bytes());
        lab.tabs[0].said.pop().unwrap().1
    };
    assert!(matches!(answer(&mut lab), LinkMessage::ListPart(_)));
    limit(&mut lab, Some(0));
    assert_eq!(answer(&mut lab), LinkMessage::NoList(content(0)));
}

#[test]
fn who_gives_nothing_announces_nothing_and_still_takes() {
    let mut lab = Lab::empty();
    lab.add(Config { upload_limit: Some(BytesPerSec::new(0)), ..config(0) }, Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    lab.hold(1, 1);
    let haves = lab.tabs[0].said.iter().filter(|(_, said)| matches!(said, LinkMessage::Have(_)));
    assert_eq!(haves.count(), 0);
    assert_eq!(serve(&mut lab, 1, 0, 0..1), Did::default(), "it says that it holds nothing");
    lab.fetch(0, 1, FAR);
    assert_eq!(lab.tabs[0].delivered.last().unwrap().1, segment(1));
    assert_eq!((lab.tabs[0].node.stats().peer_bytes, lab.tabs[0].node.stats().upload_bytes), (LEN, 0));
}
