//! The lab: nodes whose messages arrive at once, a service that admits everybody, and an origin that the test plays.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::super::*;
pub(super) use super::fixtures::*;
use crate::{
    bounded::BoundedVec,
    identity::{Candidate, Description, Fingerprint, PublicKey, Rights, SignedIntroduction},
    kad::OverlayMessage,
    units::ByteRange,
    wire::{
        ClientMessage, Have, HaveEntry, Held, LinkMessage, PROTOCOL_VERSIONS, ServiceMessage, Welcome, frames,
    },
};

/// A request to the origin that the test has to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asked {
    pub(super) request: OriginRequestId,
    pub(super) range: Option<ByteRange>,
    pub(super) fresh: bool,
}

/// A node with what its driver would keep, and a log of what it did.
pub(super) struct Tab {
    pub(super) node: Node,
    pub(super) asked: Vec<Asked>,
    /// Origin requests that it gave up.
    pub(super) aborted: Vec<OriginRequestId>,
    /// Parts of the sidecar that it wants.
    pub(super) sidecars: Vec<(OriginRequestId, ByteRange)>,
    pub(super) delivered: Vec<(FetchId, Vec<u8>, Delivery, u16)>,
    pub(super) failed: Vec<(FetchId, FetchError)>,
    pub(super) events: Vec<Event>,
    pub(super) told_service: Vec<ClientMessage>,
    /// Control messages it sent, by link.
    pub(super) said: Vec<(LinkId, LinkMessage)>,
    /// The same of the overlay.
    pub(super) said_in_mesh: Vec<(LinkId, OverlayMessage)>,
    /// Other outputs, in order.
    pub(super) outputs: Vec<Output>,
    pub(super) blobs: BTreeMap<BlobHandle, Vec<u8>>,
    connected: bool,
}

/// What happens to a bulk message on its way from a tab.
pub(super) type Tamper = Box<dyn FnMut(usize, &mut Vec<u8>)>;

/// Where a link ends: which tab, and how that one calls it.
pub(super) type End = (usize, LinkId);

pub(super) struct Lab {
    pub(super) now: Timestamp,
    pub(super) tabs: Vec<Tab>,
    /// Whether the service names other tabs of its own.
    pub(super) introduces: bool,
    /// Whether the service is there.
    pub(super) service: bool,
    /// Issuer keys that it names.
    pub(super) issuers: Vec<PublicKey>,
    /// What its certificates allow.
    pub(super) rights: Rights,
    /// How long ago it certified peers first, as it says in new certificates.
    pub(super) age: Duration,
    pub(super) attests: bool,
    /// Introductions that the service would have carried, if `carries` is off.
    pub(super) held: Vec<(PeerId, SignedIntroduction)>,
    pub(super) carries: bool,
    /// Tabs whose channels bring nothing any more.
    pub(super) silent: BTreeSet<usize>,
    /// Tabs whose bulk channels bring nothing.
    pub(super) withholding: BTreeSet<usize>,
    pub(super) tamper: Option<Tamper>,
    fingerprints: BTreeMap<Fingerprint, End>,
    wires: BTreeMap<End, End>,
    queue: VecDeque<(usize, Output)>,
}

/// A tab without the mesh, which has tests of its own.
pub(super) fn config(number: usize) -> Config {
    Config { mesh: false, ..meshed(number) }
}

/// A tab that is a peer of the mesh.
pub(super) fn meshed(number: usize) -> Config {
    Config { start: Start::Economy, ..Config::new([number as u8 + 10; 32]) }
}

impl Lab {
    /// Tabs that joined one stream whose manifest they have, connected to each other.
    pub(super) fn connected(tabs: usize) -> Self {
        let mut lab = Self::new(tabs, Roots::Origin);
        lab.settle();
        assert!(lab.tabs.iter().all(|tab| tab.node.partner_links().count() == tabs - 1));
        lab
    }

    /// Tabs that join one stream; nothing happened yet.
    pub(super) fn new(tabs: usize, roots: Roots) -> Self {
        let mut lab = Self::empty();
        for number in 0..tabs {
            lab.add(config(number), roots);
        }
        lab
    }

