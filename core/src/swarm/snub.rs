//! Whether a peer keeps its word: what of it comes late, and whether anything ever came.

use std::time::Duration;

use crate::time::Timestamp;

/// How long a peer that let a group come late is asked for what nobody else holds only, if it has not given anything yet. If nothing comes
/// in that time either it is no holder, whatever it says.
pub(super) const FIRST_SNUB: Duration = Duration::from_secs(3);
/// How long one that has; twice as long each time, …
pub(super) const SNUB: Duration = Duration::from_secs(10);
/// …up to this.
const LONGEST_SNUB: Duration = Duration::from_secs(300);

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Snub {
    /// Something was late, and nothing came since.
    silent: bool,
    /// Something came that was asked for.
    gave: bool,
    /// How long the next spell is in which it is asked last.
    spell: Duration,
    until: Timestamp,
    /// Until when one that never gave anything has time to do so, …
    chance: Option<Timestamp>,
    /// …and when it was asked for what it let come late first.
    asked: Timestamp,
}

impl Snub {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { silent: false, gave: false, spell: SNUB, until: now, chance: None, asked: now }
    }

    /// Something is late that was asked for then, and that the peer has, or `promised` before it had it.
    pub(super) fn note_late(&mut self, promised: bool, asked: Timestamp, now: Timestamp) {
        self.silent = true;
        if !self.is_snubbed(now) {
            self.until = now + if self.gave { self.spell } else { FIRST_SNUB };
            self.spell = (self.spell * 2).min(LONGEST_SNUB);
        }
        if !promised && self.chance.is_none() {
            self.chance = Some(now + FIRST_SNUB);
            self.asked = asked;
        }
    }

    /// Something came that was still wanted of it.
    pub(super) fn note_in_time(&mut self, now: Timestamp) {
        self.gave = true;
        self.until = self.until.min(now);
        self.spell = SNUB;
    }

    /// Something came late.
    pub(super) fn note_after_all(&mut self) {
        self.gave = true;
    }

    /// Its silence is over.
    pub(super) fn note_heard(&mut self) {
        self.silent = false;
    }

    /// Whether it let a group come late lately.
    pub(crate) fn is_snubbed(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it let something come late lately and has brought nothing since: nobody waits for it.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.silent && self.is_snubbed(now)
    }

    /// When it is known that one never gives that has not given anything so far.
    pub(crate) fn verdict_at(&self) -> Option<Timestamp> {
        self.chance.filter(|_| !self.gave)
    }

    /// Whether it never gives what it says it holds.
    pub(crate) fn never_gives(&self, now: Timestamp) -> bool {
        self.verdict_at().is_some_and(|at| at <= now)
    }

    /// Since when one that never gave anything would have given, if it were there.
    pub(crate) fn doubted_since(&self) -> Timestamp {
        self.asked
    }

    /// Its silence proves nothing: this side stood still meanwhile, or it may be gone.
    pub(crate) fn forgive(&mut self) {
        self.chance = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn who_lets_something_come_late_and_gives_nothing_for_a_while_after_never_gives() {
        let end = NOW + FIRST_SNUB;
        let mut snub = Snub::new(NOW);
        assert!(!snub.never_gives(end));
        snub.note_late(false, NOW, NOW);
        snub.note_late(false, NOW, NOW + Duration::from_secs(1));
        assert_eq!(snub.verdict_at(), Some(end));
        assert!(!snub.never_gives(NOW) && snub.never_gives(end));
        snub.forgive();
        snub.note_late(true, NOW, NOW);
        assert!(
            !snub.never_gives(end),
            "this side stood still, and the peer may not have got what it promised"
        );
        snub.note_late(false, NOW, end);
        assert!(snub.never_gives(end + FIRST_SNUB));
    }

    #[test]
    fn who_gave_something_once_is_asked_last_however_late_the_rest_is() {
        for give in [Snub::note_after_all, |snub: &mut Snub| snub.note_in_time(NOW)] {
            let mut snub = Snub::new(NOW);
            snub.note_late(false, NOW, NOW);
            give(&mut snub);
            snub.note_late(false, NOW, NOW + SNUB);
            assert_eq!(snub.verdict_at(), None);
            assert!(snub.is_silent(NOW + SNUB));
        }
    }

    #[test]
    fn spells_become_longer_and_short_again_once_something_comes_in_time() {
        let mut snub = Snub::new(NOW);
        let mut now = NOW;
        let mut spell = |snub: &mut Snub| {
            snub.note_late(false, NOW, now);
            let mut seconds = 0;
            while snub.is_snubbed(now + Duration::from_secs(seconds)) {
                seconds += 1;
            }
            now = now + Duration::from_secs(seconds);
            seconds
        };
        assert_eq!(spell(&mut snub), FIRST_SNUB.as_secs());
        snub.note_in_time(NOW);
        let spells: Vec<_> = (0..7).map(|_| spell(&mut snub)).collect();
        assert_eq!(spells, [10, 20, 40, 80, 160, 300, 300]);
        snub.note_in_time(NOW);
        assert_eq!(spell(&mut snub), 10);
    }
}
