//! A mesh that lives: peers come, meet each other, provide something, look things up and go.
//!
//! A peer here is an [`Overlay`] and a place. What a node and a browser do about it is reduced to what takes time or fails: an introduction that
//! arrived becomes a link after a while, or never.

mod measure;
mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    id::{LinkId, PeerId},
    kad::{Card, Contact, Key, Outcome, Overlay, OverlayMessage, OverlayOutput, RouteMessage, Setup, Width},
    time::Timestamp,
};

use self::records::{INTRODUCTION, RECORD, Readable, card, certificate, frame_len, hash, padded};
use super::{space::Place, times::Times};
use crate::{queue::Queue, sim::fraction};

/// Most links of a tab.
const MOST_LINKS: usize = 60;
/// Peers that the service names to a newcomer, or to one who has lost everybody.
const FIRST_LINKS: usize = 3;
/// One who has lost everybody asks the service again after so long.
const ALONE: Duration = Duration::from_secs(2);
/// From an answer to an introduction until the link is ready: this and two round trips more.
const CONNECTING: Duration = Duration::from_millis(300);
/// Share of the links that come to nothing.
const FAILING: f64 = 0.1;
/// Share of those who go that say so. The others are noticed by who pings them.
const SAYING_BYE: f64 = 0.7;
/// A peer that says nothing is taken for gone after so long.
const NOTICED: Duration = Duration::from_secs(15);
/// A link that neither end has a use for is closed after so long.
const SPARE: Duration = Duration::from_secs(30);
/// Time that a peer has to have it known what it provides.
const SETTLED: Duration = Duration::from_secs(10);
/// Scale of the sessions: Weibull with shape 0.5, the median of which is `ln²2` times that.
const SCALE: f64 = 1.0 / (std::f64::consts::LN_2 * std::f64::consts::LN_2);

/// What may happen to all at once.
#[derive(Clone, Copy, Debug)]
pub enum Disaster {
    /// This share of the peers is gone, without a word, and nobody comes in their place.
    Dies(f64),
    /// Two halves do not reach each other for so long; the service reaches both.
    Splits(Duration),
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Peers that are there on average.
    pub peers: usize,
    /// How long they stay, the median; `None`: for ever.
    pub session: Option<Duration>,
    /// Share of the peers that take part in everything but what others ask: they pass nothing on and answer nothing, but for introductions to
    /// themselves.
    pub silent: f64,
    /// How long it goes on before anything is measured.
    pub warm_up: Duration,
    /// What happens then.
    pub disaster: Option<Disaster>,
    /// How long it is measured.
    pub measured: Duration,
    /// Lookups a second of all peers together, of what a random peer provides.
    pub lookups: f64,
    /// What chance comes from.
    pub seed: u64,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            peers: 200,
            session: Some(Duration::from_secs(300)),
            silent: 0.0,
            warm_up: Duration::from_secs(300),
            disaster: None,
            measured: Duration::from_secs(120),
            lookups: 10.0,
            seed: 1,
        }
    }
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lived {
    /// Its lookups of what a peer provided all along.
    pub lookups: Times,
    /// How long it took from when a record was signed until somebody kept it, the shortest first.
    pub kept: Vec<Duration>,
    /// Of the lookups that began in each second those that found what they looked for, and those that did not.
    pub seconds: Vec<(usize, usize)>,
    /// Of the records that were there to be kept, looked at each minute, those that nobody near their key had; and all.
    pub lost: (usize, usize),
    /// Parts that the mesh is in at the end.
    pub parts: usize,
    /// Messages between peers.
    pub messages: u64,
    /// Their bytes, frames and all.
    pub bytes: u64,
    /// Most messages that a peer sent in a second, on average over all the time that it was there.
    pub busiest: f64,
    /// Seconds of all peers together.
    pub peer_seconds: u64,
    /// Links that were made through the mesh, and introductions that led to none.
    pub met: (usize, usize),
    /// Links that were made through the service.
    pub served: usize,
    /// Of all peers' nearest eight at the end those who are siblings, and all of them.
    pub siblings: (usize, usize),
    /// Contacts at the end, of all peers together.
    pub contacts: usize,
    /// Peers at the end.
    pub peers: usize,
    /// Hash over every message: when, from whom, to whom.
    pub trace: [u8; 32],
}

