//! The manifest as a file: header, body and, if a publisher signed it, key and signature (docs/protocol.md).
//!
//! All numbers of the header are little-endian. The body is signed as it lies in the file, so fields that a later publisher
//! appends to it are covered and skipped.

use serde::{Deserialize, Serialize};

use super::{GroupList, MAX_SEGMENTS, MAX_TRACKS, Manifest, ManifestError, SegmentEntry, Track};
use crate::{
    bounded::{BoundedString, BoundedVec},
    identity::{Identity, PublicKey, Signature, domain},
    time::WallTime,
};

/// Most bytes of a manifest file.
pub const MAX_MANIFEST_LEN: usize = 4 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"tabswarm";
const VERSION: u16 = 1;
/// Magic, version, kind and the body's length.
const HEADER_LEN: usize = 15;
/// The key and the signature of a signed one.
const PUBLISHER_LEN: usize = 32 + 64;
const UNSIGNED: u8 = 0;
const SIGNED: u8 = 1;

/// What makes a manifest count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Where it was fetched from. A signature is not asked for, but a bad one is refused.
    Origin,
    /// The signature of this publisher, pinned beforehand.
    Signed(PublicKey),
}

#[derive(Serialize)]
struct BodyOut<'a> {
    stream: &'a str,
    created: WallTime,
    tracks: &'a [Track],
    segments: &'a [SegmentEntry],
}

#[derive(Deserialize)]
struct BodyIn {
    stream: BoundedString<1024>,
    created: WallTime,
    tracks: BoundedVec<Track, MAX_TRACKS>,
    segments: BoundedVec<SegmentEntry, MAX_SEGMENTS>,
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ManifestError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(ManifestError::Truncated)?;
    *bytes = rest;
    Ok(*head)
}

impl Manifest {
    /// The file without a signature. Refuses a manifest beyond [`MAX_MANIFEST_LEN`].
    pub fn encode_unsigned(&self) -> Result<Vec<u8>, ManifestError> {
        self.encode(None)
    }

    /// The file signed by its publisher. Refuses a manifest beyond [`MAX_MANIFEST_LEN`].
    pub fn encode_signed(&self, publisher: &Identity) -> Result<Vec<u8>, ManifestError> {
        self.encode(Some(publisher))
    }

    fn encode(&self, publisher: Option<&Identity>) -> Result<Vec<u8>, ManifestError> {
        let body = BodyOut {
            stream: self.stream(),
            created: self.created(),
            tracks: self.tracks(),
            segments: self.segments(),
        };
        let mut body = postcard::to_allocvec(&body).expect("a manifest has an encoding");
        if self.refresh_ms > 0 || !self.withdrawn.is_empty() {
            body = postcard::to_extend(&self.refresh_ms, body).expect("a number has an encoding");
        }
        if !self.withdrawn.is_empty() {
            body = postcard::to_extend(&self.withdrawn, body).expect("a list has an encoding");
        }
        let body_len = u32::try_from(body.len()).map_err(|_| ManifestError::TooMany { what: "bytes" })?;
        let mut file = Vec::with_capacity(body.len() + 128);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.push(if publisher.is_some() { SIGNED } else { UNSIGNED });
        file.extend_from_slice(&body_len.to_le_bytes());
        file.extend_from_slice(&body);
        if let Some(publisher) = publisher {
            file.extend_from_slice(publisher.public_key().as_bytes());
            file.extend_from_slice(publisher.sign(domain::MANIFEST, &body).as_bytes());
        }
        if file.len() > MAX_MANIFEST_LEN {
            return Err(ManifestError::TooMany { what: "bytes" });
        }
        Ok(file)
    }

