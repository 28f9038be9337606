//! Who gets what is on its way in a swarm that is larger than a neighbourhood.

use std::time::Duration;

use super::{
    super::{line::NEWCOMERS_FITNESS, *},
    lab::*,
};
use crate::{
    bounded::BoundedVec,
    id::RequestId,
    units::{GroupIndex, GroupRange},
    wire::{Held, LinkMessage, RejectReason, Request, ServiceMessage},
};

const FAR: Duration = Duration::from_secs(20);

fn range(start: u32, end: u32) -> GroupRange {
    GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap()
}

fn offered(start: u32, end: u32) -> Held {
    Held::Offered(BoundedVec::first_of([range(start, end)]))
}

/// So many tabs in a swarm of a hundred, or of themselves alone.
fn swarm(tabs: usize, large: bool) -> Lab {
    let mut lab = Lab::new(tabs, Roots::Origin);
    tell_size(&mut lab, large);
    lab
}

fn tell_size(lab: &mut Lab, large: bool) {
    lab.settle();
    let tabs = lab.tabs.len();
    let population = if large { 100 } else { tabs as u32 };
    for tab in 0..tabs {
        lab.tell(tab, &ServiceMessage::Population { stream: stream(Roots::Origin).id, population });
    }
}

/// Of them the first has asked the origin for all of a segment, and the others want it.
fn crowd(tabs: usize, large: bool) -> Lab {
    let mut lab = swarm(tabs, large);
    for tab in 0..tabs {
        lab.fetch(tab, 1, if tab == 0 { Duration::from_millis(500) } else { FAR });
        lab.answer_sidecars(tab, 1);
    }
    lab.advance(Duration::from_millis(10));
    assert_eq!(lab.tabs[0].asked.len(), 1);
    lab
}

/// Groups that a tab offered, and those it asked for.
fn said(lab: &Lab, tab: usize) -> (u32, u32) {
    let mut groups = (0, 0);
    let count = |ranges: &[GroupRange]| ranges.iter().map(|range| range.len()).sum::<u32>();
    for (_, said) in &lab.tabs[tab].said {
        match said {
            LinkMessage::Have(have) => {
                for entry in have.entries.iter() {
                    groups.0 += if let Held::Offered(ranges) = &entry.held { count(ranges) } else { 0 };
                }
            }
            LinkMessage::Request(request) => groups.1 += count(&request.groups),
            _ => {}
        }
    }
    groups
}

fn ask(id: u32, start: u32, end: u32) -> Vec<u8> {
    let groups = BoundedVec::first_of([range(start, end)]);
    LinkMessage::Request(Request { id: RequestId::new(id), content: content(1), groups }).to_bytes()
}

fn rejected(lab: &Lab, tab: usize) -> Vec<RejectReason> {
    let reason = |(_, said): &(LinkId, LinkMessage)| match said {
        LinkMessage::Reject(_, reason) => Some(*reason),
        _ => None,
    };
    lab.tabs[tab].said.iter().filter_map(reason).collect()
}

#[test]
fn what_is_on_its_way_is_offered_and_sent_on_the_moment_it_is_there() {
    let mut lab = crowd(3, true);
    let offers = said(&lab, 0).0;
    assert_eq!(offers, 4, "of an uplink that is not known");
    assert_eq!(said(&lab, 1).1 + said(&lab, 2).1, 4, "and asked for before anything is there");
    let asked = lab.tabs[0].asked.remove(0);
    lab.head(0, asked, 200);
    lab.bytes(0, asked, &segment(1)[..4 * 16_384]);
    let verified = |tab: usize| lab.tabs[tab].node.stats().verified_groups;
    assert!(verified(1) + verified(2) >= 4);
    assert_eq!(lab.bans(0).len() + lab.bans(1).len() + lab.bans(2).len(), 0);
}

#[test]
fn among_neighbours_nothing_is_offered() {
    let lab = crowd(3, false);
    assert_eq!([0, 1, 2].map(|tab| said(&lab, tab).0), [0; 3]);
}

#[test]
fn what_was_not_offered_is_refused_as_before() {
    let mut lab = crowd(2, true);
    lab.tabs[0].said.clear();
    lab.say(1, 0, &ask(1000, 5, 7));
    assert_eq!(rejected(&lab, 0), [RejectReason::NotHeld]);
}

