//! Token buckets that cost one timestamp each (generic cell rate algorithm).

use std::time::Duration;

use tabswarm_core::time::Timestamp;

/// So many units at once, then one per interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Units a full bucket holds.
    pub burst: u32,
    /// Time in which one unit comes back.
    pub interval: Duration,
}

impl Rate {
    /// `burst` units at once, then `per_second`.
    pub const fn per_second(burst: u32, per_second: u32) -> Self {
        Self { burst, interval: Duration::from_nanos(1_000_000_000 / per_second as u64) }
    }
}

/// One bucket; starts full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Timestamp,
}

impl Bucket {
    /// Takes `units` out.
    ///
    /// # Errors
    /// How long until there are as many, and the bucket stays as it was.
    pub(crate) fn take(&mut self, rate: &Rate, units: u32, now: Timestamp) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.interval * units;
        let debt = full_at.saturating_since(now);
        let capacity = rate.interval * rate.burst;
        if debt > capacity {
            return Err(debt - capacity);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether nothing is taken.
    pub(crate) fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let rate = Rate { burst: 3, interval: Duration::from_millis(500) };
        let mut bucket = Bucket::default();
        let now = Timestamp::from_millis(10_000);
        assert_eq!(bucket.take(&rate, 2, now), Ok(()));
        assert_eq!(bucket.take(&rate, 1, now), Ok(()));
        assert_eq!(bucket.take(&rate, 1, now), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(&rate, 2, now), Err(Duration::from_millis(1000)));
        assert_eq!(bucket.take(&rate, 1, Timestamp::from_millis(10_500)), Ok(()));
        assert!(!bucket.is_full(Timestamp::from_millis(11_999)));
        assert!(bucket.is_full(Timestamp::from_millis(12_000)));
    }

    #[test]
    fn more_than_a_full_bucket_never_passes() {
        let rate = Rate::per_second(5, 10);
        let mut bucket = Bucket::default();
        assert!(bucket.take(&rate, 6, Timestamp::from_millis(1_000_000)).is_err());
        assert!(bucket.take(&rate, 5, Timestamp::from_millis(1_000_000)).is_ok());
    }
}
