//! What this peer asks of others, and what comes of it.

use std::time::Duration;

use super::{MEETING, Neighbour, Overlay, OverlayOutput, Proofs};
use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::{LinkId, PeerId},
    kad::{
        Found, Key, Lookup, MAX_ANSWER, Outcome, PATIENCE, Provider, REFRESH, RouteId, Search, Step,
        asks::{Answer, Ask, Card, Certificate, encode},
    },
    time::Timestamp,
};

/// Most peers that are being met at a time, …
const MAX_MEETINGS: usize = 4;
/// …and most that wait for that.
const MAX_CANDIDATES: usize = 32;
/// Most of them that one peer has told of: an answer names more, and who tells of peers that are none leaves room for others.
const MAX_TOLD: usize = 8;
/// Who could not be met is not met again for so long; so many are remembered.
const MISSED: (Duration, usize) = (Duration::from_secs(30), 64);
/// A record that nobody has kept is said again after so long, twice as long each time.
const AGAIN: Duration = Duration::from_secs(2);
/// Of all peers that have lost many links so many look for strangers at a time.
const STRANGERS: f64 = 32.0;
/// Whose word it is that a record is renewed often enough: one of them may want it forgotten.
const KEPT_BY: usize = 2;
/// Whatever is said, a record is renewed with this probability at least.
const LEAST_SHARE: f64 = 0.01;
/// Peers that are asked for those who live near a key: one of them does not know all.
const SEEN_FROM: usize = 2;

/// What a request is made for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// To meet those who live there.
    Meet,
    /// To know who provides it.
    Find(Vec<Provider>),
    /// To have it known that this peer provides it: the greatest share of renewals that was said, in thousandths.
    Provide(u16),
    /// To get a link to a peer.
    Introduce {
        peer: PeerId,
        /// Who told of it, and so has a link to it.
        by: PeerId,
        /// Its answer came.
        answered: bool,
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
    pub(super) until: Timestamp,
}

/// A peer that may be met.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) card: Card,
    pub(super) certificate: Certificate,
    /// Who told of it.
    pub(super) by: PeerId,
}

/// Something that this peer provides.
#[derive(Clone, Debug)]
pub(super) struct Provided {
    /// When it is to be said again, and with which probability.
    pub(super) due: Timestamp,
    pub(super) share: f64,
    /// How often in a row nobody has kept it.
    failures: u32,
}

