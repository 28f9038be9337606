//! Introductions: how a link is asked for and agreed to, whoever carries the messages.

use std::time::Duration;

use super::{
    Node,
    io::{Output, SdpKind},
    links::{Link, MAX_CANDIDATES, MAX_EARLY_CANDIDATES, SETUP_TIMEOUT, Side},
};
use crate::{
    id::{LinkId, PeerId, SessionId},
    identity::{
        Candidate, Description, INTRODUCTION_LIFETIME, Introduction, IntroductionBody, SignedIntroduction,
        Trusted,
    },
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
/// Most peers that wait to be dialled; the oldest makes room.
const MAX_NAMED: usize = 16;

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
                SdpKind::Offer => IntroductionBody::Offer(description),
            };
            state.unsent = Some((body, now + GATHER));
        }
        self.settle_calmly(now);
    }

    /// The driver found a further candidate of its own, or an empty one: it has them all.
    pub fn handle_local_candidate(&mut self, link: LinkId, candidate: Candidate, now: Timestamp) {
        if let Some(state) = self.links.get_mut(&link) {
            match &mut state.unsent {
                Some((_, due)) if candidate.is_end() => *due = now,
                _ if !candidate.is_of_use() => {}
                Some((IntroductionBody::Answer(description) | IntroductionBody::Offer(description), _)) => {
                    description.add(candidate);
                }
                _ if state.own.is_some() => {
                    self.introduce(link, IntroductionBody::Candidate(candidate), now);
                }
                _ => {}
            }
        }
        self.settle_calmly(now);
    }

    /// Sends the own description once its candidates were waited for long enough.
    pub(super) fn send_description(&mut self, link: LinkId, now: Timestamp) {
        let unsent = self.links.get_mut(&link).and_then(|state| state.unsent.take_if(|(_, due)| *due <= now));
        if let Some((body, _)) = unsent {
            self.introduce(link, body, now);
        }
    }

    /// The service named peers: they are dialled, a few at a time.
    pub(super) fn dial_peers(&mut self, peers: &[PeerId]) {
        self.named.extend(peers);
        while self.named.len() > MAX_NAMED {
            self.named.pop_front();
        }
    }

    /// Dials peers that the service named, as far as links and budget allow.
    #[inline(never)]
    pub(super) fn drive_dials(&mut self, now: Timestamp) {
        while self.next_dial().is_none_or(|at| at <= now) {
            let Some(peer) = self.named.pop_front() else { return };
            let known = self.links.values().any(|state| state.peer == peer);
            let me = self.service.peer() == Some(peer);
            if known || me || self.bans.contains(&peer) || self.links_wanted() == 0 || !self.may_connect() {
                continue;
            }
            if !self.budget.take_dial(self.links.len(), self.pending_links(), now) {
                return;
            }
            let session = self.new_session();
            let link = LinkId::new(self.next_handle());
            let mut state = Link::new(peer, Side::Dialer, session, now);
            state.kept = self.keeps_another();
            self.links.insert(link, state);
            self.output(Output::Dial { link });
        }
    }

    /// When the next peer that was named may be dialled, as far as dials under way matter.
    fn next_dial(&self) -> Option<Timestamp> {
        let dials = self.links.values().filter(|state| state.side == Side::Dialer && !state.is_ready());
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

    /// An introduction came. It is verified before anything is made of it.
    pub(super) fn handle_introduction(&mut self, introduction: &SignedIntroduction, now: Timestamp) {
        let (Some(me), Some(network), Some(wall)) =
            (self.service.peer(), self.service.network(), self.wall(now))
        else {
            return;
        };
        let trusted = Trusted { issuers: self.service.issuers(), me, network, now: wall };
        let Ok(verified) = introduction.verify(&trusted) else { return };
        if self.bans.contains(&verified.from) || !self.may_connect() {
            return;
        }
        let session = verified.introduction.session;
        match verified.introduction.body {
            IntroductionBody::Answer(description) => self.answered(verified.from, session, description),
            IntroductionBody::Candidate(candidate) => self.add_candidate(verified.from, session, candidate),
            IntroductionBody::Offer(description) => self.offered(verified.from, session, description, now),
            // A restart needs a link that lost its path; paths are the driver's matter until the NAT policy exists.
            IntroductionBody::Restart(_) => {}
        }
    }

    fn offered(&mut self, from: PeerId, session: SessionId, remote: Description, now: Timestamp) {
        let known = self.links.iter().find(|(_, state)| state.peer == from);
        if let Some((link, state)) = known.map(|(link, state)| (*link, (state.side, state.session))) {
            let (side, known_session) = state;
            // Both dialled: the lower id's call stands.
            let mine_stands = side == Side::Dialer
                && !self.links[&link].is_ready()
                && self.service.peer().is_some_and(|me| me < from);
            if known_session == session || mine_stands {
                return;
            }
            self.close_link(link, None);
        }
        if !self.budget.take_accept(from, self.links.len(), self.pending_links(), now) {
            return;
        }
        if !self.has_room(now) {
            self.refuse(from);
            return;
        }
        let link = LinkId::new(self.next_handle());
        let mut state = Link::new(from, Side::Accepter, session, now);
        state.remote = Some(remote.fingerprint());
        self.links.insert(link, state);
        self.output(Output::Accept { link, remote });
    }

    fn answered(&mut self, from: PeerId, session: SessionId, remote: Description) {
        let Some((link, state)) = self.links.iter_mut().find(|(_, state)| {
            state.peer == from
                && state.session == session
                && state.side == Side::Dialer
                && state.remote.is_none()
        }) else {
            return;
        };
        let link = *link;
        state.remote = Some(remote.fingerprint());
        let early = std::mem::take(&mut state.early_remote);
        self.output(Output::SetRemote { link, remote });
        for candidate in early {
            self.output(Output::AddCandidate { link, candidate });
        }
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
        let pending = self.links.iter().find(|(_, state)| state.peer == peer && !state.is_ready());
        if let Some(link) = pending.map(|(link, _)| *link) {
            self.close_link(link, None);
            self.look_further(now);
        }
    }

    fn introduce(&mut self, link: LinkId, body: IntroductionBody, now: Timestamp) {
        let (Some(network), Some(wall)) = (self.service.network(), self.wall(now)) else { return };
        let Some((certificate, session, to)) = self.certificate_and_session(link) else { return };
        if !self.service.is_ready() {
            return;
        }
        let introduction = Introduction { to, network, session, expires: wall + INTRODUCTION_LIFETIME, body };
        let introduction = Box::new(introduction.sign(&certificate, &self.identity));
        self.tell_service(&ClientMessage::Introduce { to, introduction });
    }

    fn new_session(&mut self) -> SessionId {
        SessionId::from_bytes(self.random.half())
    }
}
