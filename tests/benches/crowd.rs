//! What a live stream costs its origin by the size of the crowd, for homes as they are and with good uplinks:
//! `cargo xtask bench crowd`, `SIZES` and `SEED` to choose.

use std::time::{Duration, Instant};

use tabswarm_tests::sim::{Scenario, seed_or};

const LENGTH: Duration = Duration::from_secs(120);
/// The first segments are for those who came before there was a swarm.
const SETTLED: usize = 20;

fn main() {
    let sizes = std::env::var("SIZES").unwrap_or_else(|_| "10,100".to_owned());
    println!(
        "viewers  uplinks  joins/s  origin copies of a segment  for newcomers  stalled %  offload %  waste %  took s"
    );
    for size in sizes.split(',') {
        let viewers: usize = size.trim().parse().expect("SIZES is a list of numbers");
        for good in [false, true] {
            run(viewers, good);
        }
    }
}

fn run(viewers: usize, good: bool) {
    let mut scenario = Scenario::crowd(seed_or(1), viewers, LENGTH);
    if good {
        scenario.viewers.iter_mut().for_each(|viewer| viewer.up = None);
    }
    let joins = scenario.viewers.len() - viewers;
    let began = Instant::now();
    let report = scenario.run();
    let mean = |copies: &[f64]| copies[SETTLED..].iter().sum::<f64>() / (copies.len() - SETTLED) as f64;
    let newcomers = mean(&report.copies_for_newcomers);
    println!(
        "{viewers:>7}  {:>7}  {:>7.1}  {:>26.2}  {newcomers:>13.2}  {:>9.3}  {:>9.1}  {:>7.1}  {:>6.1}",
        if good { "good" } else { "homes" },
        joins as f64 / LENGTH.as_secs_f64(),
        mean(&report.copies) - newcomers,
        100.0 * report.stalled_share(),
        100.0 * report.offload(),
        100.0 * report.waste(),
        began.elapsed().as_secs_f64(),
    );
    assert_eq!(report.wrong(), 0, "{report}");
}
