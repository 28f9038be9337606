//! How long lookups took.

use std::time::Duration;

/// Lookups that have ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// How long each took that found what it looked for; the shortest first when all have ended.
    pub found: Vec<Duration>,
    /// Those that did not find what is there.
    pub failed: usize,
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.found.len() + self.failed
    }

    /// Share of them that found what they looked for.
    pub fn success(&self) -> f64 {
        self.found.len() as f64 / self.count().max(1) as f64
    }

    /// The time within which this share of the successful ones had ended.
    pub fn quantile(&self, share: f64) -> Duration {
        let place = (self.found.len() as f64 * share) as usize;
        self.found.get(place.min(self.found.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
