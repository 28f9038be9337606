//! The routing table: of the peers that there are links to, those that lookups go through.

use std::{cmp::Reverse, time::Duration};

use super::{Distance, Key, Width};
use crate::{
    id::{LinkId, NetworkGroup, PeerId},
    time::Timestamp,
};

/// Who has been there for so long stays: who was there long will be there long (Kademlia §2.1).
const SETTLED: Duration = Duration::from_secs(5 * 60);
/// Who is so many times nearer, by round trip, takes the place of one who is not settled.
const MUCH_NEARER: u32 = 2;
/// With fewer groups than these there is nothing to spread over.
const LEAST_GROUPS: usize = 4;
/// Contacts that may have called this peer, whatever their share is: at first everybody did.
const LEAST_INBOUND: usize = 4;

/// A peer that there is a link to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Contact {
    /// The link.
    pub link: LinkId,
    /// Who is at its other end.
    pub peer: PeerId,
    /// Where that one connects from.
    pub group: NetworkGroup,
    /// Since when the link is ready.
    pub since: Timestamp,
    /// The link's round trip, once it is known.
    pub rtt: Option<Duration>,
    /// It called this peer, not the other way round: who wants to be here decides that for itself.
    pub inbound: bool,
    /// It looks things up and answers nothing: a page that has just come, is hidden, or pays for what it sends.
    pub client: bool,
}

impl Contact {
    fn key(&self) -> Key {
        self.peer.into()
    }
}

/// What became of a contact that was offered to a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// It is in.
    Kept,
    /// It is in, and another one out.
    Replaced(LinkId),
    /// It is not in.
    Refused,
}

/// See the module documentation.
///
/// Whatever is offered, in any order:
/// - there are at most as many contacts as `most`, and in a bucket, siblings apart, at most its width;
/// - a sibling, one of the nearest who are no clients, stays until a nearer one or too many others come, or its link goes;
/// - a contact comes in only if its network group then has no more than a tenth of the table, or twice its fair share if that is more, and
///   in its bucket one contact, or a third of a bucket of four or more; groups bind only where there are four of them;
/// - at most half of the contacts are such that called this peer, and one client a bucket.
#[derive(Clone, Debug)]
pub struct Table {
    me: Key,
    most: usize,
    width: Width,
    /// Has no limits: addresses of one machine, or of private networks.
    exempt: Option<NetworkGroup>,
    /// The nearest first.
    contacts: Vec<Contact>,
}

impl Table {
    /// An empty table of this peer, for so many contacts.
    pub fn new(me: PeerId, most: usize, width: Width, exempt: Option<NetworkGroup>) -> Self {
        Self { me: me.into(), most, width, exempt, contacts: Vec::new() }
    }

    /// Its contacts, the nearest first.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// How wide it is.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Takes a contact in, if there is a place for it.
    pub fn offer(&mut self, contact: Contact, now: Timestamp) -> Offer {
        let known = |other: &Contact| other.peer == contact.peer || other.link == contact.link;
        if contact.key() == self.me || self.contacts.iter().any(known) {
            return Offer::Refused;
        }
        self.insert(contact);
        let Some(victims) = self.in_its_way(&contact, true) else { return Offer::Kept };
        let siblings = self.siblings();
        let is_sibling = siblings.contains(&contact.link);
        let removable = |other: &&Contact| {
            let makes_way = is_sibling || yields(other, &contact, now);
            victims.contains(&other.link) && !siblings.contains(&other.link) && makes_way
        };
        let out = self.contacts.iter().filter(removable).min_by_key(|other| worth(other, now));
        // One place is made for it, not several.
        if let Some(out) = out.copied() {
            self.remove(out.link);
            if self.in_its_way(&contact, true).is_none() {
                return Offer::Replaced(out.link);
            }
            self.insert(out);
        }
        self.remove(contact.link);
        Offer::Refused
    }

    fn insert(&mut self, contact: Contact) {
        let place = self.contacts.partition_point(|other| self.apart(other) < self.apart(&contact));
        self.contacts.insert(place, contact);
    }

    /// A contact's link is gone.
    pub fn remove(&mut self, link: LinkId) -> Option<Contact> {
        let place = self.contacts.iter().position(|contact| contact.link == link)?;
        Some(self.contacts.remove(place))
    }

