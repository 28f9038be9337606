//! A crowd before an origin that is slow for all of them.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    id::PeerId,
    units::{ByteRange, GroupIndex, GroupRange},
    wire::{Held, ServiceMessage},
};

const FAR: Duration = Duration::from_secs(20);

/// Four tabs that have each asked the origin for the whole of one segment at once, having nothing to play.
fn crowd() -> Lab {
    let mut lab = Lab::connected(4);
    for tab in 0..4 {
        lab.fetch(tab, 1, Duration::ZERO);
        lab.answer_sidecars(tab, 1);
    }
    lab.advance(Duration::from_millis(10));
    lab
}

/// The requests of each tab that run, and their ranges.
fn running(lab: &Lab, tab: usize) -> Vec<Option<ByteRange>> {
    lab.tabs[tab].asked.iter().map(|asked| asked.range).collect()
}

/// The origin sends each tab 10 KB a second of the first segment, for 800 ms.
fn drip(lab: &mut Lab, whole: &[Asked]) {
    for (tab, asked) in whole.iter().enumerate() {
        lab.head(tab, *asked, 200);
    }
    for step in 0..8 {
        for (tab, asked) in whole.iter().enumerate() {
            lab.bytes(tab, *asked, &segment(1)[step * 1000..][..1000]);
        }
        lab.advance(Duration::from_millis(100));
    }
}

/// The origin answers every request for a part of this segment.
fn answer_parts(lab: &mut Lab, number: u32) {
    for tab in 0..4 {
        let node = &lab.tabs[tab].node;
        let fetch = node.fetches.values().find(|fetch| fetch.key == key(number));
        let asked = fetch.and_then(|fetch| {
            lab.tabs[tab]
                .asked
                .iter()
                .position(|asked| fetch.origins.iter().any(|run| run.request == asked.request))
        });
        let Some(asked) = asked.map(|place| lab.tabs[tab].asked.remove(place)) else { continue };
        let range = asked.range.expect("a part");
        lab.answer(tab, asked, 206, &segment(number)[range.start() as usize..range.end() as usize]);
    }
}

#[test]
fn the_crowd_shares_a_slow_origin_part_by_part() {
    let mut lab = crowd();
    let whole: Vec<Asked> = (0..4).filter_map(|tab| lab.tabs[tab].asked.pop()).collect();
    assert_eq!(
        whole.iter().map(|asked| asked.range).collect::<Vec<_>>(),
        [None; 4],
        "each for itself at first"
    );
    drip(&mut lab, &whole);
    lab.advance(Duration::from_millis(500));
    let ranges: Vec<_> = (0..4).flat_map(|tab| running(&lab, tab)).collect();
    assert!(!ranges.is_empty() && ranges.len() < 4, "parts, and not one for each: {ranges:?}");
    for _ in 0..20 {
        answer_parts(&mut lab, 1);
        lab.advance(Duration::from_millis(200));
    }
    for tab in &lab.tabs {
        assert_eq!(tab.delivered[0].1, segment(1));
    }
    let bytes: u64 = lab.tabs.iter().map(|tab| tab.node.stats().origin_bytes).sum();
    assert!(bytes < 2 * LEN, "{bytes} bytes of {LEN} from the origin");
}

/// Requests to the origin for a segment, of all tabs.
fn requests(lab: &Lab, number: u32) -> usize {
    let of = |tab: &Tab| {
        tab.node.fetches.values().filter(|fetch| fetch.key == key(number) && fetch.asks_origin()).count()
    };
    lab.tabs.iter().map(of).sum()
}

/// A crowd that has asked a slow origin for one segment and wants two more, the first of which it is asked for by now.
fn crowd_that_wants_three() -> Lab {
    let mut lab = crowd();
    let whole: Vec<Asked> = (0..4).filter_map(|tab| lab.tabs[tab].asked.pop()).collect();
    drip(&mut lab, &whole);
    for (number, within) in [(2, 3), (3, 5)] {
        for tab in 0..4 {
            lab.fetch(tab, number, Duration::from_secs(within));
            lab.answer_sidecars(tab, number);
        }
    }
    assert_eq!((requests(&lab, 2), requests(&lab, 3)), (0, 0));
    while requests(&lab, 2) == 0 {
        lab.advance(Duration::from_millis(10));
        answer_parts(&mut lab, 1);
    }
    lab
}

