//! Word of who asks the origin, in a swarm that is larger than a neighbourhood.

use std::time::Duration;

use super::{
    super::{duty::DISTRUST, *},
    lab::*,
};
use crate::{
    bounded::BoundedVec,
    swarm::{NEW, duty},
    units::{GroupIndex, GroupRange},
    wire::{Held, LinkMessage, ServiceMessage},
};

const FAR: Duration = Duration::from_secs(5);
const GROUPS: u32 = 7;

fn groups(start: u32, end: u32) -> BoundedVec<GroupRange, 64> {
    BoundedVec::first_of(GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)))
}

/// So many connected tabs in a swarm of a hundred, of which the first says nothing by itself.
fn swarm(tabs: usize) -> Lab {
    let mut lab = Lab::connected(tabs);
    // None of them has just come.
    (0..tabs).for_each(|tab| lab.tabs[tab].node.first_fetch = Some(lab.now));
    lab.advance(NEW);
    lab.silent.insert(0);
    (0..tabs).for_each(|tab| tell_population(&mut lab, tab));
    lab
}

fn tell_population(lab: &mut Lab, tab: usize) {
    let stream = stream(Roots::Origin).id;
    lab.tell(tab, &ServiceMessage::Population { stream, population: 100 });
}

/// What a tab told another one of who is on duty.
fn told(lab: &Lab, tab: usize, other: usize) -> Vec<Held> {
    let link = lab.link(tab, other);
    let said = lab.tabs[tab].said.iter().filter(|(to, _)| *to == link);
    said.filter_map(|(_, said)| match said {
        LinkMessage::Have(have) => Some(have.entries.iter().map(|entry| entry.held.clone())),
        _ => None,
    })
    .flatten()
    .filter(|held| matches!(held, Held::OnDuty(_)))
    .collect()
}

/// How long the second tab leaves a segment to others before it asks the origin for anything of it.
fn patience(lab: &mut Lab, number: u32, within: Duration, word: bool) -> Duration {
    lab.tabs[1].asked.clear();
    let fetch = lab.fetch(1, number, within);
    lab.answer_sidecars(1, number);
    if word {
        lab.claim(0, 1, number, Held::OnDuty(groups(0, GROUPS)));
    }
    let began = lab.now;
    while lab.tabs[1].asked.is_empty() {
        lab.advance(Duration::from_millis(10));
    }
    let patience = lab.now.saturating_since(began);
    lab.call(1, &[], |node, now| node.cancel(fetch, now));
    patience
}

/// What the second of four tells the third and the fourth when the first says this of a segment that it fetches, twice.
fn passed_on(held: &Held) -> Vec<Held> {
    let mut lab = swarm(4);
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    lab.tabs[1].said.clear();
    lab.claim(0, 1, 0, held.clone());
    lab.claim(0, 1, 0, held.clone());
    assert_eq!(told(&lab, 1, 0), [], "who told it knows");
    let mut passed: Vec<_> = [2, 3].into_iter().flat_map(|other| told(&lab, 1, other)).collect();
    passed
        .sort_by_key(|held| if let Held::OnDuty(ranges) = held { ranges[0].start() } else { unreachable!() });
    passed
}

#[test]
fn word_of_who_is_on_duty_is_passed_on_part_by_part_to_every_second_neighbour_once() {
    let parts: Vec<_> = (0..GROUPS).map(|part| Held::OnDuty(groups(part, part + 1))).collect();
    assert_eq!(passed_on(&Held::OnDuty(groups(0, GROUPS))), parts);
}

#[test]
fn what_comes_to_a_neighbour_is_passed_on_as_word() {
    assert_eq!(passed_on(&Held::Coming(groups(4, 5))), [Held::OnDuty(groups(4, 5))]);
}

#[test]
fn among_neighbours_nobody_passes_word_on() {
    let mut lab = Lab::connected(3);
    lab.silent.insert(0);
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    lab.claim(0, 1, 0, Held::OnDuty(groups(0, GROUPS)));
    assert_eq!(told(&lab, 1, 2), []);
}

#[test]
fn who_hears_that_somebody_is_on_duty_leaves_the_segment_to_them_for_longer() {
    let alone = patience(&mut swarm(2), 0, FAR, false);
    let word = patience(&mut swarm(2), 0, FAR, true);
    assert_eq!(word, alone + duty::WORD);
}

#[test]
fn near_the_deadline_nobody_is_left_anything() {
    let within = Duration::from_secs(2);
    assert!(patience(&mut swarm(2), 0, within, true) < within);
}

#[test]
fn who_was_let_down_does_not_believe_word_for_a_while() {
    let mut lab = swarm(2);
    patience(&mut lab, 0, FAR, true);
    let alone = patience(&mut swarm(2), 1, FAR, false);
    assert_eq!(patience(&mut lab, 1, FAR, true), alone);
    lab.silent.clear();
    lab.advance(DISTRUST);
    lab.silent.insert(0);
    tell_population(&mut lab, 1);
    let alone = patience(&mut swarm(2), 2, FAR, false);
    assert_eq!(patience(&mut lab, 2, FAR, true), alone + duty::WORD);
}
