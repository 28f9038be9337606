//! Origin duty: which of many peers fetches what nobody holds, without a word between them.
//!
//! Each peer draws a number for each segment. The lowest draws of the whole swarm go first, the others later, twice as many in
//! each tier, for as long as nobody says that the segment is held or coming. What counts is the swarm's size and not the
//! neighbourhood's: the lowest draw of every neighbourhood would be as many as there are neighbourhoods.

use std::time::Duration;

/// Length of a tier: time for neighbours to hear of a request and to pass that on.
pub(crate) const TIER: Duration = Duration::from_millis(300);

/// How long a peer leaves a segment to others: `draw` is its draw from 0 to 1, `peers` the swarm's size.
///
/// About two peers come due in the first tier, two more in the second, then four, eight, …, evenly spread over each.
pub(crate) fn wait(draw: f64, peers: u32) -> Duration {
    let mut place = draw * f64::from(peers.max(2)) / 2.0;
    if place < 1.0 {
        return TIER.mul_f64(place);
    }
    // Powers of two by division, exact on every target.
    let mut tier = 1_u32;
    while place >= 2.0 {
        place /= 2.0;
        tier += 1;
    }
    TIER * tier + TIER.mul_f64(place - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many peers, evenly drawn, come due in each tier.
    fn due_by_tier(peers: u32) -> Vec<usize> {
        let waits: Vec<_> =
            (0..peers).map(|peer| wait((f64::from(peer) + 0.5) / f64::from(peers), peers)).collect();
        let tier = |wait: &Duration| (wait.as_micros() / TIER.as_micros()) as usize;
        let last = waits.iter().map(tier).max().unwrap();
        (0..=last).map(|wanted| waits.iter().filter(|wait| tier(wait) == wanted).count()).collect()
    }

    #[test]
    fn the_peers_that_come_due_double_with_each_tier_whatever_the_size() {
        assert_eq!(due_by_tier(1), [1]);
        assert_eq!(due_by_tier(2), [2]);
        assert_eq!(due_by_tier(16), [2, 2, 4, 8]);
        assert_eq!(due_by_tier(1024), [2, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }

    #[test]
    fn a_lower_draw_never_waits_longer() {
        for peers in [1, 3, 50, 100_000] {
            let waits: Vec<_> = (0..1000).map(|draw| wait(f64::from(draw) / 1000.0, peers)).collect();
            assert!(waits.is_sorted(), "{peers} peers");
        }
    }
}
