//! Who can be asked for what: provider records of other peers, as a replica keeps them.
//!
//! A popular key has more providers than anybody needs to hear of. A replica keeps a sample of them, spread over network groups, and
//! tells those who renew their record with which probability to do so next time: what a key costs stays bounded, however hot it is.

use std::time::Duration;

use litemap::LiteMap;

use super::Key;
use crate::{
    id::{NetworkGroup, PeerId},
    time::Timestamp,
};

/// A provider renews its record after so long, …
pub const REFRESH: Duration = Duration::from_secs(120);
/// …and one that was not renewed for so long is gone.
pub const EXPIRY: Duration = Duration::from_secs(360);
/// Most providers of a key that are kept.
pub const MAX_PROVIDERS: usize = 64;
/// Most providers in an answer.
pub const MAX_ANSWER: usize = 16;
/// Providers of a key who renew in each [`REFRESH`], more or less.
const RENEWING: f64 = 128.0;
/// Most keys.
const MAX_KEYS: usize = 4096;
/// Most records of one peer.
const MAX_OF_PEER: usize = 64;
/// Most records of one group are a tenth of all, or so many if that is more.
const LEAST_OF_GROUP: usize = 256;
const GROUP_SHARE: usize = 10;

/// A peer that can be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provider {
    /// Who.
    pub peer: PeerId,
    /// Where it connects from.
    pub group: NetworkGroup,
    /// Its signed record, as it travels.
    pub record: Vec<u8>,
}

/// Why a record is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There are too many keys.
    Keys,
    /// Its peer has too many records here.
    Peer,
    /// Its group has.
    Group,
}

/// What became of a record that is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shelved {
    /// With which probability its peer is to renew it after [`REFRESH`].
    pub share: f64,
    /// Other replicas are to have it too. Not if the peer has said it just before: each time it does would make it known to all of them.
    pub is_news: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    provider: Provider,
    /// When it came.
    at: Timestamp,
    expires: Timestamp,
}

/// The providers of one key.
#[derive(Clone, Debug)]
struct Shelf {
    kept: Vec<Kept>,
    /// Since when records are counted.
    since: Timestamp,
    /// Records that came since then, kept or not.
    heard: u32,
    /// With which probability those renew who come now.
    renewing: f64,
    /// With which probability they are told to renew next time.
    share: f64,
}

impl Shelf {
    fn new(now: Timestamp) -> Self {
        Self { kept: Vec::new(), since: now, heard: 0, renewing: 1.0, share: 1.0 }
    }

    /// Counts a record. Of a period that is over it is known how many providers there are: each one renews with the probability that
    /// it was told.
    fn hear(&mut self, now: Timestamp) {
        if now >= self.since + REFRESH {
            let providers = f64::from(self.heard) / self.renewing;
            self.renewing = self.share;
            self.share = (RENEWING / providers.max(1.0)).min(1.0);
            (self.since, self.heard) = (now, 0);
        }
        self.heard = self.heard.saturating_add(1);
    }

    fn of_group(&self, group: NetworkGroup) -> usize {
        self.kept.iter().filter(|kept| kept.provider.group == group).count()
    }

    /// Who makes way for one more of a group: one of the group with the most. If that is its own, the longer the line, the less often.
    fn makes_way(&self, group: NetworkGroup, random: u64) -> Option<usize> {
        let most =
            self.kept.iter().map(|kept| (self.of_group(kept.provider.group), kept.provider.group)).max()?;
        let own = self.of_group(group);
        let crowded = if most.0 > own + 1 { most.1 } else { group };
        let of_it: Vec<usize> =
            (0..self.kept.len()).filter(|place| self.kept[*place].provider.group == crowded).collect();
        let choices = if crowded == group { of_it.len().max(self.heard as usize) } else { of_it.len() };
        of_it.get((random % choices.max(1) as u64) as usize).copied()
    }
}

/// The provider records that this peer keeps for others.
#[derive(Clone, Debug)]
pub struct Providers {
    /// The group that has no limit.
    exempt: Option<NetworkGroup>,
    shelves: LiteMap<Key, Shelf>,
}

