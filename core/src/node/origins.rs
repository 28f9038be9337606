//! Requests to the origin: what to ask for, and what to make of the bytes that come.
//!
//! A whole request is what a player without us would have sent. A request of our own making (a range of missing
//! groups) that goes wrong is repeated as a whole one, so that the player sees what it would have seen.

use std::{ops::Range, time::Duration};

use litemap::LiteMap;

use super::{
    Node,
    fetch::{Fetch, OriginRun, Phase},
    io::{Event, FetchError, OriginHead, Output},
    lists::SidecarRequest,
    pace::Pace,
};
use crate::{
    content::{GROUP_LEN, GroupDigest, MAX_SEGMENT_LEN, SegmentHasher},
    id::{OriginRequestId, SegmentId},
    time::Timestamp,
    units::{ByteRange, GroupIndex, GroupRange},
};

/// Most keys that are remembered as contradicted by their origin.
pub(super) const MAX_DISTRUSTED: usize = 1024;
const GROUP: u64 = GROUP_LEN as u64;
/// A request is not judged before.
const FAIR_TRIAL: Duration = Duration::from_millis(600);

/// What a request to the origin is for.
#[derive(Debug)]
pub(super) enum OriginUse {
    Segment(Box<SegmentRequest>),
    Sidecar(SidecarRequest),
}

/// A request for a segment or a part of it.
#[derive(Debug)]
pub(super) struct SegmentRequest {
    segment: SegmentId,
    /// The absolute range asked for.
    asked: Option<ByteRange>,
    /// What a player without us would have asked for.
    whole: bool,
    /// The segment's first byte in the resource.
    base: u64,
    /// The segment's end in the resource, where its key says.
    limit: Option<u64>,
    /// The next byte's place in the resource, once the head came.
    position: Option<u64>,
    hasher: Option<SegmentHasher>,
    started: Timestamp,
    received: u64,
    first_byte: Option<Timestamp>,
}

impl Node {
    /// The head of an origin's answer came.
    pub fn handle_origin_head(&mut self, request: OriginRequestId, head: OriginHead, now: Timestamp) {
        if let Some(OriginUse::Segment(state)) = self.origins.get_mut(&request) {
            let segment = state.segment;
            if !matches!(head.status, 200..=299) {
                self.output(Output::OriginAbort { request });
                self.origin_broke(request, FetchError::Status(head.status), now);
            } else if let Some(position) = state.place(head) {
                state.position = Some(position);
                if head.status != 206 && !state.whole {
                    self.pace.refuses_ranges = true;
                    self.with_fetch(segment, |node, fetch| node.take_whole(fetch, request));
                }
            } else {
                self.output(Output::OriginAbort { request });
                self.origin_broke(request, FetchError::Network, now);
            }
        }
        self.settle_calmly(now);
    }

    /// The next bytes of an origin's body came.
    pub fn handle_origin_bytes(&mut self, request: OriginRequestId, bytes: &[u8], now: Timestamp) {
        self.take_origin_bytes(request, bytes, now);
        self.settle_calmly(now);
    }

    /// An origin's body is complete.
    pub fn handle_origin_end(&mut self, request: OriginRequestId, now: Timestamp) {
        self.finish_origin(request, now);
        self.settle_calmly(now);
    }

    /// An origin did not answer, or its body broke off.
    pub fn handle_origin_failed(&mut self, request: OriginRequestId, now: Timestamp) {
        self.origin_broke(request, FetchError::Network, now);
        self.settle_calmly(now);
    }

    /// A sidecar's bytes came: those asked for, or the first of them if it has no more; `None`: none came.
    pub fn handle_sidecar(&mut self, request: OriginRequestId, body: Option<&[u8]>, now: Timestamp) {
        if let Some(OriginUse::Sidecar(asked)) = self.origins.remove(&request) {
            self.sidecar_came(request, &asked, body, now);
        }
        self.settle_calmly(now);
    }

