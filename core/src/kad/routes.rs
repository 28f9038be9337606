//! Requests that go from link to link towards a key, and the answers that come back the same way.
//!
//! A request is passed on to one contact at a time, each nearer to its key, so that a copy comes by nobody twice and ends somewhere. Each hop
//! says at once that it has it. Who does not, or of whom nothing comes back in time, is passed over for the next best, by the hop right before
//! it, which waits for less long than those before that one. What all that may cost is bounded: each link that a copy takes is paid out of a budget,
//! most of which is given to the hop, and the rest kept for others. Several copies of a request begin at different neighbours, and nobody but who
//! makes them can tell that they are of one: who has one of them can't have the others stopped.
//!
//! Nothing here knows what is asked, nor whether an answer is true: whoever a request comes by is told of it and answers or has it passed on, and
//! who made it checks what comes back.

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::{Contact, Key, Table};
use crate::{id::LinkId, time::Timestamp};

/// A hop says that it has a request within this, or three of the link's round trips if that is longer.
const ACK: Duration = Duration::from_millis(250);
/// Most links that one copy of a request takes.
pub const BUDGET: u8 = 24;
/// How long one copy of a request is waited for by whoever makes it.
pub const PATIENCE: Duration = Duration::from_millis(2400);
/// Each hop has this part of the budget and of the patience that the one before it has, …
const SHARE: (u32, u32) = (2, 3);
/// …and at least this long; with less left nobody else is tried.
const LEAST_PATIENCE: Duration = Duration::from_millis(300);
/// Who did not say that it has a request is asked last for so long, twice as long each time that it happens again, …
const DOUBT: Duration = Duration::from_secs(30);
/// …up to 16 min.
const MOST_DOUBLINGS: u32 = 5;
/// How long it is remembered that a copy was here, and first hops of an own request: longer than any copy is under way.
const MEMORY: Duration = Duration::from_secs(10);
/// Most requests that are under way here, …
const MAX_RELAYS: usize = 512;
/// …of those the most that one neighbour has passed on, …
const MAX_OF_LINK: usize = 64;
/// …most copies that are remembered, the oldest is forgotten first, …
const MAX_SEEN: usize = 8192;
/// …and most bytes of what one of them asks.
pub const MAX_ASK: usize = 9 * 1024;

/// One copy of a request, named by chance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RouteId(pub u64);

/// What hops say to each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteMessage {
    /// To be answered or passed on.
    Forward {
        /// Which request.
        route: RouteId,
        /// Where it goes.
        key: Key,
        /// Links that it may still take.
        budget: u8,
        /// How long the sender waits for an answer.
        patience: Duration,
        /// What is asked.
        body: Vec<u8>,
    },
    /// The sender has it.
    Ack(RouteId),
    /// The answer.
    Reply(RouteId, Vec<u8>),
    /// The sender has no answer and no way, or none any more; so many links were taken.
    NoWay(RouteId, u8),
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RouteOutput {
    /// Send this.
    Send(LinkId, RouteMessage),
    /// A request is here: [`Routes::answer`] or [`Routes::pass_on`].
    Asked {
        /// Which.
        route: RouteId,
        /// Who passed it on.
        from: LinkId,
        /// Where it goes.
        key: Key,
        /// What is asked.
        body: Vec<u8>,
    },
    /// A request that was passed on from here has no way any more: [`Routes::answer`] with what is known here, or [`Routes::refuse`].
    Stuck {
        /// Which.
        route: RouteId,
        /// Where it goes.
        key: Key,
        /// What is asked.
        body: Vec<u8>,
    },
    /// What came of a copy of this own request, and by which first hop; `None` if there was no way, or nothing came in time.
    Ended(u64, Option<(LinkId, Vec<u8>)>),
    /// A neighbour did not say that it has a request.
    Silent(LinkId),
}

/// Who has a request now.
#[derive(Clone, Copy, Debug)]
struct Hop {
    link: LinkId,
    /// Links that it may take.
    given: u8,
    acked: bool,
    /// When another one is tried.
    until: Timestamp,
}

/// A copy that is under way.
#[derive(Clone, Debug)]
struct Relay {
    /// Who passed it on; nobody did if it is an own one.
    from: Option<LinkId>,
    /// The request, if it is an own one.
    request: Option<u64>,
    key: Key,
    body: Vec<u8>,
    /// Links that may still be taken, besides those that the hop was given.
    budget: u8,
    /// Links that were taken.
    spent: u8,
    /// Until when an answer is of use.
    until: Timestamp,
    /// Whom it was passed on to, the last one among them.
    tried: Vec<LinkId>,
    hop: Option<Hop>,
}

