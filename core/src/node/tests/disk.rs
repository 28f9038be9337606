//! What is kept on disk: when it is written, and that nobody believes what is read.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    content::SegmentLen,
    id::ContentId,
    units::GroupIndex,
    wire::{Held, LinkMessage, RejectReason},
};

const FAR: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(30);

fn with_disk(segments: u64) -> Config {
    Config { disk_limit: segments * LEN, ..config(0) }
}

/// One tab that keeps so many segments on disk, alone.
fn alone(segments: u64) -> Lab {
    let mut lab = Lab::empty();
    lab.add(with_disk(segments), Roots::Origin);
    lab.settle();
    lab
}

fn restore(lab: &mut Lab, number: u32) {
    let (id, len) = (stream(Roots::Origin).id, SegmentLen::new(LEN).unwrap());
    lab.call(0, &[], |node, _| node.handle_restored(id, content(number), len));
    lab.settle();
}

fn take<T>(lab: &mut Lab, pick: impl Fn(&Output) -> Option<T>) -> Vec<T> {
    let outputs = &mut lab.tabs[0].outputs;
    let taken = outputs.iter().filter_map(&pick).collect();
    outputs.retain(|output| pick(output).is_none());
    taken
}

fn writes(lab: &mut Lab) -> Vec<ContentId> {
    take(lab, |output| match output {
        Output::Persist { content, len, .. } => (*len == LEN).then_some(*content),
        _ => None,
    })
}

fn reads(lab: &mut Lab) -> Vec<(BlobHandle, ContentId)> {
    take(lab, |output| match output {
        Output::Load { blob, content, .. } => Some((*blob, *content)),
        _ => None,
    })
}

fn removals(lab: &mut Lab) -> Vec<ContentId> {
    take(lab, |output| match output {
        Output::Forget { content, .. } => Some(*content),
        _ => None,
    })
}

fn wrote(lab: &mut Lab, number: u32, how: Persisted) {
    lab.call(0, &[], |node, now| node.handle_persisted(content(number), how, now));
    lab.settle();
}

#[test]
fn complete_segments_are_written_one_after_the_other() {
    let mut lab = alone(8);
    [0, 1, 2].into_iter().for_each(|number| lab.hold(0, number));
    assert_eq!(writes(&mut lab), [content(0)]);
    wrote(&mut lab, 0, Persisted::Kept);
    assert_eq!(writes(&mut lab), [content(1)]);
    // Not again what is there.
    lab.fetch(0, 0, FAR);
    wrote(&mut lab, 1, Persisted::Kept);
    assert_eq!(writes(&mut lab), [content(2)]);
    wrote(&mut lab, 2, Persisted::Kept);
    assert_eq!(writes(&mut lab), []);
}

#[test]
fn nothing_is_written_unless_the_page_wants_it_or_while_a_segment_is_urgent() {
    let mut lab = alone(0);
    lab.hold(0, 0);
    assert_eq!(writes(&mut lab), []);
    let mut lab = alone(8);
    lab.fetch(0, 1, Duration::from_millis(500));
    lab.hold(0, 0);
    assert_eq!(writes(&mut lab), []);
    lab.answer_sidecars(0, 1);
    lab.advance(Duration::from_secs(1));
    let asked = lab.tabs[0].asked.pop().unwrap();
    lab.answer(0, asked, 200, &segment(1));
    assert_eq!(writes(&mut lab).len(), 1);
}

#[test]
fn live_segments_are_never_written() {
    let mut lab = alone(8);
    let live = manifest().dated(EPOCH + Duration::from_secs(9)).live(Duration::from_secs(2));
    lab.call(0, &[], |node, now| node.add_manifest(stream(Roots::Origin).id, live, now));
    lab.hold(0, 0);
    assert_eq!(writes(&mut lab), []);
    // Nor what only the service knows.
    let mut lab = Lab::empty();
    lab.attests = true;
    lab.add(with_disk(8), Roots::Attested);
    lab.settle();
    let said = attested(0, &segment(0), lab.wall());
    lab.tell(0, &crate::wire::ServiceMessage::Attested(Box::new(said)));
    lab.hold(0, 0);
    assert_eq!(writes(&mut lab), []);
}

