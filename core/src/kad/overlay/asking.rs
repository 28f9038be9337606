//! What this peer asks of others, and what comes of it.

use std::time::Duration;

use super::{MEETING, Overlay, OverlayOutput, Proofs};
use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::{LinkId, PeerId},
    kad::{
        Found, Key, Lookup, MAX_ANSWER, MAX_RECORD, Outcome, PATIENCE, Provider, REFRESH, RouteId, Search,
        Step,
        asks::{Answer, Ask, Card, encode},
    },
    time::Timestamp,
};

/// Most peers that are being met at a time, …
const MAX_MEETINGS: usize = 4;
/// …and most that wait for that.
const MAX_CANDIDATES: usize = 32;
/// A record that nobody has kept is said again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// Peers that are asked for those who live near a key: one of them does not know all.
const SEEN_FROM: usize = 2;

/// What a request is made for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// To meet those who live there.
    Meet,
    /// To know who provides it.
    Find(Vec<Provider>),
    /// To have it known that this peer provides it.
    Provide,
    /// To get a link to a peer.
    Introduce {
        peer: PeerId,
        /// Who told of it, and so has a link to it.
        by: PeerId,
        said: Option<Vec<u8>>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: Key,
    pub(super) ask: Ask,
    pub(super) lookup: Lookup,
    pub(super) purpose: Purpose,
    /// Ends without an answer if it goes on for so long.
    pub(super) until: Timestamp,
}

/// A peer that is being met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meeting {
    /// Who told of it.
    by: PeerId,
    /// It is given up then.
    until: Timestamp,
}

/// A peer that may be met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) card: Card,
    /// Who told of it.
    pub(super) by: PeerId,
}

/// Something that this peer provides.
#[derive(Clone, Debug)]
pub(super) struct Provided {
    pub(super) record: BoundedBytes<MAX_RECORD>,
    /// When it is to be said again, and with which probability.
    pub(super) due: Timestamp,
    pub(super) share: f64,
}

impl Request {
    /// Keys that its copies go to, by turns.
    fn ways(&self) -> Vec<Key> {
        match self.purpose {
            Purpose::Introduce { by, .. } => vec![by.into(), self.key],
            _ => vec![self.key],
        }
    }
}

impl<P: Proofs> Overlay<P> {
    /// Looks up who provides what a key names; ends in one [`OverlayOutput::Found`] with the number that is returned.
    pub fn find(&mut self, key: Key, now: Timestamp) -> u64 {
        let own = self.providers_here(key, now);
        let id = self.request(key, Ask::Providers, Purpose::Find(own), now);
        if let Some(request) = self.requests.get_mut(&id)
            && matches!(&request.purpose, Purpose::Find(own) if !own.is_empty())
        {
            request.lookup.answered(Found::Valid);
        }
        self.settle(now);
        id
    }

    /// Has it known, and said again in time, that this peer provides what a key names, by this signed record of at most [`MAX_RECORD`] bytes; a
    /// longer one is not taken, which is `false`.
    pub fn provide(&mut self, key: Key, record: Vec<u8>, now: Timestamp) -> bool {
        let Ok(record) = BoundedBytes::try_from(record) else { return false };
        self.provided.insert(key, Provided { record, due: now, share: 1.0 });
        self.settle(now);
        true
    }

    /// Lets be known no longer that this peer provides that.
    pub fn withdraw(&mut self, key: Key) {
        self.provided.remove(&key);
    }

    /// Has a peer told that a link to it is wanted, with what it needs to know for that: at most [`MAX_INTRODUCTION`](crate::kad::MAX_INTRODUCTION) bytes, sealed for it. Ends in
    /// one [`OverlayOutput::Introduced`].
    pub fn introduce(&mut self, peer: PeerId, body: Vec<u8>, now: Timestamp) {
        match BoundedBytes::try_from(body) {
            Ok(body) => {
                let by = self.meetings.get(&peer).map_or(peer, |meeting| meeting.by);
                let purpose = Purpose::Introduce { peer, by, said: None };
                self.request(peer.into(), Ask::Introduce(peer, body), purpose, now);
            }
            Err(_) => self.outputs.push_back(OverlayOutput::Introduced(peer, None)),
        }
        self.settle(now);
    }

    /// Meeting a peer failed, or somebody else was met in its place.
    pub fn handle_not_met(&mut self, peer: PeerId, now: Timestamp) {
        self.meetings.remove(&peer);
        self.settle(now);
    }

