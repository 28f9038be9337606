//! Links to other peers: made and kept within a budget, checked by hello, watched by pings.

use std::time::Duration;

use super::{
    Node,
    calls::Way,
    io::{Channel, Event, LinkFailure, LinkInfo, Output},
    trade::Trade,
};
use crate::{
    guard::{TokenBucket, Violation},
    id::{ContentId, LinkId, NetworkGroup, PeerId, SessionId},
    identity::{
        Candidate, Fingerprint, HelloError, HelloExpectation, IntroductionBody, LinkHello, Rights,
        SignedCertificate,
    },
    swarm::{Asking, Claims, Giving, Merit, Moved, Traffic},
    time::{Timestamp, WallTime},
    wire::{ByeReason, LinkMessage, PROTOCOL_VERSIONS},
};

/// A link that is not ready after this is given up.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent link is pinged after this.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A peer is dead this long after a ping it did not answer.
const DEAD_AFTER: Duration = Duration::from_secs(15);
/// Most candidates kept for a link whose remote description has not come.
pub(super) const MAX_EARLY_CANDIDATES: usize = 32;
/// Most candidates taken from a peer: the browser sends checks to each address that is named.
pub(super) const MAX_CANDIDATES: usize = 64;
/// Control messages of one peer: this many at once…
const CONTROL_BURST: u32 = 2000;
/// …and this many a second.
const CONTROL_PER_SECOND: f64 = 800.0;
/// What the overlay does for one neighbour, by cost: this much at once…
const OVERLAY_BURST: u32 = 2000;
/// …and this much a second.
const OVERLAY_PER_SECOND: f64 = 400.0;
/// Values of group lists that one peer is given at once, 512 KiB…
const LIST_VALUES_BURST: u32 = 16_384;
/// …and a second, 128 KiB. What is beyond has to come from the sidecar.
const LIST_VALUES_PER_SECOND: f64 = 4096.0;

/// Who called whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Accepter,
    Dialer,
}

/// What a link is made for, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) peer: PeerId,
    pub(super) trade: Trade,
    pub(super) way: Way,
}

#[derive(Debug)]
enum State {
    /// The channels are being opened; the peer's may have opened first and brought its hello.
    Connecting { greeted: bool },
    /// Both channels are open, the peer's hello has not come.
    Greeting,
    /// Hellos were exchanged.
    Ready { heard: Timestamp, ping: Option<(u32, Timestamp)> },
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) side: Side,
    pub(super) session: SessionId,
    pub(super) own: Option<Fingerprint>,
    pub(super) remote: Option<Fingerprint>,
    pub(super) early_remote: Vec<Candidate>,
    /// Candidates that the peer named.
    pub(super) candidates: usize,
    /// The own description until it is sent, and when that is.
    pub(super) unsent: Option<(IntroductionBody, Timestamp)>,
    pub(super) rtt: Option<Duration>,
    pub(super) asking: Asking,
    pub(super) merit: Merit,
    pub(super) claims: Claims,
    pub(super) giving: Giving,
    /// Whether segments are traded over it.
    pub(super) trade: Trade,
    /// Since when, or until when.
    pub(super) traded: Option<Timestamp>,
    /// Until when the introduction holds that it was accepted by.
    pub(super) holds: Option<WallTime>,
    /// Who carries what the two tell each other before it is ready.
    pub(super) way: Way,
    /// What the peer's hello said that it is.
    pub(super) certificate: Option<(NetworkGroup, SignedCertificate)>,
    /// Whether its certificate lets it give segments to others.
    pub(super) may_upload: bool,
    pub(super) control: TokenBucket,
    /// What the overlay may still do for the peer.
    pub(super) overlay: TokenBucket,
    /// Values of group lists that the peer may still be given.
    pub(super) lists: TokenBucket,
    /// This side made it and never gives it up.
    pub(super) kept: bool,
    /// When the peer was asked to let it go.
    pub(super) asked: Option<Timestamp>,
    pub(super) traffic: Traffic,
    pub(super) since: Timestamp,
    state: State,
}

