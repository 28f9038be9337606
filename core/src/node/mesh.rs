//! This peer's part in the mesh: the overlay hears of links and of what comes over them, and what it wants is done.
//!
//! The mesh is asked for partners first and the service when that brings nobody. It introduces peers to each other as the service does, but
//! what they say is sealed for the receiver: others carry it.

use std::time::Duration;

use litemap::LiteMap;

use super::{
    Node,
    introductions::Named,
    io::{MeshStats, Output},
    links::{Call, Link, Side},
    trade::Trade,
};
use crate::{
    bounded::BoundedBytes,
    id::{LinkId, NetworkGroup, PeerId, SessionId, StreamId},
    identity::{
        Certificate, IntroductionBody, PublicKey, Rights, SignedCertificate, SignedIntroduction,
        SignedProvider, VerifiedIntroduction, seal,
    },
    kad::{
        Card, Contact, Key, Outcome, Overlay, OverlayMessage, OverlayOutput, Proofs, Provider, Setup, Width,
    },
    time::{Timestamp, WallTime},
    wire::{ByeReason, LinkMessage, MAX_INTRODUCED},
};

/// A link that is of no use here is given up after so long, if it is of none to its peer: it may be again soon.
const SPARE: Duration = Duration::from_secs(30);
/// Partners are looked for in the mesh again so long after, twice as long each time that none came of it, …
const AGAIN: Duration = Duration::from_secs(5);
/// …up to 80 s.
const MOST_DOUBLINGS: u32 = 4;
/// The service is asked once none came of it for so long, …
const IN_VAIN: Duration = Duration::from_secs(60);
/// …or, by who has fewer partners than these, the next time.
const FEW: usize = 2;

/// Who carries what two peers tell each other before they have a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The service.
    Service,
    /// The mesh, sealed for this key; in answer to the overlay's introduction of this number, if there was one.
    Mesh(PublicKey, Option<u64>),
}

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

/// What names a swarm's members in the mesh.
fn swarm_key(stream: StreamId) -> Key {
    Key::from_bytes(*stream.as_bytes())
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    /// There is one from the first certificate on.
    overlay: Option<Overlay<NodeProofs>>,
    /// When its timer goes off.
    due: Option<Timestamp>,
    /// It was told something, and what it wants was not done yet.
    stirred: bool,
    /// It was told that others are to be given something.
    serves: bool,
    /// Links that are of no use here, and when they are given up.
    spare: LiteMap<LinkId, Timestamp>,
    /// Swarms whose members are being looked up.
    finds: LiteMap<u64, StreamId>,
    /// Peers that were asked whether they have room for a partner, in which session and by which key.
    knocks: LiteMap<PeerId, (SessionId, PublicKey)>,
    /// Counted here; the rest of it is the overlay's.
    stats: MeshStats,
}

