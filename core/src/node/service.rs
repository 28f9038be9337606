//! The session with the signaling service: connect, prove the key, keep the certificate fresh, come back with
//! jittered backoff. Links live on while it is away.

use std::time::Duration;

use super::{
    Node,
    introductions::{Named, NamedBy},
    io::{Config, Event, Output},
    roots::StreamState,
};
use crate::{
    bounded::BoundedString,
    id::{NetworkId, PeerId, StreamId},
    identity::{PublicKey, Rights, SignedCertificate, domain},
    time::Timestamp,
    wire::{
        ClientHello, ClientMessage, FEATURE_NEAR, IceServer, MAX_MESSAGE_LEN, PROTOCOL_VERSIONS,
        ServiceMessage, Welcome, frames,
    },
};

/// Longest wait for the WebSocket to open or the welcome to come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// First backoff; it doubles with every failure.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(15);
/// A silent service is pinged after this.
const PING_AFTER: Duration = Duration::from_secs(20);
/// A service that does not answer a ping is given up after this.
const PONG_PATIENCE: Duration = Duration::from_secs(15);
/// A certificate of 30 minutes is renewed after this.
const RENEW_AFTER: Duration = Duration::from_secs(20 * 60);
/// A smaller swarm is asked for more peers this often.
pub(super) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);
/// Who has fewer links does not wait so long once nobody who was named is left.
const FEW_LINKS: usize = 6;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// No service, or P2P is off.
    Off,
    /// The next attempt is at this time.
    Waiting(Timestamp),
    /// The WebSocket is opening, since then.
    Connecting(Timestamp),
    /// The WebSocket is open, the welcome has not come.
    Greeting(Timestamp),
    /// This peer has a certificate.
    Ready { heard: Timestamp, pinged: Option<Timestamp> },
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Service {
    state: State,
    attempt: u32,
    pinned: bool,
    issuers: Vec<PublicKey>,
    network: Option<NetworkId>,
    rights: Rights,
    certificate: Option<SignedCertificate>,
    peer: Option<PeerId>,
    ice_servers: Vec<IceServer>,
    attests: bool,
    renew_at: Option<Timestamp>,
}

impl Service {
    pub(super) fn new(config: &Config, now: Timestamp) -> Self {
        Self {
            state: if config.service && config.p2p { State::Waiting(now) } else { State::Off },
            attempt: 0,
            pinned: !config.issuers.is_empty(),
            issuers: config.issuers.clone(),
            network: None,
            rights: Rights::default(),
            certificate: None,
            peer: None,
            ice_servers: Vec::new(),
            attests: false,
            renew_at: None,
        }
    }

    pub(super) fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    pub(super) fn certificate(&self) -> Option<&SignedCertificate> {
        self.certificate.as_ref()
    }

    pub(super) fn issuers(&self) -> &[PublicKey] {
        &self.issuers
    }

    /// The network, once the service named its issuer: of two pinned keys either may be the one in use.
    pub(super) fn network(&self) -> Option<NetworkId> {
        self.network
    }

    /// Whether the certificate lets this peer give segments to others.
    pub(super) fn may_upload(&self) -> bool {
        self.rights.contains(Rights::UPLOAD)
    }

    pub(super) fn ice_servers(&self) -> &[IceServer] {
        &self.ice_servers
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// The first attempt, or one that got through to the WebSocket, is under way.
    pub(super) fn is_promising(&self) -> bool {
        match self.state {
            State::Connecting(_) => self.attempt == 0,
            State::Greeting(_) => true,
            State::Waiting(_) => self.attempt == 0,
            State::Off | State::Ready { .. } => false,
        }
    }

    /// Whether segments can be attested, as far as is known; `None` while the session is being set up.
    pub(super) fn attests(&self) -> Option<bool> {
        match self.state {
            State::Ready { .. } => Some(self.attests),
            _ if self.is_promising() => None,
            _ => Some(false),
        }
    }
}

impl Node {
    /// The WebSocket is open.
    pub fn handle_service_open(&mut self, now: Timestamp) {
        if let State::Connecting(_) = self.service.state {
            self.service.state = State::Greeting(now);
        }
        self.settle(now);
    }