/// How often requests were passed on to a neighbour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forwarded {
    /// Copies of own ones.
    pub own: u64,
    /// Those of others.
    pub others: u64,
}

/// The requests that are under way at one peer, its own and others'.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    relays: LiteMap<RouteId, Relay>,
    /// First hops of the copies of own requests, by request, and when the last copy was made.
    firsts: LiteMap<u64, (Timestamp, Vec<LinkId>)>,
    /// How often in a row neighbours did not say that they have a request, and until when they are asked last for that.
    doubts: LiteMap<LinkId, (u32, Timestamp)>,
    /// Copies that were passed on here, the oldest first.
    seen: VecDeque<(Timestamp, RouteId)>,
    forwarded: Forwarded,
    outputs: VecDeque<RouteOutput>,
}

impl Routes {
    /// Nothing under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was passed on so far.
    pub fn forwarded(&self) -> Forwarded {
        self.forwarded
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<RouteOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let hop = |relay: &Relay| relay.hop.map_or(relay.until, |hop| hop.until.min(relay.until));
        self.relays.values().map(hop).min()
    }

    /// Sends a copy of an own request on its way, by a first hop that no other copy of it took; `route` is drawn by chance for it. Ends in one
    /// [`RouteOutput::Ended`].
    pub fn start(
        &mut self,
        (request, route): (u64, RouteId),
        key: Key,
        body: Vec<u8>,
        table: &Table,
        now: Timestamp,
    ) {
        self.begin((request, route), key, body, now);
        self.go_on(route, table, now);
    }

    /// The same by this contact first, however far it is from the key: its way there may be another one.
    pub fn start_by(
        &mut self,
        first: Contact,
        (request, route): (u64, RouteId),
        key: Key,
        body: Vec<u8>,
        now: Timestamp,
    ) {
        self.begin((request, route), key, body, now).push(first.link);
        let (rest, patience) = (BUDGET - 1, PATIENCE * SHARE.0 / SHARE.1);
        self.forward(route, first.link, first.rtt, (rest, part(rest)), patience, now);
    }

    /// Takes note of a copy of an own request; returns the first hops of the others.
    fn begin(
        &mut self,
        (request, route): (u64, RouteId),
        key: Key,
        body: Vec<u8>,
        now: Timestamp,
    ) -> &mut Vec<LinkId> {
        let relay = Relay {
            from: None,
            request: Some(request),
            key,
            body,
            budget: BUDGET,
            spent: 0,
            until: now + PATIENCE,
            tried: Vec::new(),
            hop: None,
        };
        self.relays.insert(route, relay);
        self.firsts.retain(|_, (at, _)| now < *at + MEMORY);
        let (at, firsts) = self.firsts.entry(request).or_insert_with(|| (now, Vec::new()));
        *at = now;
        firsts
    }

    /// A neighbour said something.
    pub fn handle(&mut self, link: LinkId, message: RouteMessage, table: &Table, now: Timestamp) {
        match message {
            RouteMessage::Forward { route, key, budget, patience, body } => {
                let of_link = self.of_link(link);
                if of_link >= MAX_OF_LINK || body.len() > MAX_ASK || self.relays.contains_key(&route) {
                    self.send(link, RouteMessage::NoWay(route, 0));
                    return;
                }
                if self.relays.len() >= MAX_RELAYS {
                    self.make_room();
                }
                let relay = Relay {
                    from: Some(link),
                    request: None,
                    key,
                    body: body.clone(),
                    budget: budget.min(BUDGET),
                    spent: 0,
                    until: now + patience.min(PATIENCE),
                    tried: vec![link],
                    hop: None,
                };
                self.relays.insert(route, relay);
                self.send(link, RouteMessage::Ack(route));
                self.outputs.push_back(RouteOutput::Asked { route, from: link, key, body });
            }
            RouteMessage::Ack(route) => {
                let Some(relay) = self.relays.get_mut(&route) else { return };
                let until = patience(relay.until, now).map_or(relay.until, |time| now + time);
                if let Some(hop) = relay.hop.as_mut().filter(|hop| hop.link == link && !hop.acked) {
                    hop.acked = true;
                    hop.until = until;
                    self.doubts.remove(&link);
                }
            }
            RouteMessage::Reply(route, body) => {
                // One that was given up for being slow may answer as well.
                let asked = |relay: &Relay| relay.from != Some(link) && relay.tried.contains(&link);
                if self.relays.get(&route).is_some_and(asked) {
                    self.end(route, Some((Some(link), body)));
                }
            }
            RouteMessage::NoWay(route, spent) => {
                let Some(relay) = self.relays.get_mut(&route) else { return };
                if let Some(hop) = relay.hop.take_if(|hop| hop.link == link) {
                    relay.settle(hop.given, spent.min(hop.given));
                    self.go_on(route, table, now);
                }
            }
        }
    }

