use std::time::Duration;

use super::{
    super::{
        links::{MAX_CANDIDATES, MAX_EARLY_CANDIDATES, Side},
        *,
    },
    lab::*,
};
use crate::{
    bounded::BoundedVec,
    id::{NetworkId, SessionId},
    identity::{Candidate, IdentityError, Introduction, IntroductionBody, SignedIntroduction, Trusted},
    wire::{ClientMessage, ServiceMessage, frames},
};

/// Tab 1 called tab 0, and the offer is still under way.
fn offered() -> (Lab, SignedIntroduction) {
    let mut lab = Lab::empty();
    (lab.carries, lab.introduces) = (false, false);
    (0..3).for_each(|number| lab.add(config(number), Roots::Origin));
    lab.settle();
    call(&mut lab, 1, 0);
    let (_, offer) = lab.held.pop().expect("it called");
    (lab, offer)
}

/// The service names a tab to another, which calls it.
fn call(lab: &mut Lab, tab: usize, other: usize) {
    let peers = BoundedVec::first_of([lab.peer_id(other)]);
    lab.tell(tab, &ServiceMessage::Peers { stream: stream(Roots::Origin).id, population: 3, peers });
}

/// Who signed an introduction, and what it says. It is closed to all but its target, which its refusal names.
fn opened(signed: &SignedIntroduction) -> Option<(PeerId, Introduction)> {
    let issuers = [issuer().public_key()];
    let trusted =
        |me| Trusted { issuers: &issuers, me, network: network(), now: EPOCH + Duration::from_secs(5) };
    let Err(IdentityError::WrongTarget { to }) = signed.verify(&trusted(PeerId::from_bytes([0; 32]))) else {
        return None;
    };
    signed.verify(&trusted(to)).ok().map(|verified| (verified.from, verified.introduction))
}

fn accepted(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].node.links.iter().filter(|(_, link)| link.side == Side::Accepter).count()
}

/// Signs as a tab of the lab.
fn signed(lab: &Lab, tab: usize, introduction: Introduction) -> SignedIntroduction {
    let identity = &lab.tabs[tab].node.identity;
    introduction.sign(&certificate(identity.public_key(), lab.wall()), identity)
}

fn introduced(signed: SignedIntroduction) -> ServiceMessage {
    ServiceMessage::Introduced(Box::new(signed))
}

#[test]
fn an_offer_is_accepted_once() {
    let (mut lab, offer) = offered();
    lab.tell(0, &introduced(offer.clone()));
    lab.tell(0, &introduced(offer));
    assert_eq!(accepted(&lab, 0), 1);
}

#[test]
fn an_expired_offer_is_refused() {
    let (mut lab, offer) = offered();
    lab.advance(Duration::from_secs(31));
    lab.tell(0, &introduced(offer));
    assert_eq!(accepted(&lab, 0), 0);
}

#[test]
fn an_offer_for_another_peer_or_network_is_refused() {
    let (mut lab, offer) = offered();
    lab.tell(2, &introduced(offer.clone()));
    assert_eq!(accepted(&lab, 2), 0);
    let (_, mut elsewhere) = opened(&offer).unwrap();
    elsewhere.network = NetworkId::from_bytes([9; 32]);
    let elsewhere = signed(&lab, 1, elsewhere);
    lab.tell(0, &introduced(elsewhere));
    assert_eq!(accepted(&lab, 0), 0);
}

#[test]
fn an_offer_signed_with_another_key_than_the_certificates_is_refused() {
    let (mut lab, offer) = offered();
    let (_, introduction) = opened(&offer).unwrap();
    let victim = lab.tabs[1].node.identity.public_key();
    let forged = introduction.sign(&certificate(victim, lab.wall()), &Identity::from_seed([77; 32]));
    lab.tell(0, &introduced(forged));
    assert_eq!(accepted(&lab, 0), 0);
}

#[test]
fn an_offer_under_a_certificate_of_another_issuer_is_refused() {
    let (mut lab, offer) = offered();
    let (_, introduction) = opened(&offer).unwrap();
    let me = &lab.tabs[1].node.identity;
    let mut own =
        certificate(me.public_key(), lab.wall()).verify(&[issuer().public_key()], lab.wall()).unwrap();
    own.nonce = crate::id::Nonce::from_bytes([8; 16]);
    let forged = introduction.sign(&own.sign(&Identity::from_seed([78; 32])), me);
    lab.tell(0, &introduced(forged));
    assert_eq!(accepted(&lab, 0), 0);
}

#[test]
fn answers_and_candidates_of_an_unknown_session_do_nothing() {
    let (mut lab, offer) = offered();
    let (_, offer) = opened(&offer).unwrap();
    let IntroductionBody::Offer(description) = offer.body.clone() else { panic!("it is an offer") };
    lab.tell(0, &introduced(signed(&lab, 1, offer.clone())));
    lab.tabs[0].outputs.clear();
    let candidate = Candidate::new("candidate:1").unwrap();
    for body in [IntroductionBody::Answer(description), IntroductionBody::Candidate(candidate)] {
        let session = SessionId::from_bytes([1; 16]);
        let message = introduced(signed(&lab, 1, Introduction { session, body, ..offer.clone() }));
        lab.tell(0, &message);
    }
    assert_eq!(lab.tabs[0].outputs, []);
}

