use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    id::{NetworkGroup, PeerId},
    kad::{Contact, Width},
};

const START: Timestamp = Timestamp::from_millis(60_000);
/// How long a message is under way.
const LATENCY: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Good,
    /// Says nothing at all.
    Silent,
    /// Says that it has a request, and does nothing with it.
    Liar,
}

/// Peers that have met all others, and what goes between them. A link is called at each end by the number of the peer at the other one.
struct Mesh {
    now: Timestamp,
    ids: Vec<PeerId>,
    kinds: Vec<Kind>,
    tables: Vec<Table>,
    routes: Vec<Routes>,
    /// Who answers.
    holders: BTreeSet<usize>,
    under_way: BTreeMap<(Timestamp, usize), (usize, usize, RouteMessage)>,
    sent: usize,
    /// Who passed what on to whom.
    forwards: Vec<(usize, RouteId, usize)>,
    ended: Vec<(u64, Option<Vec<u8>>, Timestamp)>,
    silent: Vec<(usize, usize)>,
}

fn id(number: usize) -> PeerId {
    PeerId::from_bytes(*blake3::hash(&(number as u64).to_le_bytes()).as_bytes())
}

fn link(to: usize) -> LinkId {
    LinkId::new(to as u64)
}

/// A copy of a request of its own.
fn route(number: u8) -> RouteId {
    RouteId(1000 + u64::from(number))
}

impl Mesh {
    fn of(kinds: Vec<Kind>) -> Self {
        let ids: Vec<PeerId> = (0..kinds.len()).map(id).collect();
        let contact = |(number, peer): (usize, &PeerId)| Contact {
            link: link(number),
            peer: *peer,
            group: NetworkGroup::from_bytes(*ids[number].as_bytes().first_chunk().unwrap()),
            since: START,
            rtt: Some(2 * LATENCY),
            inbound: false,
            client: false,
        };
        let table = |me: &PeerId| {
            let mut table = Table::new(*me, 60, Width { bucket: 4, siblings: 8 }, None);
            ids.iter().enumerate().map(contact).for_each(|contact| {
                table.offer(contact, START);
            });
            table
        };
        Self {
            now: START,
            tables: ids.iter().map(table).collect(),
            routes: vec![Routes::new(); kinds.len()],
            holders: BTreeSet::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            forwards: Vec::new(),
            ended: Vec::new(),
            silent: Vec::new(),
            ids,
            kinds,
        }
    }

    /// The peers nearest to a key, the nearest first.
    fn nearest(&self, key: Key) -> Vec<usize> {
        let mut peers: Vec<usize> = (0..self.ids.len()).collect();
        peers.sort_by_key(|peer| Key::from(self.ids[*peer]).distance(key));
        peers
    }

    /// A copy of a request.
    fn copy(&mut self, asker: usize, request: u64, route: RouteId, key: Key) {
        self.routes[asker].start((request, route), key, b"where".to_vec(), &self.tables[asker], self.now);
        self.drain(asker);
    }

    /// A request of one copy, which has its number.
    fn start(&mut self, asker: usize, route: RouteId, key: Key) {
        self.copy(asker, route.0, route, key);
    }

    fn drain(&mut self, peer: usize) {
        while let Some(output) = self.routes[peer].poll_output() {
            match output {
                RouteOutput::Send(to, message) => {
                    let to = to.value() as usize;
                    if let RouteMessage::Forward { route, .. } = message {
                        self.forwards.push((peer, route, to));
                    }
                    self.sent += 1;
                    self.under_way.insert((self.now + LATENCY, self.sent), (peer, to, message));
                }
                RouteOutput::Asked { route, body, .. } if self.holders.contains(&peer) => {
                    assert_eq!(body, b"where");
                    self.routes[peer].answer(route, b"here".to_vec());
                }
                RouteOutput::Asked { route, .. } => {
                    self.routes[peer].pass_on(route, &self.tables[peer], self.now);
                }
                RouteOutput::Stuck { route, .. } => self.routes[peer].refuse(route),
                RouteOutput::Ended(request, answer) => {
                    self.ended.push((request, answer.map(|(_, body)| body), self.now));
                }
                RouteOutput::Silent(link) => self.silent.push((peer, link.value() as usize)),
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, message: RouteMessage) {
        match (self.kinds[to], &message) {
            (Kind::Good, _) => self.routes[to].handle(link(from), message, &self.tables[to], self.now),
            (Kind::Liar, RouteMessage::Forward { route, .. }) => {
                self.sent += 1;
                self.under_way.insert((self.now + LATENCY, self.sent), (to, from, RouteMessage::Ack(*route)));
            }
            _ => {}
        }
        self.drain(to);
    }

    /// Lets everything happen that comes of what was started.
    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            let timer = (0..self.routes.len())
                .filter_map(|peer| Some((self.routes[peer].poll_timeout()?, peer)))
                .min();
            let message = self.under_way.first_key_value().map(|((at, number), _)| (*at, *number));
            match (message, timer) {
                (Some((at, number)), timer) if timer.is_none_or(|(due, _)| at <= due) => {
                    self.now = at;
                    let (from, to, message) = self.under_way.remove(&(at, number)).unwrap();
                    self.arrive(from, to, message);
                }
                (_, Some((due, peer))) => {
                    self.now = self.now.max(due);
                    self.routes[peer].handle_timeout(&self.tables[peer], self.now);
                    self.drain(peer);
                }
                _ => return,
            }
        }
        panic!("it never ends");
    }

