//! Choking: whom this peer serves when more is asked of its uplink than it carries.
//!
//! While it carries everything, everybody is served. Once somebody had to be sent away, the uplink is given out: those who wait
//! are called one after the other, each for a share that is sent within half a second: who has just come to the network, so that
//! its second segment is there when the first one has played, then the one that gave most lately (reciprocity, and what is new
//! reaches first those who pass on most), every sixteenth time the one that waits longest (optimistic unchoke). BEP 3 keeps four
//! peers unchoked for ten seconds at a time; segments of a few seconds are over by then.

use std::time::Duration;

use crate::{id::LinkId, time::Timestamp, units::BytesPerSec};

/// An uplink is given out in shares of this time, …
const SHARE: Duration = Duration::from_millis(500);
/// …of so many groups at least, …
const LEAST_GROUPS: usize = 2;
/// …and of so many as long as it is not known.
const UNKNOWN_GROUPS: usize = 4;
/// Who was called is expected to ask within this time; then others are called too.
const PROMPT: Duration = Duration::from_millis(100);
/// Who was called has so long to ask; then others are served.
const ANSWER: Duration = Duration::from_millis(200);
/// Who was sent away asks again after so long, called or not.
pub(crate) const CHOKED: Duration = Duration::from_secs(2);
/// Groups that one who was called is expected to ask for.
const EXPECTED: usize = 1;
/// Every so many calls go to the one who waits longest.
const OPTIMISTIC: u32 = 16;
/// Who has come to the network so lately has had nothing to give. Its certificate says when that was, renewed or not, so that nobody
/// is new again by connecting again.
pub(crate) const NEW: Duration = Duration::from_secs(10);
/// How long what was given is remembered.
pub(crate) const MEMORY: Duration = Duration::from_secs(20);

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
    /// It has just come to the network and had no time to give anything.
    pub(crate) is_new: bool,
    /// It gave something lately, or had no time to yet.
    pub(crate) gives: bool,
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

    /// Whether it was called and will ask soon if it wants anything at all.
    pub(crate) fn is_expected(self, now: Timestamp) -> bool {
        matches!(self, Self::Called(at) if now < at + PROMPT)
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
            Self::Called(at) => [at + PROMPT, at + ANSWER].into_iter().find(|at| now < *at),
            Self::Waits(_) | Self::None => None,
        }
    }
}

/// Whether somebody else is to be called, of an uplink's share so many groups being queued and so many who were called being
/// expected to ask.
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
            let (first, second) = ((a.is_new, a.given), (b.is_new, b.given));
            !optimistic && first > second || (optimistic || first == second) && a.since < b.since
        };
        let best = waiting.reduce(|best, other| if ahead(&other, &best) { other } else { best })?;
        self.calls = self.calls.wrapping_add(1);
        Some(best.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000);

    fn candidate(link: u64, since: u64, given: u64) -> Candidate {
        let (link, since) = (LinkId::new(link), Timestamp::from_millis(since));
        Candidate { link, since, given: BytesPerSec::new(given), is_new: false, gives: given > 0 }
    }

    #[test]
    fn who_gave_most_is_called_and_now_and_then_who_waits_longest() {
        let waiting = [candidate(1, 100, 0), candidate(2, 300, 50_000), candidate(3, 200, 20_000)];
        let mut choker = Choker::default();
        let calls = (1..=2 * OPTIMISTIC).map(|_| choker.call(waiting.into_iter()));
        let calls: Vec<_> = calls.flatten().map(LinkId::value).collect();
        let mut expected = vec![2; OPTIMISTIC as usize];
        expected[OPTIMISTIC as usize - 1] = 1;
        assert_eq!(calls, expected.repeat(2));
    }

    #[test]
    fn who_has_just_come_is_called_before_those_who_gave() {
        let newcomer = Candidate { is_new: true, ..candidate(1, 300, 0) };
        let waiting = [candidate(2, 100, 50_000), newcomer, candidate(3, 200, 0)];
        assert_eq!(Choker::default().call(waiting.into_iter()), Some(LinkId::new(1)));
    }

    #[test]
    fn of_those_who_gave_the_same_the_one_who_waits_longest_is_called() {
        let waiting = [candidate(1, 200, 0), candidate(2, 100, 0)];
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
        assert!(called.is_expected(later(99)) && !called.is_expected(later(100)));
        let ends = [0, 100, 200].map(|millis| called.ends(later(millis)));
        assert_eq!(ends, [Some(later(100)), Some(later(200)), None]);
        assert_eq!((waits.waits(later(1999)), waits.waits(later(2000))), (Some(NOW), None));
    }
}
