//! Where peers are, and how long a message takes between them.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::sim::fraction;

/// Shortest round trip.
const LEAST: Duration = Duration::from_millis(10);
/// Round trip over the length of a side of the square that peers are in, so that a random pair's median is 70 ms.
const ACROSS: Duration = Duration::from_millis(117);
/// Longest extra delay of a message, as a part of its delay.
const JITTER: f64 = 0.2;

/// A place in a square of side 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(f64, f64);

impl Place {
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        Self(fraction(rng), fraction(rng))
    }

    /// The round trip to another place.
    pub(super) fn rtt(self, other: Self) -> Duration {
        LEAST + ACROSS.mul_f64((self.0 - other.0).hypot(self.1 - other.1))
    }

    /// How long one message takes.
    pub(super) fn delay(self, other: Self, rng: &mut ChaCha8Rng) -> Duration {
        (self.rtt(other) / 2).mul_f64(1.0 + JITTER * fraction(rng))
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn the_median_round_trip_of_random_pairs_is_70_ms() {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        let mut rtts: Vec<_> =
            (0..20_000).map(|_| Place::random(&mut rng).rtt(Place::random(&mut rng)).as_millis()).collect();
        rtts.sort_unstable();
        assert!((68..=72).contains(&rtts[10_000]), "{}", rtts[10_000]);
    }
}
