use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    identity::Rights,
    kad::{Key, OverlayMessage, RouteId, RouteMessage},
    units::BytesPerSec,
    wire::{ByeReason, ClientMessage, Held, LinkMessage, Request, ServiceMessage},
};

/// Tabs of which each was introduced to the next one, and the last to the first, and to nobody else. All of them answer lookups.
fn ring(tabs: usize) -> Lab {
    ring_of((0..tabs).map(meshed))
}

fn ring_of(tabs: impl Iterator<Item = Config>) -> Lab {
    let mut lab = Lab::empty();
    lab.introduces = false;
    tabs.for_each(|config| lab.add(config, Roots::Origin));
    lab.settle();
    let count = lab.tabs.len();
    for tab in 0..count {
        call(&mut lab, tab, (tab + 1) % count);
    }
    lab
}

/// Three tabs that nobody was introduced to yet. The first one has room for one partner.
fn three_with_room_for_one() -> Lab {
    let full = Config { links: 1, max_links: 1, ..meshed(0) };
    let mut lab = Lab::empty();
    lab.introduces = false;
    [full, meshed(1), meshed(2)].into_iter().for_each(|config| lab.add(config, Roots::Origin));
    lab.settle();
    lab
}

/// The same after the second became the partner of the first one, and the third a contact.
fn contact_of_a_full_tab() -> Lab {
    let mut lab = three_with_room_for_one();
    call(&mut lab, 1, 0);
    call(&mut lab, 2, 0);
    lab
}

/// The service names a tab to another.
fn call(lab: &mut Lab, tab: usize, other: usize) {
    let (peers, population) = (BoundedVec::first_of([lab.peer_id(other)]), lab.tabs.len() as u32);
    lab.tell(tab, &ServiceMessage::Peers { stream: stream(Roots::Origin).id, population, peers });
}

fn links(lab: &Lab, tab: usize) -> Vec<LinkInfo> {
    lab.tabs[tab].node.links().filter(|link| link.ready).collect()
}

fn partners(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].node.partner_links().count()
}

fn carried_by_service(lab: &Lab) -> usize {
    let told = lab.tabs.iter().flat_map(|tab| &tab.told_service);
    told.filter(|message| matches!(message, ClientMessage::Introduce { .. })).count()
}

#[test]
fn viewers_find_and_call_each_other_after_the_service_is_gone() {
    let mut lab = ring(8);
    assert!((0..8).all(|tab| links(&lab, tab).len() == 2));
    let before = carried_by_service(&lab);
    lab.service_down();
    lab.advance(Duration::from_secs(180));
    assert!(
        (0..8).all(|tab| partners(&lab, tab) == 7),
        "{:?}",
        (0..8).map(|tab| partners(&lab, tab)).collect::<Vec<_>>()
    );
    assert_eq!(carried_by_service(&lab), before);
    assert!((0..8).all(|tab| links(&lab, tab).iter().filter(|link| link.by_mesh).count() == 5));
    assert!((0..8).all(|tab| lab.bans(tab).is_empty()));
}

#[test]
fn nobody_answers_lookups_in_the_first_minute() {
    let mut lab = ring(5);
    lab.advance(Duration::from_secs(58));
    assert!(lab.tabs.iter().all(|tab| tab.said_in_mesh.is_empty()));
    lab.advance(Duration::from_secs(4));
    let says = |tab: &Tab| tab.said_in_mesh.iter().any(|(_, said)| *said == OverlayMessage::Client(false));
    assert!(lab.tabs.iter().all(says));
}

#[test]
fn who_may_not_give_answers_no_lookups() {
    let mut lab = Lab::empty();
    (lab.rights, lab.introduces) = (Rights::SWARM, false);
    (0..3).for_each(|number| lab.add(meshed(number), Roots::Origin));
    lab.settle();
    call(&mut lab, 0, 1);
    lab.advance(Duration::from_secs(120));
    assert_eq!(links(&lab, 0).len(), 1);
    assert!(lab.tabs.iter().all(|tab| tab.said_in_mesh.is_empty()));
}

#[test]
fn a_page_that_stops_giving_says_so_and_answers_again_when_it_gives() {
    let mut lab = ring(3);
    lab.advance(Duration::from_secs(70));
    for limit in [Some(BytesPerSec::new(0)), None] {
        lab.tabs[0].said_in_mesh.clear();
        lab.call(0, &[], |node, now| node.set_upload_limit(limit, now));
        lab.settle();
        let is_client = OverlayMessage::Client(limit.is_some());
        assert_eq!(lab.tabs[0].said_in_mesh.iter().filter(|(_, said)| *said == is_client).count(), 2);
    }
}