    /// The WebSocket closed, or could not be opened.
    pub fn handle_service_closed(&mut self, now: Timestamp) {
        self.service_lost(now);
        self.settle(now);
    }

    /// A binary message came from the service.
    pub fn handle_service_message(&mut self, message: &[u8], now: Timestamp) {
        if message.len() > MAX_MESSAGE_LEN {
            self.drop_service(now);
        } else if matches!(self.service.state, State::Greeting(_) | State::Ready { .. }) {
            if let State::Ready { heard, pinged } = &mut self.service.state {
                *heard = now;
                *pinged = None;
            }
            for frame in frames(message) {
                match frame.and_then(|frame| ServiceMessage::decode(&frame)) {
                    Ok(Some(message)) => self.handle_one(message, now),
                    // docs/protocol.md §2: an unknown type is skipped.
                    Ok(None) => {}
                    Err(_) => {
                        self.drop_service(now);
                        break;
                    }
                }
            }
        }
        self.settle(now);
    }

    fn handle_one(&mut self, message: ServiceMessage, now: Timestamp) {
        match message {
            ServiceMessage::Challenge(challenge) => self.greet(&challenge),
            ServiceMessage::Welcome(welcome) => self.welcomed(*welcome, now),
            ServiceMessage::Goaway { retry_after_secs, .. } => {
                self.drop_service(now);
                let wait = Duration::from_secs(u64::from(retry_after_secs.min(3600)));
                let jitter = wait.mul_f64(self.random.fraction() / 4.0);
                self.service.state = match self.service.state {
                    State::Waiting(until) => State::Waiting(until.max(now + wait + jitter)),
                    other => other,
                };
            }
            _ if !self.service.is_ready() => {}
            ServiceMessage::Peers { stream, population, peers } => {
                self.set_population(stream, population);
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.answered = true;
                }
                let named = peers.iter().map(|peer| Named { peer: *peer, by: NamedBy::Service });
                self.dial_peers(named);
            }
            ServiceMessage::Population { stream, population } => self.set_population(stream, population),
            ServiceMessage::Introduced(introduction) => self.handle_introduction(&introduction, now),
            ServiceMessage::Attested(attested) => self.handle_attested(*attested, now),
            ServiceMessage::AttestFailed { segment, reason } => {
                self.handle_attest_failed(segment, reason, now)
            }
            ServiceMessage::Renewed(certificate) => self.renewed(*certificate, now),
            ServiceMessage::Blocked(list) => self.handle_block_list(&list, now),
            ServiceMessage::Pong => {}
            ServiceMessage::Unreachable(peer) => self.peer_unreachable(peer, now),
            ServiceMessage::Newcomers { stream, peers } => self.note_newcomers(stream, &peers, now),
        }
    }

    fn greet(&mut self, challenge: &[u8; 32]) {
        if !matches!(self.service.state, State::Greeting(_)) {
            return;
        }
        let token = self.config.token.as_ref().and_then(|token| BoundedString::try_from(token.clone()).ok());
        let hello = ClientHello {
            versions: PROTOCOL_VERSIONS,
            features: if self.config.near { FEATURE_NEAR } else { 0 },
            public_key: self.identity.public_key(),
            proof: self.identity.sign(domain::SERVICE_HELLO, challenge),
            previous: self.service.certificate.clone(),
            token,
        };
        self.tell_service(&ClientMessage::Hello(Box::new(hello)));
    }

