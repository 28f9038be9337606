//! Swarms in virtual time: what many viewers together save, and what one of them or the origin can spoil.
//!
//! The seed is `SEED`, or else a fixed one; a failed assertion prints it with the whole report.

use std::{collections::BTreeSet, time::Duration};

use tabswarm_core::{
    guard::Violation,
    node::{Choking, FetchError, Start},
};
use tabswarm_tests::sim::{
    CatalogSpec, Fault, FaultKind, HostId, Leave, NetworkSpec, Report, RootsMode, Scenario, Tamper, Viewer,
    ViewerReport, seed_or,
};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A stream with a third of the bytes, for what does not depend on their number.
fn small(viewers: usize, apart: Duration) -> Scenario {
    let mut scenario = Scenario::new(seed_or(1), viewers, apart);
    scenario.catalog.byte_rate = 80_000;
    scenario
}

/// Everybody who stayed played everything to the end without a stall, and nothing wrong.
#[track_caller]
fn assert_played(report: &Report, stayed: impl IntoIterator<Item = u32>) {
    assert!(report.all_finished(stayed), "{report}");
    assert_eq!((report.stalls(), report.wrong()), (0, 0), "{report}");
}

#[test]
fn fifty_viewers_one_second_apart_share_nearly_everything() {
    let report = Scenario::new(seed_or(1), 50, secs(1)).run();
    assert_played(&report, 0..50);
    assert!(report.offload() >= 0.88 && report.offload() >= report.ceiling() - 0.07, "{report}");
    assert!(report.waste() < 0.03, "{report}");
    // After the first seconds, in which nobody is connected yet, the origin sends few copies.
    assert!(report.copies[2..].iter().all(|copies| *copies < 9.0), "{report}");
    assert!(report.viewers.values().all(|viewer| viewer.verified == 30), "{report}");
}

#[test]
fn fifty_viewers_at_once_share_most() {
    let report = Scenario::new(seed_or(1), 50, Duration::ZERO).run();
    assert_played(&report, 0..50);
    assert!(report.offload() >= report.ceiling() - 0.08, "{report}");
    assert!(report.waste() < 0.03, "{report}");
}

/// Origin copies of a segment, but for the first segments of newcomers, once the crowd has settled.
fn settled_copies(report: &Report) -> f64 {
    let copies =
        report.copies.iter().zip(&report.copies_for_newcomers).map(|(all, newcomers)| all - newcomers);
    let settled: Vec<f64> = copies.skip(20).collect();
    settled.iter().sum::<f64>() / settled.len() as f64
}

#[test]
fn a_live_crowd_with_good_uplinks_costs_the_origin_few_copies_whatever_its_size() {
    for viewers in [10, 40] {
        let mut scenario = Scenario::crowd(seed_or(1), viewers, secs(80));
        for viewer in &mut scenario.viewers {
            viewer.up = None;
        }
        let report = scenario.run();
        assert_eq!((report.stalls(), report.wrong()), (0, 0), "{report}");
        assert!(settled_copies(&report) <= 3.0, "{} copies: {report}", settled_copies(&report));
        assert!(report.waste() < 0.03, "{report}");
    }
}

#[test]
fn a_live_crowd_of_homes_plays_without_a_stall() {
    let report = Scenario::crowd(seed_or(1), 40, secs(80)).run();
    assert_eq!((report.stalls(), report.wrong()), (0, 0), "{report}");
}

#[test]
fn a_live_crowd_whose_manifest_is_published_as_it_goes_asks_for_it_once_a_segment() {
    let mut scenario = Scenario::crowd(seed_or(1), 40, secs(80));
    scenario.catalog.publishes = true;
    for viewer in &mut scenario.viewers {
        viewer.up = None;
    }
    let report = scenario.run();
    assert_eq!((report.stalls(), report.wrong()), (0, 0), "{report}");
    assert!(settled_copies(&report) <= 3.0, "{} copies: {report}", settled_copies(&report));
    let sum = |of: fn(&ViewerReport) -> usize| report.viewers.values().map(of).sum::<usize>() as f64;
    let manifests = sum(|viewer| viewer.manifests.len());
    let segments = sum(|viewer| (viewer.verified + viewer.origin_whole) as usize);
    assert!(manifests <= 1.2 * segments, "{manifests} manifests for {segments} segments");
    assert!(sum(|viewer| viewer.origin_whole as usize) <= 0.01 * segments, "{report}");
}