impl Link {
    pub(super) fn new(call: Call, side: Side, session: SessionId, now: Timestamp) -> Self {
        let Call { peer, trade, way } = call;
        Self {
            peer,
            side,
            session,
            trade,
            traded: None,
            holds: None,
            way,
            certificate: None,
            own: None,
            remote: None,
            early_remote: Vec::new(),
            candidates: 0,
            unsent: None,
            rtt: None,
            asking: Asking::new(now),
            merit: Merit::new(now),
            claims: Claims::default(),
            giving: Giving::new(now),
            may_upload: false,
            control: TokenBucket::new(CONTROL_BURST, CONTROL_PER_SECOND, now),
            overlay: TokenBucket::new(OVERLAY_BURST, OVERLAY_PER_SECOND, now),
            lists: TokenBucket::new(LIST_VALUES_BURST, LIST_VALUES_PER_SECOND, now),
            kept: false,
            asked: None,
            traffic: Traffic::default(),
            since: now,
            state: State::Connecting { greeted: false },
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether segments are traded over it once it is ready.
    pub(super) fn trades(&self) -> bool {
        self.trade == Trade::Agreed
    }

    /// Whether segments are traded over it now.
    pub(super) fn is_partner(&self) -> bool {
        self.is_ready() && self.trades()
    }

    pub(super) fn moved(&self) -> Moved {
        Moved { came: self.asking.bytes_in, left: self.giving.bytes_out }
    }

    /// Whether its peer has said anything since.
    fn is_heard_since(&self, since: Timestamp) -> bool {
        matches!(self.state, State::Ready { heard, .. } if since < heard)
    }

    fn due(&self) -> Timestamp {
        match &self.state {
            State::Connecting { .. } | State::Greeting => self.since + SETUP_TIMEOUT,
            State::Ready { heard, ping: None } => *heard + PING_INTERVAL,
            State::Ready { ping: Some((_, at)), .. } => *at + DEAD_AFTER,
        }
    }
}

impl Node {
    /// Both channels of a link are open.
    pub fn handle_link_open(&mut self, link: LinkId, now: Timestamp) {
        self.greet_peer(link, now);
        self.settle(now);
    }

    /// A message came on a link.
    pub fn handle_link_message(&mut self, link: LinkId, channel: Channel, message: &[u8], now: Timestamp) {
        if let Some(state) = self.links.get_mut(&link) {
            if let State::Ready { heard, .. } = &mut state.state {
                *heard = now;
            }
            match channel {
                Channel::Bulk => self.handle_bulk(link, message, now),
                Channel::Control => self.handle_control(link, message, now),
            }
        }
        self.settle_calmly(now);
    }

    /// How many bytes a link's bulk channel holds that are not sent yet. Call it after groups were given to the
    /// channel and whenever it drains to [`BULK_LOW`](super::BULK_LOW).
    pub fn handle_link_buffered(&mut self, link: LinkId, bytes: u64, now: Timestamp) {
        self.note_buffered(link, bytes, now);
        self.settle_calmly(now);
    }

    /// A link closed, or could not be made.
    pub fn handle_link_closed(&mut self, link: LinkId, failure: LinkFailure, now: Timestamp) {
        match failure {
            LinkFailure::Closed => {}
            LinkFailure::Exhausted => self.budget.pause(now),
            LinkFailure::Misbehaviour => {
                self.violation(link, Violation::Transport, now);
            }
        }
        self.forget_link(link, now);
        self.settle(now);
    }

    /// All links, in the order they were made.
    pub fn links(&self) -> impl Iterator<Item = LinkInfo> {
        self.links.iter().map(|(link, state)| LinkInfo {
            link: *link,
            peer: state.peer,
            ready: state.is_ready(),
            partner: state.is_partner(),
            by_mesh: matches!(state.way, Way::Mesh(..)),
            rtt: state.rtt,
            bytes_in: state.asking.bytes_in,
            bytes_out: state.giving.bytes_out,
        })
    }

    pub(super) fn pending_links(&self) -> usize {
        self.links.values().filter(|state| !state.is_ready()).count()
    }

    /// Shows neighbours the certificate that took another's place: they name this peer to others by it.
    pub(super) fn show_certificate(&mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            if self.links.get(&link).is_some_and(Link::is_ready) {
                self.say_hello(link);
            }
        }
    }

    fn say_hello(&mut self, link: LinkId) {
        let (Some(network), Some(certificate)) =
            (self.service.network(), self.service.certificate().cloned())
        else {
            return;
        };
        let Some(state) = self.links.get(&link) else { return };
        let (Some(own), Some(peer)) = (state.own, state.remote) else { return };
        let session = state.session;
        let hello =
            LinkHello { versions: PROTOCOL_VERSIONS, features: 0, network, certificate, session, own, peer };
        self.say(link, &LinkMessage::Hello(Box::new(hello)));
    }

    fn greet_peer(&mut self, link: LinkId, now: Timestamp) {
        if self.service.network().is_none() || self.service.certificate().is_none() {
            return;
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        let State::Connecting { greeted } = state.state else { return };
        if state.own.is_none() || state.remote.is_none() {
            self.violation(link, Violation::BadHello, now);
            return;
        }
        state.state = State::Greeting;
        self.say_hello(link);
        if greeted {
            self.link_ready(link, now);
        }
    }

    #[inline(never)]
    pub(super) fn handle_hello(&mut self, link: LinkId, hello: &LinkHello, now: Timestamp) {
        let (Some(network), Some(wall)) = (self.service.network(), self.wall(now)) else { return };
        let Some(state) = self.links.get(&link) else { return };
        let (Some(own_fingerprint), Some(peer_fingerprint)) = (state.own, state.remote) else { return };
        let expected = HelloExpectation {
            versions: PROTOCOL_VERSIONS,
            features: 0,
            network,
            issuers: self.service.issuers(),
            peer: state.peer,
            session: state.session,
            own_fingerprint,
            peer_fingerprint,
            now: wall,
        };
        match hello.verify(&expected) {
            Ok(agreed) => {
                let Some(state) = self.links.get_mut(&link) else { return };
                state.merit.note_age(wall.since(agreed.certificate.since), now);
                state.may_upload = agreed.certificate.rights.contains(Rights::UPLOAD);
                state.certificate = Some((agreed.certificate.group, hello.certificate.clone()));
                match &mut state.state {
                    State::Connecting { greeted } => *greeted = true,
                    State::Greeting => self.link_ready(link, now),
                    State::Ready { .. } => self.mesh_link_certified(link),
                }
            }
            Err(HelloError::NoCommonVersion { .. }) => {
                self.close_link(link, Some(ByeReason::NoCommonVersion), now)
            }
            Err(_) => self.violation(link, Violation::BadHello, now),
        }
    }

    fn link_ready(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.is_ready() {
            return;
        }
        state.state = State::Ready { heard: now, ping: None };
        let (side, trade, way) = (state.side, state.trade, state.way);
        if side == Side::Dialer {
            self.count_introduction(way);
        }
        match trade {
            Trade::Agreed => self.begin_trade(link, now),
            Trade::Declined => self.decline_trade(link),
            Trade::Asked(_) => self.ask_for_trade(link, now),
            Trade::None => {}
        }
        self.ping(link, now);
        self.mesh_link_ready(link, now);
    }

    /// Asks whether a peer is there that did not say something it should have.
    pub(super) fn ping_silent(&mut self, link: LinkId, now: Timestamp) {
        if let Some(State::Ready { ping: None, .. }) = self.links.get(&link).map(|state| &state.state) {
            self.ping(link, now);
        }
    }

    fn ping(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let State::Ready { ping, .. } = &mut state.state else { return };
        let number = now.as_micros() as u32;
        *ping = Some((number, now));
        self.say(link, &LinkMessage::Ping(number));
    }

    pub(super) fn handle_pong(&mut self, link: LinkId, number: u32, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let State::Ready { ping, .. } = &mut state.state else { return };
        let Some((_, at)) = ping.take_if(|(asked, _)| *asked == number) else { return };
        let sample = now.saturating_since(at);
        // RFC 6298 §2: a quarter less weight than TCP gives, there are few samples.
        let rtt = state.rtt.map_or(sample, |old| (old * 3 + sample) / 4);
        state.rtt = Some(rtt);
        if let Some(overlay) = self.mesh.overlay() {
            overlay.handle_rtt(link, rtt);
        }
    }

    pub(super) fn links_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        let late = |state: &Link| state.asking.next_late(state.rtt);
        let overdue = |state: &Link| state.asking.next_overdue(state.rtt);
        let rested = |state: &Link| state.asking.rested_at(now);
        let unsent = |state: &Link| Some(state.unsent.as_ref()?.1);
        let of =
            |state: &Link| [Some(state.due()), late(state), overdue(state), rested(state), unsent(state)];
        self.links.values().flat_map(of).flatten().min()
    }

    /// Timers did not run for a while: silence meanwhile proves nothing, ping first.
    pub(super) fn forgive_silence(&mut self, now: Timestamp) {
        for state in self.links.iter_mut().map(|(_, value)| value) {
            state.asking.snub.forgive();
            if let State::Ready { heard, ping } = &mut state.state {
                *ping = None;
                *heard =
                    Timestamp::from_micros(now.as_micros().saturating_sub(PING_INTERVAL.as_micros() as u64));
            }
        }
    }

    #[inline(never)]
    pub(super) fn drive_links(&mut self, now: Timestamp) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.take_back_late(link, now);
            self.send_description(link, now);
            let Some(state) = self.links.get_mut(&link) else { continue };
            if state.asking.is_rested(now) {
                self.stir();
            }
            let Some(state) = self.links.get(&link) else { continue };
            if now < state.due() {
                continue;
            }
            match &state.state {
                State::Connecting { .. } | State::Greeting => {
                    let (peer, dialled) = (state.peer, state.side == Side::Dialer);
                    if dialled {
                        self.partners.note_refused(peer, true, now);
                    }
                    self.close_link(link, None, now);
                }
                State::Ready { ping: None, .. } => self.ping(link, now),
                State::Ready { ping: Some(_), .. } => self.close_link(link, None, now),
            }
        }
    }

    /// Requests that are late are cancelled; other holders or the origin are asked.
    fn take_back_late(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let rtt = state.rtt;
        for late in state.asking.take_late(rtt, now) {
            self.say(link, &LinkMessage::Cancel(late.request));
            self.unask(link, &late.content, &late.groups);
            self.note_owed(&late);
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.asking.snub.never_gives(now) {
            if state.is_heard_since(state.asking.snub.doubted_since()) {
                return self.violation(link, Violation::NeverGives, now);
            }
            // Who says nothing at all may be gone: that it gives nothing proves nothing.
            state.asking.snub.forgive();
        }
        let overdue = self.links.get_mut(&link).map(|state| state.asking.take_overdue(rtt, now));
        self.hedge(link, &overdue.unwrap_or_default(), now);
    }

    /// A peer broke a rule: it is banned and its link closed.
    pub(super) fn violation(&mut self, link: LinkId, violation: Violation, now: Timestamp) {
        let Some(state) = self.links.get(&link) else { return };
        let peer = state.peer;
        self.bans.insert(peer);
        self.event(Event::PeerBanned { peer, violation });
        self.close_link(link, Some(ByeReason::Misbehaviour), now);
    }

    /// The other side leaves. Who bans this peer takes no call of it any more: none is made.
    pub(super) fn handle_bye(&mut self, link: LinkId, reason: ByeReason, now: Timestamp) {
        let peer = self.links.get(&link).map(|state| state.peer);
        if let Some(peer) = peer.filter(|_| reason == ByeReason::Misbehaviour) {
            self.bans.insert(peer);
        }
        self.close_link(link, None, now);
    }

    pub(super) fn close_link(&mut self, link: LinkId, reason: Option<ByeReason>, now: Timestamp) {
        if let Some(reason) = reason {
            self.say(link, &LinkMessage::Bye(reason));
        }
        if self.links.contains_key(&link) {
            self.output(Output::CloseLink { link });
        }
        self.forget_link(link, now);
    }

    pub(super) fn close_all_links(&mut self, now: Timestamp) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.close_link(link, Some(ByeReason::Leaving), now);
        }
    }

    fn forget_link(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.remove(&link) else { return };
        if state.is_partner() {
            self.event(Event::PeerClosed { link, peer: state.peer });
            // The mesh is asked soon for another one.
            self.look_further(now);
        }
        self.mesh_link_gone(link, &state, now);
        self.forget_asked(link);
    }

    /// What a peer was asked for does not come from it any more.
    pub(super) fn forget_asked(&mut self, link: LinkId) {
        for fetch in self.fetches.iter_mut().map(|(_, value)| value) {
            fetch.asked.forget(link, |_| true);
            fetch.stirred = true;
        }
    }

    /// Sends a control message; before the channels are open there is nobody to hear it.
    pub(super) fn say(&mut self, link: LinkId, message: &LinkMessage) {
        let open =
            self.links.get(&link).is_some_and(|state| !matches!(state.state, State::Connecting { .. }));
        if open {
            self.output(Output::SendControl { link, payload: message.to_bytes() });
        }
    }

    /// Content that a peer has no more.
    pub(super) fn forget_claims(&mut self, link: LinkId, contents: &[ContentId]) {
        let Some(state) = self.links.get_mut(&link) else { return };
        for content in contents {
            state.claims.remove(content);
        }
        self.stir();
        self.announce_again(link, contents);
    }
}
