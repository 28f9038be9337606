//! A host's uplink: the bulk channels of its links take turns message by message, control messages go ahead of them.
//!
//! So do SCTP associations of equal rights over one access link, and streams within one. Congestion control is left out: the
//! access link is the bottleneck.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tabswarm_core::{id::LinkId, node::BULK_LOW, time::Timestamp};

use super::bytes::Message;

#[derive(Debug, Default)]
struct Channel {
    bytes: u64,
    messages: VecDeque<Message>,
}

/// A bulk message that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) link: LinkId,
    pub(crate) message: Message,
    /// When the last byte is out.
    pub(crate) done: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Uplink {
    busy: bool,
    channels: BTreeMap<LinkId, Channel>,
    /// Time that control messages took from the bulk message after them.
    debt: Duration,
    rate: u64,
    turns: VecDeque<LinkId>,
}

impl Uplink {
    pub(crate) fn new(rate: u64) -> Self {
        let (channels, turns) = (BTreeMap::new(), VecDeque::new());
        Self { busy: false, channels, debt: Duration::ZERO, rate: rate.max(1), turns }
    }

    /// Carries so many bytes per second from the next message on.
    pub(crate) fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(1);
    }

    fn time(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes * 1_000_000 / self.rate)
    }

    /// Sends a control message; when its last byte is out.
    pub(crate) fn control(&mut self, bytes: u64, now: Timestamp) -> Timestamp {
        let time = self.time(bytes);
        self.debt += time;
        now + time
    }

    /// Puts a bulk message in its link's line.
    pub(crate) fn bulk(&mut self, link: LinkId, message: Message) {
        let channel = self.channels.entry(link).or_default();
        if channel.messages.is_empty() {
            self.turns.push_back(link);
        }
        channel.bytes += message.len();
        channel.messages.push_back(message);
    }

    /// Starts to send whose turn it is, if nothing is being sent.
    pub(crate) fn start(&mut self, overhead: u64, now: Timestamp) -> Option<Sending> {
        if self.busy {
            return None;
        }
        let link = self.turns.pop_front()?;
        let channel = self.channels.get_mut(&link)?;
        let message = channel.messages.pop_front()?;
        if !channel.messages.is_empty() {
            self.turns.push_back(link);
        }
        self.busy = true;
        let time = self.time(message.len() + overhead) + std::mem::take(&mut self.debt);
        Some(Sending { link, message, done: now + time })
    }

    /// A message of `bytes` is out; how many bytes are left to tell the driver of, if that is now due.
    pub(crate) fn sent(&mut self, link: LinkId, bytes: u64) -> Option<u64> {
        self.busy = false;
        let channel = self.channels.get_mut(&link)?;
        let before = channel.bytes;
        channel.bytes -= bytes;
        (before > BULK_LOW && channel.bytes <= BULK_LOW).then_some(channel.bytes)
    }

    /// Bytes of a link that are not out yet (`bufferedAmount`).
    pub(crate) fn buffered(&self, link: LinkId) -> u64 {
        self.channels.get(&link).map_or(0, |channel| channel.bytes)
    }

    /// Drops what waits for a link that is closed.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.channels.remove(&link);
        self.turns.retain(|turn| *turn != link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message::plain(vec![0; bytes])
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn links_take_turns_and_control_goes_ahead() {
        let mut uplink = Uplink::new(1000);
        let links = [1, 2].map(LinkId::new);
        (0..3).for_each(|_| uplink.bulk(links[0], message(90)));
        uplink.bulk(links[1], message(90));
        assert_eq!(uplink.control(50, at(0)), at(50));
        let (mut now, mut order) = (at(0), Vec::new());
        while let Some(sending) = uplink.start(10, now) {
            assert!(uplink.start(10, now).is_none(), "one at a time");
            order.push((sending.link.value(), sending.done));
            now = sending.done;
            uplink.sent(sending.link, sending.message.len());
        }
        assert_eq!(order, [(1, at(150)), (2, at(250)), (1, at(350)), (1, at(450))]);
    }

    #[test]
    fn the_driver_hears_once_that_a_channel_has_drained() {
        let mut uplink = Uplink::new(1_000_000);
        let link = LinkId::new(1);
        (0..5).for_each(|_| uplink.bulk(link, message(30_000)));
        let told: Vec<_> = (0..5)
            .map(|_| {
                let sending = uplink.start(0, at(0)).expect("something waits");
                uplink.sent(link, sending.message.len())
            })
            .collect();
        assert_eq!(told, [None, None, None, None, Some(0)]);
        assert_eq!(uplink.buffered(link), 0);
    }

    #[test]
    fn nothing_more_is_sent_on_a_closed_link() {
        let mut uplink = Uplink::new(1000);
        let link = LinkId::new(1);
        (0..2).for_each(|_| uplink.bulk(link, message(90)));
        let sending = uplink.start(0, at(0)).expect("something waits");
        uplink.close(link);
        assert_eq!(uplink.sent(link, sending.message.len()), None);
        assert!(uplink.start(0, at(500)).is_none());
    }
}
