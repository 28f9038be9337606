//! Introductions that go through the mesh.

use super::*;

#[test]
fn everybody_can_be_introduced_to_everybody() {
    let mut mesh = Mesh::settled(48);
    // Only the way is looked at: nobody connects.
    mesh.agree = false;
    mesh.introductions.clear();
    let mut strangers = Vec::new();
    for asker in [0, 9, 30, 47] {
        let known = mesh.links[asker].clone();
        let of_it = (0..48).filter(|other| *other != asker && !known.contains(other));
        strangers.extend(of_it.map(|other| (asker, other)));
    }
    assert!(strangers.len() > 30, "{}", strangers.len());
    for (asker, other) in &strangers {
        let body = vec![*asker as u8, *other as u8, 0xaa];
        mesh.peers[*asker].introduce(card(*other).peer, body, mesh.now);
        mesh.drain(*asker);
        mesh.run(Duration::from_secs(1));
    }
    let heard: Vec<(usize, usize)> = mesh
        .introductions
        .iter()
        .filter(|(to, body)| body.len() == 3 && usize::from(body[1]) == *to)
        .map(|(to, body)| (usize::from(body[0]), *to))
        .collect();
    assert_eq!(heard, strangers);
}

#[test]
fn an_introduction_is_heard_by_the_one_it_is_for_and_once() {
    let mut mesh = Mesh::settled(48);
    let stranger = (1..48).find(|other| !mesh.links[0].contains(other)).expect("nobody knows all");
    for (agree, answer) in [(true, Some(vec![7, 1, 7])), (false, None)] {
        mesh.agree = agree;
        mesh.introductions.clear();
        mesh.introduced.clear();
        let offer = vec![7, u8::from(agree), 7];
        mesh.peers[0].introduce(card(stranger).peer, offer.clone(), mesh.now);
        mesh.drain(0);
        mesh.run(Duration::from_secs(9));
        let of_it = |(to, body): &&(usize, Vec<u8>)| *to == stranger || *body == offer;
        let heard: Vec<_> = mesh.introductions.iter().filter(of_it).cloned().collect();
        assert_eq!(heard, [(stranger, offer.clone())], "agrees: {agree}");
        let told: Vec<_> =
            mesh.introduced.iter().filter(|(me, peer, _)| *me == 0 && *peer == card(stranger).peer).collect();
        assert_eq!(told, [&(0, card(stranger).peer, answer)]);
    }
}

#[test]
fn an_answer_that_is_not_of_the_peer_keeps_nobody_from_it() {
    let mut mesh = Mesh::settled(48);
    let stranger = (1..48).find(|other| !mesh.links[0].contains(other)).expect("nobody knows all");
    let peer = card(stranger).peer;
    mesh.peers[0].introduce(peer, vec![7; 3], mesh.now);
    let sent = std::iter::from_fn(|| mesh.peers[0].poll_output()).find_map(|output| match output {
        OverlayOutput::Send(link, OverlayMessage::Route(RouteMessage::Forward { route, .. })) => {
            Some((link, route))
        }
        _ => None,
    });
    let (link, route) = sent.expect("somebody is asked");
    // The first hop says something itself.
    let forged = encode(&Answer::Introduced(vec![9; 3].try_into().unwrap()));
    mesh.peers[0].handle(link, OverlayMessage::Route(RouteMessage::Reply(route, forged)), mesh.now);
    let said: Vec<_> = std::iter::from_fn(|| mesh.peers[0].poll_output()).collect();
    assert!(said.contains(&OverlayOutput::Introduced(peer, Some(vec![9; 3]))));
    mesh.introduced.clear();
    mesh.peers[0].judge_introduction(peer, false, mesh.now);
    mesh.drain(0);
    mesh.run(Duration::from_secs(9));
    assert_eq!(mesh.introduced, [(0, peer, Some(vec![7; 3]))]);
}

#[test]
fn one_neighbour_can_have_so_many_introductions_wait_here_and_no_more() {
    let mut mesh = Mesh::settled(32);
    let links = mesh.links[3].clone();
    assert!(links.len() > 5);
    let mut sent = 0_u64;
    let mut wait = |mesh: &mut Mesh, link: usize, count: u64| {
        for _ in 0..count {
            sent += 1;
            let introduction = sent.to_le_bytes().to_vec().try_into().unwrap();
            let body = encode(&Ask::Introduce(card(3).peer, introduction));
            let (route, key, patience) = (RouteId(sent), card(3).peer.into(), Duration::from_secs(2));
            let forward = RouteMessage::Forward { route, key, budget: 5, patience, body };
            mesh.peers[3].handle(LinkId::new(link as u64), OverlayMessage::Route(forward), mesh.now);
        }
        let said = std::iter::from_fn(|| mesh.peers[3].poll_output());
        said.filter(|output| matches!(output, OverlayOutput::Introduction(..))).count()
    };
    assert_eq!(wait(&mut mesh, links[0], 20), 4);
    assert_eq!((1..5).map(|link| wait(&mut mesh, links[link], 20)).sum::<usize>(), 12);
    // When they have waited for long enough there is room again.
    mesh.now = mesh.now + MEETING;
    assert_eq!(wait(&mut mesh, links[0], 20), 4);
}

#[test]
fn who_is_gone_is_not_introduced_to_anybody_and_not_looked_for_everywhere() {
    for noticed in [true, false] {
        let mut mesh = Mesh::settled(48);
        let stranger = (1..48).find(|other| !mesh.links[0].contains(other)).expect("nobody knows all");
        if noticed {
            mesh.kill(stranger);
        } else {
            mesh.alive[stranger] = false;
        }
        mesh.introduced.clear();
        mesh.passed.clear();
        mesh.peers[0].introduce(card(stranger).peer, vec![1], mesh.now);
        mesh.drain(0);
        mesh.run(Duration::from_secs(9));
        assert!(mesh.introduced.contains(&(0, card(stranger).peer, None)));
        let links = mesh.passed.iter().filter(|peer| **peer == card(stranger).peer).count();
        assert!(links <= 40, "{links} links, noticed: {noticed}");
    }
}

#[test]
fn a_peer_that_those_around_it_do_not_know_is_met_by_way_of_who_told_of_it() {
    let mut mesh = Mesh::settled(48);
    mesh.agree = false;
    // It has come just now, and has a link to one that lives far away from it.
    let newcomer = mesh.join();
    let around = mesh.nearest(*card(newcomer).peer.as_bytes());
    let far = around[around.len() - 1];
    mesh.connect(newcomer, far);
    mesh.introductions.clear();
    let asker = *around.iter().find(|peer| **peer != newcomer && !mesh.links[far].contains(peer)).unwrap();
    let candidate =
        asking::Candidate { card: card(newcomer), certificate: certificate(newcomer), by: card(far).peer };
    mesh.peers[asker].consider(candidate, mesh.now);
    mesh.peers[asker].meet_next(mesh.now);
    mesh.drain(asker);
    mesh.run(Duration::from_secs(2));
    assert!(mesh.introductions.contains(&(newcomer, (asker as u16).to_le_bytes().to_vec())));
}
