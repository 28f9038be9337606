use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    guard::Violation,
    wire::{ByeReason, ClientMessage, LinkMessage, ServiceMessage},
};

/// Thirteen tabs, of which the first eight have twelve links each, which they did not make themselves to all of the others. All
/// links are old enough to be given up.
fn full() -> Lab {
    let mut lab = Lab::new(13, Roots::Origin);
    lab.settle();
    assert!((0..8).all(|tab| lab.tabs[tab].node.links().count() == 12));
    lab.advance(Duration::from_secs(31));
    lab
}

fn join(lab: &mut Lab) -> usize {
    lab.add(config(lab.tabs.len()), Roots::Origin);
    lab.settle();
    lab.tabs.len() - 1
}

fn ready(lab: &Lab, tab: usize) -> usize {
    lab.tabs[tab].node.partner_links().count()
}

/// The links that a tab would give up, as it said one after the other.
fn asked(lab: &Lab, tab: usize) -> Vec<LinkId> {
    let said = lab.tabs[tab].said.iter();
    said.filter(|(_, message)| *message == LinkMessage::Release).map(|(link, _)| *link).collect()
}

fn refused(lab: &Lab, tab: usize, caller: usize) -> bool {
    lab.tabs[tab].told_service.contains(&ClientMessage::Refuse(lab.peer_id(caller)))
}

#[test]
fn who_calls_a_full_peer_takes_the_place_of_the_worst_link() {
    let mut lab = full();
    let worst = lab.link(7, 5);
    for (link, state) in lab.tabs[7].node.links.iter_mut() {
        state.asking.bytes_in = if *link == worst { 0 } else { 1 << 20 };
    }
    let newcomer = join(&mut lab);
    assert_eq!(asked(&lab, 7), [worst]);
    assert_eq!((ready(&lab, 7), ready(&lab, newcomer)), (12, 8));
    assert!(!lab.tabs[7].node.links.contains_key(&worst));
    let byes = lab.tabs.iter().flat_map(|tab| &tab.said);
    assert!(byes.into_iter().any(|(_, said)| *said == LinkMessage::Bye(ByeReason::TooManyLinks)));
    assert!((0..lab.tabs.len()).all(|tab| lab.bans(tab).is_empty() && ready(&lab, tab) >= 8));
}

#[test]
fn a_full_peer_refuses_who_calls_soon_after_and_the_caller_does_not_wait() {
    let mut lab = full();
    join(&mut lab);
    let second = join(&mut lab);
    let refusers = (0..8).filter(|tab| refused(&lab, *tab, second)).count();
    assert!(refusers > 0);
    // Nothing of the refused calls is left over.
    assert!(lab.tabs[second].node.links().all(|link| link.ready));
    lab.advance(Duration::from_secs(30));
    assert!(ready(&lab, second) >= 8, "{}", ready(&lab, second));
}

#[test]
fn a_peer_refuses_while_all_of_its_links_are_new() {
    let mut lab = Lab::new(13, Roots::Origin);
    lab.settle();
    let newcomer = join(&mut lab);
    assert!(refused(&lab, 0, newcomer) && asked(&lab, 0).is_empty());
}

#[test]
fn a_link_goes_only_if_the_other_end_neither_keeps_it_nor_has_few() {
    let mut lab = full();
    // The last tab made eight links and keeps the first three of them.
    let (last, release) = (12, LinkMessage::Release.to_bytes());
    let links = |lab: &Lab| lab.tabs[last].node.links().count();
    let kept: Vec<bool> = lab.tabs[last].node.links.values().map(|link| link.kept).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 3);
    let before = links(&lab);
    for other in 0..8 {
        lab.say(other, last, &release);
    }
    assert_eq!((before, links(&lab)), (8, 8), "it has few");

    let mut lab = full();
    let keeps = |lab: &Lab, tab: usize| lab.tabs[tab].node.links[&lab.link(tab, 7)].kept;
    for tab in 0..7 {
        let kept = keeps(&lab, tab);
        lab.say(7, tab, &release);
        assert_eq!(ready(&lab, tab), if kept { 12 } else { 11 }, "{tab} {kept}");
    }
}

