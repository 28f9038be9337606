//! What goes first when there is no room.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{id::ContentId, wire::Held};

/// Two connected tabs; the first keeps so many segments.
fn small(segments: u64) -> Lab {
    let mut lab = Lab::empty();
    lab.add(Config { cache_limit: segments * LEN, ..config(0) }, Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    assert_eq!(lab.tabs[0].node.partner_links().count(), 1);
    lab
}

fn held(lab: &Lab) -> Vec<ContentId> {
    lab.tabs[0].node.store.iter().map(|(content, _)| *content).collect()
}

/// Of the first `count` segments, in order, those that the first tab does not hold.
fn gone(lab: &Lab, count: u32) -> Vec<u32> {
    (0..count).filter(|number| !held(lab).contains(&content(*number))).collect()
}

#[test]
fn what_a_neighbour_holds_too_goes_first() {
    let mut lab = small(5);
    (0..5).for_each(|number| lab.hold(0, number));
    lab.claim(1, 0, 1, Held::All);
    lab.hold(0, 5);
    assert_eq!(gone(&lab, 6), [1]);
}

#[test]
fn of_what_is_equally_rare_the_farthest_goes_first() {
    let mut lab = small(5);
    [3, 2, 0, 1, 4].into_iter().for_each(|number| lab.hold(0, number));
    lab.hold(0, 5);
    // Longest ago was 3.
    assert_eq!(gone(&lab, 6), [0]);
}

#[test]
fn what_is_near_stays_though_a_neighbour_holds_it() {
    let mut lab = small(6);
    (0..6).for_each(|number| lab.hold(0, number));
    lab.claim(1, 0, 5, Held::All);
    lab.hold(0, 6);
    assert_eq!(gone(&lab, 7), [0]);
}

#[test]
fn what_is_being_fetched_stays_whatever_it_is_worth() {
    let mut lab = small(1);
    lab.claim(1, 0, 0, Held::All);
    lab.fetch(0, 0, Duration::from_secs(20));
    lab.answer_sidecars(0, 0);
    let stored = &lab.tabs[0].node.store;
    assert!(stored.get(&content(0)).is_some_and(|stored| stored.pinned));
    lab.hold(0, 1);
    assert!(held(&lab).contains(&content(0)), "it is needed");
    assert_eq!(gone(&lab, 2), [1]);
}

#[test]
fn segments_of_unknown_place_go_in_the_order_they_were_used() {
    let mut lab = small(3);
    [0, 1, 2].into_iter().for_each(|number| lab.hold(0, number));
    lab.fetch(0, 0, Duration::ZERO);
    for number in 0..3 {
        lab.tabs[0].node.store.get_mut(&content(number)).unwrap().place = None;
    }
    lab.hold(0, 3);
    assert_eq!(gone(&lab, 4), [1]);
}
