//! Group lists: from a holder first, then from the manifest's sidecar, and those that are needed next along with them.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, ListAsk, Phase},
    io::Output,
    links::Link,
    origins::OriginUse,
};
use crate::{
    content::{ChainingValue, GroupList, SegmentLen},
    id::{ContentId, LinkId, OriginRequestId, StreamId},
    swarm::Claim,
    time::Timestamp,
    units::ByteRange,
    wire::{LinkMessage, ListPart},
};

/// A peer that was asked for a group list has this long.
const LIST_PATIENCE: Duration = Duration::from_millis(400);
/// Bytes of the lists behind one that are asked for along with it: a request costs more than the lists of the next few segments.
const AHEAD: u64 = 32 * 1024;
/// Most lists that are kept for later, and that are asked of peers for later.
const MAX_AHEAD: usize = 64;

/// Lists of segments that the player has not asked for yet.
#[derive(Debug, Default)]
pub(super) struct ListsAhead {
    /// The oldest first.
    lists: Vec<GroupList>,
    /// Asked of peers, the oldest first.
    asked: Vec<(LinkId, ContentId, SegmentLen)>,
}

impl ListsAhead {
    fn keep(&mut self, list: GroupList) {
        if self.knows(&list.root()) {
            return;
        }
        if self.lists.len() == MAX_AHEAD {
            self.lists.remove(0);
        }
        self.lists.push(list);
    }

    fn knows(&self, content: &ContentId) -> bool {
        self.lists.iter().any(|list| list.root() == *content)
    }

    /// The list of a segment that is needed now.
    pub(super) fn take(&mut self, content: &ContentId) -> Option<GroupList> {
        let place = self.lists.iter().position(|list| list.root() == *content)?;
        Some(self.lists.remove(place))
    }

    fn ask(&mut self, link: LinkId, content: ContentId, len: SegmentLen) {
        if self.asked.len() == MAX_AHEAD {
            self.asked.remove(0);
        }
        self.asked.push((link, content, len));
    }

    /// Whether this peer was asked for that, which is a whole list.
    fn answers(&mut self, link: LinkId, part: &ListPart) -> bool {
        let asked = self.asked.iter().position(|asked| *asked == (link, part.content, part.len));
        let Some(place) = asked else { return false };
        self.asked.remove(place);
        part.first.value() == 0 && part.values.len() == part.len.list_values() as usize
    }
}

/// A request for a part of a sidecar.
#[derive(Clone, Copy, Debug)]
pub(super) struct SidecarRequest {
    stream: StreamId,
    track: u16,
    range: ByteRange,
    started: Timestamp,
}

impl Node {
    /// Asks a holder for the group list, or the manifest's sidecar.
    pub(super) fn ask_list(&mut self, fetch: &mut Fetch, now: Timestamp) {
        let Phase::Listing { content, len, ask } = fetch.phase.clone() else { return };
        let ask_peer = match ask {
            // The whole body is on its way and makes its own list; there is nobody to share it with before playback.
            ListAsk::Nobody if !self.may_connect_for_sure() && fetch.deadline <= now => return,
            ListAsk::Nowhere | ListAsk::Sidecar(_) => return,
            ListAsk::Peer(_, until) if now < until => return,
            ListAsk::Peer(..) => false,
            ListAsk::Nobody => true,
        };
        let holder = self
            .claims_on(content)
            .filter(|(_, claim)| ask_peer && self.p2p && claim.holds_some())
            .map(|(link, _)| link)
            .min_by_key(|link| self.links[link].rtt);
        let ask = match holder {
            Some(link) => {
                self.say(link, &LinkMessage::GetList(content));
                self.ask_ahead(link, fetch);
                fetch.list_values.clear();
                ListAsk::Peer(link, now + LIST_PATIENCE)
            }
            None => self.ask_sidecar(fetch, now).map_or(ListAsk::Nowhere, ListAsk::Sidecar),
        };
        fetch.phase = Phase::Listing { content, len, ask };
    }

    /// Asks a peer that is asked for a list for the next ones too, if it has them.
    #[inline(never)]
    fn ask_ahead(&mut self, link: LinkId, fetch: &Fetch) {
        let Some(stream) = self.streams.get(&fetch.stream) else { return };
        for (content, len, _) in stream.listed_behind(&fetch.key, AHEAD) {
            let known = self.store.get(&content).is_some() || self.lists.knows(&content);
            let held = |state: &Link| state.claims.on(&content).is_some_and(Claim::holds_some);
            if !known && self.segment_of(&content).is_none() && self.links.get(&link).is_some_and(held) {
                self.lists.ask(link, content, len);
                self.say(link, &LinkMessage::GetList(content));
            }
        }
    }

