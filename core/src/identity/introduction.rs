//! Introductions: the signed messages that set up a connection, whoever carries them.
//!
//! Nothing is dialled, answered or added to a connection before its introduction verifies. Sealing the body to the
//! target's key for a way over the mesh is not here; nor is telling replays apart, which the session id is for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    CLOCK_SKEW, Candidate, Certificate, Description, Identity, IdentityError, PublicKey, Rights, Signature,
    SignedCertificate, check_time, domain,
};
use crate::{
    bounded::BoundedBytes,
    id::{NetworkId, PeerId, SessionId},
    time::WallTime,
};

/// How long a sender lets an introduction hold.
pub const INTRODUCTION_LIFETIME: Duration = Duration::from_secs(30);

/// Most bytes of an introduction's body: a description with all its candidates fits.
pub const MAX_INTRODUCTION_LEN: usize = 20 * 1024;

const VERSION: u16 = 1;
const RECORD: &str = "introduction";

/// What an introduction brings. The order is the wire's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum IntroductionBody {
    /// Asks for a connection.
    Offer(Description),
    /// Agrees to an offer of the same session.
    Answer(Description),
    /// New ICE credentials for a session; the fingerprint must stay.
    Restart(Description),
    /// One more candidate of a session.
    Candidate(Candidate),
    /// Asks for a connection that segments are not traded over: a contact of the overlay.
    Contact(Description),
    /// Does not agree to an offer, or says no to a knock, of the same session: there is no room.
    Refusal,
    /// Asks whether there is room for a partner, before a connection is made for it.
    Knock,
    /// Says yes to a knock of the same session: an offer that comes soon is taken.
    Welcome,
}

/// What one peer tells another to set up or mend a connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Introduction {
    /// The peer it is for.
    pub to: PeerId,
    /// The network both are in.
    pub network: NetworkId,
    /// The attempt it belongs to.
    pub session: SessionId,
    /// Until when it holds; at most [`INTRODUCTION_LIFETIME`] ahead.
    pub expires: WallTime,
    /// What it brings.
    pub body: IntroductionBody,
}

#[derive(Deserialize, Serialize)]
struct SignedPart<T> {
    // Binds the certificate: its holder may have another with a different nonce, thus under another peer id.
    #[serde(with = "crate::bytes")]
    certificate: [u8; 32],
    introduction: T,
}

fn certificate_hash(certificate: &SignedCertificate) -> [u8; 32] {
    *blake3::hash(&certificate.encode()).as_bytes()
}

impl Introduction {
    /// Signs as the holder of the certificate.
    pub fn sign(self, certificate: &SignedCertificate, holder: &Identity) -> SignedIntroduction {
        let part = SignedPart { certificate: certificate_hash(certificate), introduction: &self };
        let body = postcard::to_allocvec(&(VERSION, part)).expect("an introduction has an encoding");
        let signature = holder.sign(domain::INTRODUCTION, &body);
        let body =
            BoundedBytes::try_from(body).expect("the parts of an introduction are bounded below its limit");
        SignedIntroduction { certificate: certificate.clone(), body, signature }
    }
}

/// What an introduction is verified against.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// Keys whose certificates count.
    pub issuers: &'a [PublicKey],
    /// The verifying peer.
    pub me: PeerId,
    /// The network it is in.
    pub network: NetworkId,
    /// Wall time.
    pub now: WallTime,
}

/// An introduction that its sender signed for us, now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedIntroduction {
    /// The sender.
    pub from: PeerId,
    /// What its certificate says, which verified.
    pub certificate: Certificate,
    /// What it says.
    pub introduction: Introduction,
}

/// An introduction as it travels. Holds nothing worth reading before [`SignedIntroduction::verify`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedIntroduction {
    certificate: SignedCertificate,
    body: BoundedBytes<MAX_INTRODUCTION_LEN>,
    signature: Signature,
}

