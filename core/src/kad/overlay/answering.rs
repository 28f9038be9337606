//! What others ask of this peer, and what it keeps for them.

use super::{MEETING, Overlay, OverlayMessage, OverlayOutput, Proofs};
use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::LinkId,
    kad::{
        Contact, Key, MAX_INTRODUCTION, MAX_RECORD, Provider, RouteId,
        asks::{Answer, Ask, Card, MAX_CARDS, decode, encode, thousandths},
    },
    time::Timestamp,
};

/// Peers that keep what is said of a key: the nearest ones.
pub const REPLICAS: usize = 8;
/// Most requests of others to be introduced that wait for an answer from here.
const MAX_INTRODUCTIONS: usize = 16;

/// Somebody wants a link here.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    /// The copies of the request that are here.
    routes: Vec<RouteId>,
    /// What was said, once something was.
    said: Option<Vec<u8>>,
    at: Timestamp,
}

impl<P: Proofs> Overlay<P> {
    /// What is said to an [`OverlayOutput::Introduction`]; `None` refuses it.
    pub fn answer_introduction(&mut self, introduction: u64, answer: Option<Vec<u8>>, now: Timestamp) {
        let Some(waiting) = self.introductions.get_mut(&introduction) else { return };
        let routes = std::mem::take(&mut waiting.routes);
        let answer = answer.and_then(|answer| answer.try_into().ok());
        // Where others would ask it once more they hear that it does not want to.
        let said = encode(&answer.map_or(Answer::Nothing, Answer::Introduced));
        routes.into_iter().for_each(|route| self.routes.answer(route, said.clone()));
        waiting.said = Some(said);
        self.settle(now);
    }

    /// A request of somebody else is here.
    pub(super) fn asked(&mut self, route: RouteId, key: Key, body: &[u8], now: Timestamp) {
        let answer = match decode(body) {
            None => return self.routes.refuse(route),
            Some(Ask::Introduce(peer, body)) if peer == self.me.peer => {
                return self.introduction(route, body, now);
            }
            Some(_) if self.is_client => return self.routes.refuse(route),
            Some(Ask::Introduce(peer, _)) => {
                let of_it = self.links.values().find(|contact| contact.peer == peer);
                if let Some(Contact { link, rtt, .. }) = of_it.copied() {
                    return self.routes.pass_to(route, link, rtt, now);
                }
                // Who is nearest knows who lives there.
                self.is_nearest(key).then_some(Answer::Nothing)
            }
            Some(Ask::Peers) => self.is_near(key).then(|| Answer::Peers(self.cards_near(key))),
            Some(Ask::Providers) => {
                let records = self.providers_here(key, now).into_iter();
                let records: Vec<_> =
                    records.filter_map(|provider| provider.record.try_into().ok()).collect();
                match records.is_empty() {
                    false => Some(Answer::Providers(BoundedVec::first_of(records))),
                    true => self.is_nearest(key).then_some(Answer::Nothing),
                }
            }
            Some(Ask::Provide(record)) => self.asked_to_keep(key, record.into_vec(), now),
        };
        match answer {
            Some(answer) => self.routes.answer(route, encode(&answer)),
            None => self.routes.pass_on(route, &self.table, now),
        }
    }

    /// Keeps a record if this peer is a replica; the nearest one has the others keep it too and says so.
    pub(super) fn asked_to_keep(&mut self, key: Key, record: Vec<u8>, now: Timestamp) -> Option<Answer> {
        let share = if self.is_replica(key) { self.keep(key, record.clone(), now) } else { None };
        self.is_nearest(key).then(|| self.have_kept(key, record, share))
    }

    /// A request has no way from here. What is known here is an answer if this peer lives near the key.
    pub(super) fn stuck(&mut self, route: RouteId, key: Key, body: &[u8]) {
        let answer = match decode(body) {
            Some(Ask::Peers) => Some(Answer::Peers(self.cards_near(key))),
            Some(Ask::Providers) => self.is_replica(key).then_some(Answer::Nothing),
            Some(Ask::Introduce(..)) => self.is_near(key).then_some(Answer::Nothing),
            Some(Ask::Provide(record)) if self.is_replica(key) => {
                let kept =
                    self.providers.of_keys(|of| of == key).any(|(_, kept)| kept.record[..] == record[..]);
                Some(self.have_kept(key, record.into_vec(), kept.then_some(1.0)))
            }
            _ => None,
        };
        match answer {
            Some(answer) => self.routes.answer(route, encode(&answer)),
            None => self.routes.refuse(route),
        }
    }