    pub(super) fn empty() -> Self {
        Self {
            now: Timestamp::from_millis(5_000),
            tabs: Vec::new(),
            introduces: true,
            service: true,
            issuers: vec![issuer().public_key()],
            rights: Rights::SWARM.with(Rights::UPLOAD),
            age: AGE,
            attests: false,
            held: Vec::new(),
            carries: true,
            silent: BTreeSet::new(),
            withholding: BTreeSet::new(),
            tamper: None,
            fingerprints: BTreeMap::new(),
            wires: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, config: Config, roots: Roots) {
        let mut node = Node::new(config, self.now);
        node.join(stream(roots), self.now);
        if roots != Roots::Attested {
            node.add_manifest(stream(roots).id, manifest(), self.now);
        }
        self.tabs.push(Tab {
            node,
            asked: Vec::new(),
            aborted: Vec::new(),
            sidecars: Vec::new(),
            delivered: Vec::new(),
            failed: Vec::new(),
            events: Vec::new(),
            told_service: Vec::new(),
            said: Vec::new(),
            said_in_mesh: Vec::new(),
            outputs: Vec::new(),
            blobs: BTreeMap::new(),
            connected: false,
        });
        self.drain(self.tabs.len() - 1, &[]);
    }

    pub(super) fn wall(&self) -> WallTime {
        EPOCH + self.now.saturating_since(Timestamp::default())
    }

    /// Calls a node and queues what it wants done. `lent` are the bytes that it may keep parts of.
    pub(super) fn call<T>(
        &mut self,
        tab: usize,
        lent: &[u8],
        act: impl FnOnce(&mut Node, Timestamp) -> T,
    ) -> T {
        let value = act(&mut self.tabs[tab].node, self.now);
        self.drain(tab, lent);
        value
    }

    fn drain(&mut self, tab: usize, lent: &[u8]) {
        while let Some(output) = self.tabs[tab].node.poll_output() {
            let Tab { blobs, .. } = &mut self.tabs[tab];
            match output {
                Output::Keep { blob, offset, source } => {
                    let bytes = blobs.get_mut(&blob).expect("an open blob");
                    let end = offset as usize + source.len();
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[offset as usize..end].copy_from_slice(&lent[source]);
                }
                Output::Open { blob } => assert!(blobs.insert(blob, Vec::new()).is_none()),
                Output::Drop { blob } => assert!(blobs.remove(&blob).is_some()),
                Output::Load { blob, .. } => {
                    assert!(blobs.insert(blob, Vec::new()).is_none());
                    self.queue.push_back((tab, output));
                }
                // What is read later has to be read now: the blob may change.
                Output::SendGroups { link, header, blob, range } => {
                    let bytes = &blobs[&blob][range.start() as usize..range.end() as usize];
                    let mut payload = [header, bytes.to_vec()].concat();
                    if let Some(tamper) = &mut self.tamper {
                        tamper(tab, &mut payload);
                    }
                    self.queue.push_back((tab, Output::SendGroups { link, header: payload, blob, range }));
                }
                Output::Deliver { fetch, blob, len, status, delivery, .. } => {
                    let bytes = blobs[&blob][..len as usize].to_vec();
                    self.tabs[tab].delivered.push((fetch, bytes, delivery, status));
                }
                other => self.queue.push_back((tab, other)),
            }
        }
        let node = &self.tabs[tab].node;
        if node.poll_timeout().is_some_and(|due| due <= self.now) {
            panic!(
                "a timer that is due at once, again and again: {:?} links {:?} fetches {:?} announcements {:?} discovery {:?} partners {:?} mesh {:?}",
                node.service_timeout(),
                node.links_timeout(self.now),
                node.fetches_timeout(),
                node.announcements.due(),
                node.discovery_timeout(),
                node.partners_timeout(),
                node.mesh.timeout()
            );
        }
    }

    /// Carries out everything that is to be done now.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some((tab, output)) = self.queue.pop_front() else { return };
            self.carry_out(tab, output);
        }
        panic!("the nodes never come to rest");
    }

    /// Lets time pass, timers run when they are due.
    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        for _ in 0..100_000 {
            let due =
                (0..self.tabs.len()).filter_map(|tab| Some((self.tabs[tab].node.poll_timeout()?, tab))).min();
            let Some((due, tab)) = due.filter(|(due, _)| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = due.max(self.now);
            self.call(tab, &[], |node, now| node.handle_timeout(now));
            self.settle();
        }
        panic!("time does not pass");
    }

    pub(super) fn fetch(&mut self, tab: usize, number: u32, within: Duration) -> FetchId {
        let request = FetchRequest {
            stream: *self.tabs[tab].node.streams.iter().next().unwrap().0,
            key: key(number),
            deadline: Some(self.now + within),
        };
        let fetch = self.call(tab, &[], |node, now| node.fetch(request, now));
        self.settle();
        fetch
    }

    /// Has a tab hold a whole segment that the origin gave it.
    pub(super) fn hold(&mut self, tab: usize, number: u32) {
        let before = self.tabs[tab].delivered.len();
        self.fetch(tab, number, Duration::ZERO);
        self.answer_sidecars(tab, number);
        self.advance(Duration::from_millis(1));
        let asked = self.tabs[tab].asked.pop().expect("nobody holds it: the origin is asked");
        self.answer(tab, asked, 200, &segment(number));
        self.advance(Duration::from_millis(100));
        assert_eq!(self.tabs[tab].delivered.len(), before + 1);
    }

    /// The disk brings these bytes for a blob.
    pub(super) fn read(&mut self, tab: usize, blob: BlobHandle, bytes: &[u8]) {
        if let Some(kept) = self.tabs[tab].blobs.get_mut(&blob) {
            *kept = bytes.to_vec();
        }
        for piece in bytes.chunks(10_000) {
            self.call(tab, &[], |node, now| node.handle_blob(blob, Some(piece), now));
        }
        self.call(tab, &[], |node, now| node.handle_blob(blob, None, now));
        self.settle();
    }

    /// Whether a tab keeps a blob.
    pub(super) fn has_blob(&self, tab: usize, blob: BlobHandle) -> bool {
        self.tabs[tab].blobs.contains_key(&blob)
    }

    /// Gives the group list to whoever asked the sidecar.
    pub(super) fn answer_sidecars(&mut self, tab: usize, number: u32) {
        for (request, _) in std::mem::take(&mut self.tabs[tab].sidecars) {
            self.call(tab, &[], |node, now| node.handle_sidecar(request, Some(&sidecar(number)), now));
        }
        self.settle();
    }

    pub(super) fn head(&mut self, tab: usize, asked: Asked, status: u16) {
        let start = (status == 206).then(|| asked.range.map_or(0, ByteRange::start));
        let head = OriginHead { status, start, len: None };
        self.call(tab, &[], |node, now| node.handle_origin_head(asked.request, head, now));
    }

    pub(super) fn bytes(&mut self, tab: usize, asked: Asked, bytes: &[u8]) {
        for piece in bytes.chunks(10_000) {
            self.call(tab, piece, |node, now| node.handle_origin_bytes(asked.request, piece, now));
        }
        self.settle();
    }

    pub(super) fn end(&mut self, tab: usize, asked: Asked) {
        self.call(tab, &[], |node, now| node.handle_origin_end(asked.request, now));
        self.settle();
    }

    /// A whole response.
    pub(super) fn answer(&mut self, tab: usize, asked: Asked, status: u16, body: &[u8]) {
        self.head(tab, asked, status);
        self.bytes(tab, asked, body);
        self.end(tab, asked);
    }

    pub(super) fn peer_id(&self, tab: usize) -> PeerId {
        self.tabs[tab].node.peer_id().expect("the service admitted it")
    }

    /// How `tab` calls its link to `other`.
    pub(super) fn link(&self, tab: usize, other: usize) -> LinkId {
        let ends = self.wires.iter().find(|((from, _), (to, _))| (*from, *to) == (tab, other));
        ends.expect("they are connected").0.1
    }

    /// A control message comes to `tab` as if `from` had said it.
    pub(super) fn say(&mut self, from: usize, tab: usize, message: &[u8]) {
        let link = self.link(tab, from);
        self.call(tab, message, |node, now| node.handle_link_message(link, Channel::Control, message, now));
        self.settle();
    }

    /// `from` says to `tab` that it holds a segment, or that it is on its way there.
    pub(super) fn claim(&mut self, from: usize, tab: usize, number: u32, held: Held) {
        let entries = BoundedVec::first_of([HaveEntry { content: content(number), held }]);
        let have = Have { stream: stream(Roots::Origin).id, entries };
        self.say(from, tab, &LinkMessage::Have(have).to_bytes());
    }

    pub(super) fn send_bulk(&mut self, from: usize, tab: usize, message: &[u8]) {
        let link = self.link(tab, from);
        self.call(tab, message, |node, now| node.handle_link_message(link, Channel::Bulk, message, now));
        self.settle();
    }

    pub(super) fn tell(&mut self, tab: usize, message: &ServiceMessage) {
        let bytes = message.to_bytes();
        self.call(tab, &[], |node, now| node.handle_service_message(&bytes, now));
        self.settle();
    }

    pub(super) fn bans(&self, tab: usize) -> Vec<(PeerId, crate::guard::Violation)> {
        let banned = |event: &Event| match event {
            Event::PeerBanned { peer, violation } => Some((*peer, *violation)),
            _ => None,
        };
        self.tabs[tab].events.iter().filter_map(banned).collect()
    }

    pub(super) fn service_down(&mut self) {
        self.service = false;
        for tab in 0..self.tabs.len() {
            if std::mem::take(&mut self.tabs[tab].connected) {
                self.call(tab, &[], |node, now| node.handle_service_closed(now));
            }
        }
        self.settle();
    }

    fn carry_out(&mut self, tab: usize, output: Output) {
        match output {
            Output::ConnectService if self.service => {
                self.tabs[tab].connected = true;
                self.call(tab, &[], |node, now| node.handle_service_open(now));
                self.tell_later(tab, &ServiceMessage::Challenge([9; 32]));
            }
            Output::ConnectService => {
                self.tabs[tab].outputs.push(output);
                self.call(tab, &[], |node, now| node.handle_service_closed(now));
            }
            Output::CloseService => self.tabs[tab].connected = false,
            Output::SendService(bytes) => {
                let frame = frames(&bytes).next().unwrap().unwrap();
                let message = ClientMessage::decode(&frame).unwrap().unwrap();
                self.tabs[tab].told_service.push(message.clone());
                self.serve(tab, message);
            }
            Output::OriginFetch { request, range, fresh, .. } => {
                self.tabs[tab].asked.push(Asked { request, range, fresh });
            }
            Output::OriginAbort { request } => {
                self.tabs[tab].aborted.push(request);
                self.tabs[tab].asked.retain(|asked| asked.request != request);
                self.tabs[tab].sidecars.retain(|(sidecar, _)| *sidecar != request);
            }
            Output::SidecarFetch { request, range, .. } => self.tabs[tab].sidecars.push((request, range)),
            Output::Fail { fetch, error } => self.tabs[tab].failed.push((fetch, error)),
            Output::Event(event) => self.tabs[tab].events.push(event),
            other => self.carry_out_link(tab, other),
        }
    }

    fn carry_out_link(&mut self, tab: usize, output: Output) {
        match output {
            Output::Dial { link } => self.describe(tab, link, SdpKind::Offer),
            Output::Accept { link, ref remote } => {
                let end = self.fingerprints[&remote.fingerprint()];
                self.wires.insert((tab, link), end);
                self.describe(tab, link, SdpKind::Answer);
            }
            Output::SetRemote { link, ref remote } => {
                let end = self.fingerprints[&remote.fingerprint()];
                self.wires.insert((tab, link), end);
                self.call(end.0, &[], |node, now| node.handle_link_open(end.1, now));
                self.call(tab, &[], |node, now| node.handle_link_open(link, now));
            }
            Output::SendControl { link, payload } => {
                for frame in frames(&payload) {
                    let frame = frame.unwrap();
                    match LinkMessage::decode(&frame).unwrap() {
                        Some(message) => self.tabs[tab].said.push((link, message)),
                        None => {
                            let message = OverlayMessage::decode(&frame).unwrap().unwrap();
                            self.tabs[tab].said_in_mesh.push((link, message));
                        }
                    }
                }
                self.carry(tab, link, Channel::Control, &payload);
            }
            Output::SendGroups { link, header: payload, .. } => {
                self.carry(tab, link, Channel::Bulk, &payload);
                self.call(tab, &[], |node, now| node.handle_link_buffered(link, 0, now));
            }
            Output::CloseLink { link } => {
                let end = self.wires.remove(&(tab, link));
                if let Some((other, other_link)) = end.filter(|end| self.wires.remove(end).is_some()) {
                    let closed = LinkFailure::Closed;
                    self.call(other, &[], |node, now| node.handle_link_closed(other_link, closed, now));
                }
                self.tabs[tab].outputs.push(output);
            }
            other => self.tabs[tab].outputs.push(other),
        }
    }

    fn carry(&mut self, tab: usize, link: LinkId, channel: Channel, payload: &[u8]) {
        let Some((other, other_link)) = self.wires.get(&(tab, link)).copied() else { return };
        let withheld = channel == Channel::Bulk && self.withholding.contains(&tab);
        if !withheld && !self.silent.contains(&tab) {
            self.call(other, payload, |node, now| {
                node.handle_link_message(other_link, channel, payload, now);
            });
        }
    }

    fn describe(&mut self, tab: usize, link: LinkId, kind: SdpKind) {
        let mut fingerprint = [tab as u8; 32];
        fingerprint[..8].copy_from_slice(&link.value().to_le_bytes());
        let fingerprint = Fingerprint::from_bytes(fingerprint);
        self.fingerprints.insert(fingerprint, (tab, link));
        let description =
            Description::new(fingerprint, "ufrag", "0123456789abcdefghijkl", Vec::new()).unwrap();
        self.call(tab, &[], |node, now| node.handle_local_description(link, kind, description, now));
        let end = Candidate::new("").unwrap();
        self.call(tab, &[], |node, now| node.handle_local_candidate(link, end, now));
    }

    fn tell_later(&mut self, tab: usize, message: &ServiceMessage) {
        let bytes = message.to_bytes();
        self.call(tab, &[], |node, now| node.handle_service_message(&bytes, now));
    }

    fn serve(&mut self, tab: usize, message: ClientMessage) {
        match message {
            ClientMessage::Hello(hello) => {
                let welcome = Welcome {
                    version: PROTOCOL_VERSIONS.max(),
                    features: 0,
                    issuers: BoundedVec::first_of(self.issuers.iter().copied()),
                    certificate: certificate_with(self.rights, self.age, hello.public_key, self.wall()),
                    now: self.wall(),
                    ice_servers: BoundedVec::new(),
                    attests: self.attests,
                };
                self.tell_later(tab, &ServiceMessage::Welcome(Box::new(welcome)));
            }
            ClientMessage::Join { stream, .. } | ClientMessage::MorePeers { stream, .. } => {
                let others =
                    (0..self.tabs.len()).filter(|other| *other != tab && self.tabs[*other].connected);
                let peers: Vec<PeerId> = others.filter_map(|other| self.tabs[other].node.peer_id()).collect();
                let population = peers.len() as u32 + 1;
                let peers = BoundedVec::first_of(peers.into_iter().filter(|_| self.introduces));
                self.tell_later(tab, &ServiceMessage::Peers { stream, population, peers });
            }
            ClientMessage::Introduce { to, introduction } if self.carries => {
                let target = (0..self.tabs.len()).find(|other| self.tabs[*other].node.peer_id() == Some(to));
                if let Some(target) = target.filter(|target| self.tabs[*target].connected) {
                    self.tell_later(target, &ServiceMessage::Introduced(introduction));
                }
            }
            ClientMessage::Introduce { to, introduction } => self.held.push((to, *introduction)),
            ClientMessage::Renew => {
                let key = self.tabs[tab].node.identity.public_key();
                let renewed = certificate(key, self.wall());
                self.tell_later(tab, &ServiceMessage::Renewed(Box::new(renewed)));
            }
            ClientMessage::Ping => self.tell_later(tab, &ServiceMessage::Pong),
            ClientMessage::Refuse(caller) => {
                let me = self.peer_id(tab);
                let target =
                    (0..self.tabs.len()).find(|other| self.tabs[*other].node.peer_id() == Some(caller));
                if let Some(target) = target {
                    self.tell_later(target, &ServiceMessage::Unreachable(me));
                }
            }
            ClientMessage::Attest(_) | ClientMessage::Full(_) | ClientMessage::Leave(_) => {}
        }
    }
}
