//! Token buckets and the dial budget (what Chromium limits).

use std::time::Duration;

use crate::time::Timestamp;

/// Most connections, live and closed but not yet collected, before dialling stops.
const MAX_CONNECTIONS: usize = 300;
/// Most connections that are being set up at a time.
const MAX_PENDING: usize = 12;
/// How long dialling pauses after the environment refused a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_secs(60);

/// A token bucket: `burst` at once, then `per_second`.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(burst: u32, per_second: f64, now: Timestamp) -> Self {
        Self { burst: f64::from(burst), per_second, tokens: f64::from(burst), filled: now }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, now: Timestamp) -> bool {
        self.take_many(1, now)
    }

    /// Takes so many tokens, if there are as many.
    pub fn take_many(&mut self, tokens: u32, now: Timestamp) -> bool {
        self.fill(now);
        if self.tokens < f64::from(tokens) {
            return false;
        }
        self.tokens -= f64::from(tokens);
        true
    }

    fn fill(&mut self, now: Timestamp) {
        let passed = now.saturating_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.filled = now;
    }
}

/// Who may open connections, and how many.
#[derive(Clone, Debug)]
pub struct DialBudget {
    accepts: TokenBucket,
    dials: TokenBucket,
    paused_until: Timestamp,
    uncollected: usize,
}

impl DialBudget {
    /// Own dials: 60 at once, then 240 an hour. Accepted offers: 20 at once, then one a second.
    pub fn new(now: Timestamp) -> Self {
        Self {
            accepts: TokenBucket::new(20, 1.0, now),
            dials: TokenBucket::new(60, 240.0 / 3600.0, now),
            paused_until: now,
            uncollected: 0,
        }
    }

    /// Connections that were closed and not collected yet, as the driver counts them.
    pub fn set_uncollected(&mut self, connections: usize) {
        self.uncollected = connections;
    }

    /// The environment refused a connection.
    pub fn pause(&mut self, now: Timestamp) {
        self.paused_until = now + EXHAUSTED_PAUSE;
    }

    /// Whether this peer may dial now; counts the dial.
    pub fn take_dial(&mut self, live: usize, pending: usize, now: Timestamp) -> bool {
        self.has_room(live, pending, now) && self.dials.take(now)
    }

    /// Whether an offer may be accepted now; counts it.
    pub fn take_accept(&mut self, live: usize, pending: usize, now: Timestamp) -> bool {
        self.has_room(live, pending, now) && self.accepts.take(now)
    }

    fn has_room(&self, live: usize, pending: usize, now: Timestamp) -> bool {
        now >= self.paused_until && pending < MAX_PENDING && live + self.uncollected < MAX_CONNECTIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_at_its_rate_up_to_its_burst() {
        let start = Timestamp::from_millis(0);
        let mut bucket = TokenBucket::new(2, 1.0, start);
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        assert!(bucket.take(Timestamp::from_millis(1000)));
        assert!(!bucket.take(Timestamp::from_millis(1500)));
        let later = Timestamp::from_millis(60_000);
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later));
    }

    #[test]
    fn dialling_pauses_after_the_environment_refused_a_connection() {
        let start = Timestamp::from_millis(0);
        let mut budget = DialBudget::new(start);
        budget.pause(start);
        assert!(!budget.take_dial(0, 0, Timestamp::from_millis(59_000)));
        assert!(budget.take_dial(0, 0, Timestamp::from_millis(60_000)));
    }

    #[test]
    fn uncollected_connections_count_against_the_budget() {
        let start = Timestamp::from_millis(0);
        let mut budget = DialBudget::new(start);
        budget.set_uncollected(299);
        assert!(budget.take_dial(0, 0, start));
        assert!(!budget.take_dial(1, 0, start));
        assert!(!budget.take_accept(1, 0, start));
    }
}
