//! Introductions: how a link is asked for and agreed to, whoever carries the messages.

use std::time::Duration;

use super::{
    Node,
    calls::Way,
    io::{Output, SdpKind},
    links::{Call, Link, MAX_CANDIDATES, MAX_EARLY_CANDIDATES, SETUP_TIMEOUT, Side},
    partners::SPARE,
    trade::Trade,
};
use crate::{
    id::{LinkId, PeerId, SessionId},
    identity::{
        Candidate, Description, INTRODUCTION_LIFETIME, Introduction, IntroductionBody, PublicKey,
        SignedCertificate, SignedIntroduction, Trusted, VerifiedIntroduction,
    },
    kad::Card,
    time::Timestamp,
    wire::ClientMessage,
};

/// Dials under way at a time, and how long after the last one, unless that came through before, the next one is made. Making a
/// connection is work, and of several at once none is there soon (RFC 8305 §5): where few come together both ends make many.
const DIALS: (usize, Duration) = (3, Duration::from_millis(250));
/// The same in a swarm too large for all to be neighbours: who comes is the only one there that makes so many, and needs them before
/// its first segment has played.
const DIALS_AMONG_MANY: (usize, Duration) = (8, Duration::from_millis(70));
/// How long candidates are waited for before the description is sent. A server-reflexive one takes a round trip to its server.
const GATHER: Duration = Duration::from_millis(50);
/// The same where the mesh carries it: it carries nothing after it.
const GATHER_FOR_MESH: Duration = Duration::from_millis(250);
/// Most peers that wait to be dialled; the oldest makes room.
const MAX_NAMED: usize = 16;

/// A peer that was named as a partner.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) peer: PeerId,
    pub(super) by: NamedBy,
}

/// Who named it.
#[derive(Debug)]
pub(super) enum NamedBy {
    Service,
    /// With its certificate.
    Mesh(SignedCertificate),
    /// It has this key, was asked, and has room.
    Itself(PublicKey),
}

impl Node {
    /// The driver made its side of a link's description, with the candidates found so far. It is sent with those, too, that are found
    /// within a moment: each that follows by itself is signed, carried, verified and added by itself.
    pub fn handle_local_description(
        &mut self,
        link: LinkId,
        kind: SdpKind,
        description: Description,
        now: Timestamp,
    ) {
        if let Some(state) = self.links.get_mut(&link) {
            state.own = Some(description.fingerprint());
            let body = match kind {
                SdpKind::Answer => IntroductionBody::Answer(description),
                SdpKind::Offer if state.trades() => IntroductionBody::Offer(description),
                SdpKind::Offer => IntroductionBody::Contact(description),
            };
            let gather = if matches!(state.way, Way::Service) { GATHER } else { GATHER_FOR_MESH };
            state.unsent = Some((body, now + gather));
        }
        self.settle_calmly(now);
    }

    /// The driver found a further candidate of its own, or an empty one: it has them all.
    pub fn handle_local_candidate(&mut self, link: LinkId, candidate: Candidate, now: Timestamp) {
        if let Some(state) = self.links.get_mut(&link) {
            match &mut state.unsent {
                Some((_, due)) if candidate.is_end() => *due = now,
                _ if !candidate.is_of_use() => {}
                Some((
                    IntroductionBody::Answer(description)
                    | IntroductionBody::Offer(description)
                    | IntroductionBody::Contact(description),
                    _,
                )) => description.add(candidate),
                _ if state.own.is_some() && matches!(state.way, Way::Service) => {
                    let to = (state.peer, state.session, state.way);
                    self.introduce(to, IntroductionBody::Candidate(candidate), now);
                }
                _ => {}
            }
        }
        self.settle_calmly(now);
    }

    /// Sends the own description once its candidates were waited for long enough.
    pub(super) fn send_description(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let to = (state.peer, state.session, state.way);
        if let Some((body, _)) = state.unsent.take_if(|(_, due)| *due <= now) {
            self.introduce(to, body, now);
        }
    }

    /// Partners were named: they are dialled, a few at a time.
    pub(super) fn dial_peers(&mut self, peers: impl IntoIterator<Item = Named>) {
        self.named.extend(peers);
        while self.named.len() > MAX_NAMED {
            self.named.pop_front();
        }
    }

