//! Connections between hosts: descriptions carried by introductions, set-up, two channels, the close.

use std::time::Duration;

use tabswarm_core::{
    id::LinkId,
    identity::{Description, Fingerprint},
    node::{Channel, LinkFailure, SdpKind},
    time::Timestamp,
};

use super::{
    bytes::Message,
    host::{Happening, HostId},
    tamper::Tamper,
    world::{Event, World},
};

/// Time a browser takes to make a description.
const DESCRIBE: Duration = Duration::from_millis(3);
/// Bytes of headers on a message, all layers.
pub(crate) const OVERHEAD: u64 = 80;

/// One host's side of a connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    peer: Option<(HostId, LinkId)>,
    open: bool,
    /// Control messages arrive in order: when the last one does.
    last_control: Timestamp,
    last_bulk: Timestamp,
    /// Of who drips: when its next group may go.
    dripped: Timestamp,
}

fn fingerprint(host: HostId, link: LinkId) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&host.0.to_le_bytes());
    bytes[4..12].copy_from_slice(&link.value().to_le_bytes());
    Fingerprint::from_bytes(bytes)
}

/// The connection a description belongs to.
fn described(description: &Description) -> (HostId, LinkId) {
    let bytes = description.fingerprint();
    let (host, rest) = bytes.as_bytes().split_first_chunk().expect("32 bytes");
    let (link, _) = rest.split_first_chunk().expect("28 bytes");
    (HostId(u32::from_le_bytes(*host)), LinkId::new(u64::from_le_bytes(*link)))
}

impl World {
    fn describe(&mut self, id: HostId, link: LinkId, kind: SdpKind) {
        let description =
            Description::new(fingerprint(id, link), "ufrag", "0123456789abcdefghijkl", Vec::new());
        let description = description.expect("the texts are in ICE's grammar");
        let at = self.now() + DESCRIBE;
        self.queue.push(at, Event::At(id, Happening::LocalDescription(link, kind, description)));
        self.queue.push(at + DESCRIBE, Event::At(id, Happening::LocalCandidate(link)));
    }

    pub(crate) fn dial(&mut self, id: HostId, link: LinkId) {
        self.host(id).links.insert(link, Wire::default());
        self.describe(id, link, SdpKind::Offer);
    }

    pub(crate) fn accept(&mut self, id: HostId, link: LinkId, remote: &Description) {
        let wire = Wire { peer: Some(described(remote)), ..Wire::default() };
        self.host(id).links.insert(link, wire);
        self.describe(id, link, SdpKind::Answer);
    }

    /// The dialer has the answer: both sides open after the handshakes, if the network lets them.
    pub(crate) fn connect(&mut self, id: HostId, link: LinkId, remote: &Description) {
        let (peer, peer_link) = described(remote);
        if let Some(wire) = self.host(id).links.get_mut(&link) {
            wire.peer = Some((peer, peer_link));
        }
        if !self.network.can_connect(self.seed, id.0, peer.0) {
            return;
        }
        // ICE, DTLS and SCTP take about four round trips.
        let delay = self.delay(id, peer);
        let at = self.now() + self.network.setup + delay * 8;
        self.queue.push(at, Event::At(peer, Happening::LinkOpen(peer_link)));
        self.queue.push(at + delay, Event::At(id, Happening::LinkOpen(link)));
    }

    pub(crate) fn opened(&mut self, id: HostId, link: LinkId) {
        let now = self.now();
        let Some(wire) = self.host(id).links.get_mut(&link) else { return };
        wire.open = true;
        let Some((peer, peer_link)) = wire.peer else { return };
        // Nothing of a connection arrives before it is open at the other end too.
        let (delay, host) = (self.delay(id, peer), self.hosts.get(&peer));
        if host.is_none_or(|host| !host.links.contains_key(&peer_link)) {
            return;
        }
        if let Some(wire) = self.host(id).links.get_mut(&link) {
            wire.last_control = now + delay;
        }
        self.call(id, None, |host, now| host.node.handle_link_open(link, now));
    }

