//! How much is asked for at a time, of all neighbours together.
//!
//! Each link's pipeline is sized for itself. A segment that many hold would come of all of them at once, and more than the way into
//! this peer takes: what its network drops has to be sent again (incast; Phanishayee et al., FAST 2008).

use std::time::Duration;

use super::{Node, links::Link};
use crate::{content::GROUP_LEN, time::Timestamp};

/// Groups on their way at a time: what a short way takes at once.
const LEAST_GROUPS: usize = 32;
/// Round trips of what comes lately that may be on their way besides: twice as much as keeps a long way full.
const ROUND_TRIPS: u32 = 2;
/// A link whose round-trip time is not known counts as one of this.
const USUAL_RTT: Duration = Duration::from_millis(100);

impl Node {
    /// Groups that may be asked for besides those that are on their way. None until half of them have come, so that each request is
    /// for several.
    pub(super) fn intake_room(&self, now: Timestamp) -> usize {
        let links = || self.links.values().filter(|link| link.is_partner());
        let in_flight = |link: &Link| {
            let rate = link.asking.rate(now).value() as f64;
            rate * (link.rtt.unwrap_or(USUAL_RTT) * ROUND_TRIPS).as_secs_f64()
        };
        let window = LEAST_GROUPS + links().map(in_flight).sum::<f64>() as usize / GROUP_LEN as usize;
        let room = window.saturating_sub(links().map(|link| link.asking.on_their_way(now)).sum());
        if room < window / 2 { 0 } else { room }
    }
}
