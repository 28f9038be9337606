//! Every wire message: its committed bytes, round trips, and what hostile bytes can do to the parsers (nothing).
//!
//! A changed vector is a changed protocol, as in `golden.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use tabswarm_core::{
    bounded::{BoundedString, BoundedVec},
    content::{Attestation, BlockList, ChainingValue, GROUP_LEN, SegmentKey, SegmentLen, SignedBlockList},
    id::{ContentId, NetworkGroup, NetworkId, Nonce, PeerId, RequestId, SegmentId, SessionId, StreamId},
    identity::{
        Candidate, Certificate, Fingerprint, Identity, Introduction, IntroductionBody, LinkHello, Rights,
        Role, SignedCertificate, SignedIntroduction, domain,
    },
    time::WallTime,
    units::{GroupIndex, GroupRange},
    wire::{
        AttestFailure, AttestRequest, Attested, ByeReason, ClientHello, ClientMessage, DATA_HEADER_MAX, Data,
        Frame, GoawayReason, Have, HaveEntry, Held, IceServer, LinkMessage, ListPart, MAX_HAVE_ENTRIES,
        MAX_LIST_PART, MAX_MESSAGE_LEN, MAX_RANGES, MAX_RUN, PROTOCOL_VERSIONS, RejectReason, Request,
        ServiceMessage, Welcome, WireError, data_header, frames,
    },
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

const NOW: WallTime = WallTime::from_secs(1_700_000_000);
const CONTENT: ContentId = ContentId::from_bytes([1; 32]);
const PEER: PeerId = PeerId::from_bytes([2; 32]);
const STREAM: StreamId = StreamId::from_bytes([3; 32]);

/// The committed vectors by name.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).expect("a vector is hexadecimal") as u8;
    let lines = include_str!("vectors/wire-v1.hex").lines().filter(|line| !line.starts_with('#'));
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