    /// Reads a file that `trust` accepts; trailing bytes are ignored.
    pub fn decode(bytes: &[u8], trust: &Trust) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_LEN {
            return Err(ManifestError::TooMany { what: "bytes" });
        }
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(ManifestError::NotAManifest)?;
        let version = u16::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(ManifestError::UnknownVersion { version });
        }
        let [kind] = take(&mut rest)?;
        let body_len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (body, mut rest) = rest.split_at_checked(body_len).ok_or(ManifestError::Truncated)?;
        match (kind, trust) {
            (UNSIGNED, Trust::Origin) => {}
            (UNSIGNED, Trust::Signed(_)) => return Err(ManifestError::Unsigned),
            (SIGNED, trust) => {
                let publisher = PublicKey::from_bytes(take(&mut rest)?)?;
                if matches!(trust, Trust::Signed(pinned) if *pinned != publisher) {
                    return Err(ManifestError::WrongPublisher);
                }
                let signature = Signature::from_bytes(take(&mut rest)?);
                publisher.verify(domain::MANIFEST, body, &signature)?;
            }
            _ => return Err(ManifestError::Malformed),
        }
        let malformed = |_| ManifestError::Malformed;
        let (body, more) = postcard::take_from_bytes::<BodyIn>(body).map_err(malformed)?;
        // The body of a complete stream ends here, unless something of it was withdrawn.
        let (refresh_ms, more) = match more {
            [] => (0, more),
            more => postcard::take_from_bytes(more).map_err(malformed)?,
        };
        let withdrawn = match more {
            [] => BoundedVec::new(),
            more => postcard::from_bytes(more).map_err(malformed)?,
        };
        let (tracks, segments) = (body.tracks.into_vec(), body.segments.into_vec());
        let mut manifest = Self::sorted(body.stream.into_string(), body.created, tracks, segments)?;
        manifest.refresh_ms = refresh_ms;
        manifest.withdrawn = withdrawn;
        Ok(manifest)
    }

    /// What comes along with a playlist: the file, and the group list of one of its segments behind it.
    pub fn encode_along(mut file: Vec<u8>, list: &GroupList) -> Vec<u8> {
        file.extend_from_slice(list.root().as_bytes());
        list.values().iter().for_each(|value| file.extend_from_slice(value.as_bytes()));
        file
    }

    /// The list that came along behind the file of this manifest; `None` if what is there is no list of a segment of it.
    pub fn list_along(&self, bytes: &[u8]) -> Option<GroupList> {
        let [.., kind, l0, l1, l2, l3] = *bytes.first_chunk::<HEADER_LEN>()?;
        let body = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let behind = bytes.get(HEADER_LEN..)?.get(body..)?.get(PUBLISHER_LEN * usize::from(kind)..)?;
        let (root, values) = behind.split_first_chunk::<32>()?;
        let entry = self.segments().iter().find(|entry| entry.root().as_bytes() == root)?;
        GroupList::from_sidecar(entry, values).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{
        ListHasher, SegmentKey,
        manifest::tests::{entry, manifest},
    };

    fn publisher() -> Identity {
        Identity::from_seed([1; 32])
    }

    fn pinned() -> Trust {
        Trust::Signed(publisher().public_key())
    }

    #[test]
    fn a_signed_file_reads_back_under_its_key_and_no_other() {
        let file = manifest().encode_signed(&publisher()).unwrap();
        assert_eq!(Manifest::decode(&file, &pinned()), Ok(manifest()));
        assert_eq!(Manifest::decode(&file, &Trust::Origin), Ok(manifest()));
        let other = Trust::Signed(Identity::from_seed([2; 32]).public_key());
        assert_eq!(Manifest::decode(&file, &other), Err(ManifestError::WrongPublisher));
    }

    #[test]
    fn an_unsigned_file_counts_only_where_the_origin_is_trusted() {
        let file = manifest().encode_unsigned().unwrap();
        assert_eq!(Manifest::decode(&file, &Trust::Origin), Ok(manifest()));
        assert_eq!(Manifest::decode(&file, &pinned()), Err(ManifestError::Unsigned));
    }

    #[test]
    fn a_signature_that_is_there_must_hold_even_for_a_trusted_origin() {
        let mut file = manifest().encode_signed(&publisher()).unwrap();
        *file.last_mut().unwrap() ^= 1;
        assert!(matches!(Manifest::decode(&file, &Trust::Origin), Err(ManifestError::BadSignature(_))));
    }

    #[test]
    fn every_flipped_bit_of_a_signed_file_is_refused() {
        let file = manifest().encode_signed(&publisher()).unwrap();
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped, &pinned()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        for file in [manifest().encode_signed(&publisher()).unwrap(), manifest().encode_unsigned().unwrap()] {
            for len in 0..file.len() {
                assert!(Manifest::decode(&file[..len], &Trust::Origin).is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_live_streams_file_says_when_to_expect_the_next() {
        let live = manifest().live(std::time::Duration::from_millis(2000));
        let file = live.encode_signed(&publisher()).unwrap();
        let read = Manifest::decode(&file, &pinned()).unwrap();
        assert_eq!(read.refresh(), Some(std::time::Duration::from_secs(2)));
        assert_eq!(read, live);
        assert_eq!(manifest().refresh(), None);
        assert_ne!(file, manifest().encode_signed(&publisher()).unwrap());
    }

    #[test]
    fn what_is_withdrawn_reads_back_of_a_complete_and_of_a_live_stream() {
        let ids = BoundedVec::first_of((0..3).map(|number| crate::id::ContentId::from_bytes([number; 32])));
        for manifest in [manifest(), manifest().live(std::time::Duration::from_secs(2))] {
            let manifest = manifest.withdrawing(ids.clone());
            let read = Manifest::decode(&manifest.encode_signed(&publisher()).unwrap(), &pinned()).unwrap();
            assert_eq!((read.withdrawn(), read.refresh()), (&ids[..], manifest.refresh()));
            assert_eq!(read, manifest);
        }
    }

    #[test]
    fn bytes_after_the_end_are_ignored() {
        let mut file = manifest().encode_signed(&publisher()).unwrap();
        file.extend_from_slice(b"later");
        assert_eq!(Manifest::decode(&file, &pinned()), Ok(manifest()));
    }

    #[test]
    fn a_list_behind_the_end_counts_if_it_is_one_of_a_segment() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|number| number as u8).collect();
        let list_of = |bytes: &[u8]| {
            let mut hasher = ListHasher::new();
            hasher.update(bytes).unwrap();
            hasher.finish_list().unwrap()
        };
        let list = list_of(&bytes);
        let track = Track::new("a", "b").unwrap();
        let segment = |list: &GroupList| {
            let key = SegmentKey::new("1.m4s", None).unwrap();
            SegmentEntry::new(key, 0, list.len(), list.root(), 0)
        };
        let with = |list: &GroupList| {
            let segments = vec![segment(list)];
            Manifest::new("s", WallTime::default(), vec![track.clone()], segments).unwrap()
        };
        let read = |bytes: &[u8]| {
            let manifest = Manifest::decode(bytes, &pinned()).unwrap();
            let list = manifest.list_along(bytes);
            (manifest, list)
        };

        let file = with(&list).encode_signed(&publisher()).unwrap();
        let along = Manifest::encode_along(file.clone(), &list);
        assert_eq!(read(&along), (with(&list), Some(list.clone())));
        assert_eq!(
            Manifest::decode(&along, &pinned()),
            Ok(with(&list)),
            "who does not know of lists sees none"
        );
        for len in file.len()..along.len() {
            assert_eq!(read(&along[..len]), (with(&list), None), "{len} bytes");
        }
        for byte in file.len()..along.len() {
            let mut wrong = along.clone();
            wrong[byte] ^= 1;
            assert_eq!(read(&wrong), (with(&list), None), "byte {byte}");
        }
        let other = list_of(&bytes[1..]);
        assert_eq!(read(&Manifest::encode_along(file, &other)).1, None, "of another segment");
    }

    #[test]
    fn other_versions_and_other_files_say_so() {
        let mut file = manifest().encode_unsigned().unwrap();
        file[8] = 2;
        let refused = Manifest::decode(&file, &Trust::Origin);
        assert_eq!(refused, Err(ManifestError::UnknownVersion { version: 2 }));
        let refused = Manifest::decode(b"#EXTM3U\n#EXT-X-VERSION:3\n", &Trust::Origin);
        assert_eq!(refused, Err(ManifestError::NotAManifest));
    }

    #[test]
    fn what_is_beyond_the_file_limit_is_neither_written_nor_read() {
        let long = |index: u32| entry(&format!("{}{index}", "a".repeat(1000)), None, 0, 0);
        let track = Track::new("a", "b").unwrap();
        let large =
            Manifest::new("s", WallTime::default(), vec![track], (0..4096).map(long).collect()).unwrap();
        assert_eq!(large.encode_unsigned(), Err(ManifestError::TooMany { what: "bytes" }));
        let mut file = manifest().encode_unsigned().unwrap();
        file.resize(MAX_MANIFEST_LEN + 1, 0);
        assert_eq!(Manifest::decode(&file, &Trust::Origin), Err(ManifestError::TooMany { what: "bytes" }));
    }

    #[test]
    fn a_claimed_length_or_count_is_not_believed() {
        let header = |body: &[u8], claimed: u32| {
            [&MAGIC[..], &VERSION.to_le_bytes(), &[UNSIGNED], &claimed.to_le_bytes(), body].concat()
        };
        let refused = Manifest::decode(&header(b"", u32::MAX), &Trust::Origin);
        assert_eq!(refused, Err(ManifestError::Truncated));
        // A name, a time, no tracks, and a claim of 2^32 - 1 segments.
        let body = [1, b's', 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
        let refused = Manifest::decode(&header(&body, body.len() as u32), &Trust::Origin);
        assert_eq!(refused, Err(ManifestError::Malformed));
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(
            body in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
            kind in 0u8..3,
            claimed in proptest::option::of(proptest::num::u32::ANY),
        ) {
            let claimed = claimed.unwrap_or(body.len() as u32);
            let file = [&MAGIC[..], &VERSION.to_le_bytes(), &[kind], &claimed.to_le_bytes(), &body].concat();
            let _ = Manifest::decode(&file, &Trust::Origin);
            proptest::prop_assert!(Manifest::decode(&file, &pinned()).is_err());
        }

        #[test]
        fn arbitrary_changes_of_an_unsigned_file_never_panic(
            changes in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..9),
        ) {
            let mut file = manifest().encode_unsigned().unwrap();
            for (place, byte) in changes {
                let place = place % file.len();
                file[place] = byte;
            }
            let _ = Manifest::decode(&file, &Trust::Origin);
        }
    }
}
