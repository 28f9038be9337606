//! What neighbours are bringing in time is not asked of the origin.

use std::time::Duration;

use super::lab::*;
use crate::{
    content::GROUP_LEN,
    id::ContentId,
    units::GroupIndex,
    wire::{Held, LinkMessage, data_header},
};

const FAR: Duration = Duration::from_secs(20);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Tab 0 sends tab 1 so many of the groups that it was asked for of a segment.
fn bring(lab: &mut Lab, number: u32, groups: usize, already: &mut Vec<u32>) {
    for _ in 0..groups {
        let wanted: ContentId = content(number);
        let asked = lab.tabs[1].said.iter().filter_map(|(_, said)| match said {
            LinkMessage::Request(request) if request.content == wanted => {
                Some((request.id, request.groups[0]))
            }
            _ => None,
        });
        let mut each = asked.flat_map(|(id, groups)| groups.iter().map(move |group| (id, group.value())));
        let next = each.rfind(|(_, group)| !already.contains(group));
        let (id, group) = next.expect("something is asked for");
        already.push(group);
        let bytes = segment(number);
        let start = (group * GROUP_LEN) as usize;
        let part = &bytes[start..bytes.len().min(start + GROUP_LEN as usize)];
        let header = data_header(id, GroupIndex::new(group), part.len());
        lab.send_bulk(0, 1, &[&header, part].concat());
    }
}

/// Tab 0, which says nothing by itself any more, holds a segment that tab 1 fetches.
fn fetch_from_silent(lab: &mut Lab, number: u32, within: Duration) {
    lab.claim(0, 1, number, Held::All);
    lab.silent.insert(0);
    lab.fetch(1, number, within);
    lab.advance(millis(400));
    lab.answer_sidecars(1, number);
}

/// Half a second before its deadline all but one group of a segment has come from a neighbour that was quick before.
fn nearly_there() -> (Lab, Vec<u32>) {
    let mut lab = Lab::connected(2);
    for number in 0..7 {
        lab.hold(0, number);
        lab.fetch(1, number, FAR);
        lab.answer_sidecars(1, number);
    }
    assert_eq!((lab.tabs[1].delivered.len(), lab.tabs[1].asked.len()), (7, 0));
    fetch_from_silent(&mut lab, 7, millis(2000));
    let mut came = Vec::new();
    for (groups, later) in [(GROUPS as usize - 3, 600), (1, 490), (1, 50)] {
        bring(&mut lab, 7, groups, &mut came);
        lab.advance(millis(later));
    }
    (lab, came)
}

#[test]
fn what_a_neighbour_brings_before_the_deadline_is_not_asked_of_the_origin() {
    let (mut lab, mut came) = nearly_there();
    assert_eq!(lab.tabs[1].asked, []);
    bring(&mut lab, 7, 1, &mut came);
    assert_eq!((lab.tabs[1].delivered.len(), lab.tabs[1].asked.len()), (8, 0));
}

#[test]
fn a_neighbour_that_stops_bringing_before_the_deadline_is_not_waited_for() {
    let (mut lab, _) = nearly_there();
    lab.advance(millis(300));
    assert_eq!(lab.tabs[1].asked.len(), 1, "there is time left for it");
}

#[test]
fn a_neighbour_that_brings_other_segments_has_not_stalled() {
    let mut lab = Lab::connected(2);
    fetch_from_silent(&mut lab, 0, 2 * FAR);
    fetch_from_silent(&mut lab, 1, FAR);
    let mut came = Vec::new();
    for _ in 0..3 {
        bring(&mut lab, 0, 1, &mut came);
        lab.advance(millis(900));
    }
    assert_eq!(lab.tabs[1].asked, []);
    lab.advance(millis(2000));
    assert_ne!(lab.tabs[1].asked, []);
}