#[test]
fn what_is_on_disk_is_played_from_there_and_nobody_else_is_asked() {
    let mut lab = alone(8);
    restore(&mut lab, 0);
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.advance(MOMENT);
    let [(blob, read)] = reads(&mut lab)[..] else { panic!("one read") };
    assert_eq!(read, content(0));
    assert!(lab.tabs[0].asked.is_empty() && lab.tabs[0].sidecars.is_empty());
    lab.read(0, blob, &segment(0));
    assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
    let stats = lab.tabs[0].node.stats();
    assert_eq!((stats.disk_bytes, stats.origin_bytes, stats.peer_bytes), (LEN, 0, 0));
    // It is in memory now, and was on disk before.
    lab.fetch(0, 0, Duration::ZERO);
    assert_eq!(lab.tabs[0].delivered.len(), 2);
    assert!(reads(&mut lab).is_empty() && writes(&mut lab).is_empty());
}

#[test]
fn two_who_want_the_same_are_served_by_one_read() {
    let mut lab = alone(8);
    restore(&mut lab, 0);
    lab.fetch(0, 0, Duration::ZERO);
    lab.fetch(0, 0, Duration::ZERO);
    let read = reads(&mut lab);
    assert_eq!(read.len(), 1);
    lab.read(0, read[0].0, &segment(0));
    assert_eq!(lab.tabs[0].delivered.len(), 2);
}

#[test]
fn wrong_bytes_on_disk_are_removed_and_fetched_anew() {
    let wrong = |at: usize| {
        let mut bytes = segment(0);
        bytes[at] ^= 1;
        bytes
    };
    let torn = segment(0)[..40_000].to_vec();
    let longer = [segment(0), vec![0; 9]].concat();
    for bytes in [wrong(0), wrong(LEN as usize - 1), torn, longer, Vec::new(), segment(1)] {
        let mut lab = alone(8);
        restore(&mut lab, 0);
        let fetch = lab.fetch(0, 0, Duration::ZERO);
        let [(blob, _)] = reads(&mut lab)[..] else { panic!("one read") };
        lab.read(0, blob, &bytes);
        assert_eq!(removals(&mut lab), [content(0)]);
        assert!(lab.tabs[0].delivered.is_empty() && !lab.has_blob(0, blob));
        lab.answer_sidecars(0, 0);
        lab.advance(MOMENT);
        let asked = lab.tabs[0].asked.pop().expect("the origin has it");
        lab.answer(0, asked, 200, &segment(0));
        assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
        assert_eq!(lab.tabs[0].node.stats().disk_bytes, 0);
        // It is written again.
        assert_eq!(writes(&mut lab), [content(0)]);
    }
}

#[test]
fn a_length_that_the_manifest_does_not_know_is_removed_unread() {
    let mut lab = alone(8);
    let (id, len) = (stream(Roots::Origin).id, SegmentLen::new(LEN - 1).unwrap());
    lab.call(0, &[], |node, _| node.handle_restored(id, content(0), len));
    lab.fetch(0, 0, Duration::ZERO);
    assert_eq!((reads(&mut lab), removals(&mut lab)), (vec![], vec![content(0)]));
}

#[test]
fn a_disk_that_brings_nothing_is_given_up_the_sooner_the_segment_is_needed() {
    for (needed_in, patience) in [(0, 1000), (1500, 1500), (10_000, 2000)] {
        let mut lab = alone(8);
        restore(&mut lab, 0);
        lab.fetch(0, 0, Duration::from_millis(needed_in));
        let [(blob, _)] = reads(&mut lab)[..] else { panic!("one read") };
        lab.advance(Duration::from_millis(patience - 1));
        assert!(lab.has_blob(0, blob), "needed in {needed_in} ms");
        lab.advance(Duration::from_millis(1));
        assert!(!lab.has_blob(0, blob), "needed in {needed_in} ms");
    }
}