impl Request {
    fn is_over(&self, now: Timestamp) -> bool {
        let answered = matches!(self.purpose, Purpose::Introduce { answered: true, .. });
        answered || self.lookup.outcome().is_some() || self.until <= now
    }

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
        // What is kept here may be all there is, and others are asked all the same.
        let mut here = self.providers_here(key, now);
        here.retain(|provider| provider.peer != self.me.peer);
        let id = self.request(key, Ask::Providers, Purpose::Find(here), now);
        self.settle(now);
        id
    }

    /// Has it known, and said again in time, that this peer provides what a key names: an [`OverlayOutput::Sign`] each time.
    pub fn provide(&mut self, key: Key, now: Timestamp) {
        self.provided.entry(key).or_insert(Provided { due: now, share: 1.0, failures: 0 });
        self.settle(now);
    }

    /// The record that an [`OverlayOutput::Sign`] asked for, of at most [`MAX_RECORD`](crate::kad::MAX_RECORD) bytes; a longer one is not taken, which is `false`.
    pub fn handle_signed(&mut self, key: Key, record: Vec<u8>, now: Timestamp) -> bool {
        if !self.provided.contains_key(&key) {
            return true;
        }
        let Ok(body) = BoundedBytes::try_from(record.clone()) else { return false };
        // Who is nearest itself tells the others.
        let here = if self.is_client { None } else { self.asked_to_keep(key, record, now) };
        match here {
            None => drop(self.request(key, Ask::Provide(body), Purpose::Provide(0), now)),
            // While it knows hardly anybody few will look here.
            Some(Answer::Kept(share)) if self.table.nearest(key, KEPT_BY).len() == KEPT_BY => {
                self.outputs.push_back(OverlayOutput::Kept(key));
                self.note_kept(key, share, now);
            }
            Some(_) => self.note_kept(key, 0, now),
        }
        self.settle(now);
        true
    }

    /// A record was kept, and this share of its renewals is to be made; nobody kept it if that is nothing.
    pub(super) fn note_kept(&mut self, key: Key, share: u16, now: Timestamp) {
        let Some(own) = self.provided.get_mut(&key) else { return };
        if share == 0 {
            own.due = own.due.min(now + AGAIN * (1 << own.failures.min(5)));
            own.failures += 1;
        } else {
            own.share = (f64::from(share.min(1000)) / 1000.0).max(LEAST_SHARE);
            own.failures = 0;
        }
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
                let purpose = Purpose::Introduce { peer, by, answered: false };
                self.request(peer.into(), Ask::Introduce(peer, body), purpose, now);
            }
            Err(_) => self.outputs.push_back(OverlayOutput::Introduced(peer, None)),
        }
        self.settle(now);
    }

    /// Whether what came in an [`OverlayOutput::Introduced`] is of the peer. If it is, even if it says no, nobody else is asked.
    pub fn judge_introduction(&mut self, peer: PeerId, is_true: bool, now: Timestamp) {
        let is_of = |request: &&mut Request| matches!(request.purpose, Purpose::Introduce { peer: other, answered: false, .. } if other == peer);
        let mut requests = self.requests.iter_mut().map(|(_, request)| request);
        if let Some(request) = requests.find(is_of) {
            match &mut request.purpose {
                Purpose::Introduce { answered, .. } if is_true => *answered = true,
                _ => request.lookup.answered(Found::Useless),
            }
        }
        self.settle(now);
    }

    /// Meeting a peer failed, or somebody else was met in its place.
    pub fn handle_not_met(&mut self, peer: PeerId, now: Timestamp) {
        self.meetings.remove(&peer);
        self.missed.push_back((peer, now));
        if self.missed.len() > MISSED.1 {
            self.missed.pop_front();
        }
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

    /// Whether there is anybody to keep a record, if only this peer itself.
    pub(super) fn can_provide(&self) -> bool {
        !self.is_client || self.knows_somebody()
    }

    /// Renews this peer's own records, each with the probability that its replicas named.
    pub(super) fn say_again(&mut self, now: Timestamp) {
        if !self.can_provide() {
            return;
        }
        let due: Vec<Key> =
            self.provided.iter().filter(|(_, own)| own.due <= now).map(|(key, _)| *key).collect();
        for key in due {
            let (chance, jitter) = (self.random.fraction(), self.random.fraction());
            let Some(own) = self.provided.get_mut(&key) else { continue };
            own.due = now + REFRESH.mul_f64(0.9 + jitter / 5.0);
            if chance <= own.share {
                self.outputs.push_back(OverlayOutput::Sign(key));
            }
        }
    }

    /// Looks for whom the table lacks.
    pub(super) fn look_around(&mut self, now: Timestamp) {
        self.meetings.retain(|_, meeting| now < meeting.until);
        self.missed.retain(|(_, at)| now < *at + MISSED.0);
        if !self.knows_somebody() {
            return;
        }
        let random = self.random.fraction();
        if let Some(search) = self.upkeep.poll(&self.table, random, now) {
            match search {
                // Its answers name them, if they are still there.
                Search::Siblings => self.candidates.clear(),
                Search::Anybody => self.outputs.push_back(OverlayOutput::Stranger),
                Search::Outside => {
                    // A few of all who have lost many are enough.
                    let others = self.table.estimate().unwrap_or(1.0);
                    if self.random.fraction() * others < STRANGERS {
                        self.outputs.push_back(OverlayOutput::Stranger);
                    }
                    return;
                }
                Search::Bucket(_) => {}
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
            Purpose::Provide(_) => lookup(KEPT_BY).frugal(),
            Purpose::Introduce { .. } => lookup(1).frugal(),
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
                            let route = (id, RouteId(self.random.number()));
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
        let groups = self.table.groups();
        let Some(request) = self.requests.get_mut(&id) else { return };
        // Of a false answer nobody knows whose it is but that it came by this neighbour.
        let by = by.and_then(|by| self.links.get(&by));
        let nothing = by.map_or(Found::Useless, |by| Found::Nothing(by.contact.group));
        let mut certificates = Vec::new();
        let found = match (answer, &mut request.purpose) {
            (Some(Answer::Peers(peers)), Purpose::Meet) => {
                certificates = peers.into_vec();
                Found::Valid
            }
            (Some(Answer::Providers(records)), Purpose::Find(found)) => {
                let mut is_true = false;
                for record in records.into_vec() {
                    let Some((Card { peer, group }, _)) = self.proofs.provider(request.key, &record, now)
                    else {
                        continue;
                    };
                    is_true = true;
                    if found.iter().all(|known| known.peer != peer) {
                        found.push(Provider { peer, group, record: record.into_vec() });
                    }
                }
                match is_true {
                    true => Found::Valid,
                    false => Found::Useless,
                }
            }
            (Some(Answer::Kept(share)), Purpose::Provide(most)) => {
                if share > 0 && *most == 0 {
                    self.outputs.push_back(OverlayOutput::Kept(request.key));
                }
                *most = (*most).max(share);
                match share {
                    0 => Found::Useless,
                    _ => Found::Valid,
                }
            }
            (Some(Answer::Introduced(body)), Purpose::Introduce { peer, .. }) => {
                // It counts as under way until it is judged.
                self.outputs.push_back(OverlayOutput::Introduced(*peer, Some(body.into_vec())));
                return;
            }
            // Who knows few takes itself for the nearest. Where there are no groups to ask several of, all are asked.
            (Some(Answer::Nothing), Purpose::Introduce { .. }) if groups < 2 => Found::Useless,
            (Some(Answer::Nothing), Purpose::Find(_) | Purpose::Provide(_) | Purpose::Introduce { .. }) => {
                nothing
            }
            _ => Found::Useless,
        };
        request.lookup.answered(found);
        self.consider_all(certificates, now);
        self.meet_next(now);
    }

    /// Takes note of peers that somebody tells of, first of itself.
    fn consider_all(&mut self, certificates: Vec<Certificate>, now: Timestamp) {
        let mut by = None;
        for certificate in certificates {
            // That of a neighbour was verified before.
            let neighbour = self.links.values().find(|neighbour| neighbour.certificate == certificate);
            let known =
                neighbour.map(|Neighbour { contact, .. }| Card { peer: contact.peer, group: contact.group });
            if let Some(card) = known.or_else(|| self.proofs.peer(&certificate, now)) {
                let by = *by.get_or_insert(card.peer);
                self.consider(Candidate { card, certificate, by }, now);
            }
        }
    }

    /// Takes note of a peer that the table may have a place for.
    pub(super) fn consider(&mut self, candidate: Candidate, now: Timestamp) {
        let Card { peer, .. } = candidate.card;
        let mut contacts = self.links.iter_mut().map(|(_, neighbour)| &mut neighbour.contact);
        if let Some(known) = contacts.find(|contact| contact.peer == peer) {
            // One that called, and was then looked for, might as well have been called.
            known.inbound = false;
            let known = *known;
            if let Some(contact) = self.table.get_mut(known.link) {
                contact.inbound = false;
            }
            if !self.is_contact(known.link) && self.table.has_place(known, now) {
                self.offer(known, now);
            }
            return;
        }
        let waits = self.meetings.contains_key(&peer)
            || self.missed.iter().any(|(missed, _)| *missed == peer)
            || self.candidates.iter().any(|other| other.card.peer == peer)
            || self.candidates.iter().filter(|other| other.by == candidate.by).count() >= MAX_TOLD;
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
            && let Some(Candidate { card, certificate, by }) = self.candidates.pop()
        {
            let is_there = self.links.values().any(|neighbour| neighbour.contact.peer == card.peer);
            if !is_there && self.wants(card, now) {
                self.meetings.insert(card.peer, Meeting { by, until: now + MEETING });
                self.outputs.push_back(OverlayOutput::Meet(card, certificate.into_vec()));
            }
        }
    }

    fn is_contact(&self, link: LinkId) -> bool {
        self.table.contacts().iter().any(|contact| contact.link == link)
    }

    /// Ends requests that have come to something.
    pub(super) fn finish(&mut self, now: Timestamp) {
        let over: Vec<u64> =
            self.requests.iter().filter(|(_, request)| request.is_over(now)).map(|(id, _)| *id).collect();
        for id in over {
            let Some(request) = self.requests.remove(&id) else { continue };
            let outcome = request.lookup.outcome().unwrap_or(Outcome::Unknown);
            match request.purpose {
                Purpose::Find(found) => self.outputs.push_back(OverlayOutput::Found(id, outcome, found)),
                Purpose::Introduce { peer, answered: false, .. } => {
                    self.outputs.push_back(OverlayOutput::Introduced(peer, None));
                }
                Purpose::Provide(share) => self.note_kept(request.key, share, now),
                Purpose::Meet | Purpose::Introduce { .. } => {}
            }
        }
    }
}
