//! Provider records: a peer's word, kept by others, that it can be asked for what a key names.
//!
//! It holds for no longer than a replica keeps it, and brings the peer's certificate along, so that whoever finds it can check it and
//! call the peer without asking anybody else who that is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    CLOCK_SKEW, Certificate, Identity, IdentityError, PublicKey, Rights, Signature, SignedCertificate,
    check_time, domain,
};
use crate::{bounded::BoundedBytes, id::PeerId, time::WallTime};

/// How long a peer lets a provider record hold.
pub const PROVIDER_LIFETIME: Duration = Duration::from_secs(360);

/// Most bytes of a provider record's body: about twice what version 1 needs.
const MAX_BODY: usize = 128;

const VERSION: u16 = 1;
const RECORD: &str = "provider record";

#[derive(Deserialize, Serialize)]
struct Body {
    // Binds the certificate: its holder may have another with a different nonce, thus under another peer id.
    peer: PeerId,
    #[serde(with = "crate::bytes")]
    key: [u8; 32],
    expires: WallTime,
}

/// A provider record as it travels. Holds nothing worth reading before [`SignedProvider::verify`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedProvider {
    certificate: SignedCertificate,
    body: BoundedBytes<MAX_BODY>,
    signature: Signature,
}

impl SignedProvider {
    /// The record of this certificate's holder, whose id is `peer`, for a key of 32 bytes.
    pub fn sign(
        key: [u8; 32],
        peer: PeerId,
        certificate: &SignedCertificate,
        holder: &Identity,
        now: WallTime,
    ) -> Self {
        let body = Body { peer, key, expires: now + PROVIDER_LIFETIME };
        let body = postcard::to_allocvec(&(VERSION, body)).expect("a provider record has an encoding");
        let signature = holder.sign(domain::PROVIDER, &body);
        let body = BoundedBytes::try_from(body).expect("a provider record of version 1 is under 80 bytes");
        Self { certificate: certificate.clone(), body, signature }
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a provider record has an encoding")
    }

    /// Takes the bytes apart; trailing bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        match postcard::take_from_bytes(bytes) {
            Ok((provider, _)) => Ok(provider),
            Err(_) => Err(IdentityError::Malformed { record: RECORD }),
        }
    }

    /// The certificate that came along; nothing of it is checked.
    pub fn certificate(&self) -> &SignedCertificate {
        &self.certificate
    }

    /// Who provides what this key names, and until when that holds, if a certified peer with the right to upload says so and it still does.
    pub fn verify(
        &self,
        key: &[u8; 32],
        issuers: &[PublicKey],
        now: WallTime,
    ) -> Result<(Certificate, WallTime), IdentityError> {
        let malformed = |_| IdentityError::Malformed { record: RECORD };
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.body).map_err(malformed)?;
        if version != VERSION {
            return Err(IdentityError::UnknownVersion { version });
        }
        let (body, _) = postcard::take_from_bytes::<Body>(rest).map_err(malformed)?;
        // The cheap checks come before two signatures.
        if body.key != *key {
            return Err(IdentityError::Malformed { record: RECORD });
        }
        check_time(None, body.expires, now)?;
        if body.expires > now + PROVIDER_LIFETIME + CLOCK_SKEW {
            return Err(IdentityError::NotYetValid { from: body.expires });
        }
        let certificate = self.certificate.verify(issuers, now)?;
        if certificate.peer_id() != body.peer {
            return Err(IdentityError::WrongSender);
        }
        if !certificate.rights.contains(Rights::SWARM.with(Rights::UPLOAD)) {
            return Err(IdentityError::NotPermitted);
        }
        certificate.public_key.verify(domain::PROVIDER, &self.body, &self.signature)?;
        Ok((certificate, body.expires))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Nonce,
        identity::certificate::tests::{NOW, certificate_of, issuer},
        kad::MAX_RECORD,
    };

    const KEY: [u8; 32] = [7; 32];

    fn holder() -> Identity {
        Identity::from_seed([9; 32])
    }

    fn signed() -> SignedProvider {
        let certificate = certificate_of(&holder());
        let peer = certificate.peer_id();
        SignedProvider::sign(KEY, peer, &certificate.sign(&issuer()), &holder(), NOW)
    }

    fn verify(signed: &SignedProvider, now: WallTime) -> Result<Certificate, IdentityError> {
        signed.verify(&KEY, &[issuer().public_key()], now).map(|(certificate, _)| certificate)
    }

    #[test]
    fn a_record_round_trips_through_its_bytes_and_fits_where_it_is_kept() {
        let mut bytes = signed().encode();
        assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        bytes.extend_from_slice(b"later");
        let read = SignedProvider::decode(&bytes).unwrap();
        assert_eq!(verify(&read, NOW).unwrap().peer_id(), certificate_of(&holder()).peer_id());
        assert_eq!(read.certificate(), &certificate_of(&holder()).sign(&issuer()));
    }

    #[test]
    fn it_holds_for_one_key_and_for_its_time() {
        let other = signed().verify(&[8; 32], &[issuer().public_key()], NOW);
        assert_eq!(other, Err(IdentityError::Malformed { record: RECORD }));
        let expires = NOW + PROVIDER_LIFETIME;
        assert!(verify(&signed(), WallTime::from_secs(expires.as_secs() - 1)).is_ok());
        assert_eq!(verify(&signed(), expires), Err(IdentityError::Expired { at: expires }));
        let early = verify(&signed(), WallTime::from_secs(NOW.as_secs() - 121));
        assert_eq!(early, Err(IdentityError::NotYetValid { from: expires }));
    }

    #[test]
    fn who_may_not_upload_provides_nothing() {
        let mut certificate = certificate_of(&holder());
        certificate.rights = Rights::SWARM;
        let peer = certificate.peer_id();
        let record = SignedProvider::sign(KEY, peer, &certificate.sign(&issuer()), &holder(), NOW);
        assert_eq!(verify(&record, NOW), Err(IdentityError::NotPermitted));
    }

    #[test]
    fn nobody_provides_in_another_ones_name() {
        let certificate = certificate_of(&holder());
        let mut again = certificate.clone();
        again.nonce = Nonce::from_bytes([5; 16]);
        let (peer, certificate, again) =
            (certificate.peer_id(), certificate.sign(&issuer()), again.sign(&issuer()));
        // Of the same key under another id, and by another key.
        let moved = SignedProvider { certificate: again, ..signed() };
        assert_eq!(verify(&moved, NOW), Err(IdentityError::WrongSender));
        let other = Identity::from_seed([4; 32]);
        let forged = SignedProvider::sign(KEY, peer, &certificate, &other, NOW);
        assert_eq!(verify(&forged, NOW), Err(IdentityError::BadSignature));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = signed().encode();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = SignedProvider::decode(&flipped).and_then(|signed| verify(&signed, NOW));
            assert!(verified.is_err(), "bit {bit}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..700)) {
            if let Ok(signed) = SignedProvider::decode(&bytes) {
                proptest::prop_assert!(verify(&signed, NOW).is_err());
            }
        }
    }
}
