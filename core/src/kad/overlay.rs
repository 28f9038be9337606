//! One peer of the overlay: its table and what is under way through it, what it keeps for others, and what it looks for itself.
//!
//! Nothing here opens a connection or checks a signature. Whom to meet is an output, what a record is worth is asked of [`Proofs`], and a link
//! that is ready, or gone, is an input.

mod answering;
mod asking;

use std::{collections::VecDeque, time::Duration};

use litemap::LiteMap;

pub use self::answering::REPLICAS;
use self::{
    answering::Introduction,
    asking::{Candidate, Meeting, Provided, Request},
};
use super::{
    Contact, Forwarded, Key, MAX_CERTIFICATE, Offer, Outcome, Provider, Providers, RouteMessage, RouteOutput,
    Routes, Table, Upkeep, Width,
    asks::{Card, Certificate, decode},
};
use crate::{
    bounded::BoundedBytes,
    id::{LinkId, NetworkGroup, PeerId},
    random::Random,
    time::Timestamp,
};

/// A peer is being met for so long at most.
const MEETING: Duration = Duration::from_secs(20);
/// Whoever looked things up only becomes one who answers after so long: most visits are shorter.
const CLIENT: Duration = Duration::from_secs(60);
/// Who has answered others for less long does not know that there is nothing: it may not have been given yet what it is to keep.
const HANDED: Duration = Duration::from_secs(10);

/// What can be checked of what others say.
pub trait Proofs {
    /// Whom a certificate is about, if it holds.
    fn peer(&self, certificate: &[u8], now: Timestamp) -> Option<Card>;

    /// Who says by this record that it provides what the key names, and how long that holds, if the record's signatures do.
    fn provider(&self, key: Key, record: &[u8], now: Timestamp) -> Option<(Card, Duration)>;
}

/// What a peer of the overlay is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Itself.
    pub me: Card,
    /// Its certificate.
    pub certificate: BoundedBytes<MAX_CERTIFICATE>,
    /// Most links.
    pub most_links: usize,
    /// Contacts that it keeps.
    pub width: Width,
    /// The group that has no limits: addresses of one machine, or of private networks.
    pub exempt: Option<NetworkGroup>,
    /// Randomness, fresh each time.
    pub seed: [u8; 32],
}

/// What neighbours say to each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OverlayMessage {
    /// Of a request that goes from link to link.
    Route(RouteMessage),
    /// A record of a provider, for one who is to keep it.
    Keep(Key, Vec<u8>),
    /// Whether the sender looks things up and answers nothing.
    Client(bool),
}

/// What is to be done, or has come of what was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OverlayOutput {
    /// Send this.
    Send(LinkId, OverlayMessage),
    /// A link to this peer, whose certificate this is, is wanted: [`Overlay::introduce`], or another way to it.
    Meet(Card, Vec<u8>),
    /// Somebody wants a link here: [`Overlay::answer_introduction`].
    Introduction(u64, Vec<u8>),
    /// What came in answer to an introduction, by the peer or by somebody on the way: [`Overlay::judge_introduction`]. `None`: the peer is not to be
    /// reached.
    Introduced(PeerId, Option<Vec<u8>>),
    /// A record that this peer provides what the key names is to be signed: [`Overlay::handle_signed`].
    Sign(Key),
    /// A record of this peer for what the key names is kept by somebody from now on.
    Kept(Key),
    /// A link to anybody is wanted whom others know of than those there are links to, like the service.
    Stranger,
    /// The overlay has no use for this link.
    Spare(LinkId),
    /// A neighbour did not say that it has a request: is it there?
    Silent(LinkId),
    /// What a lookup came to.
    Found(u64, Outcome, Vec<Provider>),
    /// The service is to be asked for the same: [`Overlay::handle_service_answer`].
    AskService(u64, Key),
}