    fn welcomed(&mut self, welcome: Welcome, now: Timestamp) {
        if !matches!(self.service.state, State::Greeting(_)) {
            return;
        }
        let issuers = welcome.issuers.into_vec();
        let Some(first) = issuers.first().copied() else { return self.drop_service(now) };
        let known = !self.service.pinned || self.service.issuers.contains(&first);
        if !known || !PROTOCOL_VERSIONS.contains(welcome.version) {
            self.drop_service(now);
            return;
        }
        if !self.service.pinned {
            self.service.issuers = issuers;
        }
        self.wall = Some((welcome.now, now));
        if !self.take_certificate(welcome.certificate, now) {
            self.drop_service(now);
            return;
        }
        self.service.network = Some(NetworkId::of_issuer(&first));
        self.service.ice_servers = welcome.ice_servers.into_vec();
        self.service.attests = welcome.attests;
        self.service.attempt = 0;
        self.partners.said_full = false;
        self.service.state = State::Ready { heard: now, pinged: None };
        for state in self.streams.iter_mut().map(|(_, value)| value) {
            state.forget_session();
        }
        if let Some(peer) = self.service.peer {
            self.event(Event::ServiceReady { peer });
        }
    }

    fn renewed(&mut self, certificate: SignedCertificate, now: Timestamp) {
        if !self.take_certificate(certificate, now) {
            self.drop_service(now);
        }
    }

    /// Keeps a certificate that is ours and valid.
    fn take_certificate(&mut self, certificate: SignedCertificate, now: Timestamp) -> bool {
        let Some(wall) = self.wall(now) else { return false };
        let Ok(read) = certificate.verify(&self.service.issuers, wall) else { return false };
        if read.public_key != self.identity.public_key() {
            return false;
        }
        self.service.peer = Some(read.peer_id());
        self.service.rights = read.rights;
        let renews = self.service.certificate.replace(certificate.clone()).is_some();
        self.service.renew_at = Some(now + RENEW_AFTER);
        self.certify_mesh(&read, &certificate, now);
        if renews {
            self.show_certificate();
        }
        true
    }

