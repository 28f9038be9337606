//! Tells neighbours what this peer holds: a snapshot on every new link, then what is new, gathered for a moment.

use std::time::Duration;

use litemap::LiteMap;

use super::{Node, io::Output, news::News};
use crate::{
    bounded::BoundedVec,
    id::{ContentId, LinkId, StreamId},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
    wire::{Have, HaveEntry, Held, LinkMessage, MAX_HAVE_ENTRIES, MAX_RANGES},
};

/// How long verified groups are gathered at least before neighbours hear of them, …
const GATHER: Duration = Duration::from_millis(20);
/// …and at most: each message costs both ends a task.
const GATHER_CALMLY: Duration = Duration::from_millis(500);
/// In between, this part of the time until the segment is needed.
const GATHER_SHARE: u32 = 12;

/// What neighbours have not heard yet.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    pending: LiteMap<ContentId, Pending>,
    /// When they hear of it.
    at: Option<Timestamp>,
    /// What some neighbours hear when they are called.
    pub(super) news: LiteMap<ContentId, News>,
}

#[derive(Debug)]
struct Pending {
    stream: StreamId,
    /// In order.
    groups: Vec<GroupIndex>,
}

impl Announcements {
    pub(super) fn due(&self) -> Option<Timestamp> {
        let news = self.news.values().map(News::due);
        self.at.into_iter().chain(news).min()
    }

    fn pending(&mut self, stream: StreamId, content: ContentId, at: Timestamp) -> &mut Pending {
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
        self.pending.entry(content).or_insert(Pending { stream, groups: Vec::new() })
    }
}

impl Node {
    /// How long groups are gathered of a segment that is needed then. In a wide swarm each hop would wait, and before a slow
    /// origin everybody waits.
    fn gather(&self, stream: &StreamId, deadline: Timestamp, now: Timestamp) -> Duration {
        let share = deadline.saturating_since(now) / GATHER_SHARE;
        let hurries = self.is_wide(stream) || self.pace.is_slow();
        if share < GATHER_CALMLY && hurries { GATHER } else { share.clamp(GATHER, GATHER_CALMLY) }
    }

    /// A group was verified of a segment that is needed then: neighbours hear of it soon.
    pub(super) fn announce_group(
        &mut self,
        stream: StreamId,
        content: ContentId,
        group: GroupIndex,
        deadline: Timestamp,
        now: Timestamp,
    ) {
        if self.p2p {
            self.keep_promises(content, group);
            let at = now + self.gather(&stream, deadline, now);
            let groups = &mut self.announcements.pending(stream, content, at).groups;
            if let Err(place) = groups.binary_search(&group) {
                groups.insert(place, group);
            }
        }
    }

    /// All of a segment is held.
    pub(super) fn announce_all_of(&mut self, stream: StreamId, content: ContentId, now: Timestamp) {
        if self.p2p {
            self.announcements.pending(stream, content, now + GATHER);
        }
    }

    /// Groups are on their way here. Told at once: a neighbour may be about to ask the origin for them too.
    pub(super) fn announce_coming(&mut self, stream: StreamId, content: ContentId, groups: GroupRange) {
        self.announce(stream, &[HaveEntry { content, held: Held::Coming(BoundedVec::first_of([groups])) }]);
    }

    /// A segment is gone from one place; if it is in no other, neighbours hear of it.
    pub(super) fn announce_gone(&mut self, content: ContentId) {
        if self.store.get(&content).is_none() && self.disk.index.get(&content).is_none() {
            self.announce_lost(content);
        }
    }

    /// A segment is gone.
    pub(super) fn announce_lost(&mut self, content: ContentId) {
        self.announcements.pending.remove(&content);
        self.announcements.news.remove(&content);
        if !self.may_upload() {
            return;
        }
        self.broadcast(&LinkMessage::Lost(BoundedVec::first_of([content])));
    }

    /// Nothing is to be had here any more.
    pub(super) fn withdraw_announcements(&mut self) {
        self.announcements = Announcements::default();
        let mut held: Vec<ContentId> = self.store.iter().map(|(content, _)| *content).collect();
        held.extend(self.disk.index.iter().map(|(content, _)| *content));
        for contents in held.chunks(MAX_HAVE_ENTRIES) {
            self.broadcast(&LinkMessage::Lost(BoundedVec::first_of(contents.iter().copied())));
        }
    }

    /// Tells every neighbour everything that is held.
    pub(super) fn announce_to_all(&mut self) {
        let links: Vec<LinkId> = self.partner_links().collect();
        for link in links {
            self.announce_all(link);
        }
    }

