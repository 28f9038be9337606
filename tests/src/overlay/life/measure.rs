//! What a life came to.

use std::{collections::BTreeSet, time::Duration};

use tabswarm_core::{
    kad::{Key, REPLICAS},
    time::Timestamp,
};

use super::{
    Lived, SETTLED, World, link,
    records::{card, hash},
};
use crate::overlay::mesh::nearest;

impl World {
    /// Those who answer, with their keys, by these.
    fn servers(&self) -> Vec<(Key, u32)> {
        let servers = self.peers.iter().filter(|(_, peer)| !peer.overlay.is_client());
        let mut servers: Vec<(Key, u32)> =
            servers.map(|(number, _)| (card(self.life.seed, *number).peer.into(), *number)).collect();
        servers.sort_unstable();
        servers
    }

    pub(super) fn end(mut self) -> Lived {
        let servers = self.servers();
        for (key, number) in &servers {
            let table = self.peers[number].overlay.table();
            let contacts = table.contacts();
            let near = nearest(&servers, *key, table.width().siblings + 1);
            let others = || near.iter().filter(|other| *other != number);
            let knows = |other: &&u32| contacts.iter().any(|contact| contact.link == link(**other));
            self.lived.siblings.0 += others().filter(knows).count();
            self.lived.siblings.1 += others().count();
            self.lived.contacts += contacts.len();
        }
        let (now, start) = (self.queue.now(), Timestamp::default() + self.life.warm_up);
        let rates = self.peers.values().filter_map(|peer| {
            let there = now.saturating_since(peer.came.max(start));
            (there >= Duration::from_secs(30)).then(|| peer.sent as f64 / there.as_secs_f64())
        });
        self.lived.busiest = rates.fold(0.0, f64::max);
        self.lived.peers = servers.len();
        self.lived.parts = self.parts();
        self.lived.lookups.found.sort_unstable();
        self.lived.kept.sort_unstable();
        self.lived.trace = *self.trace.finalize().as_bytes();
        self.lived
    }

    /// How many parts there are that have no link between them.
    fn parts(&self) -> usize {
        let mut left: BTreeSet<u32> = self.there.iter().copied().collect();
        let mut parts = 0;
        while let Some(first) = left.pop_first() {
            parts += 1;
            let mut reached = vec![first];
            while let Some(peer) = reached.pop() {
                let links = &self.peers[&peer].links;
                reached.extend(links.iter().filter(|link| left.remove(*link)));
            }
        }
        parts
    }

    /// Looks at who keeps the records of all who have had time to have them kept.
    pub(super) fn look_for_records(&mut self) {
        let now = self.queue.now();
        let servers = self.servers();
        for (number, peer) in &self.peers {
            if now < peer.came + SETTLED {
                continue;
            }
            let key = Key::from_bytes(hash(self.life.seed, "key", *number));
            let near = nearest(&servers, key, 2 * REPLICAS);
            let keeps = |peer: &u32| self.peers[peer].overlay.keeps(key, now);
            self.lived.lost.0 += usize::from(!near.iter().any(keeps));
            self.lived.lost.1 += 1;
        }
    }
}
