//! How a fetch ends: delivered, failed, adopted when its root comes late, or contradicted by its origin.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, Phase},
    fetching::STALL,
    io::{Delivery, Event, FetchError, Output, Provenance, Roots},
    origins::MAX_DISTRUSTED,
};
use crate::{
    id::{ContentId, LinkId},
    time::Timestamp,
    wire::LinkMessage,
};

/// Signed streams: a whole segment waits so long for the manifest and list before it is delivered unchecked.
const HOLD: Duration = Duration::from_secs(3);
/// Not within this time of its deadline, though, when the manifest at hand does not list it.
const IN_HAND: Duration = Duration::from_secs(1);
/// A delivered segment waits so long for its root before it is forgotten.
const ADOPT: Duration = Duration::from_secs(10);

impl Node {
    /// Delivers or fails what can be; `true` if the fetch is over.
    #[inline(never)]
    pub(super) fn conclude(&mut self, fetch: &mut Fetch, now: Timestamp) -> bool {
        if let Phase::Trading { content } = fetch.phase
            && self.is_held(fetch)
        {
            let len = self.store.get(&content).map_or(0, |stored| stored.list.len().bytes());
            self.store.touch(&content);
            self.want_persisted(content);
            self.deliver(fetch, len, Delivery::Verified, now);
            return true;
        }
        if let Some(whole) = fetch.whole {
            return self.conclude_whole(fetch, whole, now);
        }
        if fetch.waiters.is_empty() {
            // It was served unchecked, and its root contradicts it: nobody waits for other bytes.
            return true;
        }
        let Some(error) = fetch.origin_error else { return false };
        // A holder that brings a little now and then is not waited for beyond the time the segment is needed.
        let hopeful = (fetch.progress + STALL).min(fetch.deadline.max(fetch.origin_progress + STALL));
        if now < hopeful && error != FetchError::Mismatch && self.has_holder(fetch) {
            fetch.wake_by(hopeful);
            return false;
        }
        for waiter in fetch.take_waiters() {
            self.waiters.remove(&waiter);
            self.output(Output::Fail { fetch: waiter, error });
        }
        true
    }

    /// The origin sent everything and the group list is not known (yet).
    fn conclude_whole(&mut self, fetch: &mut Fetch, whole: u64, now: Timestamp) -> bool {
        if matches!(fetch.phase, Phase::Listing { .. }) {
            // The root and the length are known, so the body is checked whether or not a list comes.
            match Self::own_list(fetch) {
                Some(list) => self.start_trading(fetch, list, now),
                None => self.contradict(fetch, now),
            }
            let over = self.conclude(fetch, now);
            if !over {
                // Nothing else would: the origin had its turn before.
                self.ask_origin(fetch, now);
            }
            return over;
        }
        let signed = self
            .streams
            .get(&fetch.stream)
            .is_some_and(|state| matches!(state.stream.roots, Roots::Signed(_)));
        let undecided = fetch.phase == Phase::Resolving;
        let mut hold = fetch.whole_at + HOLD;
        if self.is_unlisted(&fetch.stream, &fetch.key) {
            // Without us the player would have it: the newer manifest may come later.
            hold = hold.min(fetch.deadline.saturating_sub(IN_HAND));
        }
        if undecided && signed && self.p2p && now < hold && self.root_is_coming(fetch) {
            fetch.wake = Some(hold);
            return false;
        }
        if !fetch.waiters.is_empty() {
            self.deliver(fetch, whole, Delivery::OriginWhole, now);
        }
        let adopt = fetch.whole_at + ADOPT;
        if undecided && self.p2p && now < adopt {
            fetch.wake = Some(adopt);
            return false;
        }
        true
    }

    fn deliver(&mut self, fetch: &mut Fetch, len: u64, delivery: Delivery, now: Timestamp) {
        let status = if fetch.key.range().is_some() { 206 } else { 200 };
        for waiter in fetch.take_waiters() {
            self.waiters.remove(&waiter);
            fetch.served = Some(waiter);
            self.stats.segments += 1;
            self.demand.add(len, now);
            let provenance = Provenance {
                origin_bytes: fetch.origin_bytes,
                peer_bytes: fetch.peer_bytes,
                disk_bytes: fetch.disk_bytes,
                peers: fetch.peers.clone(),
                took: fetch.took(now),
            };
            let blob = fetch.blob;
            self.output(Output::Deliver { fetch: waiter, blob, len, status, delivery, provenance });
        }
    }

