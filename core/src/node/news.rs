//! News: which neighbours hear when that there is something new here.
//!
//! Who hears of a group asks for it. An uplink that carries a group a few times is of no use to two dozen who ask for it at
//! once, and what it costs to tell them all is missing for groups. So neighbours hear one after the other, as they are called
//! ([`crate::swarm`]'s choking), and those who were not called hear a moment later. An uplink that is not known yet tells all.

use std::time::Duration;

use super::Node;
use crate::{
    id::{ContentId, LinkId, StreamId},
    time::Timestamp,
    wire::{HaveEntry, Held},
};

/// When those hear who were not called.
const LATEST: Duration = Duration::from_secs(1);

/// Something new of one segment.
#[derive(Debug)]
pub(super) struct News {
    since: Timestamp,
    /// Who has not heard of it.
    untold: Vec<LinkId>,
}

impl News {
    pub(super) fn due(&self) -> Timestamp {
        self.since + LATEST
    }
}

impl Node {
    /// There are new groups: neighbours hear of them at once, or when they are called.
    pub(super) fn spread(&mut self, stream: StreamId, entries: &[HaveEntry], now: Timestamp) {
        if !self.uploads.calls() {
            self.announce(stream, entries);
            return;
        }
        for entry in entries {
            let untold: Vec<LinkId> =
                self.partner_links().filter(|link| self.lacks(*link, &entry.content)).collect();
            if untold.is_empty() {
                self.announcements.news.remove(&entry.content);
                continue;
            }
            let fresh = News { since: now, untold: Vec::new() };
            self.announcements.news.entry(entry.content).or_insert(fresh).untold = untold;
        }
    }

    /// Whether a neighbour does not hold the whole segment itself.
    fn lacks(&self, link: LinkId, content: &ContentId) -> bool {
        let claim = self.links.get(&link).and_then(|state| state.claims.on(content));
        claim.is_none_or(|claim| !claim.holds_all())
    }

    /// Whether somebody has not heard everything.
    pub(super) fn has_news(&self) -> bool {
        !self.announcements.news.is_empty()
    }

    /// Since when there is news for a neighbour that does not hold the whole segment itself.
    pub(super) fn news_since(&self, link: LinkId) -> Option<Timestamp> {
        let news = self.announcements.news.iter();
        let news = news.filter(|(content, news)| news.untold.contains(&link) && self.lacks(link, content));
        news.map(|(_, news)| news.since).min()
    }

    /// A neighbour is called: it hears all the news.
    pub(super) fn tell_news(&mut self, link: LinkId) {
        let mut contents = Vec::new();
        for (content, news) in self.announcements.news.iter_mut() {
            if let Some(place) = news.untold.iter().position(|untold| *untold == link) {
                news.untold.swap_remove(place);
                contents.push(*content);
            }
        }
        self.announcements.news.retain(|_, news| !news.untold.is_empty());
        for content in contents {
            let Some((stream, entries)) = self.held_entries(&content) else { continue };
            self.announce_to(link, stream, &entries);
        }
    }

    /// Those hear who were not called for long.
    pub(super) fn tell_old_news(&mut self, now: Timestamp) {
        let news = self.announcements.news.iter().filter(|(_, news)| news.due() <= now);
        let old: Vec<ContentId> = news.map(|(content, _)| *content).collect();
        for content in old {
            let Some(news) = self.announcements.news.remove(&content) else { continue };
            let Some((stream, entries)) = self.held_entries(&content) else { continue };
            for link in news.untold {
                self.announce_to(link, stream, &entries);
            }
        }
    }

    fn held_entries(&self, content: &ContentId) -> Option<(StreamId, Vec<HaveEntry>)> {
        let stored = self.store.get(content)?;
        let entries = if stored.held.is_full() {
            vec![HaveEntry { content: *content, held: Held::All }]
        } else {
            super::announce::group_entries(*content, &stored.held.ranges())
        };
        Some((stored.stream, entries))
    }
}
