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
/// Most segments one peer may claim in part at a time.
const MAX_PARTIAL: usize = 64;
/// How long "coming" is believed without a group to show for it.
const COMING_PATIENCE: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug)]
enum Claim {
    All,
    Some { groups: GroupSet, coming: Option<Timestamp> },
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
        match &entry.held {
            Held::All => self.set_all(entry.content),
            Held::Coming => {
                if let Some(Claim::Some { coming, .. }) = self.partial_claim(entry.content) {
                    *coming = Some(now);
                }
            }
            Held::Groups(ranges) => {
                let Some(Claim::Some { groups, coming }) = self.partial_claim(entry.content) else { return };
                for range in ranges {
                    groups.insert_range(*range);
                }
                *coming = coming.map(|_| now);
            }
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
            if self.segments.len() >= MAX_CLAIMS || self.partial >= MAX_PARTIAL {
                return None;
            }
            self.partial += 1;
            let groups = GroupSet::empty(MAX_GROUPS);
            self.segments.insert(content, Claim::Some { groups, coming: None });
        }
        self.segments.get_mut(&content)
    }

    /// Forgets a segment.
    pub(crate) fn remove(&mut self, content: &ContentId) {
        if let Some(Claim::Some { .. }) = self.segments.remove(content) {
            self.partial -= 1;
        }
    }

    /// Whether the peer says it holds a group.
    pub(crate) fn holds(&self, content: &ContentId, group: GroupIndex) -> bool {
        match self.segments.get(content) {
            Some(Claim::All) => true,
            Some(Claim::Some { groups, .. }) => groups.contains(group),
            None => false,
        }
    }

    /// Whether the peer says it holds a whole segment.
    pub(crate) fn holds_all(&self, content: &ContentId) -> bool {
        matches!(self.segments.get(content), Some(Claim::All))
    }

    /// Whether the peer says it holds any group of a segment.
    pub(crate) fn holds_some(&self, content: &ContentId) -> bool {
        match self.segments.get(content) {
            Some(Claim::All) => true,
            Some(Claim::Some { groups, .. }) => !groups.is_empty(),
            None => false,
        }
    }

    /// Until when the peer is believed to bring groups it does not hold yet.
    pub(crate) fn coming_until(&self, content: &ContentId) -> Option<Timestamp> {
        match self.segments.get(content) {
            Some(Claim::Some { coming: Some(since), .. }) => Some(*since + COMING_PATIENCE),
            _ => None,
        }
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
        assert!(
            claims.holds(&content(1), GroupIndex::new(1)) && claims.holds(&content(1), GroupIndex::new(5))
        );
        assert!(!claims.holds(&content(1), GroupIndex::new(3)));
        claims.add(&HaveEntry { content: content(1), held: Held::All }, now);
        assert!(claims.holds(&content(1), GroupIndex::new(3)));
    }

    #[test]
    fn a_peer_cannot_grow_its_claims_past_the_limits() {
        let now = Timestamp::from_millis(0);
        let mut claims = Claims::default();
        for number in 0..5000 {
            claims.add(&HaveEntry { content: content(number), held: groups(0, 1) }, now);
        }
        assert_eq!(claims.segments.len(), MAX_PARTIAL);
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
        assert!(claims.holds(&content(1), GroupIndex::new(MAX_GROUPS - 1)));
        assert!(!claims.holds(&content(1), GroupIndex::new(MAX_GROUPS)));
    }

    #[test]
    fn coming_is_believed_for_a_while_and_renewed_by_groups() {
        let mut claims = Claims::default();
        claims.add(&HaveEntry { content: content(1), held: Held::Coming }, Timestamp::from_millis(0));
        assert_eq!(claims.coming_until(&content(1)), Some(Timestamp::from_millis(1500)));
        claims.add(&HaveEntry { content: content(1), held: groups(0, 1) }, Timestamp::from_millis(1000));
        assert_eq!(claims.coming_until(&content(1)), Some(Timestamp::from_millis(2500)));
    }
}
