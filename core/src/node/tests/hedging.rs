use std::{collections::BTreeMap, time::Duration};

use super::{super::*, lab::*};
use crate::{
    content::GROUP_LEN,
    id::RequestId,
    wire::{Held, LinkMessage, Request, data_header},
};

const SOON: Duration = Duration::from_secs(5);
const FAR: Duration = Duration::from_secs(20);

/// So many tabs of which all but the last hold segment 0 and say nothing any more once the last one has its list.
fn silent_holders(holders: usize, within: Duration) -> Lab {
    let mut lab = Lab::connected(holders + 1);
    lab.hold(0, 0);
    for tab in 1..holders {
        lab.fetch(tab, 0, FAR);
        lab.advance(Duration::from_millis(600));
    }
    lab.silent.extend(0..holders);
    lab.fetch(holders, 0, within);
    lab.answer_sidecars(holders, 0);
    lab.advance(Duration::from_millis(401));
    lab.answer_sidecars(holders, 0);
    lab
}

/// The requests for each group that a tab made.
fn requests(lab: &Lab, tab: usize) -> BTreeMap<u32, Vec<(LinkId, RequestId)>> {
    let mut asked: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (link, message) in &lab.tabs[tab].said {
        let LinkMessage::Request(Request { id, groups, .. }) = message else { continue };
        for group in groups.iter().flat_map(|range| range.iter()) {
            asked.entry(group.value()).or_default().push((*link, *id));
        }
    }
    asked
}

/// Groups of segment 0 that were asked of two.
fn doubled(lab: &Lab, tab: usize) -> BTreeMap<u32, Vec<(LinkId, RequestId)>> {
    let mut requests = requests(lab, tab);
    requests.retain(|_, asked| asked.len() > 1);
    requests
}

/// A group of a request, as its holder sends it, and who that is.
fn group(lab: &Lab, tab: usize, (link, request): (LinkId, RequestId), number: u32) -> (usize, Vec<u8>) {
    let holder = (0..tab).find(|holder| lab.link(tab, *holder) == link).expect("it is a holder's");
    let bytes = segment(0);
    let start = (number * GROUP_LEN) as usize;
    let end = bytes.len().min(start + GROUP_LEN as usize);
    let mut message = data_header(request, crate::units::GroupIndex::new(number), end - start);
    message.extend_from_slice(&bytes[start..end]);
    (holder, message)
}

fn is_cancelled(lab: &Lab, tab: usize, (link, request): (LinkId, RequestId)) -> bool {
    lab.tabs[tab].said.contains(&(link, LinkMessage::Cancel(request)))
}

#[test]
fn an_urgent_group_that_is_overdue_is_asked_of_one_more_holder_and_of_no_third() {
    let mut lab = silent_holders(4, SOON);
    lab.advance(Duration::from_millis(390));
    assert!(doubled(&lab, 4).is_empty());
    lab.advance(Duration::from_millis(100));
    let asked = doubled(&lab, 4);
    assert!(!asked.is_empty() && asked.len() <= 4, "{asked:?}");
    assert!(asked.values().all(|asked| asked.len() == 2 && asked[0].0 != asked[1].0), "{asked:?}");
    assert!(asked.values().flatten().all(|asked| !is_cancelled(&lab, 4, *asked)));
}

#[test]
fn what_is_needed_late_is_not_asked_of_two() {
    let mut lab = silent_holders(4, FAR);
    lab.advance(Duration::from_millis(550));
    assert!(doubled(&lab, 4).is_empty());
}

#[test]
fn the_first_copy_to_come_cancels_the_other_whosever_it_is() {
    for first in [0, 1] {
        let mut lab = silent_holders(4, SOON);
        lab.advance(Duration::from_millis(490));
        let (number, asked) = doubled(&lab, 4).pop_first().expect("one is overdue");
        let (from, other) = (asked[first], asked[1 - first]);
        let (holder, message) = group(&lab, 4, from, number);
        lab.send_bulk(holder, 4, &message);
        lab.settle();
        assert!(is_cancelled(&lab, 4, other) && !is_cancelled(&lab, 4, from), "{first}");
        // The other was about to send it.
        let (holder, message) = group(&lab, 4, other, number);
        lab.send_bulk(holder, 4, &message);
        lab.settle();
        let stats = lab.tabs[4].node.stats();
        assert_eq!((stats.verified_groups, stats.duplicate_groups, lab.bans(4).len()), (1, 1, 0), "{first}");
    }
}

#[test]
fn wrong_bytes_of_one_leave_the_group_to_the_other() {
    let mut lab = silent_holders(4, SOON);
    lab.advance(Duration::from_millis(490));
    let (number, asked) = doubled(&lab, 4).pop_first().expect("one is overdue");
    let (holder, mut message) = group(&lab, 4, asked[0], number);
    let (other, right) = group(&lab, 4, asked[1], number);
    let last = message.len() - 1;
    message[last] ^= 1;
    lab.send_bulk(holder, 4, &message);
    lab.settle();
    assert_eq!(lab.bans(4).len(), 1);
    assert!(!is_cancelled(&lab, 4, asked[1]));
    lab.send_bulk(other, 4, &right);
    lab.settle();
    assert_eq!(lab.tabs[4].node.stats().verified_groups, 1);
}

#[test]
fn the_origin_is_asked_two_seconds_after_a_holder_fell_silent_whatever_others_bring_meanwhile() {
    let mut lab = silent_holders(2, FAR);
    let began = lab.now;
    let brings = lab.link(2, 1);
    let others: Vec<_> = requests(&lab, 2)
        .into_iter()
        .filter_map(|(number, asked)| (asked[0].0 == brings).then_some((number, asked[0])))
        .collect();
    assert!(!others.is_empty() && others.len() < GROUPS as usize, "both holders are asked");
    for (number, asked) in others {
        assert!(lab.tabs[2].asked.is_empty(), "{:?}", lab.now.saturating_since(began));
        let (holder, message) = group(&lab, 2, asked, number);
        lab.send_bulk(holder, 2, &message);
        lab.advance(Duration::from_millis(450));
    }
    let brought = lab.tabs[2].node.stats().verified_groups;
    lab.advance((began + Duration::from_millis(2200)).saturating_since(lab.now));
    assert!(!lab.tabs[2].asked.is_empty(), "{brought} groups came");
}

#[test]
fn what_a_silent_holder_was_asked_for_is_asked_of_another_one_the_moment_that_has_it() {
    let mut lab = Lab::connected(3);
    lab.hold(0, 0);
    lab.silent.insert(0);
    lab.fetch(1, 0, FAR);
    lab.answer_sidecars(1, 0);
    lab.advance(Duration::from_millis(401));
    lab.answer_sidecars(1, 0);
    lab.advance(Duration::from_millis(1100));
    let again = doubled(&lab, 1);
    assert!(!again.is_empty(), "the only holder is asked again");
    let began = lab.now;
    lab.claim(2, 1, 0, Held::All);
    let (other, asked) = (lab.link(1, 2), requests(&lab, 1));
    assert!(again.keys().all(|group| asked[group].last().unwrap().0 == other), "{asked:?}");
    assert!(lab.now == began && lab.tabs[1].asked.is_empty(), "nor is the origin");
}
