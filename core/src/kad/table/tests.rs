use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// A peer whose id begins so, nearest first to one of zeroes.
fn peer(first: u8, last: u8) -> PeerId {
    let mut bytes = [0; 32];
    (bytes[0], bytes[31]) = (first, last);
    PeerId::from_bytes(bytes)
}

fn group(number: u8) -> NetworkGroup {
    NetworkGroup::from_bytes([number; 16])
}

/// A contact whose id begins and ends so, each of another group and link.
fn contact(first: u8, last: u8) -> Contact {
    Contact {
        link: LinkId::new(u64::from(first) << 8 | u64::from(last)),
        peer: peer(first, last),
        group: group(last),
        since: NOW,
        rtt: None,
        inbound: false,
        client: false,
    }
}

fn narrow() -> Table {
    Table::new(peer(0, 0), 60, Width { bucket: 2, siblings: 3 }, None)
}

fn offer(table: &mut Table, contact: Contact) -> Offer {
    table.offer(contact, NOW)
}

fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

/// A table with three siblings, so that all others are of buckets.
fn with_siblings() -> Table {
    let mut table = narrow();
    (1..=3).for_each(|last| assert_eq!(offer(&mut table, contact(0, last)), Offer::Kept));
    table
}

#[test]
fn a_bucket_has_its_width_and_siblings_have_a_place_of_their_own() {
    let mut table = with_siblings();
    for (last, expected) in [(1, Offer::Kept), (2, Offer::Kept), (3, Offer::Refused)] {
        assert_eq!(offer(&mut table, contact(0x80, last)), expected);
        assert_eq!(offer(&mut table, contact(0x40, 10 + last)), expected);
    }
    assert_eq!(table.contacts().len(), 7);
    assert_eq!(table.siblings(), [1, 2, 3].map(LinkId::new));
}

#[test]
fn a_nearer_peer_becomes_a_sibling_and_the_farthest_of_them_an_ordinary_contact() {
    let mut table = narrow();
    (1..=3).for_each(|last| assert_eq!(offer(&mut table, contact(0x10, last)), Offer::Kept));
    (1..=2).for_each(|last| assert_eq!(offer(&mut table, contact(0x11, 3 + last)), Offer::Kept));
    assert_eq!(table.overcrowding(NOW), None);
    assert_eq!(offer(&mut table, contact(0, 9)), Offer::Kept);
    assert_eq!(table.siblings()[0], contact(0, 9).link);
    let one_too_many = table.overcrowding(NOW).expect("three are of one bucket now");
    assert!(!table.siblings().contains(&one_too_many));
    table.remove(one_too_many);
    assert_eq!(table.overcrowding(NOW), None);
}

#[test]
fn a_sibling_comes_in_even_where_the_table_is_full_and_none_goes_for_it() {
    let mut table = Table { most: 5, ..narrow() };
    (0x11..=0x13).for_each(|last| assert_eq!(offer(&mut table, contact(0, last)), Offer::Kept));
    (1..=2).for_each(|last| assert_eq!(offer(&mut table, contact(0x80, last)), Offer::Kept));
    assert_eq!(offer(&mut table, contact(0x40, 20)), Offer::Refused);
    let Offer::Replaced(out) = offer(&mut table, contact(0, 1)) else { panic!("it is nearest") };
    assert_eq!(table.siblings(), [1, 0x11, 0x12].map(LinkId::new));
    assert!(!table.siblings().contains(&out));
}

#[test]
fn nobody_is_in_twice_and_not_this_peer_itself() {
    let mut table = narrow();
    assert_eq!(offer(&mut table, contact(1, 1)), Offer::Kept);
    let again = Contact { link: LinkId::new(99), ..contact(1, 1) };
    assert_eq!(offer(&mut table, again), Offer::Refused);
    let me = Contact { link: LinkId::new(98), ..contact(0, 0) };
    assert_eq!(offer(&mut table, me), Offer::Refused);
    assert_eq!(table.remove(LinkId::new(98)), None);
    assert_eq!(table.remove(contact(1, 1).link), Some(contact(1, 1)));
}

#[test]
fn who_is_much_nearer_takes_the_place_of_the_slowest_who_is_not_settled() {
    let quick = |first, last, rtt| Contact { rtt: millis(rtt), ..contact(first, last) };
    let mut table = with_siblings();
    offer(&mut table, quick(0x80, 1, 100));
    offer(&mut table, quick(0x80, 2, 300));
    assert_eq!(offer(&mut table, quick(0x80, 3, 151)), Offer::Refused);
    assert_eq!(offer(&mut table, quick(0x80, 4, 150)), Offer::Replaced(quick(0x80, 2, 0).link));
    let settled = NOW + SETTLED;
    assert_eq!(table.offer(quick(0x80, 5, 10), settled), Offer::Refused, "who was there long stays");
    assert_eq!(offer(&mut table, contact(0x80, 6)), Offer::Refused, "how near it is must be known");
}