    fn answer(&self, route: RouteId) -> Option<&[u8]> {
        let of_it: Vec<_> = self.ended.iter().filter(|(ended, ..)| *ended == route.0).collect();
        assert_eq!(of_it.len(), 1, "each ends once: {of_it:?}");
        of_it[0].1.as_deref()
    }
}

/// 60 peers of whom those nearest to a key hold what is asked for, and somebody far away who asks.
fn mesh(unkind: &[(usize, Kind)]) -> (Mesh, Key, usize) {
    let mut mesh = Mesh::of(vec![Kind::Good; 60]);
    let key = Key::from_bytes([0x5a; 32]);
    let nearest = mesh.nearest(key);
    mesh.holders = nearest[..4].iter().copied().collect();
    for (rank, kind) in unkind {
        mesh.kinds[nearest[*rank]] = *kind;
    }
    let asker = *nearest.last().unwrap();
    (mesh, key, asker)
}

#[test]
fn a_request_comes_to_a_holder_and_the_answer_back_to_the_asker() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.start(asker, route(0), key);
    mesh.settle();
    assert_eq!(mesh.answer(route(0)), Some(&b"here"[..]));
    assert!(mesh.forwards.len() <= 6, "{:?}", mesh.forwards);
    // There and back, and nobody was waited for.
    assert_eq!(mesh.ended[0].2, START + 2 * LATENCY * mesh.forwards.len() as u32);
    assert!(mesh.routes.iter().all(|routes| routes.relays.is_empty()));
}

#[test]
fn copies_of_a_request_begin_at_neighbours_of_their_own() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.holders.clear();
    (0..4).for_each(|copy| mesh.copy(asker, 7, route(copy), key));
    mesh.settle();
    assert_eq!(mesh.ended.len(), 4);
    assert!(mesh.ended.iter().all(|(request, answer, _)| *request == 7 && answer.is_none()));
    let mut firsts = BTreeSet::new();
    for (_, route, to) in mesh.forwards.iter().filter(|(peer, ..)| *peer == asker) {
        assert!(firsts.insert(*to), "{route:?} by {to} too");
    }
    assert!(firsts.len() >= 4);
}

#[test]
fn who_has_one_copy_cannot_have_the_others_stopped() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.copy(asker, 7, route(0), key);
    let (_, _, hostile) = mesh.forwards[0];
    mesh.under_way.clear();
    // It says everywhere what it was told, as if it were to be passed on, and keeps what comes of that.
    for peer in (0..60).filter(|peer| *peer != hostile && *peer != asker) {
        let (route, body) = (route(0), b"where".to_vec());
        let forward = RouteMessage::Forward { route, key, budget: BUDGET, patience: PATIENCE, body };
        mesh.routes[peer].handle(link(hostile), forward, &mesh.tables[peer], mesh.now);
        mesh.drain(peer);
    }
    mesh.kinds[hostile] = Kind::Silent;
    mesh.copy(asker, 7, route(1), key);
    mesh.settle();
    let answered = mesh.ended.iter().find(|(_, answer, _)| answer.is_some());
    assert_eq!(answered.map(|(request, ..)| *request), Some(7));
}

