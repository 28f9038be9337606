//! What the attestor knows, what it is fetching, and who waits for it. Sans-IO.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use axum::body::Bytes;
use lru::LruCache;
use tabswarm_core::{
    content::ATTESTATION_LIFETIME,
    id::{NetworkGroup, PeerId, SegmentId},
    time::Timestamp,
    units::ByteRange,
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

/// What of which file a segment is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Hash of the stream and the file's URL.
    pub(super) file: blake3::Hash,
    /// Its bytes, all without one.
    pub(super) range: Option<ByteRange>,
}

impl Part {
    fn overlaps(&self, other: &Self) -> bool {
        let span = |part: &Self| part.range.map_or((0, u64::MAX), |range| (range.start(), range.end()));
        let ((start, end), (other_start, other_end)) = (span(self), span(other));
        self.file == other.file && start < other_end && other_start < end
    }
}

/// One request for a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a, H> {
    pub(super) segment: SegmentId,
    pub(super) part: Part,
    pub(super) peer: PeerId,
    pub(super) asker: &'a H,
    /// Where the asker connects from, if that has a share of the queue and no more.
    pub(super) group: Option<NetworkGroup>,
}

/// Who is told what became of a segment.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Told<H> {
    /// Those who asked.
    pub(super) askers: BTreeMap<PeerId, H>,
    /// The members of the swarm too.
    pub(super) swarm: bool,
}

#[derive(Debug)]
struct Known {
    part: Part,
    bytes: Bytes,
    until: Timestamp,
}