#[test]
fn who_carries_an_introduction_cannot_read_it() {
    let mut lab = ring(8);
    lab.service_down();
    lab.advance(Duration::from_secs(180));
    let introductions: Vec<Vec<u8>> = lab
        .tabs
        .iter()
        .flat_map(|tab| &tab.said_in_mesh)
        .filter_map(|(_, said)| match said {
            OverlayMessage::Route(RouteMessage::Forward { body, .. } | RouteMessage::Reply(_, body)) => {
                Some(body.clone())
            }
            _ => None,
        })
        .collect();
    // As the lab's descriptions have it.
    let secret = b"0123456789abcdefghijkl";
    let reads = |body: &Vec<u8>| body.windows(secret.len()).any(|part| part == secret);
    assert!(introductions.iter().any(|body| body.len() > 500) && !introductions.iter().any(reads));
}

#[test]
fn a_full_viewer_lets_a_caller_in_as_a_contact_and_both_know_it() {
    let mut lab = contact_of_a_full_tab();
    assert_eq!((links(&lab, 0).len(), partners(&lab, 0)), (2, 1));
    assert_eq!((links(&lab, 2).len(), partners(&lab, 2)), (1, 0));
    // What a contact asks for it does not get.
    lab.hold(0, 1);
    let groups = BoundedVec::first_of([list(&segment(1)).len().all_groups()]);
    let request = Request { id: crate::id::RequestId::new(7), content: content(1), groups };
    lab.say(2, 0, &LinkMessage::Request(request).to_bytes());
    assert!(lab.tabs[0].outputs.iter().all(|output| !matches!(output, Output::SendGroups { .. })));
    // Nor is it believed what it says that it holds.
    lab.claim(2, 0, 3, Held::All);
    assert!(lab.tabs[0].node.links.values().all(|link| link.claims.on(&content(3)).is_none()));
}

#[test]
fn a_contact_becomes_a_partner_when_both_want_it() {
    let mut lab = contact_of_a_full_tab();
    let (contact, partner) = (lab.link(2, 0), lab.link(0, 1));
    lab.hold(0, 1);
    // Full: no.
    lab.call(2, &[], |node, now| node.propose_trade(contact, now));
    lab.settle();
    assert_eq!((partners(&lab, 0), partners(&lab, 2)), (1, 0));
    // Not any more: yes, and what is held is said.
    lab.call(0, &[], |node, now| node.close_link(partner, None, now));
    lab.settle();
    lab.call(2, &[], |node, now| node.propose_trade(contact, now));
    lab.settle();
    assert_eq!((partners(&lab, 0), partners(&lab, 2)), (1, 1));
    assert!(lab.tabs[2].node.links[&contact].claims.on(&content(1)).is_some());
}

#[test]
fn who_gives_a_partner_up_keeps_the_contact() {
    let mut lab = Lab::empty();
    let config = |number| Config { links: 5, ..meshed(number) };
    (0..11).for_each(|number| lab.add(config(number), Roots::Origin));
    lab.settle();
    lab.advance(Duration::from_secs(70));
    // Those in the middle were called by more than they look for.
    let (tab, other) = (0, 5);
    let kept = |lab: &Lab, tab: usize, other: usize| lab.tabs[tab].node.links[&lab.link(tab, other)].kept;
    let (before, links_before) = (partners(&lab, tab), links(&lab, tab).len());
    assert!(!kept(&lab, tab, other) && before > 8);
    lab.say(other, tab, &LinkMessage::Release.to_bytes());
    assert_eq!((partners(&lab, tab), links(&lab, tab).len()), (before - 1, links_before));
    assert!(!lab.tabs[other].node.links[&lab.link(other, tab)].trades());
    assert!(lab.tabs[other].node.mesh.has_contact(lab.link(other, tab)));
}

#[test]
fn a_link_that_is_of_no_use_to_either_end_is_closed() {
    let mut lab = ring(4);
    lab.advance(Duration::from_secs(70));
    // Neither trades over it, and neither table has it.
    let (mine, theirs) = (lab.link(0, 1), lab.link(1, 0));
    for (tab, link) in [(0, mine), (1, theirs)] {
        lab.call(tab, &[], |node, now| {
            if let Some(overlay) = node.mesh.overlay() {
                overlay.handle_closed(link, now);
            }
        });
    }
    lab.call(0, &[], |node, now| node.end_trade(mine, now));
    lab.settle();
    lab.advance(Duration::from_millis(1));
    assert!(!lab.tabs[0].node.links.contains_key(&mine) && !lab.tabs[1].node.links.contains_key(&theirs));
    let byes = lab.tabs.iter().flat_map(|tab| &tab.said);
    assert!(byes.into_iter().any(|(_, said)| *said == LinkMessage::Bye(ByeReason::TooManyLinks)));
}

