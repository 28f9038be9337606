//! What one link's peer is owed: groups that wait for it, and bytes on their way to it.

use std::{collections::VecDeque, time::Duration};

use super::{capacity::Capacity, choke::Turn, offers::Offers};
use crate::{
    content::GROUP_LEN,
    id::{ContentId, RequestId},
    time::Timestamp,
    units::{GroupIndex, GroupRange},
    wire::MAX_RUN,
};

/// Most groups that wait to be sent to one peer.
const MAX_QUEUED_UPLOADS: usize = 256;
/// Bytes of which none left for so long wait for their receiver, not for the uplink: they don't keep others from being served.
const STUCK: Duration = Duration::from_millis(500);
/// When a bulk channel holds no more than this, its driver says so: a group is then about to be out. Bytes.
pub const BULK_LOW: u64 = 16 * 1024;
/// More is given to a way once what is in flight is out within this time, or is one group: it can't be taken back.
const FLIGHT: Duration = Duration::from_millis(40);
/// Most bytes in flight on a way, or what it carries in this time if that is more: control messages wait behind them.
const IN_FLIGHT: (u64, Duration) = (64 * 1024, Duration::from_millis(100));
/// A message is out within this time, unless it is one group: what comes behind it, on either channel, waits so long.
const MESSAGE: Duration = Duration::from_millis(120);
/// Who asked for something within this time wants more.
const WANTS: Duration = Duration::from_secs(10);

/// A group the peer waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Upload {
    pub(crate) request: RequestId,
    pub(crate) content: ContentId,
    pub(crate) group: GroupIndex,
}

/// Neighbouring groups of one request, which go in one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    pub(crate) request: RequestId,
    pub(crate) content: ContentId,
    pub(crate) groups: GroupRange,
}

/// What is given to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Giving {
    pub(crate) bytes_out: u64,
    /// Where the peer stands with this side's uplink.
    pub(crate) turn: Turn,
    /// What it is offered and promised.
    pub(crate) offers: Offers,
    /// What the way to the peer carries.
    way: Capacity,
    /// When the peer asked for something last.
    wanted: Option<Timestamp>,
    uploads: VecDeque<Upload>,
    /// Bytes given to the driver's bulk channel and not drained yet.
    in_flight: u64,
    /// When some of them left last, or were given while there were none.
    drained: Timestamp,
}

