//! When the origin is asked: by whom of all the peers first ([`crate::swarm::duty`]), and by everybody when time runs out.

use std::time::Duration;

use super::{
    Node,
    asked::AskedGroups,
    fetch::{Fetch, ListAsk, ORIGIN_STALL, Phase},
    fetching::STALL,
    line::Line,
    newcomers::NEW,
    origins::OriginUse,
    pace::SLOW,
};
use crate::{
    id::{ContentId, LinkId},
    store::Stored,
    swarm::{Claim, duty},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
};

/// How long a fetch waits for links that are being set up.
const CONNECT_PATIENCE: Duration = Duration::from_millis(1500);
/// Least time kept in hand for the origin meanwhile.
const CONNECT_MARGIN: Duration = Duration::from_secs(1);
/// How long a root may take while there are neighbours who may have the segment.
const RESOLVE_PATIENCE: Duration = Duration::from_millis(400);
/// How long a group list may take, the origin being shared: without it there are no parts.
const LIST_PATIENCE: Duration = Duration::from_millis(1500);
/// Longest time beyond its deadline that a fetch is left to neighbours before a slow origin.
const OVERTIME: Duration = Duration::from_secs(3);
/// Most requests to the origin at a time for what is missing of one segment: as many as a browser has connections to a host.
const MAX_RUNS: usize = 6;
/// So often the time doubles after which a request counts as stalled that was given up for another one of the same bytes.
const MAX_OVERTAKEN: u8 = 5;
/// So long no word of who is on duty is believed, after a part did not come of it.
pub(super) const DISTRUST: Duration = Duration::from_secs(20);
/// How long a new neighbour may take to say what it holds.
const HEAR_PATIENCE: Duration = Duration::from_millis(250);

/// When the origin is to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    At(Timestamp),
    NotNeeded,
    /// For this part, or for all that is missing.
    Now(Option<GroupRange>),
}

/// What peers promise of a segment, and how long this one leaves it to them.
struct Outlook<'a> {
    asked: &'a AskedGroups,
    /// Whether not all peers can be neighbours.
    wide: bool,
    claims: Vec<&'a Claim>,
    /// What those say who were asked for something and are silent: nobody waits for them.
    silent: Vec<&'a Claim>,
    line: Line,
    /// Until then somebody who holds groups may bring them.
    holding: Timestamp,
    /// Until then neighbours may say what they hold.
    hearing: Timestamp,
    /// How long before its deadline the segment could be shared.
    ahead: Duration,
    /// Parts, a bit each, that somebody is believed to ask the origin for.
    on_duty: u8,
    /// From then on those who joined at the same time share it out before there are links.
    sharing: Option<Timestamp>,
}

impl Outlook<'_> {
    /// Until when peers may bring the part in this place of which these groups are missing.
    fn patience(&self, place: usize, missing: impl Iterator<Item = GroupIndex> + Clone) -> Timestamp {
        let drawn = self.line.place(place);
        let hearing = match self.sharing {
            Some(start) if drawn.is_first() => start,
            Some(start) if self.line.awaits(place) => start + NEW,
            _ => self.hearing,
        };
        let held = |claims: &[&Claim]| claims.iter().any(|claim| claim.holds_any(missing.clone()));
        let holding = held(&self.claims).then_some(self.holding);
        let coming = self.claims.iter().filter_map(|claim| claim.coming_until(missing.clone())).max();
        let wait = duty::wait(drawn, self.ahead);
        let until = if held(&self.silent) {
            // They let this peer down: it waits for what is coming, and otherwise no longer than for a holder.
            let others = holding.unwrap_or((hearing + wait).min(self.holding));
            coming.map_or(others, |coming| others.max(coming + wait))
        } else {
            coming.into_iter().chain(holding).fold(hearing, Timestamp::max) + wait
        };
        let until = if self.on_duty & 1 << place == 0 { until } else { until + duty::WORD };
        // What a holder let come late has had its time, whatever comes of the rest meanwhile. In a wide swarm uplinks are scarce, and
        // who is late is rarely silent: there others may still keep a promise.
        let promised = coming.filter(|_| self.wide).map_or(Timestamp::default(), |coming| coming + wait);
        self.asked.owed_since(missing).map_or(until, |since| until.min(promised.max(since + STALL)))
    }
}

