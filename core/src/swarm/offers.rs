//! Offers: places on an uplink for groups that are still on their way.
//!
//! Where peers only pull, each hop takes a claim, a request and the groups, one after the other. A peer that gets a part of a
//! segment therefore gives its uplink out in advance: it offers the part to as many neighbours as it has places for, who gave most
//! first, and who asks then gets each group the moment it verifies. So a tree grows for each part while its first group is on
//! its way (the stripes of SplitStream, SOSP 2003, pushed as the sub-streams of CoolStreaming, INFOCOM 2008), with admission by
//! capacity, wide uplinks near the root (Chunkyspread, ICNP 2006). It lasts for one segment: no loop has to be mended, and who
//! leaves is missed for seconds.

use std::{collections::VecDeque, time::Duration};

use super::{duty, giving::Upload};
use crate::{
    id::{ContentId, RequestId},
    time::Timestamp,
    units::{BytesPerSec, GroupIndex, GroupRange},
};

/// An uplink is given out for so long in advance, …
const HORIZON: Duration = Duration::from_millis(700);
/// …and for so many groups as long as it is not known.
const UNKNOWN_GROUPS: usize = 4;
/// Most groups of one offer.
const LONGEST: u32 = 4;
/// How long a place is kept for who does not ask.
pub(crate) const KEPT: Duration = Duration::from_millis(150);
/// Most offers to one peer that are remembered.
const MAX_OFFERS: usize = 64;

/// Groups for which an uplink that carries so much has a place, if nothing waits.
pub(crate) fn places(capacity: Option<BytesPerSec>, group: u64) -> usize {
    capacity.map_or(UNKNOWN_GROUPS, |capacity| {
        (capacity.value() * HORIZON.as_millis() as u64 / 1000 / group) as usize
    })
}

/// What is offered at a time of a segment of so many groups in so many parts, so that a thin uplink has a place for it.
pub(crate) fn pieces(groups: u32, parts: u32) -> Vec<GroupRange> {
    let mut pieces = Vec::new();
    for part in duty::parts(groups, parts) {
        let mut start = part.start().value();
        while let Some(piece) =
            GroupRange::new(GroupIndex::new(start), GroupIndex::new(part.end().value().min(start + LONGEST)))
        {
            pieces.push(piece);
            start += LONGEST;
        }
    }
    pieces
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    content: ContentId,
    groups: GroupRange,
    at: Timestamp,
    /// It was asked for.
    taken: bool,
}

impl Offer {
    fn is_kept(&self, now: Timestamp) -> bool {
        !self.taken && now < self.at + KEPT
    }
}

/// What one peer is offered and promised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers {
    made: VecDeque<Offer>,
    /// Groups that it gets when they are there.
    promised: Vec<Upload>,
}

impl Offers {
    /// Notes that groups were offered.
    pub(crate) fn make(&mut self, content: ContentId, groups: GroupRange, now: Timestamp) {
        self.made.push_back(Offer { content, groups, at: now, taken: false });
        if self.made.len() > MAX_OFFERS {
            self.made.pop_front();
        }
    }

    /// Whether these groups were offered.
    pub(crate) fn was_made(&self, content: &ContentId, groups: GroupRange) -> bool {
        self.made.iter().any(|offer| offer.content == *content && offer.groups == groups)
    }

    /// Groups that have a place: promised, or kept until they are asked for.
    pub(crate) fn places(&self, now: Timestamp) -> usize {
        let kept =
            self.made.iter().filter(|offer| offer.is_kept(now)).map(|offer| offer.groups.len() as usize);
        self.promised.len() + kept.sum::<usize>()
    }

    /// The peer asks for these groups: `None` if they were not offered or were asked for before, otherwise whether their
    /// place is still kept.
    pub(crate) fn take(
        &mut self,
        content: &ContentId,
        groups: &[GroupIndex],
        now: Timestamp,
    ) -> Option<bool> {
        let is_it = |offer: &&mut Offer| {
            offer.content == *content && groups.iter().all(|group| offer.groups.contains(*group))
        };
        let offer = self.made.iter_mut().filter(|offer| !offer.taken).find(is_it)?;
        let kept = offer.is_kept(now);
        offer.taken = true;
        Some(kept)
    }

    /// The peer gets a group when it is there.
    pub(crate) fn promise(&mut self, upload: Upload) {
        self.promised.push(upload);
    }

