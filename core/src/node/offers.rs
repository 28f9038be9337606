//! Offers ([`crate::swarm`]): who gets what is on its way, and whose offer is taken.

use std::cmp::Reverse;

use super::{
    Node,
    fetch::{Fetch, Phase},
    io::Output,
    links::Link,
};
use crate::{
    bounded::BoundedVec,
    content::GROUP_LEN,
    id::{ContentId, LinkId, RequestId},
    swarm::{KEPT, Upload, pieces, places},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
    wire::{Have, HaveEntry, Held, LinkMessage, RejectReason, Request},
};

impl Node {
    /// Groups for which the uplink has a place.
    fn places(&self, now: Timestamp) -> usize {
        let given = self.links.values().map(|state| state.giving.offers.places(now)).sum::<usize>();
        places(self.uploads.capacity(), u64::from(GROUP_LEN))
            .saturating_sub(given + self.queued_and_sent(now))
    }

    /// Offers the parts that are here or on their way to neighbours to whom they don't come. Where all can be neighbours one
    /// word reaches everybody soon, and nobody has to pass anything on.
    #[inline(never)]
    pub(super) fn offer(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let Some(groups) = self.store.get(&content).map(|stored| stored.held.groups()) else { return };
        if !self.p2p || !self.uploads.offers() || !self.may_upload() || !self.is_wide(&fetch.stream) {
            return;
        }
        let mut places = self.places(now);
        for part in pieces(groups, fetch.parts) {
            if places == 0 {
                return;
            }
            if !self.comes_here(fetch, &part, now) {
                continue;
            }
            while let Some(link) = self.who_lacks(fetch, content, part, now) {
                if places < part.len() as usize {
                    fetch.wake_by(now + KEPT);
                    break;
                }
                places -= part.len() as usize;
                let entry = HaveEntry { content, held: Held::Offered(BoundedVec::first_of([part])) };
                let entries = BoundedVec::first_of([entry]);
                self.say(link, &LinkMessage::Have(Have { stream: fetch.stream, entries }));
                let Some(state) = self.links.get_mut(&link) else { return };
                state.giving.offers.make(content, part, now);
            }
        }
    }

    /// Of the neighbours to whom a part does not come, and who were not offered it, the one that gave most. Who gave nothing is
    /// called when there is time, as others are.
    fn who_lacks(
        &self,
        fetch: &Fetch,
        content: ContentId,
        part: GroupRange,
        now: Timestamp,
    ) -> Option<LinkId> {
        let lacks = |link: &LinkId, state: &Link| {
            let comes = state.claims.on(&content).is_some_and(|claim| {
                claim.holds_all() || claim.coming_until(part.iter()).is_some_and(|until| now < until)
            });
            let sends = part.iter().any(|group| fetch.asked.is_asked(group, *link));
            state.is_partner()
                && state.merit.is_giver(now)
                && !comes
                && !sends
                && !state.giving.offers.was_made(&content, part)
        };
        let lacking = self.links.iter().filter(|(link, state)| lacks(link, state));
        let best = lacking
            .max_by_key(|(link, state)| (state.merit.candidate(**link, now, now).given, Reverse(**link)));
        best.map(|(link, _)| *link)
    }

    /// Asks for what is offered and does not come from elsewhere.
    #[inline(never)]
    pub(super) fn take_offers(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let Some(stored) = self.store.get(&content).filter(|stored| !stored.held.is_full()) else { return };
        if !self.p2p || !self.claims_on(content).any(|(_, claim)| claim.offers_some()) {
            return;
        }
        let is_missing = |group: &GroupIndex| {
            !stored.held.contains(*group)
                && !fetch.asked.contains(*group)
                && !fetch.origin_brings(*group, now)
        };
        let pieces = pieces(stored.held.groups(), fetch.parts);
        let taken = pieces.into_iter().filter_map(|part| {
            let missing: Vec<GroupIndex> = part.iter().filter(is_missing).collect();
            let range = GroupRange::new(*missing.first()?, GroupIndex::new(missing.last()?.value() + 1))?;
            let link =
                self.who_offers(content, &missing, now).filter(|_| range.len() as usize == missing.len());
            Some((link?, range))
        });
        let taken: Vec<_> = taken.collect();
        for (link, range) in taken {
            let Some(state) = self.links.get_mut(&link) else { continue };
            let id = state.asking.ask_offered(content, range, now);
            let snubbed = state.asking.snub.is_snubbed(now);
            for group in range.iter() {
                fetch.asked.ask(group, link, snubbed);
            }
            let groups = BoundedVec::first_of([range]);
            self.say(link, &LinkMessage::Request(Request { id, content, groups }));
        }
    }

    /// The nearest neighbour that has a place for these groups and kept its word lately. Who promised them to others takes no offer, lest it is one of
    /// those who wait for them here.
    fn who_offers(&self, content: ContentId, missing: &[GroupIndex], now: Timestamp) -> Option<LinkId> {
        if self.links.values().any(|state| state.giving.offers.promises_any(&content, missing)) {
            return None;
        }
        let offering = self.claims_on(content).filter(|(_, claim)| claim.offers(missing.iter().copied()));
        let offering = offering.map(|(link, _)| (link, &self.links[&link]));
        let offering = offering.filter(|(_, state)| !state.asking.snub.is_snubbed(now));
        offering.map(|(link, state)| (state.rtt, link)).min().map(|(_, link)| link)
    }

    /// A neighbour asks for what it was offered; whether the place was kept for it.
    pub(super) fn promise(
        &mut self,
        link: LinkId,
        request: &Request,
        groups: &[GroupIndex],
        kept: bool,
        now: Timestamp,
    ) {
        if !kept && self.places(now) < groups.len() {
            self.reject(link, request, RejectReason::Taken);
            return;
        }
        let Some(stored) = self.store.get(&request.content) else { return };
        let Some(state) = self.links.get_mut(&link) else { return };
        state.giving.note_wanted(now);
        for group in groups {
            let upload = Upload { request: request.id, content: request.content, group: *group };
            state.giving.offers.promise(upload);
            if stored.held.contains(*group) {
                state.giving.keep_promise(&request.content, *group);
            }
        }
    }

    /// A group was verified: those to whom it is promised get it.
    pub(super) fn keep_promises(&mut self, content: ContentId, group: GroupIndex) {
        for (_, state) in self.links.iter_mut() {
            state.giving.keep_promise(&content, group);
        }
    }

    /// What was promised of a segment does not come.
    pub(super) fn break_promises(&mut self, content: &ContentId) {
        let links = self.links.iter_mut();
        let broken = links.flat_map(|(link, state)| {
            let requests = state.giving.offers.drop_promises(|upload| upload.content == *content);
            requests.into_iter().map(|request| (*link, request))
        });
        let broken: Vec<(LinkId, RequestId)> = broken.collect();
        for (link, request) in broken {
            let payload = LinkMessage::Reject(request, RejectReason::NotHeld).to_bytes();
            self.output(Output::SendControl { link, payload });
        }
    }
}
