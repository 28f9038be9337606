//! Attested roots: the service fetches a segment once, says what it is, and tells the whole swarm.
//!
//! On the first peer's notice the segment is read from the operator's own origin with the operator's own credential, hashed
//! as it comes, signed, and sent to all members of the stream's swarm. Nothing of a viewer, no token and no header,
//! takes part in the request.

mod address;
mod fetch;
mod ledger;
mod origin;

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use reqwest::Client;
use tabswarm_core::{
    bounded::BoundedVec,
    content::{ATTESTATION_LIFETIME, Attestation, GroupList, SegmentKey},
    id::{PeerId, SegmentId, StreamId},
    wire::{AttestFailure, AttestRequest, Attested, ServiceMessage},
};
use tokio::{sync::Semaphore, time::timeout};
use tracing::{debug, info};

use crate::{
    groups::Locality,
    limits::Limits,
    outbox::Outbox,
    service::{Service, count, lock},
};

pub use fetch::USER_AGENT;
pub use origin::{AttestExtension, AttestOrigin, AttestOriginError};

use fetch::{FetchError, fetch_list};
use ledger::{Answer, Ledger, Question, Told};
use origin::{Target, is_segment};

/// Why the attestor does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestorError {
    /// The HTTP client can't be made.
    #[error("cannot set up the HTTP client of the attestor: {0}")]
    Client(#[from] reqwest::Error),
    /// The origin is at a loopback or private address.
    #[error(
        "the attestor's origin {origin} is at a loopback or private address, which could be a way into your network; \
         add --allow-private-origin if that is what you want"
    )]
    PrivateOrigin {
        /// The origin.
        origin: String,
    },
}

pub(crate) struct Attestor {
    origins: Vec<AttestOrigin>,
    extensions: Vec<AttestExtension>,
    client: Client,
    slots: Arc<Semaphore>,
    ledger: Mutex<Ledger<Outbox>>,
}

/// The stream of a request: one in attested mode, which no publisher's key names.
pub(crate) fn stream_of(request: &AttestRequest) -> StreamId {
    StreamId::new(None, &request.stream_name)
}

/// One segment to attest.
struct Job {
    stream: StreamId,
    key: SegmentKey,
    segment: SegmentId,
    target: Target,
}

impl Attestor {
    pub(crate) fn new(
        origins: Vec<AttestOrigin>,
        extensions: Vec<AttestExtension>,
        allow_private: bool,
        limits: &Limits,
    ) -> Result<Self, AttestorError> {
        if let Some(private) = origins.iter().find(|origin| !allow_private && origin.is_private_literal()) {
            return Err(AttestorError::PrivateOrigin { origin: private.to_string() });
        }
        Ok(Self {
            origins,
            extensions,
            client: fetch::client(allow_private)?,
            slots: Arc::new(Semaphore::new(limits.attest_fetches)),
            ledger: Mutex::new(Ledger::new(limits)),
        })
    }

    pub(crate) fn is_configured(&self) -> bool {
        !self.origins.is_empty()
    }

    fn target(&self, request: &AttestRequest) -> Result<Target, AttestFailure> {
        let origin = self.origins.iter().find(|origin| origin.serves(&request.stream_name));
        let origin = origin.ok_or(AttestFailure::NotServed)?;
        if !is_segment(request.key.path(), &self.extensions) {
            return Err(AttestFailure::Refused);
        }
        origin.target(&request.stream_name, &request.key)
    }
}

impl Service {
    /// Answers a member of the stream's swarm from memory, or fetches the segment and tells everybody.
    pub(crate) fn attest(&self, peer: PeerId, asker: &Outbox, from: Locality, request: &AttestRequest) {
        let stream = stream_of(request);
        let segment = request.key.id(&stream);
        let attestor = &self.shared().attestor;
        let target = match attestor.target(request) {
            Ok(target) => target,
            Err(reason) => return asker.send(&ServiceMessage::AttestFailed { segment, reason }),
        };
        let part = target.part_of(&stream);
        let question = Question { segment, part, peer, asker, group: from.limited() };
        let may_start = || self.charge_fetch(from).is_ok();
        let answer = lock(&attestor.ledger).ask(question, self.now(), may_start);
        match answer {
            Answer::Attested(bytes) => asker.send_bytes(bytes),
            Answer::Failed(reason) => asker.send(&ServiceMessage::AttestFailed { segment, reason }),
            Answer::Wait => {}
            Answer::Start => {
                let job = Job { stream, key: request.key.clone(), segment, target };
                tokio::spawn(self.clone().carry_out(job));
            }
        }
    }

    async fn carry_out(self, job: Job) {
        let attestor = &self.shared().attestor;
        let fetch = async {
            // Never closed, so this only fails if the semaphore is gone.
            let _slot = attestor.slots.acquire().await.map_err(|_| FetchError::Deadline)?;
            fetch_list(&attestor.client, &job.target).await
        };
        let fetched = timeout(self.shared().limits.attest_deadline, fetch).await;
        match fetched.unwrap_or(Err(FetchError::Deadline)) {
            Ok(list) => self.publish(&job, &list),
            Err(error) => self.fail(&job, &error),
        }
    }

    fn publish(&self, job: &Job, list: &GroupList) {
        let shared = self.shared();
        let attestation = Attestation {
            stream: job.stream,
            key: job.key.clone(),
            len: list.len(),
            root: list.root(),
            expires: self.wall_now() + ATTESTATION_LIFETIME,
        };
        let attested = Attested {
            attestation: attestation.sign(shared.issuer.identity()),
            // fetch_list refuses segments with more values than this.
            values: BoundedVec::first_of(list.values().iter().copied()),
        };
        let bytes = Bytes::from(ServiceMessage::Attested(Box::new(attested)).to_bytes());
        let told = lock(&shared.attestor.ledger).attested(job.segment, bytes.clone(), self.now());
        let Some(Told { askers: mut receivers, swarm }) = told else { return };
        if swarm {
            let registry = self.registry();
            receivers.extend(registry.members(job.stream).map(|(peer, outbox)| (peer, outbox.clone())));
        }
        debug!(
            path = job.key.path(),
            len = list.len().bytes(),
            receivers = receivers.len(),
            "segment is attested"
        );
        for outbox in receivers.values() {
            outbox.send_bytes(bytes.clone());
        }
        count(&shared.counters.segments_attested);
    }

    fn fail(&self, job: &Job, error: &FetchError) {
        let reason = error.reason();
        info!(url = %job.target.url(), %error, "segment is not attested");
        let waiting = lock(&self.shared().attestor.ledger).failed(job.segment, reason, self.now());
        for outbox in waiting.values() {
            outbox.send(&ServiceMessage::AttestFailed { segment: job.segment, reason });
        }
        count(&self.shared().counters.attestations_failed);
    }
}