#[test]
fn who_stops_giving_takes_back_what_only_its_disk_has_as_well() {
    let mut lab = Lab::empty();
    lab.add(with_disk(8), Roots::Origin);
    lab.add(config(1), Roots::Origin);
    restore(&mut lab, 0);
    lab.settle();
    lab.call(0, &[], |node, now| node.set_upload_limit(Some(crate::units::BytesPerSec::new(0)), now));
    lab.settle();
    let lost = |(_, message): &(LinkId, LinkMessage)| match message {
        LinkMessage::Lost(contents) => contents.contains(&content(0)),
        _ => false,
    };
    assert!(lab.tabs[0].said.iter().any(lost), "{:?}", lab.tabs[0].said);
}

#[test]
fn where_a_disk_brings_nothing_the_origin_does() {
    let mut lab = alone(8);
    restore(&mut lab, 0);
    lab.fetch(0, 0, Duration::ZERO);
    let [(blob, _)] = reads(&mut lab)[..] else { panic!("one read") };
    lab.advance(Duration::from_secs(3));
    assert!(!lab.has_blob(0, blob));
    lab.answer_sidecars(0, 0);
    lab.advance(MOMENT);
    let asked = lab.tabs[0].asked.pop().expect("the origin has it");
    // What comes too late is nobody's.
    lab.read(0, blob, &segment(0));
    lab.answer(0, asked, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered.len(), 1);
    assert_eq!(removals(&mut lab), []);
}

#[test]
fn a_fetch_that_is_cancelled_leaves_what_is_read_to_the_next() {
    let mut lab = alone(8);
    restore(&mut lab, 0);
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.call(0, &[], |node, now| node.cancel(fetch, now));
    let [(blob, _)] = reads(&mut lab)[..] else { panic!("one read") };
    lab.read(0, blob, &segment(0));
    assert!(lab.tabs[0].delivered.is_empty());
    lab.fetch(0, 0, Duration::ZERO);
    assert_eq!(lab.tabs[0].delivered.len(), 1);
}

#[test]
fn the_disk_keeps_to_its_limit() {
    let mut lab = alone(2);
    (0..3).for_each(|number| restore(&mut lab, number));
    assert_eq!(removals(&mut lab).len(), 1);
    let mut lab = alone(2);
    for number in 0..3 {
        lab.hold(0, number);
        assert_eq!(writes(&mut lab), [content(number)]);
        // The farthest from what is played makes room.
        let gone = if number == 2 { vec![content(0)] } else { vec![] };
        assert_eq!(removals(&mut lab), gone);
        wrote(&mut lab, number, Persisted::Kept);
    }
}

#[test]
fn a_full_disk_takes_new_segments_in_the_place_of_old_ones() {
    let mut lab = alone(8);
    lab.hold(0, 0);
    wrote(&mut lab, 0, Persisted::Kept);
    writes(&mut lab);
    lab.hold(0, 1);
    assert_eq!(writes(&mut lab), [content(1)]);
    wrote(&mut lab, 1, Persisted::Full);
    assert_eq!((removals(&mut lab), writes(&mut lab)), (vec![content(0)], vec![content(1)]));
    // It takes nothing at all.
    wrote(&mut lab, 1, Persisted::Full);
    assert_eq!(writes(&mut lab), []);
    lab.hold(0, 2);
    assert_eq!(writes(&mut lab), []);
}

#[test]
fn a_disk_that_fails_again_and_again_is_left_alone() {
    let mut lab = alone(8);
    for number in 0..4 {
        lab.hold(0, number);
        let tried = usize::from(number < 3);
        assert_eq!(writes(&mut lab).len(), tried);
        wrote(&mut lab, number, Persisted::Failed);
    }
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut lab = alone(8);
    wrote(&mut lab, 0, Persisted::Kept);
    lab.read(0, BlobHandle::new(77), &segment(0));
    lab.fetch(0, 0, FAR);
    assert_eq!(reads(&mut lab), []);
}

