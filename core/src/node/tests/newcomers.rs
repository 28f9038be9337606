//! Those who join at the same time share out what follows before they are connected.

use std::time::Duration;

use super::lab::*;
use crate::{bounded::BoundedVec, id::PeerId, node::Roots, units::ByteRange, wire::ServiceMessage};

const SECOND: Duration = Duration::from_secs(1);
const TABS: usize = 8;

/// Tabs whose links do not come up, of a swarm of so many, that were told of each other as newcomers; each wants the same segment in
/// 4 s and has its group list.
fn crowd(population: u32) -> Lab {
    let mut lab = Lab::new(TABS, Roots::Origin);
    lab.carries = false;
    lab.settle();
    let peers: Vec<PeerId> = (0..TABS).map(|tab| lab.peer_id(tab)).collect();
    let stream = stream(Roots::Origin).id;
    for tab in 0..TABS {
        lab.tell(tab, &ServiceMessage::Population { stream, population });
        let peers = BoundedVec::first_of(peers.iter().copied());
        lab.tell(tab, &ServiceMessage::Newcomers { stream, peers });
        lab.fetch(tab, 1, 4 * SECOND);
        lab.answer_sidecars(tab, 1);
    }
    lab
}

/// Lets time pass while the origin answers at once. What was asked of it, by whom.
fn answering(lab: &mut Lab, time: Duration) -> Vec<(usize, Option<ByteRange>)> {
    let (end, mut all) = (lab.now + time, Vec::new());
    while lab.now < end {
        lab.advance(Duration::from_millis(10));
        for tab in 0..TABS {
            for asked in std::mem::take(&mut lab.tabs[tab].asked) {
                all.push((tab, asked.range));
                let whole = segment(1);
                let (status, body) = match asked.range {
                    Some(range) => (206, &whole[range.start() as usize..range.end() as usize]),
                    None => (200, &whole[..]),
                };
                lab.answer(tab, asked, status, body);
            }
        }
    }
    all
}

fn bytes_of(asked: &[(usize, Option<ByteRange>)]) -> u64 {
    asked.iter().map(|(_, range)| range.map_or(LEN, ByteRange::len)).sum()
}

#[test]
fn unconnected_newcomers_ask_the_origin_for_each_part_once() {
    let mut lab = crowd(8);
    let asked = answering(&mut lab, 2 * SECOND);
    assert_eq!(bytes_of(&asked), LEN, "{asked:?}");
    assert!(asked.iter().all(|(_, range)| range.is_some()));
    let askers: std::collections::BTreeSet<_> = asked.iter().map(|(tab, _)| tab).collect();
    assert!(askers.len() > 1, "they share it: {asked:?}");
}

#[test]
fn whoever_stays_unconnected_asks_for_the_rest_in_time() {
    let mut lab = crowd(8);
    answering(&mut lab, 4 * SECOND - Duration::from_millis(500));
    for tab in &lab.tabs {
        assert_eq!(tab.delivered.len(), 1);
    }
}

#[test]
fn before_they_have_all_been_named_nobody_asks() {
    let mut lab = crowd(8);
    assert_eq!(answering(&mut lab, Duration::from_millis(190)), []);
}

#[test]
fn newcomers_in_a_swarm_of_many_others_wait_for_their_links_instead() {
    let mut lab = crowd(40);
    assert_eq!(answering(&mut lab, SECOND), []);
    assert!(bytes_of(&answering(&mut lab, SECOND)) > LEN);
}

#[test]
fn a_newcomer_whose_neighbours_who_go_first_are_silent_asks_after_a_while() {
    let mut lab = crowd(8);
    // The others were told of the crowd and have gone: nothing of theirs is heard.
    lab.now = lab.now + Duration::from_millis(3900);
    lab.fetch(0, 2, 10 * SECOND);
    lab.answer_sidecars(0, 2);
    lab.advance(4 * SECOND);
    assert!(!lab.tabs[0].asked.is_empty(), "well before the deadline");
}
