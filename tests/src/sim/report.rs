//! What came of a run, in counts.

use std::{collections::BTreeMap, fmt, time::Duration};

use tabswarm_core::{
    guard::Violation,
    id::PeerId,
    node::{Event as NodeEvent, FetchError, Stats},
    time::Timestamp,
};

use super::{
    host::{FetchTimes, Host, HostId},
    world::World,
};

/// What one viewer saw.
#[derive(Clone, Debug)]
pub struct ViewerReport {
    /// Peers it banned, and why.
    pub bans: Vec<(HostId, Violation)>,
    /// Bytes it sent on control channels and to the service.
    pub control_bytes: u64,
    /// Errors its player got.
    pub errors: Vec<FetchError>,
    /// Its player's requests in order.
    pub fetches: Vec<FetchTimes>,
    /// Whether it played to the end.
    pub finished: bool,
    /// When it left, if before the end.
    pub left: Option<Duration>,
    /// Times at which it lost a link to another viewer, or gained one.
    pub link_changes: Vec<(Duration, HostId, bool)>,
    /// From its join to its first ready link.
    pub linked_after: Option<Duration>,
    /// Ready links at the end of the run or when it left.
    pub links: usize,
    /// Bytes of the manifests that it fetched, one after the other.
    pub manifests: Vec<u64>,
    /// Segments whose origin bytes contradicted their root.
    pub mismatches: usize,
    /// Segments delivered unverified.
    pub origin_whole: u32,
    /// Media that its player got.
    pub played: Duration,
    /// Bytes its player got.
    pub played_bytes: u64,
    /// Requests its player made again.
    pub retries: u32,
    /// Times at which the service accepted it.
    pub service_ready: Vec<Duration>,
    /// Times its player ran out of media.
    pub stalls: u32,
    /// How long it was out of media.
    pub stalled: Duration,
    /// From its join until it left or the run ended.
    pub stayed: Duration,
    /// From its join to the first segment.
    pub started_after: Option<Duration>,
    /// The node's own counters.
    pub stats: Stats,
    /// Segments delivered verified.
    pub verified: u32,
    /// Delivered segments that differ from the origin's file.
    pub wrong: u32,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed it ran with.
    pub seed: u64,
    /// Bytes the service fetched to attest segments.
    pub attest_bytes: u64,
    /// How often the origin sent each segment, as a multiple of its length.
    pub copies: Vec<f64>,
    /// As much of that as went to viewers who had nothing to play yet.
    pub copies_for_newcomers: Vec<f64>,
    /// Virtual time at the end.
    pub ended_at: Duration,
    /// Events of the run.
    pub events: u64,
    /// Segment bytes the origin sent.
    pub origin_bytes: u64,
    /// Requests for segments the origin got.
    pub origin_requests: u64,
    /// Offers that were refused.
    pub refusals: u64,
    /// Messages the service got.
    pub service_messages: u64,
    /// Group-list bytes the origin sent.
    pub sidecar_bytes: u64,
    /// Hash over everything that happened.
    pub trace: [u8; 32],
    /// Viewers by number.
    pub viewers: BTreeMap<HostId, ViewerReport>,
    ceiling: f64,
}

