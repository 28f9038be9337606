//! Of whom the groups of a fetch were asked: of one holder each, or of two where the first one keeps a group waiting.

use litemap::LiteMap;

use crate::{id::LinkId, time::Timestamp, units::GroupIndex};

/// Of the groups of a segment that are on their way one in so many may be asked of two, …
const TWICE_ONE_IN: usize = 4;
/// …or so many of a few.
const LEAST_TWICE: usize = 4;

/// Of whom one group was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    One(LinkId),
    /// Of one who keeps it waiting, or lets things come late: another one may be asked as well.
    Overdue(LinkId),
    Two(LinkId, LinkId),
}

/// The groups that were asked for and have not come.
#[derive(Clone, Debug, Default)]
pub(super) struct AskedGroups {
    of: LiteMap<GroupIndex, Of>,
    /// Since when groups are owed by the first who let them come late.
    owed: LiteMap<GroupIndex, Timestamp>,
}

impl AskedGroups {
    /// Whether this link may be asked for a group; one that lets things come late is no help against another one.
    pub(super) fn may_ask(&self, group: GroupIndex, link: LinkId, snubbed: bool) -> bool {
        match self.of.get(&group) {
            None => true,
            Some(Of::Overdue(first)) => *first != link && !snubbed,
            Some(Of::One(_) | Of::Two(..)) => false,
        }
    }

    /// Whether anybody may be asked for a group.
    pub(super) fn is_open(&self, group: GroupIndex) -> bool {
        self.of.get(&group).is_none_or(|of| matches!(of, Of::Overdue(_)))
    }

    /// Whether somebody was asked for a group.
    pub(super) fn contains(&self, group: GroupIndex) -> bool {
        self.of.contains_key(&group)
    }

    /// Whether this link was asked for a group.
    pub(super) fn is_asked(&self, group: GroupIndex, link: LinkId) -> bool {
        self.of.get(&group).is_some_and(|of| match *of {
            Of::One(first) | Of::Overdue(first) => first == link,
            Of::Two(first, second) => [first, second].contains(&link),
        })
    }

    /// A link is asked for a group. If it lets things come late, others are asked as well as soon as they have it.
    pub(super) fn ask(&mut self, group: GroupIndex, link: LinkId, snubbed: bool) {
        let of = match self.of.get(&group) {
            Some(Of::Overdue(first)) => Of::Two(*first, link),
            _ if snubbed => Of::Overdue(link),
            _ => Of::One(link),
        };
        self.of.insert(group, of);
    }

    /// A link keeps groups waiting: they may be asked of another one too, within a share of all.
    pub(super) fn note_overdue(&mut self, link: LinkId, groups: &[GroupIndex]) {
        let twice = self.of.values().filter(|of| !matches!(of, Of::One(_))).count();
        let room = LEAST_TWICE.max(self.of.len() / TWICE_ONE_IN).saturating_sub(twice);
        let asked = self.of.iter_mut().filter(|(group, of)| **of == Of::One(link) && groups.contains(group));
        asked.take(room).for_each(|(_, of)| *of = Of::Overdue(link));
    }

    /// Groups have been owed by a link since then; of several links the first one counts.
    pub(super) fn note_owed(&mut self, groups: &[GroupIndex], since: Timestamp) {
        for group in groups {
            let first = self.owed.get(group).map_or(since, |first| since.min(*first));
            self.owed.insert(*group, first);
        }
    }

    /// Since when one of these groups, which have not come, has been owed.
    pub(super) fn owed_since(&self, missing: impl Iterator<Item = GroupIndex>) -> Option<Timestamp> {
        missing.filter_map(|group| self.owed.get(&group).copied()).min()
    }

    /// A link does not bring these groups any more.
    pub(super) fn forget(&mut self, link: LinkId, is_one: impl Fn(&GroupIndex) -> bool) {
        self.of.iter_mut().for_each(|(group, of)| match *of {
            Of::Two(first, second) if is_one(group) && first == link => *of = Of::One(second),
            Of::Two(first, second) if is_one(group) && second == link => *of = Of::One(first),
            _ => {}
        });
        self.of.retain(|group, of| {
            !(is_one(group) && matches!(*of, Of::One(of) | Of::Overdue(of) if of == link))
        });
    }