#[test]
fn who_does_not_say_that_it_has_a_request_is_passed_over_and_named() {
    let silent = [0, 1, 2].map(|rank| (rank, Kind::Silent));
    for (kind, unkind) in [(Kind::Silent, &silent[..]), (Kind::Liar, &[(0, Kind::Liar)][..])] {
        let (mut mesh, key, asker) = mesh(unkind);
        mesh.start(asker, route(0), key);
        mesh.settle();
        assert_eq!(mesh.answer(route(0)), Some(&b"here"[..]), "{kind:?}");
        assert_eq!(mesh.silent.is_empty(), kind == Kind::Liar);
        let holds = |peer: &usize| mesh.kinds[*peer] == Kind::Silent;
        assert!(mesh.silent.iter().all(|(_, peer)| holds(peer)));
    }
}

#[test]
fn who_did_not_say_that_it_has_a_request_is_asked_last_for_a_while_and_longer_the_next_time() {
    let (mut mesh, key, asker) = mesh(&[]);
    let first_hop = |mesh: &mut Mesh, number: u8| {
        let before = mesh.forwards.len();
        mesh.start(asker, route(number), key);
        mesh.settle();
        assert_eq!(mesh.answer(route(number)), Some(&b"here"[..]));
        mesh.forwards[before].2
    };
    let best = first_hop(&mut mesh, 0);
    mesh.kinds[best] = Kind::Silent;
    for (number, doubt) in [(1, DOUBT), (3, 2 * DOUBT), (5, 4 * DOUBT)] {
        assert_eq!(first_hop(&mut mesh, number), best);
        let missed = mesh.now;
        assert_ne!(first_hop(&mut mesh, number + 1), best);
        mesh.now = missed + doubt;
    }
    mesh.kinds[best] = Kind::Good;
    for number in [7, 8] {
        assert_eq!(first_hop(&mut mesh, number), best);
    }
    assert!(mesh.routes[asker].doubts.is_empty(), "it has made up for it");
}

#[test]
fn where_nobody_has_an_answer_the_asker_hears_that_there_is_no_way() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.holders.clear();
    mesh.start(asker, route(0), key);
    mesh.settle();
    assert_eq!(mesh.answer(route(0)), None);
    assert!(mesh.ended[0].2 < START + PATIENCE, "not for want of time");
    assert!(mesh.forwards.len() <= usize::from(BUDGET));
}

#[test]
fn where_all_are_silent_a_request_ends_in_time() {
    let (mut mesh, key, asker) = mesh(&[]);
    (0..60).filter(|peer| *peer != asker).for_each(|peer| mesh.kinds[peer] = Kind::Silent);
    mesh.start(asker, route(0), key);
    mesh.settle();
    assert_eq!(mesh.answer(route(0)), None);
    assert!(mesh.ended[0].2 <= START + PATIENCE);
}

#[test]
fn a_link_that_goes_ends_what_came_on_it_and_moves_what_went_on_it() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.start(asker, route(0), key);
    let (_, _, first) = mesh.forwards[0];
    // The request is under way; at both ends the link goes.
    mesh.under_way.clear();
    mesh.routes[asker].handle_closed(link(first), &mesh.tables[asker], mesh.now);
    mesh.drain(asker);
    let (_, _, second) = mesh.forwards[1];
    assert_ne!(first, second);
    mesh.settle();
    assert_eq!(mesh.answer(route(0)), Some(&b"here"[..]));

    let mut relay = Routes::new();
    let forward =
        RouteMessage::Forward { route: route(1), key, budget: 5, patience: PATIENCE, body: Vec::new() };
    relay.handle(link(asker), forward, &mesh.tables[first], START);
    relay.pass_on(route(1), &mesh.tables[first], START);
    relay.handle_closed(link(asker), &mesh.tables[first], START);
    assert!(relay.relays.is_empty());
}

