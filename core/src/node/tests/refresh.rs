//! Live streams: the manifest is asked for again, and a newer one counts.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    content::{SegmentEntry, SegmentLen, Track},
    wire::LinkMessage,
};

const FAR: Duration = Duration::from_secs(20);
const PERIOD: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

fn signed() -> Roots {
    Roots::Signed(publisher().public_key())
}

/// The manifest made so many seconds after the first, of segments given as (name, number of the bytes).
fn live(made: u64, segments: &[(u32, u32)]) -> Manifest {
    let entry = |(name, bytes): &(u32, u32)| {
        let place = u64::from(32 * GROUPS * bytes);
        SegmentEntry::new(key(*name), 0, SegmentLen::new(LEN).unwrap(), content(*bytes), place)
    };
    let track = Track::new("index.m3u8", "index.m3u8.groups").unwrap();
    let created = EPOCH + Duration::from_secs(made);
    let segments = segments.iter().map(entry).collect();
    Manifest::new(STREAM_NAME, created, vec![track], segments).unwrap().live(PERIOD)
}

/// Tabs connected to each other that have the first manifest of a live stream, of segment 0.
fn lab(tabs: usize) -> Lab {
    let mut lab = Lab::empty();
    for number in 0..tabs {
        lab.add(config(number), signed());
        give(&mut lab, number, live(1, &[(0, 0)]));
    }
    lab.settle();
    lab.advance(MOMENT);
    lab
}

fn give(lab: &mut Lab, tab: usize, manifest: Manifest) {
    lab.call(tab, &[], |node, now| node.add_manifest(stream(signed()).id, manifest, now));
    lab.settle();
}

fn give_along(lab: &mut Lab, tab: usize, manifest: Manifest) {
    lab.call(tab, &[], |node, now| node.take_along(stream(signed()).id, manifest, None, now));
    lab.settle();
}

fn fail(lab: &mut Lab, tab: usize) {
    lab.call(tab, &[], |node, now| node.manifest_failed(stream(signed()).id, now));
    lab.settle();
}

/// How often a tab asked for the manifest since this was looked at last.
fn asks(lab: &mut Lab, tab: usize) -> usize {
    let outputs = &mut lab.tabs[tab].outputs;
    let before = outputs.len();
    outputs.retain(|output| !matches!(output, Output::ManifestFetch { .. }));
    before - outputs.len()
}

fn rollbacks(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].events.iter().filter(|event| matches!(event, Event::ManifestRolledBack { .. })).count()
}

/// The origin answers what it was asked last.
fn serve(lab: &mut Lab, tab: usize, number: u32) {
    let asked = lab.tabs[tab].asked.pop().expect("the origin was asked");
    lab.answer(tab, asked, 200, &segment(number));
}

#[test]
fn a_segment_that_is_not_listed_yet_comes_from_peers_once_it_is() {
    let mut lab = lab(2);
    for tab in 0..2 {
        lab.advance(PERIOD);
        lab.fetch(tab, 1, FAR);
        assert_eq!((asks(&mut lab, tab), lab.tabs[tab].asked.len()), (1, 0));
        give(&mut lab, tab, live(2, &[(0, 0), (1, 1)]));
        if tab == 0 {
            lab.answer_sidecars(0, 1);
            lab.advance(Duration::from_secs(1));
            serve(&mut lab, 0, 1);
        }
        lab.advance(Duration::from_secs(1));
        assert_eq!(lab.tabs[tab].delivered[0].1, segment(1));
        assert_eq!(lab.tabs[tab].delivered[0].2, Delivery::Verified);
    }
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, LEN);
}

#[test]
fn a_request_for_a_manifest_that_nobody_answers_is_made_again() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    assert_eq!(asks(&mut lab, 0), 1);
    lab.advance(Duration::from_secs(14));
    lab.fetch(0, 2, FAR);
    assert_eq!(asks(&mut lab, 0), 0);
    lab.advance(Duration::from_secs(2));
    lab.fetch(0, 3, FAR);
    assert_eq!(asks(&mut lab, 0), 1);
}

