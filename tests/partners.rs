//! Partner choice in virtual time: a bounded mesh that finds better links, takes newcomers in and never falls apart.

use std::time::Duration;

use tabswarm_tests::sim::{HostId, Mesh, Report, Scenario, Viewer, seed_or};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Most links of a viewer, those included that are taking each other's place.
const MOST: usize = 14;

/// Viewers of a stream of very few bytes who all look for as many links as they may have: every mesh is full, and every link that
/// ends is another's room.
fn full(viewers: usize, length: Duration) -> Scenario {
    let mut scenario = Scenario::new(seed_or(1), viewers, Duration::from_millis(300));
    scenario.catalog.byte_rate = 8_000;
    scenario.catalog.segments = (length.as_secs() / 2) as usize;
    scenario.links = (12, 12);
    scenario
}

#[track_caller]
fn assert_whole(report: &Report, mesh: &Mesh) {
    assert_one_component(report, mesh);
    assert_eq!(report.stalls(), 0, "{report}");
}

#[track_caller]
fn assert_one_component(report: &Report, mesh: &Mesh) {
    // Whoever was connected once stays so: components only ever grow together.
    assert!(
        mesh.splits.is_empty() && mesh.components == 1,
        "{} {:?}: {report}",
        mesh.components,
        mesh.splits
    );
    assert!(mesh.most_links <= MOST, "{}", mesh.most_links);
    assert_eq!((report.wrong(), report.bans().count()), (0, 0), "{report}");
}

#[test]
fn a_crowd_that_goes_on_replacing_partners_is_one_component_at_every_instant() {
    let report = full(60, secs(240)).run();
    let mesh = report.mesh();
    assert_whole(&report, &mesh);
    assert!(mesh.replaced > 60, "{}", mesh.replaced);
    assert!((10.0..=12.5).contains(&mesh.links), "{}", mesh.links);
}

#[test]
fn two_kinds_that_rate_each_other_last_find_their_own_and_never_part() {
    // Nothing of one level is of use to viewers of the other.
    let mut scenario = full(60, secs(480));
    scenario.catalog.tracks = 2;
    let report = scenario.run();
    let mesh = report.mesh();
    assert_whole(&report, &mesh);
    let own = mesh.pairs.iter().filter(|(a, b)| a.0 % 2 == b.0 % 2).count();
    assert!(own * 10 >= mesh.pairs.len() * 6, "{own} of {}", mesh.pairs.len());
    // Everybody has the first links it made, whatever they are worth.
    assert!((mesh.pairs.len() - own) / 2 >= 60, "{own} of {}", mesh.pairs.len());
}

#[test]
fn whoever_comes_to_a_full_crowd_has_partners_within_seconds() {
    let mut scenario = full(60, secs(120));
    for _ in 0..3 {
        scenario.viewers.push(Viewer { joins: secs(70), ..Viewer::default() });
    }
    let report = scenario.run();
    assert_whole(&report, &report.mesh());
    let mut all = 0;
    for (id, viewer) in report.viewers.range(HostId(60)..) {
        assert!(viewer.linked_after.is_some_and(|after| after < secs(3)), "{id:?}: {report}");
        let soon = viewer.link_changes.iter().filter(|(at, _, gained)| *gained && *at < secs(80)).count();
        assert!(soon >= 3, "{id:?} has {soon} links: {report}");
        all += soon;
    }
    assert!(all >= 3 * 6, "{all} links: {report}");
}

#[test]
fn eight_viewers_replace_nobody() {
    let mut scenario = full(8, secs(240));
    scenario.links = (10, 12);
    let report = scenario.run();
    let mesh = report.mesh();
    assert_whole(&report, &mesh);
    assert_eq!((mesh.replaced, mesh.pairs.len(), report.refusals), (0, 8 * 7, 0), "{report}");
}

#[test]
fn viewers_find_those_of_their_network_group_and_groups_stay_connected() {
    let mut scenario = full(60, secs(120));
    scenario.links = (10, 12);
    scenario.network.groups = 6;
    let report = scenario.run();
    let mesh = report.mesh();
    assert_whole(&report, &mesh);
    let near = mesh.pairs.iter().filter(|(a, b)| a.0 % 6 == b.0 % 6).count() as f64 / mesh.pairs.len() as f64;
    // By chance it would be nine of 59: 0.15.
    assert!((0.2..0.8).contains(&near), "{near}");
}

#[test]
fn a_crowd_that_comes_and_goes_stays_whole_and_bounded() {
    let report = Scenario::crowd(seed_or(1), 60, secs(120)).run();
    let mesh = report.mesh();
    assert_one_component(&report, &mesh);
    // Thin uplinks now and then let somebody run dry for an instant.
    assert!(report.stalled_share() <= 0.0001, "{report}");
    assert!(mesh.links >= 7.0 && mesh.diameter <= 5, "{} {}", mesh.links, mesh.diameter);
}
