//! Every limit of the service in one place: what a remote can make it hold, do or wait for.

use std::time::Duration;

use crate::{rate::Rate, registry::RegistryLimits};

/// Read buffer of a WebSocket: messages are small, and there are many connections.
pub(crate) const READ_BUFFER_LEN: usize = 4 * 1024;

/// Bytes gathered before a write to the socket.
pub(crate) const WRITE_BUFFER_LEN: usize = 4 * 1024;

/// Bytes of a WebSocket's write buffer: one message of the longest kind on top of what is gathered.
pub(crate) const MAX_WRITE_BUFFER_LEN: usize = 128 * 1024;

/// Bytes of an HTTP request's head.
pub(crate) const MAX_REQUEST_HEAD_LEN: usize = 16 * 1024;

/// Bytes that cost as much as one more message.
pub(crate) const BYTES_PER_UNIT: usize = 2 * 1024;

/// Network groups with a state of their own.
pub(crate) const MAX_GROUPS: usize = 100_000;

/// Limits of the service. The defaults are for production; tests make them small.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all, beyond which HTTP 503 is answered (default 50,000).
    pub connections: u32,
    /// Connections of one network group (default 1,024); loopback and private addresses are exempt.
    pub connections_per_group: u32,
    /// Connections that one network group opens (default 2,048, then 8 a second): twice as many as it may have, for they
    /// all come back at once when the service restarts. Loopback and private addresses are exempt.
    pub opens_per_group: Rate,
    /// HTTP connections that are no WebSockets, or not yet (default 10,000).
    pub sockets: u32,
    /// Those of them from one network group, beyond which a socket is closed at once (default 256); loopback and private
    /// addresses, where a proxy is, are exempt.
    pub sockets_per_group: u32,
    /// New peer ids of one network group (default 8, then one per 30 s); loopback and private addresses are exempt.
    pub certificates: Rate,
    /// Swarms.
    pub registry: RegistryLimits,
    /// Messages of one connection (default 200, then 20 a second); 2 KiB cost as much as one more message.
    pub messages: Rate,
    /// Attestations one connection asks for (default 60, then 5 a second).
    pub attests: Rate,
    /// Requests to the origin that one network group causes (default 240, then 20 a second): the first peer that asks for a
    /// segment pays, so that a campus on one stream costs what one viewer does. Loopback and private addresses are exempt.
    pub attest_fetches_per_group: Rate,
    /// Messages that wait for one reader (default 512); a reader with more is cut.
    pub outbox_messages: usize,
    /// Bytes that wait for one reader (default 512 KiB); a reader with more is cut.
    pub outbox_bytes: usize,
    /// Time from the open socket to the hello (default 10 s).
    pub hello_timeout: Duration,
    /// Time between pings of the service (default 20 s).
    pub ping_interval: Duration,
    /// Silence, pongs included, after which a connection is dead (default 45 s).
    pub silence: Duration,
    /// Longest time a write may wait for its reader (default 10 s).
    pub write_timeout: Duration,
    /// Time from notice to answer of an attestation, its wait for a free slot included (default 10 s).
    pub attest_deadline: Duration,
    /// Segments fetched at a time (default 8).
    pub attest_fetches: usize,
    /// Segments that are fetched or wait for it (default 128).
    pub attest_queue: usize,
    /// Those of them that one network group began (default 32); loopback and private addresses are exempt.
    pub attest_queue_per_group: usize,
    /// Attestations kept (default 4,096).
    pub attest_cache: usize,
    /// Bytes of the attestations kept (default 16 MiB).
    pub attest_cache_bytes: usize,
    /// How long a failure of the origin is remembered (default 2 s).
    pub attest_retry: Duration,
    /// Time that connections get to close when the service goes down (default 5 s).
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_group: 1_024,
            opens_per_group: Rate::per_second(2_048, 8),
            sockets: 10_000,
            sockets_per_group: 256,
            certificates: Rate { burst: 8, interval: Duration::from_secs(30) },
            registry: RegistryLimits::default(),
            messages: Rate::per_second(200, 20),
            attests: Rate::per_second(60, 5),
            attest_fetches_per_group: Rate::per_second(240, 20),
            outbox_messages: 512,
            outbox_bytes: 512 * 1024,
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            silence: Duration::from_secs(45),
            write_timeout: Duration::from_secs(10),
            attest_deadline: Duration::from_secs(10),
            attest_fetches: 8,
            attest_queue: 128,
            attest_queue_per_group: 32,
            attest_cache: 4_096,
            attest_cache_bytes: 16 * 1024 * 1024,
            attest_retry: Duration::from_secs(2),
            drain: Duration::from_secs(5),
        }
    }
}
