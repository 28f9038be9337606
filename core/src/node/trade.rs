//! Trade: which links segments go over. The mesh has more links than that: a contact is of use to lookups and to nobody's playback.
//!
//! Both ends of a link have to want it. Who is called for trade takes part in it or says no; later either end may ask the other, agree, or
//! end it with a word (`Partner`, docs/protocol.md §4.11).

use super::{Node, io::Event, links::Link};
use crate::{id::LinkId, swarm::Claims, time::Timestamp, wire::LinkMessage};

/// Whether segments are traded over a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trade {
    /// It is a contact of the overlay only.
    None,
    /// This side asked the other.
    Asked,
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
        let asked = self.links.values().filter(|state| state.trade == Trade::Asked).count();
        let count = self.partner_count() + asked + self.mesh.knocks();
        let missing = self.config.links.saturating_sub(count) as u8;
        missing.max(u8::from(self.partners.seeks && count <= self.config.max_links))
    }

    /// A contact may become a partner: it is asked, now or when its link is ready.
    pub(super) fn propose_trade(&mut self, link: LinkId) {
        if let Some(state) = self.links.get_mut(&link).filter(|state| state.trade == Trade::None) {
            state.trade = Trade::Asked;
            self.say(link, &LinkMessage::Partner(true));
        }
    }

    /// A caller hears that it is a contact only.
    pub(super) fn decline_trade(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.trade = Trade::None;
        self.say(link, &LinkMessage::Partner(false));
    }

    /// The other side wants trade, or does not.
    pub(super) fn handle_partner(&mut self, link: LinkId, wants: bool, now: Timestamp) {
        let Some(trade) = self.links.get(&link).map(|state| state.trade) else { return };
        match (wants, trade) {
            (true, Trade::Agreed) => {}
            (true, Trade::Asked) => self.begin_trade(link, now),
            (true, Trade::None | Trade::Declined) if self.has_room(now) => {
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
        state.trade = Trade::Agreed;
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
        let traded = state.trades();
        state.trade = Trade::None;
        state.kept = false;
        if !traded {
            return;
        }
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
        matches!(self.trade, Trade::Asked | Trade::Agreed)
    }
}
