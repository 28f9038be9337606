//! The running simulation: hosts, network, origin and service in one virtual time.

use std::{collections::BTreeMap, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    id::OriginRequestId,
    node::{Config, FetchRequest, Node},
    time::Timestamp,
    units::BytesPerSec,
};

use super::{
    catalog::Catalog,
    host::{Happening, Host, HostId},
    network::{NetworkSpec, ORIGIN, Pipe, SERVICE, fraction},
    origin::{self, Origin},
    player::{Player, Wish},
    report::Report,
    scenario::{Leave, Scenario, Viewer},
    service::{self, Service},
    uplink::Uplink,
};
use crate::queue::Queue;

/// From a segment's delivery to its first picture.
const DECODE: Duration = Duration::from_millis(40);

/// What happens, and where.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes reach a host's downlink; behind what waits there it happens.
    Arrive(HostId, u64, Happening),
    At(HostId, Happening),
    Join(usize),
    Leave(HostId, Leave),
    Origin(HostId, OriginRequestId, origin::Arrival),
    Service(service::Arrival),
    /// A host's uplink carries so many bytes per second from now on.
    Uplink(HostId, u64),
}

/// A running simulation.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) hosts: BTreeMap<HostId, Host>,
    /// Hosts that left.
    pub(crate) gone: BTreeMap<HostId, Host>,
    pub(crate) network: NetworkSpec,
    pub(crate) origin: Origin,
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) seed: u64,
    pub(crate) service: Service,
    scenario: Scenario,
    trace: blake3::Hasher,
    viewers: Vec<Viewer>,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&scenario.seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(seed);
        let catalog = Catalog::new(scenario.catalog, scenario.seed);
        let mut service_seed = [0; 32];
        rng.fill_bytes(&mut service_seed);
        let mut queue = Queue::new();
        let start = Timestamp::default();
        for (index, viewer) in scenario.viewers.iter().enumerate() {
            queue.push(start + viewer.joins, Event::Join(index));
        }
        for outage in &scenario.service.outages {
            queue.push(start + outage.start, Event::Service(service::Arrival::Down));
            queue.push(start + outage.end, Event::Service(service::Arrival::Up));
        }
        Self {
            hosts: BTreeMap::new(),
            gone: BTreeMap::new(),
            network: scenario.network,
            origin: Origin::new(scenario.origin.clone(), &catalog),
            queue,
            rng,
            seed: scenario.seed,
            service: Service::new(service_seed, &catalog),
            trace: blake3::Hasher::new(),
            viewers: scenario.viewers.clone(),
            catalog,
            scenario,
        }
    }

    /// Runs until every viewer has played all, or the scenario's time is over.
    pub(crate) fn run(mut self) -> Report {
        let end = Timestamp::default() + self.scenario.limit;
        let mut unfinished = self.viewers.len();
        while unfinished > 0 || self.scenario.runs_on {
            let Some(event) = self.queue.pop(end) else { break };
            let at = self.now().as_micros();
            self.trace.update(&at.to_le_bytes());
            match event {
                Event::Arrive(id, bytes, happening) => self.arrive(id, bytes, happening),
                Event::At(id, happening) => {
                    let Some(host) = self.hosts.get(&id) else { continue };
                    let had_ended = host.log.ended_at.is_some();
                    self.happen(id, happening);
                    let has_ended = self.hosts.get(&id).is_some_and(|host| host.log.ended_at.is_some());
                    unfinished -= usize::from(has_ended && !had_ended);
                }
                Event::Join(index) => self.join(index),
                Event::Leave(id, how) => {
                    let had_ended = self.hosts.get(&id).is_none_or(|host| host.log.ended_at.is_some());
                    unfinished -= usize::from(!had_ended);
                    self.leave(id, how);
                }
                Event::Origin(id, request, arrival) => self.at_origin(id, request, arrival),
                Event::Service(arrival) => self.at_service(arrival),
                Event::Uplink(id, rate) => {
                    if let Some(host) = self.hosts.get_mut(&id) {
                        host.up.set_rate(rate);
                    }
                }
            }
        }
        Report::new(self)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.queue.now()
    }

    /// A host that is there: whoever asks was called by it.
    pub(crate) fn host(&mut self, id: HostId) -> &mut Host {
        self.hosts.get_mut(&id).expect("the host is there, it is the one that acts")
    }

    pub(crate) fn trace(&mut self, text: &str) {
        self.trace.update(text.as_bytes());
    }

    pub(crate) fn trace_hash(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    pub(crate) fn delay(&self, a: HostId, b: HostId) -> Duration {
        self.network.delay(self.seed, a.0, b.0)
    }

    pub(crate) fn origin_delay(&self, host: HostId) -> Duration {
        self.network.delay(self.seed, host.0, ORIGIN)
    }

    pub(crate) fn service_delay(&self, host: HostId) -> Duration {
        self.network.delay(self.seed, host.0, SERVICE)
    }

    fn arrive(&mut self, id: HostId, bytes: u64, happening: Happening) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let read = host.down.push(bytes, now);
        self.trace.update(&id.0.to_le_bytes()).update(&bytes.to_le_bytes());
        self.queue.push(read, Event::At(id, happening));
    }

    fn join(&mut self, index: usize) {
        let id = HostId(index as u32);
        let viewer = self.viewers[index].clone();
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let mut config = Config::new(seed);
        config.start = self.scenario.start;
        config.choking = self.scenario.choking;
        (config.links, config.max_links) = self.scenario.links;
        config.cache_limit = self.scenario.cache_limit;
        config.upload_limit = viewer.leeches.then_some(BytesPerSec::new(0));
        // No two hosts' clocks agree.
        let ahead = Duration::from_secs_f64(1000.0 * fraction(&mut self.rng));
        let now = self.now();
        let spec = self.catalog.spec;
        let player = Player::new(self.scenario.player, spec, now);
        let up = viewer.up.unwrap_or(self.network.up);
        let lines = (Uplink::new(up), Pipe::new(self.network.down));
        let mut host = Host::new(Node::new(config, now + ahead), ahead, lines, player, viewer.tamper);
        host.joined_at = now;
        host.track = index % spec.tracks;
        self.hosts.insert(id, host);
        if let Some((during, rate)) = viewer.slows {
            let start = Timestamp::default();
            self.queue.push((start + during.start).max(now), Event::Uplink(id, rate));
            self.queue.push((start + during.end).max(now), Event::Uplink(id, up));
        }
        if let Some((at, how)) = viewer.leaves {
            self.queue.push(Timestamp::default() + at, Event::Leave(id, how));
        }
        let stream = self.catalog.stream.clone();
        self.call(id, None, |host, now| host.node.join(stream, now));
        // The playlists take two round trips, and the manifest comes beside the second.
        let round_trip = self.origin_delay(id) * 2 + self.scenario.origin.first_byte;
        self.queue.push(now + round_trip * 2, Event::At(id, Happening::Manifest));
        self.queue.push(now + round_trip * 2, Event::At(id, Happening::Play));
    }

    fn leave(&mut self, id: HostId, how: Leave) {
        if how == Leave::Politely {
            // A page that goes away asks for nothing more.
            self.call(id, None, Host::stop_playing);
            self.call(id, None, |host, now| host.node.shut_down(now));
        }
        let now = self.now();
        if let Some(mut host) = self.hosts.remove(&id) {
            host.log.left_at = Some(now);
            self.gone.insert(id, host);
        }
    }

    /// The player acts on what happened.
    pub(crate) fn play(&mut self, id: HostId, happening: &Happening) {
        let now = self.now();
        self.host(id).woken.take_if(|woken| *woken <= now);
        let player = &mut self.host(id).player;
        match happening {
            Happening::Failed(fetch) => player.failed(*fetch, now),
            Happening::Loaded(fetch) if player.loaded(*fetch, now) => {
                self.host(id).log.started_at = Some(now);
                self.queue.push(now + DECODE, Event::At(id, Happening::FirstFrame));
            }
            _ => {}
        }
        while let Some(wish) = self.host(id).player.wish(now) {
            match wish {
                Wish::Cancel(fetch) => {
                    self.call(id, None, |host, now| host.node.cancel(fetch, now));
                }
                Wish::Fetch(position, deadline) => self.fetch(id, position, deadline),
            }
        }
        let host = self.host(id);
        if host.player.has_played_all(now) && host.player.has_started() {
            host.log.ended_at.get_or_insert(now);
        } else if let Some(at) = host.player.wake(now)
            && host.woken.is_none_or(|woken| at < woken)
        {
            host.woken = Some(at);
            self.queue.push(at, Event::At(id, Happening::Play));
        }
    }

    fn fetch(&mut self, id: HostId, position: usize, deadline: Timestamp) {
        let track = self.host(id).track;
        let segment = self.catalog.index(track, position);
        let (stream, key) = (self.catalog.stream.id, self.catalog.segments[segment].key.clone());
        let sooner = deadline.saturating_since(self.now());
        let fetch = self.call(id, None, |host, now| {
            let fetch = host.node.fetch(FetchRequest { stream, key, deadline: Some(now + sooner) }, now);
            host.note_fetch(fetch, segment, now);
            fetch
        });
        let now = self.now();
        if let Some(fetch) = fetch {
            self.host(id).player.requested(position, fetch, now);
        }
    }
}
