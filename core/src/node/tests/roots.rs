use std::time::Duration;

use super::{
    super::{
        roots::{MAX_ATTESTED, ManifestState},
        *,
    },
    lab::*,
};
use crate::{
    bounded::BoundedVec,
    content::{Attestation, Trust},
    wire::{AttestFailure, Attested, ClientMessage, Have, HaveEntry, Held, LinkMessage, ServiceMessage},
};

const FAR: Duration = Duration::from_secs(20);

fn signed() -> Roots {
    Roots::Signed(publisher().public_key())
}

fn wrong() -> Vec<u8> {
    let mut bytes = segment(0);
    bytes[20_000] ^= 1;
    bytes
}

fn mismatches(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].events.iter().filter(|event| matches!(event, Event::OriginMismatch { .. })).count()
}

/// The origin answers whatever is asked with these bytes, until nothing is asked.
fn serve(lab: &mut Lab, tab: usize, bytes: &[u8]) -> Vec<Asked> {
    let mut answered = Vec::new();
    lab.advance(Duration::from_millis(500));
    while !lab.tabs[tab].asked.is_empty() {
        let asked = lab.tabs[tab].asked.remove(0);
        answered.push(asked);
        lab.answer(tab, asked, 200, bytes);
        lab.advance(Duration::from_millis(500));
        assert!(answered.len() < 10, "it asks again and again");
    }
    answered
}

fn one(roots: Roots, config: Config) -> Lab {
    let mut lab = Lab::empty();
    lab.attests = roots == Roots::Attested;
    lab.add(config, roots);
    lab.settle();
    lab
}

#[test]
fn bytes_that_contradict_the_signature_are_asked_again_past_the_cache_and_then_refused() {
    let mut lab = one(signed(), config(0));
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    let answered = serve(&mut lab, 0, &wrong());
    assert_eq!(answered.iter().map(|asked| asked.fresh).collect::<Vec<_>>(), [false, true]);
    assert_eq!(lab.tabs[0].failed, [(fetch, FetchError::Mismatch)]);
    assert_eq!((lab.tabs[0].delivered.len(), mismatches(&lab, 0)), (0, 1));
}

#[test]
fn the_second_answer_may_be_right() {
    let mut lab = one(signed(), config(0));
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    lab.advance(Duration::from_millis(10));
    let asked = lab.tabs[0].asked.pop().unwrap();
    lab.answer(0, asked, 200, &wrong());
    serve(&mut lab, 0, &segment(0));
    assert_eq!(lab.tabs[0].delivered, [(fetch, segment(0), Delivery::Verified, 200)]);
}

#[test]
fn a_page_may_choose_to_play_what_contradicts_the_signature() {
    let mut lab = one(signed(), Config { deliver_signed_mismatch: true, ..config(0) });
    let fetch = lab.fetch(0, 0, Duration::ZERO);
    lab.answer_sidecars(0, 0);
    serve(&mut lab, 0, &wrong());
    assert_eq!(lab.tabs[0].delivered, [(fetch, wrong(), Delivery::OriginWhole, 200)]);
    assert_eq!(mismatches(&lab, 0), 1);
}

#[test]
fn a_contradicted_key_is_played_from_the_origin_and_leaves_the_swarm() {
    for bytes in [wrong(), segment(0)[..50_000].to_vec(), [segment(0), vec![0; 9]].concat()] {
        let mut lab = Lab::connected(2);
        let fetch = lab.fetch(0, 0, Duration::ZERO);
        lab.answer_sidecars(0, 0);
        serve(&mut lab, 0, &bytes);
        assert_eq!(lab.tabs[0].delivered, [(fetch, bytes.clone(), Delivery::OriginWhole, 200)]);
        assert_eq!((mismatches(&lab, 0), lab.tabs[0].node.stored_bytes()), (1, 0));
        // From now on over HTTP only, whatever a neighbour holds.
        let have = Have {
            stream: stream(Roots::Origin).id,
            entries: BoundedVec::first_of([HaveEntry { content: content(0), held: Held::All }]),
        };
        lab.say(1, 0, &LinkMessage::Have(have).to_bytes());
        lab.tabs[0].said.clear();
        lab.fetch(0, 0, FAR);
        assert_eq!((lab.tabs[0].asked.len(), lab.tabs[0].sidecars.len()), (1, 0));
        assert_eq!(lab.tabs[0].said, []);
    }
}

#[test]
fn a_stream_without_a_manifest_is_played_over_http_only() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let id = stream(Roots::Origin).id;
    lab.tabs[1].node.streams.get_mut(&id).unwrap().manifest = ManifestState::Pending;
    lab.call(1, &[], |node, now| node.manifest_failed(id, now));
    lab.fetch(1, 0, FAR);
    let asked = lab.tabs[1].asked.pop().expect("at once");
    lab.answer(1, asked, 200, &segment(0));
    assert_eq!(lab.tabs[1].delivered[0].2, Delivery::OriginWhole);
    assert_eq!(lab.tabs[1].node.stored_bytes(), 0);
}