    /// Asks for a part of the segment, or for what is missing.
    pub(super) fn start_origin(&mut self, fetch: &mut Fetch, part: Option<GroupRange>, now: Timestamp) {
        let base = fetch.key.range().map_or(0, |range| range.start());
        let in_parts = !fetch.no_range && !self.pace.refuses_ranges;
        let part = if in_parts { self.missing_part(fetch, part) } else { None };
        let asked = match &part {
            Some(part) => ByteRange::new(base + part.start, base + part.end),
            None => fetch.key.range(),
        };
        let Some(waiter) = fetch.first_waiter() else { return };
        if part.is_none() {
            self.abort_origin(fetch);
        }
        self.abort_twin_origins(fetch);
        let request = OriginRequestId::new(self.next_handle());
        let state = SegmentRequest {
            segment: fetch.segment,
            asked,
            whole: part.is_none(),
            base,
            limit: fetch.key.range().map(|range| range.end()),
            position: None,
            hasher: None,
            started: now,
            received: 0,
            first_byte: None,
        };
        self.origins.insert(request, OriginUse::Segment(Box::new(state)));
        fetch.origin_progress = now;
        let groups = part.and_then(|part| {
            let last = u32::try_from((part.end - 1) / GROUP).ok()?;
            GroupRange::new(GroupIndex::new((part.start / GROUP) as u32), GroupIndex::new(last + 1))
        });
        fetch.origins.push(OriginRun { request, groups });
        self.open_blob(fetch);
        self.take_back_asked(fetch, groups);
        self.tell_origin_coming(fetch, groups);
        self.output(Output::OriginFetch { request, fetch: waiter, range: asked, fresh: fetch.contradicted });
    }

    /// The first run of missing groups that no request brings yet, of a part or of all, as bytes of the segment; `None` if that is
    /// all of it.
    fn missing_part(&self, fetch: &Fetch, part: Option<GroupRange>) -> Option<Range<u64>> {
        let Phase::Trading { content } = fetch.phase else { return None };
        let stored = self.store.get(&content)?;
        if stored.held.is_empty() && part.is_none() && !fetch.asks_origin() {
            return None;
        }
        let is_open =
            |group: &GroupIndex| part.is_none_or(|part| part.contains(*group)) && !fetch.origin_asked(*group);
        let mut missing = stored.held.missing().filter(is_open);
        let first = missing.next()?;
        let mut last = first;
        for group in missing {
            if group.value() > last.value() + 1 {
                break;
            }
            last = group;
        }
        let len = stored.list.len();
        let bytes = len.group_bytes(first)?.start()..len.group_bytes(last)?.end();
        (bytes != (0..len.bytes())).then_some(bytes)
    }

    pub(super) fn abort_origin(&mut self, fetch: &mut Fetch) {
        for run in std::mem::take(&mut fetch.origins) {
            self.abort_run(run.request, fetch.origin_progress);
        }
    }

    fn abort_run(&mut self, request: OriginRequestId, progress: Timestamp) {
        if let Some(OriginUse::Segment(state)) = self.origins.remove(&request) {
            state.tell_pace(&mut self.pace, progress);
        }
        self.output(Output::OriginAbort { request });
    }

    /// A part was asked for, and everything comes: nothing else need be asked for, now or of the next segments.
    fn take_whole(&mut self, fetch: &mut Fetch, whole: OriginRequestId) {
        fetch.no_range = true;
        for run in std::mem::replace(&mut fetch.origins, vec![OriginRun { request: whole, groups: None }]) {
            if run.request != whole {
                self.abort_run(run.request, fetch.origin_progress);
            }
        }
    }

    /// One request writes to a blob at a time: of two, each would be hashed over what only one of them wrote.
    fn abort_twin_origins(&mut self, fetch: &Fetch) {
        let mut twins: Vec<OriginRequestId> = Vec::new();
        let asking = self
            .fetches
            .iter_mut()
            .map(|(_, twin)| twin)
            .filter(|twin| twin.blob == fetch.blob && twin.asks_origin());
        for twin in asking {
            twin.overtaken = twin.overtaken.saturating_add(1);
            twins.extend(std::mem::take(&mut twin.origins).into_iter().map(|run| run.request));
        }
        for request in twins {
            self.origins.remove(&request);
            self.output(Output::OriginAbort { request });
        }
    }

