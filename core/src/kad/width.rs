//! How many contacts a table keeps, by the size of the network.

/// Contacts of each bucket, and siblings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Width {
    /// Most contacts of a bucket.
    pub bucket: usize,
    /// Nearest peers that are always kept.
    pub siblings: usize,
}

/// A width is left only when the network is so much larger or smaller than where it begins.
const HYSTERESIS: f64 = 0.25;

/// What a tab keeps in networks of up to so many peers.
const TAB: [(f64, Width); 3] = [
    (1000.0, Width { bucket: 4, siblings: 8 }),
    (10_000.0, Width { bucket: 3, siblings: 6 }),
    (f64::INFINITY, Width { bucket: 2, siblings: 4 }),
];

impl Width {
    /// A tab's to begin with. More links a bucket while there are few buckets: all of them together stay about as many.
    pub const TAB: Self = TAB[0].1;
    /// A super-peer's, in any network: it has room for hundreds of links.
    pub const SUPER_PEER: Self = Self { bucket: 20, siblings: 20 };

    /// That of a network of so many peers, given the one before. A super-peer's stays.
    #[must_use]
    pub fn of(self, peers: f64) -> Self {
        let Some(place) = TAB.iter().position(|(_, width)| *width == self) else { return self };
        let least = |place: usize| place.checked_sub(1).map_or(0.0, |before| TAB[before].0);
        let fits = |place: usize, slack: f64| {
            (least(place) * (1.0 - slack)..=TAB[place].0 * (1.0 + slack)).contains(&peers)
        };
        if fits(place, HYSTERESIS) {
            return self;
        }
        (0..TAB.len()).find(|place| fits(*place, 0.0)).map_or(self, |place| TAB[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_network_has_narrower_buckets_and_the_way_back_is_another() {
        let (mut width, mut seen) = (Width::TAB, Vec::new());
        for peers in [2.0, 1000.0, 1250.0, 1251.0, 800.0, 749.0, 12_500.0, 30_000.0, 7501.0, 7499.0, 1.0] {
            width = width.of(peers);
            seen.push((width.bucket, width.siblings));
        }
        let [small, middle, large] = [(4, 8), (3, 6), (2, 4)];
        assert_eq!(seen, [small, small, small, middle, middle, small, large, large, large, middle, small]);
    }

    #[test]
    fn a_super_peers_width_does_not_change() {
        assert_eq!(Width::SUPER_PEER.of(100_000.0), Width::SUPER_PEER);
    }
}
