use std::time::Duration;

use super::{super::*, lab::*};
use crate::{
    bounded::BoundedVec,
    content::GROUP_LEN,
    guard::Violation,
    id::RequestId,
    units::{GroupIndex, GroupRange},
    wire::{
        ByeReason, Data, Held, LinkMessage, ListPart, MAX_DATA_LEN, MAX_MESSAGE_LEN, RejectReason, Request,
        ServiceMessage, data_header,
    },
};

/// Tab 1 misbehaves towards tab 0 as `act` says.
#[track_caller]
fn assert_banned(violation: Violation, act: impl FnOnce(&mut Lab)) {
    let mut lab = Lab::connected(2);
    act(&mut lab);
    assert_eq!(lab.bans(0), [(lab.peer_id(1), violation)]);
    assert_eq!(lab.tabs[0].node.links().count(), 0);
    assert!(lab.tabs[0].said.iter().any(|(_, said)| *said == LinkMessage::Bye(ByeReason::Misbehaviour)));
}

#[test]
fn a_frame_with_a_length_beyond_what_came_closes_the_link() {
    assert_banned(Violation::Malformed, |lab| lab.say(1, 0, &[3, 0, 0xff, 0xff, 0xff, 0xff, 1]));
}

#[test]
fn a_huge_declared_list_closes_the_link() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_banned(Violation::Malformed, |lab| {
        lab.say(1, 0, &[&[6, 0, claim.len() as u8, 0, 0, 0][..], &claim].concat());
    });
}

#[test]
fn an_oversized_message_closes_the_link() {
    let ping = LinkMessage::Ping(1).to_bytes();
    let pings = |bytes: usize| ping.repeat(bytes / ping.len() + 1);
    assert_banned(Violation::Malformed, |lab| lab.say(1, 0, &pings(MAX_MESSAGE_LEN)));
    assert_banned(Violation::Malformed, |lab| lab.send_bulk(1, 0, &[0; MAX_DATA_LEN + 1]));
}

#[test]
fn messages_of_an_unknown_type_are_skipped() {
    let mut lab = Lab::connected(2);
    let unknown = [&999_u16.to_le_bytes()[..], &4_u32.to_le_bytes(), b"new!"].concat();
    lab.say(1, 0, &[unknown.clone(), LinkMessage::Ping(77).to_bytes(), unknown.clone()].concat());
    lab.send_bulk(1, 0, &unknown);
    assert_eq!(lab.bans(0), []);
    assert!(lab.tabs[0].said.iter().any(|(_, said)| *said == LinkMessage::Pong(77)));
}

#[test]
fn groups_that_nobody_asked_for_close_the_link() {
    assert_banned(Violation::Unsolicited, |lab| {
        let group = &segment(0)[..GROUP_LEN as usize];
        let header = data_header(RequestId::new(0), GroupIndex::new(0), group.len());
        lab.send_bulk(1, 0, &[&header, group].concat());
    });
}

#[test]
fn a_flood_of_messages_closes_the_link_however_they_are_packed() {
    let ping = LinkMessage::Ping(1).to_bytes();
    assert_banned(Violation::TooManyMessages, |lab| {
        (0..2000).for_each(|_| {
            let link = lab.tabs[0].node.links().next().map(|link| link.link);
            if let Some(link) = link {
                lab.call(0, &[], |node, now| node.handle_link_message(link, Channel::Control, &ping, now));
            }
        });
        lab.settle();
    });
    assert_banned(Violation::TooManyMessages, |lab| lab.say(1, 0, &ping.repeat(2000)));
}

#[test]
fn a_small_message_never_makes_a_large_answer() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let ask = LinkMessage::GetList(content(0)).to_bytes();
    let link = lab.link(0, 1);
    let message = ask.repeat(900);
    lab.tabs[0].node.handle_link_message(link, Channel::Control, &message, lab.now);
    let mut answered = 0;
    while let Some(output) = lab.tabs[0].node.poll_output() {
        if let Output::SendControl { payload, .. } = output {
            answered += payload.len();
        }
    }
    assert!(answered <= 64 * 1024, "{answered} bytes");
}