impl Providers {
    /// No records.
    pub fn new(exempt: Option<NetworkGroup>) -> Self {
        Self { exempt, shelves: LiteMap::new() }
    }

    /// Keeps a verified record that holds for so long, or renews it; `random` decides who makes way at a hot key.
    ///
    /// # Errors
    /// [`Refusal`], if keys, peer or group have too many records already.
    pub fn insert(
        &mut self,
        key: Key,
        provider: Provider,
        holds: Duration,
        random: u64,
        now: Timestamp,
    ) -> Result<Shelved, Refusal> {
        self.expire(now);
        let expires = now + holds.min(EXPIRY);
        if let Some(shelf) = self.shelves.get_mut(&key)
            && let Some(kept) = shelf.kept.iter_mut().find(|kept| kept.provider.peer == provider.peer)
        {
            // Who says it again and again is one provider all the same.
            let is_news = now >= kept.at + REFRESH / 2;
            let at = if is_news { now } else { kept.at };
            *kept = Kept { provider, at, expires };
            if is_news {
                shelf.hear(now);
            }
            return Ok(Shelved { share: shelf.share, is_news });
        }
        if !self.shelves.contains_key(&key) && self.shelves.len() >= MAX_KEYS {
            return Err(Refusal::Keys);
        }
        let (mut all, mut of_peer, mut of_group) = (0, 0, 0);
        for Kept { provider: other, .. } in self.shelves.values().flat_map(|shelf| &shelf.kept) {
            all += 1;
            of_peer += usize::from(other.peer == provider.peer);
            of_group += usize::from(other.group == provider.group);
        }
        if of_peer >= MAX_OF_PEER {
            return Err(Refusal::Peer);
        }
        let is_bound = self.exempt != Some(provider.group);
        if is_bound && of_group >= LEAST_OF_GROUP.max(all / GROUP_SHARE) {
            return Err(Refusal::Group);
        }
        let shelf = self.shelves.entry(key).or_insert(Shelf::new(now));
        shelf.hear(now);
        let (share, group) = (shelf.share, provider.group);
        let kept = Kept { provider, at: now, expires };
        if shelf.kept.len() < MAX_PROVIDERS {
            shelf.kept.push(kept);
        } else if let Some(place) = shelf.makes_way(group, random) {
            shelf.kept[place] = kept;
        }
        Ok(Shelved { share, is_news: true })
    }

    /// With which probability the peer of this record is to renew it, if it is kept as it is.
    pub fn has(&self, key: Key, record: &[u8], now: Timestamp) -> Option<f64> {
        let shelf = self.shelves.get(&key)?;
        let is_it = |kept: &Kept| now < kept.expires && kept.provider.record == record;
        shelf.kept.iter().any(is_it).then_some(shelf.share)
    }

    /// Providers of a key, [`MAX_ANSWER`] at most: of each group one, then of each another, beginning anywhere.
    pub fn answer(&self, key: Key, random: u64, now: Timestamp) -> Vec<&Provider> {
        let Some(shelf) = self.shelves.get(&key) else { return Vec::new() };
        let live: Vec<&Provider> =
            shelf.kept.iter().filter(|kept| now < kept.expires).map(|kept| &kept.provider).collect();
        let start = (random % live.len().max(1) as u64) as usize;
        let (mut before, mut ranked): (Vec<NetworkGroup>, Vec<(usize, &Provider)>) = Default::default();
        for provider in live[start..].iter().chain(&live[..start]) {
            let rank = before.iter().filter(|group| **group == provider.group).count();
            before.push(provider.group);
            ranked.push((rank, provider));
        }
        // Stable: within a rank they stay in the order they were begun with.
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().take(MAX_ANSWER).map(|(_, provider)| provider).collect()
    }

    /// Everything that is kept of keys that `is_one` chooses, to be handed to who keeps it from now on.
    pub fn of_keys(
        &self,
        is_one: impl Fn(Key) -> bool,
        now: Timestamp,
    ) -> impl Iterator<Item = (Key, &Provider)> {
        let of_it = self.shelves.iter().filter(move |(key, _)| is_one(**key));
        of_it.flat_map(move |(key, shelf)| {
            let live = shelf.kept.iter().filter(move |kept| now < kept.expires);
            live.map(move |kept| (*key, &kept.provider))
        })
    }

