//! What the browser says: events of connections, the WebSocket, origin requests and the timer.

use js_sys::{ArrayBuffer, Uint8Array};
use tabswarm_core::{
    id::{LinkId, OriginRequestId},
    identity::Candidate,
    node::{Channel, LinkFailure, OriginHead},
};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, Response, RtcPeerConnectionIceEvent};

use crate::{
    drain::number,
    driver::Driver,
    hooks::Kind,
    link::Stage,
    origin::{Purpose, Read, read_chunk},
    scratch::PART_LEN,
};

impl Driver {
    /// Takes one event. Events of what is gone meanwhile are dropped.
    pub(crate) fn dispatch(&mut self, kind: Kind, id: u64, value: JsValue) {
        match kind {
            Kind::Timer => {
                self.timer.fired();
                self.tell(|node, now| node.handle_timeout(now));
            }
            Kind::ServiceOpen => self.tell(|node, now| node.handle_service_open(now)),
            Kind::ServiceMessage => self.service_message(&value),
            Kind::ServiceClosed => {
                self.service.close();
                self.tell(|node, now| node.handle_service_closed(now));
            }
            Kind::OriginHead | Kind::OriginChunk | Kind::OriginFailed | Kind::SidecarBody => {
                self.origin_event(kind, OriginRequestId::new(id), value)
            }
            Kind::Collected => {
                self.links.collected();
                self.node.handle_uncollected(self.links.uncollected());
            }
            Kind::Lingered => {
                self.links.lingered(LinkId::new(id));
                self.node.handle_uncollected(self.links.uncollected());
            }
            Kind::Ignored => {}
            _ => self.link_event(kind, LinkId::new(id), &value),
        }
    }

    fn service_message(&mut self, event: &JsValue) {
        let lent = message_bytes(event).is_some_and(|bytes| {
            self.control.received += u64::from(bytes.length());
            self.lend(&bytes, |node, message, now| node.handle_service_message(message, now))
        });
        if !lent {
            self.service.close();
            self.tell(|node, now| node.handle_service_closed(now));
        }
    }

    fn link_event(&mut self, kind: Kind, id: LinkId, value: &JsValue) {
        let callbacks = self.links.callbacks();
        let Some(link) = self.links.get(id) else { return };
        match kind {
            Kind::OfferMade | Kind::AnswerMade => link.set_local(value, callbacks),
            Kind::RemoteOfferSet => link.answer(callbacks),
            Kind::LocalSet => self.described(id),
            Kind::CandidateFound => self.candidate_found(id, value),
            Kind::ChannelOpen => self.channel_open(id),
            Kind::ControlMessage => self.link_message(id, Channel::Control, value),
            Kind::BulkMessage => self.link_message(id, Channel::Bulk, value),
            Kind::BulkLow => {
                let now = self.now();
                self.report_buffered(id, now);
                self.drain(None, now);
            }
            Kind::StateChanged if !link.has_failed() => {}
            Kind::ForeignChannel => self.link_lost(id, LinkFailure::Misbehaviour),
            _ => self.link_lost(id, LinkFailure::Closed),
        }
    }

    fn described(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.stage = Stage::Connecting;
        let kind = link.local;
        match link.description() {
            Ok(description) => {
                self.tell(|node, now| node.handle_local_description(id, kind, description, now));
            }
            Err(_) => self.link_lost(id, LinkFailure::Closed),
        }
    }

    fn candidate_found(&mut self, id: LinkId, event: &JsValue) {
        // Until the description is read, its SDP has them all.
        if self.links.get(id).is_none_or(|link| link.stage == Stage::Describing) {
            return;
        }
        let event: &RtcPeerConnectionIceEvent = event.unchecked_ref();
        let line = event.candidate().map(|candidate| candidate.candidate());
        // An empty line ends one generation; the event without a candidate, which always comes, ends the gathering.
        if line.as_deref() == Some("") {
            return;
        }
        if let Ok(candidate) = Candidate::new(&line.unwrap_or_default()) {
            self.tell(|node, now| node.handle_local_candidate(id, candidate, now));
        }
    }

