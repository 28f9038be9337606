mod introductions;

use std::collections::BTreeMap;

use super::*;
use crate::kad::{
    EXPIRY, MAX_RECORD, REFRESH, RouteId,
    asks::{Answer, Ask, decode, encode},
};

const START: Timestamp = Timestamp::from_millis(1_000_000);
/// How long a message is under way, and how long it takes to connect once both know of each other.
const LATENCY: Duration = Duration::from_millis(30);
const CONNECTING: Duration = Duration::from_millis(400);
const SETTLED: Duration = Duration::from_secs(300);

/// A record is the key, the peer's number and when it was signed; one that is otherwise is false.
#[derive(Debug)]
struct Readable;

impl Proofs for Readable {
    fn peer(&self, certificate: &[u8], _: Timestamp) -> Option<Card> {
        Some(card(usize::from(u16::from_le_bytes(certificate.try_into().ok()?))))
    }

    fn provider(&self, key: Key, record: &[u8], now: Timestamp) -> Option<(Card, Duration)> {
        let (of, rest) = record.split_first_chunk::<32>()?;
        let (number, at) = rest.split_first_chunk::<2>()?;
        let at = Timestamp::from_micros(u64::from_le_bytes(at.try_into().ok()?));
        let holds = (at + EXPIRY).saturating_since(now);
        let is_true = *of == *key.as_bytes() && !holds.is_zero();
        is_true.then(|| (card(usize::from(u16::from_le_bytes(*number))), holds))
    }
}

fn record(key: [u8; 32], number: usize, at: Timestamp) -> Vec<u8> {
    [&key[..], &(number as u16).to_le_bytes(), &at.as_micros().to_le_bytes()].concat()
}

fn card(number: usize) -> Card {
    let hash = *blake3::hash(&(number as u64).to_le_bytes()).as_bytes();
    Card { peer: PeerId::from_bytes(hash), group: NetworkGroup::from_bytes(*hash.first_chunk().unwrap()) }
}

fn certificate(number: usize) -> BoundedBytes<MAX_CERTIFICATE> {
    (number as u16).to_le_bytes().to_vec().try_into().unwrap()
}

fn key(number: u8) -> [u8; 32] {
    *blake3::hash(&[number]).as_bytes()
}

enum Happening {
    Message(usize, usize, OverlayMessage),
    Ready(usize, usize),
}

/// Peers, the links between them, and what is under way. A link is called at each end by the number of the peer at the other one.
struct Mesh {
    now: Timestamp,
    peers: Vec<Overlay<Readable>>,
    alive: Vec<bool>,
    happening: BTreeMap<(Timestamp, usize), Happening>,
    happened: usize,
    /// Who has a link to whom.
    links: Vec<Vec<usize>>,
    found: BTreeMap<u64, (Outcome, Vec<Provider>)>,
    introduced: Vec<(usize, PeerId, Option<Vec<u8>>)>,
    introductions: Vec<(usize, Vec<u8>)>,
    /// For whom an introduction was passed on, once a link that it took.
    passed: Vec<PeerId>,
    asked_service: Vec<(usize, u64)>,
    kept: Vec<(usize, Key)>,
    /// Whether introductions are said yes to.
    agree: bool,
}

impl Mesh {
    /// Peers that come one by one and have a link to two others each, when all have had time to look around.
    fn settled(count: usize) -> Self {
        let mut mesh = Self {
            now: START,
            peers: Vec::new(),
            alive: Vec::new(),
            happening: BTreeMap::new(),
            happened: 0,
            links: Vec::new(),
            found: BTreeMap::new(),
            introduced: Vec::new(),
            introductions: Vec::new(),
            passed: Vec::new(),
            asked_service: Vec::new(),
            kept: Vec::new(),
            agree: true,
        };
        for number in 0..count {
            mesh.join();
            for other in [number / 2, number / 3] {
                if other < number {
                    mesh.connect(number, other);
                }
            }
            mesh.run(Duration::from_millis(200));
        }
        mesh.run(SETTLED);
        mesh
    }