#[test]
fn long_lists_are_given_up_to_a_limit_and_who_wants_more_is_told_that_there_is_none() {
    let mut lab = Lab::connected(2);
    let long = list(&vec![7; 512 * GROUP_LEN as usize]);
    let node = &mut lab.tabs[0].node;
    node.store.insert(long.clone(), BlobHandle::new(1_000_000), stream(Roots::Origin).id);
    let message = LinkMessage::GetList(long.root()).to_bytes().repeat(100);
    lab.say(1, 0, &message);
    let (mut values, mut refused) = (0, 0);
    for (_, said) in &lab.tabs[0].said {
        match said {
            LinkMessage::ListPart(part) => values += part.values.len(),
            LinkMessage::NoList(_) => refused += 1,
            _ => {}
        }
    }
    assert_eq!((values, refused), (16_384, 100 - 16_384 / 512));
    assert_eq!(lab.bans(0), []);
}

#[test]
fn only_who_was_asked_for_a_list_can_say_that_there_is_none() {
    let mut lab = Lab::connected(3);
    lab.claim(1, 0, 0, Held::All);
    lab.silent.insert(1);
    lab.fetch(0, 0, Duration::from_secs(20));
    let none = LinkMessage::NoList(content(0)).to_bytes();
    lab.say(2, 0, &none);
    assert!(lab.tabs[0].sidecars.is_empty());
    lab.say(1, 0, &none);
    assert_eq!(lab.tabs[0].sidecars.len(), 1);
}

/// Tab 0 says that it holds segments, and the other one asks for one after the other with time in between; what the first one
/// brings of those that `gives` chooses.
fn asked_for_three(gives: fn(u32) -> bool) -> Lab {
    let mut lab = Lab::connected(2);
    (0..3).for_each(|number| lab.hold(0, number));
    for number in 0..3 {
        if gives(number) {
            lab.withholding.clear();
        } else {
            lab.withholding.insert(0);
        }
        lab.fetch(1, number, Duration::from_secs(20));
        lab.advance(Duration::from_millis(401));
        lab.answer_sidecars(1, number);
        (0..40).for_each(|_| lab.advance(Duration::from_millis(500)));
    }
    lab
}

#[test]
fn who_sends_nothing_of_what_it_says_it_holds_is_banned() {
    let lab = asked_for_three(|_| false);
    assert_eq!(lab.bans(1), [(lab.peer_id(0), Violation::NeverGives)]);
    assert_eq!(lab.bans(0), []);
    assert_eq!(lab.tabs[1].node.links().count(), 0);
}

#[test]
fn nobody_waits_for_the_banned_and_they_make_no_swarm_look_less_than_half_its_size() {
    let mut lab = asked_for_three(|_| false);
    let stream = stream(Roots::Origin).id;
    let mut size = |population| {
        lab.tell(1, &ServiceMessage::Population { stream, population });
        lab.tabs[1].node.swarm_size(&stream)
    };
    assert_eq!((size(6), size(2)), (5, 1));
    (0..10).for_each(|number| lab.tabs[1].node.bans.insert(PeerId::from_bytes([number; 32])));
    let mut size = |population| {
        lab.tell(1, &ServiceMessage::Population { stream, population });
        lab.tabs[1].node.swarm_size(&stream)
    };
    assert_eq!((size(6), size(100)), (3, 89));
}

#[test]
fn neither_side_of_a_ban_calls_the_other_again() {
    let mut lab = asked_for_three(|_| false);
    for (tab, other) in [(0, 1), (1, 0)] {
        let peers = BoundedVec::first_of([lab.peer_id(other)]);
        lab.tell(tab, &ServiceMessage::Peers { stream: stream(Roots::Origin).id, population: 2, peers });
        lab.advance(Duration::from_secs(1));
        assert_eq!(lab.tabs[tab].node.links().count(), 0, "{tab}");
    }
}