    /// Answers a request that is here.
    pub fn answer(&mut self, route: RouteId, body: Vec<u8>) {
        if self.is_of_others(route) {
            self.end(route, Some((None, body)));
        }
    }

    /// Says that a request that is here gets no answer and is not passed on.
    pub fn refuse(&mut self, route: RouteId) {
        if self.is_of_others(route) {
            self.end(route, None);
        }
    }

    fn of_link(&self, link: LinkId) -> usize {
        self.relays.values().filter(|relay| relay.from == Some(link)).count()
    }

    /// Ends what whoever passed on most passed on first: nobody can fill this peer so that others are not served.
    fn make_room(&mut self) {
        let mut counts: LiteMap<LinkId, usize> = LiteMap::new();
        for from in self.relays.values().filter_map(|relay| relay.from) {
            *counts.entry(from).or_insert(0) += 1;
        }
        let Some((most, _)) = counts.iter().max_by_key(|(_, count)| **count) else { return };
        let of_it = self.relays.iter().filter(|(_, relay)| relay.from == Some(*most));
        if let Some(route) = of_it.min_by_key(|(_, relay)| relay.until).map(|(route, _)| *route) {
            self.end(route, None);
        }
    }

    /// Whether somebody else passed that on: an own request may have the number of one of others that is over.
    fn is_of_others(&self, route: RouteId) -> bool {
        self.relays.get(&route).is_some_and(|relay| relay.from.is_some())
    }