    fn join(&mut self) -> usize {
        let number = self.peers.len();
        let setup = Setup {
            me: card(number),
            certificate: certificate(number),
            most_links: 60,
            width: Width::TAB,
            exempt: None,
            seed: *blake3::hash(&[&b"seed"[..], &number.to_le_bytes()].concat()).as_bytes(),
        };
        self.peers.push(Overlay::new(&setup, Readable, self.now));
        self.alive.push(true);
        self.links.push(Vec::new());
        number
    }

    fn connect(&mut self, from: usize, to: usize) {
        if from == to || self.links[from].contains(&to) || !self.alive[from] || !self.alive[to] {
            return;
        }
        for (me, other, inbound) in [(from, to, false), (to, from, true)] {
            self.links[me].push(other);
            let contact = Contact {
                link: LinkId::new(other as u64),
                peer: card(other).peer,
                group: card(other).group,
                since: self.now,
                rtt: Some(2 * LATENCY),
                inbound,
                client: self.peers[other].is_client(),
            };
            self.peers[me].handle_ready(contact, certificate(other), self.now);
        }
        self.drain(from);
        self.drain(to);
    }

    fn close(&mut self, a: usize, b: usize) {
        for (me, other) in [(a, b), (b, a)] {
            self.links[me].retain(|link| *link != other);
            self.peers[me].handle_closed(LinkId::new(other as u64), self.now);
        }
        self.drain(a);
        self.drain(b);
    }

    /// A peer is gone; the others notice.
    fn kill(&mut self, number: usize) {
        for other in self.links[number].clone() {
            self.close(number, other);
        }
        self.alive[number] = false;
    }

    fn number_of(&self, peer: PeerId) -> usize {
        (0..self.peers.len()).find(|number| card(*number).peer == peer).unwrap()
    }

    fn happens(&mut self, after: Duration, what: Happening) {
        self.happened += 1;
        self.happening.insert((self.now + after, self.happened), what);
    }

