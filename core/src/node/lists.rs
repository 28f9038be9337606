//! Group lists: from a holder first, then from the manifest's sidecar.

use std::time::Duration;

use super::{
    Node,
    fetch::{Fetch, ListAsk, Phase},
    io::Output,
    origins::OriginUse,
};
use crate::{
    content::{ChainingValue, GroupList},
    id::{ContentId, LinkId, OriginRequestId},
    time::Timestamp,
    wire::{LinkMessage, ListPart},
};

/// A peer that was asked for a group list has this long.
const LIST_PATIENCE: Duration = Duration::from_millis(400);

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
                self.output(Output::SendControl { link, payload: LinkMessage::GetList(content).to_bytes() });
                fetch.list_values.clear();
                ListAsk::Peer(link, now + LIST_PATIENCE)
            }
            None => {
                let sidecar = self.streams.get(&fetch.stream).and_then(|state| state.sidecar(&fetch.key));
                sidecar.map_or(ListAsk::Nowhere, |(path, range)| {
                    let request = OriginRequestId::new(self.next_handle());
                    self.origins.insert(request, OriginUse::Sidecar(fetch.segment, now));
                    self.output(Output::SidecarFetch { request, stream: fetch.stream, path, range });
                    ListAsk::Sidecar(request)
                })
            }
        };
        fetch.phase = Phase::Listing { content, len, ask };
    }

    /// A whole group list came from a peer.
    pub(super) fn handle_list(&mut self, list: GroupList, now: Timestamp) {
        let Some(segment) = self.segment_of(&list.root()) else { return };
        self.with_fetch(segment, |node, fetch| {
            if matches!(fetch.phase, Phase::Listing { .. }) {
                node.start_trading(fetch, list, now);
            }
        });
    }

    /// No sidecar came.
    pub(super) fn sidecar_missing(fetch: &mut Fetch) {
        if let Phase::Listing { ask, .. } = &mut fetch.phase {
            *ask = ListAsk::Nowhere;
        }
    }

    /// Gives up a sidecar that is not needed any more.
    pub(super) fn abort_sidecar(&mut self, fetch: &Fetch) {
        if let Phase::Listing { ask: ListAsk::Sidecar(request), .. } = fetch.phase
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
