//! What is blocked, and who may say so.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    content::{BlockList, SegmentLen, SignedBlockList},
    id::{ContentId, RequestId},
    units::{GroupIndex, GroupRange},
    wire::{LinkMessage, RejectReason, Request, ServiceMessage},
};

const FAR: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(30);

fn list_of(identity: &Identity, at: u64, numbers: &[u32]) -> SignedBlockList {
    let contents = numbers.iter().map(|number| content(*number));
    BlockList::sign(identity, EPOCH + Duration::from_secs(at), BoundedVec::first_of(contents))
}

fn block(lab: &mut Lab, tab: usize, at: u64, numbers: &[u32]) {
    lab.tell(tab, &ServiceMessage::Blocked(Box::new(list_of(&issuer(), at, numbers))));
}

fn with_disk() -> Config {
    Config { disk_limit: 8 * LEN, ..config(0) }
}

fn restore(lab: &mut Lab, number: u32) {
    let (id, len) = (stream(Roots::Origin).id, SegmentLen::new(LEN).unwrap());
    lab.call(0, &[], |node, _| node.handle_restored(id, content(number), len));
    lab.settle();
}

fn removals(lab: &Lab) -> Vec<ContentId> {
    let removed = |output: &Output| match output {
        Output::Forget { content, .. } => Some(*content),
        _ => None,
    };
    lab.tabs[0].outputs.iter().filter_map(removed).collect()
}

fn kept(lab: &Lab) -> Vec<Vec<u8>> {
    let kept = |output: &Output| match output {
        Output::KeepBlocks { bytes } => Some(bytes.clone()),
        _ => None,
    };
    lab.tabs[0].outputs.iter().filter_map(kept).collect()
}

fn said(lab: &Lab, what: impl Fn(&LinkMessage) -> bool) -> bool {
    lab.tabs[0].said.iter().any(|(_, said)| what(said))
}

/// A tab with segment 0 in memory and on disk, and a neighbour.
fn two() -> Lab {
    let mut lab = Lab::empty();
    lab.add(with_disk(), Roots::Origin);
    lab.add(config(1), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    lab.call(0, &[], |node, now| node.handle_persisted(content(0), Persisted::Kept, now));
    lab.advance(MOMENT);
    lab
}

#[test]
fn a_block_takes_content_from_memory_and_disk_and_neighbours_hear_of_it() {
    let mut lab = two();
    block(&mut lab, 0, 1, &[0]);
    assert_eq!((lab.tabs[0].node.stored_bytes(), removals(&lab)), (0, vec![content(0)]));
    assert!(said(&lab, |said| matches!(said, LinkMessage::Lost(gone) if gone[..] == [content(0)])));
    // Whoever asks all the same gets nothing.
    lab.say(1, 0, &LinkMessage::GetList(content(0)).to_bytes());
    assert!(said(&lab, |said| *said == LinkMessage::NoList(content(0))));
    let range = GroupRange::new(GroupIndex::new(0), GroupIndex::new(2)).unwrap();
    let groups = BoundedVec::first_of([range]);
    let request = Request { id: RequestId::new(9), content: content(0), groups };
    lab.say(1, 0, &LinkMessage::Request(request).to_bytes());
    assert!(said(&lab, |said| matches!(said, LinkMessage::Reject(_, RejectReason::NotHeld))));
    assert_eq!(lab.tabs[0].node.stats().upload_bytes, 0);
}

#[test]
fn blocked_content_is_not_taken_from_peers_and_plays_from_the_origin_unkept() {
    let mut lab = two();
    block(&mut lab, 1, 1, &[0]);
    let fetch = lab.fetch(1, 0, FAR);
    assert!(lab.tabs[1].sidecars.is_empty());
    let asked = lab.tabs[1].asked.pop().expect("over HTTP, at once");
    lab.answer(1, asked, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::OriginWhole, 200)]);
    assert_eq!((lab.tabs[1].node.stored_bytes(), lab.tabs[1].node.stats().peer_bytes), (0, 0));
    assert!(!lab.tabs[1].said.iter().any(|(_, said)| matches!(said, LinkMessage::Request(_))));
}

#[test]
fn what_is_on_its_way_is_dropped_and_fetched_over_http() {
    let mut lab = Lab::connected(2);
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    lab.advance(MOMENT);
    let asked = lab.tabs[0].asked[0];
    lab.head(0, asked, 200);
    lab.bytes(0, asked, &segment(0)[..40_000]);
    block(&mut lab, 0, 1, &[0]);
    assert_eq!(lab.tabs[0].node.stored_bytes(), 0);
    lab.advance(MOMENT);
    let again = lab.tabs[0].asked.pop().unwrap();
    assert_ne!(again.request, asked.request);
    lab.answer(0, again, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::OriginWhole, 200)]);
}