impl Report {
    pub(crate) fn new(world: World) -> Self {
        let since_start = |at: Timestamp| at.saturating_since(Timestamp::default());
        let hosts: BTreeMap<HostId, &Host> =
            world.hosts.iter().chain(&world.gone).map(|(id, host)| (*id, host)).collect();
        let names: BTreeMap<PeerId, HostId> =
            hosts.iter().filter_map(|(id, host)| Some((host.peer_id()?, *id))).collect();
        let copies = |served: &[u64]| -> Vec<f64> {
            let lens = world.catalog.segments.iter().map(super::catalog::Segment::len);
            served.iter().zip(lens).map(|(sent, len)| *sent as f64 / len as f64).collect()
        };
        let viewers: BTreeMap<_, _> =
            hosts.iter().map(|(id, host)| (*id, viewer(host, &names, world.now()))).collect();
        let distinct: u64 = (0..world.catalog.spec.tracks.min(hosts.len()))
            .flat_map(|track| (0..world.catalog.spec.segments).map(move |position| (track, position)))
            .map(|(track, position)| world.catalog.segments[world.catalog.index(track, position)].len())
            .sum();
        let first: u64 = hosts
            .values()
            .map(|host| world.catalog.segments[world.catalog.index(host.track, host.player.first)].len())
            .sum();
        let played: u64 = viewers.values().map(|viewer: &ViewerReport| viewer.played_bytes).sum();
        Self {
            seed: world.seed,
            attest_bytes: world.service.attest_bytes,
            copies: copies(&world.origin.served),
            copies_for_newcomers: copies(&world.origin.served_newcomers),
            ended_at: since_start(world.now()),
            events: world.queue.len_past(),
            origin_bytes: world.origin.served.iter().sum(),
            origin_requests: world.origin.requests,
            refusals: world.service.refusals,
            service_messages: world.service.messages,
            sidecar_bytes: world.origin.sidecar_bytes,
            trace: world.trace_hash(),
            ceiling: 1.0 - (distinct + first) as f64 / played.max(1) as f64,
            viewers,
        }
    }

    fn sum(&self, of: impl Fn(&ViewerReport) -> u64) -> u64 {
        self.viewers.values().map(of).sum()
    }

    /// Share of the played bytes that the origin did not have to send.
    pub fn offload(&self) -> f64 {
        1.0 - self.origin_bytes as f64 / self.played_bytes().max(1) as f64
    }

    /// The offload there would be if the origin sent each segment once, and each viewer's first segment.
    pub fn ceiling(&self) -> f64 {
        self.ceiling
    }

    /// Bytes all players got.
    pub fn played_bytes(&self) -> u64 {
        self.sum(|viewer| viewer.played_bytes)
    }

    /// Times any player ran out of media.
    pub fn stalls(&self) -> u64 {
        self.sum(|viewer| u64::from(viewer.stalls))
    }

    /// Time out of media as a share of the time that viewers played or wanted to.
    pub fn stalled_share(&self) -> f64 {
        let sum = |of: fn(&ViewerReport) -> Duration| -> f64 {
            self.viewers.values().map(|v| of(v).as_secs_f64()).sum()
        };
        let (played, stalled) = (sum(|viewer| viewer.played), sum(|viewer| viewer.stalled));
        stalled / (played + stalled).max(f64::MIN_POSITIVE)
    }

    /// Viewers who waited so long for their first segment, or left then without one.
    pub fn kept_waiting(&self, limit: Duration) -> u64 {
        self.sum(|viewer| u64::from(viewer.started_after.unwrap_or(viewer.stayed) > limit))
    }

    /// Bytes that viewers sent on control channels and to the service.
    pub fn control_bytes(&self) -> u64 {
        self.sum(|viewer| viewer.control_bytes)
    }

    /// Share of what these viewers played that came from peers.
    pub fn peer_share(&self, of: impl Fn(u32) -> bool) -> f64 {
        let viewers = self.viewers.iter().filter(|(id, _)| of(id.0)).map(|(_, viewer)| viewer);
        let (peers, played) = viewers.fold((0, 0), |(peers, played), viewer| {
            (peers + viewer.stats.peer_bytes, played + viewer.played_bytes)
        });
        peers as f64 / played.max(1) as f64
    }

    /// Delivered segments that differ from the origin's file.
    pub fn wrong(&self) -> u64 {
        self.sum(|viewer| u64::from(viewer.wrong))
    }

    /// Segment bytes that reached a viewer and were of no use to it, as a share of those played.
    pub fn waste(&self) -> f64 {
        let came = self.sum(|viewer| viewer.stats.upload_bytes) + self.origin_bytes;
        (came as f64 - self.played_bytes() as f64) / self.played_bytes().max(1) as f64
    }

    /// Bans of all viewers: who banned whom for what.
    pub fn bans(&self) -> impl Iterator<Item = (HostId, HostId, Violation)> {
        self.viewers
            .iter()
            .flat_map(|(id, viewer)| viewer.bans.iter().map(|(banned, why)| (*id, *banned, *why)))
    }

