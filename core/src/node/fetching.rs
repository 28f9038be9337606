//! A fetch from request to delivery: root, group list, peers; when the origin is asked is in `duty`.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, ListAsk, MAX_WAITERS, Phase},
    io::{FetchError, FetchRequest, Output},
    roots::RootAnswer,
};
use crate::{
    content::GroupList,
    id::{ContentId, FetchId, LinkId, SegmentId},
    swarm::{Claim, Holder, Late, assign, duty, rarest_first},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
    wire::{LinkMessage, Request},
};

/// Holders that bring nothing for so long are not waited for.
pub(super) const STALL: Duration = Duration::from_secs(2);
/// What is needed sooner is asked for before everything else.
const URGENT: Duration = Duration::from_millis(3500);
/// What is needed sooner is asked of two where a holder keeps it waiting.
pub(super) const HEDGED: Duration = Duration::from_secs(6);
/// Not for so long after a neighbour had no time: what is sent twice then is not sent to somebody else.
const SCARCE: Duration = Duration::from_secs(5);
/// Every fetch is looked at so often, whatever happened.
const LOOK: Duration = Duration::from_millis(250);
/// Groups are asked for from a multiple of so many on: most messages bring as many.
const ALIGNED: u32 = 4;
/// Most groups one scheduling pass looks at.
const MAX_PASS: usize = 256;

impl Node {
    /// Starts to fetch a segment. Ends in exactly one [`Output::Deliver`] or [`Output::Fail`], unless cancelled.
    pub fn fetch(&mut self, request: FetchRequest, now: Timestamp) -> FetchId {
        let id = FetchId::new(self.next_handle());
        let deadline = request.deadline.unwrap_or(now + super::DEFAULT_DEADLINE);
        let segment = request.key.id(&request.stream);
        self.first_fetch.get_or_insert(now);
        match self.fetches.get_mut(&segment) {
            Some(fetch) if fetch.waiters.len() < MAX_WAITERS => {
                fetch.wait(id, deadline);
            }
            Some(_) => {
                self.output(Output::Fail { fetch: id, error: FetchError::Cancelled });
                return id;
            }
            None => {
                let blob = self.new_blob();
                let fetch = Fetch::new(id, request, segment, blob, deadline, now);
                self.fetches.insert(segment, fetch);
            }
        }
        self.waiters.insert(id, segment);
        self.settle(now);
        id
    }

    /// Moves a fetch's deadline, for example after a seek. Of those who share a segment the most urgent one counts.
    pub fn set_deadline(&mut self, fetch: FetchId, deadline: Timestamp, now: Timestamp) {
        if let Some(state) = self.waiters.get(&fetch).and_then(|segment| self.fetches.get_mut(segment)) {
            state.wait(fetch, deadline);
        }
        self.settle(now);
    }

    /// Gives up a fetch. Groups that were verified stay for the swarm.
    pub fn cancel(&mut self, fetch: FetchId, now: Timestamp) {
        if let Some(segment) = self.waiters.remove(&fetch)
            && let Some(state) = self.fetches.get_mut(&segment)
        {
            state.stop_waiting(fetch);
            if state.waiters.is_empty()
                && let Some(state) = self.fetches.remove(&segment)
            {
                self.end_fetch(state);
            }
        }
        self.settle(now);
    }

    pub(super) fn with_fetch(&mut self, segment: SegmentId, act: impl FnOnce(&mut Self, &mut Fetch)) {
        if let Some(mut fetch) = self.fetches.remove(&segment) {
            act(self, &mut fetch);
            self.put_back(fetch);
        }
    }

    /// Something happened that this fetch has to do with, and those of the same bytes.
    #[inline(never)]
    fn put_back(&mut self, mut fetch: Fetch) {
        fetch.stirred = true;
        let twins = self.fetches.iter_mut().filter(|(_, twin)| twin.blob == fetch.blob);
        twins.for_each(|(_, twin)| twin.stirred = true);
        self.fetches.insert(fetch.segment, fetch);
    }

    pub(super) fn segment_of(&self, content: &ContentId) -> Option<SegmentId> {
        self.fetches.values().find(|fetch| fetch.content() == Some(*content)).map(|fetch| fetch.segment)
    }