/// The messages of a transport message; unknown types are left out.
fn read<M>(
    bytes: &[u8],
    decode: impl Fn(&Frame<'_>) -> Result<Option<M>, WireError>,
) -> Result<Vec<M>, WireError> {
    frames(bytes).map(|frame| decode(&frame?)).filter_map(Result::transpose).collect()
}

fn issuer() -> Identity {
    Identity::from_seed([1; 32])
}

fn peer() -> Identity {
    Identity::from_seed([2; 32])
}

fn certificate() -> SignedCertificate {
    let certificate = Certificate {
        public_key: peer().public_key(),
        nonce: Nonce::from_bytes([4; 16]),
        group: NetworkGroup::from_bytes([5; 16]),
        role: Role::Tab,
        rights: Rights::SWARM.with(Rights::UPLOAD),
        since: NOW,
        issued: NOW,
        expires: NOW + Duration::from_secs(1800),
        issuer: issuer().public_key(),
    };
    certificate.sign(&issuer())
}

fn introduction() -> SignedIntroduction {
    let introduction = Introduction {
        to: PEER,
        network: NetworkId::of_issuer(&issuer().public_key()),
        session: SessionId::from_bytes([8; 16]),
        expires: NOW + Duration::from_secs(30),
        body: IntroductionBody::Candidate(Candidate::new("").unwrap()),
    };
    introduction.sign(&certificate(), &peer())
}

fn range(start: u32, end: u32) -> GroupRange {
    GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap()
}

fn text<const N: usize>(text: &str) -> BoundedString<N> {
    BoundedString::try_from(text).unwrap()
}

fn hello() -> LinkHello {
    LinkHello {
        versions: PROTOCOL_VERSIONS,
        features: 0x81,
        network: NetworkId::of_issuer(&issuer().public_key()),
        certificate: certificate(),
        session: SessionId::from_bytes([8; 16]),
        own: Fingerprint::from_bytes([6; 32]),
        peer: Fingerprint::from_bytes([9; 32]),
    }
}

/// Each link message, all variants of the enums inside it.
fn link_messages() -> Vec<(&'static str, Vec<LinkMessage>)> {
    let entry = |held| HaveEntry { content: CONTENT, held };
    let byes =
        [ByeReason::Leaving, ByeReason::Misbehaviour, ByeReason::NoCommonVersion, ByeReason::TooManyLinks];
    let entries = [
        entry(Held::All),
        entry(Held::Groups(BoundedVec::first_of([range(0, 1), range(200, 4096)]))),
        entry(Held::Coming(BoundedVec::first_of([range(0, 8)]))),
        entry(Held::Offered(BoundedVec::first_of([range(0, 2)]))),
        entry(Held::OnDuty(BoundedVec::first_of([range(4, 8)]))),
    ];
    let request =
        Request { id: RequestId::new(300), content: CONTENT, groups: BoundedVec::first_of([range(4, 8)]) };
    let part = ListPart {
        content: CONTENT,
        len: SegmentLen::new(40_000).unwrap(),
        first: GroupIndex::new(1),
        values: BoundedVec::first_of([ChainingValue::from_bytes([7; 32])]),
    };
    vec![
        ("link_hello", vec![LinkMessage::Hello(Box::new(hello()))]),
        ("link_bye", byes.map(LinkMessage::Bye).to_vec()),
        ("link_ping", vec![LinkMessage::Ping(70_000)]),
        ("link_pong", vec![LinkMessage::Pong(70_000)]),
        (
            "link_have",
            vec![LinkMessage::Have(Have { stream: STREAM, entries: BoundedVec::first_of(entries) })],
        ),
        ("link_lost", vec![LinkMessage::Lost(BoundedVec::first_of([CONTENT]))]),
        ("link_request", vec![LinkMessage::Request(request)]),
        ("link_cancel", vec![LinkMessage::Cancel(RequestId::new(300))]),
        (
            "link_reject",
            [RejectReason::Busy(3), RejectReason::NotHeld, RejectReason::Taken]
                .map(|why| LinkMessage::Reject(RequestId::new(300), why))
                .to_vec(),
        ),
        ("link_get_list", vec![LinkMessage::GetList(CONTENT)]),
        ("link_list_part", vec![LinkMessage::ListPart(part)]),
        ("link_no_list", vec![LinkMessage::NoList(CONTENT)]),
        ("link_unchoke", vec![LinkMessage::Unchoke]),
        ("link_release", vec![LinkMessage::Release]),
    ]
}

fn client_messages() -> Vec<(&'static str, Vec<ClientMessage>)> {
    let hello = |previous, token| {
        ClientMessage::Hello(Box::new(ClientHello {
            versions: PROTOCOL_VERSIONS,
            features: 1,
            public_key: peer().public_key(),
            proof: peer().sign(domain::SERVICE_HELLO, &[9; 32]),
            previous,
            token,
        }))
    };
    let request = AttestRequest {
        stream_name: text("/show/master.m3u8"),
        key: SegmentKey::new("low/1.ts", tabswarm_core::units::ByteRange::new(0, 800)).unwrap(),
    };
    vec![
        ("client_hello", vec![hello(None, None), hello(Some(certificate()), Some(text("token")))]),
        ("client_join", vec![ClientMessage::Join { stream: STREAM, want: 8 }]),
        ("client_leave", vec![ClientMessage::Leave(STREAM)]),
        ("client_more_peers", vec![ClientMessage::MorePeers { stream: STREAM, want: 3 }]),
        (
            "client_introduce",
            vec![ClientMessage::Introduce { to: PEER, introduction: Box::new(introduction()) }],
        ),
        ("client_attest", vec![ClientMessage::Attest(request)]),
        ("client_renew", vec![ClientMessage::Renew]),
        ("client_ping", vec![ClientMessage::Ping]),
        ("client_full", vec![ClientMessage::Full(true), ClientMessage::Full(false)]),
        ("client_refuse", vec![ClientMessage::Refuse(PEER)]),
    ]
}

fn attested() -> Attested {
    let attestation = Attestation {
        stream: STREAM,
        key: SegmentKey::new("low/1.ts", None).unwrap(),
        len: SegmentLen::new(40_000).unwrap(),
        root: CONTENT,
        expires: NOW + Duration::from_secs(3600),
    };
    Attested {
        attestation: attestation.sign(&issuer()),
        values: BoundedVec::first_of([ChainingValue::from_bytes([7; 32])]),
    }
}

fn welcome() -> Welcome {
    let server = IceServer {
        urls: BoundedVec::first_of([text("turn:turn.example:3478")]),
        username: text("1700000000:peer"),
        credential: text("secret"),
    };
    Welcome {
        version: 1,
        features: 2,
        issuers: BoundedVec::first_of([issuer().public_key()]),
        certificate: certificate(),
        now: NOW,
        ice_servers: BoundedVec::first_of([server]),
        attests: true,
    }
}

fn blocked() -> SignedBlockList {
    BlockList::sign(&issuer(), NOW, BoundedVec::first_of([CONTENT]))
}

fn service_messages() -> Vec<(&'static str, Vec<ServiceMessage>)> {
    let segment = SegmentId::from_bytes([5; 32]);
    let failures = [AttestFailure::NotServed, AttestFailure::Origin, AttestFailure::Refused];
    let goaways = [
        GoawayReason::Misbehaviour,
        GoawayReason::NoCommonVersion,
        GoawayReason::Overloaded,
        GoawayReason::Replaced,
        GoawayReason::Shutdown,
        GoawayReason::Unauthorised,
    ];
    let peers = BoundedVec::first_of([PEER]);
    vec![
        ("service_challenge", vec![ServiceMessage::Challenge([9; 32])]),
        ("service_welcome", vec![ServiceMessage::Welcome(Box::new(welcome()))]),
        ("service_peers", vec![ServiceMessage::Peers { stream: STREAM, population: 1000, peers }]),
        ("service_population", vec![ServiceMessage::Population { stream: STREAM, population: 1000 }]),
        ("service_introduced", vec![ServiceMessage::Introduced(Box::new(introduction()))]),
        ("service_attested", vec![ServiceMessage::Attested(Box::new(attested()))]),
        (
            "service_attest_failed",
            failures.map(|reason| ServiceMessage::AttestFailed { segment, reason }).to_vec(),
        ),
        ("service_renewed", vec![ServiceMessage::Renewed(Box::new(certificate()))]),
        ("service_pong", vec![ServiceMessage::Pong]),
        (
            "service_goaway",
            goaways.map(|reason| ServiceMessage::Goaway { reason, retry_after_secs: 600 }).to_vec(),
        ),
        ("service_unreachable", vec![ServiceMessage::Unreachable(PEER)]),
        ("service_blocked", vec![ServiceMessage::Blocked(Box::new(blocked()))]),
    ]
}

/// All messages of a kind in one transport message, as committed, and read back from there.
#[track_caller]
fn assert_all_golden<M: Debug + PartialEq>(
    messages: Vec<(&'static str, Vec<M>)>,
    encode: impl Fn(&M, &mut Vec<u8>),
    decode: impl Fn(&Frame<'_>) -> Result<Option<M>, WireError>,
) {
    for (name, messages) in messages {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| encode(message, &mut bytes));
        assert_golden(name, &bytes);
        assert_eq!(read(&vectors()[name], &decode), Ok(messages), "{name}");
    }
}

#[test]
fn link_messages_keep_their_encoding() {
    assert_all_golden(link_messages(), LinkMessage::encode, LinkMessage::decode);
}

#[test]
fn client_messages_keep_their_encoding() {
    assert_all_golden(client_messages(), ClientMessage::encode, ClientMessage::decode);
}

#[test]
fn service_messages_keep_their_encoding() {
    assert_all_golden(service_messages(), ServiceMessage::encode, ServiceMessage::decode);
}

fn data(group: &[u8]) -> Vec<u8> {
    let mut message = data_header(RequestId::new(300), GroupIndex::new(4095), group.len());
    message.extend_from_slice(group);
    message
}

#[test]
fn data_keeps_its_encoding_and_a_short_header() {
    assert_golden("data", &data(b"group"));
    let run = 4 * GROUP_LEN as usize;
    assert_golden("data_run_header", &data_header(RequestId::new(300), GroupIndex::new(4092), run));
    let read = Data::decode(&vectors()["data"]).map(|data| data.unwrap().bytes.to_vec());
    assert_eq!(read, Ok(b"group".to_vec()));
    let widest = data_header(RequestId::new(u32::MAX), GroupIndex::new(u32::MAX), run);
    assert!(widest.len() <= DATA_HEADER_MAX, "{} bytes", widest.len());
}

#[test]
fn a_run_of_groups_is_read_group_by_group() {
    let whole = GROUP_LEN as usize;
    for len in [1, whole, whole + 1, MAX_RUN * whole] {
        let bytes: Vec<u8> = (0..len).map(|index| (index / whole) as u8).collect();
        let message = data(&bytes);
        let read = Data::decode(&message).unwrap().unwrap();
        let groups: Vec<_> =
            read.groups().map(|(group, bytes)| (group.value(), bytes.len(), bytes[0])).collect();
        let expected = |place: usize| (4095 + place as u32, whole.min(len - place * whole), place as u8);
        assert_eq!(groups, (0..len.div_ceil(whole)).map(expected).collect::<Vec<_>>(), "{len} bytes");
    }
    for len in [0, MAX_RUN * whole + 1] {
        assert_eq!(Data::decode(&data(&vec![0; len])), Err(WireError::Malformed { kind: 32 }), "{len} bytes");
    }
}

#[test]
fn nothing_may_stand_behind_a_data_frame() {
    for behind in [&[0][..], &[0; 100], &data(b"x")] {
        let message = [data(b"group"), behind.to_vec()].concat();
        assert_eq!(Data::decode(&message), Err(WireError::Malformed { kind: 32 }), "{} bytes", behind.len());
    }
}

#[test]
fn bytes_a_later_version_adds_to_a_body_are_ignored() {
    fn lengthened(message: &[u8]) -> Vec<u8> {
        let mut message = [message, b"later"].concat();
        let len = u32::try_from(message.len() - 6).unwrap();
        message[2..6].copy_from_slice(&len.to_le_bytes());
        message
    }
    for (name, messages) in link_messages() {
        let bytes = lengthened(&messages[0].to_bytes());
        assert_eq!(read(&bytes, LinkMessage::decode), Ok(messages[..1].to_vec()), "{name}");
    }
    for (name, messages) in client_messages() {
        let bytes = lengthened(&messages[0].to_bytes());
        assert_eq!(read(&bytes, ClientMessage::decode), Ok(messages[..1].to_vec()), "{name}");
    }
    for (name, messages) in service_messages() {
        let bytes = lengthened(&messages[0].to_bytes());
        assert_eq!(read(&bytes, ServiceMessage::decode), Ok(messages[..1].to_vec()), "{name}");
    }
}

#[test]
fn unknown_types_are_skipped_and_what_follows_is_read() {
    let unknown = [&9999_u16.to_le_bytes()[..], &3_u32.to_le_bytes(), b"???"].concat();
    let message = [unknown.clone(), LinkMessage::Ping(1).to_bytes(), unknown].concat();
    assert_eq!(read(&message, LinkMessage::decode), Ok(vec![LinkMessage::Ping(1)]));
    assert_eq!(read(&message, ClientMessage::decode), Ok(Vec::new()));
    assert_eq!(read(&message, ServiceMessage::decode), Ok(Vec::new()));
    assert_eq!(Data::decode(&message), Ok(None));
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    for (name, messages) in link_messages() {
        let bytes = messages[0].to_bytes();
        for len in 1..bytes.len() {
            assert_eq!(
                read(&bytes[..len], LinkMessage::decode),
                Err(WireError::Truncated),
                "{name} at {len}"
            );
        }
    }
}

#[test]
fn lists_beyond_their_limit_are_refused() {
    // The length of an empty list is the last byte of these bodies.
    let claim = |message: LinkMessage, count: u32| {
        let mut bytes = message.to_bytes();
        assert_eq!(bytes.pop(), Some(0));
        let mut varint = count;
        while varint >= 0x80 {
            bytes.push(varint as u8 | 0x80);
            varint >>= 7;
        }
        bytes.push(varint as u8);
        bytes.resize(bytes.len() + 40_000, 0);
        let len = u32::try_from(bytes.len() - 6).unwrap();
        bytes[2..6].copy_from_slice(&len.to_le_bytes());
        read(&bytes, LinkMessage::decode).map(|_| ())
    };
    let request =
        LinkMessage::Request(Request { id: RequestId::new(0), content: CONTENT, groups: BoundedVec::new() });
    let lost = LinkMessage::Lost(BoundedVec::new());
    assert_eq!(claim(lost.clone(), MAX_HAVE_ENTRIES as u32), Ok(()));
    for count in [MAX_HAVE_ENTRIES as u32 + 1, u32::MAX] {
        assert_eq!(claim(lost.clone(), count), Err(WireError::Malformed { kind: 6 }));
        assert_eq!(claim(request.clone(), count), Err(WireError::Malformed { kind: 7 }));
    }
}

#[test]
fn the_largest_messages_of_an_honest_peer_fit_their_channel() {
    let ranges = BoundedVec::first_of((0..MAX_RANGES as u32).map(|index| range(4000 + index, 4096)));
    let entry = HaveEntry { content: CONTENT, held: Held::Groups(ranges) };
    // A snapshot is cut in messages of half the entries that may be read.
    let entries = BoundedVec::first_of(std::iter::repeat_n(entry, MAX_HAVE_ENTRIES / 2));
    let have = LinkMessage::Have(Have { stream: STREAM, entries }).to_bytes();
    let values: Vec<_> = vec![ChainingValue::from_bytes([7; 32]); MAX_LIST_PART];
    let part = LinkMessage::ListPart(ListPart {
        content: CONTENT,
        len: SegmentLen::new(u64::from(GROUP_LEN) * 4096).unwrap(),
        first: GroupIndex::new(3072),
        values: BoundedVec::first_of(values.clone()),
    });
    let attested =
        ServiceMessage::Attested(Box::new(Attested { values: BoundedVec::first_of(values), ..attested() }));
    for bytes in [have, part.to_bytes(), attested.to_bytes()] {
        assert!(bytes.len() <= MAX_MESSAGE_LEN, "{} bytes", bytes.len());
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::{array::uniform32, collection::vec, num, prelude::*};

    fn content() -> impl Strategy<Value = ContentId> {
        uniform32(num::u8::ANY).prop_map(ContentId::from_bytes)
    }

    fn ranges() -> impl Strategy<Value = BoundedVec<GroupRange, MAX_RANGES>> {
        let one = (num::u32::ANY, num::u32::ANY).prop_filter_map("empty", |(start, end)| {
            GroupRange::new(GroupIndex::new(start.min(end)), GroupIndex::new(start.max(end)))
        });
        vec(one, 0..=MAX_RANGES).prop_map(BoundedVec::first_of)
    }

    fn held() -> impl Strategy<Value = Held> {
        prop_oneof![
            Just(Held::All),
            ranges().prop_map(Held::Groups),
            ranges().prop_map(Held::Coming),
            ranges().prop_map(Held::Offered),
            ranges().prop_map(Held::OnDuty),
        ]
    }

    fn part() -> impl Strategy<Value = ListPart> {
        let values = vec(uniform32(num::u8::ANY).prop_map(ChainingValue::from_bytes), 0..20);
        (content(), 1_u64..=64 << 20, num::u32::ANY, values).prop_map(|(content, len, first, values)| {
            ListPart {
                content,
                len: SegmentLen::new(len).unwrap(),
                first: GroupIndex::new(first),
                values: BoundedVec::first_of(values),
            }
        })
    }

    fn link_message() -> impl Strategy<Value = LinkMessage> {
        let entry = (content(), held()).prop_map(|(content, held)| HaveEntry { content, held });
        let have = (uniform32(num::u8::ANY), vec(entry, 0..9)).prop_map(|(stream, entries)| Have {
            stream: StreamId::from_bytes(stream),
            entries: BoundedVec::first_of(entries),
        });
        let request = (num::u32::ANY, content(), ranges()).prop_map(|(id, content, groups)| Request {
            id: RequestId::new(id),
            content,
            groups,
        });
        prop_oneof![
            num::u32::ANY.prop_map(LinkMessage::Ping),
            num::u32::ANY.prop_map(LinkMessage::Pong),
            have.prop_map(LinkMessage::Have),
            vec(content(), 0..=MAX_HAVE_ENTRIES)
                .prop_map(|lost| LinkMessage::Lost(BoundedVec::first_of(lost))),
            request.prop_map(LinkMessage::Request),
            num::u32::ANY.prop_map(|id| LinkMessage::Cancel(RequestId::new(id))),
            num::u32::ANY.prop_map(|id| LinkMessage::Reject(RequestId::new(id), RejectReason::Busy(0))),
            content().prop_map(LinkMessage::GetList),
            part().prop_map(LinkMessage::ListPart),
            content().prop_map(LinkMessage::NoList),
            Just(LinkMessage::Release),
        ]
    }

    fn read_all(bytes: &[u8]) {
        let _ = read(bytes, LinkMessage::decode);
        let _ = read(bytes, ClientMessage::decode);
        let _ = read(bytes, ServiceMessage::decode);
        let _ = Data::decode(bytes);
    }

    proptest! {
        #[test]
        fn link_messages_round_trip_alone_and_together(messages in vec(link_message(), 1..4)) {
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| message.encode(&mut bytes));
            prop_assert_eq!(read(&bytes, LinkMessage::decode), Ok(messages));
        }

        #[test]
        fn data_round_trips(request in num::u32::ANY, group in num::u32::ANY, bytes in vec(num::u8::ANY, 1..99)) {
            let (request, group) = (RequestId::new(request), GroupIndex::new(group));
            let mut message = data_header(request, group, bytes.len());
            message.extend_from_slice(&bytes);
            prop_assert_eq!(Data::decode(&message), Ok(Some(Data { request, first: group, bytes: &bytes })));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(num::u8::ANY, 0..600)) {
            read_all(&bytes);
        }

        #[test]
        fn arbitrary_bodies_never_panic(
            kind in prop_oneof![0_u16..34, 60_u16..108],
            body in vec(num::u8::ANY, 0..400),
        ) {
            let len = u32::try_from(body.len()).unwrap();
            read_all(&[&kind.to_le_bytes()[..], &len.to_le_bytes(), &body].concat());
        }

        #[test]
        fn changed_messages_never_panic(
            which in num::usize::ANY,
            changes in vec((num::usize::ANY, num::u8::ANY), 1..6),
        ) {
            let vectors: Vec<_> = vectors().into_values().collect();
            let mut bytes = vectors[which % vectors.len()].clone();
            for (place, byte) in changes {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            read_all(&bytes);
        }
    }
}