#[test]
fn a_group_has_a_share_of_the_table_once_there_are_four() {
    let of = |number, contact: Contact| Contact { group: group(number), ..contact };
    let mut table = with_siblings();
    assert_eq!(offer(&mut table, of(1, contact(0x80, 9))), Offer::Kept, "three groups are no diversity");
    table.remove(contact(0x80, 9).link);
    for bucket in [0x80, 0x40, 0x20, 0x10] {
        assert_eq!(offer(&mut table, of(4, contact(bucket, 4))), Offer::Kept);
        // One of a bucket.
        assert_eq!(offer(&mut table, of(4, contact(bucket, 5))), Offer::Refused);
    }
    // Of seven and one contacts in four groups twice the fair share is four.
    assert_eq!(offer(&mut table, of(4, contact(0x08, 4))), Offer::Refused);
    assert_eq!(offer(&mut table, of(5, contact(0x08, 4))), Offer::Kept);
    // Siblings too: a group does not surround a peer by choosing its ids.
    let near = Contact { link: LinkId::new(77), ..of(4, contact(0, 0)) };
    let near =
        Contact { peer: PeerId::from_bytes([[0; 31].as_slice(), &[7]].concat().try_into().unwrap()), ..near };
    assert_eq!(offer(&mut table, near), Offer::Refused);
}

#[test]
fn the_exempt_group_is_not_bound() {
    let mut table = Table { exempt: Some(group(9)), ..with_siblings() };
    let of_one = |first, last| Contact { group: group(9), ..contact(first, last) };
    for bucket in [0x80, 0x40, 0x20, 0x10] {
        assert_eq!(offer(&mut table, of_one(bucket, 1)), Offer::Kept);
        assert_eq!(offer(&mut table, of_one(bucket, 2)), Offer::Kept);
    }
}

#[test]
fn who_called_is_half_of_the_table_at_most() {
    let inbound = |first, last| Contact { inbound: true, ..contact(first, last) };
    let mut table = narrow();
    (1..=4).for_each(|last| assert_eq!(offer(&mut table, inbound(1 << last, last)), Offer::Kept));
    assert_eq!(offer(&mut table, inbound(0x80, 5)), Offer::Refused);
    (1..=5).for_each(|last| assert_eq!(offer(&mut table, contact(1 << last, 10 + last)), Offer::Kept));
    assert_eq!(offer(&mut table, inbound(0x80, 5)), Offer::Kept);
    // Once in it stays, whoever leaves.
    (1..=5).for_each(|last| assert!(table.remove(contact(1 << last, 10 + last).link).is_some()));
    assert_eq!((table.contacts().len(), table.overcrowding(NOW)), (5, None));
}

#[test]
fn a_client_is_no_sibling_and_no_hop_and_makes_way() {
    let client = |first, last| Contact { client: true, ..contact(first, last) };
    let mut table = with_siblings();
    assert_eq!(offer(&mut table, client(0x80, 1)), Offer::Kept);
    assert_eq!(offer(&mut table, client(0x80, 2)), Offer::Refused, "one a bucket");
    assert_eq!(offer(&mut table, contact(0x80, 3)), Offer::Kept);
    assert_eq!(offer(&mut table, contact(0x80, 4)), Offer::Replaced(client(0x80, 1).link));
    let mut near = client(0, 0);
    (near.link, near.peer) = (LinkId::new(55), peer(0, 55));
    assert_eq!(offer(&mut table, near), Offer::Kept);
    assert!(!table.siblings().contains(&near.link));
    assert!(table.next_hops(peer(0, 54).into()).iter().all(|hop| hop.link != near.link));
    assert_eq!(table.next_hops(peer(0, 55).into())[0].link, near.link, "unless it is who is looked for");
    table.get_mut(near.link).expect("it is in").client = false;
    assert_eq!(table.siblings().len(), 3);
}

#[test]
fn hops_are_nearer_than_this_peer_and_of_one_bucket_the_quickest_is_first() {
    let quick = |first, last, rtt| Contact { rtt: millis(rtt), ..contact(first, last) };
    let mut table = Table::new(peer(0, 0), 60, Width { bucket: 4, siblings: 2 }, None);
    for (first, last, rtt) in
        [(1, 1, 9), (1, 2, 9), (0x80, 3, 90), (0x81, 4, 50), (0xc0, 5, 70), (0x40, 6, 5)]
    {
        assert_eq!(offer(&mut table, quick(first, last, rtt)), Offer::Kept);
    }
    let firsts = |key| -> Vec<_> { table.next_hops(key).iter().map(|hop| hop.peer.as_bytes()[0]).collect() };
    assert_eq!(firsts(peer(0x90, 0).into()), [0x81, 0x80, 0xc0]);
    assert_eq!(firsts(peer(0x60, 0).into()), [0x40]);
    assert_eq!(firsts(peer(0, 0).into()), [] as [u8; 0]);
    // Among the siblings who is nearest counts.
    assert_eq!(table.next_hops(peer(1, 3).into())[0].peer, peer(1, 2));
    assert_eq!(table.nearest(peer(0x81, 0).into(), 2)[0].peer, peer(0x81, 4));
    assert_eq!((table.rank(peer(0, 0).into()), table.rank(peer(0x60, 0).into())), (0, 1));
}

