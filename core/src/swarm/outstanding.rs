//! One request that its peer has not answered in full: what is still to come, and from when on it is overdue or late.

use std::time::Duration;

use crate::{id::ContentId, time::Timestamp, units::GroupIndex};

/// A standing request is late after so long without a group.
pub(super) const STANDING: Duration = Duration::from_millis(1500);
/// A request is late after so many times that, whatever else the link brings meanwhile.
const LATE_IN_LINE: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) content: ContentId,
    pub(super) first: GroupIndex,
    pub(super) groups: Vec<GroupIndex>,
    pub(super) at: Timestamp,
    /// Whether it was overdue.
    pub(super) overdue: bool,
    /// The peer sends the groups when they are there: they are not waited for in its line.
    pub(super) standing: bool,
}

impl Asked {
    /// Groups that stand in the peer's line.
    pub(super) fn in_line(&self) -> usize {
        if self.standing { 0 } else { self.groups.len() }
    }

    /// Takes a group out; `false` if it is not in.
    pub(super) fn take(&mut self, group: GroupIndex) -> bool {
        let position = self.groups.iter().position(|wanted| *wanted == group);
        position.map(|position| self.groups.swap_remove(position)).is_some()
    }

    /// Since when a peer that brought something last at `heard` has brought nothing of its line.
    pub(super) fn quiet_since(&self, heard: Timestamp) -> Timestamp {
        if self.standing { self.at } else { self.at.max(heard) }
    }

    /// When it is overdue on a link that brought something last at `heard`, if it was not before.
    pub(super) fn overdue_at(&self, heard: Timestamp, limit: Duration) -> Option<Timestamp> {
        let at = self.quiet_since(heard) + if self.standing { STANDING / 2 } else { limit };
        (!self.overdue).then_some(at)
    }

    /// When it is late on a link that brought something last at `heard`.
    pub(super) fn late_at(&self, heard: Timestamp, limit: Duration) -> Timestamp {
        if self.standing {
            return self.at + STANDING;
        }
        (self.quiet_since(heard) + limit).min(self.at + limit * LATE_IN_LINE)
    }
}
