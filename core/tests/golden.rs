//! The bytes of version 1, committed: every id, signed record and file keeps its encoding, natively and on wasm32.
//!
//! A changed vector is a changed protocol. A new version gets a file of its own, and this one stays.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use tabswarm_core::{
    content::{
        Attestation, ListHasher, Manifest, SegmentEntry, SegmentKey, SegmentLen, SignedAttestation, Track,
        Trust,
    },
    id::{ContentId, NetworkGroup, NetworkId, Nonce, PeerId, SessionId, StreamId},
    identity::{
        Candidate, Certificate, Description, Fingerprint, Identity, Introduction, IntroductionBody,
        LinkHello, PROVIDER_LIFETIME, Rights, Role, SignedCertificate, SignedIntroduction, SignedProvider,
        Trusted, VersionRange,
    },
    time::WallTime,
    units::ByteRange,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

const NOW: WallTime = WallTime::from_secs(1_700_000_000);

/// The committed vectors by name.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).expect("a vector is hexadecimal") as u8;
    let lines = include_str!("vectors/records-v1.hex").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, hex)| {
            let bytes = hex.as_bytes().chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
            (name, bytes)
        })
        .collect()
}

#[track_caller]
fn assert_golden(name: &str, bytes: &[u8]) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let vectors = vectors();
    let golden = vectors.get(name).unwrap_or_else(|| panic!("no vector for\n{name} = {hex}"));
    assert!(golden == bytes, "the encoding changed, now\n{name} = {hex}");
}

fn issuer() -> Identity {
    Identity::from_seed([1; 32])
}

fn peer() -> Identity {
    Identity::from_seed([2; 32])
}

fn publisher() -> Identity {
    Identity::from_seed([3; 32])
}

fn certificate() -> Certificate {
    Certificate {
        public_key: peer().public_key(),
        nonce: Nonce::from_bytes([4; 16]),
        group: NetworkGroup::from_bytes([5; 16]),
        role: Role::Tab,
        rights: Rights::SWARM.with(Rights::UPLOAD),
        since: NOW,
        issued: NOW,
        expires: NOW + Duration::from_secs(1800),
        issuer: issuer().public_key(),
    }
}

fn network() -> NetworkId {
    NetworkId::of_issuer(&issuer().public_key())
}

fn introduction() -> Introduction {
    let candidate = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host";
    let description = Description::new(
        Fingerprint::from_bytes([6; 32]),
        "uf/+",
        "0123456789abcdefghijkl",
        vec![Candidate::new(candidate).unwrap()],
    );
    Introduction {
        to: PeerId::from_bytes([7; 32]),
        network: network(),
        session: SessionId::from_bytes([8; 16]),
        expires: NOW + Duration::from_secs(30),
        body: IntroductionBody::Offer(description.unwrap()),
    }
}

fn hello() -> LinkHello {
    LinkHello {
        versions: VersionRange::new(1, 1).unwrap(),
        features: 0x81,
        network: network(),
        certificate: certificate().sign(&issuer()),
        session: SessionId::from_bytes([8; 16]),
        own: Fingerprint::from_bytes([6; 32]),
        peer: Fingerprint::from_bytes([9; 32]),
    }
}

fn stream() -> StreamId {
    StreamId::new(Some(&publisher().public_key()), "/show/master.m3u8")
}

fn manifest() -> Manifest {
    let entry = |path: &str, range, track, len, byte, offset| {
        let key = SegmentKey::new(path, range).unwrap();
        SegmentEntry::new(
            key,
            track,
            SegmentLen::new(len).unwrap(),
            ContentId::from_bytes([byte; 32]),
            offset,
        )
    };
    Manifest::new(
        "/show/master.m3u8",
        NOW,
        vec![
            Track::new("low/index.m3u8", "low/index.m3u8.groups").unwrap(),
            Track::new("high/index.m3u8", "high/index.m3u8.groups").unwrap(),
        ],
        vec![
            entry("low/1.ts", None, 0, 40_000, 1, 0),
            entry("high/all.mp4", ByteRange::new(0, 800), 1, 800, 2, 0),
            entry("high/all.mp4", ByteRange::new(800, 100_000), 1, 99_200, 3, 0),
        ],
    )
    .unwrap()
}

