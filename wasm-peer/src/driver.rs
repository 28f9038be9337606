//! The driver: the node and everything that carries out its outputs.
//!
//! After every call into the node its outputs are drained and its timer is armed. What goes wrong on the way, say a
//! connection that the browser refuses, is told to the node in the same round. The page's side runs nothing of its own while
//! the driver works, so no call ever comes in on top of another.

use std::{collections::VecDeque, time::Duration};

use js_sys::Uint8Array;
use litemap::LiteMap;
use tabswarm_core::{
    content::SegmentKey,
    id::{BlobHandle, LinkId, OriginRequestId, PeerId, StreamId},
    node::{Config, FetchRequest, LinkFailure, Node},
    time::Timestamp,
};
use wasm_bindgen::JsValue;

use crate::{
    blobs::Blobs,
    clock::Clock,
    drain::number,
    hooks::{Callbacks, Hooks, Kind},
    links::Links,
    origin::Origins,
    scratch::{PART_LEN, Scratch},
    service::Service,
    timers::Timer,
};

/// Something that failed while an output was carried out.
pub(crate) enum Fault {
    Link(LinkId, LinkFailure),
    Origin(OriginRequestId),
    Service,
    Sidecar(OriginRequestId),
}

/// Message bytes besides segments, since the start.
#[derive(Clone, Copy, Default)]
pub(crate) struct ControlBytes {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// See the module documentation.
pub(crate) struct Driver {
    pub(crate) node: Node,
    pub(crate) hooks: Hooks,
    pub(crate) blobs: Blobs,
    pub(crate) links: Links,
    pub(crate) origins: Origins,
    pub(crate) service: Service,
    pub(crate) control: ControlBytes,
    /// Joined streams; the page's side knows them by their place.
    pub(crate) streams: Vec<Option<StreamId>>,
    /// The ids of the peers that are ready, as texts of JS.
    pub(crate) names: LiteMap<PeerId, JsValue>,
    /// The link that went last of itself, and why; others were closed here.
    pub(crate) lost: Option<(LinkId, &'static str)>,
    pub(crate) timer: Timer,
    clock: Clock,
    scratch: Scratch,
    pub(crate) faults: VecDeque<Fault>,
    /// Links whose bulk channel was written to in this round.
    pub(crate) written: Vec<LinkId>,
}

impl Driver {
    pub(crate) fn new(config: Config, url: String, ice_servers: Option<js_sys::Array>, hooks: Hooks) -> Self {
        let callbacks = Callbacks::new(&hooks);
        let mut clock = Clock::default();
        Self {
            node: Node::new(config, clock.now()),
            hooks,
            blobs: Blobs::new(),
            links: Links::new(callbacks.clone(), ice_servers),
            origins: Origins::new(callbacks.clone()),
            service: Service::new(callbacks.clone(), url),
            control: ControlBytes::default(),
            streams: Vec::new(),
            names: LiteMap::new(),
            lost: None,
            timer: Timer::new(callbacks.of(Kind::Timer, 0)),
            clock,
            scratch: Scratch::new(),
            faults: VecDeque::new(),
            written: Vec::new(),
        }
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    /// Calls the node and does what follows.
    pub(crate) fn tell<R>(&mut self, call: impl FnOnce(&mut Node, Timestamp) -> R) -> R {
        let now = self.clock.now();
        let result = call(&mut self.node, now);
        self.drain(None, now);
        result
    }

    /// Starts a fetch. Its number is told before its outputs are carried out: they name it.
    pub(crate) fn fetch(&mut self, stream: StreamId, key: SegmentKey, deadline_ms: Option<f64>) {
        let now = self.clock.now();
        let deadline = deadline_ms.map(|delay_ms| after(now, delay_ms));
        let fetch = self.node.fetch(FetchRequest { stream, key, deadline }, now);
        self.hooks.started(number(fetch));
        self.drain(None, now);
    }

    /// Lends bytes to the node and does what follows. Returns false, with nothing lent, if they are too many.
    pub(crate) fn lend(
        &mut self,
        bytes: &Uint8Array,
        call: impl FnOnce(&mut Node, &[u8], Timestamp),
    ) -> bool {
        let now = self.clock.now();
        let Some(lent) = self.scratch.fill(bytes) else { return false };
        call(&mut self.node, lent, now);
        self.drain(Some(bytes), now);
        true
    }

    /// Lends the node a part of what was read from disk.
    pub(crate) fn blob_read(&mut self, blob: BlobHandle, bytes: Option<Uint8Array>, start: u32, end: u32) {
        let Some(bytes) = bytes else {
            return self.tell(|node, now| node.handle_blob(blob, None, now));
        };
        if !self.blobs.fill(blob, &bytes) {
            return;
        }
        for from in (start..end).step_by(PART_LEN) {
            let part = bytes.subarray(from, end.min(from + PART_LEN as u32));
            self.lend(&part, |node, lent, now| node.handle_blob(blob, Some(lent), now));
        }
    }

    /// Tells the node that a link is gone.
    pub(crate) fn link_lost(&mut self, link: LinkId, failure: LinkFailure) {
        if self.links.abandon(link) {
            self.node.handle_uncollected(self.links.uncollected());
            self.lost = Some((link, reason(failure)));
            self.tell(|node, now| node.handle_link_closed(link, failure, now));
        }
    }

    /// Why a link is gone, for `peer-close`.
    pub(crate) fn close_reason(&self, link: LinkId) -> &'static str {
        self.lost.filter(|(lost, _)| *lost == link).map_or("closed-here", |(_, reason)| reason)
    }

    /// Lets go of everything at once.
    pub(crate) fn close_all(&mut self) {
        self.timer.stop();
        self.origins.abort_all();
        self.service.close();
        self.links.close_all();
        self.blobs.clear();
    }
}

/// Why a link is gone of itself, for `peer-close`.
pub(crate) fn reason(failure: LinkFailure) -> &'static str {
    match failure {
        LinkFailure::Closed => "closed",
        LinkFailure::Exhausted => "exhausted",
        LinkFailure::Misbehaviour => "misbehaviour",
    }
}

/// So many milliseconds from now: negative numbers and NaN are now, infinity is never.
pub(crate) fn after(now: Timestamp, delay_ms: f64) -> Timestamp {
    now + Duration::from_millis(delay_ms as u64)
}
