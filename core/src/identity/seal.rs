//! Sealed bytes: what goes over the mesh to one peer, and is read by nobody on the way.
//!
//! HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305. The receiver's X25519 key is its Ed25519
//! key in the curve's other form (RFC 7748 §4.1), so that its certificate is all that has to be known of it; one key pair may be used for both
//! (E. Thormarker, *On using the same key pair for Ed25519 and an X25519 based KEM*, 2021). Who sealed it is not said: what is inside is signed.

use ed25519_dalek::VerifyingKey;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal_with_rng,
};

use super::{Identity, IdentityError, PublicKey, domain};
use crate::random::Random;

/// Bytes by which sealed ones are longer.
pub const SEAL_OVERHEAD: usize = KEY_LEN + 16;
/// Bytes of the key that goes before what is sealed with it.
const KEY_LEN: usize = 32;

type Exchange = X25519HkdfSha256;

/// Bytes that only the holder of a key can open.
pub(crate) fn seal(to: &PublicKey, bytes: &[u8], random: &mut Random) -> Result<Vec<u8>, IdentityError> {
    let key = VerifyingKey::from_bytes(to.as_bytes()).map_err(|_| IdentityError::InvalidKey)?;
    let key = <Exchange as Kem>::PublicKey::from_bytes(&key.to_montgomery().to_bytes())
        .map_err(|_| IdentityError::InvalidKey)?;
    let (key, sealed) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Exchange>(
        &OpModeS::Base,
        &key,
        domain::SEAL,
        bytes,
        &[],
        random,
    )
    .map_err(|_| IdentityError::InvalidKey)?;
    Ok([&key.to_bytes()[..], &sealed].concat())
}

impl Identity {
    /// What was sealed for this key.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let not_ours = |_| IdentityError::NotSealedForUs;
        let (key, sealed) = sealed.split_at_checked(KEY_LEN).ok_or(IdentityError::NotSealedForUs)?;
        let key = <Exchange as Kem>::EncappedKey::from_bytes(key).map_err(not_ours)?;
        let own = <Exchange as Kem>::PrivateKey::from_bytes(&self.scalar_bytes()).map_err(not_ours)?;
        single_shot_open::<ChaCha20Poly1305, HkdfSha256, Exchange>(
            &OpModeR::Base,
            &own,
            &key,
            domain::SEAL,
            sealed,
            &[],
        )
        .map_err(not_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Random {
        Random::new([5; 32])
    }

    #[test]
    fn only_the_receiver_opens_it() {
        let (receiver, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
        for bytes in [Vec::new(), b"who I am and where".to_vec(), vec![7; 8000]] {
            let sealed = seal(&receiver.public_key(), &bytes, &mut random()).unwrap();
            assert_eq!(sealed.len(), bytes.len() + SEAL_OVERHEAD);
            assert_eq!(receiver.open(&sealed), Ok(bytes));
            assert_eq!(other.open(&sealed), Err(IdentityError::NotSealedForUs));
        }
    }

    #[test]
    fn the_same_bytes_are_never_sealed_alike() {
        let (receiver, mut random) = (Identity::from_seed([1; 32]).public_key(), random());
        let first = seal(&receiver, b"bytes", &mut random).unwrap();
        assert_ne!(seal(&receiver, b"bytes", &mut random).unwrap(), first);
    }

    #[test]
    fn what_was_changed_or_cut_on_the_way_is_refused() {
        let receiver = Identity::from_seed([1; 32]);
        let sealed = seal(&receiver.public_key(), b"bytes", &mut random()).unwrap();
        for place in 0..sealed.len() {
            // The highest bit of a coordinate means nothing (RFC 7748 §5), but the key is in what is hashed.
            let mut changed = sealed.clone();
            changed[place] ^= 128;
            assert_eq!(receiver.open(&changed), Err(IdentityError::NotSealedForUs), "byte {place}");
            assert_eq!(receiver.open(&sealed[..place]), Err(IdentityError::NotSealedForUs), "{place} bytes");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            proptest::prop_assert!(Identity::from_seed([1; 32]).open(&bytes).is_err());
        }
    }
}
