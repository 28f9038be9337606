use std::{collections::BTreeMap, time::Duration};

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    content::GROUP_LEN,
    units::{ByteRange, GroupIndex, GroupRange},
    wire::{Have, HaveEntry, Held, LinkMessage, Request, ServiceMessage, data_header},
};

const FAR: Duration = Duration::from_secs(20);
const GROUP: u64 = GROUP_LEN as u64;

/// How often each group was asked for, and of which links.
fn requests(lab: &Lab, tab: usize) -> BTreeMap<u32, Vec<LinkId>> {
    let mut asked: BTreeMap<u32, Vec<LinkId>> = BTreeMap::new();
    for (link, message) in &lab.tabs[tab].said {
        if let LinkMessage::Request(Request { groups, .. }) = message {
            for group in groups.iter().flat_map(|range| range.iter()) {
                asked.entry(group.value()).or_default().push(*link);
            }
        }
    }
    asked
}

fn range(groups: std::ops::Range<u32>) -> GroupRange {
    GroupRange::new(GroupIndex::new(groups.start), GroupIndex::new(groups.end)).unwrap()
}

fn groups_from_peers(lab: &Lab, tab: usize) -> usize {
    let verified = |event: &&Event| matches!(event, Event::GroupsVerified { peer: Some(_), .. });
    lab.tabs[tab].events.iter().filter(verified).count()
}

#[test]
fn a_segment_comes_from_a_neighbour_that_holds_it() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let fetch = lab.fetch(1, 0, FAR);
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
    assert_eq!((&lab.tabs[1].asked, &lab.tabs[1].sidecars), (&Vec::new(), &Vec::new()));
    let stats = lab.tabs[1].node.stats();
    assert_eq!((stats.peer_bytes, stats.origin_bytes, stats.segments), (LEN, 0, 1));
    assert_eq!(lab.tabs[0].node.stats().upload_bytes, LEN);
}

#[test]
fn several_holders_are_asked_for_parts_of_one_segment_each_group_once() {
    let mut lab = Lab::connected(4);
    for tab in 0..3 {
        // One after the other: the later ones have it from the first.
        match tab {
            0 => lab.hold(0, 0),
            _ => {
                lab.fetch(tab, 0, FAR);
            }
        }
        lab.advance(Duration::from_millis(600));
    }
    lab.fetch(3, 0, FAR);
    assert_eq!(lab.tabs[3].delivered[0].1, segment(0));
    let requests = requests(&lab, 3);
    assert_eq!(requests.len(), GROUPS as usize);
    assert!(requests.values().all(|links| links.len() == 1));
    let links: std::collections::BTreeSet<_> = requests.values().flatten().collect();
    assert!(links.len() > 1, "all from one of three");
}

#[test]
fn a_group_is_passed_on_before_the_segment_is_whole() {
    let mut lab = Lab::connected(3);
    lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    lab.advance(Duration::from_millis(1));
    let asked = lab.tabs[0].asked.pop().unwrap();
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    lab.fetch(2, 0, FAR);
    lab.answer_sidecars(2, 0);
    lab.head(0, asked, 200);
    lab.bytes(0, asked, &segment(0)[..3 * GROUP as usize]);
    lab.advance(Duration::from_millis(100));
    assert!(lab.tabs[0].delivered.is_empty(), "the origin has not sent everything yet");
    assert_eq!((groups_from_peers(&lab, 1), groups_from_peers(&lab, 2)), (3, 3));
    lab.bytes(0, asked, &segment(0)[3 * GROUP as usize..]);
    lab.end(0, asked);
    lab.advance(Duration::from_millis(100));
    for tab in 0..3 {
        assert_eq!(lab.tabs[tab].delivered[0].1, segment(0), "tab {tab}");
    }
    assert!(lab.tabs[1].asked.is_empty() && lab.tabs[2].asked.is_empty(), "one copy from the origin for all");
}

/// Whether a peer says that it holds some of a segment.
fn tells_groups(said: &LinkMessage) -> bool {
    let LinkMessage::Have(have) = said else { return false };
    have.entries.iter().any(|entry| matches!(entry.held, Held::Groups(_)))
}