impl Node {
    pub(super) fn ask_origin(&mut self, fetch: &mut Fetch, now: Timestamp) {
        fetch.wake = None;
        if self.gives_way(fetch, now) {
            self.share_origin(fetch);
        }
        if let Some(len) = self.known_len(fetch) {
            self.pace.weigh(len);
        }
        for _ in 0..MAX_RUNS {
            match self.origin_due(fetch, now) {
                Due::At(at) => fetch.wake = Some(at),
                Due::Now(part) => {
                    if part.is_some_and(|part| self.is_let_down(fetch, part, now)) {
                        self.let_down = Some(now);
                    }
                    self.start_origin(fetch, part, now);
                    continue;
                }
                Due::NotNeeded => {}
            }
            break;
        }
        if let Phase::Listing { ask: ListAsk::Peer(_, until), .. } = fetch.phase {
            fetch.wake_by(until);
        }
        if fetch.asks_origin() && self.has_holder(fetch) {
            let stall = (fetch.origin_progress + ORIGIN_STALL).min(fetch.deadline);
            if now < stall {
                fetch.wake_by(stall);
            }
        }
    }

    fn origin_due(&self, fetch: &mut Fetch, now: Timestamp) -> Due {
        if !self.may_ask_origin(fetch) || fetch.origin_error.is_some() || fetch.whole.is_some() {
            return Due::NotNeeded;
        }
        if self.is_held(fetch) || fetch.waiters.is_empty() {
            return Due::NotNeeded;
        }
        if let Phase::Restoring { until, .. } = fetch.phase {
            return Due::At(until);
        }
        if let Some(stalls) = self.twin_stalls_at(fetch).filter(|at| now < *at) {
            return Due::At(stalls);
        }
        let listless = matches!(fetch.phase, Phase::Listing { ask: ListAsk::Nowhere, .. });
        if !self.p2p || listless || fetch.phase == Phase::Rootless {
            return Due::Now(None);
        }
        let latest = fetch
            .deadline
            .saturating_sub(self.pace.margin(self.missing_bytes(fetch), self.missing_rounds(fetch)));
        let late = latest <= now;
        let shared = self.is_shared(fetch);
        match fetch.asks_origin() {
            true if shared => return Due::NotNeeded,
            true if !late => return Due::At(latest),
            _ => {}
        }
        if shared && self.others_come_first(fetch, now) {
            fetch.turn = None;
            return Due::At(now + OVERTIME);
        }
        fetch.turn = shared.then(|| fetch.turn.unwrap_or(now));
        let Some((until, part)) = self.patience(fetch, now) else { return Due::Now(None) };
        // Whoever asks a slow origin for everything takes it from all the others, and gets nothing sooner. Nor is one uplink to
        // pass on a whole segment because there were no parts to ask for yet.
        let listing = matches!(fetch.phase, Phase::Listing { .. });
        let shares = self.can_share(fetch) || self.sharing_start(fetch, now).is_some();
        let until = if listing && shares { fetch.progress + LIST_PATIENCE } else { until };
        // Whatever neighbours promise, again and again: in the end the origin is asked.
        let latest = if shared { fetch.deadline.max(fetch.listed) + OVERTIME } else { latest };
        match until.min(latest) {
            at if now < at => Due::At(at),
            _ if shared || !late => Due::Now(part),
            _ => Due::Now(None),
        }
    }

    /// Whether somebody was believed to ask the origin for a part of which neighbours have nothing.
    fn is_let_down(&self, fetch: &Fetch, part: GroupRange, now: Timestamp) -> bool {
        let Some(content) = fetch.content().filter(|_| fetch.on_duty != 0 && self.believes_word(now)) else {
            return false;
        };
        let shows = |claim: &Claim| {
            claim.holds_any(part.iter()) || claim.coming_until(part.iter()).is_some_and(|until| now < until)
        };
        self.is_on_duty(content, part) && !self.claims_on(content).any(|(_, claim)| shows(claim))
    }

    /// Whether word of who is on duty is to be believed.
    fn believes_word(&self, now: Timestamp) -> bool {
        self.let_down.is_none_or(|at| at + DISTRUST <= now)
    }

    /// Whether one more request may be made: the first one, or one for what those under way don't bring.
    fn may_ask_origin(&self, fetch: &Fetch) -> bool {
        let Some(stored) = self.trading(fetch) else { return !fetch.asks_origin() };
        fetch.origins.len() < MAX_RUNS && stored.held.missing().any(|group| !fetch.origin_asked(group))
    }