#[test]
fn an_answer_from_another_peer_than_the_called_one_does_nothing() {
    let (mut lab, offer) = offered();
    let (_, offer) = opened(&offer).unwrap();
    let IntroductionBody::Offer(description) = offer.body.clone() else { panic!("it is an offer") };
    let to = lab.peer_id(1);
    let body = IntroductionBody::Answer(description);
    let message = introduced(signed(&lab, 2, Introduction { to, body, ..offer }));
    lab.tell(1, &message);
    assert!(!lab.tabs[1].outputs.iter().any(|output| matches!(output, Output::SetRemote { .. })));
}

#[test]
fn a_banned_peer_is_neither_accepted_nor_called() {
    let (mut lab, offer) = offered();
    let one = lab.peer_id(1);
    lab.tabs[0].node.bans.insert(one);
    lab.tell(0, &introduced(offer));
    call(&mut lab, 0, 1);
    assert!(!lab.tabs[0].node.links().any(|link| link.peer == one));
}

fn call_from(lab: &mut Lab, caller: &Identity, session: u8, offer: &Introduction) {
    let session = SessionId::from_bytes([session; 16]);
    let introduction = Introduction { session, ..offer.clone() };
    let signed = introduction.sign(&certificate(caller.public_key(), lab.wall()), caller);
    let bytes = introduced(signed).to_bytes();
    lab.tabs[0].node.handle_service_message(&bytes, lab.now);
}

#[test]
fn no_more_than_twelve_calls_are_answered_at_a_time() {
    let (mut lab, offer) = offered();
    let (_, offer) = opened(&offer).unwrap();
    for number in 0..60 {
        call_from(&mut lab, &Identity::from_seed([100 + number; 32]), number, &offer);
    }
    assert_eq!(accepted(&lab, 0), 12);
}

#[test]
fn a_peer_that_calls_again_and_again_is_answered_five_times() {
    let (mut lab, offer) = offered();
    let (_, offer) = opened(&offer).unwrap();
    let caller = Identity::from_seed([100; 32]);
    for number in 0..60 {
        call_from(&mut lab, &caller, number, &offer);
    }
    let outputs = std::iter::from_fn(|| lab.tabs[0].node.poll_output());
    assert_eq!(outputs.filter(|output| matches!(output, Output::Accept { .. })).count(), 5);
}

#[test]
fn two_who_call_each_other_end_with_one_link() {
    let (mut lab, offer) = offered();
    call(&mut lab, 0, 1);
    let (_, back) = lab.held.pop().expect("tab 0 calls too");
    lab.carries = true;
    lab.tell(0, &introduced(offer));
    lab.tell(1, &introduced(back));
    for (tab, other) in [(0, 1), (1, 0)] {
        let other = lab.peer_id(other);
        let links: Vec<_> = lab.tabs[tab].node.links().filter(|link| link.peer == other).collect();
        assert_eq!(links.len(), 1, "{links:?}");
        assert!(links[0].ready);
    }
}

#[test]
fn candidates_that_come_before_the_answer_are_kept_up_to_a_limit() {
    let (mut lab, offer) = offered();
    let (_, offer) = opened(&offer).unwrap();
    let IntroductionBody::Offer(description) = offer.body.clone() else { panic!("it is an offer") };
    let to = lab.peer_id(1);
    for _ in 0..100 {
        let body = IntroductionBody::Candidate(Candidate::new("candidate:1").unwrap());
        let message = introduced(signed(&lab, 0, Introduction { to, body, ..offer.clone() }));
        lab.tell(1, &message);
    }
    let count = |lab: &Lab| {
        lab.tabs[1].outputs.iter().filter(|output| matches!(output, Output::AddCandidate { .. })).count()
    };
    assert_eq!(count(&lab), 0);
    let body = IntroductionBody::Answer(description);
    let message = introduced(signed(&lab, 0, Introduction { to, body, ..offer })).to_bytes();
    let node = &mut lab.tabs[1].node;
    node.handle_service_message(&message, lab.now);
    let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
    let added = outputs.iter().filter(|output| matches!(output, Output::AddCandidate { .. })).count();
    assert_eq!(added, MAX_EARLY_CANDIDATES);
    assert!(matches!(outputs[0], Output::SetRemote { .. }), "the answer is applied first");
}

