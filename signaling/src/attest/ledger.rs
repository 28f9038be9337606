//! What the attestor knows, what it is fetching, and who waits for it. Sans-IO.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use axum::body::Bytes;
use lru::LruCache;
use tabswarm_core::{
    content::ATTESTATION_LIFETIME,
    id::{PeerId, SegmentId},
    time::Timestamp,
    wire::AttestFailure,
};

use crate::limits::Limits;

/// Most peers that wait for one segment: members of the swarm are told without waiting here.
const MAX_WAITING: usize = 1_024;

/// Most failures remembered.
const MAX_FAILURES: usize = 1_024;

/// How long it is remembered that a segment breaks a rule, which only a new file at the origin can change.
const REFUSED_RETRY: Duration = Duration::from_secs(60);

/// What an asker gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The encoded answer.
    Attested(Bytes),
    /// No, and why.
    Failed(AttestFailure),
    /// The caller fetches the segment, then calls [`Ledger::attested`] or [`Ledger::failed`].
    Start,
    /// It is being fetched.
    Wait,
}

#[derive(Debug)]
struct Known {
    bytes: Bytes,
    until: Timestamp,
}

/// `H` is what an asker is reached by.
#[derive(Debug)]
pub(super) struct Ledger<H> {
    known: LruCache<SegmentId, Known>,
    known_bytes: usize,
    max_known: usize,
    max_known_bytes: usize,
    failures: LruCache<SegmentId, (AttestFailure, Timestamp)>,
    retry: Duration,
    pending: HashMap<SegmentId, BTreeMap<PeerId, H>>,
    max_pending: usize,
}

impl<H: Clone> Ledger<H> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            known: LruCache::unbounded(),
            known_bytes: 0,
            max_known: limits.attest_cache,
            max_known_bytes: limits.attest_cache_bytes,
            failures: LruCache::unbounded(),
            retry: limits.attest_retry,
            pending: HashMap::new(),
            max_pending: limits.attest_queue,
        }
    }

    pub(super) fn ask(&mut self, segment: SegmentId, peer: PeerId, asker: &H, now: Timestamp) -> Answer {
        if let Some(known) = self.known.get(&segment).filter(|known| now < known.until) {
            return Answer::Attested(known.bytes.clone());
        }
        if let Some(waiting) = self.pending.get_mut(&segment) {
            if waiting.len() >= MAX_WAITING {
                return Answer::Failed(AttestFailure::Origin);
            }
            waiting.insert(peer, asker.clone());
            return Answer::Wait;
        }
        if let Some((reason, _)) = self.failures.get(&segment).filter(|(_, until)| now < *until) {
            return Answer::Failed(*reason);
        }
        if self.pending.len() >= self.max_pending {
            return Answer::Failed(AttestFailure::Origin);
        }
        self.pending.insert(segment, BTreeMap::from([(peer, asker.clone())]));
        Answer::Start
    }

    /// The segment's answer is there; who waited for it.
    pub(super) fn attested(
        &mut self,
        segment: SegmentId,
        bytes: Bytes,
        now: Timestamp,
    ) -> BTreeMap<PeerId, H> {
        // Fetched anew while the last one still holds, so that nobody gets one that is about to end.
        let until = now + ATTESTATION_LIFETIME / 2;
        self.known_bytes += bytes.len();
        if let Some((_, old)) = self.known.push(segment, Known { bytes, until }) {
            self.known_bytes -= old.bytes.len();
        }
        while self.known.len() > self.max_known || self.known_bytes > self.max_known_bytes {
            let Some((_, oldest)) = self.known.pop_lru() else { break };
            self.known_bytes -= oldest.bytes.len();
        }
        self.failures.pop(&segment);
        self.pending.remove(&segment).unwrap_or_default()
    }

    /// The segment can't be had; who waited for it.
    pub(super) fn failed(
        &mut self,
        segment: SegmentId,
        reason: AttestFailure,
        now: Timestamp,
    ) -> BTreeMap<PeerId, H> {
        let retry = if reason == AttestFailure::Origin { self.retry } else { REFUSED_RETRY };
        self.failures.put(segment, (reason, now + retry));
        if self.failures.len() > MAX_FAILURES {
            self.failures.pop_lru();
        }
        self.pending.remove(&segment).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limits: Limits) -> Ledger<u8> {
        Ledger::new(&limits)
    }

    fn segment(number: u8) -> SegmentId {
        SegmentId::from_bytes([number; 32])
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_000 * secs)
    }

    #[test]
    fn the_first_asker_starts_it_and_all_are_told() {
        let mut ledger = ledger(Limits::default());
        assert_eq!(ledger.ask(segment(1), peer(1), &1, at(0)), Answer::Start);
        assert_eq!(ledger.ask(segment(1), peer(2), &2, at(0)), Answer::Wait);
        assert_eq!(ledger.ask(segment(1), peer(1), &1, at(0)), Answer::Wait);
        let bytes = Bytes::from_static(b"answer");
        let told = ledger.attested(segment(1), bytes.clone(), at(1));
        assert_eq!(told.into_values().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(ledger.ask(segment(1), peer(3), &3, at(2)), Answer::Attested(bytes));
        let half = ATTESTATION_LIFETIME.as_secs() / 2;
        assert_eq!(ledger.ask(segment(1), peer(3), &3, at(1 + half)), Answer::Start);
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let mut ledger = ledger(Limits::default());
        assert_eq!(ledger.ask(segment(1), peer(1), &1, at(0)), Answer::Start);
        assert_eq!(ledger.failed(segment(1), AttestFailure::Origin, at(5)).len(), 1);
        assert_eq!(ledger.ask(segment(1), peer(2), &2, at(6)), Answer::Failed(AttestFailure::Origin));
        assert_eq!(ledger.ask(segment(1), peer(2), &2, at(7)), Answer::Start);
    }

    #[test]
    fn memory_is_bounded_by_count_and_bytes() {
        let limits = Limits { attest_cache: 3, attest_cache_bytes: 100, ..Limits::default() };
        let mut ledger = ledger(limits);
        for number in 0..4 {
            ledger.attested(segment(number), Bytes::from_static(&[0; 10]), at(0));
        }
        assert_eq!((ledger.known.len(), ledger.known_bytes), (3, 30));
        assert_eq!(ledger.ask(segment(0), peer(1), &1, at(0)), Answer::Start);
        ledger.attested(segment(9), Bytes::from_static(&[0; 85]), at(0));
        assert_eq!((ledger.known.len(), ledger.known_bytes), (2, 95));
        ledger.attested(segment(9), Bytes::from_static(&[0; 5]), at(0));
        assert_eq!((ledger.known.len(), ledger.known_bytes), (2, 15));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut ledger = ledger(Limits { attest_queue: 2, ..Limits::default() });
        assert_eq!(ledger.ask(segment(1), peer(1), &1, at(0)), Answer::Start);
        assert_eq!(ledger.ask(segment(2), peer(1), &1, at(0)), Answer::Start);
        assert_eq!(ledger.ask(segment(3), peer(1), &1, at(0)), Answer::Failed(AttestFailure::Origin));
        ledger.failed(segment(1), AttestFailure::Refused, at(0));
        assert_eq!(ledger.ask(segment(3), peer(1), &1, at(0)), Answer::Start);
    }
}
