//! Calls over the mesh: what two peers tell each other before they have a link, signed as over the service, and sealed for the receiver.

use super::{
    Node,
    introductions::{Named, NamedBy},
};
use crate::{
    id::PeerId,
    identity::{
        IntroductionBody, PublicKey, SignedCertificate, SignedIntroduction, VerifiedIntroduction, seal,
    },
    time::Timestamp,
};

/// Who carries what two peers tell each other before they have a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The service.
    Service,
    /// The mesh, sealed for this key; in answer to the overlay's introduction of this number, if there was one.
    Mesh(PublicKey, Option<u64>),
}

impl Node {
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

    /// Somebody wants a link, or asks whether there is room, and the mesh carried that. Who is refused hears it from this peer, and asks nobody else to carry it.
    pub(super) fn called_by_mesh(&mut self, number: u64, sealed: &[u8], now: Timestamp) {
        // To open it, check it and answer takes milliseconds.
        let opens = self.budget.take_introduction(now);
        let opened = if opens { self.opened(sealed, now) } else { None };
        let Some(verified) = opened else {
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
    pub(super) fn answered_by_mesh(&mut self, peer: PeerId, sealed: Option<&[u8]>, now: Timestamp) {
        let knock = self.mesh.knocks.get(&peer).copied();
        let Some(sealed) = sealed else {
            return match knock {
                Some(_) => self.knocked_in_vain(peer, now),
                None => self.unreachable(peer, |state| matches!(state.way, Way::Mesh(_, None)), now),
            };
        };
        let answer = self.opened(sealed, now).filter(|verified| verified.from == peer);
        let session = answer.map(|verified| (verified.introduction.session, verified.introduction.body));
        let is_knock = |session| knock.is_some_and(|(knock, _)| knock == session);
        let is_true = match session {
            Some((session, IntroductionBody::Answer(description))) => {
                self.answered(peer, session, description)
            }
            Some((session, IntroductionBody::Welcome)) => {
                let welcome = knock.filter(|_| is_knock(session));
                if let Some((_, key)) = welcome {
                    self.mesh.knocks.remove(&peer);
                    self.named.push_front(Named { peer, by: NamedBy::Itself(key) });
                }
                welcome.is_some()
            }
            Some((session, IntroductionBody::Refusal)) if is_knock(session) => {
                self.knocked_in_vain(peer, now);
                true
            }
            // If the call that it is about is none any more, the peer has answered all the same.
            Some((session, IntroductionBody::Refusal)) => {
                self.unreachable(peer, |state| state.session == session, now);
                true
            }
            _ => false,
        };
        if let Some(overlay) = self.mesh.overlay() {
            overlay.judge_introduction(peer, is_true, now);
        }
    }
}
