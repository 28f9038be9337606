//! Certificates: the issuer's word on who a peer is, where it connects from, and what it may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Identity, IdentityError, PublicKey, Signature, check_time, domain};
use crate::{
    bounded::BoundedBytes,
    id::{NetworkGroup, Nonce, PeerId},
    time::WallTime,
};

/// How long an issuer makes a certificate last.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Most bytes of a certificate's body: three times what version 1 needs.
pub const MAX_CERTIFICATE_LEN: usize = 512;

const VERSION: u16 = 1;
const RECORD: &str = "certificate";

/// What kind of node a peer is. The order is the wire's.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Role {
    /// A page in a browser.
    Tab,
    /// A native peer.
    Native,
    /// A native peer that serves as an index and can be dialled.
    SuperPeer,
}

/// What a peer may do: a set of bits. Bits this build does not know are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Rights(u32);

impl Rights {
    /// Join swarms and receive.
    pub const SWARM: Self = Self(1);
    /// Give segments to others.
    pub const UPLOAD: Self = Self(2);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What an issuer says of a peer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// The peer's key.
    pub public_key: PublicKey,
    /// Keeps the peer id the same over re-issues.
    pub nonce: Nonce,
    /// Where the peer connects from.
    pub group: NetworkGroup,
    /// What kind of node it is.
    pub role: Role,
    /// What it may do.
    pub rights: Rights,
    /// When the peer was certified first, under this id.
    pub since: WallTime,
    /// From when it holds.
    pub issued: WallTime,
    /// Until when it holds.
    pub expires: WallTime,
    /// Who says so.
    pub issuer: PublicKey,
}

impl Certificate {
    /// The id of the peer it is about.
    pub fn peer_id(&self) -> PeerId {
        PeerId::new(&self.public_key, &self.nonce)
    }

    /// Signs as its issuer: `issuer` becomes that identity's key.
    pub fn sign(mut self, issuer: &Identity) -> SignedCertificate {
        self.issuer = issuer.public_key();
        let body = postcard::to_allocvec(&(VERSION, &self)).expect("a certificate has an encoding");
        let signature = issuer.sign(domain::CERTIFICATE, &body);
        let body = BoundedBytes::try_from(body).expect("a certificate of version 1 is under 200 bytes");
        SignedCertificate { body, signature }
    }
}

/// A certificate as it travels. Holds nothing worth reading before [`SignedCertificate::verify`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedCertificate {
    body: BoundedBytes<MAX_CERTIFICATE_LEN>,
    signature: Signature,
}

impl SignedCertificate {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a signed certificate has an encoding")
    }

    /// Takes the bytes apart; trailing bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        match postcard::take_from_bytes(bytes) {
            Ok((certificate, _)) => Ok(certificate),
            Err(_) => Err(IdentityError::Malformed { record: RECORD }),
        }
    }

    /// The certificate, if one of these issuers signed it and `now` is within its time.
    pub fn verify(&self, issuers: &[PublicKey], now: WallTime) -> Result<Certificate, IdentityError> {
        let malformed = |_| IdentityError::Malformed { record: RECORD };
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.body).map_err(malformed)?;
        if version != VERSION {
            return Err(IdentityError::UnknownVersion { version });
        }
        let (certificate, _) = postcard::take_from_bytes::<Certificate>(rest).map_err(malformed)?;
        if !issuers.contains(&certificate.issuer) {
            return Err(IdentityError::UnknownIssuer { issuer: certificate.issuer });
        }
        certificate.issuer.verify(domain::CERTIFICATE, &self.body, &self.signature)?;
        check_time(Some(certificate.issued), certificate.expires, now)?;
        Ok(certificate)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: WallTime = WallTime::from_secs(1_000_000);

    pub(crate) fn issuer() -> Identity {
        Identity::from_seed([1; 32])
    }

    pub(crate) fn certificate_of(peer: &Identity) -> Certificate {
        Certificate {
            public_key: peer.public_key(),
            nonce: Nonce::from_bytes([2; 16]),
            group: NetworkGroup::from_bytes([3; 16]),
            role: Role::Tab,
            rights: Rights::SWARM.with(Rights::UPLOAD),
            since: NOW,
            issued: NOW,
            expires: NOW + CERTIFICATE_LIFETIME,
            issuer: issuer().public_key(),
        }
    }

    fn verify(signed: &SignedCertificate, now: WallTime) -> Result<Certificate, IdentityError> {
        signed.verify(&[issuer().public_key()], now)
    }

    #[test]
    fn a_certificate_round_trips_through_its_bytes() {
        let certificate = certificate_of(&Identity::from_seed([9; 32]));
        let signed = certificate.clone().sign(&issuer());
        let mut bytes = signed.encode();
        assert_eq!(SignedCertificate::decode(&bytes), Ok(signed.clone()));
        bytes.extend_from_slice(b"later");
        assert_eq!(SignedCertificate::decode(&bytes), Ok(signed.clone()));
        assert_eq!(verify(&signed, NOW), Ok(certificate));
    }

    #[test]
    fn it_holds_from_issue_to_expiry_give_or_take_the_skew_before() {
        let certificate = certificate_of(&Identity::from_seed([9; 32]));
        let (issued, expires) = (certificate.issued, certificate.expires);
        let signed = certificate.sign(&issuer());
        assert!(verify(&signed, WallTime::from_secs(issued.as_secs() - 120)).is_ok());
        let early = verify(&signed, WallTime::from_secs(issued.as_secs() - 121));
        assert_eq!(early, Err(IdentityError::NotYetValid { from: issued }));
        assert!(verify(&signed, WallTime::from_secs(expires.as_secs() - 1)).is_ok());
        assert_eq!(verify(&signed, expires), Err(IdentityError::Expired { at: expires }));
    }

    #[test]
    fn only_a_trusted_issuer_certifies() {
        let other = Identity::from_seed([4; 32]);
        let signed = certificate_of(&Identity::from_seed([9; 32])).sign(&other);
        let unknown = Err(IdentityError::UnknownIssuer { issuer: other.public_key() });
        assert_eq!(verify(&signed, NOW), unknown);
        assert!(signed.verify(&[issuer().public_key(), other.public_key()], NOW).is_ok());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let signed = certificate_of(&Identity::from_seed([9; 32])).sign(&issuer());
        let bytes = signed.encode();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = SignedCertificate::decode(&flipped).and_then(|signed| verify(&signed, NOW));
            assert!(verified.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn fields_of_a_later_minor_format_are_ignored_and_a_later_version_refused() {
        let issuer = issuer();
        let mut certificate = certificate_of(&Identity::from_seed([9; 32]));
        certificate.issuer = issuer.public_key();
        let sign = |version: u16, trailer: &[u8]| {
            let mut body = postcard::to_allocvec(&(version, &certificate)).unwrap();
            body.extend_from_slice(trailer);
            let signature = issuer.sign(domain::CERTIFICATE, &body);
            SignedCertificate { body: body.try_into().unwrap(), signature }
        };
        assert_eq!(verify(&sign(1, b"new field"), NOW), Ok(certificate.clone()));
        assert_eq!(verify(&sign(2, b""), NOW), Err(IdentityError::UnknownVersion { version: 2 }));
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..700),
        ) {
            if let Ok(signed) = SignedCertificate::decode(&bytes) {
                proptest::prop_assert!(verify(&signed, NOW).is_err());
            }
        }
    }
}