#[test]
fn forged_and_older_lists_do_nothing() {
    let mut lab = two();
    let forged = list_of(&Identity::from_seed([9; 32]), 50, &[0]);
    lab.tell(0, &ServiceMessage::Blocked(Box::new(forged)));
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
    block(&mut lab, 0, 5, &[1]);
    for at in [1, 5] {
        block(&mut lab, 0, at, &[0]);
        assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
    }
    // Nor does an older one take a block back.
    block(&mut lab, 0, 4, &[]);
    lab.fetch(0, 1, FAR);
    assert_eq!((lab.tabs[0].asked.len(), lab.tabs[0].sidecars.len()), (1, 0), "HTTP only still");
    block(&mut lab, 0, 6, &[0]);
    assert_eq!(lab.tabs[0].node.stored_bytes(), 0);
    assert_eq!(kept(&lab).len(), 2);
}

#[test]
fn a_newer_list_without_it_lifts_a_block() {
    let mut lab = two();
    block(&mut lab, 0, 1, &[0]);
    block(&mut lab, 0, 2, &[]);
    lab.hold(0, 0);
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
}

#[test]
fn a_tab_without_a_service_remembers_what_is_blocked() {
    let mut lab = two();
    block(&mut lab, 0, 3, &[0]);
    let list = kept(&lab).pop().expect("it is kept");
    // The next page load finds the segment on disk all the same, and no service.
    let mut lab = Lab::empty();
    lab.service = false;
    lab.add(with_disk(), Roots::Origin);
    lab.call(0, &[], |node, now| node.handle_kept_blocks(&list, now));
    restore(&mut lab, 0);
    restore(&mut lab, 1);
    assert_eq!(removals(&lab), [content(0)]);
    lab.fetch(0, 0, Duration::ZERO);
    assert!(!lab.tabs[0].outputs.iter().any(|output| matches!(output, Output::Load { .. })));
    assert_eq!(lab.tabs[0].asked.len(), 1);
}

#[test]
fn bytes_that_are_no_list_are_no_list() {
    let mut lab = two();
    let mut spoilt = postcard::to_allocvec(&list_of(&issuer(), 3, &[0])).unwrap();
    let last = spoilt.len() - 1;
    spoilt[last] ^= 1;
    for bytes in [&[][..], &[7; 40], &spoilt] {
        lab.call(0, &[], |node, now| node.handle_kept_blocks(bytes, now));
        assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
    }
}

#[test]
fn what_was_away_is_purged_at_the_welcome_even_while_it_is_read() {
    let mut lab = Lab::empty();
    lab.add(with_disk(), Roots::Origin);
    lab.settle();
    restore(&mut lab, 0);
    lab.fetch(0, 0, Duration::ZERO);
    let loading = |output: &Output| match output {
        Output::Load { blob, .. } => Some(*blob),
        _ => None,
    };
    let blob = lab.tabs[0].outputs.iter().find_map(loading).expect("it is read");
    block(&mut lab, 0, 1, &[0]);
    assert_eq!(removals(&lab), [content(0)]);
    lab.read(0, blob, &segment(0));
    assert!(lab.tabs[0].delivered.is_empty());
    assert_eq!(lab.tabs[0].asked.len(), 1);
}

#[test]
fn what_its_publisher_withdraws_is_purged_and_plays_from_the_origin() {
    let withdrawing = |number: u32, made: u64| {
        let contents = BoundedVec::first_of([content(number)]);
        manifest().dated(EPOCH + Duration::from_secs(made)).withdrawing(contents)
    };
    let id = stream(Roots::Origin).id;
    let mut lab = two();
    lab.call(0, &[], |node, now| node.add_manifest(id, withdrawing(0, 1), now));
    lab.settle();
    assert_eq!((lab.tabs[0].node.stored_bytes(), removals(&lab)), (0, vec![content(0)]));
    lab.fetch(0, 0, FAR);
    assert_eq!((lab.tabs[0].asked.len(), lab.tabs[0].sidecars.len()), (1, 0));
    // An older manifest does not bring it back, and what is restored later is removed, too.
    lab.call(0, &[], |node, now| node.add_manifest(id, manifest(), now));
    restore(&mut lab, 0);
    assert_eq!(removals(&lab), [content(0); 2]);
}

#[test]
fn a_publisher_has_no_say_in_the_streams_of_others() {
    let mut lab = two();
    let other = Stream { id: StreamId::new(None, "/other"), name: "/other".to_owned(), roots: Roots::Origin };
    let id = other.id;
    lab.call(0, &[], |node, now| node.join(other, now));
    let foreign = manifest().withdrawing(BoundedVec::first_of([content(0)]));
    lab.call(0, &[], |node, now| node.add_manifest(id, foreign, now));
    lab.settle();
    assert_eq!((lab.tabs[0].node.stored_bytes(), removals(&lab)), (LEN, vec![]));
}

#[test]
fn what_is_written_while_it_is_blocked_is_removed() {
    let mut lab = Lab::empty();
    lab.add(with_disk(), Roots::Origin);
    lab.settle();
    lab.hold(0, 0);
    block(&mut lab, 0, 1, &[0]);
    assert_eq!(removals(&lab), []);
    lab.call(0, &[], |node, now| node.handle_persisted(content(0), Persisted::Kept, now));
    lab.settle();
    assert_eq!(removals(&lab), [content(0)]);
}
