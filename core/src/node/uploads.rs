//! Serves requested groups, one link after the other, within what each bulk channel takes.

use super::{
    Node,
    io::{Event, Output},
};
use crate::{
    content::GROUP_LEN,
    id::{ContentId, LinkId},
    swarm::{Rate, Upload},
    time::Timestamp,
    wire::{LinkMessage, RejectReason, Request, data_header},
};

/// Least bytes in flight on all links together: an uplink is shared by few at a time, so that what is sent is whole soon and
/// what is taken back has not been sent yet.
const MIN_TOTAL_IN_FLIGHT: u64 = 64 * 1024;
/// Groups that may wait in any case, however slow the uplink.
const MIN_BACKLOG: usize = 8;

/// What all uploads share.
#[derive(Debug)]
pub(super) struct Uploads {
    /// The link that was served last.
    last: LinkId,
    rate: Rate,
}

impl Uploads {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { last: LinkId::new(0), rate: Rate::new(now) }
    }

    /// Bytes in flight on all links that keep the uplink busy: a quarter of a second.
    fn in_flight(&self, now: Timestamp) -> u64 {
        MIN_TOTAL_IN_FLIGHT.max(self.rate.at(now).value() / 4)
    }

    /// Groups that leave within a second.
    fn backlog(&self, now: Timestamp) -> usize {
        MIN_BACKLOG.max((self.rate.at(now).value() / u64::from(GROUP_LEN)) as usize)
    }
}

impl Node {
    /// A peer asks for groups.
    pub(super) fn handle_request(&mut self, link: LinkId, request: &Request, now: Timestamp) {
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
        // Who has nothing waiting may go beyond what one may fill alone.
        let first = self.links.get(&link).is_some_and(|state| state.transfer.queued() == 0);
        let backlog = self.uploads.backlog(now) * if first { 2 } else { 1 };
        if self.waiting_groups() + groups.len() > backlog {
            self.reject(link, request, RejectReason::Busy);
            return;
        }
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

    fn waiting_groups(&self) -> usize {
        self.links.values().map(|state| state.transfer.queued()).sum()
    }

    /// When groups that wait may be sent though nothing was said to have left.
    pub(super) fn uploads_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let until =
            self.links.values().filter_map(|state| state.transfer.in_flight(now)).map(|(_, until)| until);
        until.min().filter(|_| self.waiting_groups() > 0)
    }

    /// Hands groups to the bulk channels that have room, in turn.
    pub(super) fn drive_uploads(&mut self, now: Timestamp) {
        let in_flight = self.links.values().filter_map(|state| state.transfer.in_flight(now));
        let in_flight: u64 = in_flight.map(|(bytes, _)| bytes).sum();
        let mut room = self.uploads.in_flight(now).saturating_sub(in_flight);
        let mut idle = 0;
        while room > 0 && idle < self.links.len() {
            let after = self.links.keys().copied().find(|link| *link > self.uploads.last);
            let Some(link) = after.or_else(|| self.links.keys().next().copied()) else { return };
            self.uploads.last = link;
            let upload = self.links.get_mut(&link).and_then(|state| state.transfer.next_upload(now));
            idle = if upload.is_some() { 0 } else { idle + 1 };
            if let Some(upload) = upload {
                room = room.saturating_sub(u64::from(GROUP_LEN));
                self.send_group(link, upload, now);
            }
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
        self.uploads.rate.add(range.len(), now);
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