impl Lived {
    /// Messages a peer sends in a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.peer_seconds.max(1) as f64
    }

    /// Bytes a peer sends in a second.
    pub fn byte_rate(&self) -> f64 {
        self.bytes as f64 / self.peer_seconds.max(1) as f64
    }
}

struct Peer {
    overlay: Overlay<Readable>,
    place: Place,
    links: BTreeSet<u32>,
    came: Timestamp,
    /// Messages that it sent since it is looked at.
    sent: u64,
    /// When its record was signed, until somebody keeps it.
    signed: Option<Timestamp>,
    /// When its timer goes off.
    due: Option<Timestamp>,
}

enum Event {
    Come,
    Go(u32),
    Message { from: u32, to: u32, message: OverlayMessage },
    Timer(u32),
    Connect { from: u32, to: u32, by_mesh: bool },
    Notice { who: u32, gone: u32 },
    Alone(u32),
    Spare(u32, u32),
    Look,
}

/// A lookup that is under way.
struct Looking {
    began: Timestamp,
    wanted: PeerId,
}

struct World {
    life: Life,
    queue: Queue<Event>,
    rng: ChaCha8Rng,
    peers: BTreeMap<u32, Peer>,
    /// Numbers of those who are there, for one to be chosen.
    there: Vec<u32>,
    numbers: BTreeMap<PeerId, u32>,
    next: u32,
    looking: BTreeMap<(u32, u64), Looking>,
    /// Until when halves do not reach each other.
    split: Timestamp,
    lived: Lived,
    trace: blake3::Hasher,
}

impl Life {
    /// Runs it.
    pub fn run(&self) -> Lived {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut world = World {
            life: *self,
            queue: Queue::new(),
            rng: ChaCha8Rng::from_seed(seed),
            peers: BTreeMap::new(),
            there: Vec::new(),
            numbers: BTreeMap::new(),
            next: 0,
            looking: BTreeMap::new(),
            split: Timestamp::default(),
            lived: Lived::default(),
            trace: blake3::Hasher::new(),
        };
        world.begin();
        let start = Timestamp::default() + self.warm_up;
        while let Some(event) = world.queue.pop(start) {
            world.happen(event);
        }
        (world.lived.messages, world.lived.bytes, world.lived.met, world.lived.served) = (0, 0, (0, 0), 0);
        world.peers.values_mut().for_each(|peer| peer.sent = 0);
        world.strike();
        world.queue.push(start, Event::Look);
        for second in 1..=self.measured.as_secs() {
            world.lived.seconds.push((0, 0));
            while let Some(event) = world.queue.pop(start + Duration::from_secs(second)) {
                world.happen(event);
            }
            world.lived.peer_seconds += world.peers.len() as u64;
            if second % 60 == 0 {
                world.look_for_records();
            }
        }
        world.end()
    }
}

impl World {
    /// Peers come over the first minute; those who are there longest stay longest, as in a swarm that has been there for long.
    fn begin(&mut self) {
        for number in 0..self.life.peers {
            let at = Duration::from_secs(60).mul_f64(number as f64 / self.life.peers as f64);
            self.queue.push(Timestamp::default() + at, Event::Come);
        }
    }

    /// What happens to all at once.
    fn strike(&mut self) {
        let now = self.queue.now();
        match self.life.disaster {
            None => {}
            Some(Disaster::Dies(share)) => {
                for number in self.there.clone() {
                    if fraction(&mut self.rng) < share {
                        self.vanish(number, false);
                    }
                }
            }
            Some(Disaster::Splits(time)) => {
                self.split = now + time;
                let pairs: Vec<(u32, u32)> = self
                    .peers
                    .iter()
                    .flat_map(|(who, peer)| peer.links.iter().map(|other| (*who, *other)))
                    .filter(|(who, other)| who % 2 != other % 2)
                    .collect();
                for (who, gone) in pairs {
                    let noticed = now + NOTICED.mul_f64(0.5 + fraction(&mut self.rng));
                    self.queue.push(noticed, Event::Notice { who, gone });
                }
            }
        }
    }

    /// Whether two peers reach each other now.
    fn reach(&self, a: u32, b: u32) -> bool {
        a % 2 == b % 2 || self.split <= self.queue.now()
    }

