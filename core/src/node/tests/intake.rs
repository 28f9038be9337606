//! How much is asked for at a time, of all neighbours together.

use std::{ops::RangeInclusive, time::Duration};

use super::{super::Roots, lab::*};
use crate::{
    id::LinkId,
    wire::{Held, LinkMessage},
};

const FAR: Duration = Duration::from_secs(20);
const HOLDERS: usize = 9;

/// Groups that tab 0 asked these holders for.
fn asked(lab: &Lab, holders: RangeInclusive<usize>) -> u32 {
    let links: Vec<LinkId> = holders.map(|holder| lab.link(0, holder)).collect();
    let requests = lab.tabs[0].said.iter().filter_map(|(link, message)| match message {
        LinkMessage::Request(request) if links.contains(link) => {
            Some(request.groups.iter().map(|range| range.len()).sum::<u32>())
        }
        _ => None,
    });
    requests.sum()
}

fn want_eight(lab: &mut Lab) {
    for number in 0..8 {
        lab.fetch(0, number, FAR);
        lab.answer_sidecars(0, number);
    }
}

fn claim_eight(lab: &mut Lab, holders: RangeInclusive<usize>) {
    for (holder, number) in holders.flat_map(|holder| (0..8).map(move |number| (holder, number))) {
        lab.claim(holder, 0, number, Held::All);
    }
}

/// Tab 0 wants eight segments, and nine others bring nothing whatever they say.
fn kept_waiting() -> Lab {
    let mut lab = Lab::new(1 + HOLDERS, Roots::Origin);
    lab.settle();
    lab.advance(Duration::from_secs(3));
    assert_eq!(lab.tabs[0].node.partner_links().count(), HOLDERS);
    lab.silent.extend(1..=HOLDERS);
    want_eight(&mut lab);
    lab
}

#[test]
fn no_more_is_on_its_way_of_many_than_one_peer_can_take() {
    let mut lab = kept_waiting();
    claim_eight(&mut lab, 1..=HOLDERS);
    lab.advance(Duration::from_millis(300));
    let asked = asked(&lab, 1..=HOLDERS);
    assert!((16..=32).contains(&asked), "{asked}");
}

#[test]
fn what_peers_that_pause_keep_waiting_takes_no_place() {
    let mut lab = kept_waiting();
    claim_eight(&mut lab, 1..=HOLDERS - 1);
    lab.advance(Duration::from_millis(100));
    claim_eight(&mut lab, HOLDERS..=HOLDERS);
    lab.advance(Duration::from_millis(200));
    assert_eq!(asked(&lab, HOLDERS..=HOLDERS), 0);
    lab.advance(Duration::from_millis(400));
    assert!(asked(&lab, HOLDERS..=HOLDERS) > 0);
}

#[test]
fn what_comes_makes_room_for_more() {
    let mut lab = Lab::connected(3);
    (0..8).for_each(|number| lab.hold(1, number));
    want_eight(&mut lab);
    lab.advance(Duration::from_secs(1));
    assert_eq!(lab.tabs[0].delivered.len(), 8);
    assert_eq!(lab.tabs[0].node.stats().peer_bytes, 8 * LEN);
}
