//! This peer's part in the mesh: the overlay hears of links and of what comes over them, and what it wants is done.
//!
//! Calls over it are in `calls.rs`, members of a swarm that are found in it in `members.rs`.

use std::time::Duration;

use litemap::LiteMap;

use super::{
    Node,
    calls::Way,
    io::{MeshStats, Output},
    links::{Call, Link, Side},
    members::Finding,
    trade::Trade,
};
use crate::{
    bounded::BoundedBytes,
    id::{LinkId, NetworkGroup, PeerId, SessionId, StreamId},
    identity::{Certificate, PublicKey, Rights, SignedCertificate, SignedProvider},
    kad::{
        Card, Contact, Key, Outcome, Overlay, OverlayMessage, OverlayOutput, Proofs, RouteMessage, Setup,
        Width,
    },
    time::{Timestamp, WallTime},
    wire::{ByeReason, LinkMessage},
};

/// A link that is of no use here is given up after so long, if it is of none to its peer: it may be again soon.
const SPARE: Duration = Duration::from_secs(30);
/// What can be checked of what others say.
#[derive(Debug)]
pub(super) struct NodeProofs {
    issuers: Vec<PublicKey>,
    clock: (WallTime, Timestamp),
}

impl NodeProofs {
    fn wall(&self, now: Timestamp) -> WallTime {
        let (wall, at) = self.clock;
        wall + now.saturating_since(at)
    }

    fn certificate(&self, signed: &SignedCertificate, now: Timestamp) -> Option<Certificate> {
        let certificate = signed.verify(&self.issuers, self.wall(now)).ok()?;
        certificate.rights.contains(Rights::SWARM).then_some(certificate)
    }
}

impl Proofs for NodeProofs {
    fn peer(&self, certificate: &[u8], now: Timestamp) -> Option<Card> {
        let signed = SignedCertificate::decode(certificate).ok()?;
        self.certificate(&signed, now).map(|certificate| card(&certificate))
    }

    fn provider(&self, key: Key, record: &[u8], now: Timestamp) -> Option<(Card, Duration)> {
        let (record, wall) = (SignedProvider::decode(record).ok()?, self.wall(now));
        let (certificate, expires) = record.verify(key.as_bytes(), &self.issuers, wall).ok()?;
        Some((card(&certificate), expires.since(wall)))
    }
}

fn card(certificate: &Certificate) -> Card {
    Card { peer: certificate.peer_id(), group: certificate.group }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    /// There is one from the first certificate on.
    pub(super) overlay: Option<Overlay<NodeProofs>>,
    /// When its timer goes off.
    due: Option<Timestamp>,
    /// It was told something, and what it wants was not done yet.
    pub(super) stirred: bool,
    /// It was told that others are to be given something.
    serves: bool,
    /// Links that are of no use here, and when they are given up.
    spare: LiteMap<LinkId, Timestamp>,
    /// Somebody is wanted whom this part of the mesh may not know: the service is asked.
    pub(super) stranger: bool,
    /// Swarms whose members are being looked up.
    pub(super) finds: LiteMap<u64, StreamId>,
    /// Peers that were asked whether they have room for a partner, in which session and by which key.
    pub(super) knocks: LiteMap<PeerId, (SessionId, PublicKey)>,
    /// Counted here; the rest of it is the overlay's.
    stats: MeshStats,
}

impl Mesh {
    /// The overlay, to be told something.
    pub(super) fn overlay(&mut self) -> Option<&mut Overlay<NodeProofs>> {
        self.stirred = true;
        self.overlay.as_mut()
    }

    /// Whether lookups go over this link.
    pub(super) fn has_contact(&self, link: LinkId) -> bool {
        let is_it = |contact: &Contact| contact.link == link;
        self.overlay.as_ref().is_some_and(|overlay| overlay.table().contacts().iter().any(is_it))
    }

    /// Whether lookups would go over a link to this peer.
    pub(super) fn wants(&self, card: Card, now: Timestamp) -> bool {
        self.overlay.as_ref().is_some_and(|overlay| overlay.wants(card, now))
    }

    /// Whether there is anybody to ask.
    pub(super) fn is_there(&self) -> bool {
        self.overlay.as_ref().is_some_and(Overlay::knows_somebody)
    }

    /// Whether a peer was asked whether it has room and did not answer yet.
    pub(super) fn is_asked(&self, peer: PeerId) -> bool {
        self.knocks.contains_key(&peer)
    }

    /// Peers that were asked so.
    pub(super) fn knocks(&self) -> usize {
        self.knocks.len()
    }

    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.due.into_iter().chain(self.spare.values().copied()).min()
    }
}