/// After how long the third segment is asked for, answers to requests for the second coming or not.
fn third_asked_for_after(lab: &mut Lab, answers: bool) -> Option<Duration> {
    let start = lab.now;
    for _ in 0..1000 {
        if answers {
            answer_parts(lab, 2);
        }
        lab.advance(Duration::from_millis(10));
        if requests(lab, 3) > 0 {
            return Some(lab.now.saturating_since(start));
        }
    }
    None
}

#[test]
fn a_slow_origin_is_asked_for_one_segment_after_the_other() {
    let mut lab = crowd_that_wants_three();
    lab.advance(Duration::from_millis(2900));
    assert_eq!(requests(&lab, 3), 0, "before the second is nearly there");
    assert!(third_asked_for_after(&mut lab, true).is_some());
}

#[test]
fn a_request_that_brings_nothing_for_three_seconds_keeps_no_other_segment_from_the_origin() {
    let mut lab = crowd_that_wants_three();
    let after = third_asked_for_after(&mut lab, false).expect("in the end it is");
    assert!((3..6).contains(&after.as_secs()), "{after:?}");
}

#[test]
fn a_neighbour_that_promises_again_and_again_does_not_keep_a_fetch_from_a_slow_origin() {
    let mut lab = crowd();
    let asked = lab.tabs[0].asked.pop().unwrap();
    lab.head(0, asked, 200);
    for step in 0..8 {
        lab.bytes(0, asked, &segment(1)[step * 1000..][..1000]);
        lab.advance(Duration::from_millis(100));
    }
    let all = GroupRange::new(GroupIndex::new(0), GroupIndex::new(GROUPS)).unwrap();
    for _ in 0..8 {
        lab.claim(1, 0, 1, Held::Coming(BoundedVec::first_of([all])));
        lab.advance(Duration::from_millis(500));
    }
    assert!(!lab.tabs[0].asked.is_empty());
}

#[test]
fn an_origin_that_is_quick_enough_is_left_alone() {
    let mut lab = crowd();
    let asked = lab.tabs[0].asked[0];
    lab.head(0, asked, 200);
    for step in 0..9 {
        lab.bytes(0, asked, &segment(1)[step * 10_000..][..10_000]);
        lab.advance(Duration::from_millis(100));
    }
    assert_eq!(running(&lab, 0), [None]);
}

#[test]
fn a_request_that_has_brought_nothing_yet_goes_on() {
    let mut lab = crowd();
    let requests = |lab: &Lab| {
        let of = |tab: &Tab| tab.asked.iter().map(|asked| asked.request).collect::<Vec<_>>();
        lab.tabs.iter().map(of).collect::<Vec<_>>()
    };
    let before = requests(&lab);
    lab.advance(Duration::from_millis(1800));
    assert_eq!(requests(&lab), before);
}

#[test]
fn a_quick_first_segment_does_not_make_a_slow_origin_quick() {
    let mut lab = Lab::empty();
    lab.add(Config { start: Start::Playback, ..config(0) }, Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    assert!(!lab.tabs[0].node.may_connect());
    lab.fetch(0, 1, FAR);
    lab.advance(Duration::from_millis(799));
    assert!(!lab.tabs[0].node.may_connect());
    lab.advance(Duration::from_millis(1));
    assert!(lab.tabs[0].node.may_connect());
}

#[test]
fn what_is_far_off_is_left_to_neighbours_who_are_still_to_come() {
    for (to_come, waits) in [(3, true), (1, false)] {
        let mut lab = Lab::connected(2);
        lab.carries = false;
        let peers = BoundedVec::first_of((0..to_come).map(|number| PeerId::from_bytes([number; 32])));
        let stream = stream(Roots::Origin).id;
        lab.tell(0, &ServiceMessage::Peers { stream, population: 5, peers });
        lab.advance(Duration::from_millis(500));
        assert_eq!(lab.tabs[0].node.links.len(), 1 + usize::from(to_come));
        lab.fetch(0, 1, FAR);
        lab.answer_sidecars(0, 1);
        lab.advance(Duration::from_millis(1400));
        assert_eq!(lab.tabs[0].asked.is_empty(), waits, "{to_come} to come");
        lab.advance(Duration::from_millis(1500));
        assert!(!lab.tabs[0].asked.is_empty());
    }
}