    /// Dials partners that were named, as far as links and budget allow.
    #[inline(never)]
    pub(super) fn drive_dials(&mut self, now: Timestamp) {
        while self.next_dial().is_none_or(|at| at <= now) {
            // Those who were asked may have no room.
            if self.partners_wanted() == 0 && self.mesh.knocks() > 0 {
                return;
            }
            let Some(Named { peer, by }) = self.named.pop_front() else { return };
            let known = self.links.iter().find(|(_, state)| state.peer == peer).map(|(link, _)| *link);
            let out = Some(peer) == self.service.peer()
                || self.bans.contains(&peer)
                || self.mesh.is_asked(peer)
                || self.partners_wanted() == 0
                || !self.may_connect();
            let way = match by {
                _ if out => continue,
                _ if known.is_some() => {
                    known.into_iter().for_each(|link| self.propose_trade(link, now));
                    continue;
                }
                NamedBy::Service => Way::Service,
                NamedBy::Itself(key) => Way::Mesh(key, None),
                NamedBy::Mesh(certificate) => {
                    // A connection is dear, a question is not.
                    if let Some(key) = self.key_of(&certificate, now).filter(|_| self.mesh.is_there()) {
                        self.knock(peer, key, now);
                    }
                    continue;
                }
            };
            let most = self.config.most_links + SPARE;
            if !self.has_place(most) {
                continue;
            }
            if !self.budget.take_dial(self.links.len(), self.pending_links(), now) {
                return;
            }
            self.make_place(most, now);
            self.dial(Call { peer, trade: Trade::Agreed, way }, now);
        }
    }

    pub(super) fn dial(&mut self, call: Call, now: Timestamp) {
        let session = self.new_session();
        let link = LinkId::new(self.next_handle());
        let mut state = Link::new(call, Side::Dialer, session, now);
        state.kept = state.trades() && self.keeps_another();
        self.links.insert(link, state);
        self.output(Output::Dial { link });
    }

    /// When the next peer that was named may be dialled, as far as dials under way matter.
    fn next_dial(&self) -> Option<Timestamp> {
        let is_dial = |state: &&Link| state.side == Side::Dialer && state.trades() && !state.is_ready();
        let dials = self.links.values().filter(is_dial);
        let (count, last) =
            dials.fold((0, None), |(count, last), state| (count + 1, last.max(Some(state.since))));
        let last: Timestamp = last?;
        let is_wide = self.streams.keys().any(|stream| self.is_wide(stream));
        let (most, stagger) = if is_wide { DIALS_AMONG_MANY } else { DIALS };
        Some(if count < most { last + stagger } else { last + SETUP_TIMEOUT })
    }

