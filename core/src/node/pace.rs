//! How quick the origin is: the time that a fetch has to keep in hand for it.

use std::time::Duration;

/// Least time that is kept in hand, …
const LEAST_MARGIN: Duration = Duration::from_millis(300);
/// …and as long as nothing is known of the origin.
const FIRST_MARGIN: Duration = Duration::from_secs(1);
/// More than this is kept in hand only if the origin is expected to take as long.
const SAFE_MARGIN: Duration = Duration::from_secs(4);
/// Longest time that a transfer is estimated to take.
const LONGEST_ESTIMATE: Duration = Duration::from_secs(20);
/// An origin that takes longer for a segment is shared, …
pub(super) const SLOW: Duration = Duration::from_millis(1500);
/// …until it takes less than this: while it is shared it serves few, and each of them sooner.
const QUICK: Duration = Duration::from_millis(300);
/// A response of fewer bytes, or in less time, says nothing of the rate.
const LEAST_SAMPLE: u64 = 64 * 1024;
const SHORTEST_SAMPLE: Duration = Duration::from_millis(20);
/// A response that took so long says something, however few bytes it brought.
const LONG_SAMPLE: Duration = Duration::from_millis(400);

/// The origin's latency and rate, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Smoothed time to the first byte.
    latency: Option<Duration>,
    /// Bytes that came after it lately, …
    bytes: f64,
    /// …and the seconds they took.
    seconds: f64,
    /// Bytes of the largest segment that it takes too long for.
    slow: Option<u64>,
    /// It sent everything when it was asked for a range.
    pub(super) refuses_ranges: bool,
}

impl Pace {
    /// Time to keep in hand for fetching so many bytes in so many requests, one after the other: twice the estimate, but no more
    /// than 4 s unless the estimate itself is; at least 0.3 s.
    pub(super) fn margin(&self, bytes: u64, requests: u32) -> Duration {
        let Some(latency) = self.latency else { return FIRST_MARGIN };
        let estimate = latency * requests + self.transfer(bytes);
        (estimate * 2).min(estimate.max(SAFE_MARGIN)).max(LEAST_MARGIN)
    }

    /// Whether the origin takes so long for segments that it is better shared with others.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.is_some()
    }

    /// Weighs what is known by the time that a segment of so many bytes takes.
    pub(super) fn weigh(&mut self, bytes: u64) {
        let bytes = self.slow.map_or(bytes, |slow| slow.max(bytes));
        let limit = if self.is_slow() { QUICK } else { SLOW };
        self.slow = (self.transfer(bytes) > limit).then_some(bytes);
    }

    /// How long so many bytes take after the first one.
    fn transfer(&self, bytes: u64) -> Duration {
        let seconds = if self.bytes > 0.0 { bytes as f64 * self.seconds / self.bytes } else { 0.0 };
        Duration::from_secs_f64(seconds.min(LONGEST_ESTIMATE.as_secs_f64()))
    }

    /// Takes how long a response was waited for.
    pub(super) fn note_latency(&mut self, latency: Duration) {
        self.latency = Some(self.latency.map_or(latency, |old| (old * 3 + latency) / 4));
    }

    /// Takes what a response says, complete or not: `took` is the time from its first byte to its last.
    pub(super) fn note(&mut self, latency: Duration, bytes: u64, took: Duration) {
        self.note_latency(latency);
        // A burst was in some cache; the next segment need not be.
        let is_burst = bytes < LEAST_SAMPLE || took < SHORTEST_SAMPLE;
        if is_burst && took < LONG_SAMPLE {
            return;
        }
        self.bytes = self.bytes * 0.75 + bytes as f64;
        self.seconds = self.seconds * 0.75 + took.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    /// An origin that sends a megabyte in so many seconds, after 100 ms.
    fn origin(seconds: f64) -> Pace {
        let mut pace = Pace::default();
        (0..8)
            .for_each(|_| pace.note(Duration::from_millis(100), MEGABYTE, Duration::from_secs_f64(seconds)));
        pace
    }

    fn seconds(margin: Duration) -> f64 {
        (margin.as_secs_f64() * 10.0).round() / 10.0
    }

    #[test]
    fn twice_the_expected_time_is_kept_in_hand_within_limits() {
        assert_eq!(Pace::default().margin(MEGABYTE, 1), FIRST_MARGIN);
        assert_eq!(origin(0.1).margin(MEGABYTE / 10, 1), LEAST_MARGIN);
        assert_eq!(seconds(origin(1.0).margin(MEGABYTE, 1)), 2.2);
        assert_eq!(origin(3.0).margin(MEGABYTE, 1), SAFE_MARGIN);
        assert_eq!(seconds(origin(8.0).margin(MEGABYTE, 1)), 8.1);
        assert_eq!(seconds(origin(1000.0).margin(MEGABYTE, 1)), 20.1);
    }

    #[test]
    fn a_response_out_of_a_cache_does_not_make_the_origin_quick() {
        let mut pace = origin(1.0);
        let before = pace.margin(MEGABYTE, 1);
        pace.note(Duration::from_millis(100), MEGABYTE, Duration::from_millis(1));
        pace.note(Duration::from_millis(100), 1000, Duration::from_millis(30));
        assert_eq!(pace.margin(MEGABYTE, 1), before);
    }

    #[test]
    fn an_origin_that_lets_group_lists_wait_is_given_more_time() {
        let mut pace = origin(0.1);
        (0..8).for_each(|_| pace.note_latency(Duration::from_secs(1)));
        assert!(seconds(pace.margin(MEGABYTE, 1)) > 1.8);
    }

    #[test]
    fn an_origin_that_was_slow_has_to_be_quick_to_be_left_to_everybody_again() {
        let slow = |seconds: &[f64]| {
            let mut pace = Pace::default();
            for seconds in seconds {
                (0..16).for_each(|_| pace.note(Duration::ZERO, MEGABYTE, Duration::from_secs_f64(*seconds)));
                pace.weigh(MEGABYTE);
            }
            pace.is_slow()
        };
        assert!(!slow(&[1.4]));
        assert!(slow(&[1.6]));
        assert!(slow(&[1.6, 0.4]));
        assert!(!slow(&[1.6, 0.2]));
        assert!(!slow(&[1.6, 0.2, 1.4]));
    }

    #[test]
    fn a_small_segment_does_not_make_a_slow_origin_quick() {
        let mut pace = origin(1.6);
        pace.weigh(MEGABYTE);
        pace.weigh(MEGABYTE / 100);
        assert!(pace.is_slow());
    }

    #[test]
    fn a_large_response_says_more_than_a_small_one() {
        let mut pace = origin(1.0);
        pace.note(Duration::from_millis(100), LEAST_SAMPLE, SHORTEST_SAMPLE);
        assert!(seconds(pace.margin(MEGABYTE, 1)) > 2.0);
    }
}