    fn happen(&mut self, event: Event) {
        let now = self.queue.now();
        match event {
            Event::Come => self.come(),
            Event::Go(number) => self.go(number),
            Event::Message { from, to, message } => {
                let drops = self.is_silent(to) && self.drops(to, &message);
                let there = self.peers.get_mut(&to).filter(|peer| peer.links.contains(&from) && !drops);
                if let Some(peer) = there {
                    peer.overlay.handle(link(from), message, now);
                    self.drain(to);
                }
            }
            Event::Timer(number) => {
                // One that was armed before an earlier one has nothing to say.
                if let Some(peer) = self.peers.get_mut(&number).filter(|peer| peer.due == Some(now)) {
                    peer.due = None;
                    peer.overlay.handle_timeout(now);
                    self.drain(number);
                }
            }
            Event::Connect { from, to, by_mesh } => self.connect(from, to, by_mesh),
            Event::Notice { who, gone } => self.lose(who, gone),
            Event::Alone(number) => self.ask_service(number),
            Event::Spare(a, b) => self.close_spare(a, b),
            Event::Look => self.look(),
        }
    }

    fn is_silent(&self, number: u32) -> bool {
        let chance =
            u32::from_le_bytes(*hash(self.life.seed, "silent", number).first_chunk().expect("32 bytes"));
        f64::from(chance) < self.life.silent * f64::from(u32::MAX)
    }

    /// Whether one who is silent does nothing with a message: of all that is asked it hears only who asks for a link to itself.
    fn drops(&self, to: u32, message: &OverlayMessage) -> bool {
        let me = card(self.life.seed, to).peer;
        match message {
            OverlayMessage::Route(RouteMessage::Forward { body, .. }) => {
                body.get(1..33).is_none_or(|peer| peer != me.as_bytes())
            }
            OverlayMessage::Keep(..) => true,
            _ => false,
        }
    }

    fn come(&mut self) {
        let now = self.queue.now();
        let number = self.next;
        self.next += 1;
        let me = card(self.life.seed, number);
        let setup = Setup {
            me,
            certificate: certificate(number),
            most_links: MOST_LINKS,
            width: Width::TAB,
            exempt: None,
            seed: hash(self.life.seed, "random", number),
        };
        let mut overlay = Overlay::new(&setup, Readable(self.life.seed), now);
        overlay.provide(Key::from_bytes(hash(self.life.seed, "key", number)), now);
        let place = Place::random(&mut self.rng);
        self.there.push(number);
        self.peers.insert(
            number,
            Peer { overlay, place, links: BTreeSet::new(), came: now, sent: 0, signed: None, due: None },
        );
        self.numbers.insert(me.peer, number);
        if let Some(median) = self.life.session {
            let stays = median.mul_f64(SCALE * (-(1.0 - fraction(&mut self.rng)).ln()).powi(2));
            self.queue.push(now + stays, Event::Go(number));
        }
        self.ask_service(number);
        self.drain(number);
    }

    /// Goes, and another one comes in its place.
    fn go(&mut self, number: u32) {
        let says = fraction(&mut self.rng) < SAYING_BYE;
        if self.vanish(number, says) {
            self.queue.push(self.queue.now(), Event::Come);
        }
    }

    /// Goes, and says so or not; `false` if it had gone before.
    fn vanish(&mut self, number: u32, says: bool) -> bool {
        let Some(peer) = self.peers.remove(&number) else { return false };
        self.there.retain(|there| *there != number);
        let now = self.queue.now();
        for who in peer.links {
            let noticed =
                if says { Duration::from_millis(50) } else { NOTICED.mul_f64(0.5 + fraction(&mut self.rng)) };
            self.queue.push(now + noticed, Event::Notice { who, gone: number });
        }
        self.looking.retain(|(asker, _), _| *asker != number);
        true
    }

    fn lose(&mut self, who: u32, gone: u32) {
        let now = self.queue.now();
        let Some(peer) = self.peers.get_mut(&who) else { return };
        if !peer.links.remove(&gone) {
            return;
        }
        peer.overlay.handle_closed(link(gone), now);
        if peer.links.is_empty() {
            self.queue.push(now + ALONE, Event::Alone(who));
        }
        self.drain(who);
    }

