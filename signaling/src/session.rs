//! What one admitted peer may say and what it gets for it (docs/protocol.md: service messages).

use tabswarm_core::{
    bounded::BoundedVec,
    id::{Nonce, PeerId, StreamId},
    identity::{IdentityError, SignedCertificate, SignedIntroduction, Trusted, domain},
    wire::{
        AttestFailure, AttestRequest, ClientHello, ClientMessage, FEATURE_NEAR, Frame, Frames, GoawayReason,
        PROTOCOL_VERSIONS, ServiceMessage, Welcome,
    },
};
use tracing::debug;

use crate::{
    attest::stream_of,
    groups::{Locality, Overloaded},
    issuer::Holder,
    outbox::{Close, Outbox},
    rate::Bucket,
    registry::{Introductions, JoinError, Seat},
    service::{Service, count, random},
};

impl From<Overloaded> for Close {
    fn from(overloaded: Overloaded) -> Self {
        let secs = overloaded.retry_after.as_secs() + 1;
        let retry_after_secs = u32::try_from(secs).unwrap_or(u32::MAX);
        Self::Goaway { reason: GoawayReason::Overloaded, retry_after_secs }
    }
}

impl From<Overloaded> for crate::connection::End {
    fn from(overloaded: Overloaded) -> Self {
        Self::Close(overloaded.into())
    }
}

/// Attestations a peer asks for before it has joined their streams, as one does whose page has no first frame yet.
const MAX_EARLY_ATTESTS: usize = 16;

fn refused(reason: GoawayReason) -> Close {
    // The page or its user has to change something first.
    Close::Goaway { reason, retry_after_secs: 600 }
}

/// The hello, which must be the first message of a known type.
pub(crate) fn read_hello(frames: &mut Frames<'_>) -> Option<Box<ClientHello>> {
    for frame in frames {
        match ClientMessage::decode(&frame.ok()?) {
            Ok(Some(ClientMessage::Hello(hello))) => return Some(hello),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return None,
        }
    }
    None
}

/// An admitted peer. Dropping it takes the peer out of the registry.
pub(crate) struct Session {
    service: Service,
    outbox: Outbox,
    seat: Seat,
    me: PeerId,
    holder: Holder,
    from: Locality,
    attests: Bucket,
    early_attests: Vec<AttestRequest>,
}

impl Session {
    /// Checks the hello, certifies the peer and welcomes it.
    pub(crate) fn admit(
        service: &Service,
        hello: &ClientHello,
        challenge: &[u8; 32],
        from: Locality,
        outbox: Outbox,
    ) -> Result<Self, Close> {
        let common = PROTOCOL_VERSIONS.highest_common(hello.versions);
        let version = common.ok_or_else(|| refused(GoawayReason::NoCommonVersion))?;
        if !service.admits(hello.token.as_deref()) {
            return Err(refused(GoawayReason::Unauthorised));
        }
        let proven = hello.public_key.verify(domain::SERVICE_HELLO, challenge, &hello.proof);
        proven.map_err(|_| Close::MISBEHAVIOUR)?;
        let (shared, key) = (service.shared(), hello.public_key);
        let wall_now = service.wall_now();
        let previous = hello.previous.as_ref();
        let known = previous.and_then(|previous| shared.issuer.known(previous, key, wall_now));
        let holder = match known {
            Some(holder) => holder,
            None => {
                service.charge_certificate(from)?;
                let no_randomness = Close::Goaway { reason: GoawayReason::Overloaded, retry_after_secs: 10 };
                let nonce = Nonce::from_bytes(random().map_err(|_| no_randomness)?);
                Holder { key, nonce, since: wall_now }
            }
        };
        let (me, certificate) = shared.issuer.certify(holder, from, wall_now);
        let group = (hello.features & FEATURE_NEAR != 0).then_some(from.group);
        let (seat, replaced) = service.registry().connect(me, key, group, outbox.clone(), service.now());
        if let Some(older) = replaced {
            older.close(Close::REPLACED);
            service.population_changed();
        }
        debug!(peer = %me, "peer is admitted");
        let (service, attests) = (service.clone(), Bucket::default());
        let session = Self { service, outbox, seat, me, holder, from, attests, early_attests: Vec::new() };
        session.welcome(version, certificate);
        Ok(session)
    }

    fn welcome(&self, version: u16, certificate: SignedCertificate) {
        let welcome = Welcome {
            version,
            features: 0,
            issuers: BoundedVec::first_of([self.service.issuer()]),
            certificate,
            now: self.service.wall_now(),
            ice_servers: self.service.ice_servers(self.me),
            attests: self.service.shared().attestor.is_configured(),
        };
        self.outbox.send(&ServiceMessage::Welcome(Box::new(welcome)));
    }

