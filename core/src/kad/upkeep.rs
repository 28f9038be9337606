//! Whom a table lacks, and when to look for them.
//!
//! Siblings come first: what is looked for is found through them. Then buckets that have too few contacts, each less often the more often
//! nobody was found for it. And now and then anybody at all: two halves of a mesh that know nothing of each other look perfect from
//! inside, and only who meets a peer by chance, or through the service, can tell.

use std::time::Duration;

use litemap::LiteMap;

use super::{Key, Table};
use crate::time::Timestamp;

/// Siblings are looked for so often, …
const SIBLINGS: Duration = Duration::from_secs(60);
/// …and so soon after one has come or gone: others that do at the same time are counted in. Twice as long each time that it
/// happens again, …
const REPAIR: Duration = Duration::from_secs(1);
/// …up to this: who makes its neighbours look around by coming and going does so seldom.
const MOST_DOUBLINGS: u32 = 4;
/// A bucket that is too small is looked after again after so long, twice as long each time nobody came of it, …
const BUCKET: Duration = Duration::from_secs(15);
/// …up to this.
const LONGEST: Duration = Duration::from_secs(600);
/// Between any two searches.
const PACE: Duration = Duration::from_millis(500);
/// Anybody at all is looked for so often, …
const ANYBODY: Duration = Duration::from_secs(600);
/// …and when of so many links more than one was lost since the last time, …
const LOST_SHARE: usize = 5;
/// …if there were so many at least: of few links one more or less says nothing. …
const LEAST_LINKS: usize = 8;
/// …Then somebody from outside is wanted so often and for so long: where a mesh has come apart, the halves may not reach each other at once.
const OUTSIDE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(180));

/// What to look for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Search {
    /// The peers nearest to this one.
    Siblings,
    /// Peers that share so many bits with this one, and not the next.
    Bucket(u32),
    /// A peer by chance.
    Anybody,
    /// A peer that is not known through this mesh.
    Outside,
}

/// When a bucket is looked after, and how long after that again.
#[derive(Clone, Copy, Debug)]
struct Care {
    at: Timestamp,
    pause: Duration,
    /// Its contacts the last time.
    contacts: usize,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Upkeep {
    siblings: Timestamp,
    /// Searches for siblings in a row that were not in their turn.
    repairs: u32,
    /// When they would be looked for in their turn.
    turn: Timestamp,
    anybody: Timestamp,
    /// When somebody from outside is wanted next, and until when.
    outside: (Timestamp, Timestamp),
    buckets: LiteMap<u32, Care>,
    /// No search before.
    next: Timestamp,
    /// Nothing was left to look for the last time.
    idle: bool,
    /// Links the last time that anybody was looked for, or the most since.
    most_links: usize,
}

impl Upkeep {
    /// Nothing was looked for yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            siblings: now,
            repairs: 0,
            turn: now,
            anybody: now + ANYBODY,
            outside: (now, now),
            buckets: LiteMap::new(),
            next: now,
            idle: false,
            most_links: 0,
        }
    }

    /// What to look for now, if anything. `random`, 0 to 1, keeps peers that came together from searching together.
    pub fn poll(&mut self, table: &Table, random: f64, now: Timestamp) -> Option<Search> {
        let links = table.contacts().len();
        self.most_links = self.most_links.max(links);
        if now < self.next {
            return None;
        }
        self.idle = false;
        let varied = |time: Duration| time.mul_f64(0.75 + random / 2.0);
        let search = if self.siblings <= now {
            self.repairs = if now < self.turn { (self.repairs + 1).min(MOST_DOUBLINGS) } else { 0 };
            self.siblings = now + varied(SIBLINGS);
            self.turn = self.siblings;
            Search::Siblings
        } else if self.anybody <= now || self.has_lost_many(links) {
            if now < self.anybody {
                self.outside = (now + varied(OUTSIDE.0), now + OUTSIDE.1);
            }
            self.anybody = now + varied(ANYBODY);
            self.most_links = links;
            Search::Anybody
        } else if self.next_outside().is_some_and(|at| at <= now) {
            self.outside.0 = now + varied(OUTSIDE.0);
            Search::Outside
        } else {
            let Some((bits, care)) = self.bucket(table, now) else {
                self.idle = true;
                return None;
            };
            care.at = now + varied(care.pause);
            Search::Bucket(bits)
        };
        self.next = now + varied(PACE);
        Some(search)
    }

    /// A bucket that is to be looked after now, the largest half of the space first.
    fn bucket(&mut self, table: &Table, now: Timestamp) -> Option<(u32, &mut Care)> {
        let thin = table.thin_buckets();
        self.buckets.retain(|bits, _| thin.iter().any(|(thin, _)| thin == bits));
        for (bits, contacts) in &thin {
            let new = Care { at: now, pause: Duration::ZERO, contacts: *contacts };
            self.buckets.entry(*bits).or_insert(new);
        }
        let (bits, care) = self.buckets.iter_mut().find(|(_, care)| care.at <= now)?;
        let contacts = thin.iter().find(|(thin, _)| thin == bits).map_or(0, |(_, contacts)| *contacts);
        let again = contacts <= care.contacts && !care.pause.is_zero();
        care.pause = if again { (care.pause * 2).min(LONGEST) } else { BUCKET };
        care.contacts = contacts;
        Some((*bits, care))
    }

    fn has_lost_many(&self, links: usize) -> bool {
        let lost = self.most_links.saturating_sub(links);
        self.most_links >= LEAST_LINKS && lost * LOST_SHARE > self.most_links
    }

    fn next_outside(&self) -> Option<Timestamp> {
        let (next, end) = self.outside;
        (next < end).then_some(next)
    }

    /// A sibling is gone, or another one is there, who may know nearer ones.
    pub fn note_siblings(&mut self, now: Timestamp) {
        self.siblings = self.siblings.min(now + REPAIR * (1 << self.repairs));
    }

    /// When [`Self::poll`] wants to be called, if nothing becomes of the table before.
    pub fn poll_timeout(&self) -> Timestamp {
        let buckets = self.buckets.values().map(|care| care.at).filter(|_| self.idle);
        let due = [self.siblings, self.anybody].into_iter().chain(self.next_outside());
        let due = due.filter(|_| self.idle);
        due.chain(buckets).min().map_or(self.next, |at| at.max(self.next))
    }
}

