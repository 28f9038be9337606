use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    content::GROUP_LEN,
    units::{ByteRange, GroupIndex, GroupRange},
    wire::{Held, LinkMessage, Request, data_header},
};

const GROUP: usize = GROUP_LEN as usize;

/// One tab alone, its request under way.
fn alone(roots: Roots) -> (Lab, FetchId, Asked) {
    let mut lab = Lab::new(1, roots);
    lab.settle();
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    lab.advance(Duration::from_millis(10));
    let asked = lab.tabs[0].asked.pop().expect("nobody else is there");
    (lab, fetch, asked)
}

/// The bytes that a range request is for.
fn part(asked: Asked) -> Vec<u8> {
    let range = asked.range.expect("it is a range request");
    segment(0)[range.start() as usize..range.end() as usize].to_vec()
}

/// Tab 1 has four groups from tab 0, and asks the origin for the other three.
fn with_range() -> (Lab, FetchId, Asked) {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let mut sent = 0;
    lab.tamper = Some(Box::new(move |_, message| {
        sent += 1;
        if sent > 4 {
            message[0] = 250;
        }
    }));
    let fetch = lab.fetch(1, 0, Duration::from_secs(5));
    lab.advance(Duration::from_millis(4900));
    lab.silent.insert(0);
    let asked = lab.tabs[1].asked.pop().expect("before the deadline");
    assert_eq!(lab.tabs[1].node.stats().verified_groups, 4);
    assert!(part(asked).len() <= 3 * GROUP);
    (lab, fetch, asked)
}

/// Tab 1 has every second group from tab 0, which brings no other one, and is about to run dry.
fn with_holes() -> (Lab, FetchId) {
    let mut lab = Lab::connected(2);
    let fetch = lab.fetch(1, 0, Duration::from_secs(5));
    lab.answer_sidecars(1, 0);
    lab.silent.insert(0);
    lab.claim(0, 1, 0, Held::All);
    lab.advance(Duration::from_millis(10));
    let mut even = vec![0, 2, 4, 6];
    while !even.is_empty() {
        let requests: Vec<Request> = lab.tabs[1]
            .said
            .iter()
            .filter_map(|(_, message)| match message {
                LinkMessage::Request(request) => Some(request.clone()),
                _ => None,
            })
            .collect();
        let asks = |request: &Request, group| {
            request.groups.iter().any(|range| range.contains(GroupIndex::new(group)))
        };
        let next = even.iter().position(|group| requests.iter().any(|request| asks(request, *group)));
        let group = even.remove(next.expect("some are asked for"));
        let request = requests.iter().find(|request| asks(request, group)).unwrap();
        bring(&mut lab, request, group);
        lab.advance(Duration::from_millis(10));
    }
    lab.advance(Duration::from_millis(4850));
    (lab, fetch)
}