#[test]
fn groups_from_a_neighbour_of_what_has_time_are_announced_together_unless_there_are_more_than_neighbours() {
    let mut times = Vec::new();
    for viewers in [100, 3] {
        let size = ServiceMessage::Population { stream: stream(Roots::Origin).id, population: viewers };
        let mut lab = Lab::connected(3);
        lab.claim(0, 1, 0, Held::All);
        lab.silent.insert(0);
        lab.fetch(1, 0, Duration::from_secs(5));
        lab.advance(Duration::from_millis(400));
        lab.answer_sidecars(1, 0);
        let request = lab.tabs[1].said.iter().find_map(|(_, said)| match said {
            LinkMessage::Request(request) if request.groups[0].len() >= 3 => Some(request.clone()),
            _ => None,
        });
        let request = request.expect("the neighbour is asked for several");
        lab.tell(1, &size);
        lab.tabs[1].said.clear();
        for group in request.groups[0].iter().take(3) {
            let start = group.value() as usize * GROUP as usize;
            let bytes = &segment(0)[start..(start + GROUP as usize).min(LEN as usize)];
            lab.send_bulk(0, 1, &[&data_header(request.id, group, bytes.len()), bytes].concat());
            lab.advance(Duration::from_millis(30));
        }
        lab.advance(Duration::from_millis(450));
        let to = lab.link(1, 2);
        let is_news = |(link, said): &&(LinkId, LinkMessage)| *link == to && tells_groups(said);
        times.push(lab.tabs[1].said.iter().filter(is_news).count());
    }
    assert_eq!(times, [3, 1]);
}

#[test]
fn groups_from_the_origin_of_what_has_time_are_announced_together_unless_there_are_more_than_neighbours() {
    let mut times = Vec::new();
    for viewers in [100, 2] {
        let size = ServiceMessage::Population { stream: stream(Roots::Origin).id, population: viewers };
        let mut lab = Lab::connected(2);
        lab.fetch(0, 0, Duration::from_secs(5));
        lab.answer_sidecars(0, 0);
        lab.advance(Duration::from_millis(400));
        let asked = lab.tabs[0].asked.pop().expect("nobody holds it");
        lab.tell(0, &size);
        lab.head(0, asked, 200);
        lab.tabs[0].said.clear();
        for group in segment(0)[..3 * GROUP as usize].chunks(GROUP as usize) {
            lab.bytes(0, asked, group);
            lab.advance(Duration::from_millis(30));
        }
        lab.advance(Duration::from_millis(450));
        let is_news = |(_, said): &&(LinkId, LinkMessage)| tells_groups(said);
        times.push(lab.tabs[0].said.iter().filter(is_news).count());
    }
    assert_eq!(times, [3, 1]);
}

#[test]
fn who_has_room_again_is_asked_for_another_segment_at_once() {
    let mut lab = Lab::connected(2);
    lab.claim(0, 1, 1, Held::Groups(BoundedVec::first_of([range(0..4)])));
    lab.claim(0, 1, 0, Held::All);
    lab.silent.insert(0);
    for number in [1, 0] {
        lab.fetch(1, number, FAR);
        lab.advance(Duration::from_millis(400));
        lab.answer_sidecars(1, number);
    }
    let asked = |lab: &Lab| -> Vec<Request> {
        let requests = lab.tabs[1].said.iter().filter_map(|(_, said)| match said {
            LinkMessage::Request(request) => Some(request.clone()),
            _ => None,
        });
        requests.collect()
    };
    let before = asked(&lab);
    let groups: Vec<_> =
        before.iter().flat_map(|request| request.groups.iter()).map(|range| range.len()).collect();
    assert_eq!((groups.iter().sum::<u32>(), before[0].content), (4, content(1)), "{before:?}");
    for request in before {
        for group in request.groups.iter().flat_map(|range| range.iter()).take(2) {
            let start = group.value() as usize * GROUP as usize;
            let bytes = &segment(1)[start..start + GROUP as usize];
            lab.send_bulk(0, 1, &[&data_header(request.id, group, bytes.len()), bytes].concat());
        }
    }
    // No time has passed, and the first segment still lacks groups.
    assert!(asked(&lab).iter().any(|request| request.content == content(0)));
}

