//! What a live stream costs its origin by the size of the crowd, and what those get who give nothing: `cargo xtask bench crowd`,
//! `SIZES`, `RUNS`, `LINKS` (how many a viewer looks for, and has at most) and `SEED` to choose.
//!
//! Uplinks are those of homes, choked our way or by BEP 3's numbers, or good ones; one viewer in twenty gives nothing.

use std::time::{Duration, Instant};

use tabswarm_core::node::Choking;
use tabswarm_tests::sim::{Report, Scenario, seed_or};

const LENGTH: Duration = Duration::from_secs(120);
/// Nobody waits longer for the first segment.
const LONGEST_START: Duration = Duration::from_secs(10);
/// The first segments are for those who came before there was a swarm.
const SETTLED: usize = 20;
/// Runs by name: how uplinks are given out, and whether all are good.
const RUNS: [(&str, Choking, bool); 3] =
    [("homes", Choking::Calls, false), ("BEP3", Choking::Bep3, false), ("good", Choking::Calls, true)];

fn main() {
    let (sizes, runs) = (chosen("SIZES", "10,100"), chosen("RUNS", "homes,BEP3,good,leechers"));
    println!(
        "viewers  uplinks  joins/s  origin copies of a segment  for newcomers  stalled %  offload %  waste %  control %  took s"
    );
    for size in sizes.split(',') {
        let viewers: usize = size.trim().parse().expect("SIZES is a list of numbers");
        for (name, choking, good) in RUNS.iter().filter(|(name, ..)| runs.contains(name)) {
            run(viewers, name, *choking, *good);
        }
    }
    if runs.contains("leechers") {
        leechers(Choking::Calls);
        leechers(Choking::Bep3);
    }
}

fn chosen(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn run(viewers: usize, name: &str, choking: Choking, good: bool) {
    let mut scenario = Scenario::crowd(seed_or(1), viewers, LENGTH);
    scenario.choking = choking;
    let links = chosen("LINKS", "10-12");
    let (wanted, most) = links.split_once('-').expect("LINKS is two numbers");
    scenario.links = (wanted.parse().expect("a number"), most.parse().expect("a number"));
    if good {
        scenario.viewers.iter_mut().for_each(|viewer| viewer.up = None);
    }
    let joins = scenario.viewers.len() - viewers;
    let began = Instant::now();
    let report = scenario.run();
    let mean = |copies: &[f64]| copies[SETTLED..].iter().sum::<f64>() / (copies.len() - SETTLED) as f64;
    let newcomers = mean(&report.copies_for_newcomers);
    println!(
        "{viewers:>7}  {name:>7}  {:>7.1}  {:>26.2}  {newcomers:>13.2}  {:>9.3}  {:>9.1}  {:>7.1}  {:>9.1}  {:>6.1}",
        joins as f64 / LENGTH.as_secs_f64(),
        mean(&report.copies) - newcomers,
        100.0 * report.stalled_share(),
        100.0 * report.offload(),
        100.0 * report.waste(),
        100.0 * report.control_bytes() as f64 / report.played_bytes() as f64,
        began.elapsed().as_secs_f64(),
    );
    assert_eq!((report.wrong(), report.kept_waiting(LONGEST_START)), (0, 0), "{report}");
    let mesh = report.mesh();
    println!(
        "         links of a viewer {:.1} (at most {}), diameter {}, components {} (cut off {}, by leavers {}), replaced {:.2} a viewer and \
         minute, {} offers refused",
        mesh.links,
        mesh.most_links,
        mesh.diameter,
        mesh.components,
        mesh.splits.len(),
        mesh.parted,
        mesh.replaced as f64 / (viewers as f64 * LENGTH.as_secs_f64() / 60.0),
        report.refusals,
    );
}

/// A hundred with uplinks of 1.2 times the rate, or of plenty, of whom three in ten give nothing or nobody does.
fn leechers(choking: Choking) {
    let run = |up: f64, leechers: bool| {
        let mut scenario = Scenario::crowd_with_leechers(seed_or(1), 100, LENGTH, up, leechers);
        scenario.choking = choking;
        scenario.run()
    };
    let share = |report: &Report, leech: bool| 100.0 * report.peer_share(|number| leech == (number % 10 < 3));
    let (scarce, without) = (run(1.2, true), run(1.2, false));
    println!(
        "uplinks of 1.2, {choking:?}: from peers leechers {:.1} %, givers {:.1} %, and {:.1} % if all gave; stalled {:.3} %",
        share(&scarce, true),
        share(&scarce, false),
        share(&without, false),
        100.0 * scarce.stalled_share(),
    );
    let offload = |leechers: bool| 100.0 * run(15.0, leechers).offload();
    println!(
        "uplinks of 15, {choking:?}: offload {:.1} %, with leechers {:.1} %",
        offload(false),
        offload(true)
    );
}
