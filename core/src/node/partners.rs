//! Partner choice: a bounded mesh, whose worst link makes room for a newcomer and now and then for a new acquaintance.
//!
//! Nobody hangs up: who would give a link up asks (`Release`), and the other end closes it if it can spare it too. Each peer keeps
//! the first links it made itself, to peers that the service drew by chance, whatever they are worth. So however peers rate each
//! other, the links that stay make a random graph in which everybody has several, and that does not fall apart
//! (docs/decisions/0020).

use std::{collections::VecDeque, time::Duration};

use super::{Node, links::Link};
use crate::{
    id::{LinkId, PeerId},
    swarm::is_poor,
    time::Timestamp,
    wire::{ByeReason, ClientMessage, LinkMessage},
};

/// Of as many partners as a peer may have, this part are such that it called itself and never gives up.
const KEPT: usize = 4;
/// Who has no more of as many partners as it may have, by this part of them, spares none.
const FEW: (usize, usize) = (2, 3);
/// Links beyond the mesh's limit, while one takes another's place.
pub(super) const SPARE: usize = 2;
/// How often a full mesh looks at its worst link, and up to half as long again.
const REVIEW: Duration = Duration::from_secs(24);
/// A link is not given up before.
const TRIAL: Duration = Duration::from_secs(30);
/// How often a full mesh makes room for somebody who calls.
const KNOCK: Duration = Duration::from_secs(10);
/// How long a peer has to let a link go; then the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who has something of what was used in the last so many uses plays the same.
const RECENT: u64 = 128;
/// Who was told that there is room has a place for so long.
const INVITED: Duration = Duration::from_secs(10);
/// A peer that did not let its link go is not asked again for this, nor called one that took no call; …
const REFUSED: Duration = Duration::from_secs(60);
/// …one that was asked and has no room is asked again after so long; …
const NO_ROOM: Duration = Duration::from_secs(15);
/// …so many of those are remembered.
const MAX_REFUSED: usize = 64;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Partners {
    /// When the worst link is looked at, while the mesh is full.
    review: Option<Timestamp>,
    /// Partners that there were so far.
    pub(super) begun: u64,
    /// A new acquaintance is looked for, though there are links enough.
    pub(super) seeks: bool,
    /// When somebody was let in last for whom there was no room.
    knocked: Option<Timestamp>,
    /// When a peer was asked last to let its link go.
    asked: Option<Timestamp>,
    /// The service knows that there is no room.
    pub(super) said_full: bool,
    /// Who was told that there is room and has not come, and when.
    invited: Vec<(PeerId, Timestamp)>,
    /// Who did not take a call, the first first, and until when it is not called again.
    refused: VecDeque<(PeerId, Timestamp)>,
}

impl Partners {
    /// Takes note of a call that came to nothing, or of a question, which costs little.
    pub(super) fn note_refused(&mut self, peer: PeerId, called: bool, now: Timestamp) {
        self.refused.push_back((peer, now + if called { REFUSED } else { NO_ROOM }));
        if self.refused.len() > MAX_REFUSED {
            self.refused.pop_front();
        }
    }

    /// Whether a peer did not take a call lately: it is not called again so soon.
    pub(super) fn refused(&self, peer: PeerId, now: Timestamp) -> bool {
        self.refused.iter().any(|(other, until)| *other == peer && now < *until)
    }
}

impl Node {
    fn is_full(&self) -> bool {
        self.partner_count() >= self.config.max_links
    }

    /// Whether a link that this peer makes now is one it keeps.
    pub(super) fn keeps_another(&self) -> bool {
        self.links.values().filter(|state| state.kept).count() < self.config.max_links.div_ceil(KEPT)
    }

    /// Whether somebody who calls is let in; in a full mesh the worst link then makes room.
    pub(super) fn has_room(&mut self, now: Timestamp) -> bool {
        let count = self.partner_count() + self.kept_places(now);
        if count < self.config.max_links {
            return true;
        }
        let knocked = self.partners.knocked.is_some_and(|at| now < at + KNOCK);
        if knocked || count >= self.config.max_links + SPARE || self.worst(now).is_none() {
            return false;
        }
        self.partners.knocked = Some(now);
        true
    }

    /// Keeps a place for a peer that asks whether there is room, if there is. Who did not come the last time leaves the place to others.
    pub(super) fn invite(&mut self, peer: PeerId, now: Timestamp) -> bool {
        if let Some((_, at)) = self.partners.invited.iter().find(|(other, _)| *other == peer) {
            return now < *at + INVITED;
        }
        let known = self.links.values().any(|state| state.peer == peer);
        let invites = !known && self.has_room(now);
        if invites {
            self.partners.invited.push((peer, now));
        }
        invites
    }