#[test]
fn an_introduction_that_is_not_sealed_for_this_peer_makes_no_link() {
    let mut lab = ring(4);
    lab.advance(Duration::from_secs(70));
    let (from, to) = (0, 1);
    let (before, me) = (lab.tabs[to].node.links().count(), lab.peer_id(to));
    for bytes in [Vec::new(), vec![9; 32], vec![9; 700]] {
        // An introduction for this peer: variant 3 of an ask, its id, the bytes.
        let mut body = vec![3];
        body.extend_from_slice(me.as_bytes());
        body.extend(postcard::to_allocvec(&bytes).unwrap());
        let route = RouteMessage::Forward {
            route: RouteId(bytes.len() as u64),
            key: Key::from(me),
            budget: 24,
            patience: Duration::from_secs(2),
            body,
        };
        let mut message = Vec::new();
        OverlayMessage::Route(route).encode(&mut message);
        lab.tabs[to].said_in_mesh.clear();
        lab.say(from, to, &message);
        assert_eq!(lab.tabs[to].node.links().count(), before);
        let replies = lab.tabs[to].said_in_mesh.iter();
        let refusal = replies.filter(
            |(_, said)| matches!(said, OverlayMessage::Route(RouteMessage::Reply(_, body)) if *body == [0]),
        );
        assert_eq!(refusal.count(), 1, "it says that there is nothing");
    }
    assert!(lab.bans(to).is_empty(), "who carries it may not know");
}

#[test]
fn a_frame_of_the_overlay_that_is_malformed_closes_the_link() {
    let mut lab = ring(3);
    let frame = [&15_u16.to_le_bytes()[..], &3_u32.to_le_bytes(), &[1, 2, 3]].concat();
    lab.say(0, 1, &frame);
    assert_eq!(lab.bans(1), [(lab.peer_id(0), crate::guard::Violation::Malformed)]);
}

/// So many requests, each in a frame of its own.
fn requests(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut message = Vec::new();
    for number in numbers {
        let route = RouteMessage::Forward {
            route: RouteId(number),
            key: Key::from_bytes([7; 32]),
            budget: 24,
            patience: Duration::from_secs(2),
            body: vec![0],
        };
        OverlayMessage::Route(route).encode(&mut message);
    }
    message
}

#[test]
fn what_a_neighbour_has_done_for_others_is_bounded_and_no_offence() {
    let mut lab = ring(3);
    lab.say(0, 1, &requests(0..500));
    let refused = |said: &&(LinkId, OverlayMessage)| matches!(said.1, OverlayMessage::Route(RouteMessage::NoWay(RouteId(number), 0)) if number >= 250);
    assert_eq!(lab.tabs[1].said_in_mesh.iter().filter(refused).count(), 250);
    assert!(lab.bans(1).is_empty());
}

#[test]
fn a_flood_of_requests_closes_the_link() {
    let mut lab = ring(3);
    (0..4).for_each(|round| lab.say(0, 1, &requests(501 * round..501 * (round + 1))));
    assert_eq!(lab.bans(1), [(lab.peer_id(0), crate::guard::Violation::TooManyMessages)]);
}

#[test]
fn a_renewed_certificate_reaches_those_who_name_its_holder_to_others() {
    let mut lab = ring(4);
    lab.advance(Duration::from_secs(25 * 60));
    let shown = |lab: &Lab, tab: usize, other: usize| {
        let link = lab.link(tab, other);
        let (_, certificate) = lab.tabs[tab].node.links[&link].certificate.clone().expect("it said hello");
        certificate.verify(&[issuer().public_key()], lab.wall() + Duration::from_secs(15 * 60)).is_ok()
    };
    assert!((1..4).all(|other| shown(&lab, 0, other)), "they hold for longer than the first ones did");
}

#[test]
fn who_says_nothing_when_asked_for_trade_is_not_waited_for() {
    let mut lab = contact_of_a_full_tab();
    let contact = lab.link(2, 0);
    let wanted = lab.tabs[2].node.partners_wanted();
    lab.silent.insert(0);
    lab.call(2, &[], |node, now| node.propose_trade(contact, now));
    lab.settle();
    assert_eq!(lab.tabs[2].node.partners_wanted(), wanted - 1);
    lab.advance(Duration::from_secs(6));
    lab.call(2, &[], |node, now| node.handle_timeout(now));
    assert_eq!(lab.tabs[2].node.partners_wanted(), wanted);
}

#[test]
fn trade_over_one_link_does_not_begin_again_and_again() {
    let mut lab = ring(3);
    lab.hold(0, 1);
    lab.tabs[0].said.clear();
    for wants in [false, true, false, true, false, true] {
        lab.say(1, 0, &LinkMessage::Partner(wants).to_bytes());
    }
    let link = lab.link(0, 1);
    let said = |message: &LinkMessage| {
        lab.tabs[0].said.iter().filter(|(to, said)| *to == link && said == message).count()
    };
    assert_eq!((said(&LinkMessage::Partner(true)), said(&LinkMessage::Partner(false))), (0, 3));
}