#[derive(Debug)]
struct Pending<H> {
    part: Part,
    group: Option<NetworkGroup>,
    told: Told<H>,
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
    pending: HashMap<SegmentId, Pending<H>>,
    max_pending: usize,
    max_pending_per_group: usize,
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
            max_pending_per_group: limits.attest_queue_per_group,
        }
    }

    /// `may_start` is asked last, when only a request to the origin brings the segment.
    pub(super) fn ask(
        &mut self,
        question: Question<'_, H>,
        now: Timestamp,
        may_start: impl FnOnce() -> bool,
    ) -> Answer {
        let Question { segment, part, peer, asker, group } = question;
        if let Some(known) = self.known.get(&segment).filter(|known| now < known.until) {
            return Answer::Attested(known.bytes.clone());
        }
        if let Some(pending) = self.pending.get_mut(&segment) {
            if pending.told.askers.len() >= MAX_WAITING {
                return Answer::Failed(AttestFailure::Origin);
            }
            pending.told.askers.insert(peer, asker.clone());
            return Answer::Wait;
        }
        if let Some((reason, _)) = self.failures.get(&segment).filter(|(_, until)| now < *until) {
            return Answer::Failed(*reason);
        }
        if !self.has_room(group) || !may_start() {
            return Answer::Failed(AttestFailure::Origin);
        }
        let told =
            Told { askers: BTreeMap::from([(peer, asker.clone())]), swarm: !self.overlaps(&part, now) };
        self.pending.insert(segment, Pending { part, group, told });
        Answer::Start
    }

    fn has_room(&self, group: Option<NetworkGroup>) -> bool {
        let of_group = self.pending.values().filter(|pending| group.is_some() && pending.group == group);
        self.pending.len() < self.max_pending && of_group.count() < self.max_pending_per_group
    }

    /// The ranges of a playlist lie side by side. One that cuts another is nothing the swarm has to hear of: else each
    /// of a file's many ranges would be one more message to everybody. Who wants it still has it by asking.
    fn overlaps(&self, part: &Part, now: Timestamp) -> bool {
        let known = self.known.iter().map(|(_, known)| known).filter(|known| now < known.until);
        let known = known.map(|known| &known.part);
        known.chain(self.pending.values().map(|pending| &pending.part)).any(|other| other.overlaps(part))
    }

    /// The segment's answer is there; who is told.
    pub(super) fn attested(&mut self, segment: SegmentId, bytes: Bytes, now: Timestamp) -> Option<Told<H>> {
        let Pending { part, told, .. } = self.pending.remove(&segment)?;
        // Fetched anew while the last one still holds, so that nobody gets one that is about to end.
        let until = now + ATTESTATION_LIFETIME / 2;
        self.known_bytes += bytes.len();
        if let Some((_, old)) = self.known.push(segment, Known { part, bytes, until }) {
            self.known_bytes -= old.bytes.len();
        }
        while self.known.len() > self.max_known || self.known_bytes > self.max_known_bytes {
            let Some((_, oldest)) = self.known.pop_lru() else { break };
            self.known_bytes -= oldest.bytes.len();
        }
        self.failures.pop(&segment);
        Some(told)
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
        self.pending.remove(&segment).map(|pending| pending.told.askers).unwrap_or_default()
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

    /// A peer, which is its own handle, asks for a file of the segment's number.
    fn question(number: u8, asker: &u8) -> Question<'_, u8> {
        let part = Part { file: blake3::hash(&[number]), range: None };
        Question { segment: segment(number), part, peer: peer(*asker), asker, group: None }
    }

    fn ask(ledger: &mut Ledger<u8>, number: u8, asker: u8, now: Timestamp) -> Answer {
        ledger.ask(question(number, &asker), now, || true)
    }

    /// The id of a range that a file is asked for.
    fn ask_range(ledger: &mut Ledger<u8>, file: u8, start: u64, end: u64) -> SegmentId {
        let range = ByteRange::new(start, end);
        let segment =
            SegmentId::from_bytes([file, start as u8, end as u8].repeat(11)[..32].try_into().unwrap());
        let part = Part { file: blake3::hash(&[file]), range };
        let question = Question { segment, part, ..question(file, &1) };
        assert_eq!(ledger.ask(question, at(0), || true), Answer::Start);
        segment
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
        assert_eq!(ask(&mut ledger, 1, 1, at(0)), Answer::Start);
        assert_eq!(ask(&mut ledger, 1, 2, at(0)), Answer::Wait);
        assert_eq!(ask(&mut ledger, 1, 1, at(0)), Answer::Wait);
        let bytes = Bytes::from_static(b"answer");
        let told = ledger.attested(segment(1), bytes.clone(), at(1)).unwrap();
        assert_eq!((told.askers.into_values().collect::<Vec<_>>(), told.swarm), (vec![1, 2], true));
        assert_eq!(ask(&mut ledger, 1, 3, at(2)), Answer::Attested(bytes));
        let half = ATTESTATION_LIFETIME.as_secs() / 2;
        assert_eq!(ask(&mut ledger, 1, 3, at(1 + half)), Answer::Start);
        assert!(ledger.attested(segment(1), Bytes::new(), at(2 + half)).unwrap().swarm);
    }

    #[test]
    fn a_range_that_cuts_another_of_its_file_is_told_to_its_askers_only() {
        let mut ledger = ledger(Limits::default());
        let bytes = Bytes::from_static(b"answer");
        for (file, start, end, swarm) in [
            (1, 0, 10, true),
            (1, 10, 20, true),
            (1, 9, 11, false),
            (1, 0, 20, false),
            (1, 20, 30, true),
            (2, 9, 11, true),
        ] {
            let segment = ask_range(&mut ledger, file, start, end);
            assert_eq!(
                ledger.attested(segment, bytes.clone(), at(0)).unwrap().swarm,
                swarm,
                "{start} to {end}"
            );
        }
        assert_eq!(ask(&mut ledger, 2, 1, at(0)), Answer::Start);
        assert!(
            !ledger.attested(segment(2), bytes.clone(), at(0)).unwrap().swarm,
            "the whole cuts its parts"
        );
        // One that is under way counts, and one that has failed does not.
        let first = ask_range(&mut ledger, 3, 0, 10);
        let second = ask_range(&mut ledger, 3, 5, 15);
        ledger.failed(first, AttestFailure::Origin, at(0));
        assert!(!ledger.attested(second, bytes.clone(), at(0)).unwrap().swarm);
        let only = ask_range(&mut ledger, 4, 0, 10);
        ledger.failed(only, AttestFailure::Origin, at(0));
        let third = ask_range(&mut ledger, 4, 5, 15);
        assert!(ledger.attested(third, bytes, at(0)).unwrap().swarm);
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let mut ledger = ledger(Limits::default());
        assert_eq!(ask(&mut ledger, 1, 1, at(0)), Answer::Start);
        assert_eq!(ledger.failed(segment(1), AttestFailure::Origin, at(5)).len(), 1);
        assert_eq!(ask(&mut ledger, 1, 2, at(6)), Answer::Failed(AttestFailure::Origin));
        assert_eq!(ask(&mut ledger, 1, 2, at(7)), Answer::Start);
    }

    #[test]
    fn memory_is_bounded_by_count_and_bytes() {
        let limits = Limits { attest_cache: 3, attest_cache_bytes: 100, ..Limits::default() };
        let mut ledger = ledger(limits);
        let attest = |ledger: &mut Ledger<u8>, number, len| {
            ask(ledger, number, 1, at(0));
            ledger.attested(segment(number), vec![0; len].into(), at(0));
        };
        for number in 0..4 {
            attest(&mut ledger, number, 10);
        }
        assert_eq!((ledger.known.len(), ledger.known_bytes), (3, 30));
        attest(&mut ledger, 0, 10);
        attest(&mut ledger, 9, 85);
        assert_eq!((ledger.known.len(), ledger.known_bytes), (2, 95));
        assert_eq!(ledger.ask(question(9, &1), at(1_000_000), || true), Answer::Start);
        ledger.attested(segment(9), Bytes::from_static(&[0; 5]), at(1_000_000));
        assert_eq!((ledger.known.len(), ledger.known_bytes), (2, 15));
        assert!(ledger.pending.is_empty());
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut ledger = ledger(Limits { attest_queue: 2, ..Limits::default() });
        assert_eq!(ask(&mut ledger, 1, 1, at(0)), Answer::Start);
        assert_eq!(ask(&mut ledger, 2, 1, at(0)), Answer::Start);
        assert_eq!(ask(&mut ledger, 3, 1, at(0)), Answer::Failed(AttestFailure::Origin));
        ledger.failed(segment(1), AttestFailure::Refused, at(0));
        assert_eq!(ask(&mut ledger, 3, 1, at(0)), Answer::Start);
    }

    #[test]
    fn one_group_has_a_share_of_the_queue_and_is_charged_for_what_it_starts() {
        let mut ledger = ledger(Limits { attest_queue: 4, attest_queue_per_group: 2, ..Limits::default() });
        let from = |number: u8| Some(NetworkGroup::from_bytes([number; 16]));
        let ask = |ledger: &mut Ledger<u8>, number, group, may_start: bool| {
            ledger.ask(Question { group, ..question(number, &1) }, at(0), || may_start)
        };
        assert_eq!(ask(&mut ledger, 1, from(1), true), Answer::Start);
        assert_eq!(ask(&mut ledger, 1, from(1), false), Answer::Wait, "what is under way costs nothing");
        assert_eq!(ask(&mut ledger, 2, from(1), false), Answer::Failed(AttestFailure::Origin));
        assert_eq!(ask(&mut ledger, 2, from(1), true), Answer::Start);
        assert_eq!(ask(&mut ledger, 3, from(1), true), Answer::Failed(AttestFailure::Origin));
        assert_eq!(ask(&mut ledger, 3, from(2), true), Answer::Start);
        assert_eq!(ask(&mut ledger, 4, None, true), Answer::Start);
        ledger.attested(segment(1), Bytes::new(), at(0));
        assert_eq!(ask(&mut ledger, 5, from(1), true), Answer::Start);
    }
}