    fn set_population(&mut self, stream: StreamId, population: u32) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        if state.population.replace(population) != Some(population) {
            self.event(Event::Population { stream, viewers: population });
        }
    }

    pub(super) fn tell_service(&mut self, message: &ClientMessage) {
        self.output(Output::SendService(message.to_bytes()));
    }

    pub(super) fn leave_swarm(&mut self, state: &StreamState) {
        if state.joined && self.service.is_ready() {
            self.tell_service(&ClientMessage::Leave(state.stream.id));
        }
    }

    /// Leaves service and peers; what the origin brings goes on.
    pub(super) fn leave_everything(&mut self, now: Timestamp) {
        let joined: Vec<StreamId> = self.streams.values().filter(|s| s.joined).map(|s| s.stream.id).collect();
        if self.service.is_ready() {
            for stream in joined {
                self.tell_service(&ClientMessage::Leave(stream));
            }
        }
        for state in self.streams.iter_mut().map(|(_, value)| value) {
            state.forget_session();
        }
        self.named.clear();
        self.close_all_links(now);
        self.leave_the_mesh();
        if !matches!(self.service.state, State::Off | State::Waiting(_)) {
            self.output(Output::CloseService);
        }
        self.service.state = State::Off;
    }

    /// Closes the connection and plans the next attempt.
    fn drop_service(&mut self, now: Timestamp) {
        if !matches!(self.service.state, State::Off | State::Waiting(_)) {
            self.output(Output::CloseService);
        }
        self.service_lost(now);
    }

    fn service_lost(&mut self, now: Timestamp) {
        match self.service.state {
            State::Off | State::Waiting(_) => return,
            State::Ready { .. } => self.event(Event::ServiceLost),
            State::Connecting(_) | State::Greeting(_) => {}
        }
        for state in self.streams.iter_mut().map(|(_, value)| value) {
            state.forget_session();
        }
        let longest = (BACKOFF * 2_u32.pow(self.service.attempt.min(8))).min(MAX_BACKOFF);
        self.service.attempt = self.service.attempt.saturating_add(1);
        // Half fixed, half random: a crowd does not come back in one wave.
        let wait = longest / 2 + (longest / 2).mul_f64(self.random.fraction());
        self.service.state = State::Waiting(now + wait);
    }

    pub(super) fn service_timeout(&self) -> Option<Timestamp> {
        match self.service.state {
            _ if !self.p2p => None,
            State::Off => None,
            // Nothing needs the service before there is a swarm.
            State::Waiting(_) if self.streams.is_empty() => None,
            State::Waiting(until) => Some(until),
            State::Connecting(since) | State::Greeting(since) => Some(since + CONNECT_TIMEOUT),
            State::Ready { heard, pinged } => {
                let silence = pinged.map_or(heard + PING_AFTER, |at| at + PONG_PATIENCE);
                Some(self.service.renew_at.map_or(silence, |renew| renew.min(silence)))
            }
        }
    }

    #[inline(never)]
    pub(super) fn drive_service(&mut self, now: Timestamp) {
        if self.service.state == State::Off && self.p2p && self.config.service {
            self.service.attempt = 0;
            self.service.state = State::Waiting(now);
        }
        if self.service_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.service.state {
            State::Off => {}
            State::Waiting(_) => {
                self.service.state = State::Connecting(now);
                self.output(Output::ConnectService);
            }
            State::Connecting(_) | State::Greeting(_) => self.drop_service(now),
            // A late tick pings first too: the service may have spoken while nobody listened.
            State::Ready { pinged: Some(at), .. } if now >= at + PONG_PATIENCE => self.drop_service(now),
            State::Ready { heard, pinged } => {
                if pinged.is_none() && now >= heard + PING_AFTER {
                    self.service.state = State::Ready { heard, pinged: Some(now) };
                    self.tell_service(&ClientMessage::Ping);
                }
                if self.service.renew_at.is_some_and(|renew| now >= renew) {
                    self.service.renew_at = Some(now + RENEW_AFTER / 4);
                    self.tell_service(&ClientMessage::Renew);
                }
            }
        }
    }

    /// Joins the swarms of the streams, and asks for more peers while there are few partners.
    #[inline(never)]
    pub(super) fn drive_discovery(&mut self, now: Timestamp) {
        if !self.may_connect() {
            return;
        }
        self.provide_swarms(now);
        let has_service = self.service.is_ready();
        if !has_service && !self.has_mesh() {
            return;
        }
        let want = self.partners_wanted();
        let ready = self.partner_links().count() as u32;
        let (mut messages, mut lacking) = (Vec::new(), Vec::new());
        for state in self.streams.iter_mut().map(|(_, value)| value) {
            let stream = state.stream.id;
            if has_service && !state.joined {
                state.joined = true;
                state.ask_again = now + DISCOVERY_INTERVAL;
                messages.push(ClientMessage::Join { stream, want });
            } else if now >= state.ask_again {
                state.ask_again = now + DISCOVERY_INTERVAL;
                let others = state.population.unwrap_or(1).saturating_sub(1);
                if want > 0 && (!has_service || others > ready) {
                    lacking.push(stream);
                }
            }
        }
        for stream in lacking {
            if !self.asks_mesh(stream, now) && has_service {
                messages.push(ClientMessage::MorePeers { stream, want });
            }
        }
        for message in messages {
            self.tell_service(&message);
        }
    }

    /// All peers that the service named are gone or full: who has hardly anybody asks for others soon.
    pub(super) fn look_further(&mut self, now: Timestamp) {
        if self.named.is_empty() && self.partner_count() < FEW_LINKS {
            for state in self.streams.iter_mut().map(|(_, value)| value) {
                state.ask_again = state.ask_again.min(now + DISCOVERY_INTERVAL / 5);
            }
        }
    }

    pub(super) fn discovery_timeout(&self) -> Option<Timestamp> {
        if !self.may_connect() {
            return None;
        }
        let has_service = self.service.is_ready();
        let asks = |state: &&StreamState| if has_service { state.joined } else { self.has_mesh() };
        self.streams.values().filter(asks).map(|state| state.ask_again).min()
    }
}
