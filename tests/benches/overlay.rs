//! How long lookups through a mesh take, what they cost and how many find what is there: `cargo xtask bench overlay`, `SIZES`, `LIVES`, `DISASTERS`,
//! `LOOKUPS`, `SCHEDULES` and `SEEDS` to choose. First of meshes at rest, whose tables are made, one tab in ten only asks; then of meshes that live, and of
//! such that something happens to.

use std::time::{Duration, Instant};

use tabswarm_tests::overlay::{Disaster, Life, Scenario, rollbacks};

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
    println!(
        "  peers  session  silent  seed  found %  p50 ms  p95 ms  p99 ms  kept p50, p95 ms  messages/s a peer, the busiest, bytes/s  siblings %  records lost, of  links by mesh, failed, by service  took s"
    );
    for peers in numbers("LIVES", "1000") {
        for (session, silent) in [(None, 0.0), (Some(300), 0.0), (Some(300), 0.2), (Some(300), 0.3)] {
            for seed in numbers("SEEDS", "1,2,3") {
                live(peers as usize, session, silent, seed);
            }
        }
    }
    println!(
        "  peers  seed  three of ten die: found % in 5 s, 5 to 20 s, 20 to 60 s; halves for 60 s: parts then, 30 s later  took s"
    );
    for peers in numbers("DISASTERS", "1000") {
        for seed in numbers("SEEDS", "1,2,3") {
            strike(peers as usize, seed);
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

/// A mesh that lives for five minutes before it is looked at, for two; `session` is the median in seconds.
fn live(peers: usize, session: Option<u64>, silent: f64, seed: u64) {
    let began = Instant::now();
    let lookups = peers as f64 / 30.0;
    let session = session.map(Duration::from_secs);
    let lived = Life { peers, session, silent, lookups, seed, ..Life::default() }.run();
    let kept = |share: f64| {
        lived.kept.get((lived.kept.len() as f64 * share) as usize).map_or(0, Duration::as_millis)
    };
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| lived.lookups.quantile(share).as_millis());
    println!(
        "{peers:>7}  {:>7}  {silent:>6}  {seed:>4}  {:>7.2}  {p50:>6}  {p95:>6}  {p99:>6}  {:>16}  {:>39}  {:>10.2}  {:>16}  {:>33}  {:>6.1}",
        session.map_or("–".to_owned(), |session| format!("{} s", session.as_secs())),
        100.0 * lived.lookups.success(),
        format!("{}, {}", kept(0.5), kept(0.95)),
        format!("{:.1}, {:.1}, {:.0}", lived.rate(), lived.busiest, lived.byte_rate()),
        100.0 * lived.siblings.0 as f64 / lived.siblings.1.max(1) as f64,
        format!("{}, {}", lived.lost.0, lived.lost.1),
        format!("{}, {}, {}", lived.met.0, lived.met.1, lived.served),
        began.elapsed().as_secs_f64(),
    );
}

/// A mesh of peers that stay, three of ten of which are gone at once; and one of which halves do not reach each other for a minute.
fn strike(peers: usize, seed: u64) {
    let began = Instant::now();
    let minute = Duration::from_secs(60);
    let calm = Life { peers, session: None, lookups: peers as f64 / 10.0, seed, ..Life::default() };
    let life = |disaster, measured| Life { disaster: Some(disaster), measured, ..calm }.run();
    let lived = life(Disaster::Dies(0.3), minute);
    let found = [0..5, 5..20, 20..60].map(|seconds| {
        let of = lived.seconds[seconds].iter();
        let (found, failed) = of.fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
        format!("{:.2}", 100.0 * found as f64 / (found + failed).max(1) as f64)
    });
    let parts = [minute, minute + minute / 2].map(|time| life(Disaster::Splits(minute), time).parts);
    println!(
        "{peers:>7}  {seed:>4}  {:>47}  {:>40}  {:>6.1}",
        found.join(", "),
        format!("{}, {}", parts[0], parts[1]),
        began.elapsed().as_secs_f64(),
    );
}

fn run(name: &str, scenario: Scenario) {
    let began = Instant::now();
    let outcomes = scenario.run();
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| outcomes.lookups.quantile(share).as_millis());
    println!(
        "{:>7}  {name:<11}  {:>4}  {:>7.2}  {p50:>6}  {p95:>6}  {p99:>6}  {:>17.1}  {:>6.1}",
        scenario.peers,
        scenario.seed,
        100.0 * outcomes.lookups.success(),
        outcomes.cost(),
        began.elapsed().as_secs_f64(),
    );
}