#[test]
fn near_the_deadline_all_runs_of_missing_groups_are_asked_for_at_once() {
    let (mut lab, fetch) = with_holes();
    let held = lab.tabs[1].node.stats().verified_groups;
    let asked = std::mem::take(&mut lab.tabs[1].asked);
    assert!(asked.len() >= 3, "{asked:?}");
    let bytes: usize = asked.iter().map(|asked| part(*asked).len()).sum();
    assert_eq!(bytes.div_ceil(GROUP) as u64 + held, 7, "each missing group once");
    for asked in asked.into_iter().rev() {
        lab.answer(1, asked, 206, &part(asked));
    }
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn where_one_of_several_runs_fails_the_player_gets_the_whole_segment() {
    let (mut lab, fetch) = with_holes();
    let asked = std::mem::take(&mut lab.tabs[1].asked);
    let failed = asked[1].request;
    lab.call(1, &[], |node, now| node.handle_origin_failed(failed, now));
    lab.settle();
    let whole = lab.tabs[1].asked.pop().expect("it is repeated");
    assert_eq!(whole.range, None);
    // What comes of the others, which were given up, is ignored.
    lab.bytes(1, asked[0], &part(asked[0]));
    lab.answer(1, whole, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn a_tab_alone_asks_for_the_whole_segment_at_once() {
    let (mut lab, fetch, asked) = alone(Roots::Origin);
    assert_eq!((asked.range, asked.fresh), (None, false));
    lab.answer(0, asked, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn an_origin_that_ignores_range_still_serves_the_rest() {
    let (mut lab, fetch, asked) = with_range();
    lab.answer(1, asked, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn of_several_requests_for_parts_one_that_brings_everything_is_enough() {
    let (mut lab, fetch) = with_holes();
    let asked = std::mem::take(&mut lab.tabs[1].asked);
    assert!(asked.len() >= 3, "{asked:?}");
    lab.head(1, asked[1], 200);
    lab.bytes(1, asked[1], &segment(0)[..GROUP]);
    lab.advance(Duration::from_secs(1));
    assert!(lab.tabs[1].asked.is_empty(), "{:?}", lab.tabs[1].asked);
    let others: Vec<_> =
        asked.iter().map(|asked| asked.request).filter(|request| *request != asked[1].request).collect();
    assert_eq!(lab.tabs[1].aborted, others);
    lab.bytes(1, asked[1], &segment(0)[GROUP..]);
    lab.end(1, asked[1]);
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn where_range_is_ignored_the_next_segment_is_asked_for_once() {
    let (mut lab, _) = with_holes();
    let asked = std::mem::take(&mut lab.tabs[1].asked);
    lab.answer(1, asked[0], 200, &segment(0));
    lab.fetch(1, 1, Duration::from_secs(2));
    lab.answer_sidecars(1, 1);
    lab.claim(0, 1, 1, Held::All);
    lab.advance(Duration::from_secs(2));
    let ranges: Vec<_> = lab.tabs[1].asked.iter().map(|asked| asked.range).collect();
    assert_eq!(ranges, [None]);
}

#[test]
fn a_range_that_comes_short_is_followed_by_a_whole_request() {
    let (mut lab, fetch, asked) = with_range();
    lab.answer(1, asked, 206, &part(asked)[..GROUP]);
    lab.advance(Duration::from_millis(500));
    let again = lab.tabs[1].asked.pop().expect("what is still missing");
    assert_eq!(again.range, None);
    lab.answer(1, again, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn a_range_request_that_fails_is_repeated_as_a_player_would_have_sent_it() {
    for status in [404, 416, 500] {
        let (mut lab, fetch, asked) = with_range();
        lab.head(1, asked, status);
        lab.settle();
        let again = lab.tabs[1].asked.pop().expect("as a whole");
        assert_eq!(again.range, None);
        lab.head(1, again, 404);
        lab.settle();
        lab.advance(Duration::from_secs(5));
        assert_eq!(lab.tabs[1].failed, [(fetch, FetchError::Status(404))]);
    }
    let (mut lab, _, asked) = with_range();
    lab.call(1, &[], |node, now| node.handle_origin_failed(asked.request, now));
    lab.settle();
    assert_eq!(lab.tabs[1].asked[0].range, None);
}

#[test]
fn a_206_from_another_place_is_no_answer() {
    let (mut lab, _, asked) = with_range();
    let head = OriginHead { status: 206, start: Some(0), len: None };
    lab.call(1, &[], |node, now| node.handle_origin_head(asked.request, head, now));
    lab.settle();
    assert_eq!(lab.tabs[1].asked[0].range, None);
}

#[test]
fn errors_are_what_plain_http_shows_where_nobody_holds_the_segment() {
    for status in [403, 404, 500, 503] {
        let (mut lab, fetch, asked) = alone(Roots::Origin);
        lab.head(0, asked, status);
        lab.settle();
        assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Status(status))]);
    }
    let (mut lab, fetch, asked) = alone(Roots::Origin);
    lab.call(0, &[], |node, now| node.handle_origin_failed(asked.request, now));
    lab.settle();
    assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Network)]);
}

#[test]
fn a_body_that_breaks_off_is_a_network_error_and_what_was_verified_stays() {
    let (mut lab, fetch, asked) = alone(Roots::Origin);
    lab.head(0, asked, 200);
    lab.bytes(0, asked, &segment(0)[..3 * GROUP]);
    lab.call(0, &[], |node, now| node.handle_origin_failed(asked.request, now));
    lab.settle();
    assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Network)]);
    let again = lab.fetch(0, 0, Duration::ZERO);
    let asked = lab.tabs[0].asked.pop().unwrap();
    assert_eq!(asked.range, ByteRange::new(3 * GROUP as u64, LEN));
    lab.answer(0, asked, 206, &segment(0)[3 * GROUP..]);
    assert_eq!(lab.tabs[0].delivered, [(again, segment(0), Delivery::Verified, 200)]);
}

/// The origin answers tab 1 with 500 while tab 0 is asked for everything, and brings nothing by itself.
fn failing_origin_and_slow_holder() -> (Lab, FetchId, Request) {
    let mut lab = Lab::connected(2);
    let fetch = lab.fetch(1, 0, Duration::ZERO);
    lab.answer_sidecars(1, 0);
    lab.advance(Duration::from_millis(10));
    let asked = lab.tabs[1].asked.pop().unwrap();
    lab.silent.insert(0);
    lab.claim(0, 1, 0, Held::All);
    let request = lab.tabs[1].said.iter().find_map(|(_, message)| match message {
        LinkMessage::Request(request) => Some(request.clone()),
        _ => None,
    });
    assert!(lab.tabs[1].asked.is_empty());
    lab.head(1, asked, 500);
    lab.settle();
    (lab, fetch, request.expect("the holder is asked"))
}

fn bring(lab: &mut Lab, request: &Request, group: u32) {
    let bytes: Vec<u8> = segment(0).into_iter().skip(group as usize * GROUP).take(GROUP).collect();
    let message = [data_header(request.id, GroupIndex::new(group), bytes.len()), bytes].concat();
    lab.send_bulk(0, 1, &message);
}

#[test]
fn an_origin_error_does_not_matter_while_a_neighbour_brings_the_segment() {
    let (mut lab, _, _) = failing_origin_and_slow_holder();
    lab.silent.clear();
    lab.hold(0, 0);
    lab.advance(Duration::from_millis(1900));
    assert_eq!(lab.tabs[1].failed, []);
    assert_eq!(lab.tabs[1].delivered[0].1, segment(0));
}

#[test]
fn a_neighbour_that_brings_a_little_does_not_keep_an_origin_error_from_the_player() {
    let (mut lab, fetch, request) = failing_origin_and_slow_holder();
    lab.advance(Duration::from_millis(1500));
    assert_eq!(lab.tabs[1].failed, []);
    bring(&mut lab, &request, request.groups[0].start().value());
    assert_eq!(lab.tabs[1].node.stats().verified_groups, 1);
    lab.advance(Duration::from_millis(600));
    assert_eq!(lab.tabs[1].failed, [(fetch, FetchError::Status(500))]);
}

#[test]
fn a_neighbour_that_holds_only_what_is_here_already_is_not_waited_for() {
    let mut lab = Lab::connected(2);
    let cancelled = lab.fetch(1, 0, Duration::ZERO);
    lab.answer_sidecars(1, 0);
    lab.advance(Duration::from_millis(10));
    let asked = lab.tabs[1].asked[0];
    lab.head(1, asked, 200);
    lab.bytes(1, asked, &segment(0)[..2 * GROUP]);
    lab.call(1, &[], |node, now| node.cancel(cancelled, now));
    let held = Held::Groups(BoundedVec::first_of(GroupRange::new(GroupIndex::new(0), GroupIndex::new(2))));
    lab.claim(0, 1, 0, held);
    lab.fetch(1, 0, Duration::from_secs(5));
    lab.advance(Duration::from_millis(600));
    assert_eq!(lab.tabs[1].asked[0].range, ByteRange::new(2 * GROUP as u64, LEN));
}

#[test]
fn any_answer_of_success_is_taken_as_a_player_would() {
    let (mut lab, fetch, asked) = alone(Roots::Origin);
    lab.answer(0, asked, 203, &segment(0));
    assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn a_stalling_origin_is_overtaken_by_neighbours() {
    let mut lab = Lab::connected(2);
    let fetch = lab.fetch(1, 0, Duration::from_secs(10));
    lab.answer_sidecars(1, 0);
    lab.advance(Duration::from_secs(1));
    let asked = lab.tabs[1].asked.pop().expect("nobody held it");
    lab.head(1, asked, 200);
    lab.bytes(1, asked, &segment(0)[..GROUP]);
    lab.hold(0, 0);
    lab.advance(Duration::from_secs(2));
    assert_eq!(lab.tabs[1].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, LEN - GROUP as u64);
}

#[test]
fn a_segment_of_a_byte_range_asks_for_its_range_and_says_206() {
    let whole: Vec<u8> = [&[0xaa; 500][..], &segment(0), &[0xbb; 500]].concat();
    for status in [206, 200] {
        let mut lab = Lab::new(1, Roots::Attested);
        lab.settle();
        let range = ByteRange::new(500, 500 + LEN);
        let key = crate::content::SegmentKey::new("all.mp4", range).unwrap();
        let request = FetchRequest { stream: stream(Roots::Attested).id, key, deadline: None };
        let fetch = lab.call(0, &[], |node, now| node.fetch(request, now));
        lab.advance(Duration::from_secs(2));
        let asked = lab.tabs[0].asked.pop().unwrap();
        assert_eq!(asked.range, range);
        let body = if status == 206 { &whole[500..500 + LEN as usize] } else { &whole[..] };
        lab.answer(0, asked, status, body);
        assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::OriginWhole, 206)]);
    }
}

