//! One link's askings in both directions: what was asked of the peer, what it is owed.
//!
//! A request is the credit: the peer may send each requested group once and nothing else, so a receiver without
//! back-pressure is never flooded.

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;

use super::{
    capacity::Capacity,
    choke,
    outstanding::Asked,
    rate::Rate,
    snub::{SNUB, Snub},
};
use crate::{
    content::GROUP_LEN,
    id::{ContentId, RequestId},
    time::Timestamp,
    units::{BytesPerSec, GroupIndex, GroupRange},
};

/// Groups asked for before a rate is known.
const START_WINDOW: usize = 4;
/// Most groups asked of one peer at a time.
const MAX_WINDOW: usize = 64;
/// Requests are late when the link brought nothing for this, for three round trips, or for three of its own pauses.
const LATE_AFTER: Duration = Duration::from_millis(1000);
/// Requests are overdue when it brought nothing for this, for two round trips, or for two of its own pauses.
const OVERDUE_AFTER: Duration = Duration::from_millis(400);
/// What a thin way brings within this counts as on its way.
const SOON: Duration = Duration::from_millis(100);
/// What a peer still owes that brought nothing for this is not on its way.
const PAUSES: Duration = Duration::from_millis(500);
/// Longest time that a link's round trips or pauses earn it: the peer decides when it answers a ping.
const LATEST: Duration = Duration::from_millis(1600);
/// What comes so long after it was asked for is of use, but its sender is as silent as before.
const TOO_LATE: Duration = Duration::from_secs(4);
/// Most late requests whose groups are still of use when they come after all.
const MAX_LATE: usize = 16;
/// A group that came and was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// It belongs to this segment.
    Wanted(ContentId),
    /// It was cancelled before it came.
    Cancelled,
    /// Nobody asked for it.
    Unsolicited,
}

/// A request that was taken back, or is overdue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Late {
    pub(crate) request: RequestId,
    pub(crate) content: ContentId,
    /// What had not come.
    pub(crate) groups: Vec<GroupIndex>,
    /// Since when the peer has brought nothing that it was asked for.
    pub(crate) since: Timestamp,
}

/// The askings of one link.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) bytes_in: u64,
    asked: LiteMap<RequestId, Asked>,
    next_request: u32,
    /// Groups of cancelled requests that may still come.
    cancelled: usize,
    /// When a group came last, or was asked for while nothing else was.
    heard: Timestamp,
    /// The longest wait for a group lately.
    pause: Duration,
    /// Requests that were taken back because they were late.
    late: VecDeque<(RequestId, Asked)>,
    outstanding: usize,
    rate: Rate,
    /// What the way from the peer carries while something was asked for.
    way: Capacity,
    /// Whether it keeps its word.
    pub(crate) snub: Snub,
    /// Until when the peer has no time for requests, unless it calls.
    choked: Option<Timestamp>,
    /// When it had none last.
    refused: Option<Timestamp>,
}

