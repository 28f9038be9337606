//! The event queue: what happens next in virtual time.
//!
//! Events of one instant keep the order in which they were put in, so a run depends on its seed alone.

use std::{cmp::Ordering, collections::BinaryHeap};

use tabswarm_core::time::Timestamp;

/// Most events of one instant; more means that somebody waits for a time that is already over.
const MAX_AT_ONCE: u32 = 1_000_000;

struct Entry<E> {
    at: Timestamp,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    fn rank(&self) -> (Timestamp, u64) {
        (self.at, self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest is the greatest: a `BinaryHeap` gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }
}

/// Events by time, and the time itself: that of the event given out last.
pub(crate) struct Queue<E> {
    at_once: u32,
    events: BinaryHeap<Entry<E>>,
    now: Timestamp,
    sequence: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { at_once: 0, events: BinaryHeap::new(), now: Timestamp::default(), sequence: 0 }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Events given out so far.
    pub(crate) fn len_past(&self) -> u64 {
        self.sequence - self.events.len() as u64
    }

    /// An event in the past happens now.
    pub(crate) fn push(&mut self, at: Timestamp, event: E) {
        let at = at.max(self.now);
        self.events.push(Entry { at, sequence: self.sequence, event });
        self.sequence += 1;
    }

    /// The next event, no later than `end`.
    pub(crate) fn pop(&mut self, end: Timestamp) -> Option<E> {
        if self.events.peek()?.at > end {
            return None;
        }
        let entry = self.events.pop()?;
        self.at_once = if entry.at == self.now { self.at_once + 1 } else { 0 };
        assert!(self.at_once < MAX_AT_ONCE, "virtual time stands still at {} µs", self.now.as_micros());
        self.now = entry.at;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_put_in() {
        let mut queue = Queue::new();
        let at = Timestamp::from_millis;
        for (time, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.push(at(time), event);
        }
        let order: String = std::iter::from_fn(|| queue.pop(at(9))).collect();
        assert_eq!(order, "abcd");
        queue.push(at(1), 'e');
        assert_eq!((queue.pop(at(4)), queue.pop(at(5)), queue.now()), (None, Some('e'), at(5)));
    }
}