    /// Whether a place was kept for somebody who calls, which is then taken.
    pub(super) fn takes_invited(&mut self, peer: PeerId, now: Timestamp) -> bool {
        let is_it = |(other, at): &mut (PeerId, Timestamp)| *other == peer && now < *at + INVITED;
        self.partners.invited.extract_if(.., is_it).count() > 0
    }

    /// Places that are kept.
    fn kept_places(&self, now: Timestamp) -> usize {
        self.partners.invited.iter().filter(|(_, at)| now < *at + INVITED).count()
    }

    /// Has a caller look elsewhere.
    pub(super) fn refuse(&mut self, caller: PeerId) {
        if self.service.is_ready() {
            self.tell_service(&ClientMessage::Refuse(caller));
        }
    }

    #[inline(never)]
    pub(super) fn drive_partners(&mut self, now: Timestamp) {
        self.partners.invited.retain(|(_, at)| now < *at + REFUSED);
        self.forget_asked_partners(now);
        let full = self.is_full();
        if self.service.is_ready() && full != self.partners.said_full {
            self.partners.said_full = full;
            self.tell_service(&ClientMessage::Full(full));
        }
        if self.partners_over().is_some_and(|at| at <= now) {
            self.partners.asked = Some(now);
            if let Some((link, _)) = self.worst(now)
                && let Some(state) = self.links.get_mut(&link)
            {
                state.asked = Some(now);
                self.say(link, &LinkMessage::Release);
            }
        }
        if !full {
            self.partners.review = None;
        } else if self.partners.review.is_none_or(|at| at <= now) {
            if self.partners.review.is_some() {
                self.review(now);
            }
            self.partners.review = Some(now + REVIEW + REVIEW.mul_f64(self.random.fraction() / 2.0));
        }
    }

    pub(super) fn partners_timeout(&self) -> Option<Timestamp> {
        [self.partners_over(), self.partners.review].into_iter().flatten().min()
    }

    /// There are links too many: when the next one is asked.
    fn partners_over(&self) -> Option<Timestamp> {
        let over = self.partner_links().count() > self.config.max_links;
        over.then(|| self.partners.asked.map_or_else(Timestamp::default, |at| at + PATIENCE))
    }

    /// Looks for somebody better than the worst, if that is much worse than the others.
    fn review(&mut self, now: Timestamp) {
        self.partners.seeks = self.worst(now).is_some_and(|(_, poor)| poor);
        for state in self.links.iter_mut().map(|(_, value)| value) {
            state.traffic.age(state.moved());
        }
    }

    /// A peer would give its link up: as a partner, or if it is none as a contact.
    #[inline(never)]
    pub(super) fn handle_release(&mut self, link: LinkId, now: Timestamp) {
        let Some(state) = self.links.get(&link) else { return };
        if state.is_partner() {
            let few = self.config.max_links * FEW.0 / FEW.1;
            if !state.kept && self.partner_links().count() > few {
                self.end_trade(link, now);
            }
        } else if !self.mesh.has_contact(link) {
            self.close_link(link, Some(ByeReason::TooManyLinks), now);
        }
    }

    /// The link worth least of those that may be given up, if it is not worth more than most, and whether it is worth much less.
    fn worst(&self, now: Timestamp) -> Option<(LinkId, bool)> {
        let (mut sum, mut count, mut worst) = (0, 0, None);
        for (link, state) in self.links.iter().filter(|(_, state)| state.is_partner()) {
            let worth = self.link_worth(state);
            (sum, count) = (sum + worth, count + 1);
            let refused = state.asked.is_some_and(|at| now < at + REFUSED);
            if !state.kept
                && !refused
                && now >= state.traded.unwrap_or(state.since) + TRIAL
                && worst.is_none_or(|(_, least)| worth < least)
            {
                worst = Some((*link, worth));
            }
        }
        let (link, worth) = worst?;
        let average = sum / count;
        (worth <= average).then_some((link, is_poor(worth, average)))
    }

    fn link_worth(&self, state: &Link) -> u64 {
        let mut recent = self.store.iter().filter(|(_, stored)| self.store.was_used_within(stored, RECENT));
        let shares = recent.any(|(content, _)| state.claims.on(content).is_some());
        state.traffic.worth(state.moved(), shares, state.rtt)
    }
}