#[test]
fn a_manifest_that_is_slow_keeps_nobody_from_the_origin_and_its_segment_is_shared_when_it_comes() {
    let mut lab = lab(2);
    lab.advance(PERIOD);
    lab.fetch(0, 1, Duration::from_secs(2));
    lab.advance(Duration::from_millis(400));
    serve(&mut lab, 0, 1);
    assert!(lab.tabs[0].delivered.is_empty(), "there is time to wait for its root");
    lab.advance(Duration::from_millis(600));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole, "before the player needs it");
    lab.advance(Duration::from_secs(2));
    give(&mut lab, 0, live(2, &[(0, 0), (1, 1)]));
    lab.advance(Duration::from_millis(100));
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
    give(&mut lab, 1, live(2, &[(0, 0), (1, 1)]));
    lab.fetch(1, 1, FAR);
    assert_eq!(lab.tabs[1].delivered[0].1, segment(1));
}

/// Answers a tab's requests for manifests with this one until there are no more for so long; how many there were.
fn nothing_new(lab: &mut Lab, tab: usize, manifest: &Manifest, quiet: Duration) -> usize {
    let (mut requests, mut since) = (0, Duration::ZERO);
    while since < quiet {
        since += MOMENT;
        if asks(lab, tab) > 0 {
            (requests, since) = (requests + 1, Duration::ZERO);
            give(lab, tab, manifest.clone());
        }
        lab.advance(MOMENT);
    }
    requests
}

#[test]
fn a_manifest_that_runs_a_moment_behind_its_playlist_is_asked_for_again_before_the_origin() {
    let mut lab = lab(2);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    for _ in 0..2 {
        assert_eq!((asks(&mut lab, 0), lab.tabs[0].asked.len()), (1, 0));
        give(&mut lab, 0, live(1, &[(0, 0)]));
        lab.advance(PERIOD / 16);
    }
    assert_eq!(asks(&mut lab, 0), 0, "the pause doubles");
    lab.advance(PERIOD / 16);
    assert_eq!((asks(&mut lab, 0), lab.tabs[0].asked.len()), (1, 0));
    give(&mut lab, 0, live(2, &[(0, 0), (1, 1)]));
    lab.answer_sidecars(0, 1);
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 1);
    lab.advance(MOMENT);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn nobody_waits_for_a_root_when_manifests_bring_nothing_new_and_it_is_adopted_when_one_does() {
    let mut lab = lab(2);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    assert_eq!(nothing_new(&mut lab, 0, &live(1, &[(0, 0)]), PERIOD / 5), 3);
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole);
    lab.advance(PERIOD / 2);
    assert_eq!(asks(&mut lab, 0), 1);
    give(&mut lab, 0, live(3, &[(0, 0), (1, 1)]));
    lab.advance(MOMENT);
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN, "adopted");
}

#[test]
fn a_second_newer_manifest_is_waited_for_a_moment() {
    let mut lab = lab(2);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    give(&mut lab, 0, live(2, &[(0, 0)]));
    asks(&mut lab, 0);
    lab.advance(Duration::from_millis(250));
    assert_eq!((asks(&mut lab, 0), lab.tabs[0].asked.len()), (1, 0));
    lab.advance(Duration::from_millis(150));
    assert_eq!(lab.tabs[0].asked.len(), 1);
}

#[test]
fn a_publisher_that_is_gone_is_asked_after_less_and_less_and_playback_goes_on_over_http() {
    for fails in [true, false] {
        let mut lab = lab(2);
        let mut requests = 0;
        for number in 1..31 {
            lab.advance(PERIOD);
            lab.fetch(0, number, FAR);
            let mut waited = 0;
            while lab.tabs[0].delivered.len() < number as usize {
                while asks(&mut lab, 0) > 0 {
                    requests += 1;
                    if fails {
                        fail(&mut lab, 0);
                    } else {
                        give(&mut lab, 0, live(1, &[(0, 0)]));
                    }
                }
                lab.advance(MOMENT);
                waited += 1;
                if !lab.tabs[0].asked.is_empty() {
                    serve(&mut lab, 0, number);
                }
            }
            // The first might be listed any moment.
            let patience = if number == 1 { 400 } else { 2 };
            assert!(waited <= patience, "segment {number} came after {waited} ms");
        }
        assert!(requests <= 11, "{requests} requests in a minute");
    }
}

#[test]
fn one_request_serves_all_and_the_next_comes_after_a_pause() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    for number in 1..9 {
        lab.fetch(0, number, FAR);
    }
    assert_eq!(asks(&mut lab, 0), 1);
    lab.advance(PERIOD * 3);
    assert_eq!(asks(&mut lab, 0), 0, "one at a time");
    give(&mut lab, 0, live(2, &[(0, 0)]));
    let mut requests = 0;
    for number in 10..1010 {
        lab.fetch(0, number, FAR);
        lab.advance(Duration::from_millis(10));
        if asks(&mut lab, 0) > 0 {
            requests += 1;
            give(&mut lab, 0, live(u64::from(number), &[(0, 0)]));
        }
    }
    // Ten seconds.
    assert!((35..=41).contains(&requests), "{requests}");
}