    pub(super) fn fetches_timeout(&self) -> Option<Timestamp> {
        self.fetches.values().filter_map(|fetch| fetch.wake).min()
    }

    #[inline(never)]
    pub(super) fn drive_fetches(&mut self, now: Timestamp) {
        let mut done = None;
        self.wake_wants(now);
        // They are few, and code that sorts is large.
        while let Some(next) = self.fetch_after(done, now) {
            done = Some(next);
            let (_, _, segment) = next;
            if !self.is_stirred(&segment, now) {
                continue;
            }
            let Some(mut fetch) = self.fetches.remove(&segment) else { continue };
            self.resolve(&mut fetch, now);
            self.ask_list(&mut fetch, now);
            self.take_offers(&mut fetch, now);
            self.relay_coming(&mut fetch, now);
            self.ask_peers(&mut fetch, now);
            self.ask_origin(&mut fetch, now);
            self.offer(&mut fetch, now);
            if self.conclude(&mut fetch, now) {
                self.end_fetch(fetch);
                // Some may have waited for this one.
                self.stir();
            } else {
                fetch.stirred = false;
                fetch.wake_by(now + LOOK);
                self.fetches.insert(segment, fetch);
            }
        }
    }

    /// Whether anything happened that a fetch has to do with.
    fn is_stirred(&self, segment: &SegmentId, now: Timestamp) -> bool {
        let fetch = self.fetches.get(segment);
        fetch.is_some_and(|fetch| fetch.stirred || fetch.wake.is_some_and(|wake| wake <= now))
    }

    /// Something happened that all fetches have to do with.
    pub(super) fn stir(&mut self) {
        self.fetches.iter_mut().for_each(|(_, fetch)| fetch.stirred = true);
    }

    /// The fetch whose turn it is after this one: what is urgent in the order it is needed, then what is needed last, so that what
    /// is new, and rare for that, spreads before it is urgent.
    fn fetch_after(
        &self,
        last: Option<(bool, u64, SegmentId)>,
        now: Timestamp,
    ) -> Option<(bool, u64, SegmentId)> {
        let turn = |(segment, fetch): (&SegmentId, &Fetch)| {
            let (later, needed) = (fetch.deadline > now + URGENT, fetch.deadline.as_micros());
            (later, if later { u64::MAX - needed } else { needed }, *segment)
        };
        self.fetches.iter().map(turn).filter(|next| Some(*next) > last).min()
    }

    #[inline(never)]
    fn resolve(&mut self, fetch: &mut Fetch, now: Timestamp) {
        if fetch.phase != Phase::Resolving {
            return;
        }
        if self.distrusted.contains(&fetch.segment) {
            fetch.phase = Phase::Rootless;
            return;
        }
        let answer = self.root_of(fetch.stream, &fetch.key, fetch.segment, now);
        if answer.content().is_some_and(|content| self.is_blocked(&fetch.stream, &content)) {
            fetch.phase = Phase::Rootless;
            return;
        }
        match answer {
            RootAnswer::List(list) => {
                let absent = self.store.get(&list.root()).is_none();
                if !absent || !self.restore(fetch, list.root(), list.len(), now) {
                    self.start_trading(fetch, list, now);
                }
            }
            RootAnswer::None => fetch.phase = Phase::Rootless,
            RootAnswer::Pending => {}
            RootAnswer::Root { content, len } => {
                let stored = self.store.get(&content).map(|stored| stored.list.clone());
                match stored {
                    Some(list) => self.start_trading(fetch, list, now),
                    None if self.restore(fetch, content, len, now) => {}
                    None => match self.lists.take(&content) {
                        Some(list) => self.start_trading(fetch, list, now),
                        None => {
                            fetch.progress = now;
                            fetch.phase = Phase::Listing { content, len, ask: ListAsk::Nobody };
                        }
                    },
                }
            }
        }
    }