    /// A group came: who else was asked for it.
    pub(super) fn came(&mut self, group: GroupIndex, from: LinkId) -> Option<LinkId> {
        match self.of.remove(&group)? {
            Of::Two(first, second) => Some(if second == from { first } else { second }),
            Of::One(_) | Of::Overdue(_) => None,
        }
    }

    /// Who was asked for one of these groups.
    pub(super) fn links(&self, is_one: impl Fn(&GroupIndex) -> bool) -> Vec<LinkId> {
        let asked = self.of.iter().filter(|(group, _)| is_one(group));
        let mut links = Vec::new();
        for (_, of) in asked {
            let (Of::One(first) | Of::Overdue(first) | Of::Two(first, _)) = *of;
            let second = if let Of::Two(_, second) = *of { second } else { first };
            for link in [first, second] {
                if !links.contains(&link) {
                    links.push(link);
                }
            }
        }
        links
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [LinkId; 3] = [LinkId::new(1), LinkId::new(2), LinkId::new(3)];

    fn group(number: u32) -> GroupIndex {
        GroupIndex::new(number)
    }

    /// A group that was asked of the first link and then of the second.
    fn twice() -> AskedGroups {
        let mut asked = AskedGroups::default();
        asked.ask(group(0), LINKS[0], false);
        asked.note_overdue(LINKS[0], &[group(0)]);
        asked.ask(group(0), LINKS[1], false);
        asked
    }

    #[test]
    fn a_group_is_asked_of_one_and_when_it_is_overdue_of_another_one() {
        let mut asked = AskedGroups::default();
        let may = |asked: &AskedGroups| LINKS.map(|link| asked.may_ask(group(0), link, false));
        assert_eq!(may(&asked), [true; 3]);
        asked.ask(group(0), LINKS[0], false);
        assert_eq!((may(&asked), asked.is_open(group(0))), ([false; 3], false));
        asked.note_overdue(LINKS[0], &[group(0)]);
        assert_eq!((may(&asked), asked.is_open(group(0))), ([false, true, true], true));
        assert!(!asked.may_ask(group(0), LINKS[1], true), "who lets things come late is no help");
        asked.ask(group(0), LINKS[1], false);
        asked.note_overdue(LINKS[1], &[group(0)]);
        assert_eq!((may(&asked), asked.is_open(group(0))), ([false; 3], false));
    }

    #[test]
    fn what_was_asked_of_one_who_lets_things_come_late_may_at_once_be_asked_of_who_does_not() {
        let mut asked = AskedGroups::default();
        asked.ask(group(0), LINKS[0], true);
        assert!(asked.is_open(group(0)));
        assert!(!asked.may_ask(group(0), LINKS[1], true) && asked.may_ask(group(0), LINKS[1], false));
        asked.ask(group(0), LINKS[1], false);
        assert!(!asked.is_open(group(0)));
        assert_eq!(asked.came(group(0), LINKS[1]), Some(LINKS[0]));
    }

    #[test]
    fn who_does_not_bring_it_leaves_it_to_the_other() {
        for (gone, left) in [(0, 1), (1, 0)] {
            let mut asked = twice();
            asked.forget(LINKS[gone], |_| true);
            assert_eq!(asked.links(|_| true), [LINKS[left]]);
            asked.forget(LINKS[left], |_| true);
            assert!(asked.may_ask(group(0), LINKS[gone], false));
        }
    }

    #[test]
    fn who_else_was_asked_is_known_when_it_comes() {
        assert_eq!(twice().came(group(0), LINKS[0]), Some(LINKS[1]));
        assert_eq!(twice().came(group(0), LINKS[1]), Some(LINKS[0]));
        let mut once = AskedGroups::default();
        once.ask(group(0), LINKS[0], false);
        // It comes of a request that was taken back.
        assert_eq!(once.clone().came(group(0), LINKS[2]), None);
        assert_eq!(once.came(group(0), LINKS[0]), None);
    }

    #[test]
    fn a_quarter_is_asked_of_two_and_four_of_a_few() {
        for (groups, twice) in [(3, 3), (10, 4), (40, 10)] {
            let all: Vec<_> = (0..groups).map(group).collect();
            let mut asked = AskedGroups::default();
            all.iter().for_each(|group| asked.ask(*group, LINKS[0], false));
            (0..2).for_each(|_| asked.note_overdue(LINKS[0], &all));
            assert_eq!(all.iter().filter(|group| asked.is_open(**group)).count(), twice, "{groups}");
        }
    }
}
