//! Carrying out the node's outputs.

use js_sys::{Array, Uint8Array};
use tabswarm_core::{
    guard::Violation,
    id::{FetchId, LinkId, PeerId, StreamId},
    node::{Delivery, Event, FetchError, LinkFailure, Output, Provenance},
    time::Timestamp,
};
use wasm_bindgen::prelude::*;

use crate::{
    driver::{Driver, Fault, reason},
    origin::Purpose,
};

impl Driver {
    /// Carries out outputs until there are none, tells the node what failed meanwhile, and arms the timer. `lent` is
    /// what was lent to the call just made.
    pub(crate) fn drain(&mut self, lent: Option<&Uint8Array>, now: Timestamp) {
        loop {
            while let Some(output) = self.node.poll_output() {
                self.carry_out(output, lent);
            }
            if let Some(link) = self.written.pop() {
                self.report_buffered(link, now);
            } else if let Some(fault) = self.faults.pop_front() {
                self.report(fault, now);
            } else {
                break;
            }
        }
        self.timer.arm(self.node.poll_timeout(), now);
    }

    pub(crate) fn report_buffered(&mut self, link: LinkId, now: Timestamp) {
        if let Some(buffered) = self.links.get(link).map(|link| link.bulk_buffered()) {
            self.node.handle_link_buffered(link, buffered, now);
        }
    }

    fn report(&mut self, fault: Fault, now: Timestamp) {
        match fault {
            Fault::Link(link, failure) => {
                self.links.abandon(link);
                self.node.handle_uncollected(self.links.uncollected());
                self.lost = Some((link, reason(failure)));
                self.node.handle_link_closed(link, failure, now);
            }
            Fault::Origin(request) => self.node.handle_origin_failed(request, now),
            Fault::Service => self.node.handle_service_closed(now),
            Fault::Sidecar(request) => self.node.handle_sidecar(request, None, now),
        }
    }

    fn carry_out(&mut self, output: Output, lent: Option<&Uint8Array>) {
        match output {
            Output::ConnectService | Output::CloseService | Output::SendService(_) => self.serve(output),
            Output::Dial { .. }
            | Output::Accept { .. }
            | Output::SetRemote { .. }
            | Output::AddCandidate { .. }
            | Output::SendControl { .. }
            | Output::SendGroups { .. }
            | Output::CloseLink { .. } => self.link_up(output),
            Output::Open { blob } => self.blobs.open(blob),
            Output::Keep { blob, offset, source } => {
                if let Some(lent) = lent {
                    self.blobs.keep(blob, offset, lent, source);
                }
            }
            Output::Drop { blob } => self.blobs.drop_blob(blob),
            Output::Persist { .. }
            | Output::Load { .. }
            | Output::Forget { .. }
            | Output::KeepBlocks { .. } => self.ask_disk(output),
            Output::OriginFetch { .. } | Output::SidecarFetch { .. } | Output::OriginAbort { .. } => {
                self.ask_origin(output);
            }
            Output::ManifestFetch { stream } => self.hooks.request_manifest(self.stream_number(stream)),
            Output::Deliver { fetch, blob, len, status, delivery, provenance } => {
                // What nobody asked for yet stays where it is: it will be asked for.
                let stays = delivery == Delivery::Verified && self.hooks.stays(number(fetch));
                let Some(bytes) = self.blobs.copy(blob, if stays { 0 } else { len }) else {
                    return self.hooks.failed(number(fetch), "network", 0);
                };
                self.deliver(fetch, &bytes, status, delivery, &provenance);
            }
            Output::Fail { fetch, error } => {
                let (code, status) = failure_code(error);
                self.hooks.failed(number(fetch), code, status);
            }
            Output::Event(event) => self.show(event),
        }
    }

    fn serve(&mut self, output: Output) {
        let carried = match output {
            Output::ConnectService => self.service.connect(),
            Output::SendService(message) => {
                self.control.sent += message.len() as u64;
                self.service.send(&message)
            }
            _ => {
                self.service.close();
                Ok(())
            }
        };
        if carried.is_err() {
            self.service.close();
            self.faults.push_back(Fault::Service);
        }
    }

    fn link_up(&mut self, output: Output) {
        match output {
            Output::Dial { link } => self.open_link(link, None),
            Output::Accept { link, remote } => self.open_link(link, Some(&remote)),
            Output::SetRemote { link, remote } => {
                if let Some(link) = self.links.get(link) {
                    link.apply_answer(&remote, self.links.callbacks());
                }
            }
            Output::AddCandidate { link, candidate } => {
                if let Some(link) = self.links.get(link) {
                    link.add_candidate(&candidate, self.links.callbacks());
                }
            }
            Output::SendControl { link, payload } => {
                self.control.sent += payload.len() as u64;
                let sent = self.links.get(link).map(|link| link.send_control(&payload));
                self.check_sent(link, sent);
            }
            Output::SendGroups { link, header, blob, range } => {
                let Some(message) = self.blobs.message(&header, blob, range) else { return };
                let sent = self.links.get(link).map(|link| link.send_bulk(&message));
                if !self.written.contains(&link) {
                    self.written.push(link);
                }
                self.check_sent(link, sent);
            }
            Output::CloseLink { link } => {
                self.links.close_gently(link);
                self.node.handle_uncollected(self.links.uncollected());
            }
            _ => {}
        }
    }

