//! Who joined a swarm at about the same time: they hear of each other, a moment later and all at once.

use std::{collections::VecDeque, time::Duration};

use tabswarm_core::{id::PeerId, time::Timestamp, wire::MAX_NEWCOMERS};

/// Members that joined within this time joined at the same time.
const TOGETHER: Duration = Duration::from_millis(500);
/// How long joins are gathered before anybody hears of them.
const GATHER: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Newcomers {
    joined: VecDeque<(Timestamp, PeerId)>,
    due: Option<Timestamp>,
}

impl Newcomers {
    /// A member joined. When the others are to hear of it, unless that is planned already.
    pub(super) fn insert(&mut self, peer: PeerId, now: Timestamp) -> Option<Timestamp> {
        self.forget(now);
        self.joined.push_back((now, peer));
        // That they are too many is known as well from one too many.
        if self.joined.len() > MAX_NEWCOMERS + 1 {
            self.joined.pop_front();
        }
        if self.due.is_some() {
            return None;
        }
        self.due = Some(now + GATHER);
        self.due
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.joined.retain(|(_, other)| *other != peer);
    }

    /// When they are to hear of each other.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Those who are to hear of each other now; none where it is one alone, or more than hear of each other.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<PeerId> {
        self.due = None;
        self.forget(now);
        match self.joined.len() {
            2..=MAX_NEWCOMERS => self.joined.iter().map(|(_, peer)| *peer).collect(),
            _ => Vec::new(),
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while self.joined.pop_front_if(|(joined, _)| *joined + TOGETHER < now).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    #[test]
    fn who_joins_within_half_a_second_hears_of_each_other() {
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.insert(peer(1), at(0)), Some(at(50)));
        assert_eq!(newcomers.insert(peer(2), at(20)), None);
        assert_eq!(newcomers.take(at(50)), [peer(1), peer(2)]);
        assert_eq!(newcomers.insert(peer(3), at(510)), Some(at(560)));
        assert_eq!(newcomers.take(at(560)), [], "the others were there long before");
    }

    #[test]
    fn a_larger_crowd_is_not_told_of_itself() {
        let mut newcomers = Newcomers::default();
        for number in 0..100 {
            newcomers.insert(peer(number), at(u64::from(number)));
        }
        assert_eq!(newcomers.take(at(100)), []);
        assert!(newcomers.joined.len() <= MAX_NEWCOMERS + 1);
    }

    #[test]
    fn who_left_again_is_not_named() {
        let mut newcomers = Newcomers::default();
        (1..4).for_each(|number| {
            newcomers.insert(peer(number), at(0));
        });
        newcomers.remove(peer(2));
        assert_eq!(newcomers.take(at(50)), [peer(1), peer(3)]);
    }
}
