use super::*;
use tabswarm_core::{id::Nonce, identity::Identity};

const STREAM: StreamId = StreamId::from_bytes([7; 32]);

fn registry(limits: RegistryLimits) -> Registry<u8> {
    Registry::new(limits, [5; 32])
}

fn key(number: u8) -> PublicKey {
    Identity::from_seed([number; 32]).public_key()
}

fn peer(number: u8) -> PeerId {
    PeerId::new(&key(number), &Nonce::from_bytes([0; 16]))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn connect(registry: &mut Registry<u8>, number: u8) -> Seat {
    registry.connect(peer(number), key(number), None, number, at(0)).0
}

fn joined(count: u8) -> (Registry<u8>, Vec<Seat>) {
    let mut registry = registry(RegistryLimits::default());
    let seats: Vec<Seat> = (0..count).map(|number| connect(&mut registry, number)).collect();
    for seat in &seats {
        registry.join(*seat, STREAM, 0, at(0)).unwrap();
    }
    (registry, seats)
}

fn drain(registry: &mut Registry<u8>, now: Timestamp) -> Vec<(u32, usize)> {
    std::iter::from_fn(|| registry.poll_announcement(now))
        .filter_map(|told| match told.message {
            ServiceMessage::Population { population, .. } => Some((population, told.to.len())),
            _ => None,
        })
        .collect()
}

#[test]
fn at_most_eight_distinct_others_are_introduced() {
    let (mut registry, seats) = joined(60);
    for seat in &seats {
        let answer = registry.more_peers(*seat, STREAM, u8::MAX).unwrap();
        assert_eq!((answer.population, answer.peers.len()), (60, MAX_INTRODUCED));
        let distinct: BTreeSet<_> = answer.peers.iter().collect();
        assert_eq!(distinct.len(), MAX_INTRODUCED);
        assert!(!answer.peers.contains(&seat.peer()));
    }
}

#[test]
fn a_small_swarm_is_introduced_whole() {
    let (mut registry, seats) = joined(5);
    assert_eq!(registry.more_peers(seats[0], STREAM, 8).unwrap().peers.len(), 4);
    assert_eq!(registry.more_peers(seats[0], STREAM, 2).unwrap().peers.len(), 2);
    assert_eq!(registry.more_peers(seats[0], STREAM, 0).unwrap().peers.len(), 0);
}

#[test]
fn asking_again_meets_new_members_first() {
    let (mut registry, seats) = joined(25);
    let mut met = BTreeSet::new();
    for _ in 0..3 {
        met.extend(registry.more_peers(seats[0], STREAM, 8).unwrap().peers);
    }
    assert_eq!(met.len(), 24);
}

#[test]
fn everybody_is_introduced_about_equally_often() {
    let (mut registry, seats) = joined(100);
    let mut drawn: HashMap<PeerId, u32> = HashMap::new();
    for seat in &seats {
        for other in registry.more_peers(*seat, STREAM, 8).unwrap().peers {
            *drawn.entry(other).or_default() += 1;
        }
    }
    assert_eq!(drawn.values().sum::<u32>(), 800);
    assert!(drawn.len() > 95 && drawn.values().all(|times| *times < 24), "{drawn:?}");
}

#[test]
fn the_same_seed_introduces_the_same_peers() {
    let answers = || {
        let (mut registry, seats) = joined(50);
        seats.iter().map(|seat| registry.more_peers(*seat, STREAM, 8)).collect::<Vec<_>>()
    };
    assert_eq!(answers(), answers());
}

#[test]
fn introductions_pass_both_ways_between_introduced_peers_only() {
    let (mut registry, seats) = joined(3);
    assert_eq!(registry.receiver(seats[0], peer(1)), None);
    let given = registry.more_peers(seats[0], STREAM, 1).unwrap().peers[0];
    let (met, other) = if given == peer(1) { (1, 2) } else { (2, 1) };
    assert_eq!(registry.receiver(seats[0], peer(met)), Some(&met));
    assert_eq!(registry.receiver(seats[usize::from(met)], peer(0)), Some(&0));
    assert_eq!(registry.receiver(seats[0], peer(other)), None);
    assert_eq!(registry.receiver(seats[usize::from(met)], peer(other)), None);
    registry.disconnect(seats[usize::from(met)], at(1));
    assert_eq!(registry.receiver(seats[0], peer(met)), None);
}

#[test]
fn the_newest_connection_of_a_key_wins() {
    let (mut registry, seats) = joined(2);
    registry.more_peers(seats[0], STREAM, 1).unwrap();
    let (again, replaced) = registry.connect(peer(0), key(0), None, 100, at(5));
    assert_eq!(replaced, Some(0));
    assert_eq!(registry.join(seats[0], STREAM, 1, at(6)), Err(JoinError::Stale));
    registry.disconnect(seats[0], at(7));
    assert_eq!(registry.peers(), 2);
    assert_eq!(registry.more_peers(again, STREAM, 8), None);
    assert_eq!(registry.receiver(again, peer(1)), Some(&1));

    let other_id = PeerId::new(&key(0), &Nonce::from_bytes([1; 16]));
    let (_, replaced) = registry.connect(other_id, key(0), None, 101, at(8));
    assert_eq!((replaced, registry.peers()), (Some(100), 2));
}

#[test]
fn limits_on_swarms_hold_and_leaving_makes_room() {
    let mut registry = registry(RegistryLimits { swarms: 3, swarms_per_peer: 2 });
    let stream = |number| StreamId::from_bytes([number; 32]);
    let (first, second) = (connect(&mut registry, 0), connect(&mut registry, 1));
    registry.join(first, stream(0), 8, at(0)).unwrap();
    registry.join(first, stream(1), 8, at(0)).unwrap();
    assert_eq!(registry.join(first, stream(2), 8, at(0)), Err(JoinError::TooManySwarms));
    assert!(registry.join(first, stream(1), 8, at(0)).is_ok());
    registry.join(second, stream(2), 8, at(0)).unwrap();
    assert_eq!(registry.join(second, stream(3), 8, at(0)), Err(JoinError::Full));
    registry.leave(first, stream(0), at(0));
    assert_eq!(registry.swarms(), 2);
    assert!(registry.join(second, stream(3), 8, at(0)).is_ok());
}

#[test]
fn an_abandoned_swarm_leaves_nothing_behind() {
    let (mut registry, seats) = joined(4);
    for seat in seats {
        registry.disconnect(seat, at(1));
    }
    assert_eq!((registry.peers(), registry.swarms()), (0, 0));
    assert!(registry.keys.is_empty() && registry.due.is_empty());
    assert_eq!(registry.members(STREAM).count(), 0);
}

#[test]
fn populations_are_announced_at_once_then_once_a_second() {
    let mut registry = registry(RegistryLimits::default());
    let seats: Vec<Seat> = (0..4).map(|number| connect(&mut registry, number)).collect();
    registry.join(seats[0], STREAM, 8, at(0)).unwrap();
    assert_eq!(drain(&mut registry, at(0)), [(1, 1)]);
    registry.join(seats[1], STREAM, 8, at(10)).unwrap();
    registry.join(seats[2], STREAM, 8, at(20)).unwrap();
    assert_eq!(drain(&mut registry, at(999)), []);
    assert_eq!(registry.poll_timeout(), Some(at(1_000)));
    assert_eq!(drain(&mut registry, at(1_000)), [(3, 3)]);
    assert_eq!(registry.poll_timeout(), None);
    registry.join(seats[3], STREAM, 8, at(1_100)).unwrap();
    registry.leave(seats[3], STREAM, at(1_200));
    assert_eq!(drain(&mut registry, at(2_000)), [], "the population is what was said last");
    registry.disconnect(seats[2], at(5_000));
    assert_eq!(drain(&mut registry, at(5_000)), [(2, 2)]);
}

/// Members in network groups of as many each.
fn grouped(groups: u8, each: u8) -> (Registry<u8>, Vec<Seat>) {
    let mut registry = registry(RegistryLimits::default());
    let group = |number: u8| Some(NetworkGroup::from_bytes([number % groups; 16]));
    let seats = (0..groups * each)
        .map(|number| registry.connect(peer(number), key(number), group(number), number, at(0)).0)
        .collect::<Vec<Seat>>();
    for seat in &seats {
        registry.join(*seat, STREAM, 0, at(0)).unwrap();
    }
    (registry, seats)
}

fn near(peers: &[PeerId], groups: u8, each: u8, to: u8) -> usize {
    let of_group = (0..groups * each).filter(|number| number % groups == to % groups).map(peer);
    let of_group: BTreeSet<PeerId> = of_group.collect();
    peers.iter().filter(|peer| of_group.contains(peer)).count()
}

#[test]
fn half_are_of_the_askers_network_group_and_come_after_those_drawn_by_chance() {
    let (mut registry, seats) = grouped(10, 10);
    let (mut first, mut last) = (0, 0);
    for (number, seat) in seats.iter().enumerate() {
        let peers = registry.more_peers(*seat, STREAM, 8).unwrap().peers;
        assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), 8);
        assert!(!peers.contains(&seat.peer()));
        let number = u8::try_from(number).unwrap();
        first += near(&peers[..4], 10, 10, number);
        last += near(&peers[4..], 10, 10, number);
    }
    assert_eq!(last, 400, "the last four");
    assert!(first < 60, "{first} of the first 400, by chance");
}

