//! Serves requested groups, one link after the other, within what each bulk channel takes.

use super::{
    Node,
    disk::Reader,
    io::{Config, Event, Output},
    links::Link,
};
use crate::{
    content::{GROUP_LEN, GroupSet},
    guard::TokenBucket,
    id::{BlobHandle, LinkId},
    swarm::{Candidate, Capacity, Choker, MEMORY, Rounds, Run, Turn, Upload, has_time, share},
    time::Timestamp,
    units::{ByteRange, BytesPerSec},
    wire::{LinkMessage, MAX_RUN, RejectReason, Request, data_header},
};

/// Least bytes in flight on all links together, where the uplink is not known: it is shared by few at a time, so that what is
/// sent is whole soon and what is taken back has not been sent yet.
const MIN_TOTAL_IN_FLIGHT: u64 = 64 * 1024;
const GROUP: u64 = GROUP_LEN as u64;
/// Groups that one who gives nothing is served at a time while there is too little for those who give.
const LEECH_GROUPS: usize = 2;
/// Bytes that may be sent at once under a limit.
const LIMIT_BURST: u32 = 2 * GROUP_LEN;

/// What all uploads share.
#[derive(Debug)]
pub(super) struct Uploads {
    /// What the page allows, in bytes.
    allowance: Option<TokenBucket>,
    choker: Choker,
    /// The link that was served last.
    last: LinkId,
    limit: Option<BytesPerSec>,
    /// When one who gives was sent away last.
    sent_away: Option<Timestamp>,
    /// In the choker's place, to compare with.
    #[cfg(any(test, feature = "bep3"))]
    rounds: Option<Rounds>,
    uplink: Capacity,
}

impl Uploads {
    pub(super) fn new(config: &Config, now: Timestamp) -> Self {
        let mut uploads = Self {
            allowance: None,
            choker: Choker::default(),
            last: LinkId::new(0),
            limit: None,
            sent_away: None,
            #[cfg(any(test, feature = "bep3"))]
            rounds: (config.choking == super::Choking::Bep3).then(|| Rounds::new(now)),
            uplink: Capacity::default(),
        };
        uploads.set_limit(config.upload_limit, now);
        uploads
    }

    #[cfg(any(test, feature = "bep3"))]
    fn rounds(&self) -> Option<&Rounds> {
        self.rounds.as_ref()
    }

    #[cfg(any(test, feature = "bep3"))]
    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        self.rounds.as_mut()
    }

    #[cfg(not(any(test, feature = "bep3")))]
    fn rounds(&self) -> Option<&Rounds> {
        None
    }

    #[cfg(not(any(test, feature = "bep3")))]
    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        None
    }

    fn set_limit(&mut self, limit: Option<BytesPerSec>, now: Timestamp) {
        if self.limit != limit {
            let bucket = |limit: BytesPerSec| TokenBucket::new(LIMIT_BURST, limit.value() as f64, now);
            self.allowance = limit.map(bucket);
            self.limit = limit;
        }
    }

    /// What the uplink carries and the page allows, once that is known.
    pub(super) fn capacity(&self) -> Option<BytesPerSec> {
        self.uplink.known().into_iter().chain(self.limit).min()
    }

    /// Whether neighbours are called one after the other: the uplink is known and may be scarce.
    pub(super) fn calls(&self) -> bool {
        self.rounds().is_none() && self.uplink.known().is_some()
    }

    /// Whether places on the uplink are offered in advance.
    pub(super) fn offers(&self) -> bool {
        self.rounds().is_none()
    }

    /// Whether anything may be given at all.
    pub(super) fn are_on(&self) -> bool {
        self.limit.is_none_or(|limit| limit.value() > 0)
    }

    /// Bytes in flight on all links that keep the uplink busy: a quarter of a second.
    fn in_flight(&self) -> u64 {
        let quarter = |capacity: BytesPerSec| (capacity.value() / 4).max(2 * GROUP);
        self.capacity().map_or(MIN_TOTAL_IN_FLIGHT, quarter)
    }
}

impl Node {
    /// Changes [`Config::upload_limit`](super::Config::upload_limit). With 0 nothing is given any more, and neighbours hear
    /// that what was announced is not to be had; with more they hear again what is.
    pub fn set_upload_limit(&mut self, limit: Option<BytesPerSec>, now: Timestamp) {
        let gave = self.may_upload();
        self.uploads.set_limit(limit, now);
        match (gave, self.may_upload()) {
            (true, false) => self.withdraw(),
            (false, true) => self.announce_to_all(),
            _ => {}
        }
        self.settle(now);
    }

