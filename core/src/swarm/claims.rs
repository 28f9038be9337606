//! What the peer at the other end of a link says it holds.

use std::time::Duration;

use litemap::LiteMap;

use crate::{
    content::{GROUP_LEN, GroupSet, MAX_SEGMENT_LEN},
    id::ContentId,
    time::Timestamp,
    units::GroupIndex,
    wire::{HaveEntry, Held},
};

/// Groups of the longest segment.
const MAX_GROUPS: u32 = (MAX_SEGMENT_LEN / GROUP_LEN as u64) as u32;
/// Most segments one peer may claim; more are ignored.
const MAX_CLAIMS: usize = 4096;
/// Most segments one peer may claim in part at a time; of more, those count that were heard of last.
const MAX_PARTIAL: usize = 64;
/// How long "coming" is believed without a group to show for it.
const COMING_PATIENCE: Duration = Duration::from_millis(1500);

/// What a peer says of one segment.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    All,
    Some {
        groups: GroupSet,
        /// Groups that it gets or has got, …
        coming: GroupSet,
        /// …as it said last then.
        heard: Timestamp,
        /// Groups for which its uplink has a place.
        offered: GroupSet,
        /// Groups that somebody asks the origin for.
        on_duty: GroupSet,
    },
}

impl Claim {
    /// Whether it holds a group.
    pub(crate) fn holds(&self, group: GroupIndex) -> bool {
        match self {
            Self::All => true,
            Self::Some { groups, .. } => groups.contains(group),
        }
    }

    /// Whether it holds the whole segment.
    pub(crate) fn holds_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether it holds any group.
    pub(crate) fn holds_some(&self) -> bool {
        match self {
            Self::All => true,
            Self::Some { groups, .. } => !groups.is_empty(),
        }
    }

    /// Whether it holds one of these groups.
    pub(crate) fn holds_any(&self, mut groups: impl Iterator<Item = GroupIndex>) -> bool {
        groups.any(|group| self.holds(group))
    }

    /// Whether its uplink has a place for any group.
    pub(crate) fn offers_some(&self) -> bool {
        matches!(self, Self::Some { offered, .. } if !offered.is_empty())
    }

    /// Whether its uplink has a place for all of these groups.
    pub(crate) fn offers(&self, mut groups: impl Iterator<Item = GroupIndex>) -> bool {
        let Self::Some { offered, .. } = self else { return false };
        groups.all(|group| offered.contains(group))
    }

    /// Until when the peer is believed to bring all of these groups, whether it holds them yet or not.
    pub(crate) fn coming_until(&self, mut groups: impl Iterator<Item = GroupIndex>) -> Option<Timestamp> {
        let Self::Some { groups: held, coming, heard, .. } = self else { return None };
        groups.all(|group| coming.contains(group) || held.contains(group)).then(|| *heard + COMING_PATIENCE)
    }

    /// Whether somebody is said to ask the origin for all of these groups, or to have done so.
    pub(crate) fn says_on_duty(&self, mut groups: impl Iterator<Item = GroupIndex>) -> bool {
        let Self::Some { groups: held, coming, on_duty, .. } = self else { return true };
        groups.all(|group| on_duty.contains(group) || coming.contains(group) || held.contains(group))
    }

    /// Whether it is news for the peer that another one has this: it neither holds it nor expects it from elsewhere.
    fn lacks(&self, entry: &Held) -> bool {
        let Self::Some { groups, coming, on_duty, .. } = self else { return false };
        let (Held::Groups(ranges) | Held::Coming(ranges) | Held::Offered(ranges) | Held::OnDuty(ranges)) =
            entry
        else {
            return true;
        };
        let expects = |group| match entry {
            Held::Coming(_) => coming.contains(group),
            Held::OnDuty(_) => coming.contains(group) || on_duty.contains(group),
            _ => false,
        };
        let mut told = ranges.iter().flat_map(|range| range.iter());
        told.any(|group| !groups.contains(group) && !expects(group))
    }
}

/// The claims of one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    segments: LiteMap<ContentId, Claim>,
    partial: usize,
}

impl Claims {
    /// Adds what a peer says. Claims over the limits are ignored, the origin remains.
    pub(crate) fn add(&mut self, entry: &HaveEntry, now: Timestamp) {
        let (Held::Groups(ranges) | Held::Coming(ranges) | Held::Offered(ranges) | Held::OnDuty(ranges)) =
            &entry.held
        else {
            self.set_all(entry.content);
            return;
        };
        let Some(Claim::Some { groups, coming, heard, offered, on_duty }) = self.partial_claim(entry.content)
        else {
            return;
        };
        let before = (groups.len(), coming.len());
        for range in ranges.iter() {
            match &entry.held {
                Held::OnDuty(_) => on_duty.insert_range(*range),
                Held::Coming(_) => coming.insert_range(*range),
                Held::Offered(_) => {
                    coming.insert_range(*range);
                    offered.insert_range(*range);
                }
                Held::All | Held::Groups(_) => groups.insert_range(*range),
            }
        }
        // Who says the same again is believed no longer for it.
        if before != (groups.len(), coming.len()) {
            *heard = now;
        }
    }

    fn set_all(&mut self, content: ContentId) {
        if self.segments.len() >= MAX_CLAIMS && !self.segments.contains_key(&content) {
            return;
        }
        if let Some(Claim::Some { .. }) = self.segments.insert(content, Claim::All) {
            self.partial -= 1;
        }
    }