    fn channel_open(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.stage != Stage::Open && link.is_open() {
            link.stage = Stage::Open;
            self.tell(|node, now| node.handle_link_open(id, now));
        }
    }

    fn link_message(&mut self, id: LinkId, channel: Channel, event: &JsValue) {
        let lent = message_bytes(event).is_some_and(|bytes| {
            if channel == Channel::Control {
                self.control.received += u64::from(bytes.length());
            }
            self.lend(&bytes, |node, message, now| node.handle_link_message(id, channel, message, now))
        });
        if !lent {
            self.link_lost(id, LinkFailure::Misbehaviour);
        }
    }

    fn origin_event(&mut self, kind: Kind, id: OriginRequestId, value: JsValue) {
        let Some(purpose) = self.origins.purpose(id) else { return };
        match (kind, purpose) {
            (Kind::OriginHead, _) => self.origin_head(id, purpose, value.unchecked_ref()),
            (Kind::OriginChunk, _) => match read_chunk(value) {
                Read::Bytes(bytes) => self.origin_bytes(id, purpose, &bytes),
                Read::End => {
                    self.origin_over(id);
                    self.tell(|node, now| node.handle_origin_end(id, now));
                }
            },
            (Kind::SidecarBody, _) => {
                let body = Uint8Array::new(&value);
                let part = self.origins.sidecar_part(id, &body);
                self.origins.remove(id);
                self.tell(|node, now| node.handle_sidecar(id, part.as_deref(), now));
            }
            (_, Purpose::Sidecar(_)) => self.sidecar_failed(id),
            _ => {
                self.origin_over(id);
                self.tell(|node, now| node.handle_origin_failed(id, now));
            }
        }
    }

    fn origin_head(&mut self, id: OriginRequestId, purpose: Purpose, response: &Response) {
        let Some(head) = self.origins.head(id, response) else { return };
        match purpose {
            Purpose::Segment(fetch) => {
                self.hooks.origin_head(number(fetch));
                self.segment_head(id, response, head);
            }
            Purpose::Sidecar(_) if self.origins.read_sidecar(id, response, head) => {}
            Purpose::Sidecar(_) => self.sidecar_failed(id),
        }
    }

    fn segment_head(&mut self, id: OriginRequestId, response: &Response, head: OriginHead) {
        self.tell(|node, now| node.handle_origin_head(id, head, now));
        // The node may have aborted the request because of its head.
        if self.origins.purpose(id).is_none() || (response.ok() && self.origins.read_parts(id, response)) {
            return;
        }
        if let Some(Purpose::Segment(fetch)) = self.origins.abort(id) {
            self.hooks.origin_end(number(fetch));
        }
        self.tell(|node, now| node.handle_origin_end(id, now));
    }

    fn origin_bytes(&mut self, id: OriginRequestId, purpose: Purpose, bytes: &Uint8Array) {
        if let Purpose::Segment(fetch) = purpose {
            self.hooks.origin_chunk(number(fetch), bytes.length());
        }
        let mut start = 0;
        while start < bytes.length() && self.origins.purpose(id).is_some() {
            let end = bytes.length().min(start + PART_LEN as u32);
            self.lend(&bytes.subarray(start, end), |node, lent, now| node.handle_origin_bytes(id, lent, now));
            start = end;
        }
        self.origins.read_next(id);
    }

    fn origin_over(&mut self, id: OriginRequestId) {
        if let Some(Purpose::Segment(fetch)) = self.origins.remove(id) {
            self.hooks.origin_end(number(fetch));
        }
    }

    fn sidecar_failed(&mut self, id: OriginRequestId) {
        self.origins.abort(id);
        self.tell(|node, now| node.handle_sidecar(id, None, now));
    }
}

/// The bytes of a message; `None` for text.
fn message_bytes(event: &JsValue) -> Option<Uint8Array> {
    let event: &MessageEvent = event.unchecked_ref();
    let buffer = event.data().dyn_into::<ArrayBuffer>().ok()?;
    Some(Uint8Array::new(&buffer))
}
