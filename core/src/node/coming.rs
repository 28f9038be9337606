//! What is on its way: neighbours hear of it, and theirs, so that they need not ask the origin too.

use super::{
    Node,
    fetch::{Fetch, Phase},
};
use crate::{
    bounded::BoundedVec,
    id::{ContentId, LinkId},
    swarm::{Claim, duty},
    time::Timestamp,
    units::GroupRange,
    wire::{HaveEntry, Held},
};

impl Node {
    /// Groups that are on their way from the origin.
    pub(super) fn coming_from_origin(&self, content: &ContentId) -> impl Iterator<Item = GroupRange> {
        let of_it = self.fetches.values().filter(|fetch| fetch.content() == Some(*content));
        of_it.flat_map(|fetch| {
            fetch.origins.iter().filter_map(|run| run.groups.or_else(|| self.all_groups(fetch)))
        })
    }

    /// Whether all of a part is here or on its way.
    pub(super) fn comes_here(&self, fetch: &Fetch, part: &GroupRange, now: Timestamp) -> bool {
        let stored = fetch.content().and_then(|content| self.store.get(&content));
        part.iter().all(|group| {
            stored.is_some_and(|stored| stored.held.contains(group))
                || fetch.asked.contains(group)
                || fetch.origin_brings(group, now)
        })
    }

    /// The origin is asked for these groups, or for all: neighbours hear what it brings.
    pub(super) fn tell_origin_coming(&mut self, fetch: &mut Fetch, groups: Option<GroupRange>) {
        let (Some(content), Some(all)) = (fetch.content(), self.all_groups(fetch)) else { return };
        let groups = groups.unwrap_or(all);
        for (place, part) in duty::parts(all.end().value(), fetch.parts).enumerate() {
            fetch.told |= u8::from(part.iter().all(|group| groups.contains(group))) << place;
        }
        self.announce_coming(fetch.stream, content, groups);
    }

    /// What comes here is told: those further away, if there are any, need not ask the origin for it. What neighbours have coming and
    /// nobody sends here yet is not, as who hears of it offers it here no more; of that, and of what somebody else is said to ask the
    /// origin for, goes word: it runs ahead of the part, through the whole swarm, and each passes it on once.
    #[inline(never)]
    pub(super) fn relay_coming(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let wide = self.is_wide(&fetch.stream);
        if !self.p2p || self.strangers(fetch) == 0 || fetch.told & fetch.on_duty == u8::MAX {
            return;
        }
        let groups = self.store.get(&content).map_or(0, |stored| stored.held.groups());
        for (place, part) in duty::parts(groups, fetch.parts).enumerate() {
            let bit = 1 << place;
            let heard = wide && fetch.on_duty & bit == 0 && self.is_on_duty(content, part);
            fetch.on_duty |= if heard { bit } else { 0 };
            if fetch.told & bit != 0 {
                continue;
            }
            if self.is_coming(fetch, content, part, now) {
                fetch.told |= bit;
                self.announce_coming(fetch.stream, content, part);
            } else if heard {
                let entry = HaveEntry { content, held: Held::OnDuty(BoundedVec::first_of([part])) };
                // Half of the neighbours, others for each part: those hear it from theirs as well.
                let links: Vec<LinkId> = self.partner_links().collect();
                for link in links.into_iter().skip(place % 2).step_by(2) {
                    self.announce_to(link, fetch.stream, std::slice::from_ref(&entry));
                }
            }
        }
    }

    /// Whether neighbours may hear that a part of which something is missing comes here.
    fn is_coming(&self, fetch: &Fetch, content: ContentId, part: GroupRange, now: Timestamp) -> bool {
        let is_held = |group| self.store.get(&content).is_some_and(|stored| stored.held.contains(group));
        let comes = |(_, claim): (LinkId, &Claim)| {
            claim.holds_all() || claim.coming_until(part.iter()).is_some_and(|until| now < until)
        };
        let offers = self.uploads.offers() && self.is_wide(&fetch.stream);
        let comes = self.comes_here(fetch, &part, now) || !offers && self.claims_on(content).any(comes);
        comes && !part.iter().all(is_held)
    }

    /// Whether a neighbour says that somebody asks the origin for these groups.
    pub(super) fn is_on_duty(&self, content: ContentId, groups: GroupRange) -> bool {
        self.claims_on(content).any(|(_, claim)| claim.says_on_duty(groups.iter()))
    }
}