/// A tab that said it holds a segment, was asked for it, and has brought nothing a minute later, having said `more` meanwhile or not.
fn silent_holder(says_more: bool) -> Lab {
    let mut lab = Lab::connected(2);
    lab.claim(0, 1, 0, Held::All);
    lab.silent.insert(0);
    lab.fetch(1, 0, Duration::from_secs(20));
    lab.advance(Duration::from_millis(401));
    lab.answer_sidecars(1, 0);
    assert!(lab.tabs[1].said.iter().any(|(_, said)| matches!(said, LinkMessage::Request(_))));
    lab.advance(Duration::from_millis(100));
    if says_more {
        lab.claim(0, 1, 1, Held::All);
    }
    lab.advance(Duration::from_secs(60));
    lab
}

#[test]
fn who_says_nothing_at_all_may_be_gone_and_is_not_banned() {
    assert_eq!(silent_holder(false).bans(1), []);
}

#[test]
fn who_said_something_after_it_was_asked_was_there_and_is_banned() {
    let lab = silent_holder(true);
    assert_eq!(lab.bans(1), [(lab.peer_id(0), Violation::NeverGives)]);
}

#[test]
fn who_has_given_something_is_asked_last_and_not_banned() {
    let lab = asked_for_three(|number| number == 0);
    assert_eq!(lab.bans(1), []);
    assert_eq!(lab.tabs[1].node.stats().peer_bytes, LEN);
    assert_eq!(lab.tabs[1].node.partner_links().count(), 1);
}

#[test]
fn what_is_not_held_is_not_served() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let ask = |start: u32, end: u32, number: u32| {
        let range = GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap();
        let groups = BoundedVec::first_of([range]);
        LinkMessage::Request(Request { id: RequestId::new(start), content: content(number), groups })
            .to_bytes()
    };
    lab.tabs[0].said.clear();
    lab.say(1, 0, &ask(0, 1, 1));
    lab.say(1, 0, &ask(1, u32::MAX, 0));
    let rejected = [0, 1].map(|id| LinkMessage::Reject(RequestId::new(id), RejectReason::NotHeld));
    let said: Vec<_> = lab.tabs[0].said.iter().map(|(_, said)| said.clone()).collect();
    assert_eq!(said, rejected);
    assert_eq!(lab.tabs[0].node.stats().upload_bytes, 0);
}

#[test]
fn a_list_that_does_not_hash_up_to_the_root_closes_the_link_and_the_sidecar_is_asked() {
    let mut lab = Lab::connected(2);
    lab.claim(1, 0, 0, Held::All);
    lab.silent.insert(1);
    lab.fetch(0, 0, Duration::from_secs(20));
    assert!(lab.tabs[0].said.iter().any(|(_, said)| *said == LinkMessage::GetList(content(0))));
    let wrong = list(&segment(1));
    let part = ListPart {
        content: content(0),
        len: wrong.len(),
        first: GroupIndex::new(0),
        values: BoundedVec::first_of(wrong.values().iter().copied()),
    };
    lab.say(1, 0, &LinkMessage::ListPart(part).to_bytes());
    assert_eq!(lab.bans(0), [(lab.peer_id(1), Violation::BadGroup)]);
    assert_eq!(lab.tabs[0].sidecars.len(), 1);
}

