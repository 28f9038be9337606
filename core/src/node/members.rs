//! Members of a swarm, found in the mesh: it is asked first, and the service when that brings nobody.

use std::time::Duration;

use super::{
    Node,
    introductions::{Named, NamedBy},
    trade::Trade,
};
use crate::{
    id::StreamId,
    identity::SignedProvider,
    kad::{Key, Provider},
    time::Timestamp,
    wire::MAX_INTRODUCED,
};

/// Partners are looked for in the mesh again so long after, twice as long each time that none came of it, …
const AGAIN: Duration = Duration::from_secs(5);
/// …up to 20 s.
const MOST_DOUBLINGS: u32 = 2;
/// The service is asked once none came of it for so long, …
const IN_VAIN: Duration = Duration::from_secs(60);
/// …or, by who has fewer partners than these, the next time.
const FEW: usize = 2;

/// What names a swarm's members in the mesh.
fn swarm_key(stream: StreamId) -> Key {
    Key::from_bytes(*stream.as_bytes())
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

impl Node {
    pub(super) fn sign_provided(&mut self, key: Key, now: Timestamp) {
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
        if has_service && std::mem::take(&mut self.mesh.stranger) {
            return false;
        }
        let Some(state) = self.streams.get_mut(&stream) else { return false };
        let finding = &mut state.finding;
        let failed = finding.asked.take().is_some_and(|before| begun == before);
        finding.failures = if failed { finding.failures + 1 } else { 0 };
        let since = if failed { *finding.since.get_or_insert(now) } else { now };
        finding.since = finding.since.filter(|_| failed);
        // Those it names may all be full, which the service cannot help, or be nobody's.
        let in_vain = failed && lacks && (!finding.names_enough || partners < FEW || since + IN_VAIN <= now);
        if in_vain && has_service || !self.mesh.is_there() {
            (finding.failures, finding.since) = (0, None);
            return false;
        }
        finding.asked = Some(begun);
        // There is nobody better, it seems.
        self.partners.seeks &= finding.failures < MOST_DOUBLINGS;
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
    pub(super) fn found(&mut self, find: u64, providers: Vec<Provider>, now: Timestamp) {
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
                    called.extend(
                        certificate.map(|certificate| Named { peer, by: NamedBy::Mesh(certificate) }),
                    );
                }
                Some((link, Trade::None)) if self.partners_wanted() > 0 => self.propose_trade(link, now),
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
