//! The signaling service, reached over a line that keeps order: the real registry behind a short admission of its own.
//!
//! Messages, certificates and signatures are real. Rates, tokens, the check of carried introductions and the attestor's HTTP
//! are left to the service crate's own tests.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use tabswarm_core::{
    bounded::BoundedVec,
    content::{ATTESTATION_LIFETIME, Attestation},
    id::{NetworkGroup, Nonce, PeerId, StreamId},
    identity::{
        CERTIFICATE_LIFETIME, Certificate, Identity, PublicKey, Rights, Role, SignedIntroduction, domain,
    },
    time::{Timestamp, WallTime},
    wire::{
        AttestFailure, AttestRequest, Attested, ClientHello, ClientMessage, FEATURE_NEAR, PROTOCOL_VERSIONS,
        ServiceMessage, Welcome, frames,
    },
};
use tabswarm_signaling::registry::{Introductions, Registry, RegistryLimits, Seat};

use super::{
    catalog::{Catalog, RootsMode},
    host::{Happening, HostId},
    world::{Event, World},
};

/// Wall time at the start of a run.
const EPOCH: WallTime = WallTime::from_secs(1_800_000_000);

/// When the service is there.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    /// When it is down. It comes back with its key and without its memory.
    pub outages: Vec<Range<Duration>>,
}

/// A connection to the service, named by the host that made it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ConnectionId {
    pub(crate) host: HostId,
    pub(crate) number: u32,
}

/// What reaches the service.
#[derive(Debug)]
pub(crate) enum Arrival {
    Attested(usize),
    Closed(ConnectionId),
    Down,
    Message(ConnectionId, Vec<u8>),
    Opened(ConnectionId),
    Tick,
    Up,
}

#[derive(Debug)]
enum Connection {
    Challenged([u8; 32]),
    Admitted { certificate: Certificate, seat: Seat },
}

/// The running service.
pub(crate) struct Service {
    connections: BTreeMap<ConnectionId, Connection>,
    identity: Identity,
    registry: Registry<ConnectionId>,
    rng: ChaCha8Rng,
    /// When the registry is looked at next.
    tick: Option<Timestamp>,
    up: bool,
    /// By segment: who waits for it, or that it is attested.
    attestations: BTreeMap<usize, Vec<ConnectionId>>,
    attested: BTreeMap<usize, Attested>,
    attests: bool,
    /// Bytes the attestor fetched from the origin.
    pub(crate) attest_bytes: u64,
    /// Offers that were refused.
    pub(crate) refusals: u64,
    /// Messages that came from peers.
    pub(crate) messages: u64,
}

fn registry(rng: &mut ChaCha8Rng) -> Registry<ConnectionId> {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    Registry::new(RegistryLimits::default(), seed)
}

impl Service {
    pub(crate) fn new(seed: [u8; 32], catalog: &Catalog) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        Self {
            connections: BTreeMap::new(),
            identity: Identity::from_seed([1; 32]),
            registry: registry(&mut rng),
            rng,
            tick: None,
            up: true,
            attestations: BTreeMap::new(),
            attested: BTreeMap::new(),
            attests: catalog.spec.roots == RootsMode::Attested,
            attest_bytes: 0,
            messages: 0,
            refusals: 0,
        }
    }

    /// The first certificate of a key, or one that follows another.
    fn certify(
        &mut self,
        key: PublicKey,
        previous: Option<&Certificate>,
        group: NetworkGroup,
        now: WallTime,
    ) -> Certificate {
        let (nonce, since) = previous.map(|previous| (previous.nonce, previous.since)).unwrap_or_else(|| {
            let mut bytes = [0; 16];
            self.rng.fill_bytes(&mut bytes);
            (Nonce::from_bytes(bytes), now)
        });
        Certificate {
            public_key: key,
            nonce,
            group,
            role: Role::Tab,
            rights: Rights::SWARM.with(Rights::UPLOAD),
            since,
            issued: now,
            expires: now + CERTIFICATE_LIFETIME,
            issuer: self.identity.public_key(),
        }
    }
}

impl World {
    /// Sends something to the service, which arrives a delay later.
    pub(crate) fn ask_service(&mut self, host: HostId, arrival: Arrival) {
        let at = self.now() + self.service_delay(host);
        self.queue.push(at, Event::Service(arrival));
    }

    fn tell(&mut self, to: ConnectionId, message: &ServiceMessage) {
        self.tell_bytes(to, message.to_bytes());
    }

    fn tell_bytes(&mut self, to: ConnectionId, bytes: Vec<u8>) {
        let at = self.now() + self.service_delay(to.host);
        self.queue.push(at, Event::At(to.host, Happening::ServiceMessage(to, bytes)));
    }