#[test]
fn a_group_with_few_members_leaves_its_places_to_chance() {
    let (mut registry, seats) = grouped(25, 2);
    let peers = registry.more_peers(seats[0], STREAM, 8).unwrap().peers;
    assert_eq!((peers.len(), near(&peers, 25, 2, 0)), (8, 1));
    registry.disconnect(seats[25], at(1));
    let peers = registry.more_peers(seats[0], STREAM, 8).unwrap().peers;
    assert_eq!((peers.len(), near(&peers, 25, 2, 0)), (8, 0));
}

#[test]
fn who_gives_no_group_is_preferred_by_nobody() {
    let (mut registry, seats) = grouped(2, 20);
    let (stranger, _) = registry.connect(peer(40), key(40), None, 40, at(0));
    let named = registry.join(stranger, STREAM, 8, at(0)).unwrap().peers;
    assert_eq!(named.len(), 8);
    for seat in &seats {
        let peers = registry.more_peers(*seat, STREAM, 8).unwrap().peers;
        assert!(!peers[4..].contains(&peer(40)));
    }
}

#[test]
fn who_is_full_is_introduced_last() {
    let (mut registry, seats) = joined(40);
    seats[..30].iter().for_each(|seat| registry.set_full(*seat, true));
    let full = |answer: Introductions| {
        let full: Vec<PeerId> = seats[..30].iter().map(Seat::peer).collect();
        answer.peers.iter().filter(|peer| full.contains(peer)).count()
    };
    let asked: usize =
        seats[..30].iter().map(|seat| full(registry.more_peers(*seat, STREAM, 4).unwrap())).sum();
    assert!(asked <= 12, "{asked} of 120");
    seats[..30].iter().for_each(|seat| registry.set_full(*seat, false));
    let asked: usize =
        seats[30..].iter().map(|seat| full(registry.more_peers(*seat, STREAM, 4).unwrap())).sum();
    assert!(asked >= 20, "{asked} of 40");
}

#[test]
fn where_all_are_full_newcomers_are_introduced_to_them() {
    let (mut registry, seats) = joined(20);
    seats.iter().for_each(|seat| registry.set_full(*seat, true));
    let newcomer = connect(&mut registry, 20);
    assert_eq!(registry.join(newcomer, STREAM, 8, at(0)).unwrap().peers.len(), 8);
}

#[test]
fn groups_of_an_abandoned_swarm_are_forgotten() {
    let (mut registry, seats) = grouped(3, 4);
    for seat in &seats[..9] {
        registry.leave(*seat, STREAM, at(1));
    }
    assert_eq!(registry.swarms[&STREAM].groups.len(), 3);
    for seat in &seats[9..11] {
        registry.disconnect(*seat, at(1));
    }
    assert_eq!(registry.swarms[&STREAM].groups.len(), 1);
}