fn attestation() -> Attestation {
    Attestation {
        stream: stream(),
        key: SegmentKey::new("high/all.mp4", ByteRange::new(0, 800)).unwrap(),
        len: SegmentLen::new(800).unwrap(),
        root: ContentId::from_bytes([2; 32]),
        expires: NOW + Duration::from_secs(3600),
    }
}

#[test]
fn ids_keep_their_derivation() {
    assert_golden("peer_id", certificate().peer_id().as_bytes());
    assert_golden("network_id", network().as_bytes());
    assert_golden("stream_id_of_publisher", stream().as_bytes());
    assert_golden("stream_id_without_publisher", StreamId::new(None, "/show/master.m3u8").as_bytes());
    let whole = SegmentKey::new("low/1.ts", None).unwrap();
    assert_golden("segment_id", whole.id(&stream()).as_bytes());
    let part = SegmentKey::new("high/all.mp4", ByteRange::new(800, 100_000)).unwrap();
    assert_golden("segment_id_of_byte_range", part.id(&stream()).as_bytes());
}

#[test]
fn certificates_keep_their_encoding() {
    assert_golden("certificate", &certificate().sign(&issuer()).encode());
    let decoded = SignedCertificate::decode(&vectors()["certificate"]).unwrap();
    assert_eq!(decoded.verify(&[issuer().public_key()], NOW), Ok(certificate()));
}

#[test]
fn introductions_keep_their_encoding() {
    let signed = introduction().sign(&certificate().sign(&issuer()), &peer());
    assert_golden("introduction", &signed.encode());
    let issuers = [issuer().public_key()];
    let trusted =
        Trusted { issuers: &issuers, me: PeerId::from_bytes([7; 32]), network: network(), now: NOW };
    let verified = SignedIntroduction::decode(&vectors()["introduction"]).unwrap().verify(&trusted).unwrap();
    assert_eq!(verified.introduction, introduction());
    assert_eq!(verified.from, certificate().peer_id());
}

#[test]
fn provider_records_keep_their_encoding() {
    let (key, peer_id) = ([8; 32], certificate().peer_id());
    let signed = SignedProvider::sign(key, peer_id, &certificate().sign(&issuer()), &peer(), NOW);
    assert_golden("provider", &signed.encode());
    let decoded = SignedProvider::decode(&vectors()["provider"]).unwrap();
    assert_eq!(
        decoded.verify(&key, &[issuer().public_key()], NOW),
        Ok((certificate(), NOW + PROVIDER_LIFETIME))
    );
}

#[test]
fn hellos_keep_their_encoding() {
    assert_golden("hello", &postcard::to_allocvec(&hello()).unwrap());
    assert_eq!(postcard::from_bytes(&vectors()["hello"]), Ok(hello()));
}

#[test]
fn manifests_keep_their_encoding() {
    assert_golden("manifest_signed", &manifest().encode_signed(&publisher()).unwrap());
    assert_golden("manifest_unsigned", &manifest().encode_unsigned().unwrap());
    let live = manifest().live(Duration::from_secs(2));
    assert_golden("manifest_live", &live.encode_signed(&publisher()).unwrap());
    let pinned = Trust::Signed(publisher().public_key());
    assert_eq!(Manifest::decode(&vectors()["manifest_live"], &pinned), Ok(live));
    assert_eq!(Manifest::decode(&vectors()["manifest_signed"], &pinned), Ok(manifest()));
    assert_eq!(Manifest::decode(&vectors()["manifest_unsigned"], &Trust::Origin), Ok(manifest()));
}

#[test]
fn attestations_keep_their_encoding() {
    let bytes = postcard::to_allocvec(&attestation().sign(&issuer())).unwrap();
    assert_golden("attestation", &bytes);
    let decoded: SignedAttestation = postcard::from_bytes(&vectors()["attestation"]).unwrap();
    assert_eq!(decoded.verify(&[issuer().public_key()], NOW), Ok(attestation()));
}

#[test]
fn group_lists_keep_their_values() {
    let bytes: Vec<u8> = (0..49_153u32).map(|index| (index % 251) as u8).collect();
    let mut hasher = ListHasher::new();
    hasher.update(&bytes).unwrap();
    let list = hasher.finish_list().unwrap();
    assert_golden("group_list_root", list.root().as_bytes());
    let values: Vec<u8> = list.values().iter().flat_map(|value| *value.as_bytes()).collect();
    assert_golden("group_list_values", &values);
}
