//! Token buckets and the dial budget (what Chromium limits).

use std::{collections::VecDeque, time::Duration};

use crate::{id::PeerId, time::Timestamp};

/// Most connections, live and closed but not yet collected, before dialling stops.
const MAX_CONNECTIONS: usize = 300;
/// Most connections that are being set up at a time.
const MAX_PENDING: usize = 12;
/// How long dialling pauses after the environment refused a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_secs(60);
/// Offers that are accepted at once, and then a second.
const ACCEPTS: (u32, f64) = (20, 1.0);
/// Introductions that the mesh brings and that are looked at: so many at once, and then a second.
const INTRODUCTIONS: (u32, f64) = (60, 5.0);
/// Longest time to wait for tokens at a time.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Most callers whose share of that is counted; the one that called first is forgotten first.
const MAX_CALLERS: usize = 64;

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

    /// When there will be so many tokens, at most as many as fit.
    pub fn ready_at(&self, tokens: u32, now: Timestamp) -> Timestamp {
        let mut filled = *self;
        filled.fill(now);
        let missing = f64::from(tokens).min(self.burst) - filled.tokens;
        if missing <= 0.0 {
            return now;
        }
        let seconds = (missing / self.per_second).min(MAX_WAIT.as_secs_f64());
        now + Duration::from_secs_f64(seconds) + Duration::from_micros(1)
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
    /// A quarter of `accepts` for each who called lately.
    callers: VecDeque<(PeerId, TokenBucket)>,
    dials: TokenBucket,
    /// What contacts of the overlay may have of those.
    contacts: TokenBucket,
    /// Introductions of strangers that are looked at, over the mesh.
    introductions: TokenBucket,
    paused_until: Timestamp,
    uncollected: usize,
}

impl DialBudget {
    /// Own dials: 60 at once, then 240 an hour; of contacts 40 of those and half. Accepted offers: 20 at once, then one a second, of one caller a quarter of
    /// that.
    pub fn new(now: Timestamp) -> Self {
        Self {
            accepts: TokenBucket::new(ACCEPTS.0, ACCEPTS.1, now),
            callers: VecDeque::new(),
            dials: TokenBucket::new(60, 240.0 / 3600.0, now),
            contacts: TokenBucket::new(40, 120.0 / 3600.0, now),
            introductions: TokenBucket::new(INTRODUCTIONS.0, INTRODUCTIONS.1, now),
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

    /// The same for a contact of the overlay: of what is left of its share.
    pub fn take_contact(&mut self, live: usize, pending: usize, now: Timestamp) -> bool {
        self.has_room(live, pending, now) && self.contacts.take(now) && self.dials.take(now)
    }

    /// Whether an introduction that the mesh brings may be looked at now; counts it.
    pub fn take_introduction(&mut self, now: Timestamp) -> bool {
        self.introductions.take(now)
    }

    /// Whether an offer of this peer may be accepted now; counts it.
    pub fn take_accept(&mut self, from: PeerId, live: usize, pending: usize, now: Timestamp) -> bool {
        self.has_room(live, pending, now) && self.share_of(from, now).take(now) && self.accepts.take(now)
    }

    fn share_of(&mut self, caller: PeerId, now: Timestamp) -> &mut TokenBucket {
        let known = self.callers.iter().position(|(known, _)| *known == caller);
        let index = known.unwrap_or_else(|| {
            if self.callers.len() == MAX_CALLERS {
                self.callers.pop_front();
            }
            self.callers.push_back((caller, TokenBucket::new(ACCEPTS.0 / 4, ACCEPTS.1 / 4.0, now)));
            self.callers.len() - 1
        });
        &mut self.callers[index].1
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
        assert!(!budget.take_accept(PeerId::from_bytes([1; 32]), 1, 0, start));
    }

    #[test]
    fn one_caller_gets_a_quarter_of_the_accepted_offers() {
        let start = Timestamp::from_millis(0);
        let mut budget = DialBudget::new(start);
        let accepted = |budget: &mut DialBudget, from: u8, now| {
            (0..100).filter(|_| budget.take_accept(PeerId::from_bytes([from; 32]), 0, 0, now)).count()
        };
        assert_eq!(accepted(&mut budget, 1, start), 5);
        assert_eq!(accepted(&mut budget, 2, start), 5);
        let later = Timestamp::from_millis(60_000);
        assert_eq!((1..=5).map(|from| accepted(&mut budget, from, later)).sum::<usize>(), 20);
        for from in 0..=255 {
            accepted(&mut budget, from, later);
        }
        assert_eq!(budget.callers.len(), MAX_CALLERS);
    }
}