    /// The group list is known: groups that came from the origin meanwhile are checked.
    pub(super) fn start_trading(&mut self, fetch: &mut Fetch, list: GroupList, now: Timestamp) {
        let (content, len) = (list.root(), list.len());
        self.abort_sidecar(fetch);
        fetch.progress = now;
        fetch.listed = now;
        fetch.parts = duty::part_count(self.swarm_size(&fetch.stream));
        fetch.phase = Phase::Trading { content };
        match self.store.get_mut(&content) {
            Some(stored) if stored.blob != fetch.blob => {
                stored.pinned = true;
                let old = std::mem::replace(&mut fetch.blob, stored.blob);
                if std::mem::replace(&mut fetch.opened, true) {
                    self.abort_origin(fetch);
                    self.output(Output::Drop { blob: old });
                    fetch.digests.clear();
                    fetch.whole = None;
                }
                self.store.touch(&content);
                self.move_head(fetch, &content);
                return;
            }
            Some(_) => {}
            None => {
                self.store.insert(list, fetch.blob, fetch.stream);
                self.open_blob(fetch);
            }
        }
        self.move_head(fetch, &content);
        for run in fetch.origins.clone() {
            self.tell_origin_coming(fetch, run.groups);
        }
        if fetch.whole.is_some_and(|whole| whole != len.bytes()) {
            self.contradict(fetch, now);
            return;
        }
        for (group, digest) in std::mem::take(&mut fetch.digests) {
            if !self.origin_group(fetch, group, digest, now) {
                return;
            }
        }
    }

    pub(super) fn open_blob(&mut self, fetch: &mut Fetch) {
        if !std::mem::replace(&mut fetch.opened, true) {
            self.output(Output::Open { blob: fetch.blob });
        }
    }

    /// Splits the missing groups over the links that hold them.
    #[inline(never)]
    fn ask_peers(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let Some(stored) = self.store.get(&content).filter(|stored| !stored.held.is_full()) else { return };
        if !self.p2p {
            return;
        }
        let mut missing: Vec<GroupIndex> = stored
            .held
            .missing()
            .filter(|group| fetch.asked.is_open(*group) && !fetch.origin_brings(*group, now))
            .take(MAX_PASS)
            .collect();
        let room = self.intake_room(now);
        if missing.is_empty() || room == 0 {
            return;
        }
        // A segment is of use when it is whole. Neighbours that ask for its groups in an order of their own have something to
        // give each other soon, and its first holder needs to send it once.
        let turn =
            (self.lots(fetch).draw(duty::PARTS as usize) * missing.len() as f64) as usize % missing.len();
        let first = run_start(&missing, turn);
        missing.rotate_left(first);
        let asked = &fetch.asked;
        let mut holders: Vec<_> = self
            .claims_on(content)
            .filter(|(_, claim)| claim.holds_some())
            .map(|(link, claim)| {
                let state = &self.links[&link];
                let (room, delay) = (state.asking.room(now), state.asking.delay(state.rtt, now));
                let snubbed = state.asking.snub.is_snubbed(now);
                let holds = move |group| claim.holds(group) && asked.may_ask(group, link, snubbed);
                Holder { link, room, delay, snubbed, holds }
            })
            .collect();
        let urgent = fetch.deadline <= now + URGENT;
        let mut wanted = rarest_first(&missing, &holders);
        wanted.truncate(room);
        let assigned = assign(&wanted, &mut holders, urgent);
        for (link, range) in assigned {
            let Some(state) = self.links.get_mut(&link) else { continue };
            let id = state.asking.ask(content, range, now);
            let snubbed = state.asking.snub.is_snubbed(now);
            for group in range.iter() {
                fetch.asked.ask(group, link, snubbed);
            }
            let groups = crate::bounded::BoundedVec::first_of([range]);
            let payload = LinkMessage::Request(Request { id, content, groups }).to_bytes();
            self.output(Output::SendControl { link, payload });
        }
    }

    /// What the origin brings now, these groups or all, need not come from peers too.
    pub(super) fn take_back_asked(&mut self, fetch: &mut Fetch, groups: Option<GroupRange>) {
        let Some(content) = fetch.content() else { return };
        let brings = |group: &GroupIndex| groups.is_none_or(|groups| groups.contains(*group));
        for link in fetch.asked.links(brings) {
            let Some(state) = self.links.get_mut(&link) else { continue };
            for (request, groups) in state.asking.take_back(&content, brings) {
                fetch.asked.forget(link, |group| groups.contains(group));
                self.output(Output::SendControl { link, payload: LinkMessage::Cancel(request).to_bytes() });
            }
        }
    }