#[test]
fn a_complete_stream_asks_for_no_manifest() {
    let mut lab = Lab::connected(1);
    lab.advance(FAR);
    lab.fetch(0, 99, FAR);
    lab.fetch(0, 1, FAR);
    lab.advance(FAR);
    assert_eq!(asks(&mut lab, 0), 0);
}

#[test]
fn the_last_manifest_of_a_stream_ends_the_asking() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    assert_eq!(asks(&mut lab, 0), 1);
    let last =
        Manifest::new(STREAM_NAME, EPOCH + FAR, manifest().tracks().to_vec(), manifest().segments().to_vec());
    give(&mut lab, 0, last.unwrap());
    lab.answer_sidecars(0, 1);
    lab.advance(MOMENT);
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
    lab.advance(FAR);
    lab.fetch(0, 99, FAR);
    assert_eq!((asks(&mut lab, 0), lab.tabs[0].asked.len()), (0, 1));
}

#[test]
fn an_older_manifest_is_refused_and_told_once() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    give(&mut lab, 0, live(9, &[(0, 0), (1, 1)]));
    for made in [8, 1, 8] {
        lab.advance(FAR);
        give(&mut lab, 0, live(made, &[(0, 3)]));
    }
    assert_eq!(rollbacks(&lab, 0), 1);
    lab.fetch(0, 1, Duration::ZERO);
    lab.answer_sidecars(0, 1);
    lab.advance(MOMENT);
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn a_manifest_that_came_along_with_a_playlist_need_not_be_asked_for() {
    let mut lab = lab(2);
    for (tab, made) in [(0, 2), (1, 3)] {
        lab.advance(PERIOD);
        give_along(&mut lab, tab, live(made, &[(0, 0), (1, 1)]));
        lab.fetch(tab, 1, FAR);
        assert_eq!(asks(&mut lab, tab), 0);
        if tab == 0 {
            lab.answer_sidecars(0, 1);
            lab.advance(Duration::from_secs(1));
            serve(&mut lab, 0, 1);
        }
        lab.advance(Duration::from_secs(1));
        assert_eq!(lab.tabs[tab].delivered[0].2, Delivery::Verified);
    }
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, LEN);
    // The same again says that there is no newer one.
    lab.advance(PERIOD);
    give_along(&mut lab, 0, live(2, &[(0, 0), (1, 1)]));
    lab.fetch(0, 0, FAR);
    assert_eq!(asks(&mut lab, 0), 0);
    lab.advance(PERIOD);
    lab.fetch(0, 2, FAR);
    assert_eq!(asks(&mut lab, 0), 1, "a playlist without one");
}

#[test]
fn a_list_that_came_along_with_a_playlist_need_not_be_asked_for() {
    let mut lab = lab(2);
    lab.advance(PERIOD);
    let along = |lab: &mut Lab, tab: usize, number: u32| {
        let manifest = live(2, &[(0, 0), (1, 1), (2, 2)]);
        let list = Some(list(&segment(number)));
        lab.call(tab, &[], |node, now| node.take_along(stream(signed()).id, manifest, list, now));
        lab.settle();
    };
    let asked = |lab: &Lab, tab: usize| {
        let peers = lab.tabs[tab].said.iter().filter(|(_, said)| matches!(said, LinkMessage::GetList(_)));
        (lab.tabs[tab].sidecars.len(), peers.count())
    };
    along(&mut lab, 0, 1);
    lab.fetch(0, 1, FAR);
    assert_eq!(asked(&lab, 0), (0, 0));
    // It comes while it is waited for.
    lab.fetch(0, 2, FAR);
    assert_eq!(asked(&lab, 0), (1, 0));
    along(&mut lab, 0, 2);
    assert_eq!(lab.tabs[0].node.store.iter().count(), 2, "the lists of both are known");
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 2);
    serve(&mut lab, 0, 1);
    assert!(lab.tabs[0].delivered.iter().all(|(_, _, how, _)| *how == Delivery::Verified));
    assert_eq!(lab.tabs[0].delivered.len(), 2);
    // What a tab has it does not keep twice.
    along(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].node.lists.take(&content(1)), None);
    // The other tab has the list from its playlist, and the bytes from a peer.
    along(&mut lab, 1, 1);
    lab.fetch(1, 1, FAR);
    lab.advance(Duration::from_secs(1));
    assert_eq!((asked(&lab, 1), lab.tabs[1].node.stats().peer_bytes), ((0, 0), LEN));
}

