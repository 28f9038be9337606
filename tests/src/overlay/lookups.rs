//! Lookups through a mesh: how long they take, what they cost, and how many find what is there.

use std::{collections::BTreeMap, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    id::LinkId,
    kad::{Found, Key, Lookup, Outcome, RouteId, RouteMessage, RouteOutput, Step},
    time::Timestamp,
};

use super::{
    mesh::{Mesh, READY, link},
    times::Times,
};
use crate::queue::Queue;

/// Peers that keep a record.
const REPLICAS: usize = 8;
/// A lookup begins so long after the one before.
const PACE: Duration = Duration::from_millis(2);
/// Network groups that are known, more than a not-found needs.
const GROUPS: usize = 100;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Peers in all.
    pub peers: usize,
    /// Share of them that are super-peers, 0 to 1.
    pub super_peers: f64,
    /// Share of the tabs that only ask, as they have just come, 0 to 1.
    pub clients: f64,
    /// Share of all peers that take everything and say nothing, 0 to 1.
    pub silent: f64,
    /// Lookups, each by a random tab that is not silent for a random key that has a record.
    pub lookups: usize,
    /// What chance comes from.
    pub seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { peers: 1000, super_peers: 0.0, clients: 0.1, silent: 0.0, lookups: 1000, seed: 1 }
    }
}

/// What came of the lookups of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcomes {
    /// The lookups.
    pub lookups: Times,
    /// Messages of all lookups, acknowledgements and answers among them.
    pub messages: u64,
    /// Hash over every message: when, from whom, to whom.
    pub trace: [u8; 32],
}

impl Outcomes {
    /// Messages a lookup.
    pub fn cost(&self) -> f64 {
        self.messages as f64 / (self.lookups.count()).max(1) as f64
    }
}

/// A lookup that is under way.
struct Asking {
    asker: usize,
    key: Key,
    replicas: Vec<usize>,
    lookup: Lookup,
    began: Timestamp,
    over: bool,
}

enum Event {
    Begin(u64),
    Message { from: usize, to: usize, message: RouteMessage },
    Timer(usize),
    Hedge(u64),
}

struct World {
    mesh: Mesh,
    queue: Queue<Event>,
    rng: ChaCha8Rng,
    askings: BTreeMap<u64, Asking>,
    outcomes: Outcomes,
    trace: blake3::Hasher,
}

impl Scenario {
    /// Runs it.
    pub fn run(&self) -> Outcomes {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(seed);
        let mesh = Mesh::of(self, &mut rng);
        let outcomes = Outcomes { lookups: Times::default(), messages: 0, trace: [0; 32] };
        let (queue, askings) = (Queue::new(), BTreeMap::new());
        let mut world = World { mesh, queue, rng, askings, outcomes, trace: blake3::Hasher::new() };
        for request in 0..self.lookups as u64 {
            world.queue.push(READY + PACE * request as u32, Event::Begin(request));
        }
        while let Some(event) = world.queue.pop(Timestamp::from_micros(u64::MAX)) {
            world.happen(event);
        }
        assert_eq!(world.outcomes.lookups.count(), self.lookups, "each lookup ends");
        world.outcomes.lookups.found.sort_unstable();
        world.outcomes.trace = *world.trace.finalize().as_bytes();
        world.outcomes
    }
}

impl World {
    fn happen(&mut self, event: Event) {
        let now = self.queue.now();
        match event {
            Event::Begin(request) => self.begin(request),
            Event::Message { from, to, message } => {
                let peer = &mut self.mesh.peers[to];
                if !peer.silent {
                    peer.routes.handle(link(from), message, &peer.table, now);
                    self.drain(to);
                }
            }
            Event::Timer(number) => {
                let peer = &mut self.mesh.peers[number];
                // One that was armed before an earlier one has nothing to say.
                if peer.due == Some(now) {
                    peer.due = None;
                    peer.routes.handle_timeout(&peer.table, now);
                    self.drain(number);
                }
            }
            Event::Hedge(request) => self.go_on(request),
        }
    }