    /// Whether these viewers played to the end.
    pub fn all_finished(&self, ids: impl IntoIterator<Item = u32>) -> bool {
        ids.into_iter().all(|id| self.viewers.get(&HostId(id)).is_some_and(|viewer| viewer.finished))
    }
}

fn viewer(host: &Host, names: &BTreeMap<PeerId, HostId>, now: Timestamp) -> ViewerReport {
    let until = host.log.left_at.unwrap_or(now);
    let since_start = |at: &Timestamp| at.saturating_since(Timestamp::default());
    let mut report = ViewerReport {
        bans: Vec::new(),
        control_bytes: host.log.control_bytes,
        errors: host.log.errors.clone(),
        fetches: host.log.fetches.values().copied().collect(),
        finished: host.log.ended_at.is_some(),
        left: host.log.left_at.as_ref().map(since_start),
        link_changes: Vec::new(),
        linked_after: None,
        links: host.node.links().filter(|link| link.partner).count(),
        manifests: host.log.manifests.clone(),
        mismatches: 0,
        origin_whole: host.log.origin_whole,
        played: host.player.buffered(),
        played_bytes: host.log.played_bytes,
        retries: host.player.retries,
        service_ready: Vec::new(),
        stalls: host.player.stalls,
        stalled: host.player.stalled(until),
        stayed: until.saturating_since(host.joined_at),
        started_after: host.log.started_at.map(|at| at.saturating_since(host.joined_at)),
        stats: host.node.stats(),
        verified: host.log.verified,
        wrong: host.log.wrong,
    };
    for (at, event) in &host.log.events {
        match event {
            NodeEvent::PeerBanned { peer, violation } => report.bans.push((names[peer], *violation)),
            NodeEvent::PeerConnected { peer, .. } => {
                report.linked_after.get_or_insert(at.saturating_since(host.joined_at));
                report.link_changes.push((since_start(at), names[peer], true));
            }
            NodeEvent::PeerClosed { peer, .. } => {
                report.link_changes.push((since_start(at), names[peer], false));
            }
            NodeEvent::OriginMismatch { .. } => report.mismatches += 1,
            NodeEvent::ServiceReady { .. } => report.service_ready.push(since_start(at)),
            _ => {}
        }
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "SEED={} viewers {} in {:.1} s: offload {:.1} % (ceiling {:.1}), waste {:.1} %, stalls {}, wrong {}, \
             origin {} requests {:.1} MB, control {:.1} MB, {} service messages, {} events",
            self.seed,
            self.viewers.len(),
            self.ended_at.as_secs_f64(),
            100.0 * self.offload(),
            100.0 * self.ceiling,
            100.0 * self.waste(),
            self.stalls(),
            self.wrong(),
            self.origin_requests,
            self.origin_bytes as f64 / 1e6,
            self.sum(|viewer| viewer.control_bytes) as f64 / 1e6,
            self.service_messages,
            self.events,
        )?;
        writeln!(
            f,
            "copies by segment: {}",
            self.copies.iter().map(|c| format!("{c:.1} ")).collect::<String>()
        )?;
        for (id, viewer) in &self.viewers {
            writeln!(
                f,
                "{:>5} start {:>5} ms, stalls {} ({:.1} s), origin {:>8} peers {:>8} up {:>8}, dup {:>3} bad {}, links {:>2} (first after {:>5} ms), \
                 verified {} whole {} wrong {} errors {:?} retries {} bans {:?}",
                id.0,
                viewer.started_after.map_or(0, |after| after.as_millis()),
                viewer.stalls,
                viewer.stalled.as_secs_f64(),
                viewer.stats.origin_bytes,
                viewer.stats.peer_bytes,
                viewer.stats.upload_bytes,
                viewer.stats.duplicate_groups,
                viewer.stats.bad_groups,
                viewer.links,
                viewer.linked_after.map_or(0, |after| after.as_millis()),
                viewer.verified,
                viewer.origin_whole,
                viewer.wrong,
                viewer.errors,
                viewer.retries,
                viewer.bans,
            )?;
        }
        Ok(())
    }
}
