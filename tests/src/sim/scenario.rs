//! What is simulated: who watches what, over which network, and what goes wrong.

use std::{ops::Range, time::Duration};

use tabswarm_core::node::{Choking, Start};

use super::{
    catalog::{CatalogSpec, RootsMode},
    network::NetworkSpec,
    origin::{Fault, OriginSpec},
    player::PlayerSpec,
    report::Report,
    service::ServiceSpec,
    tamper::Tamper,
    world::World,
};

/// How a viewer goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leave {
    /// It says goodbye, as a closed tab does.
    Politely,
    /// It is gone without a word.
    Silently,
}

/// One viewer.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// When it comes, from the start of the run.
    pub joins: Duration,
    /// When and how it goes, if before the end.
    pub leaves: Option<(Duration, Leave)>,
    /// While it is there, its uplink carries only so many bytes per second during this time.
    pub slows: Option<(Range<Duration>, u64)>,
    /// What its transport does to what it sends, and from when on.
    pub tamper: Option<(Tamper, Duration)>,
    /// Whether it gives nothing to others.
    pub leeches: bool,
    /// Its uplink in bytes per second, if not the network's.
    pub up: Option<u64>,
}

/// A run to be. The same scenario always runs the same way.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Bytes of segments each viewer keeps.
    pub cache_limit: u64,
    /// Whom full uplinks serve.
    pub choking: Choking,
    /// What is played.
    pub catalog: CatalogSpec,
    /// Links that viewers look for, and have at most.
    pub links: (usize, usize),
    /// Longest virtual time.
    pub limit: Duration,
    /// How hosts are connected.
    pub network: NetworkSpec,
    /// How the origin serves.
    pub origin: OriginSpec,
    /// How viewers play.
    pub player: PlayerSpec,
    /// Whether the run goes on to its limit when everybody has played all.
    pub runs_on: bool,
    /// When the service is there.
    pub service: ServiceSpec,
    /// When viewers connect to peers.
    pub start: Start,
    /// Who watches.
    pub viewers: Vec<Viewer>,
}

impl Scenario {
    /// Viewers of the default stream over the default network who join one after the other.
    pub fn new(seed: u64, viewers: usize, apart: Duration) -> Self {
        let viewer = |index| Viewer { joins: apart * index as u32, ..Viewer::default() };
        Self {
            seed,
            cache_limit: 128 << 20,
            choking: Choking::Calls,
            catalog: CatalogSpec::default(),
            links: (10, 12),
            limit: Duration::from_secs(600),
            network: NetworkSpec::default(),
            origin: OriginSpec::default(),
            player: PlayerSpec::default(),
            runs_on: false,
            service: ServiceSpec::default(),
            start: Start::Playback,
            viewers: (0..viewers).map(viewer).collect(),
        }
    }

    /// With roots from there.
    #[must_use]
    pub fn roots(mut self, roots: RootsMode) -> Self {
        self.catalog.roots = roots;
        self
    }

    /// With a fault of the origin.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.origin.faults.push(fault);
        self
    }

    /// With the service down for a while.
    #[must_use]
    pub fn outage(mut self, during: Range<Duration>) -> Self {
        self.service.outages.push(during);
        self
    }

    /// Runs it.
    pub fn run(self) -> Report {
        World::new(self).run()
    }
}

/// The seed of the environment variable `SEED`, or else this one.
pub fn seed_or(default: u64) -> u64 {
    let given = std::env::var("SEED").ok();
    given.map_or(default, |text| text.parse().expect("SEED is a number"))
}