#[test]
fn a_peer_names_candidates_up_to_a_limit() {
    let (mut lab, offer) = offered();
    lab.carries = true;
    lab.tell(0, &introduced(offer.clone()));
    let (_, offer) = opened(&offer).unwrap();
    let to = lab.peer_id(0);
    lab.tabs[0].outputs.clear();
    for _ in 0..2 * MAX_CANDIDATES {
        let body = IntroductionBody::Candidate(Candidate::new("candidate:1").unwrap());
        let message = introduced(signed(&lab, 1, Introduction { to, body, ..offer.clone() }));
        lab.tell(0, &message);
    }
    let added =
        lab.tabs[0].outputs.iter().filter(|output| matches!(output, Output::AddCandidate { .. })).count();
    assert_eq!(added, MAX_CANDIDATES);
}

/// A tab that dials, and what it says to the service when it gets this of its driver, each after so many milliseconds.
fn introductions_after(steps: &[(u64, Made)]) -> Vec<IntroductionBody> {
    let mut lab = Lab::new(1, Roots::Origin);
    lab.settle();
    let stream = stream(Roots::Origin).id;
    let peers = BoundedVec::first_of([PeerId::from_bytes([5; 32])]);
    let message = ServiceMessage::Peers { stream, population: 2, peers }.to_bytes();
    let node = &mut lab.tabs[0].node;
    node.handle_service_message(&message, lab.now);
    let link = node.links().next().expect("it calls").link;
    for (wait, made) in steps {
        lab.now = lab.now + Duration::from_millis(*wait);
        match made {
            Made::Candidate(line) => {
                node.handle_local_candidate(link, Candidate::new(line).unwrap(), lab.now);
            }
            Made::Description => {
                let fingerprint = crate::identity::Fingerprint::from_bytes([1; 32]);
                let description = crate::identity::Description::new(
                    fingerprint,
                    "ufrag",
                    "0123456789abcdefghijkl",
                    Vec::new(),
                );
                node.handle_local_description(link, SdpKind::Offer, description.unwrap(), lab.now);
            }
            Made::Nothing => node.handle_timeout(lab.now),
        }
    }
    let mut introductions = Vec::new();
    while let Some(output) = node.poll_output() {
        let Output::SendService(message) = output else { continue };
        for frame in frames(&message) {
            let said = ClientMessage::decode(&frame.unwrap()).unwrap();
            let Some(ClientMessage::Introduce { introduction, .. }) = said else { continue };
            introductions.push(opened(&introduction).unwrap().1.body);
        }
    }
    introductions
}

enum Made {
    Candidate(&'static str),
    Description,
    Nothing,
}

fn candidates(body: &IntroductionBody) -> Vec<&str> {
    match body {
        IntroductionBody::Offer(description) => {
            description.candidates().iter().map(Candidate::as_str).collect()
        }
        IntroductionBody::Candidate(candidate) => vec![candidate.as_str()],
        _ => panic!("nothing else was made"),
    }
}

#[test]
fn candidates_found_within_a_moment_go_with_the_description_and_later_ones_by_themselves() {
    use Made::{Candidate, Description, Nothing};
    let sent = introductions_after(&[
        (0, Description),
        (0, Candidate("candidate:1")),
        (49, Candidate("candidate:2")),
        (1, Nothing),
        (9, Candidate("candidate:3")),
        (0, Candidate("")),
    ]);
    let sent: Vec<_> = sent.iter().map(candidates).collect();
    assert_eq!(sent, [vec!["candidate:1", "candidate:2"], vec!["candidate:3"]]);
}

#[test]
fn a_description_waits_no_longer_when_there_are_no_more_candidates() {
    use Made::{Candidate, Description};
    let sent = introductions_after(&[(0, Description), (1, Candidate("candidate:1")), (0, Candidate(""))]);
    assert_eq!(sent.iter().map(candidates).collect::<Vec<_>>(), [["candidate:1"]]);
}

#[test]
fn a_candidate_that_only_calls_by_tcp_is_not_sent() {
    use Made::{Candidate, Description, Nothing};
    let active = "candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0";
    let sent = introductions_after(&[
        (0, Description),
        (1, Candidate(active)),
        (49, Nothing),
        (1, Candidate(active)),
    ]);
    assert_eq!(sent.iter().map(candidates).collect::<Vec<_>>(), [Vec::<&str>::new()]);
}

#[test]
fn own_candidates_go_with_the_description_up_to_a_limit() {
    use Made::{Candidate, Description};
    let mut steps = vec![(0, Description)];
    steps.extend((0..100).map(|_| (0, Candidate("candidate:1"))));
    steps.push((0, Candidate("")));
    let sent = introductions_after(&steps);
    let counts: Vec<_> = sent.iter().map(|body| candidates(body).len()).collect();
    assert_eq!(counts, [crate::identity::MAX_CANDIDATES]);
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_flipped_bit_of_an_introduction_is_accepted(bit in proptest::num::usize::ANY) {
        let (mut lab, offer) = offered();
        let mut bytes = offer.encode();
        let bit = bit % (8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(flipped) = SignedIntroduction::decode(&bytes) {
            lab.tell(0, &introduced(flipped));
        }
        proptest::prop_assert_eq!(accepted(&lab, 0), 0);
    }
}