    /// What a link keeps waiting is asked of others too, if it is urgent and they have time.
    pub(super) fn hedge(&mut self, link: LinkId, overdue: &[Late], now: Timestamp) {
        if self.busy.is_some_and(|at| now < at + SCARCE) {
            return;
        }
        for late in overdue {
            let urgent = now + HEDGED;
            let of_it =
                |fetch: &&mut Fetch| fetch.content() == Some(late.content) && fetch.deadline <= urgent;
            for fetch in self.fetches.iter_mut().map(|(_, fetch)| fetch).filter(of_it) {
                fetch.asked.note_overdue(link, &late.groups);
                fetch.stirred = true;
            }
        }
    }

    /// A group came: who was asked for it too need not send it any more.
    pub(super) fn settle_hedge(&mut self, segment: SegmentId, group: GroupIndex, from: LinkId) {
        let Some(fetch) = self.fetches.get_mut(&segment) else { return };
        let (Some(other), Some(content)) = (fetch.asked.came(group, from), fetch.content()) else { return };
        let Some(state) = self.links.get_mut(&other) else { return };
        for (request, groups) in state.asking.take_back(&content, |asked| *asked == group) {
            self.unask(other, &content, &groups);
            self.say(other, &LinkMessage::Cancel(request));
        }
    }

    /// Groups that will not come from a link: others are asked, or the origin.
    pub(super) fn unask(&mut self, link: LinkId, content: &ContentId, groups: &[GroupIndex]) {
        for (_, fetch) in self.fetches.iter_mut().filter(|(_, fetch)| fetch.content() == Some(*content)) {
            fetch.asked.forget(link, |group| groups.contains(group));
            fetch.stirred = true;
        }
    }

    /// A link let groups come late: the time is noted from which on they are owed.
    pub(super) fn note_owed(&mut self, late: &Late) {
        let of_it = self.fetches.iter_mut().filter(|(_, fetch)| fetch.content() == Some(late.content));
        of_it.for_each(|(_, fetch)| fetch.asked.note_owed(&late.groups, late.since));
    }

    pub(super) fn is_held(&self, fetch: &Fetch) -> bool {
        let Phase::Trading { content } = fetch.phase else { return false };
        self.store.get(&content).is_some_and(|stored| stored.held.is_full())
    }

    pub(super) fn missing_bytes(&self, fetch: &Fetch) -> u64 {
        match &fetch.phase {
            Phase::Listing { len, .. } => len.bytes(),
            Phase::Trading { content } => self.store.get(content).map_or(0, |stored| {
                let missing = stored.held.groups() - stored.held.len();
                (u64::from(missing) * u64::from(crate::content::GROUP_LEN)).min(stored.list.len().bytes())
            }),
            Phase::Resolving | Phase::Restoring { .. } | Phase::Rootless => {
                fetch.key.range().map_or(0, |range| range.len())
            }
        }
    }

    /// Whether a neighbour says that it holds something that is missing here.
    pub(super) fn has_holder(&self, fetch: &Fetch) -> bool {
        let Some(content) = fetch.content() else { return false };
        let stored = self.store.get(&content).filter(|_| matches!(fetch.phase, Phase::Trading { .. }));
        self.claims_on(content).any(|(_, claim)| match stored {
            Some(stored) => claim.holds_any(stored.held.missing()),
            None => claim.holds_some(),
        })
    }

    /// What neighbours claim of a segment.
    pub(super) fn claims_on(&self, content: ContentId) -> impl Iterator<Item = (LinkId, &Claim)> {
        self.links
            .iter()
            .filter(|(_, state)| state.is_ready())
            .filter_map(move |(link, state)| Some((*link, state.claims.on(&content)?)))
    }
}

/// The place of the first of the groups up to this one that is a good one to begin with.
fn run_start(groups: &[GroupIndex], place: usize) -> usize {
    let run = |group: &GroupIndex| group.value() / ALIGNED;
    let shares = |group: &&GroupIndex| run(group) == run(&groups[place]);
    place - groups[..place].iter().rev().take_while(shares).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_begins_at_a_multiple_of_four() {
        let groups = [1, 2, 3, 4, 6, 7, 11].map(GroupIndex::new);
        let starts: Vec<_> = (0..groups.len()).map(|place| run_start(&groups, place)).collect();
        assert_eq!(starts, [0, 0, 0, 3, 3, 3, 6]);
    }
}