    /// What is known of a contact has changed: its round trip, whether it is a client.
    pub fn get_mut(&mut self, link: LinkId) -> Option<&mut Contact> {
        self.contacts.iter_mut().find(|contact| contact.link == link)
    }

    /// Links of the peers nearest to this one, who hold what this one holds.
    pub fn siblings(&self) -> Vec<LinkId> {
        let full = self.contacts.iter().filter(|contact| !contact.client);
        full.take(self.width.siblings).map(|contact| contact.link).collect()
    }

    /// The contacts nearest to a key, this many at most; clients are none of them.
    pub fn nearest(&self, key: Key, most: usize) -> Vec<&Contact> {
        let mut found: Vec<_> = self.contacts.iter().filter(|contact| !contact.client).collect();
        found.sort_unstable_by_key(|contact| contact.key().distance(key));
        found.truncate(most);
        found
    }

    /// Who may be asked next for a key, the best first: contacts that are nearer to it than this peer, and the one whose key it
    /// is. Of those that are of one bucket of the key, and not near enough to be the last ones, the quickest is first.
    pub fn next_hops(&self, key: Key) -> Vec<&Contact> {
        let mine = self.me.distance(key);
        self.hops(key, |contact| contact.key().distance(key) < mine)
    }

    /// Whom this peer may ask for a key itself, the best first: one that is farther from it may know another way.
    pub fn first_hops(&self, key: Key) -> Vec<&Contact> {
        self.hops(key, |_| true)
    }

    fn hops(&self, key: Key, may: impl Fn(&Contact) -> bool) -> Vec<&Contact> {
        let is_hop = |contact: &&Contact| contact.key() == key || !contact.client && may(contact);
        let mut hops: Vec<_> = self.contacts.iter().filter(is_hop).collect();
        // Within reach of the siblings who is nearest counts: it, or one that it knows, holds what is looked for.
        let within_reach = self.rank(key) < self.width.siblings;
        hops.sort_unstable_by_key(|contact| {
            let apart = contact.key().distance(key);
            let quickest = if within_reach { Duration::ZERO } else { contact.rtt.unwrap_or(Duration::MAX) };
            (Reverse(apart.common_bits()), quickest, apart)
        });
        hops
    }

    /// How many contacts are nearer to a key than this peer. Below a record's number of replicas this peer is one of them.
    pub fn rank(&self, key: Key) -> usize {
        let mine = self.me.distance(key);
        self.contacts.iter().filter(|contact| !contact.client && contact.key().distance(key) < mine).count()
    }

    /// How many peers there are in the network, by how near the siblings are; `None` with fewer than three. Of `s` uniform distances
    /// the greatest, `d`, says `(s - 1) / d` others, which is right on average.
    pub fn estimate(&self) -> Option<f64> {
        let siblings = self.siblings();
        let last = self.contacts.iter().rfind(|contact| siblings.contains(&contact.link))?;
        let others = (siblings.len() as f64 - 1.0) / self.apart(last).fraction();
        (siblings.len() >= 3).then_some(1.0 + others.max(self.contacts.len() as f64))
    }

    /// Buckets that have room, and how many contacts each has: those that not all siblings are nearer than, the largest half of the space first.
    pub fn thin_buckets(&self) -> Vec<(u32, usize)> {
        let siblings = self.siblings();
        let last = self.contacts.iter().rfind(|contact| siblings.contains(&contact.link));
        // While there are too few siblings everybody may become one.
        let reach = last
            .filter(|_| siblings.len() >= self.width.siblings)
            .map_or(0, |last| self.apart(last).common_bits());
        let others =
            self.contacts.iter().filter(|contact| !contact.client && !siblings.contains(&contact.link));
        let of: Vec<u32> = others.map(|contact| self.apart(contact).common_bits()).collect();
        let held = |bits: u32| of.iter().filter(|other| **other == bits).count();
        (0..reach).map(|bits| (bits, held(bits))).filter(|(_, held)| *held < self.width.bucket).collect()
    }

    /// Whether a contact would be taken in now.
    pub fn has_place(&self, contact: Contact, now: Timestamp) -> bool {
        self.clone().offer(contact, now) != Offer::Refused
    }