#[test]
fn a_neighbour_can_have_so_much_under_way_and_no_more() {
    let (mesh, key, asker) = mesh(&[]);
    let mut relay = Routes::new();
    let mut sent = 0;
    let mut refused = |relay: &mut Routes, from: u64, count: usize, len: usize| {
        let mut refused = BTreeSet::new();
        for _ in 0..count {
            sent += 1;
            let (route, body) = (RouteId(sent), vec![0; len]);
            let forward = RouteMessage::Forward { route, key, budget: 255, patience: Duration::MAX, body };
            relay.handle(LinkId::new(from), forward, &mesh.tables[asker], START);
            while let Some(output) = relay.poll_output() {
                if let RouteOutput::Send(to, RouteMessage::NoWay(route, _)) = output {
                    refused.insert((to.value(), route));
                }
            }
        }
        assert!(relay.relays.len() <= MAX_RELAYS);
        refused
    };
    assert_eq!(refused(&mut relay, 1000, 200, 0).len(), 200 - MAX_OF_LINK);
    for from in 1001..1000 + (MAX_RELAYS / MAX_OF_LINK) as u64 {
        assert_eq!(refused(&mut relay, from, MAX_OF_LINK, MAX_ASK).len(), 0);
    }
    assert_eq!(relay.relays.len(), MAX_RELAYS);
    // Somebody else has a place all the same, at the cost of those who have most.
    let lost = refused(&mut relay, 2000, 8, 0);
    assert!(lost.len() == 8 && lost.iter().all(|(link, _)| (1000..2000).contains(link)), "{lost:?}");
    assert_eq!(relay.of_link(LinkId::new(2000)), 8);
    assert_eq!(refused(&mut relay, 2000, 1, MAX_ASK + 1).len(), 1, "more than can be asked");
    assert!(relay.relays.values().all(|relay| relay.budget <= BUDGET && relay.until <= START + PATIENCE));
    // Nothing stays for ever, whatever patience was claimed.
    relay.handle_timeout(&mesh.tables[asker], START + PATIENCE);
    assert!(relay.relays.is_empty());
}

#[test]
fn only_who_was_asked_can_answer() {
    let (mut mesh, key, asker) = mesh(&[]);
    mesh.start(asker, route(0), key);
    let (_, _, first) = mesh.forwards[0];
    let stranger = (0..60).find(|peer| *peer != first && *peer != asker).unwrap();
    for message in [RouteMessage::Reply(route(0), b"false".to_vec()), RouteMessage::NoWay(route(0), 9)] {
        mesh.routes[asker].handle(link(stranger), message, &mesh.tables[asker], START);
    }
    assert_eq!(mesh.forwards.len(), 1);
    mesh.settle();
    assert_eq!(mesh.answer(route(0)), Some(&b"here"[..]));
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn a_request_comes_by_nobody_twice_and_always_ends(
        kinds in proptest::collection::vec(0_u8..10, 12..70),
        unkind in 0_u8..10,
        key in proptest::array::uniform32(proptest::num::u8::ANY),
        copies in 1_u8..7,
        holders in 0_usize..6,
    ) {
        let kind = |draw: &u8| match draw {
            draw if *draw >= unkind => Kind::Good,
            draw if draw % 2 == 0 => Kind::Silent,
            _ => Kind::Liar,
        };
        let mut mesh = Mesh::of(kinds.iter().map(kind).collect());
        mesh.kinds[0] = Kind::Good;
        let key = Key::from_bytes(key);
        mesh.holders = mesh.nearest(key).into_iter().filter(|peer| *peer != 0).take(holders).collect();
        (0..copies).for_each(|copy| mesh.copy(0, 7, route(copy), key));
        mesh.settle();
        proptest::prop_assert_eq!(mesh.ended.len(), usize::from(copies), "each ends once");
        proptest::prop_assert!(mesh.now <= START + 2 * PATIENCE);
        proptest::prop_assert!(mesh.routes.iter().all(|routes| routes.relays.is_empty()));
        let mut passed = BTreeSet::new();
        let mut firsts = BTreeSet::new();
        for (peer, route, to) in &mesh.forwards {
            proptest::prop_assert!(passed.insert((*route, *peer, *to)), "{peer} passed it on to {to} twice");
            if *peer == 0 {
                proptest::prop_assert!(firsts.insert(*to), "two copies begin at {to}");
            } else {
                let apart = |peer: &usize| Key::from(mesh.ids[*peer]).distance(key);
                proptest::prop_assert!(apart(to) < apart(peer), "each hop is nearer");
            }
        }
        if mesh.kinds.iter().all(|kind| *kind != Kind::Silent) {
            for copy in 0..copies {
                let cost = mesh.forwards.iter().filter(|(_, of, _)| *of == route(copy)).count();
                proptest::prop_assert!(cost <= usize::from(BUDGET), "{cost}");
            }
        }
    }
}
