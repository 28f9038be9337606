//! A host: one real node, and the driver that carries out what it asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tabswarm_core::{
    id::{BlobHandle, FetchId, LinkId, OriginRequestId, PeerId},
    identity::{Candidate, Description},
    node::{Channel, Delivery, Event as NodeEvent, FetchError, Node, OriginHead, Output, SdpKind},
    time::Timestamp,
    wire::{LinkMessage, frames},
};

use super::{
    bytes::{Blob, Body, Message},
    links::Wire,
    network::Pipe,
    origin,
    player::Player,
    service::{self, ConnectionId},
    tamper::Tamper,
    uplink::Uplink,
    world::{Event, World},
};

/// Number of a host, from 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostId(pub u32);

/// What happens at a host.
#[derive(Debug)]
pub(crate) enum Happening {
    Failed(FetchId),
    FirstFrame,
    LinkClosed(LinkId),
    LinkOpen(LinkId),
    Loaded(FetchId),
    LocalCandidate(LinkId),
    LocalDescription(LinkId, SdpKind, Description),
    Manifest,
    Message(LinkId, Channel, Message),
    OriginBytes(OriginRequestId, Body),
    OriginEnd(OriginRequestId),
    OriginFailed(OriginRequestId),
    OriginHead(OriginRequestId, OriginHead),
    Play,
    /// A bulk message has left.
    Sent(LinkId, Message),
    ServiceClosed(ConnectionId),
    ServiceMessage(ConnectionId, Vec<u8>),
    ServiceOpen(ConnectionId),
    Sidecar(OriginRequestId, Option<Vec<u8>>),
    Timer,
}

/// How a fetch went.
#[derive(Clone, Copy, Debug)]
pub struct FetchTimes {
    /// When it was delivered.
    pub ended: Option<Timestamp>,
    /// When the origin was asked first.
    pub origin: Option<Timestamp>,
    /// When the player asked.
    pub started: Timestamp,
    /// Longest time without a group after a peer and before the origin was asked, and when it was over.
    pub waited: (Duration, Timestamp),
    /// When a group came last, or a peer was asked first.
    heard: Option<Timestamp>,
}

impl FetchTimes {
    fn new(started: Timestamp) -> Self {
        Self { ended: None, origin: None, started, waited: (Duration::ZERO, started), heard: None }
    }

    /// Something came, or was asked for at the origin.
    fn hear(&mut self, now: Timestamp) {
        if self.origin.is_none() {
            let heard = self.heard.replace(now).unwrap_or(now);
            self.waited = self.waited.max((now.saturating_since(heard), now));
        }
    }
}

/// What a host did, for the report.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) left_at: Option<Timestamp>,
    /// Everything but groups, with its time.
    pub(crate) events: Vec<(Timestamp, NodeEvent)>,
    pub(crate) errors: Vec<FetchError>,
    pub(crate) fetches: BTreeMap<FetchId, FetchTimes>,
    /// Bytes of each manifest that came, but for the signature.
    pub(crate) manifests: Vec<u64>,
    pub(crate) verified: u32,
    pub(crate) origin_whole: u32,
    /// Delivered segments that differ from the origin's file.
    pub(crate) wrong: u32,
    pub(crate) played_bytes: u64,
    pub(crate) control_bytes: u64,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

pub(crate) struct Host {
    pub(crate) node: Node,
    /// The host's clock runs ahead of the simulation's by this.
    pub(crate) ahead: Duration,
    pub(crate) armed: Option<Timestamp>,
    pub(crate) joined_at: Timestamp,
    pub(crate) track: usize,
    tamper: Option<(Tamper, Duration)>,
    pub(crate) links: BTreeMap<LinkId, Wire>,
    pub(crate) up: Uplink,
    pub(crate) down: Pipe,
    pub(crate) service: Option<ConnectionId>,
    pub(crate) player: Player,
    /// When the player is asked for wishes next.
    pub(crate) woken: Option<Timestamp>,
    pub(crate) log: Log,
    blobs: BTreeMap<BlobHandle, Blob>,
    connections: u32,
    fetches: BTreeMap<FetchId, usize>,
    requests: BTreeSet<OriginRequestId>,
}