#[test]
fn a_segment_that_is_not_in_the_manifest_is_http_only() {
    let mut lab = Lab::connected(2);
    lab.fetch(0, 99, FAR);
    assert_eq!(lab.tabs[0].asked.len(), 1);
}

#[test]
fn a_segment_whose_group_list_cannot_be_had_comes_whole_and_is_held_against_its_root() {
    for body in [None, Some(&b"short"[..]), Some(&[0; 32 * GROUPS as usize][..])] {
        let mut lab = one(Roots::Origin, config(0));
        lab.fetch(0, 0, FAR);
        let sidecar = lab.tabs[0].sidecars.pop().expect("the list is asked for");
        lab.call(0, &[], |node, now| node.handle_sidecar(sidecar.0, body, now));
        serve(&mut lab, 0, &segment(0));
        assert_eq!(lab.tabs[0].delivered[0].2, Delivery::Verified);
        lab.fetch(0, 1, FAR);
        let sidecar = lab.tabs[0].sidecars.pop().expect("the list is asked for");
        lab.call(0, &[], |node, now| node.handle_sidecar(sidecar.0, body, now));
        serve(&mut lab, 0, &segment(0));
        assert_eq!((lab.tabs[0].delivered[1].2, mismatches(&lab, 0)), (Delivery::OriginWhole, 1));
    }
}

#[test]
fn a_signed_segment_waits_a_moment_for_the_manifest() {
    for comes in [true, false] {
        let mut lab = Lab::empty();
        let mut node = Node::new(config(0), lab.now);
        node.join(stream(signed()), lab.now);
        lab.add(config(0), signed());
        lab.tabs[0].node = node;
        lab.call(0, &[], |_, _| {});
        lab.settle();
        lab.fetch(0, 0, Duration::ZERO);
        lab.advance(Duration::from_millis(500));
        let asked = lab.tabs[0].asked.pop().unwrap();
        lab.answer(0, asked, 200, &segment(0));
        lab.advance(Duration::from_secs(2));
        assert!(lab.tabs[0].delivered.is_empty(), "not before the signature, if it comes soon");
        if comes {
            let file = manifest().encode_signed(&publisher()).unwrap();
            let manifest = Manifest::decode(&file, &Trust::Signed(publisher().public_key())).unwrap();
            lab.call(0, &[], |node, now| node.add_manifest(stream(signed()).id, manifest, now));
            lab.settle();
            lab.answer_sidecars(0, 0);
        }
        lab.advance(Duration::from_secs(2));
        let expected = if comes { Delivery::Verified } else { Delivery::OriginWhole };
        assert_eq!(lab.tabs[0].delivered[0].2, expected);
    }
}

#[test]
fn an_attested_segment_is_asked_for_once_and_traded() {
    let mut lab = Lab::empty();
    lab.attests = true;
    (0..2).for_each(|number| lab.add(config(number), Roots::Attested));
    lab.settle();
    let fetch = lab.fetch(0, 0, FAR);
    lab.fetch(0, 0, FAR);
    let asks =
        lab.tabs[0].told_service.iter().filter(|told| matches!(told, ClientMessage::Attest(_))).count();
    assert_eq!(asks, 1);
    for tab in 0..2 {
        let now = lab.wall();
        lab.tell(tab, &ServiceMessage::Attested(Box::new(attested(0, &segment(0), now))));
    }
    lab.advance(Duration::from_millis(400));
    let asked = lab.tabs[0].asked.pop().expect("nobody holds it");
    lab.answer(0, asked, 200, &segment(0));
    assert_eq!(lab.tabs[0].delivered[0], (fetch, segment(0), Delivery::Verified, 200));
    lab.advance(Duration::from_millis(600));
    lab.fetch(1, 0, FAR);
    assert_eq!(lab.tabs[1].delivered[0].2, Delivery::Verified);
    assert!(lab.tabs[1].asked.is_empty());
}

#[test]
fn a_root_that_comes_late_adopts_what_the_origin_gave() {
    let mut lab = Lab::empty();
    lab.attests = true;
    (0..2).for_each(|number| lab.add(config(number), Roots::Attested));
    lab.settle();
    lab.fetch(0, 0, Duration::ZERO);
    serve(&mut lab, 0, &segment(0));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole);
    for tab in 0..2 {
        let now = lab.wall();
        lab.tell(tab, &ServiceMessage::Attested(Box::new(attested(0, &segment(0), now))));
    }
    lab.advance(Duration::from_millis(100));
    assert_eq!(lab.tabs[0].node.stored_bytes(), LEN);
    lab.fetch(1, 0, FAR);
    assert_eq!(lab.tabs[1].delivered[0].1, segment(0));
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, LEN);
}

