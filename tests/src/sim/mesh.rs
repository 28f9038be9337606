//! The graph of links over a run: whether it ever fell apart, and how it looks at the end.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{host::HostId, report::Report};

type Links = BTreeMap<HostId, BTreeSet<HostId>>;

/// What became of the links of a run.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Links that ended and thereby cut somebody off, and when. A link is there while both ends see it.
    pub splits: Vec<Duration>,
    /// Viewers who left and thereby cut others off from each other.
    pub parted: usize,
    /// Components at the end.
    pub components: usize,
    /// Ready links that any viewer saw at its own end at a time.
    pub most_links: usize,
    /// Links of a viewer at the end, on average.
    pub links: f64,
    /// The longest of the shortest ways between two viewers at the end, in links.
    pub diameter: usize,
    /// Links that ended without either viewer leaving.
    pub replaced: usize,
    /// Links at the end by pair of viewers.
    pub pairs: BTreeSet<(HostId, HostId)>,
}

enum Change {
    Gained(HostId),
    Left,
    Lost(HostId),
}

impl Report {
    /// Goes through all changes of links in their order.
    pub fn mesh(&self) -> Mesh {
        let mut changes = Vec::new();
        let left = |id: &HostId| self.viewers.get(id).and_then(|viewer| viewer.left);
        let mut lost = 0;
        for (id, viewer) in &self.viewers {
            changes.extend(viewer.left.map(|at| (at, *id, Change::Left)));
            for (at, peer, gained) in &viewer.link_changes {
                let change = if *gained { Change::Gained(*peer) } else { Change::Lost(*peer) };
                changes.push((*at, *id, change));
                let stay = [id, peer].iter().all(|id| left(id).is_none_or(|left| *at < left));
                lost += usize::from(!gained && stay);
            }
        }
        changes.sort_by_key(|(at, ..)| *at);
        let (mut seen, mut there) = (Links::new(), BTreeSet::new());
        let (mut splits, mut parted, mut most_links) = (Vec::new(), 0, 0);
        for (at, id, change) in changes {
            match change {
                Change::Gained(peer) => {
                    seen.entry(id).or_default().insert(peer);
                    if seen.get(&peer).is_some_and(|links| links.contains(&id)) {
                        there.extend([id, peer]);
                    }
                    most_links = most_links.max(seen[&id].len());
                }
                Change::Lost(peer) => {
                    let before = components(&seen, &there);
                    seen.entry(id).or_default().remove(&peer);
                    splits.extend((components(&seen, &there) > before).then_some(at));
                }
                Change::Left => {
                    let before = components(&seen, &there);
                    there.remove(&id);
                    seen.remove(&id);
                    parted += usize::from(components(&seen, &there) > before);
                }
            }
        }
        let degree = |id: &HostId| neighbours(&seen, *id).count();
        Mesh {
            splits,
            parted,
            components: components(&seen, &there),
            most_links,
            links: there.iter().map(degree).sum::<usize>() as f64 / there.len().max(1) as f64,
            diameter: there.iter().map(|id| farthest(&seen, *id)).max().unwrap_or(0),
            replaced: lost / 2,
            pairs: there.iter().flat_map(|id| neighbours(&seen, *id).map(|peer| (*id, peer))).collect(),
        }
    }
}

fn neighbours(seen: &Links, id: HostId) -> impl Iterator<Item = HostId> {
    let own = seen.get(&id).into_iter().flatten().copied();
    own.filter(move |peer| seen.get(peer).is_some_and(|links| links.contains(&id)))
}

/// Distances from one viewer to all it reaches.
fn distances(seen: &Links, from: HostId) -> BTreeMap<HostId, usize> {
    let mut found = BTreeMap::from([(from, 0)]);
    let mut queue = VecDeque::from([from]);
    while let Some(id) = queue.pop_front() {
        let next = found[&id] + 1;
        for peer in neighbours(seen, id) {
            found.entry(peer).or_insert_with(|| {
                queue.push_back(peer);
                next
            });
        }
    }
    found
}

fn farthest(seen: &Links, from: HostId) -> usize {
    distances(seen, from).into_values().max().unwrap_or(0)
}

fn components(seen: &Links, there: &BTreeSet<HostId>) -> usize {
    let (mut rest, mut count) = (there.clone(), 0);
    while let Some(id) = rest.first().copied() {
        let reached = distances(seen, id);
        rest.retain(|id| !reached.contains_key(id));
        count += 1;
    }
    count
}