impl Asking {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            bytes_in: 0,
            asked: LiteMap::new(),
            next_request: 0,
            cancelled: 0,
            heard: now,
            pause: Duration::ZERO,
            late: VecDeque::new(),
            outstanding: 0,
            rate: Rate::new(now),
            way: Capacity::default(),
            snub: Snub::new(now),
            choked: None,
            refused: None,
        }
    }

    /// Groups the peer may still be asked for: about half a second of its rate, or a fifth of what the way from it carries. None
    /// until half of them have come, so that a quick peer is asked for runs of groups and not for one after each that came.
    pub(crate) fn room(&self, now: Timestamp) -> usize {
        if self.rested_at(now).is_some() {
            return 0;
        }
        let carries = self.way.known().map_or(0, BytesPerSec::value);
        let bytes = (self.rate.at(now).value() / 2).max(carries / 5);
        let window = (bytes as usize / GROUP_LEN as usize).clamp(START_WINDOW, MAX_WINDOW);
        let room = window.saturating_sub(self.outstanding);
        if room < window / 2 { 0 } else { room }
    }

    /// Groups that were asked for and may come at once: none of a peer that pauses, and of a thin way those that it brings soon.
    pub(crate) fn on_their_way(&self, now: Timestamp) -> usize {
        if now >= self.heard + PAUSES {
            return 0;
        }
        let soon = |way: BytesPerSec| {
            1 + (way.value() * SOON.as_millis() as u64 / 1000 / u64::from(GROUP_LEN)) as usize
        };
        self.outstanding.min(self.way.known().map_or(usize::MAX, soon))
    }

    /// What comes from the peer.
    pub(crate) fn rate(&self, now: Timestamp) -> BytesPerSec {
        self.rate.at(now)
    }

    /// Estimated time until a further group from this peer arrives, in microseconds.
    pub(crate) fn delay(&self, rtt: Option<Duration>, now: Timestamp) -> u64 {
        let rate = self.rate.at(now).value().max(50_000);
        let queued = (self.outstanding as u64 + 1) * GROUP_LEN as u64 * 1_000_000 / rate;
        let snub = if self.snub.is_snubbed(now) { SNUB.as_micros() as u64 } else { 0 };
        rtt.unwrap_or(Duration::from_millis(50)).as_micros() as u64
            + queued
            + snub
            + self.pause.as_micros() as u64
    }

    /// Notes a request and numbers it.
    pub(crate) fn ask(&mut self, content: ContentId, range: GroupRange, now: Timestamp) -> RequestId {
        if self.outstanding == 0 {
            self.heard = self.heard.max(now);
            self.way.begin(now);
        }
        self.outstanding += range.len() as usize;
        self.note(content, range, false, now)
    }

    /// Notes a standing request, for groups that the peer offered.
    pub(crate) fn ask_offered(&mut self, content: ContentId, range: GroupRange, now: Timestamp) -> RequestId {
        self.note(content, range, true, now)
    }

    fn note(&mut self, content: ContentId, range: GroupRange, standing: bool, now: Timestamp) -> RequestId {
        let id = RequestId::new(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        let groups = range.iter().collect();
        let asked = Asked { content, first: range.start(), groups, at: now, overdue: false, standing };
        self.asked.insert(id, asked);
        id
    }

    /// Notes that a group came.
    pub(crate) fn answered(
        &mut self,
        request: RequestId,
        group: GroupIndex,
        len: u64,
        now: Timestamp,
    ) -> Answer {
        self.bytes_in += len;
        self.rate.add(len, now);
        if let Some(asked) = self.asked.get_mut(&request)
            && asked.take(group)
        {
            asked.at = now;
            asked.overdue = false;
            let (content, standing) = (asked.content, asked.standing);
            if asked.groups.is_empty() {
                self.asked.remove(&request);
            }
            if standing {
                // How long the peer waited for it says nothing of the link.
                self.heard = self.heard.max(now);
            } else {
                self.outstanding -= 1;
                self.way.drained(len, self.outstanding > 0, now);
                self.note_pause(now);
            }
            self.snub.note_in_time(now);
            return Answer::Wanted(content);
        }
        let late = self.late.iter_mut().find(|(id, _)| *id == request);
        if let Some((_, asked)) = late
            && asked.take(group)
        {
            let content = asked.content;
            self.snub.note_after_all();
            if now <= asked.at + TOO_LATE {
                self.heard = self.heard.min(asked.at);
                self.note_pause(now);
            }
            return Answer::Wanted(content);
        }
        if self.cancelled > 0 {
            self.cancelled -= 1;
            return Answer::Cancelled;
        }
        Answer::Unsolicited
    }

    fn note_pause(&mut self, now: Timestamp) {
        self.pause = now.saturating_since(self.heard).max(self.pause * 7 / 8);
        self.heard = now;
        self.snub.note_heard();
    }

    fn late_after(&self, rtt: Option<Duration>) -> Duration {
        LATE_AFTER.max((rtt.unwrap_or_default() * 3).max(self.pause * 3).min(LATEST))
    }

    fn overdue_after(&self, rtt: Option<Duration>) -> Duration {
        OVERDUE_AFTER.max(rtt.unwrap_or_default() * 2).max(self.pause * 2)
    }

    /// The peer serves the first so many groups of a request and then no more for now: the groups that won't come. It is asked
    /// again when it calls, or a good while later.
    pub(crate) fn choked(
        &mut self,
        request: RequestId,
        serves: u32,
        now: Timestamp,
    ) -> Option<(ContentId, Vec<GroupIndex>)> {
        self.choked = Some(now + choke::CHOKED);
        self.refused = Some(now);
        let asked = self.asked.get_mut(&request)?;
        let end = asked.first.value().saturating_add(serves);
        let (kept, refused): (Vec<_>, Vec<_>) = asked.groups.iter().partition(|group| group.value() < end);
        let content = asked.content;
        self.outstanding -= if asked.standing { 0 } else { refused.len() };
        if kept.is_empty() {
            self.asked.remove(&request);
        } else {
            asked.groups = kept;
        }
        Some((content, refused))
    }

    /// Ends a request that the peer will not answer; its groups may not come any more.
    pub(crate) fn rejected(&mut self, request: RequestId) -> Option<(ContentId, Vec<GroupIndex>)> {
        let asked = self.asked.remove(&request)?;
        self.outstanding -= asked.in_line();
        // Groups that were under way when the peer stopped may still come.
        self.cancelled += asked.groups.len();
        Some((asked.content, asked.groups))
    }

    /// The peer has time again.
    pub(crate) fn unchoked(&mut self) {
        self.choked = None;
    }

    /// When the peer may be asked again, if it had no time.
    pub(crate) fn rested_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.choked.filter(|until| now < *until)
    }

    /// Whether the peer had no time lately.
    pub(crate) fn was_choked(&self, now: Timestamp) -> bool {
        self.refused.is_some_and(|at| now < at + choke::MEMORY)
    }

    /// Whether it has just become time to ask the peer again.
    pub(crate) fn is_rested(&mut self, now: Timestamp) -> bool {
        self.choked.take_if(|until| *until <= now).is_some()
    }

    /// Takes back the requests for a segment that ask for one of these groups: their numbers, and what had not come.
    pub(crate) fn take_back(
        &mut self,
        content: &ContentId,
        any_of: impl Fn(&GroupIndex) -> bool,
    ) -> Vec<(RequestId, Vec<GroupIndex>)> {
        let is_one = |asked: &Asked| asked.content == *content && asked.groups.iter().any(&any_of);
        let requests: Vec<_> =
            self.asked.iter().filter(|(_, asked)| is_one(asked)).map(|(id, _)| *id).collect();
        let mut taken = Vec::new();
        for request in requests {
            taken.extend(self.forget(request).map(|asked| (request, asked.groups)));
        }
        taken
    }

    /// Forgets a request; its groups are of use if they come after all.
    fn forget(&mut self, request: RequestId) -> Option<Asked> {
        let asked = self.asked.remove(&request)?;
        self.outstanding -= asked.in_line();
        self.late.push_back((request, asked.clone()));
        if self.late.len() > MAX_LATE {
            self.cancelled += self.late.pop_front().map_or(0, |(_, asked)| asked.groups.len());
        }
        Some(asked)
    }

    /// Ends every request for a segment; returns their numbers for a cancel message.
    pub(crate) fn cancel(&mut self, content: &ContentId) -> Vec<RequestId> {
        self.cancel_those(|asked| asked.content == *content)
    }

    /// Ends every request.
    pub(crate) fn cancel_all(&mut self) -> Vec<RequestId> {
        self.cancel_those(|_| true)
    }

    fn cancel_those(&mut self, is_one: impl Fn(&Asked) -> bool) -> Vec<RequestId> {
        let requests: Vec<_> =
            self.asked.iter().filter(|(_, asked)| is_one(asked)).map(|(id, _)| *id).collect();
        for request in &requests {
            self.rejected(*request);
        }
        requests
    }

    /// Takes the requests that are late back from the peer, and asks it last for a while.
    pub(crate) fn take_late(&mut self, rtt: Option<Duration>, now: Timestamp) -> Vec<Late> {
        let limit = self.late_after(rtt);
        let is_late = |asked: &Asked| now >= asked.late_at(self.heard, limit);
        let requests: Vec<_> =
            self.asked.iter().filter(|(_, asked)| is_late(asked)).map(|(request, _)| *request).collect();
        let mut late = Vec::new();
        for request in requests {
            let Some(asked) = self.forget(request) else { continue };
            let since = asked.quiet_since(self.heard);
            self.snub.note_late(asked.standing, since, now);
            late.push(Late { request, content: asked.content, groups: asked.groups, since });
        }
        late
    }

    /// The requests that have just become overdue: the peer keeps them, others may be asked as well.
    pub(crate) fn take_overdue(&mut self, rtt: Option<Duration>, now: Timestamp) -> Vec<Late> {
        let (limit, heard, mut overdue) = (self.overdue_after(rtt), self.heard, Vec::new());
        for (request, asked) in self.asked.iter_mut() {
            if asked.overdue_at(heard, limit).is_some_and(|at| at <= now) {
                asked.overdue = true;
                let (groups, since) = (asked.groups.clone(), asked.quiet_since(heard));
                overdue.push(Late { request: *request, content: asked.content, groups, since });
            }
        }
        overdue
    }

    /// When the next request becomes overdue.
    pub(crate) fn next_overdue(&self, rtt: Option<Duration>) -> Option<Timestamp> {
        let limit = self.overdue_after(rtt);
        self.asked.values().filter_map(|asked| asked.overdue_at(self.heard, limit)).min()
    }

    /// When the next request becomes late, or it is known of one that is late whether the peer ever gives.
    pub(crate) fn next_late(&self, rtt: Option<Duration>) -> Option<Timestamp> {
        let limit = self.late_after(rtt);
        let late = self.asked.values().map(|asked| asked.late_at(self.heard, limit));
        late.chain(self.snub.verdict_at()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{outstanding::STANDING, snub::FIRST_SNUB};

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn range(start: u32, end: u32) -> GroupRange {
        GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).expect("not empty")
    }

    fn content() -> ContentId {
        ContentId::from_bytes([7; 32])
    }

    #[test]
    fn each_requested_group_may_come_once() {
        let mut asking = Asking::new(NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        let group = GroupIndex::new(1);
        assert_eq!(asking.answered(request, group, 16384, NOW), Answer::Wanted(content()));
        assert_eq!(asking.answered(request, group, 16384, NOW), Answer::Unsolicited);
    }

    #[test]
    fn a_quick_peer_is_asked_for_more_when_half_of_what_it_was_asked_for_has_come() {
        let mut asking = Asking::new(NOW);
        assert_eq!(asking.room(NOW), START_WINDOW);
        let before = asking.ask(content(), range(0, 500), NOW);
        for group in 0..500 {
            asking.answered(before, GroupIndex::new(group), 16384, NOW);
        }
        assert_eq!(asking.room(NOW), MAX_WINDOW);
        let request = asking.ask(content(), range(0, MAX_WINDOW as u32), NOW);
        for group in 0..MAX_WINDOW as u32 / 2 {
            assert_eq!(asking.room(NOW), 0, "after {group} groups");
            asking.answered(request, GroupIndex::new(group), 16384, NOW);
        }
        assert_eq!(asking.room(NOW), MAX_WINDOW / 2);
    }

    #[test]
    fn a_peer_whose_way_is_quick_is_asked_for_more_though_little_comes_on_average() {
        let (mut asking, mut now) = (Asking::new(NOW), NOW);
        for _ in 0..3 {
            now = now + Duration::from_secs(5);
            let request = asking.ask(content(), range(0, 4), now);
            for group in 0..4 {
                now = now + Duration::from_millis(2);
                asking.answered(request, GroupIndex::new(group), 16384, now);
            }
        }
        assert_eq!(asking.room(now), MAX_WINDOW);
    }

    #[test]
    fn a_standing_request_takes_no_place_in_the_line_and_is_late_by_itself() {
        let mut asking = Asking::new(NOW);
        let request = asking.ask_offered(content(), range(0, 2), NOW);
        assert_eq!(asking.room(NOW), START_WINDOW);
        let later = NOW + LATE_AFTER;
        assert!(asking.take_late(None, later).is_empty());
        assert_eq!(asking.answered(request, GroupIndex::new(0), 16384, later), Answer::Wanted(content()));
        assert_eq!(asking.next_late(None), Some(later + STANDING));
        let late = asking.take_late(None, later + STANDING);
        assert_eq!(late.iter().map(|late| late.groups.clone()).collect::<Vec<_>>(), [[GroupIndex::new(1)]]);
        assert_eq!(asking.room(later + STANDING), START_WINDOW);
    }

    #[test]
    fn cancelled_groups_may_still_come_but_no_more_than_were_asked() {
        let mut asking = Asking::new(NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        assert_eq!(asking.cancel(&content()), [request]);
        assert_eq!(asking.answered(request, GroupIndex::new(0), 1, NOW), Answer::Cancelled);
        assert_eq!(asking.answered(request, GroupIndex::new(1), 1, NOW), Answer::Cancelled);
        assert_eq!(asking.answered(request, GroupIndex::new(1), 1, NOW), Answer::Unsolicited);
    }

    #[test]
    fn a_late_request_is_taken_back_and_the_peer_is_asked_last() {
        let mut asking = Asking::new(NOW);
        asking.ask(content(), range(0, 2), NOW);
        let fresh = asking.delay(None, NOW);
        let later = Timestamp::from_millis(1000);
        assert_eq!(asking.next_late(None), Some(later));
        assert_eq!(asking.take_late(None, later).len(), 1);
        assert!(asking.delay(None, later) > fresh);
        assert_eq!(asking.next_late(None), Some(later + FIRST_SNUB), "whether it gives anything after all");
    }

    #[test]
    fn a_request_is_overdue_once_and_again_when_the_link_pauses_after_a_group() {
        let at = Timestamp::from_millis;
        let mut asking = Asking::new(NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        assert_eq!(asking.next_overdue(None), Some(at(400)));
        assert_eq!(asking.take_overdue(None, at(399)), []);
        assert_eq!(asking.take_overdue(None, at(400)).len(), 1);
        assert_eq!((asking.take_overdue(None, at(900)), asking.next_overdue(None)), (vec![], None));
        assert!(!asking.snub.is_snubbed(at(900)), "it keeps what it was asked for");
        asking.answered(request, GroupIndex::new(0), 16384, at(900));
        // Twice its longest pause lately.
        assert_eq!(asking.next_overdue(None), Some(at(2700)));
        assert_eq!(asking.next_overdue(Some(Duration::from_secs(1))), Some(at(2900)));
    }

    #[test]
    fn who_let_something_come_late_is_silent_until_something_comes() {
        let later = Timestamp::from_millis(1000);
        let mut asking = Asking::new(NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        assert!(!asking.snub.is_silent(later));
        asking.take_late(None, later);
        assert!(asking.snub.is_silent(later) && !asking.snub.is_silent(later + SNUB));
        asking.ask(content(), range(2, 3), later);
        assert!(asking.snub.is_silent(later), "to be asked is not to answer");
        asking.answered(request, GroupIndex::new(0), 16384, later);
        assert!(!asking.snub.is_silent(later) && asking.snub.is_snubbed(later));
    }

    #[test]
    fn what_comes_late_before_the_verdict_is_a_gift() {
        for comes in [true, false] {
            let mut asking = Asking::new(NOW);
            let request = asking.ask(content(), range(0, 2), NOW);
            assert_eq!(asking.take_late(None, NOW + LATE_AFTER).len(), 1);
            let verdict = NOW + LATE_AFTER + FIRST_SNUB;
            if comes {
                asking.answered(request, GroupIndex::new(0), 16384, verdict);
            }
            assert_eq!(asking.snub.never_gives(verdict), !comes);
        }
    }

    #[test]
    fn who_brings_a_group_much_too_late_stays_silent() {
        let mut asking = Asking::new(NOW);
        let first = asking.ask(content(), range(2, 3), NOW);
        asking.answered(first, GroupIndex::new(2), 16384, NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        asking.take_late(None, Timestamp::from_millis(1000));
        let later = NOW + TOO_LATE + Duration::from_millis(1);
        assert_eq!(asking.answered(request, GroupIndex::new(0), 16384, later), Answer::Wanted(content()));
        assert!(asking.snub.is_silent(later));
    }

    #[test]
    fn requests_behind_others_are_not_late_while_the_link_brings_groups() {
        let at = Timestamp::from_millis;
        let mut asking = Asking::new(NOW);
        let (first, second) =
            (asking.ask(content(), range(0, 12), NOW), asking.ask(content(), range(12, 16), NOW));
        for group in 0..9 {
            let now = at(300 * (u64::from(group) + 1));
            assert_eq!(asking.take_late(None, now), []);
            let answer = asking.answered(first, GroupIndex::new(group), 16384, now);
            assert_eq!(answer, Answer::Wanted(content()));
        }
        assert_eq!(asking.next_late(None), Some(at(3000)));
        let groups = (12..16).map(GroupIndex::new).collect();
        let late = Late { request: second, content: content(), groups, since: at(2700) };
        assert_eq!(asking.take_late(None, at(3000)), [late]);
    }

    #[test]
    fn a_link_known_to_be_slow_is_given_more_time_and_less_again_when_it_is_quick() {
        let mut asking = Asking::new(NOW);
        let mut now = NOW;
        let late_after = |asking: &Asking, now| asking.next_late(None).map(|at| at.saturating_since(now));
        for (wait, then) in [(400, 1200), (5000, 1600), (100, 1600)] {
            let request = asking.ask(content(), range(0, 1), now);
            now = now + Duration::from_millis(wait);
            asking.answered(request, GroupIndex::new(0), 16384, now);
            asking.ask(content(), range(1, 2), now);
            assert_eq!(late_after(&asking, now), Some(Duration::from_millis(then)), "after {wait} ms");
            asking.cancel(&content());
        }
        for _ in 0..20 {
            let request = asking.ask(content(), range(0, 1), now);
            asking.answered(request, GroupIndex::new(0), 16384, now);
        }
        asking.ask(content(), range(1, 2), now);
        assert_eq!(late_after(&asking, now), Some(LATE_AFTER));
    }

    #[test]
    fn a_peer_that_answers_pings_slowly_is_not_given_ever_more_time() {
        let mut asking = Asking::new(NOW);
        asking.ask(content(), range(0, 1), NOW);
        assert_eq!(asking.next_late(Some(Duration::from_secs(15))), Some(NOW + LATEST));
    }

    #[test]
    fn a_group_that_comes_late_is_of_use_once() {
        let mut asking = Asking::new(NOW);
        let request = asking.ask(content(), range(0, 2), NOW);
        let later = Timestamp::from_millis(1000);
        asking.take_late(None, later);
        let group = GroupIndex::new(1);
        assert_eq!(asking.answered(request, group, 16384, later), Answer::Wanted(content()));
        assert_eq!(asking.answered(request, group, 16384, later), Answer::Unsolicited);
    }

    #[test]
    fn late_requests_are_remembered_up_to_a_limit_and_then_only_counted() {
        let mut asking = Asking::new(NOW);
        let ask = |asking: &mut Asking| asking.ask(content(), range(0, 1), NOW);
        let requests: Vec<_> = (0..=MAX_LATE).map(|_| ask(&mut asking)).collect();
        asking.take_late(None, Timestamp::from_millis(1000));
        assert_eq!(asking.late.len(), MAX_LATE);
        assert_eq!(asking.answered(requests[0], GroupIndex::new(0), 1, NOW), Answer::Cancelled);
        assert_eq!(asking.answered(requests[0], GroupIndex::new(0), 1, NOW), Answer::Unsolicited);
    }
}
