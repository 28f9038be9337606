//! Who a peer is and what it may do: Ed25519 keys, certificates, introductions and the hello on a new link.
//!
//! Everything signed is `domain ‖ 0 ‖ body`, where the domain names the record and its version, so that a signature
//! of one kind can't be shown as another (docs/protocol.md). Where the bytes come from and who carries them is no matter:
//! what verifies is as good from the mesh as from the service.

mod certificate;
mod description;
mod hello;
mod introduction;
mod keys;
mod provider;
mod sdp;
mod seal;

pub use certificate::{
    CERTIFICATE_LIFETIME, Certificate, MAX_CERTIFICATE_LEN, Rights, Role, SignedCertificate,
};
pub use description::{Candidate, Description, Fingerprint, MAX_CANDIDATE_LEN, MAX_CANDIDATES};
pub use hello::{Agreement, HelloError, HelloExpectation, LinkHello, VersionRange};
pub use introduction::{
    INTRODUCTION_LIFETIME, Introduction, IntroductionBody, MAX_INTRODUCTION_LEN, SignedIntroduction, Trusted,
    VerifiedIntroduction,
};
pub use keys::{Identity, PublicKey, Signature, domain};
pub use provider::{PROVIDER_LIFETIME, SignedProvider};
pub use sdp::{answer_sdp, offer_sdp};
pub use seal::SEAL_OVERHEAD;
pub(crate) use seal::seal;

use std::time::Duration;

use crate::{
    id::{NetworkId, Nonce, PeerId, StreamId},
    time::WallTime,
};

/// How far two honest clocks may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Why something signed, or a description in it, is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The signature does not verify.
    #[error("bad signature")]
    BadSignature,
    /// The record's time is over.
    #[error("expired at {}", at.as_secs())]
    Expired {
        /// When it expired.
        at: WallTime,
    },
    /// A description with a field that is missing, too long, or has characters it may not have.
    #[error("bad {field} in a session description")]
    InvalidDescription {
        /// Which field.
        field: &'static str,
    },
    /// Not the encoding of a key: no point of the curve, or one of small order.
    #[error("not a public key")]
    InvalidKey,
    /// Bytes that are no record of this kind, or one beyond its limits.
    #[error("malformed {record}")]
    Malformed {
        /// Which record.
        record: &'static str,
    },
    /// Sealed for somebody else, or changed on the way.
    #[error("not sealed for this peer")]
    NotSealedForUs,
    /// Issued, or said to last, too far in the future.
    #[error("not valid before {}", from.as_secs())]
    NotYetValid {
        /// When it starts to be acceptable.
        from: WallTime,
    },
    /// The certificate does not give the right that was used.
    #[error("the certificate lacks the right")]
    NotPermitted,
    /// A record of a version this build does not read.
    #[error("unknown version {version} of a signed record")]
    UnknownVersion {
        /// The version it claims.
        version: u16,
    },
    /// Certified by a key that is not among the trusted issuers.
    #[error("unknown issuer {issuer}")]
    UnknownIssuer {
        /// The key.
        issuer: PublicKey,
    },
    /// Meant for another network.
    #[error("meant for network {network}")]
    WrongNetwork {
        /// The network it names.
        network: NetworkId,
    },
    /// The certificate is not the sender's.
    #[error("the certificate is not the sender's")]
    WrongSender,
    /// Meant for another peer.
    #[error("meant for peer {to}")]
    WrongTarget {
        /// The peer it names.
        to: PeerId,
    },
}

fn hash_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl PeerId {
    /// The id of a certificate's holder: BLAKE3 of key and nonce (docs/protocol.md).
    pub fn new(key: &PublicKey, nonce: &Nonce) -> Self {
        Self::from_bytes(hash_parts(&[key.as_bytes(), nonce.as_bytes()]))
    }
}

impl NetworkId {
    /// The network of an issuer.
    pub fn of_issuer(issuer: &PublicKey) -> Self {
        Self::from_bytes(hash_parts(&[domain::NETWORK_ID, &[0], issuer.as_bytes()]))
    }
}

impl StreamId {
    /// The stream of this name, of one publisher or, without a key, of whoever serves it.
    pub fn new(publisher: Option<&PublicKey>, name: &str) -> Self {
        let publisher = publisher.map_or([0; 32], |key| *key.as_bytes());
        Self::from_bytes(hash_parts(&[domain::STREAM_ID, &[0], &publisher, name.as_bytes()]))
    }
}

/// Refuses a record outside its time, give or take [`CLOCK_SKEW`].
pub(crate) fn check_time(
    issued: Option<WallTime>,
    expires: WallTime,
    now: WallTime,
) -> Result<(), IdentityError> {
    if let Some(from) = issued.filter(|issued| *issued > now + CLOCK_SKEW) {
        return Err(IdentityError::NotYetValid { from });
    }
    if expires <= now { Err(IdentityError::Expired { at: expires }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_everything_they_are_made_of() {
        let key = |seed| Identity::from_seed([seed; 32]).public_key();
        let nonce = |byte| Nonce::from_bytes([byte; 16]);
        assert_ne!(PeerId::new(&key(1), &nonce(1)), PeerId::new(&key(1), &nonce(2)));
        assert_ne!(PeerId::new(&key(1), &nonce(1)), PeerId::new(&key(2), &nonce(1)));
        assert_ne!(NetworkId::of_issuer(&key(1)), NetworkId::of_issuer(&key(2)));
        assert_ne!(StreamId::new(None, "/a"), StreamId::new(None, "/b"));
        assert_ne!(StreamId::new(None, "/a"), StreamId::new(Some(&key(1)), "/a"));
    }
}