    #[inline(never)]
    pub(super) fn drive_announcements(&mut self, now: Timestamp) {
        self.tell_old_news(now);
        if self.announcements.at.is_none_or(|at| now < at) {
            return;
        }
        self.announcements.at = None;
        let mut by_stream: LiteMap<StreamId, Vec<HaveEntry>> = LiteMap::new();
        for (content, pending) in std::mem::take(&mut self.announcements.pending) {
            let full = self.store.get(&content).is_some_and(|stored| stored.held.is_full());
            let entries = by_stream.entry(pending.stream).or_default();
            if full {
                entries.push(HaveEntry { content, held: Held::All });
                continue;
            }
            entries.extend(group_entries(content, &runs(&pending.groups)));
        }
        for (stream, entries) in by_stream {
            self.spread(stream, &entries, now);
        }
    }

    /// Tells neighbours, but for those who hold that or have it coming themselves.
    pub(super) fn announce(&mut self, stream: StreamId, entries: &[HaveEntry]) {
        let links: Vec<LinkId> = self.partner_links().collect();
        for link in links {
            self.announce_to(link, stream, entries);
        }
    }

    pub(super) fn announce_to(&mut self, link: LinkId, stream: StreamId, entries: &[HaveEntry]) {
        let Some(state) = self.links.get(&link).filter(|state| state.is_partner()) else { return };
        let news = entries.iter().filter(|entry| state.claims.lack(entry)).cloned().collect();
        self.tell_held(link, stream, news);
    }

    /// Tells a new neighbour everything that is held of the joined streams.
    pub(super) fn announce_all(&mut self, link: LinkId) {
        self.announce_held(link, None);
    }

    /// A neighbour lost content: it is told what it was spared while it held all of it.
    pub(super) fn announce_again(&mut self, link: LinkId, contents: &[ContentId]) {
        self.announce_held(link, Some(contents));
    }

    /// Tells a neighbour what is held, or what of these contents is.
    fn announce_held(&mut self, link: LinkId, contents: Option<&[ContentId]>) {
        let wanted = |content: &ContentId| contents.is_none_or(|contents| contents.contains(content));
        let mut by_stream: LiteMap<StreamId, Vec<HaveEntry>> = LiteMap::new();
        for (content, stored) in self.store.iter() {
            if !self.streams.contains_key(&stored.stream) || !wanted(content) {
                continue;
            }
            let entries = by_stream.entry(stored.stream).or_default();
            if stored.held.is_full() {
                entries.push(HaveEntry { content: *content, held: Held::All });
            } else {
                entries.extend(group_entries(*content, &stored.held.ranges()));
                let coming = self.coming_from_origin(content);
                entries.extend(coming.map(|groups| HaveEntry {
                    content: *content,
                    held: Held::Coming(BoundedVec::first_of([groups])),
                }));
            }
        }
        for (content, kept) in self.disk.index.iter() {
            let told = self.store.get(content).is_some_and(|stored| stored.held.is_full());
            if self.streams.contains_key(&kept.stream) && wanted(content) && !told {
                let entry = HaveEntry { content: *content, held: Held::All };
                by_stream.entry(kept.stream).or_default().push(entry);
            }
        }
        for (stream, entries) in by_stream {
            self.tell_held(link, stream, entries);
        }
    }

    fn tell_held(&mut self, link: LinkId, stream: StreamId, entries: Vec<HaveEntry>) {
        if !self.may_upload() {
            return;
        }
        for message in have_messages(stream, entries) {
            self.output(Output::SendControl { link, payload: message.to_bytes() });
        }
    }

    fn broadcast(&mut self, message: &LinkMessage) {
        let payload = message.to_bytes();
        let ready: Vec<LinkId> = self.partner_links().collect();
        for link in ready {
            self.output(Output::SendControl { link, payload: payload.clone() });
        }
    }
}

fn have_messages(stream: StreamId, entries: Vec<HaveEntry>) -> Vec<LinkMessage> {
    entries
        .chunks(MAX_HAVE_ENTRIES / 2)
        .map(|chunk| LinkMessage::Have(Have { stream, entries: BoundedVec::first_of(chunk.iter().cloned()) }))
        .collect()
}

pub(super) fn group_entries(content: ContentId, ranges: &[GroupRange]) -> Vec<HaveEntry> {
    ranges
        .chunks(MAX_RANGES)
        .map(|chunk| HaveEntry { content, held: Held::Groups(BoundedVec::first_of(chunk.iter().copied())) })
        .collect()
}

/// Neighbouring groups, in order, as ranges.
fn runs(groups: &[GroupIndex]) -> Vec<GroupRange> {
    groups
        .chunk_by(|a, b| b.value() == a.value() + 1)
        .filter_map(|run| {
            let end = GroupIndex::new(run.last()?.value() + 1);
            GroupRange::new(*run.first()?, end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_groups_become_one_range() {
        let groups = [1, 2, 3, 5, 9].map(GroupIndex::new);
        let ranges: Vec<_> = runs(&groups).iter().map(|r| (r.start().value(), r.end().value())).collect();
        assert_eq!(ranges, [(1, 4), (5, 6), (9, 10)]);
    }
}
