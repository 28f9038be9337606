//! Trade: which links segments go over. The mesh has more links than that: a contact is of use to lookups and to nobody's playback.
//!
//! Both ends of a link have to want it. Who is called for trade takes part in it or says no; later either end may ask the other, agree, or
//! end it with a word (`Partner`, docs/protocol.md §4.11).

use std::time::Duration;

use super::{Node, io::Event, links::Link};
use crate::{id::LinkId, swarm::Claims, time::Timestamp, wire::LinkMessage};

/// Who does not say whether it wants trade does not.
const PATIENCE: Duration = Duration::from_secs(5);
/// Trade over one link begins at most so often: both ends then say all that they hold.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether segments are traded over a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trade {
    /// It is a contact of the overlay only.
    None,
    /// This side asked the other, then.
    Asked(Timestamp),
    /// It was called for trade, for which there is no room: the caller is told when the link is ready.
    Declined,
    /// Both want it, or will have said so once it is ready.
    Agreed,
}

impl Node {
    /// Links that segments are traded over.
    pub(super) fn partner_links(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|(_, state)| state.is_partner()).map(|(link, _)| *link)
    }

    /// Their number, with those that are being made.
    pub(super) fn partner_count(&self) -> usize {
        self.links.values().filter(|state| state.trades()).count()
    }

    /// Partners that are still to be looked for, beyond those who were asked.
    pub(super) fn partners_wanted(&self) -> u8 {
        let asked = self.links.values().filter(|state| matches!(state.trade, Trade::Asked(_))).count();
        let count = self.partner_count() + asked + self.mesh.knocks();
        let missing = self.config.links.saturating_sub(count) as u8;
        missing.max(u8::from(self.partners.seeks && count <= self.config.max_links))
    }

    /// A contact may become a partner: it is asked, now or when its link is ready.
    pub(super) fn propose_trade(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link).filter(|state| state.trade == Trade::None) else {
            return;
        };
        state.trade = Trade::Asked(now);
        if state.is_ready() {
            self.say(link, &LinkMessage::Partner(true));
        }
    }

    /// A contact that may become a partner is ready.
    pub(super) fn ask_for_trade(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.trade = Trade::Asked(now);
        self.say(link, &LinkMessage::Partner(true));
    }

    /// Peers that were asked and say nothing are not waited for.
    pub(super) fn forget_asked_partners(&mut self, now: Timestamp) {
        let is_late = |state: &Link| matches!(state.trade, Trade::Asked(at) if state.is_ready() && at + PATIENCE <= now);
        let late: Vec<LinkId> =
            self.links.iter().filter(|(_, state)| is_late(state)).map(|(link, _)| *link).collect();
        late.into_iter().for_each(|link| self.forget_trade(link, now));
    }

    /// A caller hears that it is a contact only.
    pub(super) fn decline_trade(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.trade = Trade::None;
        self.say(link, &LinkMessage::Partner(false));
    }

    /// The other side wants trade, or does not.
    pub(super) fn handle_partner(&mut self, link: LinkId, wants: bool, now: Timestamp) {
        let Some(state) = self.links.get(&link) else { return };
        let soon = state.traded.is_some_and(|at| now < at + AGAIN);
        match (wants, state.trade) {
            (true, Trade::Agreed) => {}
            (true, Trade::Asked(_)) => self.begin_trade(link, now),
            (true, Trade::None | Trade::Declined) if !soon && self.has_room(now) => {
                self.say(link, &LinkMessage::Partner(true));
                self.begin_trade(link, now);
            }
            (true, Trade::None | Trade::Declined) => self.decline_trade(link),
            (false, _) => self.forget_trade(link, now),
        }
    }

    /// From now on segments are traded over a link that is ready.
    pub(super) fn begin_trade(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        (state.trade, state.traded, state.asked) = (Trade::Agreed, Some(now), None);
        let peer = state.peer;
        self.event(Event::PeerConnected { link, peer });
        self.last_ready = Some(now);
        self.partners.seeks = false;
        self.partners.begun += 1;
        self.stir();
        self.announce_all(link);
    }

    /// Ends trade over a link, which stays a contact as long as it is of use to either end.
    pub(super) fn end_trade(&mut self, link: LinkId, now: Timestamp) {
        self.say(link, &LinkMessage::Partner(false));
        self.forget_trade(link, now);
    }

    fn forget_trade(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let (traded, wanted) = (state.trades(), state.may_trade());
        state.trade = Trade::None;
        state.kept = false;
        if !traded {
            if wanted {
                self.consider_spare(link, now);
            }
            return;
        }
        state.traded = Some(now);
        // What it owes it need not give any more.
        state.asking.snub.forgive();
        state.claims = Claims::default();
        let peer = state.peer;
        for request in state.asking.cancel_all() {
            self.say(link, &LinkMessage::Cancel(request));
        }
        self.refuse_uploads(link);
        self.forget_asked(link);
        self.event(Event::PeerClosed { link, peer });
        self.consider_spare(link, now);
    }
}

impl Link {
    /// Whether it is, or may become, a partner.
    pub(super) fn may_trade(&self) -> bool {
        matches!(self.trade, Trade::Asked(_) | Trade::Agreed)
    }
}