    /// Fits the width to the network's size. The contacts that are too many now, the worst first, are to be shed.
    pub fn resize(&mut self) {
        if let Some(peers) = self.estimate() {
            self.width = self.width.of(peers);
        }
    }

    /// A contact that is one too many: of its bucket, since the network grew, or of its group, since others left. `None` when
    /// there is none. Siblings stay.
    pub fn overcrowding(&self, now: Timestamp) -> Option<LinkId> {
        let siblings = self.siblings();
        let too_many = |contact: &&Contact| {
            !siblings.contains(&contact.link) && self.in_its_way(contact, false).is_some()
        };
        self.contacts
            .iter()
            .filter(too_many)
            .min_by_key(|contact| worth(contact, now))
            .map(|worst| worst.link)
    }

    fn apart(&self, contact: &Contact) -> Distance {
        contact.key().distance(self.me)
    }

    /// Contacts of which one has to go for this one, which is in the table, to stay; `None` if it may. Who called is of no
    /// account once it is in.
    fn in_its_way(&self, contact: &Contact, comes: bool) -> Option<Vec<LinkId>> {
        let among = |contacts: &[&Contact], most: usize| {
            (contacts.len() > most).then(|| contacts.iter().map(|contact| contact.link).collect())
        };
        let everybody: Vec<&Contact> = self.contacts.iter().collect();
        let of_group = |other: &&&Contact| self.is_bound(other) && other.group == contact.group;
        let called: Vec<_> = everybody.iter().filter(|other| other.inbound).copied().collect();
        let groups = self.groups();
        let spreads = groups >= LEAST_GROUPS && self.is_bound(contact);
        let group: Vec<_> = everybody.iter().filter(of_group).copied().collect();
        let group = if spreads { among(&group, share(everybody.len(), groups)) } else { None };
        let half = LEAST_INBOUND.max(everybody.len() / 2);
        let called = if comes && contact.inbound { among(&called, half) } else { None };
        let siblings = self.siblings();
        if siblings.contains(&contact.link) {
            // Nearest ones are kept whatever bucket they are of.
            return group.or(called).or_else(|| among(&everybody, self.most));
        }
        let bits = self.apart(contact).common_bits();
        let mut bucket = everybody.clone();
        bucket.retain(|other| self.apart(other).common_bits() == bits && !siblings.contains(&other.link));
        let clients: Vec<_> = bucket.iter().filter(|other| other.client).copied().collect();
        let clients = if contact.client { among(&clients, 1) } else { None };
        let of_both: Vec<_> = bucket.iter().filter(of_group).copied().collect();
        let of_both = if spreads { among(&of_both, self.width.bucket.div_ceil(3)) } else { None };
        let (bucket, all) = (among(&bucket, self.width.bucket), among(&everybody, self.most));
        group.or(called).or(clients).or(of_both).or(bucket).or(all)
    }

    fn is_bound(&self, contact: &Contact) -> bool {
        self.exempt != Some(contact.group)
    }

    /// How many groups there are among the contacts.
    pub(super) fn groups(&self) -> usize {
        let mut groups: Vec<_> = self
            .contacts
            .iter()
            .filter(|contact| self.is_bound(contact))
            .map(|contact| contact.group)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups.len()
    }
}

/// How many of so many contacts may be of one of so many groups: a tenth, or twice the fair share if that is more.
fn share(contacts: usize, groups: usize) -> usize {
    contacts.div_ceil(10).max((2 * contacts).div_ceil(groups))
}

/// What a contact is worth to lookups, compared with others.
fn worth(contact: &Contact, now: Timestamp) -> (bool, bool, Reverse<Duration>, Reverse<Timestamp>) {
    let settled = now.saturating_since(contact.since) >= SETTLED;
    let rtt = contact.rtt.unwrap_or(Duration::MAX);
    (!contact.client, settled, Reverse(rtt), Reverse(contact.since))
}

/// Whether a contact makes way for a new one.
fn yields(contact: &Contact, new: &Contact, now: Timestamp) -> bool {
    if contact.client || new.client {
        return contact.client && !new.client;
    }
    let nearer = contact.rtt.zip(new.rtt).is_some_and(|(old, new)| new * MUCH_NEARER <= old);
    nearer && now.saturating_since(contact.since) < SETTLED
}

#[cfg(test)]
mod tests;
