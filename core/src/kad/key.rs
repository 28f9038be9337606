//! Places in the overlay's space, and how far they are apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::write_hex,
    id::{ContentId, PeerId},
};

/// Bits of a key.
const BITS: u32 = 256;

/// A place in the overlay's space of 256 bits: a peer's, or that of what is looked for.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Key(#[serde(with = "crate::bytes")] [u8; 32]);

impl Key {
    /// Takes the raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key that shares so many bits with this one, 0 to 255, and not the next; those behind are by chance.
    #[must_use]
    pub(super) fn leaving_at(self, bits: u32, chance: [u8; 32]) -> Self {
        let place = bits as usize / 8;
        let bit = 0x80 >> (bits % 8);
        let mut key = chance;
        key[..place].copy_from_slice(&self.0[..place]);
        // Of the byte in which they part: what is before the bit from here, the bit the other way round, what is behind by chance.
        let behind = bit - 1;
        key[place] = self.0[place] & !(bit | behind) | !self.0[place] & bit | chance[place] & behind;
        Self(key)
    }

    /// How far another key is away.
    pub fn distance(self, other: Self) -> Distance {
        let mut apart = self.0;
        apart.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
        Distance(apart)
    }
}

impl From<PeerId> for Key {
    fn from(peer: PeerId) -> Self {
        Self(*peer.as_bytes())
    }
}

impl From<ContentId> for Key {
    fn from(content: ContentId) -> Self {
        Self(*content.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])
    }
}

/// How far two keys are apart: their bits, exclusive or, as a number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Distance([u8; 32]);

impl Distance {
    /// Bits that both keys begin with in common: 0 to 256.
    pub fn common_bits(self) -> u32 {
        let same = self.0.iter().take_while(|byte| **byte == 0).count();
        self.0.get(same).map_or(BITS, |byte| 8 * same as u32 + byte.leading_zeros())
    }

    /// As a part of the space, above 0 and at most 1. Exact to 64 bits.
    pub(super) fn fraction(self) -> f64 {
        let (head, _) = self.0.split_first_chunk::<8>().expect("there are 32 bytes");
        (u64::from_be_bytes(*head) as f64 + 1.0) / 2f64.powi(64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8, last: u8) -> Key {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (first, last);
        Key::from_bytes(bytes)
    }

    #[test]
    fn bits_in_common_are_counted_from_the_front() {
        let cases = [
            (key(0, 0), 256),
            (key(0, 1), 255),
            (key(0, 0x80), 248),
            (key(1, 0), 7),
            (key(0x40, 9), 1),
            (key(0x80, 0), 0),
        ];
        for (other, bits) in cases {
            assert_eq!(key(0, 0).distance(other).common_bits(), bits, "{other:?}");
        }
    }

    #[test]
    fn a_distance_is_a_part_of_the_space() {
        let apart = |first| key(0, 0).distance(key(first, 0)).fraction();
        assert_eq!((apart(0x80), apart(0x40), apart(0xff) < 1.0), (0.5 + apart(0), 0.25 + apart(0), true));
        assert!(apart(0) > 0.0 && apart(0) < 1e-15);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn of_two_keys_one_is_nearer_to_a_third_and_it_is_as_near_both_ways(
            a in proptest::array::uniform32(proptest::num::u8::ANY),
            b in proptest::array::uniform32(proptest::num::u8::ANY),
            c in proptest::array::uniform32(proptest::num::u8::ANY),
        ) {
            let [a, b, c] = [a, b, c].map(Key::from_bytes);
            proptest::prop_assert_eq!(a.distance(b), b.distance(a));
            proptest::prop_assert_eq!(a.distance(c) == b.distance(c), a == b);
            let (near, far) = (a.distance(b).min(a.distance(c)), a.distance(b).max(a.distance(c)));
            proptest::prop_assert!(near.common_bits() >= far.common_bits());
            proptest::prop_assert!(near.fraction() <= far.fraction());
        }
    }
}