    fn drain(&mut self, me: usize) {
        while let Some(output) = self.peers[me].poll_output() {
            match output {
                OverlayOutput::Send(link, message) => {
                    if let OverlayMessage::Route(RouteMessage::Forward { body, .. }) = &message
                        && let Some(Ask::Introduce(peer, _)) = decode(body)
                    {
                        self.passed.push(peer);
                    }
                    self.happens(LATENCY, Happening::Message(me, link.value() as usize, message));
                }
                OverlayOutput::Meet(card, _) => {
                    let offer = (me as u16).to_le_bytes().to_vec();
                    self.peers[me].introduce(card.peer, offer, self.now);
                }
                OverlayOutput::Introduction(number, body) => {
                    let answer = self.agree.then(|| body.clone());
                    self.introductions.push((me, body));
                    self.peers[me].answer_introduction(number, answer, self.now);
                }
                OverlayOutput::Introduced(peer, answer) => {
                    let other = self.number_of(peer);
                    match &answer {
                        Some(_) => {
                            self.peers[me].judge_introduction(peer, true, self.now);
                            self.happens(CONNECTING, Happening::Ready(me, other));
                        }
                        None => self.peers[me].handle_not_met(peer, self.now),
                    }
                    self.introduced.push((me, peer, answer));
                }
                OverlayOutput::Found(id, outcome, providers) => {
                    assert!(self.found.insert(id, (outcome, providers)).is_none(), "once");
                }
                OverlayOutput::Sign(key) => {
                    let record = record(*key.as_bytes(), me, self.now);
                    assert!(self.peers[me].handle_signed(key, record, self.now));
                }
                OverlayOutput::AskService(lookup, _) => self.asked_service.push((me, lookup)),
                OverlayOutput::Kept(key) => self.kept.push((me, key)),
                OverlayOutput::Spare(_) | OverlayOutput::Silent(_) | OverlayOutput::Stranger => {}
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let alive = (0..self.peers.len()).filter(|peer| self.alive[*peer]);
            let timer = alive.filter_map(|peer| Some((self.peers[peer].poll_timeout()?, peer))).min();
            let next = self.happening.first_key_value().map(|((at, number), _)| (*at, *number));
            match (next, timer) {
                (Some((at, number)), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                    self.now = self.now.max(at);
                    match self.happening.remove(&(at, number)).unwrap() {
                        Happening::Message(from, to, message)
                            if self.alive[to] && self.links[to].contains(&from) =>
                        {
                            self.peers[to].handle(LinkId::new(from as u64), message, self.now);
                            self.drain(to);
                        }
                        Happening::Message(..) => {}
                        Happening::Ready(from, to) => self.connect(from, to),
                    }
                }
                (_, Some((due, peer))) if due <= end => {
                    self.now = self.now.max(due);
                    self.peers[peer].handle_timeout(self.now);
                    self.drain(peer);
                    let next = self.peers[peer].poll_timeout();
                    assert!(next.is_none_or(|next| next > self.now), "it would go round in circles");
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn find(&mut self, asker: usize, key: [u8; 32]) -> (Outcome, Vec<PeerId>) {
        let id = self.peers[asker].find(Key::from_bytes(key), self.now);
        self.drain(asker);
        self.run(Duration::from_secs(10));
        let (outcome, providers) = self.found.remove(&id).expect("each lookup ends");
        (outcome, providers.into_iter().map(|provider| provider.peer).collect())
    }

    fn provide(&mut self, number: usize, key: [u8; 32]) {
        self.peers[number].provide(Key::from_bytes(key), self.now);
        self.drain(number);
        self.run(Duration::from_secs(2));
    }

    /// The peers nearest to a key, the nearest first.
    fn nearest(&self, key: [u8; 32]) -> Vec<usize> {
        let mut peers: Vec<usize> = (0..self.peers.len()).filter(|peer| self.alive[*peer]).collect();
        peers.sort_by_key(|peer| Key::from(card(*peer).peer).distance(Key::from_bytes(key)));
        peers
    }

    fn keepers(&self, key: [u8; 32]) -> usize {
        let has =
            |peer: &Overlay<Readable>| !peer.providers.answer(Key::from_bytes(key), 0, self.now).is_empty();
        self.peers.iter().zip(&self.alive).filter(|(peer, alive)| **alive && has(peer)).count()
    }
}

#[test]
fn peers_that_know_two_others_come_to_know_their_siblings_through_the_mesh_alone() {
    let mesh = Mesh::settled(48);
    for (number, peer) in mesh.peers.iter().enumerate() {
        let nearest = mesh.nearest(*card(number).peer.as_bytes()).into_iter().skip(1).take(8);
        let siblings: Vec<usize> = peer.table.siblings().iter().map(|link| link.value() as usize).collect();
        assert_eq!(siblings, nearest.collect::<Vec<_>>(), "{number}");
    }
    assert!(mesh.asked_service.is_empty());
}

#[test]
fn what_one_peer_provides_any_other_finds_and_eight_keep() {
    let mut mesh = Mesh::settled(48);
    mesh.provide(5, key(1));
    assert_eq!(mesh.keepers(key(1)), REPLICAS);
    assert_eq!(mesh.kept, [(5, Key::from_bytes(key(1)))], "which it hears once");
    for asker in [0, 17, 40, 5] {
        assert_eq!(mesh.find(asker, key(1)), (Outcome::Found, vec![card(5).peer]), "{asker}");
    }
    assert_eq!(mesh.find(3, key(2)).0, Outcome::Absent);
    // It is renewed while it is provided, and gone some time after.
    mesh.run(2 * EXPIRY);
    assert_eq!(mesh.find(9, key(1)).0, Outcome::Found);
    mesh.peers[5].withdraw(Key::from_bytes(key(1)));
    mesh.run(EXPIRY);
    assert_eq!(mesh.find(9, key(1)).0, Outcome::Absent);
}

#[test]
fn what_is_kept_outlives_most_of_those_who_keep_it() {
    let mut mesh = Mesh::settled(48);
    mesh.provide(5, key(1));
    let keepers: Vec<usize> = mesh.nearest(key(1)).into_iter().filter(|peer| *peer != 5).take(6).collect();
    keepers.into_iter().for_each(|peer| mesh.kill(peer));
    let asker = mesh.nearest(key(9)).into_iter().find(|peer| *peer != 5).unwrap();
    assert_eq!(mesh.find(asker, key(1)).0, Outcome::Found);
    mesh.run(2 * REFRESH);
    assert!((REPLICAS..=REPLICAS + 4).contains(&mesh.keepers(key(1))), "others keep it now");
}

#[test]
fn a_newcomer_that_is_nearest_is_given_what_it_is_to_keep_once_it_answers() {
    let mut mesh = Mesh::settled(32);
    // A key right beside one who comes later.
    let beside = *card(32).peer.as_bytes();
    mesh.provide(5, beside);
    let number = mesh.join();
    mesh.connect(number, 0);
    mesh.run(CLIENT - Duration::from_secs(10));
    let has =
        |mesh: &Mesh| !mesh.peers[number].providers.answer(Key::from_bytes(beside), 0, mesh.now).is_empty();
    assert!(mesh.peers[number].is_client() && !has(&mesh));
    mesh.run(Duration::from_secs(15));
    assert!(!mesh.peers[number].is_client() && has(&mesh));
    // Who says it again and again is given nothing more.
    let giver = mesh.nearest(beside)[1];
    assert!(mesh.links[giver].contains(&number));
    for client in [true, false, true, false] {
        let of = LinkId::new(number as u64);
        mesh.peers[giver].handle(of, OverlayMessage::Client(client), mesh.now);
    }
    let said: Vec<_> = std::iter::from_fn(|| mesh.peers[giver].poll_output()).collect();
    assert!(!said.iter().any(|output| matches!(output, OverlayOutput::Send(_, OverlayMessage::Keep(..)))));
}

#[test]
fn who_was_away_is_given_again_what_it_is_to_keep() {
    let mut mesh = Mesh::settled(32);
    mesh.provide(5, key(1));
    let keeper = mesh.nearest(key(1)).into_iter().find(|peer| *peer != 5).unwrap();
    let has =
        |mesh: &Mesh| !mesh.peers[keeper].providers.answer(Key::from_bytes(key(1)), 0, mesh.now).is_empty();
    assert!(has(&mesh));
    mesh.peers[keeper].serve(false, mesh.now);
    mesh.drain(keeper);
    mesh.run(EXPIRY + REFRESH);
    assert!(!has(&mesh));
    mesh.peers[keeper].serve(true, mesh.now);
    mesh.drain(keeper);
    mesh.run(Duration::from_secs(5));
    assert!(has(&mesh));
}

#[test]
fn a_replica_that_wants_a_record_forgotten_cannot_have_it_so() {
    let mut mesh = Mesh::settled(32);
    mesh.provide(5, key(1));
    let own = |mesh: &Mesh| mesh.peers[5].provided[&Key::from_bytes(key(1))].clone();
    for said in [0, 1] {
        mesh.peers[5].note_kept(Key::from_bytes(key(1)), said, mesh.now);
        assert!(own(&mesh).share >= 0.01);
    }
    for again in [2, 4, 8] {
        mesh.peers[5].provided.get_mut(&Key::from_bytes(key(1))).unwrap().due = mesh.now + REFRESH;
        mesh.peers[5].note_kept(Key::from_bytes(key(1)), 0, mesh.now);
        assert_eq!(own(&mesh).due, mesh.now + Duration::from_secs(again), "nobody kept it");
    }
}

#[test]
fn a_record_that_does_not_hold_is_neither_kept_nor_believed() {
    let mut mesh = Mesh::settled(32);
    let wrong = record(key(2), 5, mesh.now);
    mesh.peers[5].provide(Key::from_bytes(key(1)), mesh.now);
    while mesh.peers[5].poll_output().is_some() {}
    assert!(mesh.peers[5].handle_signed(Key::from_bytes(key(1)), wrong.clone(), mesh.now));
    mesh.peers[5].withdraw(Key::from_bytes(key(1)));
    mesh.drain(5);
    mesh.run(Duration::from_secs(2));
    assert_eq!((mesh.keepers(key(1)), mesh.kept.len()), (0, 0));
    let nearest = mesh.nearest(key(1))[0];
    let of = mesh.links[nearest][0];
    let route = RouteId(1);
    let body = encode(&Ask::Provide(wrong.clone().try_into().unwrap()));
    let (at, patience) = (Key::from_bytes(key(1)), Duration::from_secs(1));
    let forward = RouteMessage::Forward { route, key: at, budget: 5, patience, body };
    mesh.peers[nearest].handle(LinkId::new(of as u64), OverlayMessage::Route(forward), mesh.now);
    let said: Vec<_> = std::iter::from_fn(|| mesh.peers[nearest].poll_output()).collect();
    assert!(!said.iter().any(|output| matches!(output, OverlayOutput::Send(_, OverlayMessage::Keep(..)))));
    let message = OverlayMessage::Keep(Key::from_bytes(key(1)), wrong.clone());
    mesh.peers[nearest].handle(LinkId::new(of as u64), message, mesh.now);
    assert_eq!(mesh.keepers(key(1)), 0);
    // What the service says is checked like anything else.
    mesh.peers[3].set_service(true);
    let lookup = mesh.peers[3].find(Key::from_bytes(key(1)), mesh.now);
    mesh.peers[3].handle_service_answer(lookup, Some(vec![wrong]), mesh.now);
    mesh.drain(3);
    mesh.run(Duration::from_secs(10));
    assert_eq!(mesh.found[&lookup].1, []);
    mesh.peers[5].provide(Key::from_bytes(key(1)), mesh.now);
    let long = vec![0; MAX_RECORD + 1];
    assert!(!mesh.peers[5].handle_signed(Key::from_bytes(key(1)), long, mesh.now));
}

#[test]
fn a_client_looks_things_up_and_answers_nothing() {
    let mut mesh = Mesh::settled(32);
    mesh.provide(5, key(1));
    let client = mesh.nearest(key(1)).into_iter().find(|peer| *peer != 5).unwrap();
    mesh.peers[client].serve(false, mesh.now);
    mesh.drain(client);
    mesh.run(Duration::from_secs(1));
    let of = mesh.links[client][0];
    let route = RouteId(1);
    let forward = RouteMessage::Forward {
        route,
        key: Key::from_bytes(key(1)),
        budget: 5,
        patience: Duration::from_secs(1),
        body: encode(&Ask::Providers),
    };
    mesh.peers[client].handle(LinkId::new(of as u64), OverlayMessage::Route(forward), mesh.now);
    let said: Vec<_> = std::iter::from_fn(|| mesh.peers[client].poll_output()).collect();
    assert!(said.contains(&OverlayOutput::Send(
        LinkId::new(of as u64),
        OverlayMessage::Route(RouteMessage::NoWay(route, 0))
    )));
    let asker = mesh.nearest(key(3)).into_iter().find(|peer| *peer != 5 && *peer != client).unwrap();
    assert_eq!(mesh.find(asker, key(1)).0, Outcome::Found, "others answer");
    assert_eq!(mesh.find(client, key(1)).0, Outcome::Found, "and are asked by it");
}

#[test]
fn a_peer_alone_asks_the_service_and_nobody_else() {
    let mut mesh = Mesh::settled(1);
    assert_eq!(mesh.find(0, key(1)), (Outcome::Unknown, vec![]));
    mesh.peers[0].set_service(true);
    let lookup = mesh.peers[0].find(Key::from_bytes(key(1)), mesh.now);
    mesh.drain(0);
    assert_eq!(mesh.asked_service, [(0, lookup)]);
    mesh.peers[0].handle_service_answer(lookup, Some(vec![record(key(1), 9, mesh.now)]), mesh.now);
    mesh.drain(0);
    assert_eq!(mesh.found[&lookup].0, Outcome::Found);
    assert_eq!(mesh.found[&lookup].1[0].peer, card(9).peer);
}

#[test]
fn what_is_no_request_is_not_passed_on() {
    let mut mesh = Mesh::settled(32);
    let of = mesh.links[3][0];
    let route = RouteId(1);
    let body = vec![0xff; 9];
    let (key, patience) = (Key::from_bytes(key(1)), Duration::from_secs(1));
    let forward = RouteMessage::Forward { route, key, budget: 5, patience, body };
    mesh.peers[3].handle(LinkId::new(of as u64), OverlayMessage::Route(forward), mesh.now);
    let said: Vec<_> = std::iter::from_fn(|| mesh.peers[3].poll_output()).collect();
    let no_way = OverlayMessage::Route(RouteMessage::NoWay(route, 0));
    assert_eq!(
        said.iter()
            .filter(|output| matches!(
                output,
                OverlayOutput::Send(_, OverlayMessage::Route(RouteMessage::Forward { .. }))
            ))
            .count(),
        0
    );
    assert!(said.contains(&OverlayOutput::Send(LinkId::new(of as u64), no_way)));
}
