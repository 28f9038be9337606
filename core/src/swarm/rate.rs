//! A decaying estimate of a transfer rate.

use std::time::Duration;

use crate::{time::Timestamp, units::BytesPerSec};

/// Time constant of the estimate.
const MEMORY: Duration = Duration::from_secs(2);

/// Estimates a rate from bytes as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    memory: f64,
    per_second: f64,
    updated: Timestamp,
}

impl Rate {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::over(MEMORY, now)
    }

    /// An estimate with another time constant.
    pub(crate) fn over(memory: Duration, now: Timestamp) -> Self {
        Self { memory: memory.as_secs_f64(), per_second: 0.0, updated: now }
    }

    pub(crate) fn add(&mut self, bytes: u64, now: Timestamp) {
        self.per_second = self.decayed(now) + bytes as f64 / self.memory;
        self.updated = now;
    }

    pub(crate) fn at(&self, now: Timestamp) -> BytesPerSec {
        BytesPerSec::new(self.decayed(now) as u64)
    }

    fn decayed(&self, now: Timestamp) -> f64 {
        let passed = now.saturating_since(self.updated).as_secs_f64();
        // A rational decay: `exp` is not bit-identical on all targets, and a trace has to be.
        let half = 1.0 + passed / (4.0 * self.memory);
        self.per_second / (half * half * half * half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_settles_near_its_rate() {
        let mut rate = Rate::new(Timestamp::from_millis(0));
        for tick in 0..200 {
            rate.add(10_000, Timestamp::from_millis(tick * 100));
        }
        let measured = rate.at(Timestamp::from_millis(20_000)).value();
        assert!((70_000..170_000).contains(&measured), "measured {measured}");
    }

    #[test]
    fn silence_fades_the_estimate() {
        let mut rate = Rate::new(Timestamp::from_millis(0));
        rate.add(1_000_000, Timestamp::from_millis(0));
        assert!(rate.at(Timestamp::from_millis(20_000)).value() < 15_000);
    }
}
