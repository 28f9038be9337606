use std::collections::BTreeMap;

use super::*;
use crate::kad::{
    EXPIRY, MAX_RECORD, REFRESH, RouteId,
    asks::{Ask, decode, encode},
};

const START: Timestamp = Timestamp::from_millis(1_000_000);
/// How long a message is under way, and how long it takes to connect once both know of each other.
const LATENCY: Duration = Duration::from_millis(30);
const CONNECTING: Duration = Duration::from_millis(400);
const SETTLED: Duration = Duration::from_secs(300);

/// A record is the key and the peer's number; one that ends otherwise is false.
#[derive(Debug)]
struct Readable;

impl Proofs for Readable {
    fn provider(&self, key: Key, record: &[u8]) -> Option<(PeerId, NetworkGroup)> {
        let (of, number) = record.split_first_chunk::<32>()?;
        let number = usize::from(u16::from_le_bytes(number.try_into().ok()?));
        (Key::from_bytes(*of) == key).then(|| (card(number).peer, card(number).group))
    }
}

fn record(key: [u8; 32], number: usize) -> Vec<u8> {
    [&key[..], &(number as u16).to_le_bytes()].concat()
}

fn card(number: usize) -> Card {
    let hash = *blake3::hash(&(number as u64).to_le_bytes()).as_bytes();
    Card { peer: PeerId::from_bytes(hash), group: NetworkGroup::from_bytes(*hash.first_chunk().unwrap()) }
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
            self.peers[me].handle_ready(contact, self.now);
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
                OverlayOutput::Meet(card) => {
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
                        Some(_) => self.happens(CONNECTING, Happening::Ready(me, other)),
                        None => self.peers[me].handle_not_met(peer, self.now),
                    }
                    self.introduced.push((me, peer, answer));
                }
                OverlayOutput::Found(id, outcome, providers) => {
                    assert!(self.found.insert(id, (outcome, providers)).is_none(), "once");
                }
                OverlayOutput::AskService(lookup, _) => self.asked_service.push((me, lookup)),
                OverlayOutput::Spare(_) | OverlayOutput::Silent(_) => {}
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
        assert!(self.peers[number].provide(Key::from_bytes(key), record(key, number), self.now));
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
fn everybody_can_be_introduced_to_everybody() {
    let mut mesh = Mesh::settled(48);
    // Only the way is looked at: nobody connects.
    mesh.agree = false;
    mesh.introductions.clear();
    let mut strangers = Vec::new();
    for asker in [0, 9, 30, 47] {
        let known = mesh.links[asker].clone();
        let of_it = (0..48).filter(|other| *other != asker && !known.contains(other));
        strangers.extend(of_it.map(|other| (asker, other)));
    }
    assert!(strangers.len() > 40, "{}", strangers.len());
    for (asker, other) in &strangers {
        let body = vec![*asker as u8, *other as u8, 0xaa];
        mesh.peers[*asker].introduce(card(*other).peer, body, mesh.now);
        mesh.drain(*asker);
        mesh.run(Duration::from_secs(1));
    }
    let heard: Vec<(usize, usize)> = mesh
        .introductions
        .iter()
        .filter(|(to, body)| body.len() == 3 && usize::from(body[1]) == *to)
        .map(|(to, body)| (usize::from(body[0]), *to))
        .collect();
    assert_eq!(heard, strangers);
}

