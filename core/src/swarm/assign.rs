//! Splits the missing groups of one segment over the links that hold them.

use crate::{
    id::LinkId,
    units::{GroupIndex, GroupRange},
};

/// Groups that go to one holder before the next one gets its share, where others hold them too: what is urgent comes of many at
/// once, …
const URGENT_SHARE: usize = 4;
/// …and of what has time each request brings more.
const SHARE: usize = 32;

/// A link that may be asked for groups of the segment at hand.
#[derive(Clone, Debug)]
pub(crate) struct Holder<F: Fn(GroupIndex) -> bool> {
    pub(crate) link: LinkId,
    /// Groups it may still be asked for before its pipeline is full.
    pub(crate) room: usize,
    /// Estimated time until a further group from it arrives, in microseconds: less is better.
    pub(crate) delay: u64,
    /// It let something come late: it is asked only for what nobody else holds.
    pub(crate) snubbed: bool,
    /// Whether it holds a group.
    pub(crate) holds: F,
}

/// Groups that somebody holds, those that the fewest hold first, otherwise in the order given.
pub(crate) fn rarest_first<F: Fn(GroupIndex) -> bool>(
    groups: &[GroupIndex],
    holders: &[Holder<F>],
) -> Vec<GroupIndex> {
    let copies = |group| holders.iter().filter(|holder| (holder.holds)(group)).count();
    let copies: Vec<usize> = groups.iter().map(|group| copies(*group)).collect();
    let mut ordered = Vec::with_capacity(groups.len());
    // A pass for each number of copies: there are few, and code that sorts is large.
    for wanted in 1..=holders.len() {
        ordered.extend(
            groups.iter().zip(&copies).filter(|(_, copies)| **copies == wanted).map(|(group, _)| *group),
        );
    }
    ordered
}

/// Gives each missing group, in the order given, to a holder with room: quickest first, a few groups at a time,
/// so that a segment is split over its holders and each answers a run of neighbouring groups: a shorter one if it is urgent.
pub(crate) fn assign<F: Fn(GroupIndex) -> bool>(
    missing: &[GroupIndex],
    holders: &mut [Holder<F>],
    urgent: bool,
) -> Vec<(LinkId, GroupRange)> {
    let share = if urgent { URGENT_SHARE } else { SHARE };
    let mut assigned: Vec<(LinkId, GroupRange)> = Vec::new();
    let mut rest = missing;
    while let Some(first) = rest.first() {
        let reliable = holders.iter().any(|holder| !holder.snubbed && (holder.holds)(*first));
        let alone = holders.iter().filter(|holder| (holder.holds)(*first)).nth(1).is_none();
        let best = holders
            .iter_mut()
            .filter(|holder| holder.room > 0 && (holder.holds)(*first) && !(reliable && holder.snubbed))
            .min_by_key(|holder| (holder.delay, holder.link));
        let Some(holder) = best else {
            rest = &rest[1..];
            continue;
        };
        let run = run_len(rest, holder, if alone { holder.room } else { holder.room.min(share) });
        let end = GroupIndex::new(first.value() + run as u32);
        let range = GroupRange::new(*first, end).expect("a run has at least one group");
        assigned.push((holder.link, range));
        holder.room -= run;
        holder.delay += run as u64 * (holder.delay / 8 + 1000);
        rest = &rest[run..];
    }
    assigned
}