impl Search {
    /// The key to look up for it, seen from this peer; `chance` is any bytes.
    pub fn key(self, me: Key, chance: [u8; 32]) -> Key {
        match self {
            Self::Siblings => me,
            Self::Bucket(bits) => me.leaving_at(bits, chance),
            Self::Anybody | Self::Outside => Key::from_bytes(chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{LinkId, NetworkGroup, PeerId},
        kad::{Contact, Offer, Width},
    };

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// A table of the peer of zeroes with contacts whose ids begin with these bytes.
    fn table(firsts: &[u8]) -> Table {
        let me = PeerId::from_bytes([0; 32]);
        let mut table = Table::new(me, 60, Width { bucket: 2, siblings: 3 }, None);
        for (number, first) in (1_u8..).zip(firsts) {
            let mut id = [number; 32];
            id[0] = *first;
            let contact = Contact {
                link: LinkId::new(u64::from(number)),
                peer: PeerId::from_bytes(id),
                group: NetworkGroup::from_bytes([number; 16]),
                since: NOW,
                rtt: None,
                inbound: false,
                client: false,
            };
            assert_eq!(table.offer(contact, NOW), Offer::Kept);
        }
        table
    }

    /// Every search of a while, and when.
    fn searches(
        upkeep: &mut Upkeep,
        table: &Table,
        from: Timestamp,
        during: Duration,
    ) -> Vec<(Duration, Search)> {
        let (mut now, mut found) = (from, Vec::new());
        while now <= from + during {
            while let Some(search) = upkeep.poll(table, 0.5, now) {
                found.push((now.saturating_since(from), search));
            }
            let next = upkeep.poll_timeout();
            assert!(next > now, "it would go round in circles");
            now = next;
        }
        found
    }

    fn times(searches: &[(Duration, Search)], wanted: Search) -> Vec<u64> {
        searches.iter().filter(|(_, search)| *search == wanted).map(|(at, _)| at.as_secs()).collect()
    }

    #[test]
    fn siblings_are_looked_for_first_and_each_minute() {
        let found = searches(&mut Upkeep::new(NOW), &table(&[]), NOW, Duration::from_secs(200));
        assert_eq!(found[0], (Duration::ZERO, Search::Siblings));
        assert_eq!(times(&found, Search::Siblings), [0, 60, 120, 180]);
        assert_eq!(found.len(), 4, "nobody is known: all buckets are a sibling's place");
    }

    #[test]
    fn a_lost_sibling_is_looked_for_soon_and_once_for_all_that_go_together() {
        let (mut upkeep, table) = (Upkeep::new(NOW), table(&[]));
        searches(&mut upkeep, &table, NOW, Duration::from_secs(10));
        let lost = NOW + Duration::from_secs(20);
        (0..3).for_each(|_| upkeep.note_siblings(lost));
        let found = searches(&mut upkeep, &table, lost, Duration::from_secs(30));
        assert_eq!(times(&found, Search::Siblings), [1]);
    }

    #[test]
    fn who_has_siblings_looked_for_again_and_again_waits_longer_each_time() {
        let (mut upkeep, table) = (Upkeep::new(NOW), table(&[]));
        searches(&mut upkeep, &table, NOW, Duration::from_secs(10));
        let mut begins = NOW + Duration::from_secs(20);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            upkeep.note_siblings(begins);
            let found = searches(&mut upkeep, &table, begins, Duration::from_secs(17));
            let (pause, _) = found.iter().find(|(_, search)| *search == Search::Siblings).unwrap();
            pauses.push(pause.as_secs());
            begins = begins + *pause + Duration::from_secs(1);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16]);
        searches(&mut upkeep, &table, begins, Duration::from_secs(70));
        upkeep.note_siblings(begins + Duration::from_secs(70));
        let found = searches(&mut upkeep, &table, begins + Duration::from_secs(70), Duration::from_secs(9));
        assert_eq!(times(&found, Search::Siblings), [1], "a quiet minute makes up for it");
    }