    /// Has the other replicas keep a record, too, if it is kept here: one that does not hold is not sent on.
    fn have_kept(&mut self, key: Key, record: Vec<u8>, share: Option<f64>) -> Answer {
        let Some(share) = share else { return Answer::Nothing };
        let others: Vec<LinkId> =
            self.table.nearest(key, REPLICAS - 1).into_iter().map(|contact| contact.link).collect();
        others.into_iter().for_each(|link| self.send(link, OverlayMessage::Keep(key, record.clone())));
        Answer::Kept(thousandths(share))
    }

    /// Keeps a provider's record; with which probability it is to be renewed, if it is true and there is room for it.
    pub(super) fn keep(&mut self, key: Key, record: Vec<u8>, now: Timestamp) -> Option<f64> {
        if record.len() > MAX_RECORD {
            return None;
        }
        let (peer, group) = self.proofs.provider(key, &record)?;
        let random = self.random.number();
        self.providers.insert(key, Provider { peer, group, record }, random, now).ok()
    }

    /// A neighbour is there from now on: it is given what it is a replica of, by the one that is nearest to it.
    pub(super) fn hand_over(&mut self, contact: Contact) {
        if contact.client || self.is_client || self.handed.contains(&contact.link) {
            return;
        }
        self.handed.push(contact.link);
        let (table, me) = (&self.table, Key::from(self.me.peer));
        let is_its = |key: Key| {
            let nearest = table.nearest(key, REPLICAS);
            let first = nearest.iter().find(|other| other.link != contact.link);
            let mine = first.is_none_or(|first| me.distance(key) < Key::from(first.peer).distance(key));
            mine && nearest.iter().any(|other| other.link == contact.link)
        };
        let records: Vec<_> =
            self.providers.of_keys(is_its).map(|(key, kept)| (key, kept.record.clone())).collect();
        for (key, record) in records {
            self.send(contact.link, OverlayMessage::Keep(key, record));
        }
    }

    /// Somebody wants a link here. Several copies of a request are one.
    fn introduction(&mut self, route: RouteId, body: BoundedBytes<MAX_INTRODUCTION>, now: Timestamp) {
        self.introductions.retain(|_, waiting| now < waiting.at + MEETING);
        if let Some(waiting) = self.introductions.get_mut(&route.request) {
            match waiting.said.clone() {
                Some(said) => self.routes.answer(route, said),
                None => waiting.routes.push(route),
            }
            return;
        }
        if self.introductions.len() >= MAX_INTRODUCTIONS {
            return self.routes.refuse(route);
        }
        let waiting = Introduction { routes: vec![route], said: None, at: now };
        self.introductions.insert(route.request, waiting);
        self.outputs.push_back(OverlayOutput::Introduction(route.request, body.into_vec()));
    }

    pub(super) fn providers_here(&mut self, key: Key, now: Timestamp) -> Vec<Provider> {
        let random = self.random.number();
        self.providers.answer(key, random, now).into_iter().cloned().collect()
    }

    /// Those who live nearest to a key, this peer among them: of all that there are links to, as one that the table has no place for may be one
    /// that the asker lacks.
    fn cards_near(&self, key: Key) -> BoundedVec<Card, MAX_CARDS> {
        let others = self.links.values().filter(|contact| !contact.client);
        let others = others.map(|contact| Card { peer: contact.peer, group: contact.group });
        let mut cards: Vec<Card> = others.collect();
        cards.sort_unstable_by_key(|card| Key::from(card.peer).distance(key));
        BoundedVec::first_of([self.me].into_iter().chain(cards))
    }

    /// Whether nobody is known who is nearer to a key.
    fn is_nearest(&self, key: Key) -> bool {
        self.table.rank(key) == 0
    }

    /// Whether this peer knows those who live nearest to a key.
    fn is_near(&self, key: Key) -> bool {
        self.table.rank(key) < self.table.width().siblings
    }

    pub(super) fn is_replica(&self, key: Key) -> bool {
        !self.is_client && self.table.rank(key) < REPLICAS
    }
}
