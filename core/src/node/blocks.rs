//! What is blocked: gone from memory and disk, not given, not taken. A player still gets it from the origin, if that has it.

use super::{Node, fetch::Phase, io::Output, roots::ManifestState};
use crate::{
    content::{BlockList, SignedBlockList},
    id::{ContentId, SegmentId, StreamId},
    time::Timestamp,
};

impl Node {
    /// Gives the block list that [`Output::KeepBlocks`] had kept: call it before anything is restored. Bytes that are none change
    /// nothing.
    pub fn handle_kept_blocks(&mut self, bytes: &[u8], now: Timestamp) {
        // Who signed it may not be known yet. It was believed when it was kept, and it can only take away.
        let kept = postcard::from_bytes::<SignedBlockList>(bytes).ok().and_then(|list| list.read().ok());
        if let Some(list) = kept.filter(|_| self.blocks.is_none()) {
            self.apply_blocks(list, now);
        }
        self.settle(now);
    }

    /// The service says what is blocked. A list of somebody else, or an older one than is known, does nothing.
    pub(super) fn handle_block_list(&mut self, signed: &SignedBlockList, now: Timestamp) {
        let Ok(list) = signed.verify(self.service.issuers()) else { return };
        // A list of an issuer that is not trusted any more, or of another network, does not stand in the way.
        let known = self.blocks.as_ref().filter(|known| self.service.issuers().contains(&known.issuer));
        if known.is_some_and(|known| list.issued <= known.issued) {
            return;
        }
        if self.config.disk_limit > 0
            && let Ok(bytes) = postcard::to_allocvec(signed)
        {
            self.output(Output::KeepBlocks { bytes });
        }
        self.apply_blocks(list, now);
    }

    /// Whether content of a stream is not to be kept, given or taken: so says the service, or the stream's publisher.
    pub(super) fn is_blocked(&self, stream: &StreamId, content: &ContentId) -> bool {
        self.blocks.as_ref().is_some_and(|list| list.contents.contains(content))
            || self.withdrawn(stream).is_some_and(|withdrawn| withdrawn.contains(content))
    }

    fn withdrawn(&self, stream: &StreamId) -> Option<&[ContentId]> {
        match &self.streams.get(stream)?.manifest {
            ManifestState::Loaded(manifest) => Some(manifest.withdrawn()),
            ManifestState::Missing | ManifestState::Pending => None,
        }
    }

    /// A manifest counts: what it withdraws is purged. A publisher has a say in its own stream only.
    pub(super) fn purge_withdrawn(&mut self, stream: StreamId, now: Timestamp) {
        let withdrawn = self.withdrawn(&stream).unwrap_or_default().to_vec();
        for content in withdrawn {
            let fetched =
                self.fetches.values().any(|fetch| fetch.stream == stream && fetch.content() == Some(content));
            let stored = self.store.get(&content).is_some_and(|stored| stored.stream == stream);
            let kept = self.disk.index.get(&content).is_some_and(|kept| kept.stream == stream);
            if fetched || stored || kept {
                self.purge(&content, now);
            }
        }
    }

    fn apply_blocks(&mut self, list: BlockList, now: Timestamp) {
        for content in list.contents.iter() {
            self.purge(content, now);
        }
        self.blocks = Some(list);
    }

    fn purge(&mut self, content: &ContentId, now: Timestamp) {
        self.end_load(*content, true, now);
        self.forget(content);
        let wanting = self.fetches.values().filter(|fetch| fetch.content() == Some(*content));
        let wanting: Vec<SegmentId> = wanting.map(|fetch| fetch.segment).collect();
        for segment in wanting {
            self.with_fetch(segment, |node, fetch| node.start_over(fetch, Phase::Rootless, now));
        }
        if let Some(stored) = self.store.remove(content) {
            self.output(Output::Drop { blob: stored.blob });
            self.announce_lost(*content);
        }
    }
}