    /// Sends one message on a channel of a link.
    pub(crate) fn send(&mut self, id: HostId, link: LinkId, channel: Channel, message: Message) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let tamper = host.tampers(now);
        let Some(wire) = host.links.get_mut(&link) else { return };
        let Some((peer, peer_link)) = wire.peer.filter(|_| wire.open) else {
            panic!("{id:?} sends on {link:?} before it is open");
        };
        let message = match (tamper, channel) {
            (Some(Tamper::Silent), _) | (Some(Tamper::Mute), Channel::Bulk) => return,
            (Some(Tamper::Drip(rate)), Channel::Bulk) => {
                let took = Duration::from_secs_f64(message.len() as f64 / rate as f64);
                wire.dripped = wire.dripped.max(now) + took;
                let (arrives, bytes) =
                    (wire.dripped + self.network.delay(self.seed, id.0, peer.0), message.len());
                let happening = Happening::Message(peer_link, channel, message);
                self.queue.push(arrives, Event::Arrive(peer, bytes + OVERHEAD, happening));
                return;
            }
            (Some(tamper), Channel::Bulk) => tamper.change(message, &self.catalog.library),
            _ => message,
        };
        if channel == Channel::Bulk {
            host.up.bulk(link, message);
            self.send_bulk(id);
            return;
        }
        let bytes = message.len() + OVERHEAD;
        let sent = host.up.control(bytes, now);
        let delay = self.network.delay(self.seed, id.0, peer.0);
        let arrives = sent + delay + self.network.chance(bytes, delay, &mut self.rng);
        wire.last_control = wire.last_control.max(arrives);
        let arrives = wire.last_control;
        self.queue.push(arrives, Event::Arrive(peer, bytes, Happening::Message(peer_link, channel, message)));
    }

    /// Starts to send the next bulk message, if the uplink is free.
    fn send_bulk(&mut self, id: HostId) {
        let now = self.now();
        if let Some(sending) = self.host(id).up.start(OVERHEAD, now) {
            self.queue.push(sending.done, Event::At(id, Happening::Sent(sending.link, sending.message)));
        }
    }

    /// A bulk message is out.
    pub(crate) fn sent(&mut self, id: HostId, link: LinkId, message: Message) {
        let (now, bytes) = (self.now(), message.len());
        let host = self.host(id);
        let drained = host.up.sent(link, bytes);
        let peer = host.links.get(&link).and_then(|wire| wire.peer);
        if let Some((peer, peer_link)) = peer {
            let delay = self.delay(id, peer);
            let arrives = now + delay + self.network.chance(bytes + OVERHEAD, delay, &mut self.rng);
            if let Some(wire) = self.host(id).links.get_mut(&link) {
                wire.last_bulk = wire.last_bulk.max(arrives);
            }
            let happening = Happening::Message(peer_link, Channel::Bulk, message);
            self.queue.push(arrives, Event::Arrive(peer, bytes + OVERHEAD, happening));
        }
        self.send_bulk(id);
        if let Some(bytes) = drained {
            self.call(id, None, |host, now| host.node.handle_link_buffered(link, bytes, now));
        }
    }

    pub(crate) fn receive(&mut self, id: HostId, link: LinkId, channel: Channel, message: &Message) {
        let Some(wire) = self.host(id).links.get(&link) else { return };
        if !wire.open {
            return;
        }
        let bytes = message.to_bytes(&self.catalog.library);
        self.call(id, Some(message), |host, now| host.node.handle_link_message(link, channel, &bytes, now));
    }

    /// This side closes; the other side hears of it after what was sent before.
    pub(crate) fn close(&mut self, id: HostId, link: LinkId) {
        let now = self.now();
        let Some(wire) = self.host(id).links.remove(&link) else { return };
        self.host(id).up.close(link);
        let silent = self.host(id).tampers(now) == Some(Tamper::Silent);
        if let Some((peer, peer_link)) = wire.peer.filter(|_| wire.open && !silent) {
            let at = (now + self.delay(id, peer)).max(wire.last_control).max(wire.last_bulk);
            self.queue.push(at, Event::Arrive(peer, 0, Happening::LinkClosed(peer_link)));
        }
    }

    pub(crate) fn closed(&mut self, id: HostId, link: LinkId) {
        if self.host(id).links.remove(&link).is_some() {
            self.host(id).up.close(link);
            self.call(id, None, |host, now| host.node.handle_link_closed(link, LinkFailure::Closed, now));
        }
    }
}