    /// Forgets what was not renewed.
    fn expire(&mut self, now: Timestamp) {
        self.shelves.iter_mut().for_each(|(_, shelf)| shelf.kept.retain(|kept| now < kept.expires));
        self.shelves.retain(|_, shelf| !shelf.kept.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn key(number: u16) -> Key {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn provider(peer: u32, group: u32) -> Provider {
        let (mut id, mut of) = ([0; 32], [0; 16]);
        id[..4].copy_from_slice(&peer.to_be_bytes());
        of[..4].copy_from_slice(&group.to_be_bytes());
        let record = peer.to_be_bytes().to_vec();
        Provider { peer: PeerId::from_bytes(id), group: NetworkGroup::from_bytes(of), record }
    }

    /// Keeps a record that has just been signed.
    fn insert(
        providers: &mut Providers,
        key: Key,
        provider: Provider,
        random: u64,
        now: Timestamp,
    ) -> Result<f64, Refusal> {
        providers.insert(key, provider, EXPIRY, random, now).map(|shelved| shelved.share)
    }

    /// Numbers that look like chance, the same each time.
    fn random(number: u32) -> u64 {
        u64::from_le_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("it has 32"))
    }

    #[test]
    fn who_renews_stays_and_who_does_not_is_gone_after_six_minutes() {
        let mut providers = Providers::new(None);
        let later = NOW + REFRESH;
        (1..=2).for_each(|peer| {
            assert_eq!(insert(&mut providers, key(1), provider(peer, peer), 0, NOW), Ok(1.0))
        });
        assert_eq!(insert(&mut providers, key(1), provider(1, 1), 0, later), Ok(1.0));
        assert_eq!(providers.answer(key(1), 0, NOW + (EXPIRY - Duration::from_millis(1))).len(), 2);
        assert_eq!(providers.answer(key(1), 0, NOW + EXPIRY), [&provider(1, 1)]);
        assert_eq!(providers.answer(key(2), 0, NOW), [] as [&Provider; 0]);
        insert(&mut providers, key(2), provider(9, 9), 0, later + EXPIRY).unwrap();
        assert_eq!(providers.shelves.len(), 1, "what is gone takes no room");
    }

    #[test]
    fn a_hot_key_is_a_sample_of_its_providers_and_they_are_told_to_renew_seldom() {
        let mut providers = Providers::new(None);
        let mut shares = Vec::new();
        for minute in 0..20u32 {
            let now = NOW + REFRESH * minute;
            let share = shares.last().copied().unwrap_or(1.0);
            for peer in 0..5000 {
                // Each renews with the probability it was told.
                if (random(peer + 5000 * minute) as f64) < share * u64::MAX as f64 {
                    let said = insert(&mut providers, key(1), provider(peer, peer), random(peer), now);
                    shares.push(said.expect("nobody has much"));
                }
            }
        }
        let last = shares[shares.len() - 1];
        assert!((0.015..0.04).contains(&last), "{last}");
        assert_eq!(providers.shelves[&key(1)].kept.len(), MAX_PROVIDERS);
        let heard = providers.shelves[&key(1)].heard;
        assert!((64..=256).contains(&heard), "{heard} renewed");
        assert_eq!(providers.answer(key(1), 3, NOW + REFRESH * 19).len(), MAX_ANSWER);
    }

    #[test]
    fn a_group_with_many_providers_leaves_room_for_the_others_in_what_is_kept_and_in_answers() {
        let mut providers = Providers::new(None);
        for peer in 0..200 {
            insert(&mut providers, key(1), provider(peer, 0), random(peer), NOW).unwrap();
        }
        for peer in 200..220 {
            insert(&mut providers, key(1), provider(peer, peer), random(peer), NOW).unwrap();
        }
        // As many again of the large group push none of the others out.
        for peer in 300..340 {
            insert(&mut providers, key(1), provider(peer, 0), random(peer), NOW).unwrap();
        }
        let kept = &providers.shelves[&key(1)].kept;
        let others = kept.iter().filter(|kept| kept.provider.group != provider(0, 0).group).count();
        assert_eq!((kept.len(), others), (MAX_PROVIDERS, 20));
        for number in 0..50 {
            let answer = providers.answer(key(1), random(number), NOW);
            let of_large = answer.iter().filter(|one| one.group == provider(0, 0).group).count();
            assert!(answer.len() == MAX_ANSWER && of_large <= 1, "{of_large}");
        }
    }

    #[test]
    fn one_peer_and_one_group_fill_no_replica() {
        let mut providers = Providers::new(None);
        for number in 0..MAX_OF_PEER as u16 {
            assert!(insert(&mut providers, key(number), provider(1, 1), 0, NOW).is_ok());
        }
        assert_eq!(insert(&mut providers, key(999), provider(1, 1), 0, NOW), Err(Refusal::Peer));
        assert!(insert(&mut providers, key(0), provider(1, 1), 0, NOW).is_ok(), "to renew is no record more");
        let rest = (LEAST_OF_GROUP - MAX_OF_PEER) as u16;
        for number in 0..rest {
            assert!(insert(&mut providers, key(number), provider(2 + u32::from(number), 1), 0, NOW).is_ok());
        }
        assert_eq!(insert(&mut providers, key(0), provider(900, 1), 0, NOW), Err(Refusal::Group));
        assert!(insert(&mut providers, key(0), provider(900, 2), 0, NOW).is_ok());
    }

    #[test]
    fn keys_are_limited_and_those_that_are_there_go_on() {
        let mut providers = Providers::new(None);
        for number in 0..MAX_KEYS as u16 {
            let one = u32::from(number);
            assert!(insert(&mut providers, key(number), provider(one, one), 0, NOW).is_ok());
        }
        let next = MAX_KEYS as u16;
        assert_eq!(insert(&mut providers, key(next), provider(9999, 9999), 0, NOW), Err(Refusal::Keys));
        assert!(insert(&mut providers, key(0), provider(9999, 9999), 0, NOW).is_ok());
        assert!(insert(&mut providers, key(next), provider(9999, 9999), 0, NOW + EXPIRY).is_ok());
        assert_eq!(providers.of_keys(|_| true, NOW + EXPIRY).count(), 1);
    }

    #[test]
    fn who_says_it_again_and_again_counts_once_and_is_no_news() {
        let mut providers = Providers::new(None);
        let said = |providers: &mut Providers, now| {
            providers.insert(key(1), provider(1, 1), EXPIRY, 0, now).expect("there is room")
        };
        assert!(said(&mut providers, NOW).is_news);
        for number in 0..50_000_u64 {
            assert!(!said(&mut providers, NOW + Duration::from_millis(number)).is_news);
        }
        assert_eq!(providers.shelves[&key(1)].heard, 1);
        let later = said(&mut providers, NOW + REFRESH);
        assert_eq!(later, Shelved { share: 1.0, is_news: true });
    }

    #[test]
    fn nothing_is_kept_or_handed_on_for_longer_than_it_was_signed_for() {
        let mut providers = Providers::new(None);
        let (short, long) = (Duration::from_secs(10), EXPIRY * 100);
        for (peer, holds) in [(1, short), (2, long)] {
            providers.insert(key(1), provider(peer, peer), holds, 0, NOW).expect("there is room");
        }
        for (now, left) in [(NOW, 2), (NOW + short, 1), (NOW + EXPIRY, 0)] {
            assert_eq!(providers.answer(key(1), 0, now).len(), left);
            assert_eq!(providers.of_keys(|_| true, now).count(), left);
            assert_eq!(providers.has(key(1), &provider(1, 1).record, now).is_some(), left == 2);
        }
        assert_eq!(providers.has(key(1), b"another", NOW), None);
    }

    #[test]
    fn the_group_that_is_exempt_has_no_limit() {
        let exempt = provider(0, 7).group;
        let mut providers = Providers::new(Some(exempt));
        for number in 0..2 * LEAST_OF_GROUP as u16 {
            let one = provider(u32::from(number), 7);
            assert!(insert(&mut providers, key(number), one, 0, NOW).is_ok());
        }
    }
}