    /// When to dial again, if there is anybody to dial.
    pub(super) fn dials_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        self.named.front().and_then(|_| self.next_dial()).filter(|at| now < *at)
    }

    /// An introduction came from the service. It is verified before anything is made of it.
    pub(super) fn handle_introduction(&mut self, introduction: &SignedIntroduction, now: Timestamp) {
        let Some(verified) = self.verified(introduction, now) else { return };
        let (from, session) = (verified.from, verified.introduction.session);
        match verified.introduction.body {
            IntroductionBody::Answer(description) => {
                self.answered(from, session, description);
            }
            IntroductionBody::Candidate(candidate) => self.add_candidate(from, session, candidate),
            IntroductionBody::Offer(_) | IntroductionBody::Contact(_) => {
                self.called(verified, Way::Service, now);
            }
            // A restart needs a link that lost its path; paths are the driver's matter until the NAT policy exists. What is asked before a call goes
            // over the mesh only.
            IntroductionBody::Restart(_)
            | IntroductionBody::Refusal
            | IntroductionBody::Knock
            | IntroductionBody::Welcome => {}
        }
    }

    /// What an introduction says, if it is for this peer, holds, and its sender is one that may be connected to.
    pub(super) fn verified(
        &self,
        introduction: &SignedIntroduction,
        now: Timestamp,
    ) -> Option<VerifiedIntroduction> {
        let (me, network, wall) = (self.service.peer()?, self.service.network()?, self.wall(now)?);
        let trusted = Trusted { issuers: self.service.issuers(), me, network, now: wall };
        let verified = introduction.verify(&trusted).ok()?;
        (!self.bans.contains(&verified.from) && self.may_connect()).then_some(verified)
    }

    /// Somebody calls; whether that is answered. Who calls for trade for which there is no room is let in if the overlay has a use for it.
    pub(super) fn called(&mut self, verified: VerifiedIntroduction, way: Way, now: Timestamp) -> bool {
        let (from, session) = (verified.from, verified.introduction.session);
        let (remote, trades) = match verified.introduction.body {
            IntroductionBody::Offer(remote) => (remote, true),
            IntroductionBody::Contact(remote) => (remote, false),
            _ => return false,
        };
        let known = self.links.iter().find(|(_, state)| state.peer == from);
        let holds = verified.introduction.expires;
        if let Some((link, state)) =
            known.map(|(link, state)| (*link, (state.side, state.session, state.holds)))
        {
            let (side, known_session, known_holds) = state;
            // Both dialled: the lower id's call stands.
            let mine_stands = side == Side::Dialer
                && !self.links[&link].is_ready()
                && self.service.peer().is_some_and(|me| me < from);
            // One that is older than what made the link was on its way for long, or is shown again.
            let is_old = known_holds.is_some_and(|known| holds < known);
            if known_session == session || mine_stands || is_old {
                return false;
            }
            self.close_link(link, None, now);
        }
        if !self.budget.take_accept(from, self.links.len(), self.pending_links(), now) {
            return false;
        }
        let card = Card { peer: from, group: verified.certificate.group };
        let (most, contacts) = (self.config.most_links + SPARE, self.most_contacts());
        let is_of_use = self.mesh.wants(card, now);
        let (trade, most) = match trades {
            // One takes another's place for a moment.
            true if self.has_place(most) && (self.takes_invited(from, now) || self.has_room(now)) => {
                (Trade::Agreed, most)
            }
            true if is_of_use && self.has_place(contacts) => (Trade::Declined, contacts),
            false if self.has_place(contacts + usize::from(is_of_use)) => {
                (Trade::None, contacts + usize::from(is_of_use))
            }
            _ => {
                if matches!(way, Way::Service) {
                    self.refuse(from);
                }
                return false;
            }
        };
        self.make_place(most, now);
        let link = LinkId::new(self.next_handle());
        let mut state = Link::new(Call { peer: from, trade, way }, Side::Accepter, session, now);
        state.remote = Some(remote.fingerprint());
        state.holds = Some(holds);
        self.links.insert(link, state);
        self.output(Output::Accept { link, remote });
        true
    }

    /// Takes an answer to an own call; whether there was such a call.
    pub(super) fn answered(&mut self, from: PeerId, session: SessionId, remote: Description) -> bool {
        let Some((link, state)) = self.links.iter_mut().find(|(_, state)| {
            state.peer == from
                && state.session == session
                && state.side == Side::Dialer
                && state.remote.is_none()
        }) else {
            return false;
        };
        let link = *link;
        state.remote = Some(remote.fingerprint());
        let early = std::mem::take(&mut state.early_remote);
        self.output(Output::SetRemote { link, remote });
        for candidate in early {
            self.output(Output::AddCandidate { link, candidate });
        }
        true
    }

    fn add_candidate(&mut self, from: PeerId, session: SessionId, candidate: Candidate) {
        let Some((link, state)) =
            self.links.iter_mut().find(|(_, state)| state.peer == from && state.session == session)
        else {
            return;
        };
        let link = *link;
        if state.candidates >= MAX_CANDIDATES {
            return;
        }
        state.candidates += 1;
        if state.remote.is_some() {
            self.output(Output::AddCandidate { link, candidate });
        } else if state.early_remote.len() < MAX_EARLY_CANDIDATES {
            state.early_remote.push(candidate);
        }
    }

    /// The service says that an introduction did not reach its target.
    pub(super) fn peer_unreachable(&mut self, peer: PeerId, now: Timestamp) {
        self.unreachable(peer, |state| matches!(state.way, Way::Service), now);
    }

    /// A call came to nothing: one of those to this peer that `is_it`.
    pub(super) fn unreachable(&mut self, peer: PeerId, is_it: impl Fn(&Link) -> bool, now: Timestamp) {
        let is_call = |state: &Link| state.peer == peer && !state.is_ready() && is_it(state);
        let pending = self.links.iter().find(|(_, state)| is_call(state));
        if let Some(link) = pending.map(|(link, _)| *link) {
            self.partners.note_refused(peer, true, now);
            self.close_link(link, None, now);
            self.look_further(now);
        }
    }

    /// Tells a peer something of a session, by the way that it was begun.
    pub(super) fn introduce(
        &mut self,
        (to, session, way): (PeerId, SessionId, Way),
        body: IntroductionBody,
        now: Timestamp,
    ) {
        let (Some(network), Some(wall)) = (self.service.network(), self.wall(now)) else { return };
        let Some(certificate) = self.service.certificate() else { return };
        let introduction = Introduction { to, network, session, expires: wall + INTRODUCTION_LIFETIME, body };
        let introduction = introduction.sign(certificate, &self.identity);
        match way {
            Way::Mesh(key, asked) => self.introduce_by_mesh(to, (key, asked), &introduction, now),
            Way::Service if self.service.is_ready() => {
                self.tell_service(&ClientMessage::Introduce { to, introduction: Box::new(introduction) });
            }
            Way::Service => {}
        }
    }

    pub(super) fn new_session(&mut self) -> SessionId {
        SessionId::from_bytes(self.random.half())
    }
}
