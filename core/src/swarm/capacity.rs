//! How much a way carries, this peer's uplink or the one to or from a neighbour, measured while there was more to carry than it could.

use std::time::Duration;

use crate::{time::Timestamp, units::BytesPerSec};

/// Bytes that make an estimate.
const LEAST_SAMPLE: f64 = 32.0 * 1024.0;
/// Busy time after which older samples count half, …
const MEMORY: Duration = Duration::from_secs(4);
/// …or bytes: what is quick is not long taken for as slow as it was at its start.
const MEMORY_BYTES: f64 = 512.0 * 1024.0;

/// The estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capacity {
    bytes: f64,
    seconds: f64,
    /// Since when some channel is full, as far as that is not counted in `seconds` yet.
    busy: Option<Timestamp>,
}

impl Capacity {
    /// There is something to do from now on: what was before does not count.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.busy = Some(now);
    }

    /// So many bytes left the channels that were full; whether any of them still is.
    pub(crate) fn drained(&mut self, bytes: u64, full: bool, now: Timestamp) {
        if let Some(since) = self.busy {
            self.bytes += bytes as f64;
            self.seconds += now.saturating_since(since).as_secs_f64();
            if self.seconds > MEMORY.as_secs_f64() || self.bytes > MEMORY_BYTES {
                self.bytes /= 2.0;
                self.seconds /= 2.0;
            }
        }
        self.busy = full.then_some(now);
    }

    /// What it carries; `None` until enough went through it.
    pub(crate) fn known(&self) -> Option<BytesPerSec> {
        // Less than a millisecond says that it is not the way that holds anything up.
        (self.bytes >= LEAST_SAMPLE).then(|| BytesPerSec::new((self.bytes / self.seconds.max(0.001)) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn only_time_in_which_a_channel_was_full_counts() {
        let mut capacity = Capacity::default();
        for second in 0..10 {
            capacity.drained(0, true, at(1000 * second));
            capacity.drained(50_000, false, at(1000 * second + 500));
        }
        assert_eq!(capacity.known(), Some(BytesPerSec::new(100_000)));
    }

    #[test]
    fn a_little_says_nothing() {
        let mut capacity = Capacity::default();
        capacity.drained(0, true, at(0));
        capacity.drained(16_384, false, at(1));
        assert_eq!(capacity.known(), None);
    }

    #[test]
    fn an_uplink_that_grew_slow_is_known_to_be_slow_soon() {
        let mut capacity = Capacity::default();
        for (start, rate) in [(0, 1_000_000), (10, 100_000)] {
            for tick in start * 10..(start + 10) * 10 {
                capacity.drained(0, true, at(100 * tick));
                capacity.drained(rate / 10, true, at(100 * (tick + 1)));
            }
        }
        let capacity = capacity.known().unwrap().value();
        assert!((100_000..200_000).contains(&capacity), "{capacity}");
    }
    #[test]
    fn what_is_quick_is_not_long_taken_for_as_slow_as_at_its_start() {
        let mut capacity = Capacity::default();
        capacity.drained(0, true, at(0));
        capacity.drained(100_000, false, at(2000));
        for burst in 3..20 {
            capacity.begin(at(1000 * burst));
            capacity.drained(100_000, false, at(1000 * burst + 10));
        }
        let capacity = capacity.known().unwrap().value();
        assert!((3_000_000..=10_000_000).contains(&capacity), "{capacity}");
    }
}
