//! Ed25519 (RFC 8032), strict verification only: one encoding a signature, no small-order keys.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::IdentityError;
use crate::id::{parse_hex, write_hex};

/// What each signature or hash is over. A new version of a record gets a new domain.
pub mod domain {
    /// A statement of an issuer about a segment's root.
    pub const ATTESTATION: &[u8] = b"tabswarm attestation v1";
    /// A list of what is blocked.
    pub const BLOCK_LIST: &[u8] = b"tabswarm block list v1";
    /// A certificate.
    pub const CERTIFICATE: &[u8] = b"tabswarm certificate v1";
    /// An introduction.
    pub const INTRODUCTION: &[u8] = b"tabswarm introduction v1";
    /// A stream manifest.
    pub const MANIFEST: &[u8] = b"tabswarm manifest v1";
    /// Hash: a network's id.
    pub const NETWORK_ID: &[u8] = b"tabswarm network id v1";
    /// Hash: a segment's id.
    pub const SEGMENT_ID: &[u8] = b"tabswarm segment id v1";
    /// What is sealed for one peer (HPKE `info`).
    pub const SEAL: &[u8] = b"tabswarm seal v1";
    /// A provider record.
    pub const PROVIDER: &[u8] = b"tabswarm provider v1";
    /// A peer's proof to the service that it holds its key, over the service's challenge.
    pub const SERVICE_HELLO: &[u8] = b"tabswarm service hello v1";
    /// Hash: a stream's id.
    pub const STREAM_ID: &[u8] = b"tabswarm stream id v1";
}

// The zero ends the domain: none is then a prefix of another.
fn signed_bytes(domain: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.len() + 1 + body.len());
    bytes.extend_from_slice(domain);
    bytes.push(0);
    bytes.extend_from_slice(body);
    bytes
}

/// A key pair that signs.
pub struct Identity(SigningKey);

impl Identity {
    /// The key pair of a seed, which the caller drew at random and keeps secret.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The key others verify with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The secret of the same key pair in X25519's form (RFC 8032 §5.1.5, not clamped).
    pub(super) fn scalar_bytes(&self) -> [u8; 32] {
        self.0.to_scalar_bytes()
    }

    /// Signs a body within a domain.
    pub fn sign(&self, domain: &[u8], body: &[u8]) -> Signature {
        Signature(self.0.sign(&signed_bytes(domain, body)).to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.public_key()).finish()
    }
}

/// An Ed25519 public key that is a point of the curve and not of small order.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Refuses bytes that are no key.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, IdentityError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(IdentityError::InvalidKey),
        }
    }

    /// The compressed point.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this key signed this body within this domain.
    pub fn verify(&self, domain: &[u8], body: &[u8], signature: &Signature) -> Result<(), IdentityError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| IdentityError::InvalidKey)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&signed_bytes(domain, body), &signature).map_err(|_| IdentityError::BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for PublicKey {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::from_bytes(parse_hex(text).map_err(|_| IdentityError::InvalidKey)?)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(crate::bytes::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An Ed25519 signature; says nothing until verified.
#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Signature(#[serde(with = "crate::bytes")] [u8; 64]);

impl Signature {
    /// Takes the raw bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_domain_and_body_only() {
        let identity = Identity::from_seed([7; 32]);
        let key = identity.public_key();
        let signature = identity.sign(b"one", b"body");
        assert_eq!(key.verify(b"one", b"body", &signature), Ok(()));
        assert_eq!(key.verify(b"two", b"body", &signature), Err(IdentityError::BadSignature));
        assert_eq!(key.verify(b"one", b"bodz", &signature), Err(IdentityError::BadSignature));
        let other = Identity::from_seed([8; 32]).public_key();
        assert_eq!(other.verify(b"one", b"body", &signature), Err(IdentityError::BadSignature));
    }

    #[test]
    fn a_domain_is_no_prefix_of_domain_and_body() {
        let identity = Identity::from_seed([7; 32]);
        let signature = identity.sign(b"record", b" v1 body");
        let shifted = identity.public_key().verify(b"record v1", b" body", &signature);
        assert_eq!(shifted, Err(IdentityError::BadSignature));
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_refused() {
        let identity = Identity::from_seed([7; 32]);
        let signature = identity.sign(b"one", b"body");
        for bit in 0..512 {
            let mut bytes = *signature.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(identity.public_key().verify(b"one", b"body", &Signature(bytes)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn bytes_that_are_no_good_key_are_refused() {
        // No point has y = 2; y = 1 is the identity, of order one.
        for first in [2, 1] {
            let mut bytes = [0; 32];
            bytes[0] = first;
            assert_eq!(PublicKey::from_bytes(bytes), Err(IdentityError::InvalidKey));
            assert!(postcard::from_bytes::<PublicKey>(&bytes).is_err());
        }
        assert_eq!("12".parse::<PublicKey>(), Err(IdentityError::InvalidKey));
    }

    #[test]
    fn keys_and_signatures_travel_as_raw_bytes() {
        let identity = Identity::from_seed([7; 32]);
        let key = identity.public_key();
        let encoded = postcard::to_allocvec(&key).unwrap();
        assert_eq!(encoded, key.as_bytes());
        assert_eq!(postcard::from_bytes(&encoded), Ok(key));
        assert_eq!(key.to_string().parse(), Ok(key));
        let signature = identity.sign(b"one", b"body");
        let encoded = postcard::to_allocvec(&signature).unwrap();
        assert_eq!(encoded, signature.as_bytes());
        assert_eq!(postcard::from_bytes(&encoded), Ok(signature));
    }

    #[test]
    fn the_seed_is_never_shown() {
        let identity = Identity::from_seed([7; 32]);
        assert!(!format!("{identity:?}").contains("0707"));
    }
}