    /// Whether one of these groups is promised.
    pub(crate) fn promises_any(&self, content: &ContentId, groups: &[GroupIndex]) -> bool {
        self.promised.iter().any(|upload| upload.content == *content && groups.contains(&upload.group))
    }

    /// A group is there: what it was promised as.
    pub(crate) fn keep(&mut self, content: &ContentId, group: GroupIndex) -> Option<Upload> {
        let is_it = |upload: &Upload| upload.content == *content && upload.group == group;
        let place = self.promised.iter().position(is_it)?;
        Some(self.promised.remove(place))
    }

    /// Forgets promises: the requests they were made for.
    pub(crate) fn drop_promises(&mut self, which: impl Fn(&Upload) -> bool) -> Vec<RequestId> {
        let mut requests: Vec<_> =
            self.promised.iter().filter(|upload| which(upload)).map(|upload| upload.request).collect();
        self.promised.retain(|upload| !which(upload));
        requests.dedup();
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> ContentId {
        ContentId::from_bytes([1; 32])
    }

    fn range(start: u32, end: u32) -> GroupRange {
        GroupRange::new(GroupIndex::new(start), GroupIndex::new(end)).unwrap()
    }

    fn groups(start: u32, end: u32) -> Vec<GroupIndex> {
        range(start, end).iter().collect()
    }

    fn upload(request: u32, group: u32) -> Upload {
        Upload { request: RequestId::new(request), content: content(), group: GroupIndex::new(group) }
    }

    #[test]
    fn an_uplink_has_places_for_what_it_carries_in_advance() {
        let rate = |groups: u64| Some(BytesPerSec::new(groups * 16_384));
        assert_eq!(places(rate(10), 16_384), 7);
        assert_eq!(places(rate(1), 16_384), 0);
        assert_eq!(places(None, 16_384), UNKNOWN_GROUPS);
    }

    #[test]
    fn a_long_part_is_offered_in_pieces() {
        let ends = |groups, parts| {
            let pieces = pieces(groups, parts);
            pieces.iter().map(|piece| (piece.start().value(), piece.end().value())).collect::<Vec<_>>()
        };
        assert_eq!(ends(4, 2), [(0, 2), (2, 4)]);
        assert_eq!(ends(18, 2), [(0, 4), (4, 8), (8, 9), (9, 13), (13, 17), (17, 18)]);
    }

    #[test]
    fn a_place_is_kept_for_a_moment_and_given_once() {
        let mut offers = Offers::default();
        let at = Timestamp::from_millis;
        offers.make(content(), range(0, 2), at(0));
        offers.make(content(), range(2, 4), at(0));
        assert!(offers.was_made(&content(), range(2, 4)) && !offers.was_made(&content(), range(4, 6)));
        assert_eq!((offers.places(at(149)), offers.places(at(150))), (4, 0));
        assert_eq!(offers.take(&content(), &groups(0, 2), at(100)), Some(true));
        assert_eq!(offers.take(&content(), &groups(0, 2), at(100)), None, "it was taken");
        assert_eq!(offers.take(&content(), &groups(1, 3), at(100)), None, "it is more than one place");
        assert_eq!(offers.take(&content(), &groups(3, 4), at(150)), Some(false), "it was kept long enough");
        assert_eq!(offers.take(&content(), &groups(4, 5), at(100)), None, "it was not offered");
    }

    #[test]
    fn what_is_promised_is_owed_once_and_can_be_taken_back() {
        let mut offers = Offers::default();
        let at = Timestamp::from_millis(0);
        [upload(1, 0), upload(1, 1), upload(2, 2)].into_iter().for_each(|upload| offers.promise(upload));
        assert_eq!(offers.places(at), 3);
        assert_eq!(offers.keep(&content(), GroupIndex::new(1)), Some(upload(1, 1)));
        assert_eq!(offers.keep(&content(), GroupIndex::new(1)), None);
        assert!(
            offers.promises_any(&content(), &groups(0, 2)) && !offers.promises_any(&content(), &groups(1, 2))
        );
        assert_eq!(offers.drop_promises(|upload| upload.request == RequestId::new(1)), [RequestId::new(1)]);
        assert_eq!(offers.places(at), 1);
    }

    #[test]
    fn as_many_offers_are_remembered_as_are_allowed() {
        let mut offers = Offers::default();
        for part in 0..1000 {
            offers.make(content(), range(part, part + 1), Timestamp::from_millis(0));
        }
        assert_eq!(offers.made.len(), MAX_OFFERS);
    }
}