    fn partial_claim(&mut self, content: ContentId) -> Option<&mut Claim> {
        if !self.segments.contains_key(&content) {
            if self.partial >= MAX_PARTIAL {
                self.forget_oldest_part();
            }
            if self.segments.len() >= MAX_CLAIMS {
                return None;
            }
            self.partial += 1;
            let none = GroupSet::empty(MAX_GROUPS);
            let claim = Claim::Some {
                groups: none.clone(),
                coming: none.clone(),
                heard: Timestamp::default(),
                offered: none.clone(),
                on_duty: none,
            };
            self.segments.insert(content, claim);
        }
        self.segments.get_mut(&content)
    }

    /// Forgets what was claimed in part and not heard of for longest: it may have been given up long ago.
    fn forget_oldest_part(&mut self) {
        let heard = self.segments.iter().filter_map(|(content, claim)| match claim {
            Claim::All => None,
            Claim::Some { heard, .. } => Some((*heard, *content)),
        });
        if let Some((_, content)) = heard.min() {
            self.remove(&content);
        }
    }

    /// The place that the peer offered for these groups is gone.
    pub(crate) fn forget_offer(&mut self, content: &ContentId, groups: &[GroupIndex]) {
        if let Some(Claim::Some { offered, .. }) = self.segments.get_mut(content) {
            for group in groups {
                offered.remove(*group);
            }
        }
    }

    /// Forgets a segment.
    pub(crate) fn remove(&mut self, content: &ContentId) {
        if let Some(Claim::Some { .. }) = self.segments.remove(content) {
            self.partial -= 1;
        }
    }

    /// What the peer says of a segment.
    pub(crate) fn on(&self, content: &ContentId) -> Option<&Claim> {
        self.segments.get(content)
    }

    /// Whether it is news for the peer that another one has this.
    pub(crate) fn lack(&self, entry: &HaveEntry) -> bool {
        self.on(&entry.content).is_none_or(|claim| claim.lacks(&entry.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounded::BoundedVec, units::GroupRange};

    fn content(number: u16) -> ContentId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        ContentId::from_bytes(bytes)
    }

    fn holds(claims: &Claims, group: u32) -> bool {
        claims.on(&content(1)).is_some_and(|claim| claim.holds(GroupIndex::new(group)))
    }

    fn groups(start: u32, end: u32) -> Held {
        let range = GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).expect("not empty");
        Held::Groups(BoundedVec::first_of([range]))
    }

    #[test]
    fn claims_add_up() {
        let now = Timestamp::from_millis(0);
        let mut claims = Claims::default();
        claims.add(&HaveEntry { content: content(1), held: groups(0, 2) }, now);
        claims.add(&HaveEntry { content: content(1), held: groups(5, 6) }, now);
        assert!(holds(&claims, 1) && holds(&claims, 5));
        assert!(!holds(&claims, 3));
        claims.add(&HaveEntry { content: content(1), held: Held::All }, now);
        assert!(holds(&claims, 3));
    }

    #[test]
    fn a_peer_cannot_grow_its_claims_past_the_limits() {
        let now = Timestamp::from_millis(0);
        let mut claims = Claims::default();
        for number in 0..5000 {
            claims.add(&HaveEntry { content: content(number), held: groups(0, 1) }, now);
        }
        assert_eq!(claims.segments.len(), MAX_PARTIAL);
        assert!(claims.on(&content(4999)).is_some(), "the newest counts");
        for number in 0..5000 {
            claims.add(&HaveEntry { content: content(number), held: Held::All }, now);
        }
        assert_eq!(claims.segments.len(), MAX_CLAIMS);
    }

    #[test]
    fn a_claim_far_beyond_any_segment_costs_nothing() {
        let now = Timestamp::from_millis(0);
        let mut claims = Claims::default();
        for _ in 0..10_000 {
            claims.add(&HaveEntry { content: content(1), held: groups(4000, u32::MAX) }, now);
        }
        assert!(holds(&claims, MAX_GROUPS - 1));
        assert!(!holds(&claims, MAX_GROUPS));
    }

    #[test]
    fn what_is_offered_comes_and_can_be_gone() {
        let now = Timestamp::from_millis(0);
        let mut claims = Claims::default();
        let Held::Groups(ranges) = groups(0, 3) else { unreachable!("these are groups") };
        claims.add(&HaveEntry { content: content(1), held: Held::Offered(ranges) }, now);
        let three = [0, 1, 2].map(GroupIndex::new);
        let offers = |claims: &Claims, groups: &[GroupIndex]| {
            claims.on(&content(1)).unwrap().offers(groups.iter().copied())
        };
        assert!(offers(&claims, &three) && !offers(&claims, &[GroupIndex::new(3)]));
        assert!(claims.on(&content(1)).unwrap().coming_until(three.into_iter()).is_some());
        claims.forget_offer(&content(1), &three[1..]);
        assert!(offers(&claims, &three[..1]) && !offers(&claims, &three));
        assert!(claims.on(&content(1)).unwrap().offers_some());
    }

    #[test]
    fn coming_is_believed_for_a_while_and_renewed_by_groups() {
        let mut claims = Claims::default();
        let Held::Groups(ranges) = groups(0, 2) else { unreachable!("these are groups") };
        let coming = Held::Coming(ranges);
        let until = |claims: &Claims, group| {
            claims.on(&content(1))?.coming_until([GroupIndex::new(group)].into_iter())
        };
        claims.add(&HaveEntry { content: content(1), held: coming.clone() }, Timestamp::from_millis(0));
        assert_eq!(until(&claims, 1), Some(Timestamp::from_millis(1500)));
        claims.add(&HaveEntry { content: content(1), held: coming }, Timestamp::from_millis(900));
        assert_eq!(until(&claims, 1), Some(Timestamp::from_millis(1500)), "the same word again is no news");
        assert_eq!(until(&claims, 2), None);
        claims.add(&HaveEntry { content: content(1), held: groups(0, 1) }, Timestamp::from_millis(1000));
        assert_eq!(until(&claims, 1), Some(Timestamp::from_millis(2500)));
    }
}