    /// What the service says to an [`OverlayOutput::AskService`]: records of providers, or nothing; `None` if it can't be reached.
    pub fn handle_service_answer(&mut self, lookup: u64, records: Option<Vec<Vec<u8>>>, now: Timestamp) {
        let answer = records.map(|records| {
            let records = records.into_iter().filter_map(|record| record.try_into().ok());
            Answer::Providers(BoundedVec::first_of(records.take(MAX_ANSWER)))
        });
        self.answered(lookup, None, answer, now);
        self.settle(now);
    }

    /// Renews this peer's own records, each with the probability that its replicas named.
    pub(super) fn say_again(&mut self, now: Timestamp) {
        let due: Vec<Key> =
            self.provided.iter().filter(|(_, own)| own.due <= now).map(|(key, _)| *key).collect();
        for key in due {
            let (chance, jitter) = (self.random.fraction(), self.random.fraction());
            let Some(own) = self.provided.get_mut(&key) else { continue };
            own.due = now + REFRESH.mul_f64(0.9 + jitter / 5.0);
            if chance > own.share {
                continue;
            }
            let record = own.record.clone();
            // Who is nearest itself tells the others.
            if self.is_client || self.asked_to_keep(key, record.to_vec(), now).is_none() {
                self.request(key, Ask::Provide(record), Purpose::Provide, now);
            }
        }
    }

    /// Looks for whom the table lacks.
    pub(super) fn look_around(&mut self, now: Timestamp) {
        self.meetings.retain(|_, meeting| now < meeting.until);
        if self.table.contacts().is_empty() {
            return;
        }
        let random = self.random.fraction();
        if let Some(search) = self.upkeep.poll(&self.table, random, now) {
            if search == Search::Siblings {
                // Its answers name them, if they are still there.
                self.candidates.clear();
            }
            let chance = self.random.bytes();
            let key = search.key(self.me.peer.into(), chance);
            self.request(key, Ask::Peers, Purpose::Meet, now);
        }
    }

    fn request(&mut self, key: Key, ask: Ask, purpose: Purpose, now: Timestamp) -> u64 {
        let id = self.random.number();
        let lookup = |wanted| Lookup::new(wanted, self.table.groups(), now);
        let lookup = match purpose {
            Purpose::Meet => lookup(SEEN_FROM),
            Purpose::Find(_) => lookup(1),
            Purpose::Provide | Purpose::Introduce { .. } => lookup(1).frugal(),
        };
        let until = now + PATIENCE * 3;
        self.requests.insert(id, Request { key, ask, lookup, purpose, until });
        id
    }

    /// Sends the copies that are due.
    pub(super) fn start_copies(&mut self, now: Timestamp) {
        let ids: Vec<u64> = self.requests.keys().copied().collect();
        for id in ids {
            while let Some(request) = self.requests.get_mut(&id)
                && let Some(step) = request.lookup.poll_step(now)
            {
                let finds = matches!(request.purpose, Purpose::Find(_));
                match step {
                    Step::Copies(from, to) => {
                        request.lookup.asked(usize::from(to - from));
                        let (keys, body) = (request.ways(), encode(&request.ask));
                        let meets = matches!(request.purpose, Purpose::Meet);
                        for copy in from..to {
                            let route = RouteId { request: id, copy };
                            let key = keys[usize::from(copy) % keys.len()];
                            // Those who live near a key may know each other and not all who live there. Somebody far away may know another one.
                            let others = self.table.contacts();
                            let chance = self.random.number() as usize % others.len().max(1);
                            match others.get(chance).filter(|other| meets && copy % 2 == 1 && !other.client) {
                                Some(first) => self.routes.start_by(*first, route, key, body.clone(), now),
                                None => self.routes.start(route, key, body.clone(), &self.table, now),
                            }
                        }
                    }
                    Step::Service if finds && self.has_service => {
                        request.lookup.asked(1);
                        self.outputs.push_back(OverlayOutput::AskService(id, request.key));
                    }
                    // Super-peers are contacts like others.
                    Step::SuperPeers | Step::Service => {}
                }
            }
        }
    }