    fn hang_up(&mut self, to: ConnectionId) {
        let at = self.now() + self.service_delay(to.host);
        self.queue.push(at, Event::At(to.host, Happening::ServiceClosed(to)));
    }

    fn group_of(&self, host: HostId) -> NetworkGroup {
        let mut group = [0; 16];
        group[..4].copy_from_slice(&self.network.group(host.0).to_le_bytes());
        NetworkGroup::from_bytes(group)
    }

    fn wall(&self) -> WallTime {
        EPOCH + self.now().saturating_since(Timestamp::default())
    }

    pub(crate) fn at_service(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Attested(segment) => self.attested(segment),
            Arrival::Closed(from) => self.disconnect(from),
            Arrival::Down => {
                self.service.up = false;
                self.service.registry = registry(&mut self.service.rng);
                self.service.attestations.clear();
                for connection in std::mem::take(&mut self.service.connections).into_keys() {
                    self.hang_up(connection);
                }
            }
            Arrival::Message(from, bytes) => self.read(from, &bytes),
            Arrival::Opened(from) if self.service.up => {
                let mut challenge = [0; 32];
                self.service.rng.fill_bytes(&mut challenge);
                self.service.connections.insert(from, Connection::Challenged(challenge));
                let at = self.now() + self.service_delay(from.host);
                self.queue.push(at, Event::At(from.host, Happening::ServiceOpen(from)));
                self.tell(from, &ServiceMessage::Challenge(challenge));
            }
            Arrival::Opened(from) => self.hang_up(from),
            Arrival::Tick => {}
            Arrival::Up => self.service.up = true,
        }
        self.announce();
    }

    /// What is due to be told to members of swarms, and when to look again.
    fn announce(&mut self) {
        let now = self.now();
        while let Some(announcement) = self.service.registry.poll_announcement(now) {
            let bytes = announcement.message.to_bytes();
            for member in announcement.to {
                self.tell_bytes(member, bytes.clone());
            }
        }
        let due = self.service.registry.poll_timeout();
        if let Some(at) = due.filter(|at| self.service.tick.is_none_or(|tick| *at < tick || tick <= now)) {
            self.service.tick = Some(at);
            self.queue.push(at, Event::Service(Arrival::Tick));
        }
    }

    fn disconnect(&mut self, from: ConnectionId) {
        if let Some(Connection::Admitted { seat, .. }) = self.service.connections.remove(&from) {
            let now = self.now();
            self.service.registry.disconnect(seat, now);
        }
    }

    fn read(&mut self, from: ConnectionId, bytes: &[u8]) {
        self.service.messages += 1;
        for frame in frames(bytes) {
            let frame = frame.expect("an honest core frames its messages");
            let message = ClientMessage::decode(&frame).expect("an honest core speaks the protocol");
            let message = message.expect("core and service are of one version");
            match self.service.connections.get(&from) {
                Some(Connection::Challenged(challenge)) => {
                    let challenge = *challenge;
                    let ClientMessage::Hello(hello) = message else { panic!("the first message is a hello") };
                    self.admit(from, &hello, &challenge);
                }
                Some(Connection::Admitted { certificate, seat }) => {
                    let admitted = (certificate.clone(), *seat);
                    self.serve(from, admitted, message);
                }
                None => return,
            }
        }
    }

    fn admit(&mut self, from: ConnectionId, hello: &ClientHello, challenge: &[u8; 32]) {
        let (key, now) = (hello.public_key, self.wall());
        key.verify(domain::SERVICE_HELLO, challenge, &hello.proof).expect("an honest core proves its key");
        let issuers = [self.service.identity.public_key()];
        let previous = hello.previous.as_ref().and_then(|previous| previous.verify(&issuers, now).ok());
        let previous = previous.filter(|previous| previous.public_key == key);
        let group = self.group_of(from.host);
        let certificate = self.service.certify(key, previous.as_ref(), group, now);
        let at = self.now();
        let near = hello.features & FEATURE_NEAR != 0;
        let group = near.then_some(group);
        let (seat, replaced) = self.service.registry.connect(certificate.peer_id(), key, group, from, at);
        if let Some(older) = replaced.filter(|older| *older != from) {
            self.service.connections.remove(&older);
            self.hang_up(older);
        }
        let signed = certificate.clone().sign(&self.service.identity);
        self.service.connections.insert(from, Connection::Admitted { certificate, seat });
        let welcome = Welcome {
            version: PROTOCOL_VERSIONS.max(),
            features: 0,
            issuers: BoundedVec::first_of(issuers),
            certificate: signed,
            now,
            ice_servers: BoundedVec::new(),
            attests: self.service.attests,
        };
        self.tell(from, &ServiceMessage::Welcome(Box::new(welcome)));
    }

    fn serve(&mut self, from: ConnectionId, admitted: (Certificate, Seat), message: ClientMessage) {
        let (certificate, seat) = admitted;
        let now = self.now();
        match message {
            ClientMessage::Hello(_) => panic!("one hello a connection"),
            ClientMessage::Join { stream, want } => {
                let joined = self.service.registry.join(seat, stream, want, now);
                self.tell_peers(from, stream, joined.expect("one stream a host"));
            }
            ClientMessage::Leave(stream) => self.service.registry.leave(seat, stream, now),
            ClientMessage::MorePeers { stream, want } => {
                if let Some(answer) = self.service.registry.more_peers(seat, stream, want) {
                    self.tell_peers(from, stream, answer);
                }
            }
            ClientMessage::Introduce { to, introduction } => self.introduce(from, seat, to, introduction),
            ClientMessage::Attest(request) => self.attest(from, &request),
            ClientMessage::Renew => {
                let (group, now) = (self.group_of(from.host), self.wall());
                let renewed = self.service.certify(certificate.public_key, Some(&certificate), group, now);
                let signed = renewed.sign(&self.service.identity);
                self.tell(from, &ServiceMessage::Renewed(Box::new(signed)));
            }
            ClientMessage::Ping => self.tell(from, &ServiceMessage::Pong),
            ClientMessage::Full(full) => self.service.registry.set_full(seat, full),
            ClientMessage::Refuse(caller) => {
                self.service.refusals += 1;
                if let Some(receiver) = self.service.registry.receiver(seat, caller).copied() {
                    self.tell(receiver, &ServiceMessage::Unreachable(seat.peer()));
                }
            }
        }
    }

    fn tell_peers(&mut self, to: ConnectionId, stream: StreamId, answer: Introductions) {
        let peers = BoundedVec::first_of(answer.peers);
        self.tell(to, &ServiceMessage::Peers { stream, population: answer.population, peers });
    }

    fn introduce(
        &mut self,
        from: ConnectionId,
        seat: Seat,
        to: PeerId,
        introduction: Box<SignedIntroduction>,
    ) {
        let Some(receiver) = self.service.registry.receiver(seat, to).copied() else {
            self.tell(from, &ServiceMessage::Unreachable(to));
            return;
        };
        self.tell(receiver, &ServiceMessage::Introduced(introduction));
    }

    fn attest(&mut self, from: ConnectionId, request: &AttestRequest) {
        let Some(segment) = self.catalog.find(&request.key) else {
            let segment = request.key.id(&self.catalog.stream.id);
            self.tell(from, &ServiceMessage::AttestFailed { segment, reason: AttestFailure::Origin });
            return;
        };
        if let Some(attested) = self.service.attested.get(&segment).cloned() {
            self.tell(from, &ServiceMessage::Attested(Box::new(attested)));
            return;
        }
        let waiting = self.service.attestations.entry(segment).or_default();
        waiting.push(from);
        if waiting.len() > 1 {
            return;
        }
        let len = self.catalog.segments[segment].len();
        self.service.attest_bytes += len;
        // The service sits near the origin: 20 ms and 100 MB/s.
        let took = Duration::from_millis(20) + Duration::from_nanos(len * 10);
        let at = self.now() + took;
        self.queue.push(at, Event::Service(Arrival::Attested(segment)));
    }

    /// The attestor has fetched a segment.
    fn attested(&mut self, index: usize) {
        let Some(mut waiting) = self.service.attestations.remove(&index) else { return };
        let segment = &self.catalog.segments[index];
        let attestation = Attestation {
            stream: self.catalog.stream.id,
            key: segment.key.clone(),
            len: segment.list.len(),
            root: segment.list.root(),
            expires: self.wall() + ATTESTATION_LIFETIME,
        };
        let attested = Attested {
            attestation: attestation.sign(&self.service.identity),
            values: BoundedVec::first_of(segment.list.values().iter().copied()),
        };
        let bytes = ServiceMessage::Attested(Box::new(attested.clone())).to_bytes();
        self.service.attested.insert(index, attested);
        waiting.extend(self.service.registry.members(self.catalog.stream.id).map(|(_, handle)| *handle));
        waiting.sort_unstable();
        waiting.dedup();
        for member in waiting {
            self.tell_bytes(member, bytes.clone());
        }
    }
}