/// Tab 1 fetches from tab 0, whose groups `tamper` changes; the origin comes to its help.
#[track_caller]
fn assert_polluter_fails(tamper: impl FnMut(usize, &mut Vec<u8>) + 'static) {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    lab.tamper = Some(Box::new(tamper));
    lab.fetch(1, 0, Duration::from_secs(20));
    lab.answer_sidecars(1, 0);
    let banned = lab.bans(1);
    assert_eq!(banned.len(), 1, "{banned:?}");
    assert_eq!(banned[0].0, lab.peer_id(0));
    assert!(lab.tabs[1].node.stats().bad_groups <= 1);
    lab.advance(Duration::from_secs(20));
    let bytes = segment(0);
    while lab.tabs[1].delivered.is_empty() {
        let asked = lab.tabs[1].asked.pop().expect("the origin is asked for the rest, run by run");
        match asked.range {
            Some(range) => lab.answer(1, asked, 206, &bytes[range.start() as usize..range.end() as usize]),
            None => lab.answer(1, asked, 200, &bytes),
        }
    }
    assert_eq!(lab.tabs[1].delivered[0].1, bytes);
    assert_eq!(lab.tabs[1].delivered[0].2, Delivery::Verified);
}

/// Puts other bytes in a data message's place, in a frame of the right length.
fn with_group(message: &mut Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
    let data = Data::decode(message).unwrap().unwrap();
    let mut group = data.bytes.to_vec();
    change(&mut group);
    let header = data_header(data.request, data.first, group.len());
    *message = [header, group].concat();
}

#[test]
fn truncated_extended_swapped_and_replayed_groups_are_never_delivered() {
    assert_polluter_fails(|_, message| with_group(message, |group| group.truncate(group.len() - 1)));
    assert_polluter_fails(|_, message| with_group(message, Vec::clear));
    assert_polluter_fails(|_, message| with_group(message, |group| group.push(0)));
    assert_polluter_fails(|_, message| {
        with_group(message, |group| *group = segment(1)[..group.len()].to_vec())
    });
    assert_polluter_fails(|_, message| {
        with_group(message, |group| *group = segment(0)[GROUP_LEN as usize..][..group.len()].to_vec());
    });
    assert_polluter_fails(|_, message| message.truncate(message.len() - 1));
}

#[test]
fn bytes_behind_a_group_never_take_its_place() {
    for extra in [1, 40, 48] {
        assert_polluter_fails(move |_, message| message.extend(std::iter::repeat_n(0xee, extra)));
    }
    // The last group is short: there is room for a whole other one behind it.
    assert_polluter_fails(|_, message| {
        if message.len() < 2000 {
            message.extend(std::iter::repeat_n(0xee, 1000));
        }
    });
}