    /// Cancels what is still under way and lets the blob go, unless the store keeps it.
    pub(super) fn end_fetch(&mut self, mut fetch: Fetch) {
        let coming = fetch.asks_origin();
        self.abort_origin(&mut fetch);
        self.abort_sidecar(&fetch);
        if let Phase::Trading { content } = fetch.phase {
            // The same bytes may be wanted under another name too.
            if self.segment_of(&content).is_some() {
                return;
            }
            self.cancel_requests(&content);
            self.break_promises(&content);
            if let Some(stored) = self.store.get_mut(&content).filter(|stored| !stored.held.is_empty()) {
                stored.pinned = false;
                return;
            }
            self.store.remove(&content);
        }
        let absent = fetch.content().filter(|content| self.store.get(content).is_none());
        if let Some(content) = absent.filter(|_| coming) {
            self.announce_lost(content);
        }
        if fetch.opened {
            self.output(Output::Drop { blob: fetch.blob });
        }
    }

    fn cancel_requests(&mut self, content: &ContentId) {
        let links: Vec<LinkId> = self.partner_links().collect();
        for link in links {
            let Some(state) = self.links.get_mut(&link) else { continue };
            for request in state.asking.cancel(content) {
                self.output(Output::SendControl { link, payload: LinkMessage::Cancel(request).to_bytes() });
            }
        }
    }

    /// The origin's bytes contradict the root: what happens depends on who vouches for the root.
    pub(super) fn contradict(&mut self, fetch: &mut Fetch, now: Timestamp) {
        self.abort_origin(fetch);
        fetch.digests.clear();
        fetch.whole = None;
        fetch.no_range = true;
        self.stats.bad_groups += 1;
        let first = !std::mem::replace(&mut fetch.contradicted, true);
        if first && let Some(id) = fetch.first_waiter().or(fetch.served) {
            self.event(Event::OriginMismatch { fetch: id });
        }
        if first && self.doubt_manifest(fetch.stream, now) {
            self.start_over(fetch, Phase::Resolving, now);
            return;
        }
        let signed = self
            .streams
            .get(&fetch.stream)
            .is_some_and(|state| matches!(state.stream.roots, Roots::Signed(_)));
        if signed && first {
            return;
        }
        if signed && !self.config.deliver_signed_mismatch {
            fetch.origin_error = Some(FetchError::Mismatch);
            return;
        }
        self.distrust(fetch, now);
    }

    /// HTTP only for this key from now on, into a fresh blob.
    fn distrust(&mut self, fetch: &mut Fetch, now: Timestamp) {
        self.distrusted.push_back(fetch.segment);
        while self.distrusted.len() > MAX_DISTRUSTED {
            self.distrusted.pop_front();
        }
        self.start_over(fetch, Phase::Rootless, now);
    }

    /// Begins anew in a fresh blob, without what came under a root that does not count any more.
    pub(super) fn start_over(&mut self, fetch: &mut Fetch, phase: Phase, now: Timestamp) {
        self.abort_origin(fetch);
        self.abort_sidecar(fetch);
        fetch.digests.clear();
        fetch.whole = None;
        let shared = fetch.content().is_some_and(|content| self.segment_of(&content).is_some());
        if let Some(content) = fetch.content().filter(|_| !shared) {
            self.cancel_requests(&content);
            self.break_promises(&content);
            if self.store.remove(&content).is_some() {
                self.announce_lost(content);
            }
        }
        if std::mem::replace(&mut fetch.opened, false) && !shared {
            self.output(Output::Drop { blob: fetch.blob });
        }
        fetch.blob = self.new_blob();
        fetch.asked.clear();
        fetch.phase = phase;
        fetch.progress = now;
    }
}