#[test]
fn what_a_late_holder_does_not_bring_another_one_is_asked_for() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    lab.fetch(1, 0, FAR);
    lab.advance(Duration::from_millis(100));
    lab.silent.insert(1);
    lab.fetch(2, 0, FAR);
    lab.advance(Duration::from_millis(1500));
    assert_eq!(lab.tabs[2].delivered[0].1, segment(0));
    assert!(lab.tabs[2].asked.is_empty());
}

#[test]
fn the_origin_is_asked_in_time_and_for_what_is_missing_only() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let mut sent = 0;
    lab.tamper = Some(Box::new(move |_, message| {
        sent += 1;
        // From the fifth on they get lost: a type that nobody knows.
        if sent > 4 {
            message[0] = 250;
        }
    }));
    let fetch = lab.fetch(1, 0, Duration::from_secs(5));
    assert_eq!(groups_from_peers(&lab, 1), 4);
    lab.advance(Duration::from_millis(4900));
    let asked = *lab.tabs[1].asked.first().expect("before the deadline");
    let range = asked.range.expect("a part");
    lab.answer(1, asked, 206, &segment(0)[range.start() as usize..range.end() as usize]);
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
    let stats = lab.tabs[1].node.stats();
    assert_eq!(stats.peer_bytes + stats.origin_bytes, LEN);
    assert!(stats.origin_bytes <= 3 * GROUP);
}

#[test]
fn with_p2p_switched_off_a_running_fetch_is_finished_over_http() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.silent.insert(0);
    lab.fetch(1, 0, FAR);
    assert!(lab.tabs[1].asked.is_empty());
    lab.call(1, &[], |node, now| node.set_p2p(false, now));
    lab.settle();
    let asked = lab.tabs[1].asked.pop().expect("at once");
    assert_eq!(lab.tabs[1].node.links().count(), 0);
    lab.answer(1, asked, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered[0].1, segment(0));
}

#[test]
fn held_segments_are_delivered_again_without_asking_anybody() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.tabs[0].said.clear();
    lab.fetch(0, 0, FAR);
    assert_eq!(lab.tabs[0].delivered.len(), 2);
    assert_eq!((&lab.tabs[0].asked, requests(&lab, 0).len()), (&Vec::new(), 0));
}

#[test]
fn a_new_neighbour_is_told_everything_that_is_held() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.hold(0, 1);
    lab.tabs[0].said.clear();
    lab.add(config(2), Roots::Origin);
    lab.settle();
    let link = lab.link(0, 2);
    let told = lab.tabs[0].said.iter().find_map(|(to, message)| match message {
        LinkMessage::Have(Have { entries, .. }) if *to == link => Some(entries.clone()),
        _ => None,
    });
    let told = told.expect("right after the hello");
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|entry| entry.held == Held::All));
}