    #[test]
    fn a_bucket_with_room_is_looked_after_the_less_the_oftener_nobody_came_of_it() {
        // Three siblings share six bits or more; of the buckets before one is full and one has one contact.
        let table = table(&[1, 2, 3, 0x80, 0x81, 0x40]);
        let found = searches(&mut Upkeep::new(NOW), &table, NOW, Duration::from_secs(300));
        assert_eq!(times(&found, Search::Bucket(0)), []);
        for bits in 1..6 {
            let times = times(&found, Search::Bucket(bits));
            let pauses: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 15 * 15).collect();
            assert_eq!(pauses, [15, 30, 60, 120], "{bits} bits: {times:?}");
        }
    }

    #[test]
    fn a_bucket_that_somebody_came_to_is_looked_after_soon_again() {
        let mut upkeep = Upkeep::new(NOW);
        let few = table(&[1, 2, 3, 0x80, 0x81]);
        searches(&mut upkeep, &few, NOW, Duration::from_secs(200));
        let later = NOW + Duration::from_secs(201);
        let more = table(&[1, 2, 3, 0x80, 0x81, 0x40]);
        let found = searches(&mut upkeep, &more, later, Duration::from_secs(120));
        let times = times(&found, Search::Bucket(1));
        assert_eq!((times[1] - times[0]) / 15, 1, "{times:?}");
    }

    #[test]
    fn anybody_is_looked_for_every_ten_minutes_and_when_a_fifth_of_the_links_is_gone_and_then_outside_too() {
        let (mut upkeep, full) =
            (Upkeep::new(NOW), table(&[1, 2, 3, 0x80, 0x81, 0x40, 0x41, 0x20, 0x21, 0x10]));
        let found = searches(&mut upkeep, &full, NOW, Duration::from_secs(1300));
        assert_eq!(times(&found, Search::Anybody), [600, 1200]);
        let lost = NOW + Duration::from_secs(1301);
        let eight = table(&[1, 2, 3, 0x80, 0x81, 0x40, 0x41, 0x20]);
        assert_eq!(times(&searches(&mut upkeep, &eight, lost, Duration::from_secs(60)), Search::Anybody), []);
        let seven = table(&[1, 2, 3, 0x80, 0x81, 0x40, 0x41]);
        let found = searches(&mut upkeep, &seven, lost + Duration::from_secs(61), Duration::from_secs(400));
        assert_eq!(times(&found, Search::Anybody).len(), 1);
        let outside = times(&found, Search::Outside);
        assert!((10..=12).contains(&outside.len()) && outside.iter().all(|at| *at <= 181), "{outside:?}");
    }

    #[test]
    fn the_key_of_a_search_lies_where_those_are_who_are_looked_for() {
        let me = Key::from_bytes([0x5a; 32]);
        for bits in 0..256 {
            let key = Search::Bucket(bits).key(me, [0x33; 32]);
            assert_eq!(me.distance(key).common_bits(), bits);
        }
        assert_eq!(Search::Siblings.key(me, [1; 32]), me);
        assert_eq!(Search::Anybody.key(me, [1; 32]), Key::from_bytes([1; 32]));
    }
}
