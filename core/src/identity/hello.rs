//! The hello: the first message each side sends on a new link.
//!
//! The introduction told who is at the other end and with which DTLS certificate; the hello repeats it from inside the
//! encrypted channel, so that whoever carried the introductions can't have exchanged a fingerprint.

use serde::{Deserialize, Serialize};

use super::{Certificate, Fingerprint, IdentityError, PublicKey, SignedCertificate};
use crate::{
    id::{NetworkId, PeerId, SessionId},
    time::WallTime,
    units::EmptyRange,
};

/// Protocol versions a peer speaks, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct VersionRange {
    min: u16,
    max: u16,
}

impl VersionRange {
    /// From the lowest to the highest; `None` if inverted.
    pub const fn new(min: u16, max: u16) -> Option<Self> {
        if min <= max { Some(Self { min, max }) } else { None }
    }

    /// Lowest version.
    pub const fn min(self) -> u16 {
        self.min
    }

    /// Highest version.
    pub const fn max(self) -> u16 {
        self.max
    }

    /// Whether a version is in the range.
    pub const fn contains(self, version: u16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The highest version in both.
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl TryFrom<(u16, u16)> for VersionRange {
    type Error = EmptyRange;

    fn try_from((min, max): (u16, u16)) -> Result<Self, EmptyRange> {
        Self::new(min, max).ok_or(EmptyRange)
    }
}

impl From<VersionRange> for (u16, u16) {
    fn from(range: VersionRange) -> Self {
        (range.min, range.max)
    }
}

/// What each side says first on a link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkHello {
    /// Versions the sender speaks.
    pub versions: VersionRange,
    /// Feature bits the sender has.
    pub features: u64,
    /// The sender's network.
    pub network: NetworkId,
    /// Who the sender is.
    pub certificate: SignedCertificate,
    /// The attempt that made this link.
    pub session: SessionId,
    /// Fingerprint of the sender's own DTLS certificate.
    pub own: Fingerprint,
    /// Fingerprint of the receiver's DTLS certificate, as the sender knows it.
    pub peer: Fingerprint,
}

/// What the receiver knows when a hello comes.
#[derive(Clone, Copy, Debug)]
pub struct HelloExpectation<'a> {
    /// Versions the receiver speaks.
    pub versions: VersionRange,
    /// Feature bits the receiver has.
    pub features: u64,
    /// The receiver's network.
    pub network: NetworkId,
    /// Keys whose certificates count.
    pub issuers: &'a [PublicKey],
    /// The peer that was introduced.
    pub peer: PeerId,
    /// The attempt that made this link.
    pub session: SessionId,
    /// Fingerprint of the receiver's DTLS certificate.
    pub own_fingerprint: Fingerprint,
    /// Fingerprint that was introduced.
    pub peer_fingerprint: Fingerprint,
    /// Wall time.
    pub now: WallTime,
}

/// What two sides agree on by their hellos.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agreement {
    /// The version both speak from now on.
    pub version: u16,
    /// Feature bits both have.
    pub features: u64,
    /// Who is at the other end.
    pub certificate: Certificate,
}

/// Why a link closes at its hello.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The certificate does not verify.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
    /// The DTLS certificates are not the ones that were introduced.
    #[error("fingerprints differ from the introduced ones")]
    FingerprintMismatch,
    /// No version in common.
    #[error("no common version: ours {}-{}, theirs {}-{}", ours.min, ours.max, theirs.min, theirs.max)]
    NoCommonVersion {
        /// Versions of the receiver.
        ours: VersionRange,
        /// Versions of the sender.
        theirs: VersionRange,
    },
    /// Another peer than the introduced one.
    #[error("introduced as {introduced}, but is {found}")]
    WrongPeer {
        /// Who was introduced.
        introduced: PeerId,
        /// Who is there.
        found: PeerId,
    },
    /// Belongs to another attempt.
    #[error("hello of another session")]
    WrongSession,
}