#[test]
fn four_viewers_two_seconds_apart_come_near_the_ceiling() {
    for roots in [RootsMode::Signed, RootsMode::Origin, RootsMode::Attested] {
        let report = Scenario::new(seed_or(1), 4, secs(2)).roots(roots).run();
        assert_played(&report, 0..4);
        assert!(report.offload() >= report.ceiling() - 0.08, "{roots:?}: {report}");
    }
}

#[test]
fn the_service_fetches_each_segment_once_to_attest_it() {
    let report = small(12, secs(1)).roots(RootsMode::Attested).run();
    assert_played(&report, 0..12);
    let distinct = report.viewers[&HostId(0)].played_bytes;
    assert_eq!(report.attest_bytes, distinct, "{report}");
    // Only what came before its root was played unverified.
    assert!(report.viewers.values().map(|viewer| viewer.origin_whole).sum::<u32>() <= 12 * 2, "{report}");
    assert!(report.offload() >= report.ceiling() - 0.10, "{report}");
}

#[test]
fn a_run_depends_on_its_seed_alone() {
    let seed = seed_or(1);
    let run = |seed| {
        let mut scenario = small(8, Duration::from_millis(700));
        scenario.seed = seed;
        scenario.network.loss = 0.01;
        scenario.run()
    };
    let (first, again, other) = (run(seed), run(seed), run(seed + 1));
    assert_eq!((first.trace, first.events), (again.trace, again.events), "{first}{again}");
    assert_ne!(first.trace, other.trace, "{first}{other}");
}

/// Viewer 0, whom everybody asks first, is hostile from the start.
fn with_hostile(tamper: Tamper) -> Report {
    let mut scenario = small(8, secs(2));
    scenario.viewers[0].tamper = Some((tamper, Duration::ZERO));
    scenario.run()
}

#[track_caller]
fn assert_polluter_is_banned(tamper: Tamper, violations: &[Violation]) {
    let report = with_hostile(tamper);
    assert_played(&report, 0..8);
    let victims: BTreeSet<HostId> = report.bans().map(|(victim, _, _)| victim).collect();
    assert!(victims.len() >= 4, "{tamper:?}: {report}");
    for (victim, banned, why) in report.bans() {
        assert_eq!(banned, HostId(0), "{tamper:?}, {victim:?}: {report}");
        assert!(violations.contains(&why), "{tamper:?}, {victim:?}: {why:?} {report}");
    }
    for (id, viewer) in &report.viewers {
        assert!(viewer.bans.len() <= 1 && viewer.stats.bad_groups <= 1, "{tamper:?}, {id:?}: {report}");
    }
    // The honest ones still have each other.
    assert!(report.offload() >= 0.45, "{tamper:?}: {report}");
}

#[test]
fn each_kind_of_polluter_is_banned_by_each_victim_after_one_bad_group() {
    for tamper in Tamper::POLLUTERS {
        // What stands behind a whole group is a part of the next one, which need not have been asked for.
        let behind = (tamper == Tamper::Extend).then_some(Violation::Unsolicited);
        let violations: Vec<_> = behind.into_iter().chain([Violation::BadGroup]).collect();
        assert_polluter_is_banned(tamper, &violations);
    }
}

#[test]
fn bytes_behind_a_frame_are_as_good_as_a_bad_group() {
    assert_polluter_is_banned(Tamper::Trail, &[Violation::Malformed]);
}

#[test]
fn a_majority_of_polluters_spoils_the_savings_and_nothing_else() {
    let mut scenario = small(9, secs(1));
    for (viewer, tamper) in scenario.viewers.iter_mut().zip(Tamper::POLLUTERS) {
        viewer.tamper = Some((tamper, Duration::ZERO));
    }
    let report = scenario.run();
    assert_played(&report, 0..9);
    assert!(report.bans().all(|(_, banned, _)| banned.0 < 5), "{report}");
}

#[test]
fn while_the_service_is_down_links_go_on_trading_and_then_all_rejoin() {
    let (down, up) = (secs(20), secs(50));
    let report = small(12, secs(1)).outage(down..up).run();
    let undisturbed = small(12, secs(1)).run();
    assert_played(&report, 0..12);
    assert!(report.offload() >= undisturbed.offload() - 0.02, "{report}{undisturbed}");
    for (id, viewer) in &report.viewers {
        let lost = viewer.link_changes.iter().any(|(at, _, gained)| !gained && (down..up).contains(at));
        assert!(!lost, "{id:?} lost a link: {report}");
        assert_eq!(viewer.service_ready.len(), 2, "{id:?}: {report}");
        assert!(
            viewer.service_ready[1] >= up && viewer.service_ready[1] <= up + secs(35),
            "{id:?}: {report}"
        );
    }
}

