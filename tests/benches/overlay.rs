//! How long lookups through a mesh take, what they cost and how many find what is there: `cargo xtask bench overlay`, `SIZES`, `LOOKUPS`, `SCHEDULES`
//! and `SEEDS` to choose. Tables are those of a mesh at rest; one tab in ten only asks.

use std::time::Instant;

use tabswarm_tests::overlay::{Scenario, rollbacks};

/// Meshes by name: their share of super-peers, and of peers that take everything and say nothing.
const MESHES: [(&str, f64, f64); 5] = [
    ("tabs alone", 0.0, 0.0),
    ("super-peers", 0.01, 0.0),
    ("silent 10 %", 0.01, 0.1),
    ("silent 20 %", 0.01, 0.2),
    ("silent 30 %", 0.01, 0.3),
];

fn main() {
    println!("  peers  mesh         seed  found %  p50 ms  p95 ms  p99 ms  messages a lookup  took s");
    for peers in numbers("SIZES", "1000,10000") {
        for (name, super_peers, silent) in MESHES {
            for seed in numbers("SEEDS", "1,2,3") {
                let lookups = numbers("LOOKUPS", "10000").next().expect("LOOKUPS is a number");
                let peers = peers as usize;
                run(
                    name,
                    Scenario { peers, super_peers, silent, clients: 0.1, lookups: lookups as usize, seed },
                );
            }
        }
    }
    for seed in numbers("SEEDS", "1,2,3") {
        let schedules = numbers("SCHEDULES", "1000000").next().expect("SCHEDULES is a number");
        let found = rollbacks(schedules, true, seed);
        println!(
            "mutable records, seed {seed}: {schedules} schedules, {} reads, {} older values brought back, {} taken for the newest",
            found.reads, found.attempts, found.accepted
        );
    }
}

fn numbers(name: &str, default: &str) -> impl Iterator<Item = u64> + use<> {
    let chosen = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let numbers: Vec<u64> = chosen
        .split(',')
        .map(|number| number.trim().parse().expect("SIZES, LOOKUPS and SEEDS are numbers"))
        .collect();
    numbers.into_iter()
}

fn run(name: &str, scenario: Scenario) {
    let began = Instant::now();
    let outcomes = scenario.run();
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| outcomes.quantile(share).as_millis());
    println!(
        "{:>7}  {name:<11}  {:>4}  {:>7.2}  {p50:>6}  {p95:>6}  {p99:>6}  {:>17.1}  {:>6.1}",
        scenario.peers,
        scenario.seed,
        100.0 * outcomes.success(),
        outcomes.cost(),
        began.elapsed().as_secs_f64(),
    );
}
