//! A crowd before a live stream: homes with uplinks of all sizes, viewers who mostly leave soon and sometimes stay long, and
//! for each who leaves another who comes.

use std::time::Duration;

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{
    catalog::CatalogSpec,
    network::fraction,
    scenario::{Leave, Scenario, Viewer},
};

/// Uplinks as multiples of the stream's rate, and their shares of the homes: 1.7 on average.
const UPLINKS: [(f64, f64); 4] = [(0.5, 0.33), (1.0, 0.27), (2.0, 0.25), (5.0, 0.15)];
/// The stream was on for so long when the first viewers come, …
const HEAD_START: Duration = Duration::from_secs(10);
/// …all within this time.
const OPENING: Duration = Duration::from_secs(10);
/// Half of the sessions are shorter.
const MEDIAN_SESSION: Duration = Duration::from_secs(300);
/// Who gives nothing to others: one in so many.
const LEECH_ONE_IN: usize = 20;
/// Who leaves without a goodbye: one in so many.
const SILENT_ONE_IN: usize = 4;

impl Scenario {
    /// So many viewers at a time of a live stream of `length`, 2 Mbit/s in segments of 2 s.
    pub fn crowd(seed: u64, viewers: usize, length: Duration) -> Self {
        let mut scenario = Self::new(seed, 0, Duration::ZERO);
        let segment = CatalogSpec::default().segment;
        scenario.catalog.live = true;
        scenario.catalog.publishes = true;
        scenario.catalog.byte_rate = 250_000;
        scenario.catalog.segments = (length.as_secs() / segment.as_secs()) as usize;
        scenario.limit = length + OPENING;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..viewers {
            let mut joins = HEAD_START + OPENING.mul_f64(fraction(&mut rng));
            while joins < length {
                let leaves = joins + session(fraction(&mut rng));
                let how = if scenario.viewers.len().is_multiple_of(SILENT_ONE_IN) {
                    Leave::Silently
                } else {
                    Leave::Politely
                };
                let up = (scenario.catalog.byte_rate as f64 * uplink(fraction(&mut rng))) as u64;
                let leaves = (leaves < length).then_some((leaves, how));
                let leeches = scenario.viewers.len() % LEECH_ONE_IN == LEECH_ONE_IN - 1;
                let viewer = Viewer { joins, leaves, leeches, up: Some(up), ..Viewer::default() };
                scenario.viewers.push(viewer);
                joins = leaves.map_or(length, |(at, _)| at);
            }
        }
        scenario
    }

    /// A crowd whose uplinks all carry so many times the stream's rate, of which three in ten give nothing, or nobody does.
    pub fn crowd_with_leechers(seed: u64, viewers: usize, length: Duration, up: f64, leechers: bool) -> Self {
        let mut scenario = Self::crowd(seed, viewers, length);
        let rate = scenario.catalog.byte_rate as f64;
        for (number, viewer) in scenario.viewers.iter_mut().enumerate() {
            viewer.up = Some((up * rate) as u64);
            viewer.leeches = leechers && number % 10 < 3;
        }
        scenario
    }
}

/// A Weibull distribution of shape 0.5, by its quantile.
fn session(quantile: f64) -> Duration {
    let scale = MEDIAN_SESSION.as_secs_f64() / 2_f64.ln().powi(2);
    Duration::from_secs_f64((scale * (1.0 - quantile).ln().powi(2)).max(0.1))
}

fn uplink(quantile: f64) -> f64 {
    let mut sum = 0.0;
    let found = UPLINKS.iter().find(|(_, share)| {
        sum += share;
        quantile < sum
    });
    found.unwrap_or(&UPLINKS[3]).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_mostly_short_and_sometimes_long() {
        assert_eq!(session(0.5).as_secs(), 300);
        assert!(session(0.1) < Duration::from_secs(10) && session(0.9) > Duration::from_secs(3000));
    }

    #[test]
    fn uplinks_have_the_shares_of_the_homes() {
        let mean = (0..1000).map(|home| uplink(f64::from(home) / 1000.0)).sum::<f64>() / 1000.0;
        assert!((1.6..1.8).contains(&mean), "{mean}");
    }

    #[test]
    fn as_many_watch_at_any_time() {
        let length = Duration::from_secs(120);
        let scenario = Scenario::crowd(1, 40, length);
        for at in [HEAD_START + OPENING, length / 2, length - Duration::from_secs(1)] {
            let there =
                |viewer: &&Viewer| viewer.joins <= at && viewer.leaves.is_none_or(|(left, _)| at < left);
            assert_eq!(scenario.viewers.iter().filter(there).count(), 40);
        }
    }
}