    /// Has a request passed on that is here and has no answer here.
    pub fn pass_on(&mut self, route: RouteId, table: &Table, now: Timestamp) {
        if self.relays.get(&route).is_none_or(|relay| relay.hop.is_some()) {
            return;
        }
        let was_here = |(at, seen): &(Timestamp, RouteId)| *seen == route && now < *at + MEMORY;
        if self.seen.iter().any(was_here) {
            return self.end(route, None);
        }
        while self.seen.len() >= MAX_SEEN || self.seen.front().is_some_and(|(at, _)| *at + MEMORY <= now) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, route));
        self.go_on(route, table, now);
    }

    /// Has a request that is here passed on by this link, whether it is in the table or not: its peer is the one that it is for.
    pub fn pass_to(&mut self, route: RouteId, link: LinkId, rtt: Option<Duration>, now: Timestamp) {
        let Some(relay) = self.relays.get(&route).filter(|relay| relay.hop.is_none()) else { return };
        match relay.budget.checked_sub(1).zip(patience(relay.until, now)) {
            Some((rest, patience)) => self.forward(route, link, rtt, (rest, rest), patience, now),
            None => self.end(route, None),
        }
    }

    /// A link is gone.
    pub fn handle_closed(&mut self, link: LinkId, table: &Table, now: Timestamp) {
        self.doubts.remove(&link);
        self.relays.retain(|_, relay| relay.from != Some(link));
        let mut waiting = Vec::new();
        for (route, relay) in self.relays.iter_mut() {
            if let Some(hop) = relay.hop.take_if(|hop| hop.link == link) {
                relay.settle(hop.given, hop.cost());
                waiting.push(*route);
            }
        }
        waiting.into_iter().for_each(|route| self.go_on(route, table, now));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, table: &Table, now: Timestamp) {
        let over: Vec<_> =
            self.relays.iter().filter(|(_, relay)| relay.until <= now).map(|(route, _)| *route).collect();
        over.into_iter().for_each(|route| self.end(route, None));
        let mut late = Vec::new();
        for (route, relay) in self.relays.iter_mut() {
            if let Some(hop) = relay.hop.take_if(|hop| hop.until <= now) {
                relay.settle(hop.given, hop.cost());
                late.push((*route, (!hop.acked).then_some(hop.link)));
            }
        }
        for (route, silent) in late {
            if let Some(link) = silent {
                let (misses, until) = self.doubts.entry(link).or_insert((0, now));
                *until = now + DOUBT * (1 << (*misses).min(MOST_DOUBLINGS));
                *misses += 1;
                self.outputs.push_back(RouteOutput::Silent(link));
            }
            self.go_on(route, table, now);
        }
    }

    /// Passes a request on to the best hop that was not tried yet, or ends it.
    fn go_on(&mut self, route: RouteId, table: &Table, now: Timestamp) {
        let Some(relay) = self.relays.get_mut(&route) else { return };
        let hops =
            if relay.from.is_some() { table.next_hops(relay.key) } else { table.first_hops(relay.key) };
        let firsts =
            relay.request.and_then(|request| self.firsts.get_mut(&request)).map(|(_, firsts)| firsts);
        let is_first = |link| firsts.as_ref().is_some_and(|firsts| firsts.contains(&link));
        let is_open = |hop: &&Contact| !relay.tried.contains(&hop.link) && !is_first(hop.link);
        let open: Vec<&Contact> = hops.into_iter().filter(is_open).collect();
        let is_doubted = |hop: &Contact| self.doubts.get(&hop.link).is_some_and(|(_, until)| now < *until);
        let next = open.iter().find(|hop| !is_doubted(hop)).or(open.first()).copied();
        let others = open.len() > 1;
        let (Some(hop), Some(rest), Some(patience)) =
            (next, relay.budget.checked_sub(1), patience(relay.until, now))
        else {
            match relay.from {
                Some(_) => {
                    let body = std::mem::take(&mut relay.body);
                    self.outputs.push_back(RouteOutput::Stuck { route, key: relay.key, body });
                }
                None => self.end(route, None),
            }
            return;
        };
        // Whoever has nobody else to try keeps nothing.
        let given = if others { part(rest) } else { rest };
        firsts.into_iter().for_each(|firsts| firsts.push(hop.link));
        let (link, rtt) = (hop.link, hop.rtt);
        self.forward(route, link, rtt, (rest, given), patience, now);
    }

    /// Passes a request on by a link; of the links that may be taken then it is given so many.
    fn forward(
        &mut self,
        route: RouteId,
        link: LinkId,
        rtt: Option<Duration>,
        (rest, given): (u8, u8),
        patience: Duration,
        now: Timestamp,
    ) {
        let Some(relay) = self.relays.get_mut(&route) else { return };
        relay.budget = rest - given;
        relay.spent = relay.spent.saturating_add(1);
        relay.tried.push(link);
        let ack = rtt.map_or(ACK, |rtt| ACK.max(3 * rtt));
        relay.hop = Some(Hop { link, given, acked: false, until: now + ack });
        match relay.from {
            None => self.forwarded.own += 1,
            Some(_) => self.forwarded.others += 1,
        }
        let message = RouteMessage::Forward {
            route,
            key: relay.key,
            budget: given,
            patience,
            body: relay.body.clone(),
        };
        self.send(link, message);
    }

    /// Says what came of a request, and by whom if it was not answered here, to whom it came from.
    fn end(&mut self, route: RouteId, answer: Option<(Option<LinkId>, Vec<u8>)>) {
        let Some(relay) = self.relays.remove(&route) else { return };
        let Some(from) = relay.from else {
            let answer = answer.and_then(|(by, body)| Some((by?, body)));
            let ended = relay.request.map(|request| RouteOutput::Ended(request, answer));
            self.outputs.extend(ended);
            return;
        };
        let message = match answer {
            Some((_, body)) => RouteMessage::Reply(route, body),
            None => RouteMessage::NoWay(route, relay.spent),
        };
        self.send(from, message);
    }

    fn send(&mut self, link: LinkId, message: RouteMessage) {
        self.outputs.push_back(RouteOutput::Send(link, message));
    }
}

impl Hop {
    /// Links that it may have taken, as far as can be known of one that is given up. Who never said that it has the request has most likely done
    /// nothing with it; where all are slow it has, and the half of it keeps that from growing into a flood.
    fn cost(&self) -> u8 {
        if self.acked { self.given } else { self.given / 2 }
    }
}

impl Relay {
    /// A hop that was given so many links has taken so many.
    fn settle(&mut self, given: u8, taken: u8) {
        self.budget += given - taken;
        self.spent = self.spent.saturating_add(taken);
    }
}

/// The part of a budget that a hop is given.
fn part(budget: u8) -> u8 {
    (u32::from(budget) * SHARE.0).div_ceil(SHARE.1) as u8
}

/// How long a hop has until it is given up for another one; `None` if there is too little time.
fn patience(until: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = until.saturating_since(now);
    (left >= LEAST_PATIENCE).then(|| (left * SHARE.0 / SHARE.1).max(LEAST_PATIENCE))
}

#[cfg(test)]
mod tests;