#[test]
fn an_offer_is_good_once() {
    let mut lab = crowd(2, true);
    assert_eq!(said(&lab, 1).1, 4);
    lab.tabs[0].said.clear();
    lab.say(1, 0, &ask(1000, 0, 1));
    assert_eq!(rejected(&lab, 0), [RejectReason::NotHeld]);
}

#[test]
fn a_place_that_has_gone_to_others_is_sought_elsewhere() {
    let mut lab = swarm(3, true);
    lab.silent.extend([0, 2]);
    lab.fetch(1, 1, FAR);
    lab.answer_sidecars(1, 1);
    lab.claim(0, 1, 1, offered(0, 1));
    assert_eq!(said(&lab, 1).1, 1);
    lab.claim(2, 1, 1, offered(0, 1));
    assert_eq!(said(&lab, 1).1, 1, "it comes from the first");
    lab.say(0, 1, &LinkMessage::Reject(RequestId::new(0), RejectReason::Taken).to_bytes());
    assert_eq!(said(&lab, 1).1, 2, "the other one offered it too");
}

#[test]
fn who_offers_and_sends_nothing_is_not_waited_for() {
    let mut lab = swarm(3, true);
    lab.silent.insert(0);
    lab.fetch(1, 1, FAR);
    lab.answer_sidecars(1, 1);
    lab.claim(0, 1, 1, offered(0, 1));
    let link = lab.link(1, 0);
    let waits = |lab: &Lab| {
        lab.tabs[1].node.fetches.values().any(|fetch| fetch.asked.links(|_| true).contains(&link))
    };
    lab.advance(Duration::from_millis(1400));
    lab.claim(2, 1, 1, offered(0, 1));
    assert!(waits(&lab));
    assert_eq!(said(&lab, 1).1, 1);
    lab.advance(Duration::from_millis(200));
    assert!(!waits(&lab));
    assert_eq!(said(&lab, 1).1, 2, "another neighbour is asked");
}

#[test]
fn among_many_who_passes_nothing_on_is_not_counted_among_those_who_go_first() {
    for (large, later) in [(true, 48), (false, 0)] {
        let mut lab = swarm(3, large);
        lab.fetch(0, 1, FAR);
        let place = |lab: &Lab| {
            let node = &lab.tabs[0].node;
            let line = node.line(node.fetches.values().next().expect("it fetches"), lab.now);
            (0..8).map(|part| line.place(part)).map(|place| (place.before, place.unknown)).collect::<Vec<_>>()
        };
        let early = place(&lab);
        assert!(early.iter().any(|(before, _)| *before > 0));
        assert!(early.iter().all(|(_, unknown)| *unknown == if large { 97 } else { 0 }));
        lab.advance(Duration::from_secs(8));
        let before = |place: &(u32, u32)| if large { 0 } else { place.0 };
        assert_eq!(place(&lab), early.iter().map(|place| (before(place), later)).collect::<Vec<_>>());
    }
}

#[test]
fn among_many_who_has_just_come_to_those_who_were_there_goes_last() {
    let minute = Duration::from_secs(60);
    for (large, age, early, later) in
        [(true, minute, NEWCOMERS_FITNESS, 1.0), (true, Duration::ZERO, 1.0, 1.0), (false, minute, 1.0, 1.0)]
    {
        let mut lab = Lab::new(3, Roots::Origin);
        lab.age = age;
        tell_size(&mut lab, large);
        lab.fetch(0, 1, FAR);
        let fitness = |lab: &Lab| {
            let node = &lab.tabs[0].node;
            node.line(node.fetches.values().next().expect("it fetches"), lab.now).place(0).fitness
        };
        assert_eq!(fitness(&lab), early, "{large} {age:?}");
        lab.advance(Duration::from_secs(10));
        assert_eq!(fitness(&lab), later, "{large} {age:?}");
    }
}

#[test]
fn who_gives_a_fetch_up_takes_its_promises_back() {
    let mut lab = crowd(2, true);
    assert_eq!(said(&lab, 1).1, 4);
    let fetch = lab.tabs[0].node.waiters.first().map(|(fetch, _)| *fetch).expect("it waits");
    let waits = |lab: &Lab| {
        let link = lab.link(1, 0);
        lab.tabs[1].node.fetches.values().any(|fetch| fetch.asked.links(|_| true).contains(&link))
    };
    assert!(waits(&lab));
    lab.tabs[0].said.clear();
    lab.call(0, &[], |node, now| node.cancel(fetch, now));
    lab.settle();
    assert!(!rejected(&lab, 0).is_empty());
    assert!(!waits(&lab));
}