/// A tab with one segment on disk, and a neighbour.
fn neighbours() -> Lab {
    let mut lab = Lab::empty();
    lab.add(with_disk(8), Roots::Origin);
    lab.add(config(1), Roots::Origin);
    restore(&mut lab, 0);
    lab.advance(MOMENT);
    assert_eq!(lab.tabs[0].node.partner_links().count(), 1);
    lab
}

#[test]
fn a_neighbour_is_served_from_disk_once_it_is_read() {
    let mut lab = neighbours();
    let fetch = lab.fetch(1, 0, FAR);
    let [(blob, read)] = reads(&mut lab)[..] else { panic!("its list is asked for, and read") };
    assert_eq!(read, content(0));
    lab.read(0, blob, &segment(0));
    lab.advance(MOMENT);
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
    assert_eq!((lab.tabs[1].asked.len(), lab.bans(1).len()), (0, 0));
}

#[test]
fn a_request_waits_for_the_disk_and_wrong_bytes_are_never_sent() {
    let mut lab = neighbours();
    let ask = |lab: &mut Lab| {
        let request = crate::wire::Request {
            id: crate::id::RequestId::new(5),
            content: content(0),
            groups: crate::bounded::BoundedVec::first_of([crate::units::GroupRange::new(
                GroupIndex::new(0),
                GroupIndex::new(1),
            )
            .unwrap()]),
        };
        lab.say(1, 0, &LinkMessage::Request(request).to_bytes());
    };
    ask(&mut lab);
    let [(blob, _)] = reads(&mut lab)[..] else { panic!("it is read") };
    lab.tabs[0].said.clear();
    let mut bytes = segment(0);
    bytes[3] ^= 1;
    lab.read(0, blob, &bytes);
    let said: Vec<_> = lab.tabs[0].said.iter().map(|(_, said)| said.clone()).collect();
    let lost = |said: &LinkMessage| matches!(said, LinkMessage::Lost(gone) if gone[..] == [content(0)]);
    let refused = |said: &LinkMessage| matches!(said, LinkMessage::Reject(_, RejectReason::NotHeld));
    assert!(said.iter().any(lost) && said.iter().any(refused), "{said:?}");
    assert_eq!((removals(&mut lab), lab.tabs[0].node.stats().upload_bytes), (vec![content(0)], 0));
}

#[test]
fn a_peer_has_only_so_much_read_for_it() {
    let mut lab = neighbours();
    (1..8).for_each(|number| restore(&mut lab, number));
    for number in 0..8 {
        lab.say(1, 0, &LinkMessage::GetList(content(number)).to_bytes());
        lab.say(1, 0, &LinkMessage::GetList(content(number)).to_bytes());
    }
    assert_eq!(reads(&mut lab).len(), 4);
    for _ in 0..40 {
        lab.say(1, 0, &LinkMessage::GetList(content(0)).to_bytes());
    }
    let told = lab.tabs[0].said.iter().filter(|(_, said)| *said == LinkMessage::NoList(content(0))).count();
    assert_eq!(told, 40 - 14);
}

#[test]
fn neighbours_do_not_hear_that_something_is_lost_that_is_still_on_disk() {
    let mut lab = Lab::empty();
    lab.add(Config { cache_limit: LEN, ..with_disk(8) }, Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    wrote(&mut lab, 0, Persisted::Kept);
    lab.hold(0, 1);
    assert!(lab.tabs[0].node.store.get(&content(0)).is_none(), "memory has no room for both");
    let lost = |(_, said): &(LinkId, LinkMessage)| matches!(said, LinkMessage::Lost(_));
    assert!(!lab.tabs[0].said.iter().any(lost));
    let held = |(_, said): &(LinkId, LinkMessage)| matches!(said, LinkMessage::Have(have) if have.entries[0].held == Held::All);
    assert!(lab.tabs[0].said.iter().any(held));
}
