use tabswarm_core::kad::RouteId;

use super::{records::CERTIFICATE, *};

#[test]
fn peers_that_stay_find_each_other_and_what_they_provide() {
    let lived = Life { session: None, ..Life::default() }.run();
    assert_eq!(lived.lookups.failed, 0, "of {}", lived.lookups.found.len());
    assert!(lived.lookups.found.len() > 1000);
    assert_eq!(lived.siblings.0, lived.siblings.1);
}

#[test]
fn what_is_provided_is_found_while_peers_come_and_go() {
    let lived = Life::default().run();
    assert!(lived.lookups.found.len() > 800, "{}", lived.lookups.found.len());
    assert!(lived.lookups.success() >= 0.99, "{} of {}", lived.lookups.failed, lived.lookups.found.len());
    assert!(lived.siblings.0 * 10 >= lived.siblings.1 * 9, "{:?}", lived.siblings);
    assert!(lived.met.0 > 5 * lived.served, "{:?} {}", lived.met, lived.served);
}

#[test]
fn when_three_of_ten_are_gone_at_once_what_the_others_provide_is_found_again_within_20_s() {
    let life = Life { disaster: Some(Disaster::Dies(0.3)), session: None, ..Life::default() };
    let lived = Life { measured: Duration::from_secs(60), lookups: 20.0, ..life }.run();
    assert!(lived.peers < 170, "{}", lived.peers);
    let after: (usize, usize) =
        lived.seconds[20..].iter().fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
    assert!(after.0 > 500 && after.1 * 100 <= after.0 + after.1, "{after:?}");
}

#[test]
fn halves_that_did_not_reach_each_other_for_a_minute_are_one_mesh_30_s_later() {
    let time = Duration::from_secs(60);
    let life = Life { disaster: Some(Disaster::Splits(time)), session: None, ..Life::default() };
    let split = Life { measured: time, ..life }.run();
    assert_eq!(split.parts, 2);
    let lived = Life { measured: time + Duration::from_secs(30), ..life }.run();
    assert_eq!(lived.parts, 1);
}

#[test]
fn records_are_kept_while_peers_come_and_go() {
    let lived = Life { measured: Duration::from_secs(600), ..Life::default() }.run();
    assert!(lived.lost.1 > 1000 && lived.lost.0 * 1000 <= lived.lost.1, "{:?}", lived.lost);
}

#[test]
fn one_silent_peer_in_five_keeps_nobody_from_what_is_provided() {
    // Some are unlucky in who is near their record, and are looked up again and again.
    let lookups = [1, 2, 3].map(|seed| Life { silent: 0.2, seed, ..Life::default() }.run().lookups);
    let (failed, all) =
        lookups.iter().fold((0, 0), |(failed, all), of| (failed + of.failed, all + of.count()));
    assert!(all > 1800 && failed * 100 <= all, "{failed} of {all}");
}

#[test]
fn the_bytes_that_are_counted_are_those_that_travel() {
    let (route, key) = (RouteId(u64::MAX), Key::from_bytes([7; 32]));
    let (budget, patience, body) = (24, Duration::from_millis(1600), vec![1; RECORD]);
    let messages = [
        OverlayMessage::Route(RouteMessage::Forward { route, key, budget, patience, body }),
        OverlayMessage::Route(RouteMessage::Ack(route)),
        OverlayMessage::Route(RouteMessage::Reply(route, vec![2; CERTIFICATE * 16])),
        OverlayMessage::Route(RouteMessage::NoWay(route, 3)),
        OverlayMessage::Keep(key, vec![3; RECORD]),
        OverlayMessage::Client(true),
    ];
    for message in messages {
        let mut frame = Vec::new();
        message.clone().encode(&mut frame);
        assert_eq!(frame_len(&message), frame.len(), "{message:?}");
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let life = Life { peers: 60, warm_up: Duration::from_secs(120), ..Life::default() };
    assert_eq!(life.run(), life.run());
    assert_ne!(life.run().trace, Life { seed: 2, ..life }.run().trace);
}
