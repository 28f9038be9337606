//! Messages of several groups: each is checked by itself, and none that was not asked for is taken.

use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    content::GROUP_LEN,
    guard::Violation,
    units::{GroupIndex, GroupRange},
    wire::{Held, LinkMessage, MAX_RUN, Request, data_header},
};

const GROUP: usize = GROUP_LEN as usize;

/// Tab 1 has asked tab 0, which says nothing by itself, for some groups of a segment.
struct Asker {
    lab: Lab,
    requests: Vec<Request>,
}

impl Asker {
    fn new() -> Self {
        let mut lab = Lab::connected(2);
        lab.claim(0, 1, 0, Held::All);
        lab.silent.insert(0);
        lab.fetch(1, 0, Duration::from_secs(20));
        lab.advance(Duration::from_millis(400));
        lab.answer_sidecars(1, 0);
        let requests = lab.tabs[1].said.iter().filter_map(|(_, said)| match said {
            LinkMessage::Request(request) => Some(request.clone()),
            _ => None,
        });
        let requests = requests.collect();
        Self { lab, requests }
    }

    /// The request for the longest run.
    fn longest(&self) -> (Request, GroupRange) {
        let asked = self.requests.iter().map(|request| (request.clone(), request.groups[0]));
        asked.max_by_key(|(_, groups)| groups.len()).expect("something is asked for")
    }

    /// Tab 0 sends these bytes as groups from `first` on.
    fn send(&mut self, request: &Request, first: u32, bytes: &[u8]) {
        let header = data_header(request.id, GroupIndex::new(first), bytes.len());
        self.lab.send_bulk(0, 1, &[&header, bytes].concat());
    }

    /// Groups that tab 1 has verified, and what it banned tab 0 for.
    fn result(&self) -> (u64, Vec<Violation>) {
        let bans = self.lab.bans(1).into_iter().map(|(_, violation)| violation);
        (self.lab.tabs[1].node.stats().verified_groups, bans.collect())
    }
}

/// The bytes of so many groups from `first` on.
fn bytes_of(first: u32, groups: u32) -> Vec<u8> {
    let bytes = segment(0);
    let start = first as usize * GROUP;
    bytes[start..bytes.len().min(start + groups as usize * GROUP)].to_vec()
}

#[test]
fn a_run_is_kept_and_told_as_one() {
    let mut asker = Asker::new();
    let (request, groups) = asker.longest();
    let (first, len) = (groups.start().value(), groups.len());
    assert!(len > 1, "{groups:?}");
    asker.send(&request, first, &bytes_of(first, len));
    assert_eq!(asker.result(), (u64::from(len), Vec::new()));
    let told = asker.lab.tabs[1].events.iter().filter_map(|event| match event {
        Event::GroupsVerified { bytes, .. } => Some(*bytes as usize),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [bytes_of(first, len).len()]);
    let held: Vec<_> =
        asker.lab.tabs[1].blobs.values().map(|blob| blob[first as usize * GROUP..].to_vec()).collect();
    assert_eq!(held, [bytes_of(first, len)]);
}

#[test]
fn a_wrong_group_in_a_run_condemns_its_sender_and_what_came_before_it_stays() {
    let mut asker = Asker::new();
    let (request, groups) = asker.longest();
    let first = groups.start().value();
    let mut bytes = bytes_of(first, groups.len());
    bytes[GROUP + 7] ^= 1;
    asker.send(&request, first, &bytes);
    assert_eq!(asker.result(), (1, vec![Violation::BadGroup]));
    assert_eq!(asker.lab.tabs[1].node.links().count(), 0);
}

#[test]
fn a_run_beyond_what_was_asked_for_closes_the_link() {
    let mut asker = Asker::new();
    let asked = asker.requests.iter().find(|request| request.groups[0].end().value() < GROUPS);
    let request = asked.expect("one request ends before the segment does").clone();
    let (first, len) = (request.groups[0].start().value(), request.groups[0].len());
    asker.send(&request, first, &bytes_of(first, len + 1));
    assert_eq!(asker.result(), (u64::from(len), vec![Violation::Unsolicited]));
}

#[test]
fn a_run_that_overlaps_another_closes_the_link() {
    let mut asker = Asker::new();
    let (request, groups) = asker.longest();
    let first = groups.start().value();
    asker.send(&request, first, &bytes_of(first, 1));
    asker.send(&request, first, &bytes_of(first, 2));
    assert_eq!(asker.result(), (1, vec![Violation::Unsolicited]));
}

#[test]
fn a_run_with_bytes_behind_the_end_of_the_segment_closes_the_link() {
    let mut asker = Asker::new();
    let last = GroupIndex::new(GROUPS - 1);
    let request = asker.requests.iter().find(|request| request.groups[0].contains(last)).cloned();
    let (request, first) = match request {
        Some(request) => (request.clone(), request.groups[0].start().value()),
        None => panic!("the last group is asked for: {:?}", asker.requests),
    };
    let bytes = [bytes_of(first, GROUPS - first), vec![7; 9]].concat();
    asker.send(&request, first, &bytes);
    assert_eq!(asker.result(), (u64::from(GROUPS - 1 - first), vec![Violation::BadGroup]));
}

#[test]
fn an_empty_run_and_one_that_is_too_long_close_the_link() {
    for len in [0, MAX_RUN * GROUP + 1] {
        let mut asker = Asker::new();
        let (request, groups) = asker.longest();
        asker.send(&request, groups.start().value(), &vec![7; len]);
        assert_eq!(asker.result(), (0, vec![Violation::Malformed]), "{len} bytes");
    }
}

#[test]
fn a_run_of_a_request_that_was_taken_back_is_no_offence_and_of_no_use() {
    let mut asker = Asker::new();
    let (request, groups) = asker.longest();
    let first = groups.start().value();
    let fetch = *asker.lab.tabs[1].node.waiters.iter().next().expect("it fetches").0;
    let now = asker.lab.now;
    asker.lab.call(1, &[], |node, _| node.cancel(fetch, now));
    asker.send(&request, first, &bytes_of(first, groups.len()));
    assert_eq!(asker.result(), (0, Vec::new()));
    assert_eq!(asker.lab.tabs[1].node.stats().duplicate_groups, u64::from(groups.len()));
}