/// Who there is a link to.
#[derive(Clone, Debug)]
struct Neighbour {
    contact: Contact,
    certificate: Certificate,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Overlay<P> {
    me: Card,
    certificate: Certificate,
    proofs: P,
    /// All there are, those in the table among them.
    links: LiteMap<LinkId, Neighbour>,
    /// When those that answer were given last what they are to keep: not again soon, however often they say that they answer from now on.
    handed: LiteMap<LinkId, Timestamp>,
    table: Table,
    routes: Routes,
    upkeep: Upkeep,
    providers: Providers,
    provided: LiteMap<Key, Provided>,
    requests: LiteMap<u64, Request>,
    meetings: LiteMap<PeerId, Meeting>,
    /// Who is to be met when others have been, the nearest last.
    candidates: Vec<Candidate>,
    /// Peers that could not be met, the first first, and when that was.
    missed: VecDeque<(PeerId, Timestamp)>,
    introductions: LiteMap<u64, Introduction>,
    /// From when on requests of others are answered; none are if the page is hidden or pays for what it sends.
    serves: Option<Timestamp>,
    /// When a tab that has just come is one that stays.
    ripe: Timestamp,
    is_client: bool,
    /// Since when it has not been one.
    since: Timestamp,
    has_service: bool,
    random: Random,
    outputs: VecDeque<OverlayOutput>,
}

impl<P: Proofs> Overlay<P> {
    /// A peer without links.
    pub fn new(setup: &Setup, proofs: P, now: Timestamp) -> Self {
        Self {
            me: setup.me,
            certificate: setup.certificate.clone(),
            proofs,
            links: LiteMap::new(),
            handed: LiteMap::new(),
            table: Table::new(setup.me.peer, setup.most_links, setup.width, setup.exempt),
            routes: Routes::new(),
            upkeep: Upkeep::new(now),
            providers: Providers::new(setup.exempt),
            provided: LiteMap::new(),
            requests: LiteMap::new(),
            meetings: LiteMap::new(),
            candidates: Vec::new(),
            missed: VecDeque::new(),
            introductions: LiteMap::new(),
            serves: Some(now + CLIENT),
            ripe: now + CLIENT,
            is_client: true,
            since: now,
            has_service: false,
            random: Random::new(setup.seed),
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<OverlayOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let due =
            |request: &Request| request.lookup.poll_timeout().into_iter().fold(request.until, Timestamp::min);
        let requests = self.requests.values().map(due);
        let provided = self.provided.values().map(|provided| provided.due).filter(|_| self.can_provide());
        let meetings = self.meetings.values().map(|meeting| meeting.until);
        let serves = self.serves.filter(|_| self.is_client);
        // Without links there is nobody to ask.
        let upkeep = self.knows_somebody().then(|| self.upkeep.poll_timeout());
        requests
            .chain(provided)
            .chain(meetings)
            .chain(serves)
            .chain(upkeep)
            .chain(self.routes.poll_timeout())
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.settle(now);
    }

    /// This peer's id.
    pub fn me(&self) -> PeerId {
        self.me.peer
    }

    /// What is said to others, and what they say, is checked by.
    pub fn proofs_mut(&mut self) -> &mut P {
        &mut self.proofs
    }

    /// This peer has another certificate, and may connect from elsewhere.
    pub fn recertify(&mut self, group: NetworkGroup, certificate: BoundedBytes<MAX_CERTIFICATE>) {
        self.me.group = group;
        self.certificate = certificate;
    }

    /// Requests that were passed on so far.
    pub fn forwarded(&self) -> Forwarded {
        self.routes.forwarded()
    }

    /// Those that lookups go through.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the table has a place for this peer: it is then to be let in even where there are as many links as may be, in the place of one that is
    /// no contact.
    pub fn wants(&self, card: Card, now: Timestamp) -> bool {
        let contact = Contact {
            link: LinkId::new(u64::MAX),
            peer: card.peer,
            group: card.group,
            since: now,
            rtt: None,
            inbound: false,
            client: false,
        };
        self.table.has_place(contact, now)
    }

    /// Whether it keeps a record of somebody who provides what a key names.
    pub fn keeps(&self, key: Key, now: Timestamp) -> bool {
        !self.providers.answer(key, 0, now).is_empty()
    }

    /// Whether it looks things up and answers nothing.
    pub fn is_client(&self) -> bool {
        self.is_client
    }

    /// Has it answer what others ask from now on, or not any more: a page that is hidden, or pays for what it sends. A tab that has just come
    /// answers after a minute by itself.
    pub fn serve(&mut self, serves: bool, now: Timestamp) {
        self.serves = serves.then_some(now.max(self.ripe));
        self.settle(now);
    }

    /// Whether there is a service that can be asked.
    pub fn set_service(&mut self, is_there: bool) {
        self.has_service = is_there;
    }

    /// A link is ready, to a peer of this certificate, which was verified. It counts as a client until it says otherwise.
    pub fn handle_ready(
        &mut self,
        mut contact: Contact,
        certificate: BoundedBytes<MAX_CERTIFICATE>,
        now: Timestamp,
    ) {
        contact.client = true;
        self.meetings.remove(&contact.peer);
        self.links.insert(contact.link, Neighbour { contact, certificate });
        if !self.is_client {
            self.send(contact.link, OverlayMessage::Client(false));
        }
        self.offer(contact, now);
        self.settle(now);
    }

    /// A neighbour has another certificate, which was verified, and may connect from elsewhere.
    pub fn handle_certificate(
        &mut self,
        link: LinkId,
        group: NetworkGroup,
        certificate: BoundedBytes<MAX_CERTIFICATE>,
    ) {
        let Some(neighbour) = self.links.get_mut(&link) else { return };
        (neighbour.contact.group, neighbour.certificate) = (group, certificate);
        if let Some(contact) = self.table.get_mut(link) {
            contact.group = group;
        }
    }

    /// Takes a contact in, if there is a place for it.
    fn offer(&mut self, contact: Contact, now: Timestamp) {
        match self.table.offer(contact, now) {
            Offer::Kept => {}
            Offer::Replaced(other) => self.outputs.push_back(OverlayOutput::Spare(other)),
            Offer::Refused => return self.outputs.push_back(OverlayOutput::Spare(contact.link)),
        }
        self.table.resize();
        self.note_neighbour(contact, now);
        while let Some(other) = self.table.overcrowding(now) {
            self.table.remove(other);
            self.outputs.push_back(OverlayOutput::Spare(other));
        }
    }

    /// A link is gone.
    pub fn handle_closed(&mut self, link: LinkId, now: Timestamp) {
        self.links.remove(&link);
        self.handed.remove(&link);
        if self.table.siblings().contains(&link) {
            self.upkeep.note_siblings(now);
        }
        if self.table.remove(link).is_some() {
            self.table.resize();
        }
        self.routes.handle_closed(link, &self.table, now);
        self.settle(now);
    }

    /// A link's round trip is known better.
    pub fn handle_rtt(&mut self, link: LinkId, rtt: Duration) {
        let neighbour = self.links.get_mut(&link).map(|neighbour| &mut neighbour.contact);
        for contact in neighbour.into_iter().chain(self.table.get_mut(link)) {
            contact.rtt = Some(rtt);
        }
    }

    /// A neighbour said something.
    pub fn handle(&mut self, link: LinkId, message: OverlayMessage, now: Timestamp) {
        match message {
            OverlayMessage::Route(message) => self.routes.handle(link, message, &self.table, now),
            OverlayMessage::Keep(key, record) => {
                if self.is_replica(key) {
                    self.keep(key, record, now);
                }
            }
            OverlayMessage::Client(client) => self.note_client(link, client, now),
        }
        self.settle(now);
    }

    /// A neighbour begins, or stops, to answer what others ask.
    fn note_client(&mut self, link: LinkId, client: bool, now: Timestamp) {
        let neighbour = self.links.get_mut(&link).map(|neighbour| &mut neighbour.contact);
        let Some(contact) = neighbour.filter(|contact| contact.client != client) else { return };
        contact.client = client;
        let contact = *contact;
        let was_sibling = self.table.siblings().contains(&link);
        match self.table.get_mut(link) {
            Some(known) => known.client = client,
            None => return self.offer(contact, now),
        }
        if was_sibling {
            self.upkeep.note_siblings(now);
        }
        self.note_neighbour(contact, now);
    }

    /// A contact is there: it may know siblings, and is to keep things. Who called has looked around here itself.
    fn note_neighbour(&mut self, contact: Contact, now: Timestamp) {
        if !contact.inbound && self.table.siblings().contains(&contact.link) {
            self.upkeep.note_siblings(now);
        }
        self.hand_over(contact, now);
    }

    /// Whether there is anybody who answers.
    pub fn knows_somebody(&self) -> bool {
        self.table.contacts().iter().any(|contact| !contact.client)
    }

    /// Everything that follows from an input.
    fn settle(&mut self, now: Timestamp) {
        self.routes.handle_timeout(&self.table, now);
        self.turn_server(now);
        self.say_again(now);
        self.look_around(now);
        self.meet_next(now);
        loop {
            self.start_copies(now);
            if !self.pump(now) {
                break;
            }
        }
        self.finish(now);
    }

    /// Stops or begins to answer others, and tells neighbours.
    fn turn_server(&mut self, now: Timestamp) {
        let client = self.serves.is_none_or(|at| now < at);
        if client != self.is_client {
            self.is_client = client;
            self.since = now;
            let links: Vec<LinkId> = self.links.keys().copied().collect();
            links.into_iter().for_each(|link| self.send(link, OverlayMessage::Client(client)));
        }
    }

    /// Carries out what the routes want; whether that was anything that other things may follow from.
    fn pump(&mut self, now: Timestamp) -> bool {
        let mut stirred = false;
        while let Some(output) = self.routes.poll_output() {
            match output {
                RouteOutput::Send(link, message) => self.send(link, OverlayMessage::Route(message)),
                RouteOutput::Silent(link) => self.outputs.push_back(OverlayOutput::Silent(link)),
                RouteOutput::Asked { route, from, key, body } => self.asked((route, from), key, &body, now),
                RouteOutput::Stuck { route, key, body } => self.stuck(route, key, &body, now),
                RouteOutput::Ended(request, answer) => {
                    stirred = true;
                    let (by, body) = answer.unzip();
                    let answer = body.and_then(|body| decode(&body));
                    self.answered(request, by, answer, now);
                }
            }
        }
        stirred
    }

    fn send(&mut self, link: LinkId, message: OverlayMessage) {
        self.outputs.push_back(OverlayOutput::Send(link, message));
    }
}

#[cfg(test)]
mod tests;