/// What the mesh knows of a swarm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finding {
    /// It is known there that this peer is a member.
    provided: bool,
    /// Partners there had been when members were looked up last, if the service was not asked since.
    asked: Option<u64>,
    /// The mesh named half as many members as the service would, or more.
    names_enough: bool,
    /// How often in a row no partner came of it, …
    failures: u32,
    /// …and since when.
    since: Option<Timestamp>,
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

    /// Peers that were asked whether they have room and did not answer yet.
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
        let stats = self.mesh.stats;
        let setup = Setup {
            me,
            certificate: bytes,
            most_links: self.config.most_links,
            width: Width::TAB,
            exempt: Some(NetworkGroup::LOCAL),
            seed: self.random.bytes(),
        };
        self.mesh =
            Mesh { overlay: Some(Overlay::new(&setup, proofs, now)), serves: true, stats, ..Mesh::default() };
        self.streams.iter_mut().for_each(|(_, state)| state.finding = Finding::default());
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.mesh_link_ready(link, now));
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

    /// Whether there may be so many links and one more, if need be in the place of one that is of no use here.
    pub(super) fn makes_room(&mut self, most: usize, now: Timestamp) -> bool {
        if self.links.len() < most {
            return true;
        }
        let is_useless = |(link, state): &(&LinkId, &Link)| {
            state.is_ready() && !state.may_trade() && !self.mesh.has_contact(**link)
        };
        let useless = self.links.iter().find(is_useless).map(|(link, _)| *link);
        useless.into_iter().for_each(|link| self.close_link(link, Some(ByeReason::TooManyLinks), now));
        useless.is_some()
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
    pub(super) fn handle_overlay(&mut self, link: LinkId, message: OverlayMessage, now: Timestamp) {
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

    fn do_for_mesh(&mut self, output: OverlayOutput, now: Timestamp) {
        match output {
            OverlayOutput::Send(link, message) => {
                let mut payload = Vec::new();
                message.encode(&mut payload);
                self.output(Output::SendControl { link, payload });
            }
            OverlayOutput::Meet(card, certificate) => self.meet(card.peer, &certificate, now),
            OverlayOutput::Introduction(number, body) => self.called_by_mesh(number, &body, now),
            OverlayOutput::Introduced(peer, body) => self.answered_by_mesh(peer, body.as_deref(), now),
            OverlayOutput::Sign(key) => self.sign_provided(key, now),
            OverlayOutput::Found(find, outcome, providers) => {
                self.mesh.stats.lookups += 1;
                self.mesh.stats.found += u64::from(outcome == Outcome::Found);
                self.found(find, providers, now);
            }
            OverlayOutput::Stranger => self.partners.seeks = true,
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
        let may_dial = !known && self.may_connect() && self.makes_room(self.most_contacts(), now);
        match key.filter(|_| may_dial) {
            Some(key) if self.budget.take_dial(self.links.len(), self.pending_links(), now) => {
                self.dial(Call { peer, trade: Trade::None, way: Way::Mesh(key, None) }, now);
            }
            _ => self.mesh.overlay().into_iter().for_each(|overlay| overlay.handle_not_met(peer, now)),
        }
    }

    /// The key of a certificate that holds.
    pub(super) fn key_of(&self, signed: &SignedCertificate, now: Timestamp) -> Option<PublicKey> {
        let certificate = signed.verify(self.service.issuers(), self.wall(now)?).ok()?;
        Some(certificate.public_key)
    }

    /// Seals an introduction and has the mesh carry it.
    pub(super) fn introduce_by_mesh(
        &mut self,
        peer: PeerId,
        (key, asked): (PublicKey, Option<u64>),
        introduction: &SignedIntroduction,
        now: Timestamp,
    ) {
        let sealed = seal(&key, &introduction.encode(), &mut self.random).ok();
        let Some(overlay) = self.mesh.overlay() else { return };
        match (asked, sealed) {
            (Some(number), sealed) => overlay.answer_introduction(number, sealed, now),
            (None, Some(sealed)) => overlay.introduce(peer, sealed, now),
            (None, None) => {}
        }
    }

    /// What a sealed introduction says, if it is for this peer and holds.
    fn opened(&self, sealed: &[u8], now: Timestamp) -> Option<VerifiedIntroduction> {
        let introduction = SignedIntroduction::decode(&self.identity.open(sealed).ok()?).ok()?;
        self.verified(&introduction, now)
    }

    /// Somebody wants a link, and the mesh carried that. Who is refused hears it from this peer, and asks nobody else to carry it.
    fn called_by_mesh(&mut self, number: u64, sealed: &[u8], now: Timestamp) {
        let Some(verified) = self.opened(sealed, now) else {
            return self.mesh.overlay().into_iter().for_each(|it| it.answer_introduction(number, None, now));
        };
        let way = Way::Mesh(verified.certificate.public_key, Some(number));
        let (from, session) = (verified.from, verified.introduction.session);
        let knocks = verified.introduction.body == IntroductionBody::Knock;
        let agrees = if knocks { self.invite(from, now) } else { self.called(verified, way, now) };
        match (agrees, knocks) {
            (true, true) => self.introduce((from, session, way), IntroductionBody::Welcome, now),
            (true, false) => {}
            (false, _) => self.introduce((from, session, way), IntroductionBody::Refusal, now),
        }
    }

    /// Asks a peer whether it has room for a partner.
    pub(super) fn knock(&mut self, peer: PeerId, key: PublicKey, now: Timestamp) {
        let session = self.new_session();
        self.mesh.knocks.insert(peer, (session, key));
        self.introduce((peer, session, Way::Mesh(key, None)), IntroductionBody::Knock, now);
    }

    /// A peer that was asked has no room, or is not to be reached.
    fn knocked_in_vain(&mut self, peer: PeerId, now: Timestamp) {
        self.mesh.knocks.remove(&peer);
        self.partners.note_refused(peer, false, now);
        self.look_further(now);
    }

    /// What a peer says to an introduction that the mesh carried, or that it is not to be reached.
    fn answered_by_mesh(&mut self, peer: PeerId, sealed: Option<&[u8]>, now: Timestamp) {
        let knock = self.mesh.knocks.get(&peer).copied();
        let Some(sealed) = sealed else {
            return match knock {
                Some(_) => self.knocked_in_vain(peer, now),
                None => self.peer_unreachable(peer, now),
            };
        };
        let answer = self.opened(sealed, now).filter(|verified| verified.from == peer);
        let session = answer.map(|verified| (verified.introduction.session, verified.introduction.body));
        let is_true = match session {
            Some((session, IntroductionBody::Answer(description))) => {
                self.answered(peer, session, description)
            }
            Some((session, IntroductionBody::Welcome)) => {
                match knock.filter(|(knock, _)| *knock == session) {
                    Some((_, key)) => {
                        self.mesh.knocks.remove(&peer);
                        if self.budget.take_dial(self.links.len(), self.pending_links(), now) {
                            self.dial(Call { peer, trade: Trade::Agreed, way: Way::Mesh(key, None) }, now);
                        }
                        true
                    }
                    None => false,
                }
            }
            Some((session, IntroductionBody::Refusal))
                if knock.is_some_and(|(knock, _)| knock == session) =>
            {
                self.knocked_in_vain(peer, now);
                true
            }
            Some((session, IntroductionBody::Refusal)) => {
                let dialled = self.links.values().any(|link| link.peer == peer && link.session == session);
                if dialled {
                    self.peer_unreachable(peer, now);
                }
                dialled
            }
            _ => false,
        };
        if let Some(overlay) = self.mesh.overlay() {
            overlay.judge_introduction(peer, is_true, now);
        }
    }

    fn sign_provided(&mut self, key: Key, now: Timestamp) {
        let signed = self.service.certificate().cloned().zip(self.service.peer()).zip(self.wall(now));
        let Some(((certificate, peer), wall)) = signed else { return };
        let record = SignedProvider::sign(*key.as_bytes(), peer, &certificate, &self.identity, wall);
        if let Some(overlay) = self.mesh.overlay() {
            overlay.handle_signed(key, record.encode(), now);
        }
    }

    /// Has the mesh know that this peer is in the swarms that it joined.
    pub(super) fn provide_swarms(&mut self, now: Timestamp) {
        let gives = self.may_upload();
        let Some(overlay) = &mut self.mesh.overlay else { return };
        for (stream, state) in self.streams.iter_mut().filter(|(_, state)| state.finding.provided != gives) {
            state.finding.provided = gives;
            self.mesh.stirred = true;
            match gives {
                true => overlay.provide(swarm_key(*stream), now),
                false => overlay.withdraw(swarm_key(*stream)),
            }
        }
    }

    /// Whether it is the mesh that is asked for members of a swarm this time, and looks them up if it is: whenever somebody can be asked, but
    /// once the service where the last time brought nobody.
    pub(super) fn asks_mesh(&mut self, stream: StreamId, now: Timestamp) -> bool {
        let (partners, has_service) = (self.partner_links().count(), self.service.is_ready());
        // Who looks for somebody better only has enough.
        let (lacks, begun) = (partners < self.config.links, self.partners.begun);
        let Some(state) = self.streams.get_mut(&stream) else { return false };
        let finding = &mut state.finding;
        let failed = finding.asked.take().is_some_and(|before| lacks && begun == before);
        finding.failures = if failed { finding.failures + 1 } else { 0 };
        let since = if failed { *finding.since.get_or_insert(now) } else { now };
        finding.since = finding.since.filter(|_| failed);
        // Those it names may all be full, which the service cannot help, or be nobody's.
        let in_vain = failed && (!finding.names_enough || partners < FEW || since + IN_VAIN <= now);
        if in_vain && has_service || !self.mesh.is_there() {
            (finding.failures, finding.since) = (0, None);
            return false;
        }
        finding.asked = Some(begun);
        state.ask_again = now + AGAIN * (1 << finding.failures.min(MOST_DOUBLINGS));
        if let Some(overlay) = self.mesh.overlay() {
            let find = overlay.find(swarm_key(stream), now);
            self.mesh.finds.insert(find, stream);
        }
        true
    }

    /// Whether the mesh may be asked, now or soon.
    pub(super) fn has_mesh(&self) -> bool {
        self.mesh.overlay.is_some()
    }

    /// A stream was left.
    pub(super) fn leave_mesh(&mut self, stream: StreamId) {
        if let Some(overlay) = self.mesh.overlay() {
            overlay.withdraw(swarm_key(stream));
        }
    }

    /// Members of a swarm that the mesh knows of. Those to whom there is a link are asked for trade, others are called.
    fn found(&mut self, find: u64, providers: Vec<Provider>, now: Timestamp) {
        let Some(stream) = self.mesh.finds.remove(&find) else { return };
        let mut called = Vec::new();
        let named = providers.iter().filter(|provider| Some(provider.peer) != self.service.peer()).count();
        for Provider { peer, record, .. } in providers {
            let me = Some(peer) == self.service.peer();
            if me || self.bans.contains(&peer) || self.partners.refused(peer, now) {
                continue;
            }
            let known = self.links.iter().find(|(_, state)| state.peer == peer);
            match known.map(|(link, state)| (*link, state.trade)) {
                None => {
                    let certificate = SignedProvider::decode(&record).ok();
                    let certificate = certificate.map(|record| record.certificate().clone());
                    called.push(Named { peer, certificate });
                }
                Some((link, Trade::None)) if self.partners_wanted() > 0 => self.propose_trade(link),
                Some(_) => {}
            }
        }
        self.dial_peers(called);
        if let Some(state) = self.streams.get_mut(&stream) {
            let others = state.population.map_or(MAX_INTRODUCED, |all| all.saturating_sub(1) as usize);
            state.finding.names_enough = 2 * named >= others.min(MAX_INTRODUCED);
        }
    }
}