/// Ids of a network, the same each time.
fn network(peers: usize) -> Vec<PeerId> {
    (0..peers)
        .map(|number| PeerId::from_bytes(*blake3::hash(&(number as u64).to_le_bytes()).as_bytes()))
        .collect()
}

/// The table of a peer that met all the others.
fn table_of(me: usize, ids: &[PeerId]) -> Table {
    let mut table = Table::new(ids[me], usize::MAX, Width::TAB, None);
    let met = |(number, id): (usize, &PeerId)| Contact {
        link: LinkId::new(number as u64),
        peer: *id,
        group: NetworkGroup::from_bytes([[0; 8], (number as u64).to_le_bytes()].concat().try_into().unwrap()),
        ..contact(0, 0)
    };
    for contact in ids.iter().enumerate().map(met) {
        table.offer(contact, NOW);
    }
    table
}

#[test]
fn the_size_of_the_network_is_told_from_how_near_the_siblings_are() {
    for peers in [40, 1000, 4000] {
        let ids = network(peers);
        let mut said: Vec<f64> = (0..40).filter_map(|me| table_of(me, &ids).estimate()).collect();
        said.sort_unstable_by(f64::total_cmp);
        let ratio = said[said.len() / 2] / peers as f64;
        assert!((0.7..1.4).contains(&ratio), "{ratio} of {peers}");
    }
    let mut table = narrow();
    (1..=2).for_each(|last| assert_eq!(offer(&mut table, contact(1, last)), Offer::Kept));
    assert_eq!(table.estimate(), None);
}

#[test]
fn a_table_narrows_as_the_network_grows_and_says_who_is_too_many() {
    let ids = network(4000);
    let mut table = table_of(0, &ids);
    let before = table.contacts().len();
    table.resize();
    assert_eq!(table.width(), Width::TAB.of(4000.0));
    while let Some(link) = table.overcrowding(NOW) {
        table.remove(link);
    }
    assert!(table.contacts().len() < before && table.siblings().len() == table.width().siblings);
}

#[cfg(not(target_arch = "wasm32"))]
mod sequences {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Offer { id: [u8; 2], group: u8, rtt: u16, inbound: bool, client: bool },
        Remove(prop::sample::Index),
        Turn(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offer = (any::<[u8; 2]>(), 0u8..7, any::<u16>(), any::<bool>(), prop::bool::weighted(0.2));
        let offer = offer.prop_map(|(id, group, rtt, inbound, client)| Step::Offer {
            id,
            group,
            rtt,
            inbound,
            client,
        });
        prop_oneof![
            8 => offer,
            2 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => any::<prop::sample::Index>().prop_map(Step::Turn),
        ]
    }

