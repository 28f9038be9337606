//! Identifiers: fixed-size byte strings that travel, and local handles that don't.
//!
//! How an id is derived from keys and names is said where those live (`identity`, `content`); this module knows only
//! bytes and their hexadecimal form.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hexadecimal text that is not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseHexError {
    /// A character outside `0-9a-fA-F`.
    #[error("not a hexadecimal digit at position {position}")]
    Digit {
        /// Byte offset of the character.
        position: usize,
    },
    /// Too few or too many digits.
    #[error("expected {expected} hexadecimal digits, found {found}")]
    Length {
        /// Digits an id of this kind has.
        expected: usize,
        /// Bytes of the text.
        found: usize,
    },
}

fn digit_value(digit: u8, position: usize) -> Result<u8, ParseHexError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(ParseHexError::Digit { position }),
    }
}

/// Reads exactly `N` bytes from `2 * N` hexadecimal digits, either case.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(ParseHexError::Length { expected: 2 * N, found: digits.len() });
    }
    let mut bytes = [0; N];
    for (index, (byte, pair)) in bytes.iter_mut().zip(digits.chunks_exact(2)).enumerate() {
        *byte = digit_value(pair[0], 2 * index)? << 4 | digit_value(pair[1], 2 * index + 1)?;
    }
    Ok(bytes)
}

/// Writes bytes as lower-case hexadecimal digits, `separator` between bytes.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8], separator: Option<char>) {
    for (index, byte) in bytes.iter().enumerate() {
        if let Some(separator) = separator.filter(|_| index > 0) {
            out.push(separator);
        }
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes, None);
    f.write_str(&text)
}

/// Defines a newtype over fixed bytes: `from_bytes`, `as_bytes`, full hex `Display`, short `Debug`, `FromStr`.
macro_rules! fixed_bytes {
    ($($(#[$meta:meta])* $name:ident[$len:literal];)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, serde::Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize)]
        pub struct $name(#[serde(with = "crate::bytes")] [u8; $len]);

        impl $name {
            /// Takes the raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::id::write_hex(f, &self.0[..4])
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::id::write_hex(f, &self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::id::ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::parse_hex(text).map(Self)
            }
        }
    )*};
}
pub(crate) use fixed_bytes;

fixed_bytes! {
    /// BLAKE3 root hash of immutable content.
    ContentId[32];
    /// A network: the peers certified by one issuer key.
    NetworkId[32];
    /// Keyed hash of a network prefix (/24, or /48 and /64), as the issuer computed it.
    NetworkGroup[16];
    /// The issuer's random number in a certificate: what makes two peer ids of one key differ.
    Nonce[16];
    /// A peer for the length of its session.
    PeerId[32];
    /// A segment of a stream, independent of its bytes.
    SegmentId[32];
    /// One attempt to connect two peers, from its first introduction to the close of the link.
    SessionId[16];
    /// A stream, and with it the swarm that shares it.
    StreamId[32];
}

impl NetworkGroup {
    /// Everybody whose address is loopback or private: one group, which has no limits.
    pub const LOCAL: Self = Self([0; 16]);
}

macro_rules! local_handles {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that the caller keeps unique.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number.
            pub const fn value(self) -> u64 {
                self.0
            }
        }
    )*};
}

local_handles! {
    /// Bytes that the driver keeps for the core.
    BlobHandle;
    /// A segment the player asked for.
    FetchId;
    /// A connection of this node, open or being opened.
    LinkId;
    /// An HTTP request the driver carries out for the core.
    OriginRequestId;
}

/// A request on a link, unique among the sender's requests on that link.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RequestId(u32);

impl RequestId {
    /// Wraps a number that the sender keeps unique.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_form_round_trips_in_either_case() {
        let id = SessionId::from_bytes(*b"\x00\x01\x7f\x80\xfe\xff0123456789");
        assert_eq!(id.to_string(), "00017f80feff30313233343536373839");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "00017f80");
    }

    #[test]
    fn text_that_is_not_an_id_says_why() {
        assert_eq!("00".parse::<PeerId>(), Err(ParseHexError::Length { expected: 64, found: 2 }));
        let text = format!("00g{}", "0".repeat(29));
        assert_eq!(text.parse::<Nonce>(), Err(ParseHexError::Digit { position: 2 }));
    }

    #[test]
    fn ids_travel_as_raw_bytes() {
        let id = StreamId::from_bytes([9; 32]);
        let bytes = postcard::to_allocvec(&id).unwrap();
        assert_eq!(bytes, [9; 32]);
        assert_eq!(postcard::from_bytes::<StreamId>(&bytes), Ok(id));
        assert!(postcard::from_bytes::<StreamId>(&bytes[..31]).is_err());
    }
}