#[test]
fn who_does_not_let_go_is_asked_once_and_then_the_next_one() {
    let mut lab = full();
    for tab in 1..13 {
        lab.tabs[tab].node.links.iter_mut().for_each(|(_, link)| link.kept = true);
    }
    join(&mut lab);
    assert_eq!((asked(&lab, 0).len(), ready(&lab, 0)), (1, 13));
    lab.advance(Duration::from_secs(7));
    let asked = asked(&lab, 0);
    assert_eq!(asked.len(), 4);
    assert!((1..4).all(|place| !asked[..place].contains(&asked[place])), "{asked:?}");
    // Nobody let go: it stays at its limit, and takes no more.
    assert_eq!(ready(&lab, 0), 13);
    for _ in 0..3 {
        lab.advance(Duration::from_secs(11));
        join(&mut lab);
    }
    assert!(lab.tabs[0].node.links().count() <= 14);
}

#[test]
fn a_full_peer_looks_for_another_partner_only_while_one_is_much_worse_than_most() {
    for poor in [false, true] {
        let mut lab = full();
        let worst = lab.link(0, 9);
        for (link, state) in lab.tabs[0].node.links.iter_mut() {
            state.asking.bytes_in = if poor && *link == worst { 0 } else { 1 << 20 };
        }
        // There is somebody that it does not know.
        lab.tell(0, &ServiceMessage::Population { stream: stream(Roots::Origin).id, population: 14 });
        lab.tabs[0].told_service.clear();
        lab.advance(Duration::from_secs(50));
        let more = |message: &&ClientMessage| matches!(message, ClientMessage::MorePeers { want: 1, .. });
        let looked = lab.tabs[0].told_service.iter().filter(more).count();
        assert_eq!(looked > 0, poor, "{looked}");
    }
}

#[test]
fn a_few_viewers_ask_nobody_to_let_go_and_look_for_nobody() {
    let mut lab = Lab::connected(8);
    lab.advance(Duration::from_secs(600));
    for tab in 0..8 {
        assert!(asked(&lab, tab).is_empty() && ready(&lab, tab) == 7);
        let said = lab.tabs[tab].told_service.iter();
        let about_links = |message: &&ClientMessage| {
            matches!(
                message,
                ClientMessage::Full(_) | ClientMessage::MorePeers { .. } | ClientMessage::Refuse(_)
            )
        };
        assert_eq!(said.filter(about_links).count(), 0);
    }
}

#[test]
fn a_peer_that_asks_for_its_link_again_and_again_is_banned() {
    let mut lab = Lab::connected(2);
    let releases = LinkMessage::Release.to_bytes().repeat(200);
    lab.say(1, 0, &releases);
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::TooManyMessages)]);
}

#[test]
fn a_peer_keeps_the_first_links_that_it_made_itself() {
    let lab = full();
    for tab in &lab.tabs {
        let kept = tab.node.links.values().filter(|link| link.kept);
        assert!(kept.clone().all(|link| link.side == links::Side::Dialer) && kept.count() <= 3);
    }
    let kept = |tab: &Tab| tab.node.links.values().filter(|link| link.kept).count();
    assert_eq!(kept(&lab.tabs[12]), 3);
}

#[test]
fn the_service_hears_when_a_mesh_is_full_and_when_it_has_room_again() {
    let mut lab = full();
    let said = |lab: &Lab| -> Vec<bool> {
        let told = lab.tabs[0].told_service.iter();
        told.filter_map(|message| match message {
            ClientMessage::Full(full) => Some(*full),
            _ => None,
        })
        .collect()
    };
    assert_eq!(said(&lab), [true]);
    let link = lab.link(0, 12);
    lab.call(0, &[], |node, now| node.handle_link_closed(link, LinkFailure::Closed, now));
    lab.settle();
    assert_eq!(said(&lab), [true, false]);
}
