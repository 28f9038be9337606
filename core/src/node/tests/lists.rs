use std::time::Duration;

use super::lab::*;
use crate::{
    bounded::BoundedVec,
    guard::Violation,
    id::ContentId,
    units::GroupIndex,
    wire::{Held, LinkMessage, ListPart},
};

const LONG: Duration = Duration::from_secs(20);

/// Bytes of the list of one segment.
const LIST: u64 = 32 * GROUPS as u64;

/// Lists of the sidecar that a tab wants now, by the segments' numbers: from one to before another.
fn wanted(lab: &Lab, tab: usize) -> Vec<(u64, u64)> {
    lab.tabs[tab].sidecars.iter().map(|(_, range)| (range.start() / LIST, range.end() / LIST)).collect()
}

/// Gives a tab what it wants of the sidecar, as far as there are lists of so many segments.
fn give(lab: &mut Lab, tab: usize, segments: u32) {
    let file: Vec<u8> = (0..segments).flat_map(sidecar).collect();
    for (request, range) in std::mem::take(&mut lab.tabs[tab].sidecars) {
        let end = range.end().min(file.len() as u64) as usize;
        let body = &file[range.start() as usize..end];
        lab.call(tab, &[], |node, now| node.handle_sidecar(request, Some(body), now));
    }
    lab.settle();
}

/// Lists that a tab has asked its peers for, by the segments' numbers.
fn asked_of_peers(lab: &Lab, tab: usize) -> Vec<u32> {
    let said = lab.tabs[tab].said.iter();
    let number =
        |wanted: ContentId| (0..8).find(|number| content(*number) == wanted).expect("one of the lab's");
    said.filter_map(|(_, said)| match said {
        LinkMessage::GetList(content) => Some(number(*content)),
        _ => None,
    })
    .collect()
}

fn list_part(of: u32, values_of: u32) -> LinkMessage {
    let list = list(&segment(values_of));
    let values = BoundedVec::first_of(list.values().iter().copied());
    LinkMessage::ListPart(ListPart {
        content: content(of),
        len: list.len(),
        first: GroupIndex::new(0),
        values,
    })
}

/// A tab alone that has the first segment's list.
fn alone() -> Lab {
    let mut lab = Lab::connected(1);
    lab.fetch(0, 0, LONG);
    assert_eq!(wanted(&lab, 0), [(0, 8)]);
    give(&mut lab, 0, 1);
    lab
}

#[test]
fn the_lists_of_the_next_segments_are_read_along_and_not_asked_for_again() {
    let mut lab = alone();
    lab.fetch(0, 1, LONG);
    assert_eq!(wanted(&lab, 0), [(1, 8)]);
    give(&mut lab, 0, 8);
    (2..8).for_each(|number| {
        lab.fetch(0, number, LONG);
    });
    assert_eq!(wanted(&lab, 0), []);
    assert_eq!(lab.tabs[0].node.store.iter().count(), 8, "the lists of all are known");
}

#[test]
fn a_list_that_is_on_its_way_with_another_one_is_waited_for() {
    let mut lab = alone();
    lab.fetch(0, 2, LONG);
    lab.fetch(0, 3, LONG);
    lab.fetch(0, 1, LONG);
    assert_eq!(wanted(&lab, 0), [(2, 8), (1, 8)], "what lies before is not on its way");
    give(&mut lab, 0, 8);
    assert_eq!(lab.tabs[0].node.store.iter().count(), 4);
}

#[test]
fn a_sidecar_goes_on_being_read_for_whoever_needs_it_still() {
    let mut lab = alone();
    let first = lab.fetch(0, 1, LONG);
    let second = lab.fetch(0, 2, LONG);
    lab.call(0, &[], |node, now| node.cancel(first, now));
    lab.settle();
    assert_eq!(wanted(&lab, 0), [(1, 8)]);
    lab.call(0, &[], |node, now| node.cancel(second, now));
    lab.settle();
    assert_eq!(wanted(&lab, 0), []);
}

#[test]
fn a_sidecar_that_is_shorter_than_the_manifest_says_gives_what_it_has() {
    let mut lab = alone();
    lab.fetch(0, 1, LONG);
    lab.fetch(0, 5, LONG);
    give(&mut lab, 0, 4);
    assert_eq!(lab.tabs[0].node.store.iter().count(), 2);
    lab.fetch(0, 3, LONG);
    assert_eq!(lab.tabs[0].node.store.iter().count(), 3);
    lab.advance(LONG);
    let asked: Vec<_> = lab.tabs[0].asked.iter().filter(|asked| asked.range.is_none()).collect();
    assert!(!asked.is_empty(), "the segment whose list is not there comes whole from the origin");
}

#[test]
fn a_holder_is_asked_for_the_lists_of_the_next_segments_that_it_holds_too() {
    let mut lab = Lab::connected(2);
    [0, 1, 2, 5].into_iter().for_each(|number| lab.hold(0, number));
    lab.advance(Duration::from_secs(1));
    lab.fetch(1, 0, LONG);
    assert_eq!(asked_of_peers(&lab, 1), [0, 1, 2, 5]);
    lab.advance(Duration::from_secs(1));
    [1, 2, 5].into_iter().for_each(|number| {
        lab.fetch(1, number, LONG);
    });
    lab.advance(Duration::from_secs(1));
    assert_eq!(asked_of_peers(&lab, 1), [0, 1, 2, 5], "each once");
    assert_eq!((wanted(&lab, 1), lab.tabs[1].delivered.len()), (Vec::new(), 4));
}

#[test]
fn a_list_for_later_that_does_not_hash_up_to_its_root_closes_the_link() {
    let mut lab = Lab::connected(2);
    lab.claim(1, 0, 0, Held::All);
    lab.claim(1, 0, 1, Held::All);
    lab.silent.insert(1);
    lab.fetch(0, 0, LONG);
    assert_eq!(asked_of_peers(&lab, 0), [0, 1]);
    lab.say(1, 0, &list_part(1, 2).to_bytes());
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::BadGroup)]);
}

#[test]
fn a_list_that_nobody_asked_for_is_not_kept() {
    let mut lab = Lab::connected(2);
    lab.claim(1, 0, 0, Held::All);
    lab.silent.insert(1);
    lab.say(1, 0, &list_part(0, 0).to_bytes());
    assert_eq!(lab.bans(0), []);
    lab.fetch(0, 0, LONG);
    assert_eq!(asked_of_peers(&lab, 0), [0]);
}