impl Node {
    /// What a page may want to show of the mesh.
    pub fn mesh_stats(&self) -> MeshStats {
        let overlay = self.mesh.overlay.as_ref();
        MeshStats {
            answers: overlay.is_some_and(|overlay| !overlay.is_client()),
            contacts: overlay.map_or(0, |overlay| overlay.table().contacts().len()),
            forwarded: overlay.map(Overlay::forwarded).unwrap_or_default(),
            ..self.mesh.stats
        }
    }

    /// This peer has a certificate, or another one.
    pub(super) fn certify_mesh(
        &mut self,
        certificate: &Certificate,
        signed: &SignedCertificate,
        now: Timestamp,
    ) {
        let (Some(clock), true) = (self.wall, self.config.mesh) else { return };
        let Ok(bytes) = BoundedBytes::try_from(signed.encode()) else { return };
        let proofs = NodeProofs { issuers: self.service.issuers().to_vec(), clock };
        let me = card(certificate);
        if let Some(overlay) = self.mesh.overlay().filter(|overlay| overlay.me() == me.peer) {
            *overlay.proofs_mut() = proofs;
            overlay.recertify(me.group, bytes);
            return;
        }
        if self.mesh.overlay.is_some() {
            // Neighbours know somebody else.
            self.close_all_links(now);
        }
        self.leave_the_mesh();
        let setup = Setup {
            me,
            certificate: bytes,
            most_links: self.config.most_links,
            width: Width::TAB,
            exempt: Some(NetworkGroup::LOCAL),
            seed: self.random.bytes(),
        };
        self.mesh.overlay = Some(Overlay::new(&setup, proofs, now));
        self.mesh.serves = true;
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.mesh_link_ready(link, now));
    }

    /// Whatever was under way in the mesh ends.
    pub(super) fn leave_the_mesh(&mut self) {
        self.mesh = Mesh { stats: self.mesh.stats, ..Mesh::default() };
        self.streams.iter_mut().for_each(|(_, state)| state.finding = Finding::default());
    }

    /// An own call came through.
    pub(super) fn count_introduction(&mut self, way: Way) {
        match way {
            Way::Service => self.mesh.stats.service_introductions += 1,
            Way::Mesh(..) => self.mesh.stats.mesh_introductions += 1,
        }
    }

    /// A link may be used by lookups from now on.
    pub(super) fn mesh_link_ready(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get(&link).filter(|state| state.is_ready()) else { return };
        let Some((group, certificate)) = &state.certificate else { return };
        let Ok(certificate) = BoundedBytes::try_from(certificate.encode()) else { return };
        let contact = Contact {
            link,
            peer: state.peer,
            group: *group,
            since: now,
            rtt: state.rtt,
            inbound: state.side == Side::Accepter,
            client: true,
        };
        if let Some(overlay) = self.mesh.overlay() {
            overlay.handle_ready(contact, certificate, now);
        }
    }

    /// Links that there may be when one is made that nothing is traded over: partners that are missing have their places.
    pub(super) fn most_contacts(&self) -> usize {
        self.config.most_links.saturating_sub(self.config.max_links.saturating_sub(self.partner_count()))
    }

    /// A link that is of no use here.
    fn useless_link(&self) -> Option<LinkId> {
        let is_useless = |(link, state): &(&LinkId, &Link)| {
            state.is_ready() && !state.may_trade() && !self.mesh.has_contact(**link)
        };
        self.links.iter().find(is_useless).map(|(link, _)| *link)
    }

    /// Whether there may be so many links and one more, if need be in the place of one that is of no use here.
    pub(super) fn has_place(&self, most: usize) -> bool {
        self.links.len() < most || self.useless_link().is_some()
    }

    /// Makes that place.
    pub(super) fn make_place(&mut self, most: usize, now: Timestamp) {
        if self.links.len() >= most
            && let Some(link) = self.useless_link()
        {
            self.close_link(link, Some(ByeReason::TooManyLinks), now);
        }
    }

    /// A neighbour has another certificate.
    pub(super) fn mesh_link_certified(&mut self, link: LinkId) {
        let certified = self.links.get(&link).and_then(|state| state.certificate.as_ref());
        let Some((group, certificate)) = certified else { return };
        let (group, certificate) = (*group, BoundedBytes::try_from(certificate.encode()));
        if let (Some(overlay), Ok(certificate)) = (self.mesh.overlay(), certificate) {
            overlay.handle_certificate(link, group, certificate);
        }
    }

    /// A link is gone, or came to nothing.
    pub(super) fn mesh_link_gone(&mut self, link: LinkId, state: &Link, now: Timestamp) {
        self.mesh.spare.remove(&link);
        let Some(overlay) = self.mesh.overlay() else { return };
        if state.is_ready() {
            return overlay.handle_closed(link, now);
        }
        if let Way::Mesh(_, Some(introduction)) = state.way {
            overlay.answer_introduction(introduction, None, now);
        }
        overlay.handle_not_met(state.peer, now);
    }

    /// A link over which nothing is traded any more: it goes if it is no contact either, here or there.
    pub(super) fn consider_spare(&mut self, link: LinkId, now: Timestamp) {
        if self.mesh.overlay.is_none() || self.links.len() > self.config.most_links {
            self.close_link(link, Some(ByeReason::TooManyLinks), now);
        } else if !self.mesh.has_contact(link) {
            self.mesh.spare.insert(link, now);
        }
    }

    /// A neighbour said something of the overlay.
    ///
    /// What is too much is not done. Nobody is banned for it: it may only pass on what others ask.
    pub(super) fn handle_overlay(&mut self, link: LinkId, message: OverlayMessage, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if !state.overlay.take_many(message.cost(), now) {
            if let OverlayMessage::Route(RouteMessage::Forward { route, .. }) = message {
                self.say_in_mesh(link, OverlayMessage::Route(RouteMessage::NoWay(route, 0)));
            }
            return;
        }
        if let Some(overlay) = self.mesh.overlay() {
            overlay.handle(link, message, now);
        }
    }

    #[inline(never)]
    pub(super) fn drive_mesh(&mut self, now: Timestamp) {
        let serves = self.may_upload();
        if self.mesh.overlay.is_some() && serves != self.mesh.serves {
            self.mesh.serves = serves;
            self.mesh.overlay().into_iter().for_each(|overlay| overlay.serve(serves, now));
        }
        self.give_up_spare(now);
        if self.mesh.due.is_some_and(|due| due <= now) {
            self.mesh.overlay().into_iter().for_each(|overlay| overlay.handle_timeout(now));
        }
        if std::mem::take(&mut self.mesh.stirred) {
            while let Some(output) = self.mesh.overlay.as_mut().and_then(Overlay::poll_output) {
                self.do_for_mesh(output, now);
            }
            self.mesh.stirred = false;
            self.mesh.due = self.mesh.overlay.as_ref().and_then(Overlay::poll_timeout);
        }
    }

    fn say_in_mesh(&mut self, link: LinkId, message: OverlayMessage) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        self.output(Output::SendControl { link, payload });
    }

    fn do_for_mesh(&mut self, output: OverlayOutput, now: Timestamp) {
        match output {
            OverlayOutput::Send(link, message) => self.say_in_mesh(link, message),
            OverlayOutput::Meet(card, certificate) => self.meet(card.peer, &certificate, now),
            OverlayOutput::Introduction(number, body) => self.called_by_mesh(number, &body, now),
            OverlayOutput::Introduced(peer, body) => self.answered_by_mesh(peer, body.as_deref(), now),
            OverlayOutput::Sign(key) => self.sign_provided(key, now),
            OverlayOutput::Found(find, outcome, providers) => {
                self.mesh.stats.lookups += 1;
                self.mesh.stats.found += u64::from(outcome == Outcome::Found);
                self.found(find, providers, now);
            }
            OverlayOutput::Stranger => {
                self.partners.seeks = true;
                self.mesh.stranger = true;
            }
            OverlayOutput::Spare(link) => {
                self.mesh.spare.insert(link, now + SPARE);
            }
            OverlayOutput::Silent(link) => self.ping_silent(link, now),
            OverlayOutput::Kept(_) | OverlayOutput::AskService(..) => {}
        }
    }

    /// Asks peers to whom this one is no use, as far as is known here, to let the link go.
    fn give_up_spare(&mut self, now: Timestamp) {
        let due: Vec<LinkId> =
            self.mesh.spare.iter().filter(|(_, at)| **at <= now).map(|(link, _)| *link).collect();
        for link in due {
            let trades = self.links.get(&link).is_none_or(Link::may_trade);
            if trades || self.mesh.has_contact(link) {
                self.mesh.spare.remove(&link);
            } else {
                self.mesh.spare.insert(link, now + SPARE);
                self.say(link, &LinkMessage::Release);
            }
        }
    }

    /// A contact is wanted.
    fn meet(&mut self, peer: PeerId, certificate: &[u8], now: Timestamp) {
        let key = SignedCertificate::decode(certificate).ok().and_then(|signed| self.key_of(&signed, now));
        let known = self.links.values().any(|state| state.peer == peer)
            || self.mesh.knocks.contains_key(&peer)
            || self.bans.contains(&peer);
        let (live, pending) = (self.links.len(), self.pending_links());
        let (most, may) = (self.most_contacts(), !known && self.may_connect());
        match key.filter(|_| may && self.has_place(most)) {
            Some(key) if self.budget.take_contact(live, pending, now) => {
                self.make_place(most, now);
                self.dial(Call { peer, trade: Trade::None, way: Way::Mesh(key, None) }, now);
            }
            _ => self.mesh.overlay().into_iter().for_each(|overlay| overlay.handle_not_met(peer, now)),
        }
    }
}
