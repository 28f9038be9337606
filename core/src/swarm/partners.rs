//! Partners: which of a full mesh's links is worth least.
//!
//! A link is worth what went over it lately, more what came than what left, and more if its peer has what is played here. The
//! farther the peer, the less that counts. What may be given up at all is [`crate::node`]'s matter.

use std::time::Duration;

/// What came counts so many times what left: a peer that takes gives somebody else something later, one that gives gives now.
const GIVEN: u64 = 4;
/// What a peer's being on the same track, near the same place, is worth. Bytes that left.
const SHARES: u64 = 1 << 20;
/// Round-trip time at which a link is worth half, in seconds.
const FAR: f64 = 0.2;

/// Bytes that have gone over a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) came: u64,
    pub(crate) left: u64,
}

/// What goes over a link, remembered over one review about half.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    before: u64,
    seen: u64,
}

impl Traffic {
    fn count(moved: Moved) -> u64 {
        GIVEN * moved.came + moved.left
    }

    fn lately(self, moved: Moved) -> u64 {
        self.before + (Self::count(moved) - self.seen)
    }

    /// Another review is over.
    pub(crate) fn age(&mut self, moved: Moved) {
        *self = Self { before: self.lately(moved) / 2, seen: Self::count(moved) };
    }

    /// What a link with this traffic is worth, whose peer has what is played here or not.
    pub(crate) fn worth(self, moved: Moved, shares: bool, rtt: Option<Duration>) -> u64 {
        let worth = self.lately(moved) + if shares { SHARES } else { 0 };
        (worth as f64 / (1.0 + rtt.unwrap_or_default().as_secs_f64() / FAR)) as u64
    }
}

/// Whether a link worth so much is worth looking for a better one, the average one being worth that: one as good as most stays.
pub(crate) fn is_poor(worth: u64, average: u64) -> bool {
    worth < average / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(given: u64, taken: u64, shares: bool, rtt: u64) -> u64 {
        let moved = Moved { came: given, left: taken };
        Traffic::default().worth(moved, shares, Some(Duration::from_millis(rtt)))
    }

    #[test]
    fn who_gives_is_worth_more_than_who_takes_and_who_takes_more_than_nobody() {
        let mib = 1 << 20;
        assert!(worth(mib, 0, true, 50) > worth(0, mib, true, 50));
        assert!(worth(0, mib, true, 50) > worth(0, 0, true, 50));
    }

    #[test]
    fn another_level_is_worth_less_and_so_is_a_long_way() {
        assert!(worth(1000, 1000, true, 50) > worth(1000, 1000, false, 50));
        assert!(worth(1000, 1000, true, 50) > worth(1000, 1000, true, 250));
    }

    #[test]
    fn what_was_given_long_ago_counts_no_more() {
        let moved = Moved { came: 1 << 20, left: 0 };
        let mut traffic = Traffic::default();
        let first = traffic.worth(moved, false, None);
        traffic.age(moved);
        assert_eq!(traffic.worth(moved, false, None), first / 2);
        (0..30).for_each(|_| traffic.age(moved));
        assert_eq!(traffic.worth(moved, false, None), 0);
    }

    #[test]
    fn a_link_nearly_as_good_as_the_others_is_not_poor() {
        assert!(is_poor(49, 100) && !is_poor(50, 100) && !is_poor(0, 0));
    }
}