    /// Asks the sidecar, unless the list comes along with one that it was asked for.
    #[inline(never)]
    fn ask_sidecar(&mut self, fetch: &Fetch, now: Timestamp) -> Option<OriginRequestId> {
        let (track, needed) = self.streams.get(&fetch.stream)?.list_place(&fetch.key)?;
        let covers = |asked: &SidecarRequest| {
            (asked.stream, asked.track) == (fetch.stream, track)
                && asked.range.start() <= needed.start()
                && needed.end() <= asked.range.end()
        };
        for (request, origin) in &self.origins {
            if matches!(origin, OriginUse::Sidecar(asked) if covers(asked)) {
                return Some(*request);
            }
        }
        let stream = self.streams.get(&fetch.stream)?;
        let behind = stream.listed_behind(&fetch.key, AHEAD);
        let end = behind.into_iter().map(|(.., end)| end).fold(needed.end(), u64::max);
        let range = ByteRange::new(needed.start(), end)?;
        let path = stream.sidecar(track)?;
        let request = OriginRequestId::new(self.next_handle());
        let asked = SidecarRequest { stream: fetch.stream, track, range, started: now };
        self.origins.insert(request, OriginUse::Sidecar(asked));
        self.output(Output::SidecarFetch { request, stream: fetch.stream, path, range });
        Some(request)
    }

    /// A part of a sidecar came, or as much of it as there is; `None`: nothing came.
    pub(super) fn sidecar_came(
        &mut self,
        request: OriginRequestId,
        asked: &SidecarRequest,
        body: Option<&[u8]>,
        now: Timestamp,
    ) {
        let stream = self.streams.get(&asked.stream);
        if let Some((stream, body)) = stream.zip(body) {
            let lists = stream.lists_from_sidecar(asked.track, asked.range.start(), body);
            self.pace.note_latency(now.saturating_since(asked.started));
            lists.into_iter().for_each(|list| self.handle_list(list, now));
        }
        let store = &self.store;
        let waiting =
            self.fetches.iter_mut().map(|(_, fetch)| fetch).filter(|fetch| fetch.waits_for_sidecar(request));
        for fetch in waiting {
            fetch.stirred = true;
            // Another name of the same bytes may have taken the list.
            match fetch.content().and_then(|content| store.get(&content)) {
                Some(_) => fetch.phase = Phase::Resolving,
                None => fetch.list_is_nowhere(),
            }
        }
    }

    /// A whole group list is here.
    pub(super) fn handle_list(&mut self, list: GroupList, now: Timestamp) {
        match self.segment_of(&list.root()) {
            Some(segment) => self.with_fetch(segment, |node, fetch| {
                if matches!(fetch.phase, Phase::Listing { .. }) {
                    node.start_trading(fetch, list, now);
                }
            }),
            None if self.store.get(&list.root()).is_some() => {}
            None => self.lists.keep(list),
        }
    }

    /// Gives up a sidecar that nobody needs any more.
    pub(super) fn abort_sidecar(&mut self, fetch: &Fetch) {
        // Who calls this has taken the fetch out.
        if let Phase::Listing { ask: ListAsk::Sidecar(request), .. } = fetch.phase
            && !self.fetches.values().any(|other| other.waits_for_sidecar(request))
            && self.origins.remove(&request).is_some()
        {
            self.output(Output::OriginAbort { request });
        }
    }

    /// The list that a whole body from the origin hashes to, if that is the root's.
    pub(super) fn own_list(fetch: &Fetch) -> Option<GroupList> {
        let Phase::Listing { content, len, .. } = fetch.phase else { return None };
        let values = match len.list_values() {
            0 => Vec::new(),
            _ => fetch.digests.values().map(|digest| digest.value()).collect(),
        };
        GroupList::verified(content, len, values).ok()
    }

    /// Adds a part of a list to what came before; the values, once they are all there.
    pub(super) fn gather_list(&mut self, link: LinkId, part: ListPart) -> Option<Vec<ChainingValue>> {
        if self.lists.answers(link, &part) {
            return Some(part.values.into_vec());
        }
        let segment = self.segment_of(&part.content)?;
        let fetch = self.fetches.get_mut(&segment)?;
        let Phase::Listing { len, ask: ListAsk::Peer(asked, _), .. } = fetch.phase else { return None };
        if asked != link || part.len != len || part.first.value() as usize != fetch.list_values.len() {
            return None;
        }
        let wanted = len.list_values() as usize;
        fetch.list_values.extend(part.values.into_iter().take(wanted - fetch.list_values.len()));
        (fetch.list_values.len() == wanted).then(|| std::mem::take(&mut fetch.list_values))
    }

    /// A peer has no list after all: the sidecar is asked at once.
    pub(super) fn handle_no_list(&mut self, link: LinkId, content: &ContentId, now: Timestamp) {
        if let Some(fetch) = self.segment_of(content).and_then(|segment| self.fetches.get_mut(&segment))
            && let Phase::Listing { ask: ListAsk::Peer(asked, until), .. } = &mut fetch.phase
            && *asked == link
        {
            *until = now;
            fetch.stirred = true;
        }
    }
}
