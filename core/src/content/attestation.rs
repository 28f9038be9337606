//! Attestations: an issuer's word for the root of a segment that its publisher did not sign.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SegmentKey, SegmentLen};
use crate::{
    bounded::BoundedBytes,
    id::{ContentId, StreamId},
    identity::{Identity, IdentityError, PublicKey, Signature, check_time, domain},
    time::WallTime,
};

/// How long an issuer lets an attestation hold: the grace a swarm has without its service.
pub const ATTESTATION_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);

/// Most bytes of an attestation's body: the longest path fits.
pub const MAX_ATTESTATION_LEN: usize = 1536;

const VERSION: u16 = 1;
const RECORD: &str = "attestation";

/// What an issuer found at its origin under a segment's name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attestation {
    /// The stream.
    pub stream: StreamId,
    /// The segment.
    pub key: SegmentKey,
    /// Its length.
    pub len: SegmentLen,
    /// Its address.
    pub root: ContentId,
    /// Until when the word holds.
    pub expires: WallTime,
}

impl Attestation {
    /// Signs as the issuer.
    pub fn sign(&self, issuer: &Identity) -> SignedAttestation {
        let body = postcard::to_allocvec(&(VERSION, issuer.public_key(), self))
            .expect("an attestation has an encoding");
        let signature = issuer.sign(domain::ATTESTATION, &body);
        let body = BoundedBytes::try_from(body).expect("a path of 1024 bytes and 200 bytes beside it fit");
        SignedAttestation { body, signature }
    }
}

/// An attestation as it travels. Holds nothing worth reading before [`SignedAttestation::verify`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedAttestation {
    body: BoundedBytes<MAX_ATTESTATION_LEN>,
    signature: Signature,
}

impl SignedAttestation {
    /// The attestation, if one of these issuers signed it and it still holds.
    pub fn verify(&self, issuers: &[PublicKey], now: WallTime) -> Result<Attestation, IdentityError> {
        let malformed = |_| IdentityError::Malformed { record: RECORD };
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.body).map_err(malformed)?;
        if version != VERSION {
            return Err(IdentityError::UnknownVersion { version });
        }
        let ((issuer, attestation), _) =
            postcard::take_from_bytes::<(PublicKey, Attestation)>(rest).map_err(malformed)?;
        if !issuers.contains(&issuer) {
            return Err(IdentityError::UnknownIssuer { issuer });
        }
        issuer.verify(domain::ATTESTATION, &self.body, &self.signature)?;
        check_time(None, attestation.expires, now)?;
        Ok(attestation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_secs(1_000_000);

    fn issuer() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn attestation(path: &str) -> Attestation {
        Attestation {
            stream: StreamId::new(None, "/show/master.m3u8"),
            key: SegmentKey::new(path, None).unwrap(),
            len: SegmentLen::new(40_000).unwrap(),
            root: ContentId::from_bytes([5; 32]),
            expires: NOW + ATTESTATION_LIFETIME,
        }
    }

    fn verify(signed: &SignedAttestation) -> Result<Attestation, IdentityError> {
        signed.verify(&[issuer().public_key()], NOW)
    }

    #[test]
    fn only_a_trusted_issuers_word_counts_and_only_while_it_holds() {
        let attestation = attestation(&"a".repeat(1024));
        let signed = attestation.sign(&issuer());
        assert_eq!(verify(&signed), Ok(attestation.clone()));
        let at = attestation.expires;
        assert_eq!(signed.verify(&[issuer().public_key()], at), Err(IdentityError::Expired { at }));
        let other = Identity::from_seed([2; 32]);
        let unknown = Err(IdentityError::UnknownIssuer { issuer: other.public_key() });
        assert_eq!(verify(&attestation.sign(&other)), unknown);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = postcard::to_allocvec(&attestation("1.ts").sign(&issuer())).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = postcard::from_bytes::<SignedAttestation>(&flipped);
            assert!(!decoded.is_ok_and(|signed| verify(&signed).is_ok()), "bit {bit}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            if let Ok(signed) = postcard::from_bytes::<SignedAttestation>(&bytes) {
                proptest::prop_assert!(verify(&signed).is_err());
            }
            let body = bytes.as_slice().try_into().unwrap();
            let signature = issuer().sign(domain::ATTESTATION, &bytes);
            let _ = verify(&SignedAttestation { body, signature });
        }
    }
}