#[test]
fn late_bytes_of_a_given_up_request_are_ignored() {
    let (mut lab, fetch, asked) = alone(Roots::Origin);
    lab.head(0, asked, 200);
    lab.call(0, &[], |node, now| node.cancel(fetch, now));
    lab.settle();
    lab.bytes(0, asked, &segment(0));
    lab.end(0, asked);
    assert_eq!((&lab.tabs[0].delivered, &lab.tabs[0].failed), (&Vec::new(), &Vec::new()));
}

/// Two names for the same bytes, attested to one tab that knows nobody; the first is on its way from the origin.
fn twins() -> (Lab, [FetchId; 2], Asked) {
    let mut lab = Lab::new(1, Roots::Attested);
    lab.attests = true;
    lab.settle();
    for number in [0, 1] {
        let attested = attested(number, &segment(0), lab.wall());
        lab.tell(0, &crate::wire::ServiceMessage::Attested(Box::new(attested)));
    }
    let first = lab.fetch(0, 0, Duration::ZERO);
    let second = lab.fetch(0, 1, Duration::ZERO);
    let asked = lab.tabs[0].asked.pop().expect("nobody else is there");
    assert!(lab.tabs[0].asked.is_empty(), "the same bytes are on their way already");
    lab.head(0, asked, 200);
    (lab, [first, second], asked)
}