#[test]
fn an_older_manifest_that_came_along_changes_nothing_and_is_no_rollback() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    give(&mut lab, 0, live(9, &[(0, 0), (1, 1)]));
    lab.advance(PERIOD);
    give_along(&mut lab, 0, live(8, &[(0, 3)]));
    lab.fetch(0, 1, FAR);
    assert_eq!((asks(&mut lab, 0), rollbacks(&lab, 0)), (1, 0), "it does not vouch for what there is");
    give(&mut lab, 0, live(9, &[(0, 0), (1, 1)]));
    lab.answer_sidecars(0, 1);
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn an_answer_that_a_playlist_has_overtaken_is_no_rollback() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    assert_eq!(asks(&mut lab, 0), 1);
    lab.advance(MOMENT);
    give_along(&mut lab, 0, live(3, &[(0, 0), (1, 1)]));
    lab.advance(MOMENT);
    give(&mut lab, 0, live(2, &[(0, 0)]));
    assert_eq!(rollbacks(&lab, 0), 0);
    lab.answer_sidecars(0, 1);
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn a_manifest_of_the_publishers_other_stream_is_none() {
    let mut lab = lab(1);
    lab.advance(PERIOD);
    lab.fetch(0, 1, FAR);
    let other = live(9, &[(1, 1)]);
    let other = Manifest::new("/other", other.created(), other.tracks().to_vec(), other.segments().to_vec());
    let other = other.unwrap().live(PERIOD);
    give_along(&mut lab, 0, other.clone());
    nothing_new(&mut lab, 0, &other, PERIOD / 5);
    serve(&mut lab, 0, 1);
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole);
    assert_eq!(rollbacks(&lab, 0), 0);
}

#[test]
fn a_name_used_again_is_looked_up_in_a_manifest_of_its_time() {
    let mut lab = lab(2);
    lab.hold(1, 0);
    lab.advance(FAR);
    lab.fetch(0, 0, FAR);
    assert_eq!((asks(&mut lab, 0), lab.tabs[0].delivered.len()), (1, 0), "the neighbour has the old bytes");
    give(&mut lab, 0, live(2, &[(0, 3)]));
    lab.answer_sidecars(0, 3);
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 3);
    assert_eq!(lab.tabs[0].delivered[0].1, segment(3));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
}

#[test]
fn bytes_that_contradict_the_root_are_those_of_a_newer_one_if_there_is_one() {
    for newer in [true, false] {
        let mut lab = lab(1);
        lab.advance(Duration::from_millis(1500));
        let fetch = lab.fetch(0, 0, Duration::ZERO);
        asks(&mut lab, 0);
        lab.answer_sidecars(0, 0);
        lab.advance(MOMENT);
        serve(&mut lab, 0, 3);
        assert_eq!(asks(&mut lab, 0), 1);
        give(&mut lab, 0, if newer { live(2, &[(0, 3)]) } else { live(1, &[(0, 0)]) });
        lab.answer_sidecars(0, if newer { 3 } else { 0 });
        lab.advance(MOMENT);
        assert!(lab.tabs[0].asked[0].fresh, "past the cache");
        serve(&mut lab, 0, 3);
        lab.advance(MOMENT);
        if newer {
            assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
        } else {
            assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Mismatch)]);
        }
    }
}

#[test]
fn who_withholds_the_newer_manifest_gets_nothing_past_the_old_one() {
    let mut lab = lab(1);
    lab.advance(FAR);
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    assert_eq!(asks(&mut lab, 0), 1);
    for _ in 0..2 {
        lab.advance(MOMENT);
        serve(&mut lab, 0, 3);
        lab.advance(Duration::from_secs(1));
        lab.answer_sidecars(0, 0);
    }
    assert!(lab.tabs[0].delivered.is_empty());
    assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Mismatch)]);
}

#[test]
fn a_fetch_under_way_starts_over_when_its_name_stands_for_other_bytes() {
    let mut lab = lab(2);
    lab.fetch(0, 0, FAR);
    lab.answer_sidecars(0, 0);
    give(&mut lab, 0, live(2, &[(0, 3)]));
    lab.answer_sidecars(0, 3);
    lab.advance(Duration::from_secs(1));
    serve(&mut lab, 0, 3);
    assert_eq!(lab.tabs[0].delivered[0].1, segment(3));
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
}