#[test]
fn the_store_keeps_to_its_limit_and_neighbours_hear_what_is_gone() {
    let mut lab = Lab::empty();
    lab.add(Config { cache_limit: 2 * LEN, ..config(0) }, Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    for number in 0..3 {
        lab.hold(0, number);
        assert!(lab.tabs[0].node.stored_bytes() <= 2 * LEN);
    }
    assert!(
        lab.tabs[0]
            .said
            .iter()
            .any(|(_, said)| matches!(said, LinkMessage::Lost(gone) if gone[..] == [content(0)]))
    );
    // The neighbour does not ask for it there any more.
    lab.fetch(1, 0, Duration::from_secs(3));
    lab.answer_sidecars(1, 0);
    assert!(requests(&lab, 1).is_empty());
    lab.advance(Duration::from_millis(400));
    assert_eq!(lab.tabs[1].asked.len(), 1);
}

#[test]
fn a_cancelled_fetch_asks_nobody_any_more_and_its_groups_stay() {
    let mut lab = Lab::connected(2);
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    lab.advance(Duration::from_millis(1));
    let asked = lab.tabs[0].asked[0];
    lab.head(0, asked, 200);
    lab.bytes(0, asked, &segment(0)[..2 * GROUP as usize]);
    lab.call(0, &[], |node, now| node.cancel(fetch, now));
    lab.settle();
    assert!(lab.tabs[0].asked.is_empty(), "the request was given up");
    lab.advance(FAR);
    assert_eq!((&lab.tabs[0].delivered, &lab.tabs[0].failed), (&Vec::new(), &Vec::new()));
    lab.fetch(0, 0, Duration::ZERO);
    lab.advance(Duration::from_secs(1));
    assert_eq!(lab.tabs[0].asked[0].range, ByteRange::new(2 * GROUP, LEN));
}

#[test]
fn a_fetch_that_ends_before_its_first_group_leaves_nothing_and_takes_its_word_back() {
    for has_list in [true, false] {
        let mut lab = Lab::connected(2);
        let fetch = lab.fetch(0, 0, Duration::ZERO);
        if has_list {
            lab.answer_sidecars(0, 0);
        }
        lab.advance(Duration::from_millis(1));
        assert_eq!(lab.tabs[0].asked.len(), 1);
        lab.call(0, &[], |node, now| node.cancel(fetch, now));
        lab.settle();
        assert_eq!(lab.tabs[0].node.stored_bytes(), 0);
        let last = lab.tabs[0].said.last().map(|(_, said)| said.clone());
        assert_eq!(last, Some(LinkMessage::Lost(BoundedVec::first_of([content(0)]))), "list: {has_list}");
    }
}

#[test]
fn fetches_of_one_segment_share_its_transfer_up_to_a_limit() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.silent.insert(0);
    let fetches: Vec<_> = (0..17).map(|_| lab.fetch(1, 0, FAR)).collect();
    assert_eq!(lab.tabs[1].failed, [(fetches[16], FetchError::Cancelled)]);
    lab.advance(Duration::from_millis(500));
    lab.answer_sidecars(1, 0);
    let asked = requests(&lab, 1);
    assert_eq!((asked.len(), asked.values().flatten().count()), (4, 4), "what may be asked at first, once");
    lab.advance(FAR);
    let [asked] = lab.tabs[1].asked[..] else { panic!("one request to the origin") };
    lab.answer(1, asked, 200, &segment(0));
    let delivered: Vec<_> = lab.tabs[1].delivered.iter().map(|(fetch, ..)| *fetch).collect();
    assert_eq!(delivered, fetches[..16]);
}

#[test]
fn what_is_needed_first_is_asked_of_the_peers_first() {
    for (near, far) in [(0, 1), (1, 0)] {
        let mut lab = Lab::connected(2);
        lab.fetch(1, far, FAR);
        lab.answer_sidecars(1, far);
        lab.fetch(1, near, Duration::from_secs(3));
        lab.answer_sidecars(1, near);
        let entries = [near, far].map(|number| HaveEntry { content: content(number), held: Held::All });
        let have = Have { stream: stream(Roots::Origin).id, entries: BoundedVec::first_of(entries) };
        lab.say(0, 1, &LinkMessage::Have(have).to_bytes());
        let first = lab.tabs[1].said.iter().find_map(|(_, message)| match message {
            LinkMessage::Request(request) => Some(request.content),
            _ => None,
        });
        assert_eq!(first, Some(content(near)));
    }
}

#[test]
fn neighbours_ask_for_the_groups_of_a_segment_in_an_order_of_their_own() {
    let mut lab = Lab::connected(5);
    lab.hold(0, 0);
    lab.silent.insert(0);
    let first = |tab: usize| {
        lab.fetch(tab, 0, FAR);
        lab.advance(Duration::from_millis(500));
        lab.answer_sidecars(tab, 0);
        lab.tabs[tab].said.iter().find_map(|(_, message)| match message {
            LinkMessage::Request(request) => Some(request.groups[0].start()),
            _ => None,
        })
    };
    let firsts: std::collections::BTreeSet<_> = (1..5).map(first).collect();
    assert!(!firsts.contains(&None) && firsts.len() > 1, "{firsts:?}");
}