impl LinkHello {
    /// What is agreed on, if the sender is the introduced peer on the introduced channel and a version is common.
    pub fn verify(&self, expected: &HelloExpectation<'_>) -> Result<Agreement, HelloError> {
        let (ours, theirs) = (expected.versions, self.versions);
        let version = ours.highest_common(theirs).ok_or(HelloError::NoCommonVersion { ours, theirs })?;
        if self.network != expected.network {
            return Err(IdentityError::WrongNetwork { network: self.network }.into());
        }
        if self.session != expected.session {
            return Err(HelloError::WrongSession);
        }
        if self.own != expected.peer_fingerprint || self.peer != expected.own_fingerprint {
            return Err(HelloError::FingerprintMismatch);
        }
        let certificate = self.certificate.verify(expected.issuers, expected.now)?;
        let found = certificate.peer_id();
        if found != expected.peer {
            return Err(HelloError::WrongPeer { introduced: expected.peer, found });
        }
        Ok(Agreement { version, features: self.features & expected.features, certificate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{
        Identity,
        certificate::tests::{NOW, certificate_of, issuer},
    };

    fn versions(min: u16, max: u16) -> VersionRange {
        VersionRange::new(min, max).unwrap()
    }

    fn hello() -> LinkHello {
        LinkHello {
            versions: versions(1, 3),
            features: 0b110,
            network: NetworkId::from_bytes([6; 32]),
            certificate: certificate_of(&Identity::from_seed([9; 32])).sign(&issuer()),
            session: SessionId::from_bytes([7; 16]),
            own: Fingerprint::from_bytes([1; 32]),
            peer: Fingerprint::from_bytes([2; 32]),
        }
    }

    fn verify(hello: &LinkHello) -> Result<Agreement, HelloError> {
        let issuers = [issuer().public_key()];
        hello.verify(&HelloExpectation {
            versions: versions(2, 4),
            features: 0b011,
            network: NetworkId::from_bytes([6; 32]),
            issuers: &issuers,
            peer: certificate_of(&Identity::from_seed([9; 32])).peer_id(),
            session: SessionId::from_bytes([7; 16]),
            own_fingerprint: Fingerprint::from_bytes([2; 32]),
            peer_fingerprint: Fingerprint::from_bytes([1; 32]),
            now: NOW,
        })
    }

    #[test]
    fn the_highest_common_version_and_the_common_features_are_spoken() {
        let agreement = verify(&hello()).unwrap();
        assert_eq!((agreement.version, agreement.features), (3, 0b010));
    }

    #[test]
    fn no_common_version_is_an_error_of_its_own() {
        let theirs = versions(5, 9);
        let refused = verify(&LinkHello { versions: theirs, ..hello() });
        assert_eq!(refused, Err(HelloError::NoCommonVersion { ours: versions(2, 4), theirs }));
        assert_eq!(VersionRange::new(2, 1), None);
        assert!(postcard::from_bytes::<VersionRange>(&[2, 1]).is_err());
    }

    #[test]
    fn a_fingerprint_that_was_exchanged_on_the_way_is_refused() {
        let other = Fingerprint::from_bytes([3; 32]);
        assert_eq!(verify(&LinkHello { own: other, ..hello() }), Err(HelloError::FingerprintMismatch));
        assert_eq!(verify(&LinkHello { peer: other, ..hello() }), Err(HelloError::FingerprintMismatch));
    }

    #[test]
    fn another_peer_network_or_session_is_refused() {
        let certificate = certificate_of(&Identity::from_seed([10; 32]));
        let found = certificate.peer_id();
        let introduced = certificate_of(&Identity::from_seed([9; 32])).peer_id();
        let refused = verify(&LinkHello { certificate: certificate.sign(&issuer()), ..hello() });
        assert_eq!(refused, Err(HelloError::WrongPeer { introduced, found }));
        let network = NetworkId::from_bytes([0; 32]);
        let refused = verify(&LinkHello { network, ..hello() });
        assert_eq!(refused, Err(IdentityError::WrongNetwork { network }.into()));
        let session = SessionId::from_bytes([0; 16]);
        assert_eq!(verify(&LinkHello { session, ..hello() }), Err(HelloError::WrongSession));
    }

    #[test]
    fn a_certificate_that_does_not_verify_is_refused() {
        let forged = certificate_of(&Identity::from_seed([9; 32])).sign(&Identity::from_seed([4; 32]));
        assert!(matches!(
            verify(&LinkHello { certificate: forged, ..hello() }),
            Err(HelloError::Certificate(IdentityError::UnknownIssuer { .. }))
        ));
    }

    #[test]
    fn a_hello_round_trips() {
        let bytes = postcard::to_allocvec(&hello()).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(hello()));
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..700),
        ) {
            if let Ok(hello) = postcard::from_bytes::<LinkHello>(&bytes) {
                proptest::prop_assert!(verify(&hello).is_err());
            }
        }
    }
}