    fn take_origin_bytes(&mut self, request: OriginRequestId, bytes: &[u8], now: Timestamp) {
        let Some(OriginUse::Segment(mut state)) = self.origins.remove(&request) else { return };
        let Some((at, source)) = state.place_bytes(bytes.len(), now) else {
            self.origins.insert(request, OriginUse::Segment(state));
            return;
        };
        let segment = state.segment;
        let mut state = Some(state);
        self.with_fetch(segment, |node, fetch| {
            if source.is_empty() {
                return;
            }
            fetch.origin_progress = now;
            node.keep_origin_bytes(fetch, at, source.clone());
            let Some(request_state) = &mut state else { return };
            let digests = request_state.hash(at, &bytes[source.clone()], node.known_len(fetch));
            for (group, digest) in digests {
                if !node.origin_group(fetch, group, digest, now) {
                    state = None;
                    return;
                }
            }
            let end = at + source.len() as u64;
            if node.known_len(fetch).is_some_and(|len| end > len) {
                node.contradict(fetch, now);
                state = None;
            }
        });
        if let Some(state) = state {
            self.origins.insert(request, OriginUse::Segment(state));
        }
    }

    fn keep_origin_bytes(&mut self, fetch: &mut Fetch, at: u64, source: Range<usize>) {
        fetch.origin_bytes += source.len() as u64;
        self.stats.origin_bytes += source.len() as u64;
        for part in self.unverified_parts(fetch, at, source) {
            self.output(Output::Keep { blob: fetch.blob, offset: part.0, source: part.1 });
        }
    }

    /// The parts of incoming bytes that belong to groups not verified yet: verified bytes are never overwritten.
    fn unverified_parts(&self, fetch: &Fetch, at: u64, source: Range<usize>) -> Vec<(u64, Range<usize>)> {
        let held = fetch.content().and_then(|content| self.store.get(&content)).map(|stored| &stored.held);
        let mut parts: Vec<(u64, Range<usize>)> = Vec::new();
        let mut cursor = source.start;
        while cursor < source.end {
            let offset = at + (cursor - source.start) as u64;
            let group = GroupIndex::new((offset / GROUP) as u32);
            let group_end = (u64::from(group.value()) + 1) * GROUP;
            let end = source.end.min(cursor + (group_end - offset) as usize);
            if !held.is_some_and(|held| held.contains(group)) {
                match parts.last_mut().filter(|(_, last)| last.end == cursor) {
                    Some((_, last)) => last.end = end,
                    None => parts.push((offset, cursor..end)),
                }
            }
            cursor = end;
        }
        parts
    }

    /// The segment's length, if its root is known.
    pub(super) fn known_len(&self, fetch: &Fetch) -> Option<u64> {
        match &fetch.phase {
            Phase::Listing { len, .. } => Some(len.bytes()),
            Phase::Trading { content } => self.store.get(content).map(|stored| stored.list.len().bytes()),
            Phase::Resolving | Phase::Restoring { .. } | Phase::Rootless => None,
        }
    }

    /// A group from the origin was hashed. `false` if it contradicts the root: the request is over.
    pub(super) fn origin_group(
        &mut self,
        fetch: &mut Fetch,
        group: GroupIndex,
        digest: GroupDigest,
        now: Timestamp,
    ) -> bool {
        let Phase::Trading { content } = fetch.phase else {
            if fetch.phase != Phase::Rootless {
                fetch.digests.insert(group, digest);
            }
            return true;
        };
        let Some(stored) = self.store.get_mut(&content) else { return true };
        if stored.held.contains(group) {
            return true;
        }
        if !stored.list.check_value(group, digest) {
            self.contradict(fetch, now);
            return false;
        }
        stored.held.insert(group);
        let bytes = stored.list.len().group_bytes(group).map_or(0, |range| range.len() as u32);
        self.stats.verified_groups += 1;
        fetch.progress = now;
        if let Some(waiter) = fetch.first_waiter() {
            self.event(Event::GroupsVerified { fetch: waiter, peer: None, bytes });
        }
        self.announce_group(fetch.stream, content, group, fetch.deadline, now);
        true
    }

    fn finish_origin(&mut self, request: OriginRequestId, now: Timestamp) {
        let Some(OriginUse::Segment(mut state)) = self.origins.remove(&request) else { return };
        state.tell_pace(&mut self.pace, now);
        let Some(position) = state.position else {
            self.origins.insert(request, OriginUse::Segment(state));
            self.origin_broke(request, FetchError::Network, now);
            return;
        };
        self.with_fetch(state.segment, |node, fetch| {
            fetch.origins.retain(|run| run.request != request);
            if let Some((group, digest)) = state.hasher.take().and_then(SegmentHasher::finish) {
                let short_tail =
                    node.known_len(fetch).is_some_and(|len| position.saturating_sub(state.base) < len);
                if !short_tail && !node.origin_group(fetch, group, digest, now) {
                    return;
                }
            }
            let end = state.limit.map_or(position, |limit| position.min(limit)).saturating_sub(state.base);
            if !state.whole {
                // What is still missing is asked for whole, unless it was a run between held groups.
                let asked_end = state.asked.map_or(0, |asked| asked.end() - state.base);
                fetch.no_range |= end < asked_end;
                return;
            }
            if node.is_held(fetch) {
                return;
            }
            match node.known_len(fetch) {
                Some(len) if end != len => node.contradict(fetch, now),
                _ => {
                    fetch.whole = Some(end);
                    fetch.whole_at = now;
                }
            }
        });
    }