impl Giving {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            bytes_out: 0,
            turn: Turn::None,
            offers: Offers::default(),
            way: Capacity::default(),
            wanted: None,
            uploads: VecDeque::new(),
            in_flight: 0,
            drained: now,
        }
    }

    /// The peer asks for something.
    pub(crate) fn note_wanted(&mut self, now: Timestamp) {
        self.wanted = Some(now);
    }

    /// Whether the peer asked for something lately.
    pub(crate) fn wants(&self, now: Timestamp) -> bool {
        self.wanted.is_some_and(|at| now < at + WANTS)
    }

    /// Queues as many of these groups for the peer as there is room for; how many.
    pub(crate) fn queue_uploads(&mut self, uploads: impl Iterator<Item = Upload>) -> usize {
        let before = self.uploads.len();
        self.uploads.extend(uploads.take(MAX_QUEUED_UPLOADS.saturating_sub(before)));
        self.uploads.len() - before
    }

    /// A group is there: it is queued if it was promised.
    pub(crate) fn keep_promise(&mut self, content: &ContentId, group: GroupIndex) {
        self.uploads.extend(self.offers.keep(content, group));
    }

    /// Forgets what is queued or promised for a request.
    pub(crate) fn drop_uploads(&mut self, request: RequestId) {
        self.offers.drop_promises(|upload| upload.request == request);
        self.uploads.retain(|upload| upload.request != request);
    }

    /// Forgets every group that waits to be sent or is promised: the requests they were of.
    pub(crate) fn drop_all_uploads(&mut self) -> Vec<RequestId> {
        let promised = self.offers.drop_promises(|_| true);
        let mut requests: Vec<_> =
            self.uploads.drain(..).map(|upload| upload.request).chain(promised).collect();
        requests.dedup();
        requests
    }

    /// The next groups to send, `most` at most, while the bulk channel has room.
    pub(crate) fn next_run(&mut self, most: usize) -> Option<Run> {
        // More than the mark, never just the mark: the channel tells only when it falls to it from above.
        if self.in_flight > BULK_LOW.max(self.flight()) {
            return None;
        }
        let first = self.uploads.pop_front()?;
        let most = most.min(self.message_groups()).min(self.room());
        let mut end = first.group.value() + 1;
        for _ in 1..most {
            let next = Upload { group: GroupIndex::new(end), ..first };
            if self.uploads.pop_front_if(|upload| *upload == next).is_none() {
                break;
            }
            end += 1;
        }
        let groups = GroupRange::new(first.group, GroupIndex::new(end))?;
        Some(Run { request: first.request, content: first.content, groups })
    }

    /// Groups that may go in one message: the way to the peer is known to carry them quickly.
    fn message_groups(&self) -> usize {
        ((self.carried_in(MESSAGE) / u64::from(GROUP_LEN)) as usize).clamp(1, MAX_RUN)
    }

    /// Groups that may be in flight besides what is; one may always follow what is about to be out.
    fn room(&self) -> usize {
        let (least, time) = IN_FLIGHT;
        let room = least.max(self.carried_in(time)).saturating_sub(self.in_flight);
        ((room / u64::from(GROUP_LEN)) as usize).max(1)
    }

    /// Bytes that the way to the peer is known to carry at once.
    fn flight(&self) -> u64 {
        self.carried_in(FLIGHT)
    }

    fn carried_in(&self, time: Duration) -> u64 {
        self.way.known().map_or(0, |way| way.value() * time.as_millis() as u64 / 1000)
    }

    /// Groups that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.uploads.len()
    }

    /// Bytes in flight that keep the uplink busy, and until when that is believed.
    pub(crate) fn in_flight(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let until = self.drained + STUCK;
        (self.in_flight > 0 && now < until).then_some((self.in_flight, until))
    }

    /// Notes bytes that were given to the bulk channel.
    pub(crate) fn sent(&mut self, bytes: u64, now: Timestamp) {
        if self.in_flight == 0 {
            self.drained = now;
        }
        self.in_flight += bytes;
        self.bytes_out += bytes;
    }

    /// The driver's bulk channel holds this many bytes now; how many left it since it was full, if it was.
    pub(crate) fn set_in_flight(&mut self, bytes: u64, now: Timestamp) -> u64 {
        let left = if self.is_full() { self.in_flight.saturating_sub(bytes) } else { 0 };
        if bytes < self.in_flight {
            self.drained = now;
        }
        self.in_flight = bytes;
        self.way.drained(left, self.is_full(), now);
        left
    }

    /// Whether the driver will say when the bulk channel has drained.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight > BULK_LOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn upload() -> Upload {
        Upload {
            request: RequestId::new(0),
            content: ContentId::from_bytes([7; 32]),
            group: GroupIndex::new(0),
        }
    }

    #[test]
    fn uploads_wait_while_the_bulk_channel_is_full() {
        let (mut giving, upload) = (Giving::new(NOW), upload());
        assert_eq!(giving.queue_uploads([upload, upload].into_iter()), 2);
        giving.set_in_flight(BULK_LOW + 1, NOW);
        assert_eq!(giving.next_run(MAX_RUN), None);
        giving.set_in_flight(BULK_LOW, NOW);
        assert_eq!(
            giving.next_run(MAX_RUN).map(|run| run.groups),
            GroupRange::new(GroupIndex::new(0), GroupIndex::new(1))
        );
    }

    /// A way that is known to carry so much.
    fn known_way(bytes_per_second: u64) -> Giving {
        let mut giving = Giving::new(NOW);
        let mut now = NOW;
        for _ in 0..20 {
            giving.sent(bytes_per_second, now);
            giving.set_in_flight(bytes_per_second, now);
            now = now + Duration::from_secs(1);
            giving.set_in_flight(0, now);
        }
        giving
    }

    /// The groups of the messages that these uploads make on a way that carries so much.
    fn messages(bytes_per_second: u64, uploads: &[Upload], most: usize) -> Vec<(u32, u32)> {
        let mut giving = known_way(bytes_per_second);
        giving.queue_uploads(uploads.iter().copied());
        let runs = std::iter::from_fn(|| giving.next_run(most));
        runs.map(|run| (run.groups.start().value(), run.groups.len())).collect()
    }

    fn uploads(groups: &[u32]) -> Vec<Upload> {
        groups.iter().map(|group| Upload { group: GroupIndex::new(*group), ..upload() }).collect()
    }

    #[test]
    fn a_message_takes_as_many_groups_as_are_out_in_120_ms() {
        let ten = uploads(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(messages(20_000_000, &ten, MAX_RUN), [(0, 8), (8, 2)]);
        assert_eq!(messages(300_000, &ten[..5], MAX_RUN), [(0, 2), (2, 2), (4, 1)]);
        assert_eq!(messages(150_000, &ten[..2], MAX_RUN), [(0, 1), (1, 1)]);
        assert_eq!(messages(20_000_000, &ten[..2], 1), [(0, 1), (1, 1)]);
    }

    #[test]
    fn no_more_is_in_flight_than_64_kib_or_what_is_out_in_100_ms() {
        for rate in (50_000..3_000_000).step_by(50_000) {
            let mut giving = known_way(rate);
            giving.queue_uploads(uploads(&[0, 1, 2, 3, 4, 5, 6, 7]).into_iter());
            let before = BULK_LOW.max(giving.flight());
            giving.set_in_flight(before, NOW);
            let run = giving.next_run(MAX_RUN).expect("one may always follow");
            let bytes = before + u64::from(run.groups.len()) * u64::from(GROUP_LEN);
            assert!(bytes <= (64 * 1024).max(rate / 10), "{bytes} B at {rate} B/s");
        }
    }

    #[test]
    fn only_neighbouring_groups_of_one_request_share_a_message() {
        assert_eq!(
            messages(20_000_000, &uploads(&[3, 4, 6, 5, 7]), MAX_RUN),
            [(3, 2), (6, 1), (5, 1), (7, 1)]
        );
        let mut two = uploads(&[0, 1]);
        two[1].request = RequestId::new(1);
        assert_eq!(messages(20_000_000, &two, MAX_RUN), [(0, 1), (1, 1)]);
        let mut two = uploads(&[0, 1]);
        two[1].content = ContentId::from_bytes([8; 32]);
        assert_eq!(messages(20_000_000, &two, MAX_RUN), [(0, 1), (1, 1)]);
    }

    #[test]
    fn a_way_that_is_not_known_gets_a_group_a_message() {
        let mut giving = Giving::new(NOW);
        giving.queue_uploads(uploads(&[0, 1]).into_iter());
        assert_eq!(giving.next_run(MAX_RUN).map(|run| run.groups.len()), Some(1));
    }

    #[test]
    fn the_upload_queue_is_bounded() {
        let (mut giving, upload) = (Giving::new(NOW), upload());
        let queued = giving.queue_uploads((0..200).map(|_| upload));
        assert_eq!(queued + giving.queue_uploads((0..200).map(|_| upload)), MAX_QUEUED_UPLOADS);
    }
}