    /// What came of one who was asked, by a neighbour or the service.
    pub(super) fn answered(&mut self, id: u64, by: Option<LinkId>, answer: Option<Answer>, now: Timestamp) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        // Of a false answer nobody knows whose it is but that it came by this neighbour.
        let group = by.and_then(|by| self.links.get(&by));
        let nothing = group.map_or(Found::Useless, |contact| Found::Nothing(contact.group));
        let mut cards = Vec::new();
        let found = match (answer, &mut request.purpose) {
            (Some(Answer::Peers(peers)), Purpose::Meet) => {
                cards = peers.into_vec();
                Found::Valid
            }
            (Some(Answer::Providers(records)), Purpose::Find(found)) => {
                let before = found.len();
                for record in records.into_vec() {
                    let Some((peer, group)) = self.proofs.provider(request.key, &record) else { continue };
                    if found.iter().all(|known| known.peer != peer) {
                        found.push(Provider { peer, group, record: record.into_vec() });
                    }
                }
                match found.len() > before {
                    true => Found::Valid,
                    false => Found::Useless,
                }
            }
            (Some(Answer::Kept(share)), Purpose::Provide) => {
                if let Some(own) = self.provided.get_mut(&request.key) {
                    own.share = f64::from(share.min(1000)) / 1000.0;
                }
                Found::Valid
            }
            (Some(Answer::Introduced(body)), Purpose::Introduce { said, .. }) => {
                *said = Some(body.into_vec());
                Found::Valid
            }
            (Some(Answer::Nothing), Purpose::Find(_) | Purpose::Provide | Purpose::Introduce { .. }) => {
                nothing
            }
            _ => Found::Useless,
        };
        request.lookup.answered(found);
        // Whoever answers names itself first.
        if let Some(by) = cards.first().map(|first| first.peer) {
            cards.into_iter().for_each(|card| self.consider(Candidate { card, by }, now));
        }
        self.meet_next(now);
    }

    /// Takes note of a peer that the table may have a place for.
    pub(super) fn consider(&mut self, candidate: Candidate, now: Timestamp) {
        let Card { peer, .. } = candidate.card;
        if let Some(known) = self.links.iter_mut().map(|(_, contact)| contact).find(|of| of.peer == peer) {
            // One that called, and was then looked for, might as well have been called.
            known.inbound = false;
            let known = *known;
            if !self.is_contact(known.link) && self.table.has_place(known, now) {
                self.offer(known, now);
            }
            return;
        }
        let waits = self.meetings.contains_key(&peer)
            || self.candidates.iter().any(|candidate| candidate.card.peer == peer);
        if peer == self.me.peer || waits || !self.wants(candidate.card, now) {
            return;
        }
        let me = Key::from(self.me.peer);
        let apart = |of: &Candidate| me.distance(of.card.peer.into());
        let place = self.candidates.partition_point(|other| apart(other) > apart(&candidate));
        self.candidates.insert(place, candidate);
        if self.candidates.len() > MAX_CANDIDATES {
            self.candidates.remove(0);
        }
    }

    /// Has the nearest candidates met. One after the other: who is met may leave no place for those who are farther away.
    pub(super) fn meet_next(&mut self, now: Timestamp) {
        while self.meetings.len() < MAX_MEETINGS
            && let Some(Candidate { card, by }) = self.candidates.pop()
        {
            let is_there = self.links.values().any(|contact| contact.peer == card.peer);
            if !is_there && self.wants(card, now) {
                self.meetings.insert(card.peer, Meeting { by, until: now + MEETING });
                self.outputs.push_back(OverlayOutput::Meet(card));
            }
        }
    }

    fn is_contact(&self, link: LinkId) -> bool {
        self.table.contacts().iter().any(|contact| contact.link == link)
    }

    /// Ends requests that have come to something.
    pub(super) fn finish(&mut self, now: Timestamp) {
        let over: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, request)| request.lookup.outcome().is_some() || request.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let Some(request) = self.requests.remove(&id) else { continue };
            let outcome = request.lookup.outcome().unwrap_or(Outcome::Unknown);
            match request.purpose {
                Purpose::Find(found) => self.outputs.push_back(OverlayOutput::Found(id, outcome, found)),
                Purpose::Introduce { peer, said, .. } => {
                    self.outputs.push_back(OverlayOutput::Introduced(peer, said));
                }
                Purpose::Provide if outcome != Outcome::Found => {
                    if let Some(own) = self.provided.get_mut(&request.key) {
                        own.due = own.due.min(now + AGAIN);
                    }
                }
                Purpose::Meet | Purpose::Provide => {}
            }
        }
    }
}
