//! Where a segment's root comes from: a manifest, or the attesting service.

use std::time::Duration;

use litemap::LiteMap;

use super::{
    Node,
    io::{Roots, Stream},
    members::Finding,
    newcomers::Newcomers,
    refresh::Refresh,
};
use crate::{
    bounded::BoundedString,
    content::{GroupList, Manifest, SegmentEntry, SegmentKey, SegmentLen},
    id::{ContentId, SegmentId, StreamId},
    time::Timestamp,
    units::ByteRange,
    wire::{AttestFailure, AttestRequest, Attested, ClientMessage},
};

/// Most attested segments kept of one stream.
pub(super) const MAX_ATTESTED: usize = 1024;
/// An attestation that did not come is not waited for any longer.
const ATTEST_PATIENCE: Duration = Duration::from_secs(5);
/// After this it is asked for again where the service had trouble or said nothing.
const ATTEST_AGAIN: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) enum ManifestState {
    Pending,
    Loaded(Box<Manifest>),
    Missing,
}

#[derive(Debug)]
enum Attestation {
    Asked,
    Known(GroupList),
    /// The service will not say, until its session ends.
    Refused,
    /// The service could not say then.
    Troubled,
}

/// A joined stream.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) stream: Stream,
    /// The service was told.
    pub(super) joined: bool,
    /// The service named peers, or nobody.
    pub(super) answered: bool,
    pub(super) ask_again: Timestamp,
    pub(super) population: Option<u32>,
    /// What the mesh knows of it.
    pub(super) finding: Finding,
    pub(super) newcomers: Newcomers,
    pub(super) manifest: ManifestState,
    pub(super) refresh: Refresh,
    /// Where the segment lies that was fetched last, by track.
    pub(super) heads: LiteMap<u16, u64>,
    /// What the service said, and when it said it or was asked.
    attested: LiteMap<SegmentId, (Timestamp, Attestation)>,
}