#[test]
fn the_same_bytes_under_two_names_come_in_one_request() {
    let (mut lab, fetches, asked) = twins();
    lab.bytes(0, asked, &segment(0));
    lab.end(0, asked);
    let delivered: Vec<_> = lab.tabs[0].delivered.iter().map(|(fetch, ..)| *fetch).collect();
    assert_eq!(delivered.len(), 2);
    assert!(fetches.iter().all(|fetch| delivered.contains(fetch)));
    assert!(
        lab.tabs[0]
            .delivered
            .iter()
            .all(|(_, bytes, delivery, _)| *bytes == segment(0) && *delivery == Delivery::Verified)
    );
}

#[test]
fn before_an_origin_that_takes_its_time_two_names_of_the_same_bytes_do_not_take_turns_for_ever() {
    let (mut lab, fetches, _) = twins();
    lab.advance(Duration::from_secs(40));
    let aborted = lab.tabs[0].aborted.len();
    assert!((2..=10).contains(&aborted), "{aborted} requests were given up in 40 s");
    let asked = lab.tabs[0].asked.pop().expect("one is under way");
    lab.answer(0, asked, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered.len(), fetches.len());
}

#[test]
fn a_request_that_stalls_gives_way_to_that_of_the_other_name_and_writes_no_more() {
    let (mut lab, fetches, asked) = twins();
    lab.bytes(0, asked, &segment(0)[..GROUP / 2]);
    lab.advance(Duration::from_millis(1100));
    let other = lab.tabs[0].asked.pop().expect("the other name's request");
    lab.head(0, other, 200);
    lab.bytes(0, other, &segment(0)[..GROUP / 4]);
    lab.bytes(0, asked, &[0xff; 100]);
    lab.bytes(0, other, &segment(0)[GROUP / 4..]);
    lab.end(0, other);
    let delivered: Vec<_> =
        lab.tabs[0].delivered.iter().map(|(fetch, bytes, ..)| (*fetch, bytes == &segment(0))).collect();
    assert!(fetches.iter().all(|fetch| delivered.contains(&(*fetch, true))), "{delivered:?}");
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_slicing_of_a_body_verifies(cuts in proptest::collection::vec(0..LEN as usize, 0..12)) {
        let (mut lab, _, asked) = alone(Roots::Origin);
        let (bytes, mut cuts) = (segment(0), cuts);
        cuts.extend([0, LEN as usize]);
        cuts.sort_unstable();
        lab.head(0, asked, 200);
        for cut in cuts.windows(2) {
            let piece = &bytes[cut[0]..cut[1]];
            lab.call(0, piece, |node, now| node.handle_origin_bytes(asked.request, piece, now));
        }
        lab.end(0, asked);
        proptest::prop_assert_eq!(&lab.tabs[0].delivered[0].1, &bytes);
        proptest::prop_assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
    }

    #[test]
    fn a_flipped_bit_from_the_origin_is_never_called_verified(bit in 0..8 * LEN as usize) {
        let (mut lab, _, asked) = alone(Roots::Origin);
        let mut bytes = segment(0);
        bytes[bit / 8] ^= 1 << (bit % 8);
        lab.answer(0, asked, 200, &bytes);
        lab.advance(Duration::from_secs(20));
        for asked in std::mem::take(&mut lab.tabs[0].asked) {
            lab.answer(0, asked, 200, &bytes);
        }
        proptest::prop_assert!(lab.tabs[0].delivered.iter().all(|(_, _, delivery, _)| *delivery == Delivery::OriginWhole));
        proptest::prop_assert_eq!(lab.tabs[0].node.stored_bytes(), 0);
    }
}
