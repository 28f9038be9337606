//! Serves requested groups, one link after the other, within what each bulk channel takes.

use super::{
    Node,
    io::{Event, Output},
};
use crate::{
    id::{ContentId, LinkId},
    swarm::Upload,
    time::Timestamp,
    wire::{LinkMessage, RejectReason, Request, data_header},
};

impl Node {
    /// A peer asks for groups.
    pub(super) fn handle_request(&mut self, link: LinkId, request: &Request) {
        let stored = self.store.get(&request.content).filter(|_| self.service.may_upload());
        let Some(stored) = stored else {
            self.reject(link, request, RejectReason::NotHeld);
            return;
        };
        let content = request.content;
        let groups: Vec<_> = {
            let most = stored.list.len().groups() as usize;
            request.groups.iter().flat_map(|range| range.iter()).take(most).collect()
        };
        if !groups.iter().all(|group| stored.held.contains(*group)) {
            self.reject(link, request, RejectReason::NotHeld);
            return;
        }
        self.store.touch(&content);
        let Some(state) = self.links.get_mut(&link) else { return };
        let queued = groups
            .iter()
            .all(|group| state.transfer.queue_upload(Upload { request: request.id, content, group: *group }));
        if !queued {
            state.transfer.drop_uploads(request.id);
            self.reject(link, request, RejectReason::Busy);
        }
    }

    fn reject(&mut self, link: LinkId, request: &Request, reason: RejectReason) {
        let payload = LinkMessage::Reject(request.id, reason).to_bytes();
        self.output(Output::SendControl { link, payload });
    }

    /// Hands groups to the bulk channels that have room, in turn.
    pub(super) fn drive_uploads(&mut self, now: Timestamp) {
        let mut busy: Vec<LinkId> = self.ready_links().collect();
        while !busy.is_empty() {
            busy.retain(|link| {
                let Some(state) = self.links.get_mut(link) else { return false };
                let Some(upload) = state.transfer.next_upload(now) else { return false };
                self.send_group(*link, upload, now);
                true
            });
        }
    }

    fn send_group(&mut self, link: LinkId, upload: Upload, now: Timestamp) {
        let Some((blob, range)) = self.held_group(&upload.content, upload.group) else {
            let payload = LinkMessage::Reject(upload.request, RejectReason::NotHeld).to_bytes();
            if let Some(state) = self.links.get_mut(&link) {
                state.transfer.drop_uploads(upload.request);
            }
            self.output(Output::SendControl { link, payload });
            return;
        };
        let header = data_header(upload.request, upload.group, range.len() as usize);
        let Some(state) = self.links.get_mut(&link) else { return };
        state.transfer.sent(range.len(), now);
        let peer = state.peer;
        self.stats.upload_bytes += range.len();
        self.output(Output::SendGroup { link, header, blob, range });
        self.event(Event::GroupSent { peer, bytes: range.len() as u32 });
    }

    fn held_group(
        &self,
        content: &ContentId,
        group: crate::units::GroupIndex,
    ) -> Option<(crate::id::BlobHandle, crate::units::ByteRange)> {
        let stored = self.store.get(content).filter(|stored| stored.held.contains(group))?;
        Some((stored.blob, stored.list.len().group_bytes(group)?))
    }
}
