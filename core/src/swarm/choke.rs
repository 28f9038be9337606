//! Choking: whom this peer serves when more is asked of its uplink than it carries.
//!
//! While it carries everything, everybody is served. Once somebody had to be sent away, the uplink is given out: those who wait
//! are called one after the other, each for a share that is sent within half a second, the one that gave most for what it got
//! first (tit-for-tat), every fourth time the one that waits longest (optimistic unchoke). BEP 3 keeps four peers unchoked for
//! ten seconds at a time; segments of a few seconds are over by then.

use std::time::Duration;

use crate::{id::LinkId, time::Timestamp, units::BytesPerSec};

/// An uplink is given out in shares of this time, …
const SHARE: Duration = Duration::from_millis(500);
/// …of so many groups at least, …
const LEAST_GROUPS: usize = 2;
/// …and of so many as long as it is not known.
const UNKNOWN_GROUPS: usize = 4;
/// Who was called has so long to ask; then others are served.
const ANSWER: Duration = Duration::from_millis(200);
/// Who was sent away asks again after so long, called or not.
pub(crate) const CHOKED: Duration = Duration::from_secs(2);
/// Groups that one who was called is expected to ask for.
const EXPECTED: usize = 1;
/// Every so many calls go to the one who waits longest.
const OPTIMISTIC: u32 = 4;
/// How long what was given and got is remembered.
pub(crate) const MEMORY: Duration = Duration::from_secs(20);
/// What everybody is lent, in bytes per second: a newcomer has nothing to give yet.
const LOAN: f64 = 8.0 * 1024.0;

/// Groups that may wait on an uplink that carries so much.
pub(crate) fn share(capacity: Option<BytesPerSec>, group: u64) -> usize {
    capacity.map_or(UNKNOWN_GROUPS, |capacity| {
        let bytes = capacity.value() * SHARE.as_millis() as u64 / 1000;
        LEAST_GROUPS.max((bytes / group) as usize)
    })
}

/// A choked peer, as the choice among them sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) link: LinkId,
    pub(crate) since: Timestamp,
    /// Bytes per second it gave lately.
    pub(crate) given: BytesPerSec,
    /// Bytes per second it got lately.
    pub(crate) got: BytesPerSec,
}

/// Where a peer stands with this one's uplink.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Turn {
    /// It was called then.
    Called(Timestamp),
    /// It was served, or did not ask.
    #[default]
    None,
    /// It was sent away then.
    Waits(Timestamp),
}

impl Turn {
    /// Whether it was called and may ask while others wait.
    pub(crate) fn is_called(self, now: Timestamp) -> bool {
        matches!(self, Self::Called(at) if now < at + ANSWER)
    }

    /// Since when it waits. Who waited for long has asked again meanwhile, or does not want anything any more.
    pub(crate) fn waits(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Waits(since) if now < since + CHOKED => Some(since),
            _ => None,
        }
    }

    /// When it changes by itself.
    pub(crate) fn ends(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Called(at) => Some(at + ANSWER),
            Self::Waits(_) | Self::None => None,
        }
        .filter(|at| now < *at)
    }
}

/// Whether somebody else is to be called, of an uplink's share so many groups being queued and so many who were called not
/// having asked yet.
pub(crate) fn has_time(share: usize, queued: usize, called: usize) -> bool {
    queued + EXPECTED * called <= share / 2
}

/// Chooses among those who wait.
#[derive(Debug, Default)]
pub(crate) struct Choker {
    calls: u32,
}

impl Choker {
    /// Whom to call next.
    pub(crate) fn call(&mut self, waiting: impl Iterator<Item = Candidate>) -> Option<LinkId> {
        let optimistic = (self.calls + 1).is_multiple_of(OPTIMISTIC);
        let ahead = |a: &Candidate, b: &Candidate| {
            let (first, second) = (a.worth(), b.worth());
            !optimistic && first > second || (optimistic || first == second) && a.since < b.since
        };
        let best = waiting.reduce(|best, other| if ahead(&other, &best) { other } else { best })?;
        self.calls = self.calls.wrapping_add(1);
        Some(best.link)
    }
}

impl Candidate {
    /// What it gave for what it got.
    fn worth(&self) -> f64 {
        (self.given.value() as f64 + LOAN) / (self.got.value() as f64 + LOAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000);

    fn candidate(link: u64, since: u64, given: u64, got: u64) -> Candidate {
        let (given, got) = (BytesPerSec::new(given), BytesPerSec::new(got));
        Candidate { link: LinkId::new(link), since: Timestamp::from_millis(since), given, got }
    }

    #[test]
    fn who_gave_more_for_what_it_got_is_called_and_every_fourth_time_who_waits_longest() {
        let waiting = [
            candidate(1, 100, 0, 50_000),
            candidate(2, 300, 50_000, 100_000),
            candidate(3, 200, 20_000, 30_000),
        ];
        let mut choker = Choker::default();
        let calls: Vec<_> = (0..8).filter_map(|_| choker.call(waiting.into_iter())).collect();
        assert_eq!(calls, [3, 3, 3, 1, 3, 3, 3, 1].map(LinkId::new));
    }

    #[test]
    fn a_newcomer_is_lent_something_and_falls_behind_when_it_gives_nothing() {
        let (new, old) = (candidate(1, 0, 0, 0), candidate(2, 0, 30_000, 40_000));
        let call = |waiting: [Candidate; 2]| Choker::default().call(waiting.into_iter());
        assert_eq!(call([old, new]), Some(LinkId::new(1)));
        assert_eq!(call([old, candidate(1, 0, 0, 20_000)]), Some(LinkId::new(2)));
    }

    #[test]
    fn of_those_who_are_worth_the_same_the_one_who_waits_longest_is_called() {
        let waiting = [candidate(1, 200, 0, 0), candidate(2, 100, 0, 0)];
        assert_eq!(Choker::default().call(waiting.into_iter()), Some(LinkId::new(2)));
    }

    #[test]
    fn a_share_is_half_a_second_of_the_uplink_and_two_groups_at_least() {
        let groups = |capacity: u64| share(Some(BytesPerSec::new(capacity)), 16_384);
        assert_eq!((groups(1_000_000), groups(10_000), share(None, 16_384)), (30, 2, 4));
    }

    #[test]
    fn a_call_and_a_wait_end_by_themselves() {
        let later = |millis| NOW + Duration::from_millis(millis);
        let (called, waits) = (Turn::Called(NOW), Turn::Waits(NOW));
        assert!(called.is_called(later(199)) && !called.is_called(later(200)));
        assert_eq!((called.ends(NOW), called.ends(later(200))), (Some(later(200)), None));
        assert_eq!((waits.waits(later(1999)), waits.waits(later(2000))), (Some(NOW), None));
    }
}