#[test]
fn switching_p2p_off_leaves_the_mesh_and_on_begins_anew() {
    let mut lab = ring(4);
    lab.advance(Duration::from_secs(70));
    assert!(lab.tabs[0].node.mesh_stats().answers);
    lab.call(0, &[], |node, now| node.set_p2p(false, now));
    lab.settle();
    assert!(!lab.tabs[0].node.has_mesh() && lab.tabs[0].node.mesh.timeout().is_none());
    lab.call(0, &[], |node, now| node.set_p2p(true, now));
    lab.settle();
    lab.advance(Duration::from_secs(5));
    assert!(lab.tabs[0].node.has_mesh() && !lab.tabs[0].node.mesh_stats().answers);
}

#[test]
fn a_peer_that_went_is_looked_up_no_more_and_the_mesh_finds_another() {
    let config = |number| Config { links: 2, max_links: 2, ..meshed(number) };
    let mut lab = ring_of((0..8).map(config));
    lab.service_down();
    lab.advance(Duration::from_secs(120));
    assert!((0..8).all(|tab| partners(&lab, tab) >= 2));
    // A partner goes; those it leaves find others, who let them in.
    let gone = 3;
    lab.call(gone, &[], |node, now| node.shut_down(now));
    lab.settle();
    lab.advance(Duration::from_secs(120));
    let left = (0..8).filter(|tab| *tab != gone);
    let left: Vec<usize> = left.map(|tab| partners(&lab, tab)).collect();
    assert!(left.iter().all(|partners| *partners >= 2), "{left:?}");
}

#[test]
fn the_service_is_asked_when_the_mesh_brings_nobody() {
    let mut lab = ring(4);
    lab.advance(Duration::from_secs(150));
    assert_eq!((0..4).map(|tab| partners(&lab, tab)).collect::<Vec<_>>(), [3; 4]);
    // The service says that there are more viewers than the mesh knows of.
    let stream = stream(Roots::Origin).id;
    lab.tabs[0].told_service.clear();
    lab.tell(0, &ServiceMessage::Population { stream, population: 9 });
    lab.advance(Duration::from_secs(40));
    let asks = |message: &&ClientMessage| matches!(message, ClientMessage::MorePeers { .. });
    assert!(lab.tabs[0].told_service.iter().any(|message| asks(&message)));
}

#[test]
fn a_dozen_of_four_links_each_that_lose_them_find_others_and_hardly_ask_the_service() {
    let mut lab = Lab::empty();
    let config = |number| {
        let mut config = meshed(number);
        config.bound_links(4);
        assert_eq!((config.links, config.max_links, config.most_links), (3, 4, 4));
        config
    };
    (0..12).for_each(|number| lab.add(config(number), Roots::Origin));
    lab.settle();
    lab.advance(Duration::from_secs(100));
    let introduced = |lab: &Lab| {
        let all = lab.tabs.iter().map(|tab| tab.node.mesh_stats());
        all.fold((0, 0), |sum, of| (sum.0 + of.service_introductions, sum.1 + of.mesh_introductions))
    };
    let before = introduced(&lab);
    for round in 0..400 {
        let tab = round % 12;
        // Nobody is to lose everybody: who knows nobody is for the service.
        if (0..12).all(|tab| links(&lab, tab).len() > 2) {
            let links = links(&lab, tab);
            let link = links[round / 12 % links.len()].link;
            lab.call(tab, &[], |node, now| {
                node.close_link(link, None, now);
                node.handle_timeout(now);
            });
            lab.settle();
        }
        lab.advance(Duration::from_secs(1));
        // Two more while one takes another's place.
        assert!((0..12).all(|tab| lab.tabs[tab].node.links().count() <= 6));
    }
    let after = introduced(&lab);
    let (service, mesh) = (after.0 - before.0, after.1 - before.1);
    assert!(mesh >= 80 && service * 20 < service + mesh, "{service} by the service, {mesh} by the mesh");
}

#[test]
fn who_is_asked_whether_there_is_room_keeps_a_place_for_a_moment_and_says_no_when_there_is_none() {
    let mut lab = three_with_room_for_one();
    let (now, one, other) = (lab.now, lab.peer_id(1), lab.peer_id(2));
    let node = &mut lab.tabs[0].node;
    assert!(node.invite(one, now) && !node.invite(other, now));
    // It may ask again, and comes once.
    assert!(node.invite(one, now) && node.takes_invited(one, now) && !node.takes_invited(one, now));
    // Who does not come leaves the place to others.
    assert!(node.invite(one, now));
    let later = now + Duration::from_secs(11);
    assert!(!node.takes_invited(one, later) && !node.invite(one, later) && node.invite(other, later));
}
