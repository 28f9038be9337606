//! The running service: what all connections share.
//!
//! Small mutexes, each held for a few map operations and never across an await: the registry, the network groups,
//! and the attestation ledger. Nothing is sent while one is held; a broadcast clones the handles out first.
//! The ledger's is held while the groups' is taken, and no other two.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName},
};
use tabswarm_core::{
    bounded::{BoundedString, BoundedVec},
    id::{NetworkId, PeerId},
    identity::PublicKey,
    time::{Timestamp, WallTime},
    wire::{IceServer, ServiceMessage},
};
use tabswarm_turn_config::IceServers;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    attest::{AttestExtension, AttestOrigin, Attestor, AttestorError},
    blocklist::{self, Blocked, BlocklistError},
    groups::{Groups, Locality, Overloaded, is_local},
    issuer::{Issuer, IssuerError},
    limits::Limits,
    outbox::Outbox,
    rate::{Bucket, Rate},
    registry::Registry,
    token::AccessToken,
};

/// Time between warnings about a proxy that names no client address.
const ADDRESS_WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What a service is started with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where the issuer's key is kept; made if missing.
    pub state_dir: PathBuf,
    /// Tokens of which a peer must show one; empty lets everybody in.
    pub tokens: Vec<AccessToken>,
    /// STUN and TURN servers for peers.
    pub ice: IceServers,
    /// Origins whose segments are attested, the first matching one counts; empty attests nothing.
    pub attest: Vec<AttestOrigin>,
    /// File name extensions of segments besides the usual ones; files with others are not attested.
    pub attest_extensions: Vec<AttestExtension>,
    /// Whether origins may be at loopback and private addresses.
    pub allow_private_origin: bool,
    /// Header in which a proxy in front adds the client's address, believed from loopback and private addresses only.
    /// Without it all clients of a proxy are one exempt group; where the proxy names no address, one group with limits.
    pub client_address_header: Option<HeaderName>,
    /// File with the content ids that no peer is to keep, give or take; read again when it changes.
    pub blocklist: Option<PathBuf>,
    /// Limits.
    pub limits: Limits,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The attestor's configuration does not work.
    #[error(transparent)]
    Attestor(#[from] AttestorError),
    /// The block list can't be used.
    #[error(transparent)]
    Blocklist(#[from] BlocklistError),
    /// No issuer key.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// What happened since the start, for `/healthz`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) introductions_carried: AtomicU64,
    pub(crate) introductions_refused: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) segments_attested: AtomicU64,
    pub(crate) attestations_failed: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) struct Shared {
    pub(crate) issuer: Issuer,
    pub(crate) attestor: Attestor,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    /// The newest block list, as a message.
    blocked: watch::Sender<Option<Bytes>>,
    /// When that was signed.
    blocked_at: Mutex<WallTime>,
    registry: Mutex<Registry<Outbox>>,
    groups: Mutex<Groups>,
    tokens: Vec<AccessToken>,
    ice: IceServers,
    client_address_header: Option<HeaderName>,
    address_warnings: Mutex<Bucket>,
    connections: Arc<Semaphore>,
    started: Instant,
    population_changed: Notify,
    stopping: watch::Sender<bool>,
}

/// A handle on the running service; clones are the same service.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

/// Nothing in the mutexes is left half-changed by a panic, so one broken connection does not stop the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// An address as proxies write it: alone, or with a port, IPv6 in brackets or not.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    alone.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

