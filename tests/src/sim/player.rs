//! The player: asks for the segments as a web player and the package beside it do, and notices when it runs dry.

use std::{collections::VecDeque, time::Duration};

use tabswarm_core::{id::FetchId, time::Timestamp};

use super::catalog::CatalogSpec;

/// A request that brought nothing for so long is given up and made again.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a failed request the next one waits so long.
const RETRY: Duration = Duration::from_secs(1);

/// How viewers play.
#[derive(Clone, Copy, Debug)]
pub struct PlayerSpec {
    /// Segments asked for ahead of the one that is played next, once it plays.
    pub ahead: usize,
    /// Media the player keeps ahead.
    pub buffer: Duration,
}

impl Default for PlayerSpec {
    /// 30 s, as hls.js does, and three segments ahead, as the package does.
    fn default() -> Self {
        Self { ahead: 3, buffer: Duration::from_secs(30) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    /// Nothing was played yet.
    Waiting,
    /// Playing since then, from this media time.
    Playing(Timestamp, Duration),
    /// Out of media since then.
    Stalled(Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    /// To be asked for again then.
    After(Timestamp),
    Done,
    Running(FetchId, Timestamp),
}

/// What the player wants done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    /// Gives up a request.
    Cancel(FetchId),
    /// Asks for the segment at this position, needed then.
    Fetch(usize, Timestamp),
}

/// One viewer's player. Its media time starts at 0 with its first segment.
#[derive(Debug)]
pub(crate) struct Player {
    spec: PlayerSpec,
    stream: CatalogSpec,
    /// Where in the stream it starts.
    pub(crate) first: usize,
    clock: Clock,
    /// What follows the loaded segments.
    loads: VecDeque<Load>,
    /// Segments that are loaded, from its first on.
    pub(crate) loaded: usize,
    pub(crate) stalls: u32,
    /// Time out of media before the stall that lasts, if one does.
    stalled: Duration,
    pub(crate) retries: u32,
}

impl Player {
    pub(crate) fn new(spec: PlayerSpec, stream: CatalogSpec, now: Timestamp) -> Self {
        Self {
            spec,
            stream,
            first: stream.start(now),
            clock: Clock::Waiting,
            loads: VecDeque::new(),
            loaded: 0,
            stalls: 0,
            stalled: Duration::ZERO,
            retries: 0,
        }
    }

    pub(crate) fn has_played_all(&self, now: Timestamp) -> bool {
        self.has_loaded_all() && self.position(now) == self.buffered()
    }

    pub(crate) fn has_started(&self) -> bool {
        self.clock != Clock::Waiting
    }

    /// Time out of media up to now.
    pub(crate) fn stalled(&self, now: Timestamp) -> Duration {
        match self.clock {
            Clock::Stalled(since) => self.stalled + now.saturating_since(since),
            Clock::Waiting | Clock::Playing(..) => self.stalled,
        }
    }

    fn has_loaded_all(&self) -> bool {
        self.first + self.loaded >= self.stream.segments
    }

    pub(crate) fn buffered(&self) -> Duration {
        self.stream.segment * self.loaded as u32
    }

    /// The media time that is shown.
    fn position(&self, now: Timestamp) -> Duration {
        match self.clock {
            Clock::Waiting => Duration::ZERO,
            Clock::Playing(since, from) => (from + now.saturating_since(since)).min(self.buffered()),
            Clock::Stalled(_) => self.buffered(),
        }
    }

    /// A segment was loaded. Whether it is the first one.
    pub(crate) fn loaded(&mut self, fetch: FetchId, now: Timestamp) -> bool {
        let Some(load) = self.running(fetch) else { return false };
        *load = Load::Done;
        let (before, position) = (self.loaded, self.position(now));
        while self.loads.pop_front_if(|load| *load == Load::Done).is_some() {
            self.loaded += 1;
        }
        if self.loaded == before {
            return false;
        }
        match self.clock {
            Clock::Waiting => self.clock = Clock::Playing(now, Duration::ZERO),
            Clock::Stalled(_) => {
                self.stalled = self.stalled(now);
                self.clock = Clock::Playing(now, position);
            }
            Clock::Playing(..) => {}
        }
        before == 0
    }

    pub(crate) fn failed(&mut self, fetch: FetchId, now: Timestamp) {
        if let Some(load) = self.running(fetch) {
            *load = Load::After(now + RETRY);
            self.retries += 1;
        }
    }

    fn running(&mut self, fetch: FetchId) -> Option<&mut Load> {
        self.loads.iter_mut().find(|load| matches!(load, Load::Running(running, _) if *running == fetch))
    }

    /// The request it wished for at this position runs.
    pub(crate) fn requested(&mut self, position: usize, fetch: FetchId, now: Timestamp) {
        let (place, load) = (position - self.first - self.loaded, Load::Running(fetch, now));
        match self.loads.get_mut(place) {
            Some(again) => *again = load,
            None => self.loads.push_back(load),
        }
    }

    /// What is to be done now. Ask until there is nothing.
    pub(crate) fn wish(&mut self, now: Timestamp) -> Option<Wish> {
        let shown = self.position(now);
        let out_of_media = matches!(self.clock, Clock::Playing(..)) && shown == self.buffered();
        if out_of_media && !self.has_loaded_all() {
            self.stalls += 1;
            self.clock = Clock::Stalled(now);
        }
        for load in &mut self.loads {
            if let Load::Running(fetch, since) = *load
                && now >= since + PATIENCE
            {
                self.retries += 1;
                *load = Load::After(now);
                return Some(Wish::Cancel(fetch));
            }
        }
        let due = |load: &Load| matches!(load, Load::After(at) if *at <= now);
        let again = self.loads.iter().position(due);
        let next = self.next_wanted(now).filter(|wanted| *wanted <= now).map(|_| self.loads.len());
        let place = again.or(next)?;
        let needed = now + self.ahead(place).saturating_sub(shown);
        Some(Wish::Fetch(self.first + self.loaded + place, needed))
    }

    /// Media up to a place in `loads`.
    fn ahead(&self, place: usize) -> Duration {
        self.buffered() + self.stream.segment * place as u32
    }

    /// When the segment after those in `loads` is to be asked for, if nothing happens before.
    fn next_wanted(&self, now: Timestamp) -> Option<Timestamp> {
        let (place, position) = (self.loads.len(), self.first + self.loaded + self.loads.len());
        let most = if self.has_started() { self.spec.ahead } else { 0 };
        if place > most || position >= self.stream.segments {
            return None;
        }
        let ahead = self.ahead(place) - self.position(now);
        let hungry = if ahead < self.spec.buffer {
            now
        } else {
            now + (ahead - self.spec.buffer) + Duration::from_millis(1)
        };
        Some(hungry.max(self.stream.available(position)))
    }

    /// When to ask for wishes again, if nothing happens before.
    pub(crate) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let ahead = self.buffered() - self.position(now);
        let dry = matches!(self.clock, Clock::Playing(..)).then(|| now + ahead).filter(|at| *at > now);
        let loads = self.loads.iter().filter_map(|load| match load {
            Load::Running(_, since) => Some(*since + PATIENCE),
            Load::After(at) => Some(*at),
            Load::Done => None,
        });
        loads.chain(dry).chain(self.next_wanted(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn fetch(number: u64) -> FetchId {
        FetchId::new(number)
    }

    fn player() -> Player {
        let stream = CatalogSpec { segments: 4, ..CatalogSpec::default() };
        Player::new(PlayerSpec { ahead: 0, buffer: Duration::from_secs(4) }, stream, at(0))
    }

    fn load(player: &mut Player, number: u64, from: u64, to: u64) {
        let Some(Wish::Fetch(position, _)) = player.wish(at(from)) else { panic!("nothing wished for") };
        player.requested(position, fetch(number), at(from));
        assert_eq!(player.loaded(fetch(number), at(to)), number == 0);
    }

    #[test]
    fn it_asks_in_order_until_its_buffer_is_full() {
        let mut player = player();
        assert_eq!(player.wish(at(10)), Some(Wish::Fetch(0, at(10))));
        load(&mut player, 0, 10, 100);
        assert_eq!(player.wish(at(100)), Some(Wish::Fetch(1, at(2100))));
        load(&mut player, 1, 100, 200);
        load(&mut player, 2, 200, 300);
        assert_eq!(player.wish(at(300)), None);
        assert_eq!(player.wake(at(300)), Some(at(2101)));
        assert_eq!(player.wish(at(2101)), Some(Wish::Fetch(3, at(6100))));
        assert_eq!((player.stalls, player.retries), (0, 0));
    }

    #[test]
    fn running_dry_is_one_stall_until_the_next_segment() {
        let mut player = player();
        load(&mut player, 0, 0, 0);
        assert!(player.wish(at(0)).is_some());
        player.requested(1, fetch(1), at(0));
        assert_eq!(player.wake(at(0)), Some(at(2000)));
        assert_eq!((player.wish(at(2000)), player.stalls), (None, 1));
        assert_eq!(player.stalled(at(2500)), Duration::from_millis(500), "a stall that lasts counts");
        player.loaded(fetch(1), at(3000));
        assert_eq!((player.stalls, player.stalled(at(9000))), (1, Duration::from_secs(1)));
        assert_eq!(player.position(at(3500)), Duration::from_millis(2500));
    }

    #[test]
    fn the_end_of_the_stream_is_no_stall() {
        let mut player = player();
        let times = [(0, 0, 0), (1, 0, 0), (2, 100, 100), (3, 3000, 3000)];
        times.into_iter().for_each(|(number, from, to)| load(&mut player, number, from, to));
        assert!(!player.has_played_all(at(7999)));
        assert!(player.has_played_all(at(8000)));
        assert_eq!((player.wish(at(9000)), player.stalls), (None, 0));
    }

    #[test]
    fn live_it_starts_behind_the_newest_segment_and_waits_for_the_next() {
        let stream = CatalogSpec { live: true, ..CatalogSpec::default() };
        assert_eq!(Player::new(PlayerSpec::default(), stream, at(3_000)).first, 0);
        let mut player = Player::new(PlayerSpec::default(), stream, at(10_500));
        for (number, position) in [(0, 2), (1, 3), (2, 4)] {
            let wish = player.wish(at(10_500));
            assert!(matches!(wish, Some(Wish::Fetch(asked, _)) if asked == position), "{wish:?}");
            player.requested(position, fetch(number), at(10_500));
            player.loaded(fetch(number), at(10_500));
        }
        assert_eq!((player.wish(at(10_600)), player.wake(at(10_600))), (None, Some(at(12_000))));
        assert_eq!(player.wish(at(12_000)), Some(Wish::Fetch(5, at(16_500))));
    }

    #[test]
    fn once_it_plays_it_asks_ahead_and_plays_in_order() {
        let stream = CatalogSpec { segments: 4, ..CatalogSpec::default() };
        let mut player = Player::new(PlayerSpec { ahead: 2, ..PlayerSpec::default() }, stream, at(0));
        load(&mut player, 0, 0, 0);
        for position in 1..=3 {
            let needed = at(2000 * position as u64);
            assert_eq!(player.wish(at(0)), Some(Wish::Fetch(position, needed)));
            player.requested(position, fetch(position as u64), at(0));
        }
        assert_eq!(player.wish(at(0)), None);
        player.loaded(fetch(2), at(100));
        assert_eq!((player.loaded, player.wish(at(100))), (1, None));
        player.loaded(fetch(1), at(200));
        assert_eq!(player.loaded, 3);
    }

    #[test]
    fn what_failed_or_hangs_is_asked_again() {
        let mut player = player();
        player.wish(at(0));
        player.requested(0, fetch(0), at(0));
        player.failed(fetch(0), at(50));
        assert_eq!((player.wish(at(500)), player.wake(at(500))), (None, Some(at(1050))));
        assert_eq!(player.wish(at(1050)), Some(Wish::Fetch(0, at(1050))));
        player.requested(0, fetch(1), at(1050));
        assert_eq!(player.wish(at(21_050)), Some(Wish::Cancel(fetch(1))));
        assert_eq!(player.retries, 2);
    }
}