#[test]
fn viewers_who_come_while_the_service_is_down_join_the_swarm_when_it_is_back() {
    let report = small(12, secs(2)).outage(secs(9)..secs(30)).run();
    assert_played(&report, 0..12);
    assert!(report.viewers.values().all(|viewer| viewer.links > 0), "{report}");
    let late = &report.viewers[&HostId(11)];
    assert!(late.stats.peer_bytes > 0, "{report}");
}

#[test]
fn an_origin_that_goes_away_does_not_matter_to_who_can_ask_holders() {
    // By then the first viewers have everything but what the last ones want first.
    let fault = Fault { during: secs(42)..Duration::MAX, segments: 0..30, kind: FaultKind::Refuses };
    let mut scenario = small(10, secs(1)).fault(fault);
    for viewer in &mut scenario.viewers[6..] {
        viewer.joins += secs(40);
    }
    let report = scenario.run();
    assert_played(&report, 0..10);
    let late = report.viewers.range(HostId(6)..);
    for (id, viewer) in late {
        assert_eq!(
            (viewer.stats.origin_bytes, viewer.stats.peer_bytes),
            (0, viewer.played_bytes),
            "{id:?}: {report}"
        );
        assert!(
            viewer.errors.iter().all(|error| *error == FetchError::Network) && viewer.errors.len() <= 3,
            "{report}"
        );
    }
}

#[test]
fn an_origin_that_is_down_or_slow_for_a_while_stops_nobody() {
    for kind in [
        FaultKind::Refuses,
        FaultKind::Hangs,
        FaultKind::Slow(60_000),
        FaultKind::Stalls,
        FaultKind::Status(503),
        FaultKind::Breaks,
    ] {
        let fault = Fault { during: secs(12)..secs(27), segments: 0..30, kind };
        let report = small(8, secs(1)).fault(fault).run();
        assert_played(&report, 0..8);
        assert!(report.offload() >= 0.5, "{kind:?}: {report}");
    }
}

#[test]
fn an_origin_that_ignores_range_costs_bytes_only() {
    let mut scenario = small(8, secs(1)).fault(Fault::always(FaultKind::IgnoresRange));
    scenario.network.up = 60_000;
    let report = scenario.run();
    assert_played(&report, 0..8);
}

#[test]
fn origin_bytes_that_contradict_the_root_are_not_spread() {
    let fault = Fault { during: Duration::ZERO..Duration::MAX, segments: 5..6, kind: FaultKind::Corrupt };
    let report = small(6, secs(1)).roots(RootsMode::Origin).fault(fault).run();
    // The player gets what it would have got without us, and is told.
    assert!(report.all_finished(0..6), "{report}");
    assert_eq!((report.stalls(), report.wrong()), (0, 6), "{report}");
    for viewer in report.viewers.values() {
        assert_eq!((viewer.mismatches, viewer.origin_whole, viewer.verified), (1, 1, 29), "{report}");
    }
    assert_eq!(report.bans().count(), 0, "{report}");
}

#[test]
fn a_peer_that_goes_silent_is_dropped_and_missed_by_nobody() {
    let mut scenario = small(8, secs(1));
    scenario.viewers[0].tamper = Some((Tamper::Silent, secs(15)));
    let report = scenario.run();
    assert_played(&report, 0..8);
    assert_eq!(report.bans().count(), 0, "{report}");
    for (id, viewer) in report.viewers.range(HostId(1)..) {
        let lost = viewer.link_changes.iter().find(|(_, _, gained)| !gained);
        assert!(lost.is_some_and(|(at, ..)| *at <= secs(15 + 27)), "{id:?}: {report}");
    }
}

#[test]
fn every_third_viewer_may_leave_midway() {
    let mut scenario = Scenario::new(seed_or(1), 30, secs(1));
    scenario.catalog.byte_rate = 80_000;
    for (index, viewer) in scenario.viewers.iter_mut().enumerate().filter(|(index, _)| index % 3 == 0) {
        let how = if index % 2 == 0 { Leave::Politely } else { Leave::Silently };
        viewer.leaves = Some((viewer.joins + secs(20), how));
    }
    let report = scenario.run();
    assert_played(&report, (0..30).filter(|index| index % 3 != 0));
    assert!(report.offload() >= 0.70, "{report}");
}