impl Service {
    /// Starts a service. Must be called within a tokio runtime; end it with [`Service::stop`].
    ///
    /// # Errors
    /// [`StartError`], with what to do about it.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let limits = config.limits;
        let blocklist = config.blocklist.map(|path| blocklist::read(&path).map(|list| (path, list)));
        let shared = Shared {
            issuer: Issuer::open(&config.state_dir)?,
            attestor: Attestor::new(
                config.attest,
                config.attest_extensions,
                config.allow_private_origin,
                &limits,
            )?,
            counters: Counters::default(),
            blocked: watch::Sender::new(None),
            blocked_at: Mutex::default(),
            registry: Mutex::new(Registry::new(limits.registry, random()?)),
            groups: Mutex::new(Groups::new(&limits)),
            tokens: config.tokens,
            ice: config.ice,
            client_address_header: config.client_address_header,
            address_warnings: Mutex::default(),
            connections: Arc::new(Semaphore::new(limits.connections as usize)),
            started: Instant::now(),
            population_changed: Notify::new(),
            stopping: watch::Sender::new(false),
            limits,
        };
        let service = Self(Arc::new(shared));
        tokio::spawn(service.clone().announce_populations());
        if let Some((path, contents)) = blocklist.transpose()? {
            service.block(contents.clone());
            tokio::spawn(blocklist::watch(service.clone(), path, contents));
        }
        Ok(service)
    }

    /// The key that certifies peers.
    pub fn issuer(&self) -> PublicKey {
        self.0.issuer.public_key()
    }

    /// The network this service certifies peers for.
    pub fn network(&self) -> NetworkId {
        self.0.issuer.network()
    }

    /// Connections open now, those without a hello among them.
    pub fn connections(&self) -> usize {
        self.0.limits.connections as usize - self.0.connections.available_permits()
    }

    /// Swarms with a member.
    pub fn swarms(&self) -> usize {
        self.registry().swarms()
    }

    /// Says goodbye to all connections. [`Service::drained`] waits for them.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Waits until all connections are closed, but not longer than the limit. Call [`Service::stop`] first.
    pub async fn drained(&self) {
        let all = self.0.connections.acquire_many(self.0.limits.connections);
        if timeout(self.0.limits.drain, all).await.is_err() {
            debug!(left = self.connections(), "connections did not close in time");
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry<Outbox>> {
        lock(&self.0.registry)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::default() + self.0.started.elapsed()
    }

    pub(crate) fn wall_now(&self) -> WallTime {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        WallTime::from_secs(since_epoch.as_secs())
    }

    /// Signs a block list and has every peer told.
    pub(crate) fn block(&self, contents: Blocked) {
        let issued = {
            let mut last = lock(&self.0.blocked_at);
            // Of two lists the later one counts, whatever the clock does.
            *last = self.wall_now().max(*last + Duration::from_secs(1));
            *last
        };
        let list = self.0.issuer.sign_blocked(issued, contents);
        let message = ServiceMessage::Blocked(Box::new(list)).to_bytes();
        self.0.blocked.send_replace(Some(message.into()));
    }

    /// The block list, and when there is another.
    pub(crate) fn blocked(&self) -> watch::Receiver<Option<Bytes>> {
        self.0.blocked.subscribe()
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.0.stopping.subscribe())
    }

    /// Room for one more connection, held as long as it lives.
    pub(crate) fn connection_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.0.connections.clone().try_acquire_owned().ok()
    }

    /// Where the client behind a socket is: what a proxy of our own says, else where the socket comes from.
    pub(crate) fn locality(&self, socket: IpAddr, headers: &HeaderMap) -> Locality {
        let issuer = &self.0.issuer;
        let Some(name) = self.0.client_address_header.as_ref().filter(|_| is_local(socket)) else {
            return issuer.locality(socket);
        };
        // The last address is the one our proxy added; those before it are whatever the client wrote.
        let last = headers.get_all(name).iter().next_back().and_then(|value| value.to_str().ok());
        let last = last.and_then(|list| list.rsplit(',').next());
        last.and_then(parse_address).map_or_else(
            || {
                self.warn_of_address_header(name, last);
                issuer.unknown_locality()
            },
            |address| issuer.locality(address),
        )
    }

    fn warn_of_address_header(&self, name: &HeaderName, found: Option<&str>) {
        let rate = Rate { burst: 1, interval: ADDRESS_WARNING_INTERVAL };
        if lock(&self.0.address_warnings).take(&rate, 1, self.now()).is_ok() {
            warn!(%name, ?found, "the proxy names no client address: its clients share one place's limits");
        }
    }

    pub(crate) fn open(&self, from: Locality) -> Result<OpenConnection, Overloaded> {
        lock(&self.0.groups).open(from, self.now())?;
        Ok(OpenConnection { service: self.clone(), from })
    }

    /// Counts an accepted socket in its network group, until it is dropped or has become a connection.
    pub(crate) fn open_socket(&self, remote: IpAddr) -> Result<OpenSocket, Overloaded> {
        let from = self.0.issuer.locality(remote);
        lock(&self.0.groups).open_socket(from, self.now())?;
        Ok(OpenSocket { service: self.clone(), from })
    }

    pub(crate) fn charge_certificate(&self, from: Locality) -> Result<(), Overloaded> {
        lock(&self.0.groups).certify(from, self.now())
    }

    /// Charges for a request to the origin.
    pub(crate) fn charge_fetch(&self, from: Locality) -> Result<(), Overloaded> {
        lock(&self.0.groups).fetch(from, self.now())
    }

    pub(crate) fn admits(&self, token: Option<&str>) -> bool {
        if self.0.tokens.is_empty() {
            return true;
        }
        // All are compared, so that the time does not tell which one was close.
        let matches = |token: &str| self.0.tokens.iter().filter(|known| known.matches(token)).count();
        token.is_some_and(|token| matches(token) > 0)
    }

    pub(crate) fn ice_servers(&self, peer: PeerId) -> BoundedVec<IceServer, 8> {
        let servers = self.0.ice.for_peer(&peer.to_string(), self.wall_now().as_secs());
        let entries = servers.into_iter().flat_map(|server| {
            let urls: Vec<_> = server.urls.iter().filter_map(|url| url.as_str().try_into().ok()).collect();
            let text = |text: &str| BoundedString::try_from(text).unwrap_or_default();
            let (username, credential) = (text(&server.username), text(&server.credential));
            let entry = move |urls: &[BoundedString<256>]| IceServer {
                urls: BoundedVec::first_of(urls.iter().cloned()),
                username: username.clone(),
                credential: credential.clone(),
            };
            urls.chunks(4).map(entry).collect::<Vec<_>>()
        });
        BoundedVec::first_of(entries)
    }

    /// To be called after a command that may have changed a population.
    pub(crate) fn population_changed(&self) {
        self.0.population_changed.notify_one();
    }

    async fn announce_populations(self) {
        let mut stopping = self.stopping();
        loop {
            let next = self.announce_due();
            let timer = async {
                match next {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.0.population_changed.notified() => {}
                () = stopping.wait() => return,
            }
        }
    }

    /// Sends what is due; the time until the next, if there is one.
    fn announce_due(&self) -> Option<Duration> {
        loop {
            let mut registry = self.registry();
            let Some(announcement) = registry.poll_announcement(self.now()) else {
                return registry.poll_timeout().map(|at| at.saturating_since(self.now()));
            };
            drop(registry);
            let bytes = Bytes::from(announcement.message.to_bytes());
            for member in announcement.to {
                member.send_bytes(bytes.clone());
            }
        }
    }
}

/// Tells that the service goes down.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Ready once it does. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        // An error means that the service is gone altogether.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// A connection counted in its network group, until dropped.
pub(crate) struct OpenConnection {
    service: Service,
    pub(crate) from: Locality,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        lock(&self.service.0.groups).close(self.from, self.service.now());
    }
}

/// A socket that is no WebSocket yet, counted in its network group until dropped.
pub(crate) struct OpenSocket {
    service: Service,
    from: Locality,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        lock(&self.service.0.groups).close_socket(self.from, self.service.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_addresses_are_read_as_proxies_write_them() {
        let v4: IpAddr = [203, 0, 113, 9].into();
        for text in ["203.0.113.9", " 203.0.113.9 ", "203.0.113.9:4711"] {
            assert_eq!(parse_address(text), Some(v4), "{text}");
        }
        for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
            assert_eq!(parse_address(text), "2001:db8::1".parse().ok(), "{text}");
        }
        for text in
            ["", "unknown", "_hidden", "203.0.113", "203.0.113.9:", "example.org", "[203.0.113.9", "::1]"]
        {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