impl Host {
    pub(crate) fn new(
        node: Node,
        ahead: Duration,
        lines: (Uplink, Pipe),
        player: Player,
        tamper: Option<(Tamper, Duration)>,
    ) -> Self {
        Self {
            node,
            ahead,
            armed: None,
            joined_at: Timestamp::default(),
            track: 0,
            tamper,
            links: BTreeMap::new(),
            up: lines.0,
            down: lines.1,
            service: None,
            player,
            woken: None,
            log: Log::default(),
            blobs: BTreeMap::new(),
            connections: 0,
            fetches: BTreeMap::new(),
            requests: BTreeSet::new(),
        }
    }

    /// What its transport does now to what it sends.
    pub(crate) fn tampers(&self, now: Timestamp) -> Option<Tamper> {
        let started = |from: &Duration| now >= Timestamp::default() + *from;
        self.tamper.filter(|(_, from)| started(from)).map(|(tamper, _)| tamper)
    }

    pub(crate) fn peer_id(&self) -> Option<PeerId> {
        self.node.peer_id()
    }

    /// Gives up everything that was asked for.
    pub(crate) fn stop_playing(&mut self, now: Timestamp) {
        self.fetches.keys().for_each(|fetch| self.node.cancel(*fetch, now));
    }

    /// Remembers which segment a fetch is for, and when it began by the host's clock.
    pub(crate) fn note_fetch(&mut self, fetch: FetchId, segment: usize, clock: Timestamp) {
        self.fetches.insert(fetch, segment);
        let started = clock.saturating_sub(self.ahead);
        self.log.fetches.insert(fetch, FetchTimes::new(started));
    }
}

impl World {
    /// Calls into a host's node, carries out what it wants, and arms its timer. `lent` is what the call was lent.
    pub(crate) fn call<T>(
        &mut self,
        id: HostId,
        lent: Option<&Message>,
        act: impl FnOnce(&mut Host, Timestamp) -> T,
    ) -> Option<T> {
        let now = self.now();
        let host = self.hosts.get_mut(&id)?;
        let clock = now + host.ahead;
        let value = act(host, clock);
        loop {
            let mut sent = BTreeSet::new();
            while let Some(output) = self.hosts.get_mut(&id).and_then(|host| host.node.poll_output()) {
                if let Output::SendGroups { link, .. } = &output {
                    sent.insert(*link);
                }
                self.carry_out(id, output, lent);
            }
            if sent.is_empty() {
                break;
            }
            for link in sent {
                self.report_buffered(id, link);
            }
        }
        self.arm(id);
        Some(value)
    }

    fn report_buffered(&mut self, id: HostId, link: LinkId) {
        let now = self.now();
        if let Some(host) = self.hosts.get_mut(&id) {
            let bytes = host.up.buffered(link);
            host.node.handle_link_buffered(link, bytes, now + host.ahead);
        }
    }