    /// Whether there is anybody to share the origin with, and it serves ranges.
    fn can_share(&self, fetch: &Fetch) -> bool {
        let parts =
            duty::part_count(self.swarm_size(&fetch.stream)) > 1 && self.partner_links().next().is_some();
        parts && !fetch.no_range && !self.pace.refuses_ranges
    }

    /// Whether the origin is too slow to be asked for more than parts that are drawn for.
    fn is_shared(&self, fetch: &Fetch) -> bool {
        self.can_share(fetch) && self.pace.is_slow()
    }

    /// Whether more than a part is still to come from the origin of a segment that is needed sooner: a slow one is asked for one
    /// after the other, as long as it brings anything.
    fn others_come_first(&self, fetch: &Fetch, now: Timestamp) -> bool {
        let hangs = |other: &Fetch| other.asks_origin() && other.origin_progress + OVERTIME <= now;
        let sooner =
            |other: &&Fetch| other.deadline < fetch.deadline && !other.waiters.is_empty() && !hangs(other);
        let mut waiting = self.fetches.values().filter(sooner).filter(|other| other.origin_error.is_none());
        waiting.any(|other| !self.is_nearly_here(other))
    }

    /// Whether all of a segment but a part, or less, is here or at neighbours.
    fn is_nearly_here(&self, fetch: &Fetch) -> bool {
        let (Some(content), Some(stored)) = (fetch.content(), self.trading(fetch)) else { return false };
        let claims: Vec<_> = self.claims_on(content).map(|(_, claim)| claim).collect();
        let is_owed = |group: &GroupIndex| !claims.iter().any(|claim| claim.holds(*group));
        let owed = stored.held.missing().filter(is_owed).count() as u32;
        owed <= stored.held.groups() / fetch.parts.max(1)
    }

    /// Whether the running request for the whole segment is to end, the origin being slow, in favour of parts that are shared
    /// with neighbours.
    fn gives_way(&self, fetch: &Fetch, now: Timestamp) -> bool {
        if self.trading(fetch).is_none() || !self.can_share(fetch) {
            return false;
        }
        let whole = fetch.origins.iter().find(|run| run.groups.is_none());
        let Some(OriginUse::Segment(request)) = whole.and_then(|run| self.origins.get(&run.request)) else {
            return false;
        };
        request.takes_longer_than(SLOW, self.missing_bytes(fetch), now)
    }

    /// Ends the request for the whole segment. What it brought stays, and neighbours hear that no more comes of it.
    fn share_origin(&mut self, fetch: &mut Fetch) {
        self.abort_origin(fetch);
        fetch.parts = duty::part_count(self.swarm_size(&fetch.stream));
        // What they promised before is not passed on: they take it back as well.
        fetch.told = u8::MAX;
        fetch.on_duty = 0;
        let Some(content) = fetch.content() else { return };
        self.announce_lost(content);
        let links: Vec<_> = self.partner_links().collect();
        for link in links {
            self.announce_again(link, &[content]);
        }
    }

    /// When the origin counts as stalled that brings the same bytes for a fetch under another name.
    fn twin_stalls_at(&self, fetch: &Fetch) -> Option<Timestamp> {
        let Phase::Trading { content } = fetch.phase else { return None };
        let twins = self.fetches.values().filter(|twin| twin.phase == Phase::Trading { content });
        let stalls =
            |twin: &Fetch| twin.origin_progress + ORIGIN_STALL * (1 << twin.overtaken.min(MAX_OVERTAKEN));
        twins.filter(|twin| twin.asks_origin()).map(stalls).max()
    }

    /// Until when peers may bring the segment, and the part that is to be asked for then; `None` if there is nobody to wait for.
    fn patience(&self, fetch: &Fetch, now: Timestamp) -> Option<(Timestamp, Option<GroupRange>)> {
        if fetch.phase == Phase::Resolving && !self.root_is_coming(fetch) {
            return None;
        }
        if self.partner_links().next().is_some() {
            return Some(self.patience_with_others(fetch, now));
        }
        if !self.is_connecting(fetch) {
            return None;
        }
        // The machine is busy with that as well: more time is kept in hand.
        let latest = fetch.deadline.saturating_sub(CONNECT_MARGIN);
        let (until, part) = match fetch.content().and_then(|_| self.sharing_start(fetch, now)) {
            Some(_) => self.patience_with_others(fetch, now),
            None => (fetch.started + CONNECT_PATIENCE, None),
        };
        Some(if until < latest { (until, part) } else { (latest, None) })
    }

