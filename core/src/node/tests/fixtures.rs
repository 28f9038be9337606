//! What the lab's tabs play, and what is signed for them.

use std::time::Duration;

use super::super::*;
use crate::{
    bounded::BoundedVec,
    content::{
        Attestation, GROUP_LEN, GroupList, ListHasher, SegmentEntry, SegmentKey, SegmentLen,
        SignedAttestation, Track,
    },
    id::{ContentId, NetworkGroup, NetworkId, Nonce},
    identity::{CERTIFICATE_LIFETIME, Certificate, PublicKey, Rights, Role, SignedCertificate},
    wire::Attested,
};

pub(super) const EPOCH: WallTime = WallTime::from_secs(1_700_000_000);
pub(super) const STREAM_NAME: &str = "/show/master.m3u8";
/// Groups of a segment of the lab; the last is short.
pub(super) const GROUPS: u32 = 7;
pub(super) const LEN: u64 = (GROUPS as u64 - 1) * GROUP_LEN as u64 + 1000;

pub(super) fn issuer() -> Identity {
    Identity::from_seed([1; 32])
}

pub(super) fn publisher() -> Identity {
    Identity::from_seed([3; 32])
}

pub(super) fn network() -> NetworkId {
    NetworkId::of_issuer(&issuer().public_key())
}

/// The bytes of segment `number`.
pub(super) fn segment(number: u32) -> Vec<u8> {
    (0..LEN as u32).map(|index| ((index ^ number << 16).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) fn key(number: u32) -> SegmentKey {
    SegmentKey::new(format!("{number}.m4s"), None).unwrap()
}

pub(super) fn list(bytes: &[u8]) -> GroupList {
    let mut hasher = ListHasher::new();
    hasher.update(bytes).unwrap();
    hasher.finish_list().unwrap()
}

pub(super) fn content(number: u32) -> ContentId {
    list(&segment(number)).root()
}

/// The group list as it lies in a sidecar.
pub(super) fn sidecar(number: u32) -> Vec<u8> {
    list(&segment(number)).values().iter().flat_map(|value| *value.as_bytes()).collect()
}

pub(super) fn manifest() -> Manifest {
    let entry = |number: u32| {
        let root = content(number);
        SegmentEntry::new(
            key(number),
            0,
            SegmentLen::new(LEN).unwrap(),
            root,
            u64::from(32 * GROUPS * number),
        )
    };
    let track = Track::new("index.m3u8", "index.m3u8.groups").unwrap();
    Manifest::new(STREAM_NAME, EPOCH, vec![track], (0..8).map(entry).collect()).unwrap()
}

pub(super) fn stream(roots: Roots) -> Stream {
    let publisher = match roots {
        Roots::Signed(key) => Some(key),
        Roots::Attested | Roots::Origin => None,
    };
    Stream { id: StreamId::new(publisher.as_ref(), STREAM_NAME), name: STREAM_NAME.to_owned(), roots }
}

pub(super) fn attested(number: u32, bytes: &[u8], now: WallTime) -> Attested {
    let list = list(bytes);
    let attestation: SignedAttestation = Attestation {
        stream: stream(Roots::Attested).id,
        key: key(number),
        len: list.len(),
        root: list.root(),
        expires: now + Duration::from_secs(3600),
    }
    .sign(&issuer());
    Attested { attestation, values: BoundedVec::first_of(list.values().iter().copied()) }
}

/// How long peers have been there.
pub(super) const AGE: Duration = Duration::from_secs(60);

/// Of a peer that has been there for a while, and has it renewed.
pub(super) fn certificate(holder: PublicKey, now: WallTime) -> SignedCertificate {
    certificate_with(Rights::SWARM.with(Rights::UPLOAD), AGE, holder, now)
}

pub(super) fn certificate_with(
    rights: Rights,
    age: Duration,
    holder: PublicKey,
    now: WallTime,
) -> SignedCertificate {
    let certificate = Certificate {
        public_key: holder,
        nonce: Nonce::from_bytes([4; 16]),
        group: NetworkGroup::from_bytes([5; 16]),
        role: Role::Tab,
        rights,
        since: WallTime::from_secs(now.as_secs().saturating_sub(age.as_secs())),
        issued: now,
        expires: now + CERTIFICATE_LIFETIME,
        issuer: issuer().public_key(),
    };
    certificate.sign(&issuer())
}
