//! What is on its way: neighbours hear of it, and theirs, so that they need not ask the origin too.

use super::{
    Node,
    fetch::{Fetch, Phase},
};
use crate::{
    id::ContentId,
    swarm::{Claim, duty},
    time::Timestamp,
    units::GroupRange,
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
    /// nobody sends here yet is not, as who hears of it offers it here no more.
    pub(super) fn relay_coming(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let Some(stored) = self.store.get(&content).filter(|_| self.p2p) else { return };
        if self.strangers(fetch) == 0 {
            return;
        }
        let untold = |place: usize| fetch.told & 1 << place == 0;
        let parts = duty::parts(stored.held.groups(), fetch.parts).enumerate();
        let parts = parts
            .filter(|(place, part)| untold(*place) && part.iter().any(|group| !stored.held.contains(group)));
        let parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            return;
        }
        let claims: Vec<_> = self.claims_on(content).map(|(_, claim)| claim).collect();
        let comes = |claim: &Claim, part: &GroupRange| {
            claim.holds_all() || claim.coming_until(part.iter()).is_some_and(|until| now < until)
        };
        let offers = self.uploads.offers() && self.is_wide(&fetch.stream);
        let is_told = |part: &GroupRange| {
            self.comes_here(fetch, part, now) || !offers && claims.iter().any(|claim| comes(claim, part))
        };
        let coming: Vec<_> = parts.into_iter().filter(|(_, part)| is_told(part)).collect();
        for (place, part) in coming {
            fetch.told |= 1 << place;
            self.announce_coming(fetch.stream, content, part);
        }
    }
}