impl StreamState {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            joined: false,
            answered: false,
            ask_again: Timestamp::from_millis(0),
            population: None,
            finding: Finding::default(),
            newcomers: Newcomers::default(),
            manifest: ManifestState::Pending,
            refresh: Refresh::default(),
            heads: LiteMap::new(),
            attested: LiteMap::new(),
        }
    }

    /// The service forgot this peer.
    pub(super) fn forget_session(&mut self) {
        self.joined = false;
        self.answered = false;
        self.newcomers = Newcomers::default();
        self.attested.retain(|_, (_, attestation)| matches!(attestation, Attestation::Known(_)));
    }

    fn manifest(&self) -> Option<&Manifest> {
        match &self.manifest {
            ManifestState::Loaded(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The track of a listed segment, and where its list is in the track's sidecar.
    pub(super) fn list_place(&self, key: &SegmentKey) -> Option<(u16, ByteRange)> {
        let entry = self.manifest()?.lookup(key)?;
        Some((entry.track(), entry.list_range()?))
    }

    /// Where a track's sidecar is.
    pub(super) fn sidecar(&self, track: u16) -> Option<String> {
        let track = self.manifest()?.tracks().get(usize::from(track))?;
        Some(track.sidecar().to_owned())
    }

    /// The segments whose lists lie within so many bytes behind that of a segment: their addresses and lengths, and where each list ends.
    pub(super) fn listed_behind(&self, key: &SegmentKey, bytes: u64) -> Vec<(ContentId, SegmentLen, u64)> {
        let Some((track, first)) = self.list_place(key) else { return Vec::new() };
        let within = |entry: &SegmentEntry| {
            let list = entry.list_range().filter(|_| entry.track() == track)?;
            let near = first.end() <= list.start() && list.end() - first.end() <= bytes;
            near.then(|| (entry.root(), entry.len(), list.end()))
        };
        self.manifest().map_or(&[][..], Manifest::segments).iter().filter_map(within).collect()
    }

    /// The group lists in a part of a track's sidecar, which starts there.
    pub(super) fn lists_from_sidecar(&self, track: u16, start: u64, part: &[u8]) -> Vec<GroupList> {
        let list = |entry: &SegmentEntry| {
            let range = entry.list_range().filter(|_| entry.track() == track)?;
            let from = usize::try_from(range.start().checked_sub(start)?).ok()?;
            let values = part.get(from..from + range.len() as usize)?;
            GroupList::from_sidecar(entry, values).ok()
        };
        self.manifest().map_or(&[][..], Manifest::segments).iter().filter_map(list).collect()
    }

    /// Keeps what is known of a segment, in the place of the oldest where there is no room.
    fn keep(&mut self, segment: SegmentId, attestation: Attestation, now: Timestamp) {
        if self.attested.len() >= MAX_ATTESTED && !self.attested.contains_key(&segment) {
            let oldest = self.attested.iter().min_by_key(|(_, (at, _))| *at).map(|(segment, _)| *segment);
            oldest.map(|oldest| self.attested.remove(&oldest));
        }
        self.attested.insert(segment, (now, attestation));
    }
}

/// What is known of a segment's root.
#[derive(Debug)]
pub(super) enum RootAnswer {
    /// The root and length; the list must be fetched.
    Root { content: ContentId, len: SegmentLen },
    /// Root and list.
    List(GroupList),
    /// There is none.
    None,
    /// It may still come.
    Pending,
}

impl RootAnswer {
    /// The root, once it is known.
    pub(super) fn content(&self) -> Option<ContentId> {
        match self {
            Self::Root { content, .. } => Some(*content),
            Self::List(list) => Some(list.root()),
            Self::None | Self::Pending => None,
        }
    }
}

impl Node {
    pub(super) fn root_of(
        &mut self,
        stream: StreamId,
        key: &SegmentKey,
        segment: SegmentId,
        now: Timestamp,
    ) -> RootAnswer {
        let Some(state) = self.streams.get(&stream) else { return RootAnswer::None };
        if state.stream.roots == Roots::Attested {
            return self.attested_root(stream, key, segment, now);
        }
        let listed = match &state.manifest {
            ManifestState::Pending => return RootAnswer::Pending,
            ManifestState::Missing => return RootAnswer::None,
            ManifestState::Loaded(manifest) => manifest.lookup(key).map(listed_root),
        };
        if self.await_manifest(stream, listed.is_some(), now) {
            return RootAnswer::Pending;
        }
        listed.unwrap_or(RootAnswer::None)
    }

    fn attested_root(
        &mut self,
        stream: StreamId,
        key: &SegmentKey,
        segment: SegmentId,
        now: Timestamp,
    ) -> RootAnswer {
        let attests = self.service.attests();
        let Some(state) = self.streams.get_mut(&stream) else { return RootAnswer::None };
        match state.attested.get(&segment) {
            Some((_, Attestation::Known(list))) => return RootAnswer::List(list.clone()),
            Some((_, Attestation::Refused)) => return RootAnswer::None,
            Some((at, Attestation::Asked)) if now < *at + ATTEST_PATIENCE => return RootAnswer::Pending,
            Some((at, _)) if now < *at + ATTEST_AGAIN => return RootAnswer::None,
            Some(_) | None => {}
        }
        match attests {
            None => RootAnswer::Pending,
            Some(false) => RootAnswer::None,
            Some(true) => {
                let Ok(stream_name) = BoundedString::try_from(state.stream.name.clone()) else {
                    return RootAnswer::None;
                };
                state.keep(segment, Attestation::Asked, now);
                self.tell_service(&ClientMessage::Attest(AttestRequest { stream_name, key: key.clone() }));
                RootAnswer::Pending
            }
        }
    }

    /// The service publishes a root, asked for or not.
    pub(super) fn handle_attested(&mut self, attested: Attested, now: Timestamp) {
        let Some(wall) = self.wall(now) else { return };
        let Ok(said) = attested.attestation.verify(self.service.issuers(), wall) else { return };
        let Ok(list) = GroupList::verified(said.root, said.len, attested.values.into_vec()) else { return };
        let Some(state) = self.streams.get_mut(&said.stream) else { return };
        if state.stream.roots == Roots::Attested {
            let segment = said.key.id(&said.stream);
            state.keep(segment, Attestation::Known(list), now);
        }
    }

    /// The service has no root for a segment.
    pub(super) fn handle_attest_failed(&mut self, segment: SegmentId, reason: AttestFailure, now: Timestamp) {
        for state in self.streams.iter_mut().map(|(_, value)| value) {
            if let Some((at, asked @ Attestation::Asked)) = state.attested.get_mut(&segment) {
                *at = now;
                *asked = match reason {
                    AttestFailure::NotServed | AttestFailure::Refused => Attestation::Refused,
                    AttestFailure::Origin => Attestation::Troubled,
                };
            }
        }
    }
}

fn listed_root(entry: &SegmentEntry) -> RootAnswer {
    match entry.list_range() {
        Some(_) => RootAnswer::Root { content: entry.root(), len: entry.len() },
        None => GroupList::verified(entry.root(), entry.len(), Vec::new())
            .map_or(RootAnswer::None, RootAnswer::List),
    }
}
