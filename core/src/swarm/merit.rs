//! What a peer has given, or had no time to give yet: it is served after that.

use std::time::Duration;

use super::{
    choke::{self, Candidate},
    rate::Rate,
};
use crate::{id::LinkId, time::Timestamp};

/// Who came so lately had no time to give anything.
const GRACE: Duration = Duration::from_secs(8);

/// The merit of one link's peer.
#[derive(Clone, Debug)]
pub(crate) struct Merit {
    began: Timestamp,
    /// Bytes that came lately.
    given: Rate,
    /// Until when the peer counts as one who has just come to the network.
    new_until: Timestamp,
}

impl Merit {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { began: now, given: Rate::over(choke::MEMORY, now), new_until: now }
    }

    /// So many bytes of segments came from the peer.
    pub(crate) fn note_given(&mut self, bytes: u64, now: Timestamp) {
        self.given.add(bytes, now);
    }

    /// Whether the peer gave anything lately, or had no time to yet.
    pub(crate) fn is_giver(&self, now: Timestamp) -> bool {
        self.given.at(now).value() > 0 || now < self.began + GRACE
    }

    /// The peer came to the network so long ago.
    pub(crate) fn note_age(&mut self, age: Duration, now: Timestamp) {
        self.new_until = now + choke::NEW.saturating_sub(age);
    }

    /// Whether the peer has just come to the network.
    pub(crate) fn is_new(&self, now: Timestamp) -> bool {
        now < self.new_until
    }

    /// Whether the peer gave anything lately, or has had no time to: it or the link is new.
    pub(crate) fn gives(&self, now: Timestamp) -> bool {
        self.is_new(now) || self.is_giver(now)
    }

    /// The peer as one of those who may be served, which it has waited for since then.
    pub(crate) fn candidate(&self, link: LinkId, since: Timestamp, now: Timestamp) -> Candidate {
        let (is_new, gives) = (self.is_new(now), self.gives(now));
        Candidate { link, since, given: self.given.at(now), is_new, gives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn a_giver_is_who_gave_lately_or_came_lately() {
        let mut merit = Merit::new(NOW);
        let at = |seconds| NOW + Duration::from_secs(seconds);
        assert!(merit.is_giver(at(7)) && !merit.is_giver(at(8)));
        merit.note_given(16384, at(9));
        assert!(merit.is_giver(at(20)) && !merit.is_giver(at(7200)));
    }
}
