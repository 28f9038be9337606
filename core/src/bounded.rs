//! Collections with a limit in their type, for what a remote can grow.
//!
//! Reading one refuses anything beyond the limit, and never allocates from a length that was only claimed.

use std::{fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// More than the limit allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("longer than {limit}")]
pub struct BoundExceeded {
    /// Most elements or bytes allowed.
    pub limit: usize,
}

/// A list of at most `N` elements.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BoundedVec<T, const N: usize>(Vec<T>);

impl<T, const N: usize> BoundedVec<T, N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends, or refuses if the list is full.
    pub fn push(&mut self, element: T) -> Result<(), BoundExceeded> {
        if self.0.len() >= N {
            return Err(BoundExceeded { limit: N });
        }
        self.0.push(element);
        Ok(())
    }

    /// The first `N` elements of an iterator; the rest is left.
    pub fn first_of(elements: impl IntoIterator<Item = T>) -> Self {
        Self(elements.into_iter().take(N).collect())
    }

    /// The elements without the limit.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const N: usize> Default for BoundedVec<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for BoundedVec<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> TryFrom<Vec<T>> for BoundedVec<T, N> {
    type Error = BoundExceeded;

    fn try_from(elements: Vec<T>) -> Result<Self, BoundExceeded> {
        if elements.len() > N { Err(BoundExceeded { limit: N }) } else { Ok(Self(elements)) }
    }
}

impl<T, const N: usize> IntoIterator for BoundedVec<T, N> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a BoundedVec<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Serialize, const N: usize> Serialize for BoundedVec<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for BoundedVec<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for ListVisitor<T, N> {
            type Value = BoundedVec<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bounded list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                if access.size_hint().is_some_and(|claimed| claimed > N) {
                    return Err(A::Error::custom("list too long"));
                }
                let mut elements = BoundedVec::new();
                while let Some(element) = access.next_element()? {
                    elements.push(element).map_err(A::Error::custom)?;
                }
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// A text of at most `N` bytes.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BoundedString<const N: usize>(String);

impl<const N: usize> BoundedString<N> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without the limit.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const N: usize> Deref for BoundedString<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> TryFrom<String> for BoundedString<N> {
    type Error = BoundExceeded;

    fn try_from(text: String) -> Result<Self, BoundExceeded> {
        if text.len() > N { Err(BoundExceeded { limit: N }) } else { Ok(Self(text)) }
    }
}

impl<const N: usize> TryFrom<&str> for BoundedString<N> {
    type Error = BoundExceeded;

    fn try_from(text: &str) -> Result<Self, BoundExceeded> {
        if text.len() > N { Err(BoundExceeded { limit: N }) } else { Ok(Self(text.to_owned())) }
    }
}

impl<const N: usize> Serialize for BoundedString<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for BoundedString<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<const N: usize>;

        impl<const N: usize> Visitor<'_> for TextVisitor<N> {
            type Value = BoundedString<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bounded text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                text.try_into().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A byte string of at most `N` bytes.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BoundedBytes<const N: usize>(Vec<u8>);

impl<const N: usize> BoundedBytes<N> {
    /// The bytes without the limit.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const N: usize> Deref for BoundedBytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> TryFrom<Vec<u8>> for BoundedBytes<N> {
    type Error = BoundExceeded;

    fn try_from(bytes: Vec<u8>) -> Result<Self, BoundExceeded> {
        if bytes.len() > N { Err(BoundExceeded { limit: N }) } else { Ok(Self(bytes)) }
    }
}

impl<const N: usize> TryFrom<&[u8]> for BoundedBytes<N> {
    type Error = BoundExceeded;

    fn try_from(bytes: &[u8]) -> Result<Self, BoundExceeded> {
        if bytes.len() > N { Err(BoundExceeded { limit: N }) } else { Ok(Self(bytes.to_vec())) }
    }
}

impl<const N: usize> Serialize for BoundedBytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for BoundedBytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor<const N: usize>;

        impl<const N: usize> Visitor<'_> for BytesVisitor<N> {
            type Value = BoundedBytes<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bounded bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                bytes.try_into().map_err(E::custom)
            }
        }

        deserializer.deserialize_bytes(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_collections_round_trip_and_one_more_is_refused() {
        let list = postcard::to_allocvec(&vec![1u8, 2, 3]).unwrap();
        assert_eq!(*postcard::from_bytes::<BoundedVec<u8, 3>>(&list).unwrap(), [1, 2, 3]);
        assert!(postcard::from_bytes::<BoundedVec<u8, 2>>(&list).is_err());
        let text = postcard::to_allocvec("abc").unwrap();
        assert_eq!(&*postcard::from_bytes::<BoundedString<3>>(&text).unwrap(), "abc");
        assert!(postcard::from_bytes::<BoundedString<2>>(&text).is_err());
        assert_eq!(*postcard::from_bytes::<BoundedBytes<3>>(&text).unwrap(), *b"abc");
        assert!(postcard::from_bytes::<BoundedBytes<2>>(&text).is_err());
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // Varint of 2^32 - 1, and nothing behind it.
        let claimed = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(postcard::from_bytes::<BoundedVec<[u8; 32], { usize::MAX }>>(&claimed).is_err());
        assert!(postcard::from_bytes::<BoundedString<{ usize::MAX }>>(&claimed).is_err());
        assert!(postcard::from_bytes::<BoundedBytes<{ usize::MAX }>>(&claimed).is_err());
    }

    #[test]
    fn pushing_stops_at_the_limit() {
        let mut list = BoundedVec::<u8, 1>::new();
        assert_eq!(list.push(1), Ok(()));
        assert_eq!(list.push(2), Err(BoundExceeded { limit: 1 }));
        assert_eq!(BoundedVec::<u8, 2>::first_of(0..9).into_vec(), [0, 1]);
    }
}
