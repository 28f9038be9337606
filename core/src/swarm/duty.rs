//! Origin duty: which of many peers fetches what nobody holds, without a word between them.
//!
//! Each peer draws a number for each segment. The lowest draws of the whole swarm go first, the others later, twice as many in
//! each tier, for as long as nobody says that the segment is held or coming. What counts is the swarm's size and not the
//! neighbourhood's: the lowest draw of every neighbourhood would be as many as there are neighbourhoods.

use std::time::Duration;

use crate::units::{GroupIndex, GroupRange};

/// Most parts of a segment: each is drawn for on its own, so that a segment comes into the swarm at several places at once.
pub(crate) const PARTS: u32 = 8;
/// Fewest groups of a part.
const LEAST_PART: u32 = 1;
/// A swarm of so many has peers that are several hops from each other.
const MANY: u32 = 64;
/// Length of a tier: time for neighbours to hear of a request and to pass that on.
pub(crate) const TIER: Duration = Duration::from_millis(300);
/// What is needed later than in this leaves time for those who come first in the line but ask for it last: …
const SOON: Duration = Duration::from_secs(5);
/// …for each so much more all waits are longer by their own length, …
const LATER: Duration = Duration::from_secs(3);
/// …up to so many times.
const LONGEST: f64 = 4.0;

/// Who hears that somebody asks the origin for a part leaves it to them for so much longer: time for it to come through the swarm.
pub(crate) const WORD: Duration = Duration::from_millis(1500);

/// How many parts a segment has in a swarm of so many peers: several peers share one, as each part costs a request to the origin
/// and word of it to every neighbour.
pub(crate) fn part_count(peers: u32) -> u32 {
    match peers {
        0..4 => 1,
        4..16 => 2,
        16.. => PARTS,
    }
}

/// So many parts of a segment of so many groups, or fewer.
pub(crate) fn parts(groups: u32, count: u32) -> impl Iterator<Item = GroupRange> {
    let len = groups.div_ceil(count.max(1)).max(LEAST_PART);
    let starts = (0..groups.div_ceil(len)).map(move |part| part * len);
    starts.filter_map(move |start| {
        GroupRange::new(GroupIndex::new(start), GroupIndex::new((start + len).min(groups)))
    })
}

/// A peer's place in the line for a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Neighbours that drew less.
    pub(crate) before: u32,
    /// Peers whose draws are not known.
    pub(crate) unknown: u32,
    /// The peer's own draw, 0 to 1: it says how many of those drew less.
    pub(crate) draw: f64,
    /// How fit the peer is, more than 0: below 1 others go first, above it the peer goes before others.
    pub(crate) fitness: f64,
}

impl Place {
    /// How many come due before the peer, in units of those who come due at once.
    fn position(self) -> f64 {
        let first = if self.unknown == 0 { 1.0 } else { 2.0 };
        (f64::from(self.before) + self.draw * f64::from(self.unknown)) / (first * self.fitness)
    }

    /// Whether the peer is one of those who come due first.
    pub(crate) fn is_first(self) -> bool {
        self.position() < 1.0
    }
}

/// How long a peer leaves a part to others.
///
/// If all are neighbours, one peer comes due at once, the next half a tier later, as nothing has to be passed on, then two, four, …
/// Of more, about two come due in the first tier, two more in the second, then four, eight, …, evenly spread over each. Of many
/// peers tiers have twice the length: word of what comes reaches those far away before the next ones come due.
///
/// What is needed only `ahead` of now may wait longer: players keep different buffers, and who drew lowest may ask for it last.
pub(crate) fn wait(place: Place, ahead: Duration) -> Duration {
    let later = ahead.saturating_sub(SOON).as_secs_f64() / LATER.as_secs_f64();
    urgent_wait(place).mul_f64((1.0 + later).min(LONGEST))
}