    /// Serves one frame. Unknown types are skipped; an error ends the connection.
    pub(crate) fn handle(&mut self, frame: &Frame<'_>) -> Result<(), Close> {
        let decoded = ClientMessage::decode(frame).map_err(|_| Close::MISBEHAVIOUR)?;
        let Some(message) = decoded else { return Ok(()) };
        match message {
            ClientMessage::Hello(_) => Err(Close::MISBEHAVIOUR),
            ClientMessage::Join { stream, want } => self.join(stream, want),
            ClientMessage::Leave(stream) => {
                self.service.registry().leave(self.seat, stream, self.service.now());
                self.service.population_changed();
                Ok(())
            }
            ClientMessage::MorePeers { stream, want } => {
                let answer = self.service.registry().more_peers(self.seat, stream, want);
                if let Some(introductions) = answer {
                    self.send_peers(stream, introductions);
                }
                Ok(())
            }
            ClientMessage::Introduce { to, introduction } => self.introduce(to, introduction),
            ClientMessage::Attest(request) => {
                self.attest(request);
                Ok(())
            }
            ClientMessage::Renew => {
                let issuer = &self.service.shared().issuer;
                let (_, fresh) = issuer.certify(self.holder, self.from, self.service.wall_now());
                self.outbox.send(&ServiceMessage::Renewed(Box::new(fresh)));
                Ok(())
            }
            ClientMessage::Ping => {
                self.outbox.send(&ServiceMessage::Pong);
                Ok(())
            }
            ClientMessage::Full(full) => {
                self.service.registry().set_full(self.seat, full);
                Ok(())
            }
            ClientMessage::Refuse(caller) => {
                let receiver = self.service.registry().receiver(self.seat, caller).cloned();
                if let Some(receiver) = receiver {
                    receiver.send(&ServiceMessage::Unreachable(self.me));
                }
                Ok(())
            }
        }
    }

    fn join(&mut self, stream: StreamId, want: u8) -> Result<(), Close> {
        let joined = self.service.registry().join(self.seat, stream, want, self.service.now());
        match joined {
            Ok(introductions) => {
                self.send_peers(stream, introductions);
                self.service.population_changed();
                for request in self.early_attests.extract_if(.., |request| stream_of(request) == stream) {
                    self.service.attest(self.me, &self.outbox, self.from, &request);
                }
                Ok(())
            }
            Err(JoinError::Full) => {
                Err(Close::Goaway { reason: GoawayReason::Overloaded, retry_after_secs: 30 })
            }
            // The newer connection of this key has already closed this one.
            Err(JoinError::Stale) => Ok(()),
            Err(JoinError::TooManySwarms) => Err(Close::MISBEHAVIOUR),
        }
    }

    fn send_peers(&self, stream: StreamId, introductions: Introductions) {
        let peers = BoundedVec::first_of(introductions.peers);
        self.outbox.send(&ServiceMessage::Peers { stream, population: introductions.population, peers });
    }

    /// Only members of a stream's swarm have its segments attested: what others ask for waits until they join.
    fn attest(&mut self, request: AttestRequest) {
        let rate = &self.service.shared().limits.attests;
        let reason = if self.attests.take(rate, 1, self.service.now()).is_err() {
            AttestFailure::Origin
        } else if self.service.registry().is_member(self.seat, stream_of(&request)) {
            return self.service.attest(self.me, &self.outbox, self.from, &request);
        } else if self.early_attests.len() < MAX_EARLY_ATTESTS {
            return self.early_attests.push(request);
        } else {
            AttestFailure::Refused
        };
        let segment = request.key.id(&stream_of(&request));
        self.outbox.send(&ServiceMessage::AttestFailed { segment, reason });
    }

    fn introduce(&self, to: PeerId, introduction: Box<SignedIntroduction>) -> Result<(), Close> {
        let shared = self.service.shared();
        let receiver = self.service.registry().receiver(self.seat, to).cloned();
        let Some(receiver) = receiver else {
            count(&shared.counters.introductions_refused);
            debug!(from = %self.me, %to, "introduction to a peer that is gone or was never introduced");
            self.outbox.send(&ServiceMessage::Unreachable(to));
            return Ok(());
        };
        let issuers = [self.service.issuer()];
        let now = self.service.wall_now();
        let trusted = Trusted { issuers: &issuers, me: to, network: self.service.network(), now };
        match introduction.verify(&trusted) {
            Ok(verified) if verified.from == self.me => {
                count(&shared.counters.introductions_carried);
                receiver.send(&ServiceMessage::Introduced(introduction));
                Ok(())
            }
            // A slow way, a clock that is off, or a later version of the record: no fault of the protocol.
            Err(
                error @ (IdentityError::Expired { .. }
                | IdentityError::NotYetValid { .. }
                | IdentityError::UnknownVersion { .. }),
            ) => {
                count(&shared.counters.introductions_refused);
                debug!(from = %self.me, %to, %error, "introduction was dropped");
                Ok(())
            }
            forged => {
                count(&shared.counters.introductions_refused);
                debug!(from = %self.me, %to, ?forged, "introduction is not the sender's");
                Err(Close::MISBEHAVIOUR)
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.service.registry().disconnect(self.seat, self.service.now());
        self.service.population_changed();
    }
}