impl SignedIntroduction {
    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a signed introduction has an encoding")
    }

    /// Takes the bytes apart; trailing bytes are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        match postcard::take_from_bytes(bytes) {
            Ok((introduction, _)) => Ok(introduction),
            Err(_) => Err(IdentityError::Malformed { record: RECORD }),
        }
    }

    /// The introduction, if a certified peer with the right to swarm made it for us and it is still fresh.
    pub fn verify(&self, trusted: &Trusted<'_>) -> Result<VerifiedIntroduction, IdentityError> {
        let malformed = |_| IdentityError::Malformed { record: RECORD };
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.body).map_err(malformed)?;
        if version != VERSION {
            return Err(IdentityError::UnknownVersion { version });
        }
        let (part, _) = postcard::take_from_bytes::<SignedPart<Introduction>>(rest).map_err(malformed)?;
        let introduction = part.introduction;
        // The cheap checks come before two signatures.
        if introduction.to != trusted.me {
            return Err(IdentityError::WrongTarget { to: introduction.to });
        }
        if introduction.network != trusted.network {
            return Err(IdentityError::WrongNetwork { network: introduction.network });
        }
        if part.certificate != certificate_hash(&self.certificate) {
            return Err(IdentityError::WrongSender);
        }
        check_time(None, introduction.expires, trusted.now)?;
        if introduction.expires > trusted.now + INTRODUCTION_LIFETIME + CLOCK_SKEW {
            return Err(IdentityError::NotYetValid { from: introduction.expires });
        }
        let certificate = self.certificate.verify(trusted.issuers, trusted.now)?;
        if !certificate.rights.contains(Rights::SWARM) {
            return Err(IdentityError::NotPermitted);
        }
        certificate.public_key.verify(domain::INTRODUCTION, &self.body, &self.signature)?;
        Ok(VerifiedIntroduction { from: certificate.peer_id(), certificate, introduction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Nonce,
        identity::{
            Certificate,
            certificate::tests::{NOW, certificate_of, issuer},
            description::tests::description,
        },
    };

    const ME: PeerId = PeerId::from_bytes([5; 32]);
    const NETWORK: NetworkId = NetworkId::from_bytes([6; 32]);

    fn sender() -> Identity {
        Identity::from_seed([9; 32])
    }

    fn introduction() -> Introduction {
        Introduction {
            to: ME,
            network: NETWORK,
            session: SessionId::from_bytes([7; 16]),
            expires: NOW + INTRODUCTION_LIFETIME,
            body: IntroductionBody::Offer(description()),
        }
    }

    fn signed(introduction: Introduction) -> SignedIntroduction {
        introduction.sign(&certificate_of(&sender()).sign(&issuer()), &sender())
    }

    fn verify_at(signed: &SignedIntroduction, now: WallTime) -> Result<VerifiedIntroduction, IdentityError> {
        let issuers = [issuer().public_key()];
        signed.verify(&Trusted { issuers: &issuers, me: ME, network: NETWORK, now })
    }

    #[test]
    fn a_fresh_introduction_for_us_names_its_sender() {
        let signed = signed(introduction());
        let verified = verify_at(&SignedIntroduction::decode(&signed.encode()).unwrap(), NOW).unwrap();
        assert_eq!(verified.introduction, introduction());
        assert_eq!(verified.from, certificate_of(&sender()).peer_id());
    }

    #[test]
    fn expired_and_too_long_lived_introductions_are_refused() {
        let expires = introduction().expires;
        let verified = verify_at(&signed(introduction()), expires);
        assert_eq!(verified, Err(IdentityError::Expired { at: expires }));
        let mut long = introduction();
        long.expires = NOW + Duration::from_secs(150);
        assert!(verify_at(&signed(long.clone()), NOW).is_ok());
        long.expires = NOW + Duration::from_secs(151);
        let refused = Err(IdentityError::NotYetValid { from: long.expires });
        assert_eq!(verify_at(&signed(long), NOW), refused);
    }

    #[test]
    fn an_introduction_for_another_peer_or_network_is_refused() {
        let other = PeerId::from_bytes([8; 32]);
        let verified = verify_at(&signed(Introduction { to: other, ..introduction() }), NOW);
        assert_eq!(verified, Err(IdentityError::WrongTarget { to: other }));
        let network = NetworkId::from_bytes([8; 32]);
        let verified = verify_at(&signed(Introduction { network, ..introduction() }), NOW);
        assert_eq!(verified, Err(IdentityError::WrongNetwork { network }));
    }

    #[test]
    fn nobody_signs_with_a_certificate_that_is_not_theirs() {
        let forged =
            introduction().sign(&certificate_of(&sender()).sign(&issuer()), &Identity::from_seed([10; 32]));
        assert_eq!(verify_at(&forged, NOW), Err(IdentityError::BadSignature));
    }

    #[test]
    fn the_certificate_cannot_be_exchanged_for_another_of_the_same_key() {
        let nonce = Nonce::from_bytes([11; 16]);
        let mut signed = signed(introduction());
        signed.certificate = Certificate { nonce, ..certificate_of(&sender()) }.sign(&issuer());
        assert_eq!(verify_at(&signed, NOW), Err(IdentityError::WrongSender));
    }

    #[test]
    fn a_peer_without_the_right_to_swarm_introduces_nobody() {
        let certificate = Certificate { rights: Rights::UPLOAD, ..certificate_of(&sender()) };
        let signed = introduction().sign(&certificate.sign(&issuer()), &sender());
        assert_eq!(verify_at(&signed, NOW), Err(IdentityError::NotPermitted));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = signed(introduction()).encode();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = SignedIntroduction::decode(&flipped).and_then(|signed| verify_at(&signed, NOW));
            assert!(verified.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_largest_description_fits() {
        let line = format!("candidate:{}", "1".repeat(502));
        let candidates = vec![Candidate::new(&line).unwrap(); super::super::MAX_CANDIDATES];
        let long = "a".repeat(256);
        let body = Description::new(description().fingerprint(), &long, &long, candidates).unwrap();
        let signed = signed(Introduction { body: IntroductionBody::Answer(body), ..introduction() });
        assert!(verify_at(&SignedIntroduction::decode(&signed.encode()).unwrap(), NOW).is_ok());
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..1500),
        ) {
            if let Ok(signed) = SignedIntroduction::decode(&bytes) {
                proptest::prop_assert!(verify_at(&signed, NOW).is_err());
            }
        }

        #[test]
        fn an_arbitrary_body_never_panics(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..1500),
        ) {
            let mut signed = signed(introduction());
            signed.body = bytes.try_into().unwrap();
            proptest::prop_assert!(verify_at(&signed, NOW).is_err());
        }
    }
}