    /// The service introduces somebody to peers by chance.
    fn ask_service(&mut self, number: u32) {
        let Some(peer) = self.peers.get(&number) else { return };
        if peer.links.len() >= FIRST_LINKS {
            return;
        }
        let now = self.queue.now();
        for _ in 0..FIRST_LINKS {
            let other = self.any();
            self.queue.push(now + CONNECTING, Event::Connect { from: number, to: other, by_mesh: false });
        }
        self.queue.push(now + ALONE, Event::Alone(number));
    }

    fn connect(&mut self, from: u32, to: u32, by_mesh: bool) {
        let now = self.queue.now();
        let Some(peer) = self.peers.get(&from).filter(|_| from != to) else { return };
        if !self.peers.contains_key(&to) {
            return self.not_met(from, to);
        }
        if peer.links.contains(&to) {
            return;
        }
        if fraction(&mut self.rng) < FAILING || !self.reach(from, to) {
            self.lived.met.1 += usize::from(by_mesh);
            return self.not_met(from, to);
        }
        self.lived.met.0 += usize::from(by_mesh);
        self.lived.served += usize::from(!by_mesh);
        let rtt = self.peers[&from].place.rtt(self.peers[&to].place);
        for (me, other, inbound) in [(from, to, false), (to, from, true)] {
            let Card { peer, group } = card(self.life.seed, other);
            let client = self.peers[&other].overlay.is_client();
            let contact =
                Contact { link: link(other), peer, group, since: now, rtt: Some(rtt), inbound, client };
            let mine = self.peers.get_mut(&me).expect("it is there");
            mine.links.insert(other);
            mine.overlay.handle_ready(contact, certificate(other), now);
        }
        for me in [from, to] {
            let mine = &self.peers[&me];
            let is_contact =
                |of: &&u32| mine.overlay.table().contacts().iter().any(|contact| contact.link == link(**of));
            let spare = mine.links.iter().find(|of| !is_contact(of)).copied();
            if let Some(other) = spare.filter(|_| mine.links.len() > MOST_LINKS) {
                self.lose(me, other);
                self.lose(other, me);
            }
        }
        self.drain(from);
        self.drain(to);
    }

    fn not_met(&mut self, who: u32, by: u32) {
        let now = self.queue.now();
        let peer = self.peers.get_mut(&who).expect("it is there");
        peer.overlay.handle_not_met(card(self.life.seed, by).peer, now);
        self.drain(who);
    }

    /// Closes a link that neither end has in its table.
    fn close_spare(&mut self, a: u32, b: u32) {
        let has = |a: &u32, b: &u32| {
            let peer = self.peers.get(a)?;
            let wanted = peer.overlay.table().contacts().iter().any(|contact| contact.link == link(*b));
            Some(wanted || peer.links.len() <= FIRST_LINKS)
        };
        if has(&a, &b) == Some(false) && has(&b, &a) == Some(false) {
            self.lose(a, b);
            self.lose(b, a);
        }
    }

    /// Somebody who is there.
    fn any(&mut self) -> u32 {
        self.there[self.rng.next_u32() as usize % self.there.len()]
    }

    /// A random peer looks up what another one provides.
    fn look(&mut self) {
        let now = self.queue.now();
        let pause = Duration::from_secs_f64(1.0 / self.life.lookups);
        self.queue.push(now + pause, Event::Look);
        let (asker, provider) = (self.any(), self.any());
        if asker == provider
            || self.is_silent(asker)
            || now < self.peers[&provider].came + SETTLED
            || now < self.peers[&asker].came + SETTLED
        {
            return;
        }
        let key = Key::from_bytes(hash(self.life.seed, "key", provider));
        let peer = self.peers.get_mut(&asker).expect("it is there");
        let id = peer.overlay.find(key, now);
        let looking = Looking { began: now, wanted: card(self.life.seed, provider).peer };
        self.looking.insert((asker, id), looking);
        self.drain(asker);
    }