    fn begin(&mut self, request: u64) {
        let asker = loop {
            let peer = self.rng.next_u64() as usize % self.mesh.peers.len();
            if !self.mesh.peers[peer].silent {
                break peer;
            }
        };
        let mut key = [0; 32];
        self.rng.fill_bytes(&mut key);
        let key = Key::from_bytes(key);
        let (replicas, began) = (self.mesh.nearest(key, REPLICAS), self.queue.now());
        let lookup = Lookup::new(1, GROUPS, began);
        let over = replicas.contains(&asker);
        if over {
            self.outcomes.lookups.found.push(Duration::ZERO);
        }
        self.askings.insert(request, Asking { asker, key, replicas, lookup, began, over });
        self.go_on(request);
    }

    /// Takes the steps of a lookup that are due.
    fn go_on(&mut self, request: u64) {
        let now = self.queue.now();
        loop {
            let Some(asking) = self.askings.get_mut(&request).filter(|asking| !asking.over) else { return };
            let Some(step) = asking.lookup.poll_step(now) else { break };
            let (asker, key) = (asking.asker, asking.key);
            // There are no links to ask super-peers by apart from those in the table, and no service.
            let Step::Copies(from, to) = step else { continue };
            asking.lookup.asked(usize::from(to - from));
            for copy in from..to {
                let peer = &mut self.mesh.peers[asker];
                // Who has it has to be told which lookup it is of.
                let route = RouteId(request << 8 | u64::from(copy));
                peer.routes.start((request, route), key, Vec::new(), &peer.table, now);
            }
            self.drain(asker);
        }
        let Some(asking) = self.askings.get_mut(&request).filter(|asking| !asking.over) else { return };
        match asking.lookup.outcome() {
            Some(outcome) => {
                asking.over = true;
                match outcome {
                    Outcome::Found => self.outcomes.lookups.found.push(now.saturating_since(asking.began)),
                    Outcome::Absent | Outcome::Unknown => self.outcomes.lookups.failed += 1,
                }
            }
            None => {
                let due = asking.lookup.poll_timeout().filter(|at| now < *at);
                due.into_iter().for_each(|at| self.queue.push(at, Event::Hedge(request)));
            }
        }
    }

    fn drain(&mut self, number: usize) {
        let now = self.queue.now();
        while let Some(output) = self.mesh.peers[number].routes.poll_output() {
            match output {
                RouteOutput::Send(to, message) => self.send(number, to, message),
                RouteOutput::Asked { route, .. } => {
                    let peer = &mut self.mesh.peers[number];
                    match self.askings[&(route.0 >> 8)].replicas.contains(&number) {
                        true => peer.routes.answer(route, Vec::new()),
                        false => peer.routes.pass_on(route, &peer.table, now),
                    }
                }
                RouteOutput::Stuck { route, .. } => self.mesh.peers[number].routes.refuse(route),
                RouteOutput::Ended(request, answer) => {
                    let found = answer.map_or(Found::Useless, |_| Found::Valid);
                    let asking = self.askings.get_mut(&request);
                    asking.into_iter().for_each(|asking| asking.lookup.answered(found));
                    self.queue.push(now, Event::Hedge(request));
                }
                RouteOutput::Silent(_) => {}
            }
        }
        let peer = &mut self.mesh.peers[number];
        if let Some(due) = peer.routes.poll_timeout().map(|due| due.max(now))
            && peer.due.is_none_or(|armed| due < armed)
        {
            peer.due = Some(due);
            self.queue.push(due, Event::Timer(number));
        }
    }

    fn send(&mut self, from: usize, to: LinkId, message: RouteMessage) {
        let to = to.value() as usize;
        self.outcomes.messages += 1;
        let at =
            self.queue.now() + self.mesh.peers[from].place.delay(self.mesh.peers[to].place, &mut self.rng);
        for number in [at.as_micros(), from as u64, to as u64] {
            self.trace.update(&number.to_le_bytes());
        }
        self.queue.push(at, Event::Message { from, to, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_find_what_is_there_in_a_few_round_trips() {
        let outcomes = Scenario::default().run();
        assert!(outcomes.lookups.success() >= 0.995, "{}", outcomes.lookups.success());
        assert!(
            outcomes.lookups.quantile(0.5) <= Duration::from_millis(300),
            "{:?}",
            outcomes.lookups.quantile(0.5)
        );
    }

    #[test]
    fn a_run_depends_on_its_seed_alone() {
        let run =
            |seed| Scenario { peers: 300, lookups: 100, silent: 0.1, seed, ..Scenario::default() }.run();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1).trace, run(2).trace);
    }
}