    /// A request failed. One of our own making is repeated as a player would have sent it.
    fn origin_broke(&mut self, request: OriginRequestId, error: FetchError, now: Timestamp) {
        match self.origins.remove(&request) {
            Some(OriginUse::Segment(state)) => self.with_fetch(state.segment, |node, fetch| {
                fetch.origins.retain(|run| run.request != request);
                if state.whole {
                    fetch.origin_error = Some(error);
                    fetch.digests.clear();
                } else {
                    fetch.no_range = true;
                    node.start_origin(fetch, None, now);
                }
            }),
            Some(OriginUse::Sidecar(asked)) => self.sidecar_came(request, &asked, None, now),
            None => {}
        }
    }
}

impl SegmentRequest {
    /// Tells how quick the origin was, bytes coming last at `until`.
    fn tell_pace(&self, pace: &mut Pace, until: Timestamp) {
        if let Some(first_byte) = self.first_byte {
            let (latency, took) =
                (first_byte.saturating_since(self.started), until.saturating_since(first_byte));
            pace.note(latency, self.received, took);
        }
    }

    /// Whether so many more bytes take longer than that, as it looks after a while.
    pub(super) fn takes_longer_than(&self, limit: Duration, bytes: u64, now: Timestamp) -> bool {
        // Nothing says nothing: it may be this machine that is busy.
        let Some(first_byte) = self.first_byte.filter(|_| self.received > 0) else { return false };
        let since = now.saturating_since(first_byte);
        since >= FAIR_TRIAL && since.mul_f64(bytes as f64 / self.received as f64) > limit
    }

    /// Where the body starts in the resource; `None` if the answer is not to what was asked.
    fn place(&self, head: OriginHead) -> Option<u64> {
        if head.status != 206 {
            return Some(0);
        }
        let asked = self.asked?;
        // A 206 whose Content-Range can't be read across origins is taken at its word: groups are checked anyway.
        let start = head.start.unwrap_or(asked.start());
        (start == asked.start()).then_some(start)
    }

    /// Takes `len` more bytes: where those of the segment go in it, and which of them they are.
    fn place_bytes(&mut self, len: usize, now: Timestamp) -> Option<(u64, Range<usize>)> {
        let position = self.position?;
        self.position = Some(position + len as u64);
        self.received += len as u64;
        self.first_byte.get_or_insert(now);
        let skip = self.base.saturating_sub(position).min(len as u64) as usize;
        let end =
            self.limit.map_or(len as u64, |limit| limit.saturating_sub(position).min(len as u64)) as usize;
        let at = (position + skip as u64).saturating_sub(self.base);
        Some((at, skip..end.max(skip)))
    }

    /// Hashes the next bytes of the segment; a known length completes its last group.
    fn hash(&mut self, at: u64, bytes: &[u8], len: Option<u64>) -> LiteMap<GroupIndex, GroupDigest> {
        let mut digests = LiteMap::new();
        if at + bytes.len() as u64 > MAX_SEGMENT_LEN {
            self.hasher = None;
            return digests;
        }
        if self.hasher.is_none() && at.is_multiple_of(GROUP) {
            self.hasher = Some(SegmentHasher::new(GroupIndex::new((at / GROUP) as u32)));
        }
        let Some(hasher) = &mut self.hasher else { return digests };
        let bytes = match len {
            Some(len) => &bytes[..bytes.len().min(len.saturating_sub(at) as usize)],
            None => bytes,
        };
        hasher.update(bytes, |group, digest| {
            digests.insert(group, digest);
        });
        if len == Some(at + bytes.len() as u64)
            && let Some((group, digest)) = self.hasher.take().and_then(SegmentHasher::finish)
        {
            digests.insert(group, digest);
        }
        digests
    }
}
