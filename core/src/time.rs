//! The two clocks: a monotonic one that orders events, and wall time, used only for expiries.
//!
//! Neither is ever read here. Arithmetic saturates: a far deadline is never, not a panic.

use std::{ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}

/// Monotonic time: microseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Microseconds since the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Milliseconds since the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This much before, but not before the start.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// Wall time: seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct WallTime(u64);

impl WallTime {
    /// Seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; none if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;

    /// Fractions of a second are dropped.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let start = Timestamp::from_millis(5);
        assert_eq!(start + Duration::from_micros(7), Timestamp::from_micros(5_007));
        assert_eq!(start + Duration::MAX, Timestamp::from_micros(u64::MAX));
        assert_eq!(start.saturating_sub(Duration::from_secs(1)), Timestamp::default());
        assert_eq!(start.saturating_since(start + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((start + Duration::from_secs(1)).saturating_since(start), Duration::from_secs(1));
        assert_eq!(WallTime::from_secs(3) + Duration::MAX, WallTime::from_secs(u64::MAX));
    }
}
