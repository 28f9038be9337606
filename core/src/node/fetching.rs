//! A fetch from request to delivery: root, group list, peers, and the origin when peers are late or nobody has it.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, ListAsk, MAX_WAITERS, ORIGIN_STALL, Phase},
    io::{FetchError, FetchRequest, Output},
    roots::RootAnswer,
};
use crate::{
    content::GroupList,
    id::{ContentId, FetchId, LinkId, PeerId, SegmentId},
    swarm::{Holder, assign, duty, rarest_first},
    time::Timestamp,
    units::GroupIndex,
    wire::{LinkMessage, Request},
};

/// How long a fetch waits for links that are being set up.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1500);
/// How long a root may take while there are neighbours who may have the segment.
const RESOLVE_PATIENCE: Duration = Duration::from_millis(400);
/// How long a new neighbour may take to say what it holds.
const HEAR_PATIENCE: Duration = Duration::from_millis(250);
/// Holders that bring nothing for so long are not waited for.
pub(super) const STALL: Duration = Duration::from_secs(2);
/// Most groups one scheduling pass looks at.
const MAX_PASS: usize = 256;

/// When the origin is to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    At(Timestamp),
    Now,
    NotNeeded,
}

impl Node {
    /// Starts to fetch a segment. Ends in exactly one [`Output::Deliver`] or [`Output::Fail`], unless cancelled.
    pub fn fetch(&mut self, request: FetchRequest, now: Timestamp) -> FetchId {
        let id = FetchId::new(self.next_handle());
        let deadline = request.deadline.unwrap_or(now + super::DEFAULT_DEADLINE);
        let segment = request.key.id(&request.stream);
        if !self.first_frame && self.first_fetch.is_none() {
            self.first_fetch = Some((id, now));
        }
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
            self.fetches.insert(segment, fetch);
        }
    }

    pub(super) fn segment_of(&self, content: &ContentId) -> Option<SegmentId> {
        self.fetches.values().find(|fetch| fetch.content() == Some(*content)).map(|fetch| fetch.segment)
    }

    pub(super) fn comes_from_origin(&self, content: &ContentId) -> bool {
        self.fetches.values().any(|fetch| fetch.origin.is_some() && fetch.content() == Some(*content))
    }

    pub(super) fn fetches_timeout(&self) -> Option<Timestamp> {
        self.fetches.values().filter_map(|fetch| fetch.wake).min()
    }

    pub(super) fn drive_fetches(&mut self, now: Timestamp) {
        let mut done = None;
        self.forget_wants();
        // What is needed first is asked of the peers first. They are few, and code that sorts is large.
        while let Some(next) = self.fetch_after(done) {
            done = Some(next);
            let (_, segment) = next;
            let Some(mut fetch) = self.fetches.remove(&segment) else { continue };
            self.resolve(&mut fetch, now);
            self.ask_list(&mut fetch, now);
            self.relay_coming(&mut fetch, now);
            self.ask_peers(&mut fetch, now);
            self.ask_origin(&mut fetch, now);
            if self.conclude(&mut fetch, now) {
                self.end_fetch(fetch);
            } else {
                self.fetches.insert(segment, fetch);
            }
        }
    }

    /// The fetch that is needed next after this one.
    fn fetch_after(&self, last: Option<(Timestamp, SegmentId)>) -> Option<(Timestamp, SegmentId)> {
        let fetches = self.fetches.iter().map(|(segment, fetch)| (fetch.deadline, *segment));
        fetches.filter(|next| Some(*next) > last).min()
    }

    fn resolve(&mut self, fetch: &mut Fetch, now: Timestamp) {
        if fetch.phase != Phase::Resolving {
            return;
        }
        if self.distrusted.contains(&fetch.segment) {
            fetch.phase = Phase::Rootless;
            return;
        }
        match self.root_of(fetch.stream, &fetch.key, fetch.segment, now) {
            RootAnswer::List(list) => self.start_trading(fetch, list, now),
            RootAnswer::None => fetch.phase = Phase::Rootless,
            RootAnswer::Pending => {}
            RootAnswer::Root { content, len } => {
                let stored = self.store.get(&content).map(|stored| stored.list.clone());
                match stored {
                    Some(list) => self.start_trading(fetch, list, now),
                    None => {
                        fetch.progress = now;
                        fetch.phase = Phase::Listing { content, len, ask: ListAsk::Nobody };
                    }
                }
            }
        }
    }

    /// The group list is known: groups that came from the origin meanwhile are checked.
    pub(super) fn start_trading(&mut self, fetch: &mut Fetch, list: GroupList, now: Timestamp) {
        let (content, len) = (list.root(), list.len());
        self.abort_sidecar(fetch);
        fetch.progress = now;
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
                return;
            }
            Some(_) => {}
            None => {
                self.store.insert(list, fetch.blob, fetch.stream);
                self.open_blob(fetch, Some(len.bytes()));
            }
        }
        if fetch.origin.is_some() {
            fetch.told_coming = true;
            self.announce_coming(fetch.stream, content);
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

    pub(super) fn open_blob(&mut self, fetch: &mut Fetch, len: Option<u64>) {
        if !std::mem::replace(&mut fetch.opened, true) {
            self.output(Output::Open { blob: fetch.blob, len });
        }
    }

    /// A neighbour holds the segment or has it coming, so it comes here too: those further away need not ask the origin.
    fn relay_coming(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        if fetch.told_coming || !self.p2p || self.is_held(fetch) {
            return;
        }
        let is_coming = |link: LinkId| {
            let until = self.links[&link].transfer.claims.coming_until(&content);
            until.is_some_and(|until| now < until)
        };
        if self.ready_links().any(is_coming) || self.has_holder(fetch) {
            fetch.told_coming = true;
            self.announce_coming(fetch.stream, content);
        }
    }

    /// Splits the missing groups over the links that hold them.
    fn ask_peers(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Trading { content } = fetch.phase else { return };
        let Some(stored) = self.store.get(&content).filter(|stored| !stored.held.is_full()) else { return };
        if !self.p2p {
            return;
        }
        let mut missing: Vec<GroupIndex> = stored
            .held
            .missing()
            .filter(|group| !fetch.asked.contains_key(group) && !fetch.origin_brings(*group, now))
            .take(MAX_PASS)
            .collect();
        if missing.is_empty() {
            return;
        }
        // A segment is of use when it is whole. Neighbours that ask for its groups in an order of their own have something to
        // give each other soon, and its first holder needs to send it once.
        let turn = (self.draw(fetch) * missing.len() as f64) as usize % missing.len();
        missing.rotate_left(turn);
        let mut holders: Vec<_> = self
            .ready_links()
            .map(|link| (link, &self.links[&link]))
            .filter(|(_, state)| state.transfer.claims.holds_some(&content))
            .map(|(link, state)| Holder {
                link,
                room: state.transfer.room(now),
                delay: state.transfer.delay(state.rtt, now),
                holds: |group| state.transfer.claims.holds(&content, group),
            })
            .collect();
        let assigned = assign(&rarest_first(&missing, &holders), &mut holders);
        for (link, range) in assigned {
            let Some(state) = self.links.get_mut(&link) else { continue };
            let id = state.transfer.ask(content, range, now);
            for group in range.iter() {
                fetch.asked.insert(group, link);
            }
            let groups = crate::bounded::BoundedVec::first_of([range]);
            let payload = LinkMessage::Request(Request { id, content, groups }).to_bytes();
            self.output(Output::SendControl { link, payload });
        }
    }

    /// Groups that will not come from a link: others are asked, or the origin.
    pub(super) fn unask(&mut self, link: LinkId, content: &ContentId, groups: &[GroupIndex]) {
        for (_, fetch) in self.fetches.iter_mut().filter(|(_, fetch)| fetch.content() == Some(*content)) {
            fetch.asked.retain(|group, asked| *asked != link || !groups.contains(group));
        }
    }

    pub(super) fn ask_origin(&mut self, fetch: &mut Fetch, now: Timestamp) {
        fetch.wake = None;
        match self.origin_due(fetch, now) {
            Due::At(at) => fetch.wake = Some(at),
            Due::Now => self.start_origin(fetch, now),
            Due::NotNeeded => {}
        }
        if let Phase::Listing { ask: ListAsk::Peer(_, until), .. } = fetch.phase {
            fetch.wake_by(until);
        }
        if fetch.origin.is_some() && self.has_holder(fetch) {
            let stall = (fetch.origin_progress + ORIGIN_STALL).min(fetch.deadline);
            if now < stall {
                fetch.wake_by(stall);
            }
        }
    }

    fn origin_due(&self, fetch: &Fetch, now: Timestamp) -> Due {
        if fetch.origin.is_some() || fetch.origin_error.is_some() || fetch.whole.is_some() {
            return Due::NotNeeded;
        }
        if self.is_held(fetch) || fetch.waiters.is_empty() {
            return Due::NotNeeded;
        }
        if let Some(stalls) = self.twin_stalls_at(fetch).filter(|at| now < *at) {
            return Due::At(stalls);
        }
        let listless = matches!(fetch.phase, Phase::Listing { ask: ListAsk::Nowhere, .. });
        if !self.p2p || listless || fetch.phase == Phase::Rootless {
            return Due::Now;
        }
        let latest = fetch.deadline.saturating_sub(self.pace.margin(self.missing_bytes(fetch)));
        let at = self.patience(fetch, now).map_or(now, |until| until.min(latest));
        if at <= now { Due::Now } else { Due::At(at) }
    }

    /// When the origin counts as stalled that brings the same bytes for a fetch under another name.
    fn twin_stalls_at(&self, fetch: &Fetch) -> Option<Timestamp> {
        let Phase::Trading { content } = fetch.phase else { return None };
        let twins = self.fetches.values().filter(|twin| twin.phase == Phase::Trading { content });
        twins.filter(|twin| twin.origin.is_some()).map(|twin| twin.origin_progress + ORIGIN_STALL).max()
    }

    /// Until when peers may bring the segment; `None` if there is nobody to wait for.
    fn patience(&self, fetch: &Fetch, now: Timestamp) -> Option<Timestamp> {
        if fetch.phase == Phase::Resolving && !self.root_is_coming(fetch) {
            return None;
        }
        if self.ready_links().next().is_none() {
            return self.is_connecting(fetch).then(|| fetch.started + CONNECT_PATIENCE);
        }
        let Some(content) = fetch.content() else { return Some(fetch.progress + RESOLVE_PATIENCE) };
        let transfers = self.ready_links().map(|link| &self.links[&link].transfer);
        let duty = duty::wait(self.draw(fetch), self.swarm_size(fetch));
        let holding = self.has_holder(fetch).then(|| fetch.progress + STALL + duty);
        let coming = transfers.filter_map(|transfer| transfer.claims.coming_until(&content)).max();
        let coming = coming.filter(|until| *until > now);
        // A new neighbour says what it holds right after its hello. Both ends wait for that, and then not equally long.
        let hearing = self.last_ready.map_or(fetch.progress, |at| fetch.progress.max(at + HEAR_PATIENCE));
        [Some(hearing + duty), holding, coming].into_iter().flatten().max()
    }

    /// Whether links are on their way that may bring the segment.
    fn is_connecting(&self, fetch: &Fetch) -> bool {
        if !self.config.service {
            return false;
        }
        if !self.may_connect() {
            // The first frame is expected soon; the very first segment does not wait, its deadline is now.
            return self.service.is_ready() || self.service.is_promising();
        }
        let unanswered = self.streams.get(&fetch.stream).is_some_and(|state| !state.answered);
        let joining = unanswered && (self.service.is_ready() || self.service.is_promising());
        joining || self.links.values().any(|link| !link.is_ready())
    }

    /// Viewers of the fetch's stream, as far as is known.
    fn swarm_size(&self, fetch: &Fetch) -> u32 {
        let told = self.streams.get(&fetch.stream).and_then(|state| state.population).unwrap_or(1);
        told.max(self.ready_links().count() as u32 + 1)
    }

    /// This peer's draw for a segment, 0 to 1: differs by segment and peer.
    fn draw(&self, fetch: &Fetch) -> f64 {
        let peer = self.service.peer().unwrap_or(PeerId::from_bytes([0; 32]));
        let mut hasher = blake3::Hasher::new();
        hasher.update(peer.as_bytes());
        hasher.update(fetch.segment.as_bytes());
        let hash = hasher.finalize();
        f64::from(u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])) / f64::from(u16::MAX)
    }

    pub(super) fn is_held(&self, fetch: &Fetch) -> bool {
        let Phase::Trading { content } = fetch.phase else { return false };
        self.store.get(&content).is_some_and(|stored| stored.held.is_full())
    }

    fn missing_bytes(&self, fetch: &Fetch) -> u64 {
        match &fetch.phase {
            Phase::Listing { len, .. } => len.bytes(),
            Phase::Trading { content } => self.store.get(content).map_or(0, |stored| {
                let missing = stored.held.groups() - stored.held.len();
                (u64::from(missing) * u64::from(crate::content::GROUP_LEN)).min(stored.list.len().bytes())
            }),
            Phase::Resolving | Phase::Rootless => fetch.key.range().map_or(0, |range| range.len()),
        }
    }

    /// Whether a neighbour says that it holds something that is missing here.
    pub(super) fn has_holder(&self, fetch: &Fetch) -> bool {
        let Some(content) = fetch.content() else { return false };
        let stored = self.store.get(&content).filter(|_| matches!(fetch.phase, Phase::Trading { .. }));
        self.ready_links().map(|link| &self.links[&link].transfer.claims).any(|claims| match stored {
            Some(stored) => stored.held.missing().any(|group| claims.holds(&content, group)),
            None => claims.holds_some(&content),
        })
    }
}