#[test]
fn thin_uplinks_cost_savings_and_no_playback() {
    // Half of what is played, and twice that.
    for (up, offload) in [(40_000, 0.0), (160_000, 0.4)] {
        let mut scenario = small(12, secs(1));
        scenario.network.up = up;
        let report = scenario.run();
        assert_played(&report, 0..12);
        assert!(report.offload() >= offload, "{report}");
    }
}

#[test]
fn a_lossy_network_in_which_a_third_of_the_pairs_cannot_connect_still_shares() {
    let mut scenario = small(16, secs(1));
    scenario.network = NetworkSpec {
        loss: 0.02,
        unreachable: 0.33,
        delay: (secs(0), Duration::from_millis(150)),
        ..scenario.network
    };
    let report = scenario.run();
    assert_played(&report, 0..16);
    assert!(report.offload() >= 0.6, "{report}");
}

#[test]
fn viewers_of_two_tracks_of_byte_range_segments_share_within_each() {
    let mut scenario = small(12, secs(1));
    scenario.catalog = CatalogSpec { tracks: 2, byte_ranges: true, ..scenario.catalog };
    let report = scenario.run();
    assert_played(&report, 0..12);
    assert!(report.offload() >= report.ceiling() - 0.12, "{report}");
}

#[test]
fn a_small_cache_keeps_the_window_that_is_played() {
    let mut scenario = small(12, secs(1));
    scenario.cache_limit = 12 * 160_000;
    let report = scenario.run();
    assert_played(&report, 0..12);
    assert!(report.offload() >= 0.6, "{report}");
}

#[test]
fn economy_connects_before_the_first_segment() {
    let mut scenario = small(8, secs(1));
    scenario.start = Start::Economy;
    let report = scenario.run();
    assert_played(&report, 0..8);
    let linked = |viewer: &tabswarm_tests::sim::ViewerReport| viewer.linked_after.unwrap_or(Duration::MAX);
    assert!(
        report.viewers.values().skip(1).all(|viewer| linked(viewer) < Duration::from_millis(1100)),
        "{report}"
    );
}

#[test]
fn a_viewer_alone_gets_what_plain_http_gives() {
    let mut scenario = small(0, secs(1));
    scenario.viewers.push(Viewer::default());
    let report = scenario.run();
    assert_played(&report, 0..1);
    assert_eq!(report.origin_bytes, report.played_bytes(), "{report}");
    assert!(report.copies.iter().all(|copies| (copies - 1.0).abs() < 1e-9), "{report}");
}

#[test]
fn who_gives_nothing_gets_less_while_uplinks_are_full_and_costs_nothing_while_they_are_not() {
    let crowd = |up: f64, leechers: bool| {
        let report = Scenario::crowd_with_leechers(seed_or(7), 50, secs(60), up, leechers).run();
        let share = |leech: bool| report.peer_share(|number| leech == (number % 10 < 3));
        (share(false), share(true), report.offload())
    };
    let (givers, leechers, _) = crowd(1.2, true);
    let (_, _, rich) = crowd(15.0, false);
    let (_, _, rich_leeched) = crowd(15.0, true);
    let (all_give, ..) = crowd(1.2, false);
    assert!(givers >= all_give - 0.12, "givers got {givers:.3}, and {all_give:.3} if all gave");
    assert!(leechers <= 0.5 * givers, "leechers got {leechers:.3}, givers {givers:.3}");
    assert!(rich_leeched >= rich - 0.02, "{rich_leeched:.3} instead of {rich:.3}");
}

#[test]
fn calls_cost_the_origin_less_than_the_rounds_of_bep_3() {
    let copies = |choking: Choking| {
        let mut scenario = Scenario::crowd(seed_or(1), 40, secs(80));
        scenario.choking = choking;
        let report = scenario.run();
        assert_eq!((report.stalls(), report.wrong()), (0, 0), "{report}");
        settled_copies(&report)
    };
    let (calls, rounds) = (copies(Choking::Calls), copies(Choking::Bep3));
    assert!(calls < rounds, "{calls:.2} copies with calls, {rounds:.2} with BEP 3's rounds");
}

#[test]
fn who_comes_at_once_shares_what_follows_before_anybody_is_connected() {
    let mut scenario = small(8, Duration::from_millis(40));
    scenario.network.setup = Duration::from_millis(900);
    let report = scenario.run();
    assert_played(&report, 0..8);
    assert!(report.copies[2..5].iter().all(|copies| *copies <= 2.5), "{report}");
}
