//! What others ask of this peer, and what it keeps for them.

use super::{HANDED, MEETING, Neighbour, Overlay, OverlayMessage, OverlayOutput, Proofs};
use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::LinkId,
    kad::{
        Contact, Key, MAX_INTRODUCTION, MAX_RECORD, Provider, REFRESH, RouteId, Shelved,
        asks::{Answer, Ask, Card, Certificate, MAX_CARDS, decode, encode, thousandths},
    },
    time::Timestamp,
};

/// Peers that keep what is said of a key: the nearest ones.
pub const REPLICAS: usize = 8;
/// Most requests of others to be introduced that wait for an answer from here, …
const MAX_WAITING: usize = 16;
/// …of those the most that came by one neighbour, …
const MAX_BY_LINK: usize = 4;
/// …and most that are remembered, answered or not.
const MAX_INTRODUCTIONS: usize = 64;
/// Most copies of one of them that are answered.
const MAX_COPIES: usize = 16;

/// Somebody wants a link here.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    /// What it says: copies of a request have nothing else in common.
    body: BoundedBytes<MAX_INTRODUCTION>,
    /// Who passed on the first copy.
    by: LinkId,
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
    pub(super) fn asked(&mut self, (route, from): (RouteId, LinkId), key: Key, body: &[u8], now: Timestamp) {
        let answer = match decode(body) {
            None => return self.routes.refuse(route),
            Some(Ask::Introduce(peer, body)) if peer == self.me.peer => {
                return self.introduction((route, from), body, now);
            }
            Some(_) if self.is_client => return self.routes.refuse(route),
            Some(Ask::Introduce(peer, _)) => {
                let mut contacts = self.links.values().map(|neighbour| neighbour.contact);
                if let Some(Contact { link, rtt, .. }) = contacts.find(|contact| contact.peer == peer) {
                    return self.routes.pass_to(route, link, rtt, now);
                }
                // Who is nearest knows who lives there.
                self.is_nearest(key).then_some(Answer::Nothing)
            }
            Some(Ask::Peers) => self.is_near(key).then(|| Answer::Peers(self.certificates_near(key))),
            Some(Ask::Providers) => {
                let records = self.providers_here(key, now).into_iter();
                let records: Vec<_> =
                    records.filter_map(|provider| provider.record.try_into().ok()).collect();
                match records.is_empty() {
                    false => Some(Answer::Providers(BoundedVec::first_of(records))),
                    true if !self.is_nearest(key) => None,
                    true if now < self.since + HANDED => return self.routes.refuse(route),
                    true => Some(Answer::Nothing),
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
        let kept = if self.is_replica(key) { self.keep(key, record.clone(), now) } else { None };
        self.is_nearest(key).then(|| self.have_kept(key, record, kept))
    }

    /// A request has no way from here. What is known here is an answer if this peer lives near the key.
    pub(super) fn stuck(&mut self, route: RouteId, key: Key, body: &[u8], now: Timestamp) {
        let answer = match decode(body) {
            Some(Ask::Peers) => Some(Answer::Peers(self.certificates_near(key))),
            Some(Ask::Providers) => self.is_replica(key).then_some(Answer::Nothing),
            Some(Ask::Introduce(..)) => self.is_near(key).then_some(Answer::Nothing),
            Some(Ask::Provide(record)) if self.is_replica(key) => {
                let kept = self.keep(key, record.to_vec(), now);
                Some(self.have_kept(key, record.into_vec(), kept))
            }
            _ => None,
        };
        match answer {
            Some(answer) => self.routes.answer(route, encode(&answer)),
            None => self.routes.refuse(route),
        }
    }

    /// Has the other replicas keep a record, too, if it is kept here and is news: one that does not hold is not sent on.
    fn have_kept(&mut self, key: Key, record: Vec<u8>, kept: Option<Shelved>) -> Answer {
        let Some(Shelved { share, is_news }) = kept else { return Answer::Nothing };
        let others = if is_news { REPLICAS - 1 } else { 0 };
        let others: Vec<LinkId> =
            self.table.nearest(key, others).into_iter().map(|contact| contact.link).collect();
        others.into_iter().for_each(|link| self.send(link, OverlayMessage::Keep(key, record.clone())));
        Answer::Kept(thousandths(share))
    }

    /// Keeps a provider's record, if it is true and there is room for it.
    pub(super) fn keep(&mut self, key: Key, record: Vec<u8>, now: Timestamp) -> Option<Shelved> {
        if record.len() > MAX_RECORD {
            return None;
        }
        // What is kept already was checked before.
        if let Some(share) = self.providers.has(key, &record, now) {
            return Some(Shelved { share, is_news: false });
        }
        let (Card { peer, group }, holds) = self.proofs.provider(key, &record, now)?;
        let random = self.random.number();
        self.providers.insert(key, Provider { peer, group, record }, holds, random, now).ok()
    }

    /// A neighbour is there from now on: it is given what it is a replica of, by the one that is nearest to it.
    pub(super) fn hand_over(&mut self, contact: Contact, now: Timestamp) {
        let lately = self.handed.get(&contact.link).is_some_and(|at| now < *at + REFRESH);
        if contact.client || self.is_client || lately {
            return;
        }
        self.handed.insert(contact.link, now);
        let (table, me) = (&self.table, Key::from(self.me.peer));
        let is_its = |key: Key| {
            let nearest = table.nearest(key, REPLICAS);
            let first = nearest.iter().find(|other| other.link != contact.link);
            let mine = first.is_none_or(|first| me.distance(key) < Key::from(first.peer).distance(key));
            mine && nearest.iter().any(|other| other.link == contact.link)
        };
        let records: Vec<_> =
            self.providers.of_keys(is_its, now).map(|(key, kept)| (key, kept.record.clone())).collect();
        for (key, record) in records {
            self.send(contact.link, OverlayMessage::Keep(key, record));
        }
    }

    /// Somebody wants a link here. Several copies of a request are one.
    fn introduction(
        &mut self,
        (route, by): (RouteId, LinkId),
        body: BoundedBytes<MAX_INTRODUCTION>,
        now: Timestamp,
    ) {
        self.introductions.retain(|_, known| now < known.at + MEETING);
        let mut all = self.introductions.iter_mut().map(|(_, known)| known);
        if let Some(known) = all.find(|known| known.body == body) {
            match known.said.clone() {
                Some(said) => self.routes.answer(route, said),
                None if known.routes.len() < MAX_COPIES => known.routes.push(route),
                None => self.routes.refuse(route),
            }
            return;
        }
        let waiting = || self.introductions.values().filter(|known| known.said.is_none());
        let by_link = waiting().filter(|known| known.by == by).count();
        if waiting().count() >= MAX_WAITING || by_link >= MAX_BY_LINK {
            return self.routes.refuse(route);
        }
        if self.introductions.len() >= MAX_INTRODUCTIONS {
            let answered = self.introductions.iter().filter(|(_, known)| known.said.is_some());
            if let Some(first) = answered.min_by_key(|(_, known)| known.at).map(|(number, _)| *number) {
                self.introductions.remove(&first);
            }
        }
        let number = self.random.number();
        let known = Introduction { body: body.clone(), by, routes: vec![route], said: None, at: now };
        self.introductions.insert(number, known);
        self.outputs.push_back(OverlayOutput::Introduction(number, body.into_vec()));
    }

    pub(super) fn providers_here(&mut self, key: Key, now: Timestamp) -> Vec<Provider> {
        let random = self.random.number();
        self.providers.answer(key, random, now).into_iter().cloned().collect()
    }

    /// This peer and those who live nearest to a key: of all that there are links to, as one that the table has no place for may be one that the
    /// asker lacks.
    fn certificates_near(&self, key: Key) -> BoundedVec<Certificate, MAX_CARDS> {
        let is_other = |of: &&Neighbour| !of.contact.client && Key::from(of.contact.peer) != key;
        let mut others: Vec<_> = self.links.values().filter(is_other).collect();
        others.sort_unstable_by_key(|neighbour| Key::from(neighbour.contact.peer).distance(key));
        let others = others.into_iter().map(|neighbour| &neighbour.certificate);
        BoundedVec::first_of([&self.certificate].into_iter().chain(others).cloned())
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