/// What the second of three says to the third to be on its way of what the first one offers it, in a swarm of so many.
fn relayed(population: u32) -> Vec<Held> {
    let mut lab = Lab::connected(3);
    lab.silent.insert(0);
    let stream = stream(Roots::Origin).id;
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    lab.tell(1, &ServiceMessage::Population { stream, population });
    lab.tabs[1].said.clear();
    lab.claim(0, 1, 0, coming(0..GROUPS));
    for groups in [0..1, 1..GROUPS, 0..GROUPS] {
        lab.claim(0, 1, 0, Held::Offered(BoundedVec::first_of([range(groups)])));
    }
    let link = lab.link(1, 2);
    let told = |(to, said): &(LinkId, LinkMessage)| match said {
        LinkMessage::Have(have) if *to == link => Some(have.entries[0].held.clone()),
        _ => None,
    };
    let told = |said| told(said).filter(|held| matches!(held, Held::Coming(_)));
    lab.tabs[1].said.iter().filter_map(told).collect()
}

fn coming(groups: std::ops::Range<u32>) -> Held {
    Held::Coming(BoundedVec::first_of([range(groups)]))
}

#[test]
fn who_has_it_coming_from_a_neighbour_says_so_to_the_others_once() {
    assert_eq!(relayed(4), [coming(0..GROUPS)], "once, and not before all of it is on its way");
}

#[test]
fn among_neighbours_nobody_passes_on_what_all_have_heard() {
    assert_eq!(relayed(3), []);
}

#[test]
fn of_those_who_share_a_fetch_the_most_urgent_one_sets_its_deadline() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.silent.insert(0);
    let urgent = lab.fetch(1, 0, Duration::from_secs(5));
    let patient = lab.fetch(1, 0, FAR);
    lab.call(1, &[], |node, now| node.set_deadline(patient, now + FAR, now));
    let deadline = |lab: &Lab| lab.tabs[1].node.fetches.values().next().unwrap().deadline;
    assert_eq!(deadline(&lab), lab.now + Duration::from_secs(5));
    lab.call(1, &[], |node, now| node.cancel(urgent, now));
    assert_eq!(deadline(&lab), lab.now + FAR);
}

#[test]
fn nobody_is_asked_for_what_the_origin_is_bringing() {
    let mut lab = Lab::connected(2);
    for tab in 0..2 {
        lab.fetch(tab, 1, Duration::from_secs(2));
        lab.answer_sidecars(tab, 1);
    }
    assert!(lab.tabs.iter().all(|tab| tab.asked.is_empty()), "both wait for a moment");
    lab.advance(Duration::from_millis(550));
    let first = (0..2).find(|tab| !lab.tabs[*tab].asked.is_empty()).expect("one is first");
    assert!(lab.tabs[1 - first].asked.is_empty(), "the other heard of it");
    let asked = lab.tabs[first].asked[0];
    lab.answer(first, asked, 200, &segment(1));
    lab.advance(Duration::from_millis(300));
    assert_eq!(lab.tabs[1 - first].delivered[0].1, segment(1));
    assert_eq!(lab.tabs[first].node.stats().duplicate_groups, 0);
}

#[test]
fn a_segment_under_two_names_is_fetched_for_both_at_once() {
    // Init segments of two tracks may be the same bytes: one's end must not stop the other.
    let mut lab = Lab::empty();
    for number in 0..2 {
        let mut node_config = config(number);
        node_config.start = Start::Economy;
        lab.add(node_config, Roots::Attested);
    }
    lab.attests = true;
    lab.settle();
    for tab in 0..2 {
        for number in [0, 1] {
            let now = lab.wall();
            lab.tell(
                tab,
                &crate::wire::ServiceMessage::Attested(Box::new(attested(number, &segment(0), now))),
            );
        }
    }
    lab.hold(0, 0);
    lab.silent.insert(0);
    let first = lab.fetch(1, 0, FAR);
    let second = lab.fetch(1, 1, FAR);
    lab.call(1, &[], |node, now| node.cancel(first, now));
    lab.settle();
    lab.silent.clear();
    lab.advance(Duration::from_millis(2500));
    let delivered: Vec<_> = lab.tabs[1].delivered.iter().map(|(fetch, ..)| *fetch).collect();
    assert_eq!(delivered, [second]);
    assert!(lab.tabs[1].asked.is_empty(), "the holder was asked again");
}