    fn open_link(&mut self, link: LinkId, remote: Option<&tabswarm_core::identity::Description>) {
        if self.links.open(link, remote, self.node.ice_servers()).is_err() {
            self.faults.push_back(Fault::Link(link, LinkFailure::Exhausted));
        }
    }

    // A channel refuses to send when it is closing or its buffer is full: either way the link is of no more use.
    fn check_sent(&mut self, link: LinkId, sent: Option<Result<(), JsValue>>) {
        if let Some(Err(_)) = sent {
            self.faults.push_back(Fault::Link(link, LinkFailure::Closed));
        }
    }

    fn ask_origin(&mut self, output: Output) {
        let (asked, fault) = match output {
            Output::OriginFetch { request, fetch, range, fresh } => {
                (self.origins.fetch(request, fetch, range, fresh, &self.hooks), Fault::Origin(request))
            }
            Output::SidecarFetch { request, stream, path, range } => {
                let place = self.stream_number(stream);
                let asked = self.origins.fetch_sidecar(request, place, &path, range, &self.hooks);
                (asked, Fault::Sidecar(request))
            }
            Output::OriginAbort { request } => {
                if let Some(Purpose::Segment(fetch)) = self.origins.abort(request) {
                    self.hooks.origin_end(number(fetch));
                }
                return;
            }
            _ => return,
        };
        if asked.is_err() {
            self.faults.push_back(fault);
        }
    }

    fn ask_disk(&mut self, output: Output) {
        match output {
            Output::Persist { content, stream, blob, len } => {
                // The node names blobs that it has whole.
                let bytes = self.blobs.copy(blob, len).unwrap_or_default();
                self.hooks.persist(&content.to_string(), &stream.to_string(), &bytes);
            }
            Output::Load { blob, content, stream } => {
                self.blobs.open(blob);
                self.hooks.load(blob.value() as f64, &content.to_string(), &stream.to_string());
            }
            Output::Forget { content, stream } => {
                self.hooks.forget(&content.to_string(), &stream.to_string())
            }
            Output::KeepBlocks { bytes } => self.hooks.keep_blocks(&Uint8Array::from(bytes.as_slice())),
            _ => {}
        }
    }

    fn deliver(
        &self,
        fetch: FetchId,
        bytes: &Uint8Array,
        status: u16,
        delivery: Delivery,
        provenance: &Provenance,
    ) {
        let peers: Array = provenance.peers.iter().map(|peer| JsValue::from(peer.to_string())).collect();
        self.hooks.delivered(
            number(fetch),
            status,
            bytes,
            delivery == Delivery::Verified,
            provenance.origin_bytes as f64,
            provenance.peer_bytes as f64,
            provenance.disk_bytes as f64,
            provenance.took.as_secs_f64() * 1000.0,
            &peers,
        );
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::GroupsVerified { fetch, peer: Some(peer), bytes } => {
                self.hooks.peer_chunk(number(fetch), bytes, &self.name(peer));
            }
            Event::GroupsSent { peer, bytes } => self.hooks.uploaded(bytes, &self.name(peer)),
            Event::PeerConnected { link, peer } => {
                self.names.insert(peer, JsValue::from(peer.to_string()));
                self.hooks.peer_connected(link.value() as f64, &peer.to_string());
            }
            Event::PeerClosed { link, peer } => {
                self.names.remove(&peer);
                let reason = self.close_reason(link);
                self.hooks.peer_closed(link.value() as f64, &peer.to_string(), reason);
            }
            Event::PeerBanned { peer, violation } => {
                self.hooks.peer_banned(&peer.to_string(), violation_code(violation));
            }
            Event::ManifestRolledBack { stream } => {
                self.hooks.manifest_rolled_back(self.stream_number(stream));
            }
            Event::OriginMismatch { fetch } => self.hooks.mismatch(number(fetch)),
            Event::Population { stream, viewers } => {
                self.hooks.population(self.stream_number(stream), viewers);
            }
            Event::ServiceReady { peer } => self.hooks.service_ready(&peer.to_string()),
            Event::ServiceLost => self.hooks.service_lost(),
            // The origin's bytes were told as they came.
            _ => {}
        }
    }

    /// A peer's id as the page's side has it: made once, for a peer gives groups by the thousand.
    fn name(&self, peer: PeerId) -> JsValue {
        self.names.get(&peer).cloned().unwrap_or_else(|| JsValue::from(peer.to_string()))
    }

    /// What the page's side calls a stream.
    fn stream_number(&self, stream: StreamId) -> f64 {
        self.streams.iter().position(|joined| *joined == Some(stream)).map_or(-1.0, |place| place as f64)
    }
}

/// What the page's side calls a fetch.
pub(crate) fn number(fetch: FetchId) -> f64 {
    fetch.value() as f64
}

fn failure_code(error: FetchError) -> (&'static str, u16) {
    match error {
        FetchError::Cancelled => ("cancelled", 0),
        FetchError::Mismatch => ("mismatch", 0),
        FetchError::Status(status) => ("status", status),
        _ => ("network", 0),
    }
}

fn violation_code(violation: Violation) -> &'static str {
    match violation {
        Violation::BadGroup => "bad-group",
        Violation::BadHello => "bad-hello",
        Violation::Malformed => "malformed",
        Violation::NeverGives => "never-gives",
        Violation::TooManyMessages => "too-many-messages",
        Violation::Transport => "transport",
        Violation::Unsolicited => "unsolicited",
        _ => "other",
    }
}