    fn arm(&mut self, id: HostId) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(due) = host.node.poll_timeout() else { return };
        let clock = now + host.ahead;
        assert!(due > clock, "{id:?} wants to be called at a time that is over, again and again");
        let due = now + due.saturating_since(clock);
        if host.armed.is_none_or(|armed| due < armed) {
            host.armed = Some(due);
            self.queue.push(due, Event::At(id, Happening::Timer));
        }
    }

    fn carry_out(&mut self, id: HostId, output: Output, lent: Option<&Message>) {
        match output {
            Output::ConnectService => self.connect_service(id),
            Output::CloseService => {
                if let Some(connection) = self.host(id).service.take() {
                    self.ask_service(id, service::Arrival::Closed(connection));
                }
            }
            Output::SendService(bytes) => {
                self.host(id).log.control_bytes += bytes.len() as u64;
                if let Some(connection) = self.host(id).service {
                    self.ask_service(id, service::Arrival::Message(connection, bytes));
                }
            }
            Output::Dial { link } => self.dial(id, link),
            Output::Accept { link, remote } => self.accept(id, link, &remote),
            Output::SetRemote { link, remote } => self.connect(id, link, &remote),
            Output::AddCandidate { .. } => {}
            Output::SendControl { link, payload } => {
                self.host(id).log.control_bytes += payload.len() as u64;
                self.note_asked(id, &payload);
                self.send(id, link, Channel::Control, Message::plain(payload));
            }
            Output::SendGroups { link, header, blob, range } => {
                let library = &self.catalog.library;
                let blob = self.hosts.get(&id).and_then(|host| host.blobs.get(&blob));
                let body = blob.and_then(|blob| blob.read(range.start()..range.end(), library));
                let body = body.expect("the node sends only what it was given");
                self.send(id, link, Channel::Bulk, Message { header, body });
            }
            Output::CloseLink { link } => self.close(id, link),
            Output::Open { blob } => {
                let before = self.host(id).blobs.insert(blob, Blob::default());
                assert!(before.is_none(), "a blob is opened once");
            }
            Output::Keep { blob, offset, source } => {
                let lent = lent.expect("bytes are kept only where some were lent");
                let part = lent.part(source, &self.catalog.library);
                let blob = self.host(id).blobs.get_mut(&blob).expect("bytes are kept in an open blob");
                blob.write(offset, part);
            }
            Output::Drop { blob } => {
                assert!(self.host(id).blobs.remove(&blob).is_some(), "a blob is dropped once");
            }
            other => self.carry_out_fetch(id, other),
        }
    }

    /// The outputs that have to do with the origin and the player.
    fn carry_out_fetch(&mut self, id: HostId, output: Output) {
        match output {
            Output::OriginFetch { request, fetch, range, .. } => {
                self.host(id).requests.insert(request);
                let (now, segment) = (self.now(), self.host(id).fetches[&fetch]);
                if let Some(times) = self.host(id).log.fetches.get_mut(&fetch) {
                    times.hear(now);
                    times.origin.get_or_insert(now);
                }
                self.ask_origin(id, request, origin::Arrival::Request { segment, range });
            }
            Output::SidecarFetch { request, path, range, .. } => {
                self.host(id).requests.insert(request);
                self.ask_origin(id, request, origin::Arrival::Sidecar { path, range });
            }
            Output::ManifestFetch { .. } => {
                let at = self.now() + self.origin_delay(id) * 2;
                self.queue.push(at, Event::At(id, Happening::Manifest));
            }
            Output::OriginAbort { request } => {
                assert!(self.host(id).requests.remove(&request), "only a running request is given up");
                self.ask_origin(id, request, origin::Arrival::Abort);
            }
            Output::Deliver { fetch, blob, len, delivery, .. } => {
                self.check_delivery(id, fetch, blob, len, delivery);
                let now = self.now();
                if let Some(times) = self.host(id).log.fetches.get_mut(&fetch) {
                    times.ended = Some(now);
                }
                self.queue.push(now, Event::At(id, Happening::Loaded(fetch)));
            }
            Output::Fail { fetch, error } => {
                self.host(id).log.errors.push(error);
                let now = self.now();
                self.queue.push(now, Event::At(id, Happening::Failed(fetch)));
            }
            Output::Event(event) => {
                let now = self.now();
                if let NodeEvent::GroupsVerified { fetch, .. } = &event
                    && let Some(times) = self.host(id).log.fetches.get_mut(fetch)
                {
                    times.hear(now);
                }
                let of_groups =
                    matches!(event, NodeEvent::GroupsSent { .. } | NodeEvent::GroupsVerified { .. });
                if !of_groups {
                    self.trace(&format!("{event:?}"));
                    self.host(id).log.events.push((now, event));
                }
            }
            _ => unreachable!("carry_out took the others"),
        }
    }

    /// Patience with holders begins when the first of them is asked.
    fn note_asked(&mut self, id: HostId, payload: &[u8]) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.log.fetches.values().all(|times| times.heard.is_some()) {
            return;
        }
        for frame in frames(payload).flatten() {
            let Ok(Some(LinkMessage::Request(request))) = LinkMessage::decode(&frame) else { continue };
            for (fetch, times) in host.log.fetches.iter_mut().filter(|(_, times)| times.heard.is_none()) {
                if self.catalog.segments[host.fetches[fetch]].list.root() == request.content {
                    times.heard = Some(now);
                }
            }
        }
    }

    fn check_delivery(&mut self, id: HostId, fetch: FetchId, blob: BlobHandle, len: u64, delivery: Delivery) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let segment = &self.catalog.segments[host.fetches[&fetch]];
        let bytes = segment.start..segment.start + segment.len();
        let right = len == segment.len()
            && host.blobs.get(&blob).is_some_and(|blob| blob.is(segment.file, bytes, &self.catalog.library));
        host.log.wrong += u32::from(!right);
        host.log.played_bytes += len;
        match delivery {
            Delivery::OriginWhole => host.log.origin_whole += 1,
            Delivery::Verified => host.log.verified += 1,
        }
    }

    fn connect_service(&mut self, id: HostId) {
        let host = self.host(id);
        host.connections += 1;
        let connection = ConnectionId { host: id, number: host.connections };
        host.service = Some(connection);
        self.ask_service(id, service::Arrival::Opened(connection));
    }

    /// Something happened at a host that is still there.
    pub(crate) fn happen(&mut self, id: HostId, happening: Happening) {
        match happening {
            Happening::FirstFrame => {
                self.call(id, None, |host, now| host.node.handle_first_frame(now));
            }
            Happening::LinkClosed(link) => self.closed(id, link),
            Happening::LinkOpen(link) => self.opened(id, link),
            Happening::LocalCandidate(link) => {
                let line = format!("candidate:1 1 udp 2113937151 192.0.2.{} 50000 typ host", id.0 % 250);
                // The only one, and the line that says so.
                for line in [line.as_str(), ""] {
                    let candidate = Candidate::new(line).expect("it is a candidate line");
                    self.call(id, None, |host, now| host.node.handle_local_candidate(link, candidate, now));
                }
            }
            Happening::LocalDescription(link, kind, description) => {
                self.call(id, None, |host, now| {
                    host.node.handle_local_description(link, kind, description, now)
                });
            }
            Happening::Manifest => {
                let now = self.now();
                let (stream, manifest) = (self.catalog.stream.id, self.catalog.manifest_at(now));
                if let Some(manifest) = manifest {
                    let file = manifest.encode_unsigned().expect("it is not long");
                    self.host(id).log.manifests.push(file.len() as u64);
                    self.call(id, None, |host, now| host.node.add_manifest(stream, manifest, now));
                }
            }
            Happening::Message(link, channel, message) => self.receive(id, link, channel, &message),
            Happening::Failed(_) | Happening::Loaded(_) | Happening::Play => self.play(id, &happening),
            Happening::Sent(link, message) => self.sent(id, link, message),
            Happening::Timer => self.timer(id),
            Happening::ServiceClosed(from)
            | Happening::ServiceMessage(from, _)
            | Happening::ServiceOpen(from) => {
                if self.host(id).service == Some(from) {
                    self.hear_service(id, happening);
                }
            }
            _ => self.hear_origin(id, happening),
        }
    }

    fn timer(&mut self, id: HostId) {
        let now = self.now();
        let host = self.host(id);
        // An earlier time was armed meanwhile and is over.
        if host.armed.take_if(|armed| *armed <= now).is_none() {
            return;
        }
        if host.node.poll_timeout().is_some_and(|due| due <= now + host.ahead) {
            self.call(id, None, |host, now| host.node.handle_timeout(now));
        } else {
            self.arm(id);
        }
    }

    fn hear_service(&mut self, id: HostId, happening: Happening) {
        match happening {
            Happening::ServiceOpen(_) => self.call(id, None, |host, now| host.node.handle_service_open(now)),
            Happening::ServiceMessage(_, bytes) => {
                self.call(id, None, |host, now| host.node.handle_service_message(&bytes, now))
            }
            _ => self.call(id, None, |host, now| {
                host.service = None;
                host.node.handle_service_closed(now);
            }),
        };
    }

    fn hear_origin(&mut self, id: HostId, happening: Happening) {
        let host = self.host(id);
        match happening {
            Happening::OriginHead(request, head) if host.requests.contains(&request) => {
                self.call(id, None, |host, now| host.node.handle_origin_head(request, head, now));
            }
            Happening::OriginBytes(request, body) if host.requests.contains(&request) => {
                self.ask_origin(id, request, origin::Arrival::Read);
                let message = Message { header: Vec::new(), body };
                let bytes = message.to_bytes(&self.catalog.library);
                self.call(id, Some(&message), |host, now| {
                    host.node.handle_origin_bytes(request, &bytes, now)
                });
            }
            Happening::OriginEnd(request) if host.requests.remove(&request) => {
                self.call(id, None, |host, now| host.node.handle_origin_end(request, now));
            }
            Happening::OriginFailed(request) if host.requests.remove(&request) => {
                self.call(id, None, |host, now| host.node.handle_origin_failed(request, now));
            }
            Happening::Sidecar(request, body) if host.requests.remove(&request) => {
                self.call(id, None, |host, now| host.node.handle_sidecar(request, body.as_deref(), now));
            }
            _ => {}
        }
    }
}