#[test]
fn a_late_root_that_contradicts_what_was_delivered_adopts_nothing() {
    let mut lab = one(Roots::Attested, config(0));
    lab.fetch(0, 0, Duration::ZERO);
    serve(&mut lab, 0, &segment(0));
    let now = lab.wall();
    lab.tell(0, &ServiceMessage::Attested(Box::new(attested(0, &wrong(), now))));
    lab.advance(FAR);
    assert_eq!(lab.tabs[0].node.stored_bytes(), 0);
    assert_eq!((lab.tabs[0].delivered.len(), lab.tabs[0].failed.len()), (1, 0));
    assert_eq!(mismatches(&lab, 0), 1, "the page hears of it all the same");
    assert!(lab.tabs[0].asked.is_empty(), "it was delivered: nothing is fetched again");
}

#[test]
fn the_oldest_attestation_makes_room_for_a_new_one() {
    let mut lab = one(Roots::Attested, config(0));
    let body = segment(0);
    for number in 0..=MAX_ATTESTED as u32 {
        lab.advance(Duration::from_millis(1));
        let now = lab.wall();
        lab.tell(0, &ServiceMessage::Attested(Box::new(attested(number, &body, now))));
    }
    let asks = |lab: &mut Lab, number| {
        lab.fetch(0, number, FAR);
        lab.tabs[0].told_service.iter().filter(|told| matches!(told, ClientMessage::Attest(_))).count()
    };
    assert_eq!(asks(&mut lab, MAX_ATTESTED as u32), 0, "the newest is known");
    assert_eq!(asks(&mut lab, 1), 0, "the second is known");
    assert_eq!(asks(&mut lab, 0), 1, "the first went");
}

#[test]
fn only_the_issuers_word_is_an_attestation_and_only_while_it_holds() {
    let mut lab = one(Roots::Attested, config(0));
    let list = list(&segment(0));
    let said = Attestation {
        stream: stream(Roots::Attested).id,
        key: key(0),
        len: list.len(),
        root: list.root(),
        expires: lab.wall() + Duration::from_secs(3600),
    };
    let expired = Attestation { expires: lab.wall(), ..said.clone() };
    let values = BoundedVec::first_of(list.values().iter().copied());
    let forged = [said.sign(&Identity::from_seed([66; 32])), expired.sign(&issuer())];
    for attestation in forged {
        let message = ServiceMessage::Attested(Box::new(Attested { attestation, values: values.clone() }));
        lab.tell(0, &message);
    }
    let wrong_values = Attested { attestation: said.sign(&issuer()), values: BoundedVec::new() };
    lab.tell(0, &ServiceMessage::Attested(Box::new(wrong_values)));
    lab.fetch(0, 0, Duration::ZERO);
    serve(&mut lab, 0, &segment(0));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole);
}

#[test]
fn what_cannot_be_attested_is_http_only_at_once() {
    let mut lab = one(Roots::Attested, config(0));
    lab.fetch(0, 0, FAR);
    let segment_id = key(0).id(&stream(Roots::Attested).id);
    lab.tell(0, &ServiceMessage::AttestFailed { segment: segment_id, reason: AttestFailure::Refused });
    serve(&mut lab, 0, &segment(0));
    assert_eq!(lab.tabs[0].delivered[0].2, Delivery::OriginWhole);
    lab.fetch(0, 0, FAR);
    assert_eq!(lab.tabs[0].asked.len(), 1, "and so from then on");
}

#[test]
fn a_service_in_trouble_is_asked_again_after_a_while_and_one_that_refused_is_not() {
    for (reason, again) in
        [(AttestFailure::Origin, 1), (AttestFailure::Refused, 0), (AttestFailure::NotServed, 0)]
    {
        let mut lab = Lab::empty();
        lab.attests = true;
        lab.add(config(0), Roots::Attested);
        lab.settle();
        let asked = |lab: &Lab| {
            lab.tabs[0].told_service.iter().filter(|told| matches!(told, ClientMessage::Attest(_))).count()
        };
        lab.fetch(0, 0, FAR);
        let segment_id = key(0).id(&stream(Roots::Attested).id);
        lab.tell(0, &ServiceMessage::AttestFailed { segment: segment_id, reason });
        serve(&mut lab, 0, &segment(0));
        lab.advance(Duration::from_secs(12));
        lab.fetch(0, 0, FAR);
        serve(&mut lab, 0, &segment(0));
        assert_eq!(asked(&lab), 1);
        lab.advance(Duration::from_secs(4));
        lab.fetch(0, 0, FAR);
        assert_eq!(asked(&lab), 1 + again, "{reason:?}");
    }
}