    fn drain(&mut self, me: u32) {
        let now = self.queue.now();
        while let Some(output) = self.peers.get_mut(&me).and_then(|peer| peer.overlay.poll_output()) {
            match output {
                OverlayOutput::Send(to, message) => self.send(me, to.value() as u32, message),
                OverlayOutput::Meet(card, _) => {
                    let peer = self.peers.get_mut(&me).expect("it is there");
                    peer.overlay.introduce(card.peer, padded(&me.to_le_bytes(), INTRODUCTION), now);
                }
                OverlayOutput::Introduction(number, body) => {
                    let peer = self.peers.get_mut(&me).expect("it is there");
                    let by = u32::from_le_bytes(*body.first_chunk().expect("it begins with a number"));
                    let lets_in =
                        peer.links.len() < MOST_LINKS || peer.overlay.wants(card(self.life.seed, by), now);
                    // It says so if it does not, and is not asked by others.
                    let answer = if lets_in { body } else { Vec::new() };
                    peer.overlay.answer_introduction(number, Some(answer), now);
                }
                OverlayOutput::Sign(key) => {
                    let (number, at) = (me.to_le_bytes(), now.as_micros().to_le_bytes());
                    let record = padded(&[&key.as_bytes()[..], &number, &at].concat(), RECORD);
                    let peer = self.peers.get_mut(&me).expect("it is there");
                    peer.signed = peer.signed.or(Some(now));
                    assert!(peer.overlay.handle_signed(key, record, now), "it is short");
                }
                OverlayOutput::Introduced(peer, answer) => {
                    let to = self.numbers[&peer];
                    if answer.is_some() {
                        let mine = self.peers.get_mut(&me).expect("it is there");
                        mine.overlay.judge_introduction(peer, true, now);
                    }
                    let there =
                        self.peers.get(&to).filter(|_| answer.is_some_and(|answer| !answer.is_empty()));
                    match there {
                        Some(other) => {
                            let takes = CONNECTING + 2 * self.peers[&me].place.rtt(other.place);
                            self.queue.push(now + takes, Event::Connect { from: me, to, by_mesh: true });
                        }
                        None => {
                            self.lived.met.1 += 1;
                            self.not_met(me, to);
                        }
                    }
                }
                OverlayOutput::Kept(_) => {
                    let signed = self.peers.get_mut(&me).and_then(|peer| peer.signed.take());
                    let measured = Timestamp::default() + self.life.warm_up;
                    let took = signed.filter(|at| *at >= measured).map(|at| now.saturating_since(at));
                    self.lived.kept.extend(took);
                }
                OverlayOutput::Stranger => {
                    let to = self.any();
                    self.queue.push(now + CONNECTING, Event::Connect { from: me, to, by_mesh: false });
                }
                OverlayOutput::Spare(of) => {
                    self.queue.push(now + SPARE, Event::Spare(me, of.value() as u32));
                }
                OverlayOutput::Found(id, outcome, providers) => {
                    let Some(looking) = self.looking.remove(&(me, id)) else { continue };
                    let right = outcome == Outcome::Found
                        && providers.iter().any(|found| found.peer == looking.wanted);
                    let began = looking.began.saturating_since(Timestamp::default() + self.life.warm_up);
                    let second = &mut self.lived.seconds[began.as_secs() as usize];
                    if right {
                        second.0 += 1;
                        self.lived.lookups.found.push(now.saturating_since(looking.began));
                    } else if self.peers.contains_key(&self.numbers[&looking.wanted]) {
                        second.1 += 1;
                        self.lived.lookups.failed += 1;
                    }
                }
                OverlayOutput::Silent(_) | OverlayOutput::AskService(..) => {}
            }
        }
        let Some(peer) = self.peers.get_mut(&me) else { return };
        if let Some(due) = peer.overlay.poll_timeout().map(|due| due.max(now))
            && peer.due.is_none_or(|armed| due < armed)
        {
            peer.due = Some(due);
            self.queue.push(due, Event::Timer(me));
        }
    }

    fn send(&mut self, from: u32, to: u32, message: OverlayMessage) {
        self.lived.messages += 1;
        self.lived.bytes += frame_len(&message) as u64;
        self.peers.get_mut(&from).into_iter().for_each(|peer| peer.sent += 1);
        // Who is gone, or beyond reach, does not hear it.
        if !self.reach(from, to) {
            return;
        }
        let Some((mine, other)) = self.peers.get(&from).zip(self.peers.get(&to)) else { return };
        let at = self.queue.now() + mine.place.delay(other.place, &mut self.rng);
        for number in [at.as_micros(), u64::from(from), u64::from(to)] {
            self.trace.update(&number.to_le_bytes());
        }
        self.queue.push(at, Event::Message { from, to, message });
    }
}

fn link(to: u32) -> LinkId {
    LinkId::new(u64::from(to))
}

#[cfg(test)]
mod tests;