    /// Takes back what neighbours were told or promised.
    fn withdraw(&mut self) {
        self.withdraw_announcements();
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.refuse_uploads(link);
        }
    }

    /// Takes back what one neighbour was promised.
    pub(super) fn refuse_uploads(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.giving.turn = Turn::None;
        for request in state.giving.drop_all_uploads() {
            self.say(link, &LinkMessage::Reject(request, RejectReason::NotHeld));
        }
    }

    /// A peer asks for groups.
    pub(super) fn handle_request(&mut self, link: LinkId, request: &Request, now: Timestamp) {
        let gives = self.may_upload() && self.links.get(&link).is_some_and(Link::trades);
        let stored = self.store.get(&request.content).filter(|_| gives);
        let Some(stored) = stored else {
            let reader = Reader::Request(link, request.clone());
            if !gives || !self.read_for(reader, &request.content, now) {
                self.reject(link, request, RejectReason::NotHeld);
            }
            return;
        };
        let content = request.content;
        let groups: Vec<_> = {
            let most = stored.list.len().groups();
            let named = request.groups.iter().flat_map(|range| range.iter()).take(most as usize);
            // Each once, however often it is named.
            let mut seen = GroupSet::empty(most);
            named.filter(|group| group.value() >= most || seen.insert(*group)).collect()
        };
        let offers = self.links.get_mut(&link).map(|state| &mut state.giving.offers);
        if let Some(kept) = offers.and_then(|offers| offers.take(&content, &groups, now)) {
            self.promise(link, request, &groups, kept, now);
            return;
        }
        if !groups.iter().all(|group| stored.held.contains(*group)) {
            self.reject(link, request, RejectReason::NotHeld);
            return;
        }
        self.store.touch(&content);
        let room = self.room_for(link, now);
        let Some(state) = self.links.get_mut(&link) else { return };
        let uploads = groups.iter().map(|group| Upload { request: request.id, content, group: *group });
        state.giving.note_wanted(now);
        let queued = state.giving.queue_uploads(uploads.take(room));
        if queued < groups.len() {
            state.giving.turn = Turn::Waits(now);
            if state.merit.is_giver(now) {
                self.uploads.sent_away = Some(now);
            }
            self.reject(link, request, RejectReason::Busy(queued as u32));
        }
    }

    /// How many more groups for a link leave soon, if nobody has waited longer for that. Who has just come waits for nobody, and in
    /// a longer line: its second segment is needed two seconds after it came.
    fn room_for(&mut self, link: LinkId, now: Timestamp) -> usize {
        if let Some(rounds) = self.uploads.rounds_mut() {
            rounds.admit(link);
            return if rounds.serves(link) { usize::MAX } else { 0 };
        }
        let Some(state) = self.links.get(&link) else { return 0 };
        let is_new = state.merit.is_new(now);
        let goes_first = is_new || state.giving.turn.is_called(now);
        if !goes_first && self.waiting(now).any(|other| other.link != link) {
            return 0;
        }
        let gives = state.merit.gives(now);
        let share = if is_new { 2 * self.share() } else { self.share() };
        let room = share.saturating_sub(self.queued_and_sent(now));
        // What is given to others is not to be in the way of those who give.
        if gives || !self.is_scarce(now) { room } else { room.min(LEECH_GROUPS) }
    }

    fn share(&self) -> usize {
        share(self.uploads.capacity(), GROUP)
    }

    fn waiting(&self, now: Timestamp) -> impl Iterator<Item = Candidate> {
        let waits = move |state: &Link| state.giving.turn.waits(now);
        self.links
            .iter()
            .filter_map(move |(link, state)| Some(state.merit.candidate(*link, waits(state)?, now)))
    }

    /// Those who wait or have not heard the news.
    fn callable(&self, now: Timestamp) -> impl Iterator<Item = Candidate> {
        let free = move |state: &Link| state.is_ready() && !state.giving.turn.is_called(now);
        self.links.iter().filter(move |(_, state)| free(state)).filter_map(move |(link, state)| {
            let waits = state.giving.turn.waits(now);
            let since = waits.into_iter().chain(self.news_since(*link)).min()?;
            Some(state.merit.candidate(*link, since, now))
        })
    }

    /// Whether there was too little for those who give lately.
    fn is_scarce(&self, now: Timestamp) -> bool {
        self.uploads.sent_away.is_some_and(|at| now < at + MEMORY)
    }

    /// Serves others than before, once that is due.
    fn start_round(&mut self, now: Timestamp) {
        let wanting = self.links.iter().filter(|(_, state)| state.giving.wants(now));
        let wanting = wanting.map(|(link, state)| state.merit.candidate(*link, now, now)).collect();
        let Some(rounds) = self.uploads.rounds_mut() else { return };
        for link in rounds.choose(wanting, self.random.fraction(), now) {
            self.say(link, &LinkMessage::Unchoke);
        }
    }

    /// Calls those who wait while there is time for them.
    #[inline(never)]
    fn call_waiting(&mut self, now: Timestamp) {
        let is_expected = |state: &Link| state.giving.turn.is_expected(now) && state.giving.queued() == 0;
        let called = self.links.values().filter(|state| is_expected(state)).count();
        let (share, queued) = (self.share(), self.queued_and_sent(now));
        for called in called.. {
            if !has_time(share, queued, called) {
                return;
            }
            // Who gives nothing is called when nobody else has anything of the uplink.
            let idle = !self.is_scarce(now) || queued + called == 0;
            let callable: Vec<_> = self.callable(now).filter(|candidate| idle || candidate.gives).collect();
            let Some(link) = self.uploads.choker.call(callable.into_iter()) else { return };
            let Some(state) = self.links.get_mut(&link) else { return };
            let waits = state.giving.turn.waits(now).is_some();
            state.giving.turn = Turn::Called(now);
            self.tell_news(link);
            if waits {
                self.say(link, &LinkMessage::Unchoke);
            }
        }
    }

    /// What a link's bulk channel holds.
    pub(super) fn note_buffered(&mut self, link: LinkId, bytes: u64, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let left = state.giving.set_in_flight(bytes, now);
        let full = self.links.values().any(|state| state.giving.is_full());
        self.uploads.uplink.drained(left, full, now);
    }

    /// Whether this peer gives segments to others.
    pub(super) fn may_upload(&self) -> bool {
        self.service.may_upload() && self.uploads.are_on()
    }

    pub(super) fn reject(&mut self, link: LinkId, request: &Request, reason: RejectReason) {
        let payload = LinkMessage::Reject(request.id, reason).to_bytes();
        self.output(Output::SendControl { link, payload });
    }

    fn queued_groups(&self) -> usize {
        self.links.values().map(|state| state.giving.queued()).sum()
    }

    fn in_flight(&self, now: Timestamp) -> u64 {
        self.links.values().filter_map(|state| state.giving.in_flight(now)).map(|(bytes, _)| bytes).sum()
    }

    /// Groups that are queued or in flight.
    pub(super) fn queued_and_sent(&self, now: Timestamp) -> usize {
        self.queued_groups() + (self.in_flight(now) / GROUP) as usize
    }

    /// When groups that wait may be sent though nothing was said to have left.
    pub(super) fn uploads_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let until =
            self.links.values().filter_map(|state| state.giving.in_flight(now)).map(|(_, until)| until);
        let allowed = self.uploads.allowance.map(|allowance| allowance.ready_at(GROUP_LEN, now));
        let until = until.chain(allowed.filter(|at| now < *at)).min().filter(|_| self.queued_groups() > 0);
        let round = self.uploads.rounds().filter(|_| !self.links.is_empty());
        let round = round.map(Rounds::due).filter(|at| now < *at);
        // Who was called makes way for others, if there are any.
        let turns = self.links.values().filter_map(|state| state.giving.turn.ends(now)).min();
        let turn = turns.filter(|_| self.has_news() || self.waiting(now).next().is_some());
        turn.into_iter().chain(until).chain(round).min()
    }

    /// Hands groups to the bulk channels that have room, in turn.
    #[inline(never)]
    pub(super) fn drive_uploads(&mut self, now: Timestamp) {
        match self.uploads.rounds() {
            None => self.call_waiting(now),
            Some(rounds) if rounds.due() <= now => self.start_round(now),
            Some(_) => {}
        }
        // A limit is kept group by group.
        let most = if self.uploads.allowance.is_some() { 1 } else { MAX_RUN };
        let mut room = self.uploads.in_flight().saturating_sub(self.in_flight(now));
        let mut idle = 0;
        while room > 0 && idle < self.links.len() {
            let after = self.links.keys().copied().find(|link| *link > self.uploads.last);
            let Some(link) = after.or_else(|| self.links.keys().next().copied()) else { return };
            self.uploads.last = link;
            if self.uploads.allowance.is_some_and(|allowance| now < allowance.ready_at(GROUP_LEN, now)) {
                return;
            }
            let run = self.links.get_mut(&link).and_then(|state| state.giving.next_run(most));
            idle = if run.is_some() { 0 } else { idle + 1 };
            if let Some(run) = run {
                room = room.saturating_sub(GROUP * u64::from(run.groups.len()));
                self.send_run(link, run, now);
            }
        }
    }

    fn send_run(&mut self, link: LinkId, run: Run, now: Timestamp) {
        let Some((blob, range)) = self.held_groups(&run) else {
            let payload = LinkMessage::Reject(run.request, RejectReason::NotHeld).to_bytes();
            if let Some(state) = self.links.get_mut(&link) {
                state.giving.drop_uploads(run.request);
            }
            self.output(Output::SendControl { link, payload });
            return;
        };
        let header = data_header(run.request, run.groups.start(), range.len() as usize);
        let Some(state) = self.links.get_mut(&link) else { return };
        state.giving.sent(range.len(), now);
        if let Some(allowance) = &mut self.uploads.allowance {
            allowance.take_many(range.len() as u32, now);
        }
        let peer = state.peer;
        self.stats.upload_bytes += range.len();
        self.output(Output::SendGroups { link, header, blob, range });
        self.event(Event::GroupsSent { peer, bytes: range.len() as u32 });
    }

    fn held_groups(&self, run: &Run) -> Option<(BlobHandle, ByteRange)> {
        let stored = self.store.get(&run.content)?;
        let is_held = run.groups.iter().all(|group| stored.held.contains(group));
        Some((stored.blob, stored.list.len().range_bytes(run.groups).filter(|_| is_held)?))
    }
}
