//! Block lists: an issuer's word that content is not to be kept, given or taken any more, whoever asks.
//!
//! A list is whole: the newest counts, and what it does not name is blocked no longer.

use serde::{Deserialize, Serialize};

use crate::{
    bounded::{BoundedBytes, BoundedVec},
    id::ContentId,
    identity::{Identity, IdentityError, PublicKey, Signature, domain},
    time::WallTime,
};

/// Most segments of a block list.
pub const MAX_BLOCKED: usize = 1024;

/// Most bytes of a block list's body.
pub const MAX_BLOCK_LIST_LEN: usize = 32 * MAX_BLOCKED + 64;

const VERSION: u16 = 1;
const RECORD: &str = "block list";

/// What is blocked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BlockList {
    /// Who says so.
    pub issuer: PublicKey,
    /// When it was signed. Of two lists the later one counts.
    pub issued: WallTime,
    /// Addresses.
    pub contents: BoundedVec<ContentId, MAX_BLOCKED>,
}

impl BlockList {
    /// Signs as the issuer.
    pub fn sign(
        issuer: &Identity,
        issued: WallTime,
        contents: BoundedVec<ContentId, MAX_BLOCKED>,
    ) -> SignedBlockList {
        let body = postcard::to_allocvec(&(VERSION, issuer.public_key(), issued, contents))
            .expect("a block list has an encoding");
        let signature = issuer.sign(domain::BLOCK_LIST, &body);
        let body = BoundedBytes::try_from(body).expect("1024 addresses and 64 bytes beside them fit");
        SignedBlockList { body, signature }
    }
}

/// A block list as it travels. Holds nothing worth reading before [`SignedBlockList::verify`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedBlockList {
    body: BoundedBytes<MAX_BLOCK_LIST_LEN>,
    signature: Signature,
}

impl SignedBlockList {
    /// The list, if one of these issuers signed it.
    pub fn verify(&self, issuers: &[PublicKey]) -> Result<BlockList, IdentityError> {
        let list = self.read()?;
        if !issuers.contains(&list.issuer) {
            return Err(IdentityError::UnknownIssuer { issuer: list.issuer });
        }
        Ok(list)
    }

    /// The list, if the issuer that it names signed it: whether that one is to be believed is another question.
    pub fn read(&self) -> Result<BlockList, IdentityError> {
        let malformed = |_| IdentityError::Malformed { record: RECORD };
        let (version, rest) = postcard::take_from_bytes::<u16>(&self.body).map_err(malformed)?;
        if version != VERSION {
            return Err(IdentityError::UnknownVersion { version });
        }
        let ((issuer, issued, contents), _) =
            postcard::take_from_bytes::<(PublicKey, WallTime, BoundedVec<ContentId, MAX_BLOCKED>)>(rest)
                .map_err(malformed)?;
        issuer.verify(domain::BLOCK_LIST, &self.body, &self.signature)?;
        Ok(BlockList { issuer, issued, contents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_secs(1_000_000);

    fn issuer() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn signed(count: usize) -> SignedBlockList {
        let contents = (0..count).map(|number| ContentId::from_bytes([number as u8; 32]));
        BlockList::sign(&issuer(), NOW, BoundedVec::first_of(contents))
    }

    #[test]
    fn only_a_trusted_issuers_list_counts() {
        for count in [0, 1, MAX_BLOCKED] {
            let list = signed(count).verify(&[issuer().public_key()]).unwrap();
            assert_eq!((list.issued, list.contents.len()), (NOW, count));
        }
        let other = Identity::from_seed([2; 32]).public_key();
        let unknown = IdentityError::UnknownIssuer { issuer: issuer().public_key() };
        assert_eq!(signed(1).verify(&[other]), Err(unknown));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = postcard::to_allocvec(&signed(2)).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = postcard::from_bytes::<SignedBlockList>(&flipped);
            assert!(!decoded.is_ok_and(|list| list.read().is_ok()), "bit {bit}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            if let Ok(list) = postcard::from_bytes::<SignedBlockList>(&bytes) {
                proptest::prop_assert!(list.read().is_err());
            }
            let body = bytes.as_slice().try_into().unwrap();
            let signature = issuer().sign(domain::BLOCK_LIST, &bytes);
            let _ = SignedBlockList { body, signature }.read();
        }
    }
}