/// Length of the run of neighbouring groups at the start of `rest` that the holder takes, `most` at most.
fn run_len<F: Fn(GroupIndex) -> bool>(rest: &[GroupIndex], holder: &Holder<F>, most: usize) -> usize {
    let first = rest[0].value();
    rest.iter()
        .take(most)
        .enumerate()
        .take_while(|(offset, group)| group.value() == first + *offset as u32 && (holder.holds)(**group))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(range: std::ops::Range<u32>) -> Vec<GroupIndex> {
        range.map(GroupIndex::new).collect()
    }

    fn everything(_: GroupIndex) -> bool {
        true
    }

    fn holder<F: Fn(GroupIndex) -> bool>(link: u64, room: usize, delay: u64, holds: F) -> Holder<F> {
        Holder { link: LinkId::new(link), room, delay, snubbed: false, holds }
    }

    #[test]
    fn a_segment_is_split_over_its_holders() {
        let mut holders = [1, 2].map(|link| holder(link, 64, 1000, everything));
        let assigned = assign(&groups(0..16), &mut holders, true);
        let of = |link| {
            assigned.iter().filter(|(l, _)| *l == LinkId::new(link)).map(|(_, r)| r.len()).sum::<u32>()
        };
        assert_eq!(of(1) + of(2), 16);
        assert!(of(1) >= 4 && of(2) >= 4);
    }

    #[test]
    fn what_is_urgent_is_split_over_more_holders_than_what_has_time() {
        let requests = |urgent| {
            let mut holders = [1, 2, 3, 4].map(|link| holder(link, 64, 1000, everything));
            let assigned = assign(&groups(0..64), &mut holders, urgent);
            let links: std::collections::BTreeSet<_> = assigned.iter().map(|(link, _)| *link).collect();
            (assigned.len(), links.len())
        };
        assert_eq!((requests(true), requests(false)), ((16, 4), (2, 2)));
    }

    #[test]
    fn what_only_one_holds_is_asked_for_in_one_run() {
        let up_to = |end: u32| move |group: GroupIndex| group.value() < end;
        let mut holders = [(1, 40), (2, 4)].map(|(link, end)| holder(link, 64, 1, up_to(end)));
        let assigned = assign(&groups(4..40), &mut holders, true);
        let runs: Vec<_> = assigned.iter().map(|(link, range)| (link.value(), range.len())).collect();
        assert_eq!(runs, [(1, 36)]);
    }

    #[test]
    fn nobody_is_asked_for_what_it_does_not_hold() {
        let mut holders = [holder(1, 64, 1, |group: GroupIndex| group.value() < 3)];
        let assigned = assign(&groups(0..8), &mut holders, true);
        assert_eq!(assigned.iter().map(|(_, range)| range.len()).sum::<u32>(), 3);
    }

    #[test]
    fn a_full_pipeline_gets_nothing() {
        let mut holders = [holder(1, 5, 1, |_| true)];
        let assigned = assign(&groups(0..8), &mut holders, true);
        assert_eq!(assigned.iter().map(|(_, range)| range.len()).sum::<u32>(), 5);
    }

    #[test]
    fn what_fewer_hold_comes_first_and_what_nobody_holds_not_at_all() {
        let up_to = |end: u32| move |group: GroupIndex| group.value() < end;
        let holders = [6, 4, 2].map(|end| holder(u64::from(end), 64, 1, up_to(end)));
        let order: Vec<_> = rarest_first(&groups(0..8), &holders).iter().map(|group| group.value()).collect();
        assert_eq!(order, [4, 5, 2, 3, 0, 1]);
    }

    #[test]
    fn who_let_something_come_late_is_asked_only_for_what_nobody_else_holds() {
        let up_to = |end: u32| move |group: GroupIndex| group.value() < end;
        let mut holders = [holder(1, 2, 1000, up_to(4)), holder(2, 64, 1, up_to(8))];
        holders[1].snubbed = true;
        let assigned = assign(&groups(0..8), &mut holders, true);
        let of = |link| {
            let ranges = assigned.iter().filter(|(l, _)| *l == LinkId::new(link));
            ranges.flat_map(|(_, range)| range.iter()).map(|group| group.value()).collect::<Vec<_>>()
        };
        assert_eq!((of(1), of(2)), (vec![0, 1], vec![4, 5, 6, 7]), "even while the other is busy");
    }

    #[test]
    fn the_quicker_holder_is_asked_first() {
        let mut holders = [(1, 50_000), (2, 1_000)].map(|(link, delay)| holder(link, 64, delay, everything));
        assert_eq!(assign(&groups(0..2), &mut holders, true)[0].0, LinkId::new(2));
    }
}