    /// What the documentation of [`Table`] promises, once who is too many was shed.
    fn check(table: &Table) -> Result<(), TestCaseError> {
        let (contacts, siblings) = (table.contacts(), table.siblings());
        prop_assert!(contacts.len() <= table.most);
        prop_assert!(contacts.is_sorted_by_key(|contact| table.apart(contact)));
        let nearest = table.nearest(table.me, table.width.siblings);
        prop_assert_eq!(nearest.iter().map(|contact| contact.link).collect::<Vec<_>>(), siblings.clone());
        let others: Vec<_> = contacts.iter().filter(|contact| !siblings.contains(&contact.link)).collect();
        let groups = table.groups();
        for contact in &others {
            let bits = table.apart(contact).common_bits();
            let bucket = others.iter().filter(|other| table.apart(other).common_bits() == bits);
            prop_assert!(bucket.clone().count() <= table.width.bucket);
            prop_assert!(bucket.clone().filter(|other| other.client).count() <= 1);
            let bound = groups >= LEAST_GROUPS && table.is_bound(contact);
            let of_both = bucket.filter(|other| other.group == contact.group).count();
            prop_assert!(!bound || of_both <= table.width.bucket.div_ceil(3));
            let of_group = contacts.iter().filter(|other| other.group == contact.group).count();
            prop_assert!(!bound || of_group <= share(contacts.len(), groups));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn whatever_is_offered_the_limits_hold(
            steps in prop::collection::vec(step(), 1..200),
            exempt in prop::option::of(0u8..7),
        ) {
            let width = Width { bucket: 3, siblings: 4 };
            let mut table = Table::new(peer(0, 0), 20, width, exempt.map(group));
            for (number, step) in steps.into_iter().enumerate() {
                let now = NOW + Duration::from_secs(number as u64);
                match step {
                    Step::Offer { id: [first, last], group: of, rtt, inbound, client } => {
                        let contact = Contact {
                            link: LinkId::new(1 << 32 | number as u64),
                            peer: peer(first, last),
                            group: group(of),
                            since: now,
                            rtt: millis(u64::from(rtt)),
                            inbound,
                            client,
                        };
                        let before: Vec<LinkId> = table.contacts().iter().map(|contact| contact.link).collect();
                        let siblings = table.siblings();
                        let said = table.offer(contact, now);
                        let holds = |link: &LinkId| table.contacts().iter().any(|contact| contact.link == *link);
                        let gone: Vec<_> = before.iter().copied().filter(|link| !holds(link)).collect();
                        prop_assert_eq!(holds(&contact.link), said != Offer::Refused);
                        prop_assert_eq!(gone.clone(), if let Offer::Replaced(out) = said { vec![out] } else { vec![] });
                        let still = table.siblings();
                        prop_assert!(gone.iter().all(|link| !siblings.contains(link) || still.contains(&contact.link)));
                        if said != Offer::Refused && table.is_bound(&contact) && table.groups() >= LEAST_GROUPS {
                            let of_group = table.contacts().iter().filter(|other| other.group == contact.group);
                            prop_assert!(of_group.count() <= share(table.contacts().len(), table.groups()));
                        }
                    }
                    Step::Remove(which) if !table.contacts().is_empty() => {
                        let link = which.get(table.contacts()).link;
                        prop_assert!(table.remove(link).is_some());
                    }
                    Step::Turn(which) if !table.contacts().is_empty() => {
                        let link = which.get(table.contacts()).link;
                        let contact = table.get_mut(link).expect("it is in");
                        contact.client = !contact.client;
                    }
                    Step::Remove(_) | Step::Turn(_) => {}
                }
                while let Some(link) = table.overcrowding(now) {
                    prop_assert!(!table.siblings().contains(&link));
                    table.remove(link);
                }
                check(&table)?;
            }
        }

        #[test]
        fn every_hop_is_nearer_than_this_peer(
            ids in prop::collection::vec(any::<[u8; 32]>(), 1..60),
            key in any::<[u8; 32]>(),
        ) {
            let mut table = Table::new(peer(0, 0), 60, Width::TAB, None);
            for (number, id) in ids.into_iter().enumerate() {
                let (link, peer) = (LinkId::new(number as u64), PeerId::from_bytes(id));
                table.offer(Contact { link, peer, ..contact(0, number as u8) }, NOW);
            }
            let key = Key::from_bytes(key);
            let hops = table.next_hops(key);
            prop_assert!(hops.iter().all(|hop| hop.key().distance(key) < table.me.distance(key)));
            prop_assert_eq!(hops.len(), table.rank(key));
        }
    }
}

#[test]
fn buckets_with_room_are_those_between_the_whole_space_and_the_siblings() {
    let mut table = narrow();
    (1..=2).for_each(|last| assert_eq!(offer(&mut table, contact(0, last)), Offer::Kept));
    assert_eq!(table.thin_buckets(), [], "whoever comes is a sibling");
    assert_eq!(offer(&mut table, contact(0x10, 3)), Offer::Kept);
    assert_eq!(table.thin_buckets(), [(0, 0), (1, 0), (2, 0)]);
    (4..=5).for_each(|last| assert_eq!(offer(&mut table, contact(0x80, last)), Offer::Kept));
    assert_eq!(offer(&mut table, contact(0x40, 6)), Offer::Kept);
    assert_eq!(offer(&mut table, Contact { client: true, ..contact(0x20, 7) }), Offer::Kept);
    assert_eq!(table.thin_buckets(), [(1, 1), (2, 0)], "a client is of no use in one");
}

#[test]
fn there_is_a_place_for_whom_an_offer_would_take_in_and_asking_changes_nothing() {
    let mut table = with_siblings();
    (1..=2).for_each(|last| assert_eq!(offer(&mut table, contact(0x80, last)), Offer::Kept));
    let before = table.contacts().to_vec();
    let place = |contact| table.has_place(contact, NOW);
    assert_eq!(
        (place(contact(0x40, 9)), place(contact(0x80, 9)), place(contact(0, 0))),
        (true, false, false)
    );
    assert_eq!(table.contacts(), before);
}