/// The wait for what is needed soon.
fn urgent_wait(place: Place) -> Duration {
    let tier = match place.unknown {
        0 => TIER / 2,
        1..MANY => TIER,
        _ => 2 * TIER,
    };
    let mut place = place.position();
    if place < 1.0 {
        // The lowest draws of all go at once rather than evenly spread.
        return tier.mul_f64(place * place);
    }
    // Powers of two by division, exact on every target.
    let mut tiers = 1_u32;
    while place >= 2.0 {
        place /= 2.0;
        tiers += 1;
    }
    tier * tiers + tier.mul_f64(place - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_split_in_few_parts_that_cover_it() {
        for groups in 1..200 {
            let parts: Vec<_> = parts(groups, part_count(100)).collect();
            assert!(parts.len() <= PARTS as usize);
            assert!(parts.windows(2).all(|pair| pair[0].end() == pair[1].start()));
            let ends = (parts[0].start().value(), parts[parts.len() - 1].end().value());
            assert_eq!(ends, (0, groups));
        }
    }

    /// The place of a peer that knows the draw of none of so many peers.
    fn alone(draw: f64, unknown: u32) -> Place {
        Place { before: 0, unknown, draw, fitness: 1.0 }
    }

    /// How many of so many peers, evenly drawn, come due in each tier.
    fn due_by_tier(peers: u32, length: Duration) -> Vec<usize> {
        let draw = |peer: u32| (f64::from(peer) + 0.5) / f64::from(peers);
        let waits: Vec<_> = (0..peers).map(|peer| wait(alone(draw(peer), peers), SOON)).collect();
        let tier = |wait: &Duration| (wait.as_micros() / length.as_micros()) as usize;
        let last = waits.iter().map(tier).max().unwrap();
        (0..=last).map(|wanted| waits.iter().filter(|wait| tier(wait) == wanted).count()).collect()
    }

    #[test]
    fn the_peers_that_come_due_double_with_each_tier_whatever_the_size() {
        assert_eq!(due_by_tier(1, TIER), [1]);
        assert_eq!(due_by_tier(2, TIER), [2]);
        assert_eq!(due_by_tier(16, TIER), [2, 2, 4, 8]);
        assert_eq!(due_by_tier(48, TIER), [2, 2, 4, 8, 16, 16]);
        assert_eq!(due_by_tier(256, 2 * TIER), [2, 2, 4, 8, 16, 32, 64, 128]);
    }

    #[test]
    fn among_neighbours_one_comes_due_at_once_and_the_others_half_tiers_later() {
        let wait = |before| wait(Place { before, unknown: 0, draw: 0.9, fitness: 1.0 }, SOON);
        let tiers: Vec<_> = (0..8).map(|before| 2 * wait(before).as_micros() / TIER.as_micros()).collect();
        assert_eq!(tiers, [0, 1, 2, 2, 3, 3, 3, 3]);
        assert_eq!(wait(0), Duration::ZERO);
    }

    #[test]
    fn who_is_less_fit_lets_others_go_first() {
        let place = Place { before: 1, unknown: 4, draw: 0.5, fitness: 1.0 };
        assert!(wait(place, SOON) < wait(Place { fitness: 0.1, ..place }, SOON));
    }

    #[test]
    fn what_is_needed_later_is_left_to_others_for_longer() {
        let times = |seconds| {
            let place = Place { before: 3, unknown: 0, draw: 0.5, fitness: 1.0 };
            wait(place, Duration::from_secs(seconds)).as_micros() / wait(place, Duration::ZERO).as_micros()
        };
        assert_eq!([0, 5, 8, 11, 14, 60].map(times), [1, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn a_lower_draw_never_waits_longer() {
        for peers in [1, 3, 50, 100_000] {
            let waits: Vec<_> =
                (0..1000).map(|draw| wait(alone(f64::from(draw) / 1000.0, peers), SOON)).collect();
            assert!(waits.is_sorted(), "{peers} peers");
        }
    }
}