#[test]
fn what_one_peer_provides_any_other_finds_and_eight_keep() {
    let mut mesh = Mesh::settled(48);
    mesh.provide(5, key(1));
    assert_eq!(mesh.keepers(key(1)), REPLICAS);
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
fn an_introduction_is_heard_by_the_one_it_is_for_and_once() {
    let mut mesh = Mesh::settled(48);
    let stranger = (1..48).find(|other| !mesh.links[0].contains(other)).expect("nobody knows all");
    for (agree, answer) in [(true, Some(vec![7; 3])), (false, None)] {
        mesh.agree = agree;
        mesh.introductions.clear();
        mesh.introduced.clear();
        mesh.peers[0].introduce(card(stranger).peer, vec![7; 3], mesh.now);
        mesh.drain(0);
        mesh.run(Duration::from_secs(9));
        let of_it = |(to, body): &&(usize, Vec<u8>)| *to == stranger || *body == [7; 3];
        let heard: Vec<_> = mesh.introductions.iter().filter(of_it).cloned().collect();
        assert_eq!(heard, [(stranger, vec![7; 3])], "agrees: {agree}");
        let told: Vec<_> =
            mesh.introduced.iter().filter(|(me, peer, _)| *me == 0 && *peer == card(stranger).peer).collect();
        assert_eq!(told, [&(0, card(stranger).peer, answer)]);
    }
}

#[test]
fn who_is_gone_is_not_introduced_to_anybody_and_not_looked_for_everywhere() {
    for noticed in [true, false] {
        let mut mesh = Mesh::settled(48);
        let stranger = (1..48).find(|other| !mesh.links[0].contains(other)).expect("nobody knows all");
        if noticed {
            mesh.kill(stranger);
        } else {
            mesh.alive[stranger] = false;
        }
        mesh.introduced.clear();
        mesh.passed.clear();
        mesh.peers[0].introduce(card(stranger).peer, vec![1], mesh.now);
        mesh.drain(0);
        mesh.run(Duration::from_secs(9));
        assert!(mesh.introduced.contains(&(0, card(stranger).peer, None)));
        let links = mesh.passed.iter().filter(|peer| **peer == card(stranger).peer).count();
        assert!(links <= 24, "{links} links, noticed: {noticed}");
    }
}

#[test]
fn a_peer_that_those_around_it_do_not_know_is_met_by_way_of_who_told_of_it() {
    let mut mesh = Mesh::settled(48);
    mesh.agree = false;
    // It has come just now, and has a link to one that lives far away from it.
    let newcomer = mesh.join();
    let around = mesh.nearest(*card(newcomer).peer.as_bytes());
    let far = around[around.len() - 1];
    mesh.connect(newcomer, far);
    mesh.introductions.clear();
    let asker = *around.iter().find(|peer| **peer != newcomer && !mesh.links[far].contains(peer)).unwrap();
    let candidate = asking::Candidate { card: card(newcomer), by: card(far).peer };
    mesh.peers[asker].consider(candidate, mesh.now);
    mesh.peers[asker].meet_next(mesh.now);
    mesh.drain(asker);
    mesh.run(Duration::from_secs(2));
    assert!(mesh.introductions.contains(&(newcomer, (asker as u16).to_le_bytes().to_vec())));
}

#[test]
fn a_record_that_does_not_hold_is_neither_kept_nor_believed() {
    let mut mesh = Mesh::settled(32);
    let wrong = record(key(2), 5);
    assert!(mesh.peers[5].provide(Key::from_bytes(key(1)), wrong.clone(), mesh.now));
    mesh.drain(5);
    mesh.run(Duration::from_secs(2));
    assert_eq!(mesh.keepers(key(1)), 0);
    let nearest = mesh.nearest(key(1))[0];
    let of = mesh.links[nearest][0];
    let route = RouteId { request: 1, copy: 0 };
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
    assert!(!mesh.peers[5].provide(Key::from_bytes(key(1)), vec![0; MAX_RECORD + 1], mesh.now), "too long");
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
    let route = RouteId { request: 1, copy: 0 };
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
    mesh.peers[0].handle_service_answer(lookup, Some(vec![record(key(1), 9)]), mesh.now);
    mesh.drain(0);
    assert_eq!(mesh.found[&lookup].0, Outcome::Found);
    assert_eq!(mesh.found[&lookup].1[0].peer, card(9).peer);
}

#[test]
fn what_is_no_request_is_not_passed_on() {
    let mut mesh = Mesh::settled(32);
    let of = mesh.links[3][0];
    let route = RouteId { request: 1, copy: 0 };
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
