//! The network: access links with a rate each way, a delay for each pair of hosts, loss as further delay.
//!
//! Channels are reliable, so a lost packet only costs time. How links share a sender's uplink is in `uplink`; at the receiver's
//! downlink everything waits in line.

use std::time::Duration;

use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use tabswarm_core::time::Timestamp;

/// Place of the origin in the network's delays.
pub(crate) const ORIGIN: u32 = u32::MAX;
/// Place of the service in the network's delays.
pub(crate) const SERVICE: u32 = u32::MAX - 1;
/// Bytes of one packet on the wire.
const PACKET: u64 = 1200;

/// How hosts are connected.
#[derive(Clone, Copy, Debug)]
pub struct NetworkSpec {
    /// Downlink of a host in bytes per second.
    pub down: u64,
    /// Longest extra delay of a message, drawn anew for each.
    pub jitter: Duration,
    /// Network groups that the hosts are spread over, the hosts of each as near to each other as any; 0: each host its own.
    pub groups: u32,
    /// Shortest and longest one-way delay of a pair of hosts, or of a host and the origin or service.
    pub delay: (Duration, Duration),
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Time beside round trips that a connection takes to come up (certificates, candidates).
    pub setup: Duration,
    /// Share of pairs that can't connect at all, 0 to 1.
    pub unreachable: f64,
    /// Uplink of a host in bytes per second.
    pub up: u64,
}

impl Default for NetworkSpec {
    /// Homes: 50 Mbit/s down, 10 up, 10 to 60 ms, 0.1 % loss, everybody reachable.
    fn default() -> Self {
        Self {
            down: 50_000_000 / 8,
            jitter: Duration::from_millis(5),
            groups: 0,
            delay: (Duration::from_millis(10), Duration::from_millis(60)),
            loss: 0.001,
            setup: Duration::from_millis(80),
            unreachable: 0.0,
            up: 10_000_000 / 8,
        }
    }
}

impl NetworkSpec {
    /// One-way delay between two places; the same both ways and in every run of a seed.
    pub(crate) fn delay(&self, seed: u64, a: u32, b: u32) -> Duration {
        let (least, most) = self.delay;
        if self.group(a) == self.group(b) {
            return least;
        }
        least + (most - least).mul_f64(self.pair_fraction(seed, a, b))
    }

    /// The network group of a host; those of origin and service come after all of them.
    pub(crate) fn group(&self, host: u32) -> u32 {
        if self.groups == 0 || host >= SERVICE { host } else { host % self.groups }
    }

    pub(crate) fn can_connect(&self, seed: u64, a: u32, b: u32) -> bool {
        self.unreachable <= self.pair_fraction(!seed, a, b)
    }

    /// What chance adds to a message's way.
    pub(crate) fn chance(&self, bytes: u64, delay: Duration, rng: &mut ChaCha8Rng) -> Duration {
        let packets = bytes.div_ceil(PACKET).min(1000) as i32;
        let arrives = (1.0 - self.loss).powi(packets);
        // A lost packet is sent again about a round trip later.
        let again =
            if fraction(rng) > arrives { delay * 2 + Duration::from_millis(20) } else { Duration::ZERO };
        again + self.jitter.mul_f64(fraction(rng))
    }

    fn pair_fraction(&self, seed: u64, a: u32, b: u32) -> f64 {
        let mut mixed = seed ^ (u64::from(a.min(b)) << 32 | u64::from(a.max(b)));
        for _ in 0..2 {
            mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        (mixed >> 40) as f64 / (1_u64 << 24) as f64
    }
}

/// A number from 0 up to 1.
pub(crate) fn fraction(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// A link with a rate, first in, first out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    free_at: Timestamp,
    rate: u64,
}

impl Pipe {
    pub(crate) fn new(rate: u64) -> Self {
        Self { free_at: Timestamp::default(), rate: rate.max(1) }
    }

    fn time(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes * 1_000_000 / self.rate)
    }

    /// When the last of these bytes has passed, behind everything that waits.
    pub(crate) fn push(&mut self, bytes: u64, now: Timestamp) -> Timestamp {
        self.free_at = self.free_at.max(now) + self.time(bytes);
        self.free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn bytes_wait_for_those_before_them() {
        let at = Timestamp::from_millis;
        let mut pipe = Pipe::new(1000);
        assert_eq!(pipe.push(100, at(0)), at(100));
        assert_eq!(pipe.push(100, at(50)), at(200));
        assert_eq!(pipe.push(100, at(1000)), at(1100));
    }

    #[test]
    fn loss_costs_time_as_often_as_it_is_set() {
        let spec = NetworkSpec { loss: 0.1, jitter: Duration::ZERO, ..NetworkSpec::default() };
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        let delay = Duration::from_millis(10);
        let late = (0..10_000).filter(|_| spec.chance(PACKET, delay, &mut rng) > Duration::ZERO).count();
        assert!((800..1200).contains(&late), "{late} of 10,000");
    }

    #[test]
    fn delays_are_in_their_range_and_the_same_both_ways() {
        let spec = NetworkSpec::default();
        let delays: Vec<_> = (1..200).map(|other| spec.delay(7, 0, other)).collect();
        assert!(delays.iter().all(|delay| (spec.delay.0..=spec.delay.1).contains(delay)));
        assert!(delays.iter().min() < delays.iter().max());
        assert_eq!(spec.delay(7, 3, 9), spec.delay(7, 9, 3));
        let unreachable = NetworkSpec { unreachable: 0.25, ..spec };
        let cut = (1..1000).filter(|other| !unreachable.can_connect(7, 0, *other)).count();
        assert!((200..300).contains(&cut), "{cut} of 1000 pairs");
    }
}