#[test]
fn a_group_sent_twice_closes_the_link() {
    let mut lab = Lab::connected(2);
    lab.hold(0, 0);
    let sent = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let copy = sent.clone();
    lab.tamper = Some(Box::new(move |_, message| *copy.borrow_mut() = message.clone()));
    lab.fetch(1, 0, Duration::from_secs(20));
    lab.answer_sidecars(1, 0);
    assert_eq!((lab.tabs[1].delivered.len(), lab.bans(1)), (1, Vec::new()));
    let again = sent.borrow().clone();
    lab.send_bulk(0, 1, &again);
    assert_eq!(lab.bans(1), [(lab.peer_id(0), Violation::Unsolicited)]);
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use crate::wire::{Have, HaveEntry};
    use proptest::{collection::vec, num, prelude::*};

    /// One message of each kind that an honest neighbour of the lab may say.
    fn well_formed() -> [LinkMessage; 8] {
        let groups = BoundedVec::first_of(GroupRange::new(GroupIndex::new(0), GroupIndex::new(3)));
        let entry = |number, held| HaveEntry { content: content(number), held };
        let entries = [
            entry(0, Held::All),
            entry(1, Held::Groups(groups.clone())),
            entry(2, Held::Coming(groups.clone())),
        ];
        let values = BoundedVec::first_of(list(&segment(1)).values().iter().copied());
        let part =
            ListPart { content: content(1), len: list(&segment(1)).len(), first: GroupIndex::new(0), values };
        [
            LinkMessage::Ping(1),
            LinkMessage::Have(Have {
                stream: stream(Roots::Origin).id,
                entries: BoundedVec::first_of(entries),
            }),
            LinkMessage::Lost(BoundedVec::first_of([content(1)])),
            LinkMessage::Request(Request { id: RequestId::new(0), content: content(0), groups }),
            LinkMessage::Cancel(RequestId::new(0)),
            LinkMessage::Reject(RequestId::new(0), RejectReason::Busy(0)),
            LinkMessage::GetList(content(0)),
            LinkMessage::ListPart(part),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_flipped_bit_is_never_delivered(which in 0..GROUPS, bit in num::usize::ANY) {
            let mut seen = 0;
            assert_polluter_fails(move |_, message| {
                seen += 1;
                if seen == which + 1 {
                    let group = Data::decode(message).unwrap().unwrap().bytes.len();
                    let bit = 8 * (message.len() - group) + bit % (8 * group);
                    message[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }

        #[test]
        fn bits_flipped_anywhere_change_no_delivered_byte(bits in vec(num::usize::ANY, GROUPS as usize)) {
            let mut lab = Lab::connected(2);
            lab.hold(0, 0);
            let mut bits = bits.into_iter();
            lab.tamper = Some(Box::new(move |_, message| {
                let Some(bit) = bits.next() else { return };
                // Most hits in the header, which is the smaller target.
                let bit = if bit % 2 == 0 { bit / 2 % 80 } else { bit % (8 * message.len()) };
                message[bit / 8] ^= 1 << (bit % 8);
            }));
            lab.fetch(1, 0, Duration::from_secs(20));
            lab.answer_sidecars(1, 0);
            lab.advance(Duration::from_secs(30));
            for asked in std::mem::take(&mut lab.tabs[1].asked) {
                let range = asked.range.map_or(0..LEN, |range| range.start()..range.end());
                let status = if asked.range.is_some() { 206 } else { 200 };
                lab.answer(1, asked, status, &segment(0)[range.start as usize..range.end as usize]);
            }
            prop_assert_eq!(&lab.tabs[1].delivered[0].1, &segment(0));
        }

        #[test]
        fn arbitrary_messages_never_panic_nor_keep_the_node_busy(
            messages in vec((any::<bool>(), 0_u16..36, vec(num::u8::ANY, 0..200)), 1..4),
        ) {
            // A malformed message ends its link: each comes on another one.
            let mut lab = Lab::connected(4);
            lab.hold(0, 0);
            lab.fetch(0, 1, Duration::from_secs(20));
            for (from, (control, kind, body)) in (1..).zip(messages) {
                let len = (body.len() as u32).to_le_bytes();
                let message = [&kind.to_le_bytes()[..], &len, &body].concat();
                if control { lab.say(from, 0, &message) } else { lab.send_bulk(from, 0, &message) }
            }
            lab.advance(Duration::from_secs(60));
        }

        #[test]
        fn well_formed_messages_with_one_byte_changed_never_panic_nor_keep_the_node_busy(
            changes in vec((0_usize..8, num::usize::ANY, num::u8::ANY), 1..40),
        ) {
            let mut lab = Lab::connected(4);
            lab.hold(0, 0);
            lab.fetch(0, 1, Duration::from_secs(20));
            for (message, place, value) in changes {
                let mut bytes = well_formed()[message].to_bytes();
                let place = place % bytes.len();
                bytes[place] = value;
                let Some(link) = lab.tabs[0].node.links().next().map(|link| link.link) else { break };
                lab.call(0, &bytes, |node, now| node.handle_link_message(link, Channel::Control, &bytes, now));
                lab.settle();
            }
            lab.advance(Duration::from_secs(60));
        }

        #[test]
        fn arbitrary_service_messages_never_panic(
            messages in vec((94_u16..108, vec(num::u8::ANY, 0..200)), 1..20),
        ) {
            let mut lab = Lab::connected(2);
            for (kind, body) in messages {
                let len = (body.len() as u32).to_le_bytes();
                let message = [&kind.to_le_bytes()[..], &len, &body].concat();
                lab.call(0, &[], |node, now| node.handle_service_message(&message, now));
                lab.settle();
            }
            lab.advance(Duration::from_secs(60));
        }
    }
}