    fn patience_with_others(&self, fetch: &Fetch, now: Timestamp) -> (Timestamp, Option<GroupRange>) {
        let Some(content) = fetch.content() else { return (fetch.progress + RESOLVE_PATIENCE, None) };
        let mut outlook = self.outlook(fetch, content, now);
        if self.is_forming() && fetch.deadline > fetch.started + 2 * CONNECT_PATIENCE {
            // Whoever is there first would bring everything, and the others too, as nobody hears of it.
            outlook.hearing = outlook.hearing.max(fetch.started + CONNECT_PATIENCE);
        }
        let Some((stored, true)) = self.trading(fetch).map(|stored| (stored, self.takes_parts(fetch))) else {
            let missing = self.missing(fetch);
            return (outlook.patience(0, missing.into_iter()), None);
        };
        let parts = duty::parts(stored.held.groups(), fetch.parts).enumerate();
        let waits = parts.filter_map(|(place, part)| {
            let missing = part.iter().filter(|group| !stored.held.contains(*group));
            missing.clone().next().map(|_| (outlook.patience(place, missing), Some(part)))
        });
        waits.min_by_key(|(until, _)| *until).unwrap_or((now, None))
    }

    fn outlook<'a>(&'a self, fetch: &'a Fetch, content: ContentId, now: Timestamp) -> Outlook<'a> {
        // A new neighbour says what it holds right after its hello. Both ends wait for that, and then not equally long.
        let hearing = self.last_ready.map_or(fetch.listed, |at| fetch.listed.max(at + HEAR_PATIENCE));
        let (silent, claims): (Vec<_>, Vec<_>) =
            self.claims_on(content).partition(|(link, _)| self.links[link].asking.snub.is_silent(now));
        let claims_of = |of: Vec<(LinkId, &'a Claim)>| of.into_iter().map(|(_, claim)| claim).collect();
        Outlook {
            asked: &fetch.asked,
            wide: self.is_wide(&fetch.stream),
            claims: claims_of(claims),
            silent: claims_of(silent),
            line: self.line(fetch, now),
            ahead: fetch.deadline.saturating_since(fetch.listed),
            holding: fetch.progress + STALL,
            on_duty: if self.believes_word(now) { fetch.on_duty } else { 0 },
            hearing: fetch.turn.map_or(hearing, |turn| hearing.max(turn)),
            sharing: self
                .sharing_start(fetch, now)
                .map(|start| fetch.turn.map_or(start, |turn| start.max(turn))),
        }
    }

    /// Whether the origin may be asked for a part of the segment while nothing is urgent.
    fn takes_parts(&self, fetch: &Fetch) -> bool {
        fetch.parts > 1 && !fetch.no_range && !self.pace.refuses_ranges
    }

    /// Runs of missing groups: each is a request to the origin, so many at a time.
    fn missing_rounds(&self, fetch: &Fetch) -> u32 {
        let Some(stored) = self.trading(fetch) else { return 1 };
        let is_missing =
            |group: u32| group < stored.held.groups() && !stored.held.contains(GroupIndex::new(group));
        let ends = (0..stored.held.groups()).filter(|group| is_missing(*group) && !is_missing(group + 1));
        (ends.count().max(1) as u32).div_ceil(MAX_RUNS as u32)
    }

    fn trading(&self, fetch: &Fetch) -> Option<&Stored> {
        let Phase::Trading { content } = fetch.phase else { return None };
        self.store.get(&content)
    }

    fn missing(&self, fetch: &Fetch) -> Vec<GroupIndex> {
        match self.trading(fetch) {
            Some(stored) => stored.held.missing().collect(),
            None => self.all_groups(fetch).into_iter().flat_map(GroupRange::iter).collect(),
        }
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
        joining || self.links.values().any(|link| link.trades() && !link.is_ready())
    }

    /// Whether most neighbours are still to come.
    fn is_forming(&self) -> bool {
        2 * self.partner_links().count() < self.partner_count()
    }

    pub(super) fn all_groups(&self, fetch: &Fetch) -> Option<GroupRange> {
        let groups = match &fetch.phase {
            Phase::Listing { len, .. } => len.groups(),
            Phase::Trading { content } => self.store.get(content)?.held.groups(),
            Phase::Resolving | Phase::Restoring { .. } | Phase::Rootless => return None,
        };
        GroupRange::new(GroupIndex::new(0), GroupIndex::new(groups))
    }
}
