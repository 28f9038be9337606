//! One WebSocket: handshake, reading, writing, pings, and how it ends.
//!
//! One task a connection. It reads and writes in turn, and no write waits for a peer longer than the limit.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Bytes,
    extract::ws::{CloseFrame, Message, WebSocket, close_code},
};
use futures_util::SinkExt;
use tabswarm_core::wire::{Frames, GoawayReason, ServiceMessage, frames};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::debug;

use crate::{
    groups::Locality,
    limits::{BYTES_PER_UNIT, Limits},
    outbox::{Close, Outbox, OutboxReader, outbox},
    rate::Bucket,
    service::{OpenConnection, Service, Stopping, count, random},
    session::{Session, read_hello},
};

/// How long a peer that was sent away gets to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages that are read and dropped meanwhile.
const FAREWELL_MESSAGES: usize = 1_000;

/// An alarm this much after its time was not waited for: the process stood still, and the peer may have spoken meanwhile.
const LATE_ALARM: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The service ends it.
    Close(Close),
    /// The peer closed it, or the socket broke.
    Gone,
    /// Nothing came for too long.
    Silent,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// Serves one connection to its end.
pub(crate) async fn run(service: Service, socket: WebSocket, remote: SocketAddr, from: Locality) {
    let (outbox, reader) = outbox(&service.shared().limits);
    let stopping = service.stopping();
    let (messages, pulse) = (Bucket::default(), Pulse::new(&service.shared().limits, Instant::now()));
    let blocked = service.blocked();
    let mut connection = Connection { service, socket, reader, stopping, blocked, messages, pulse };
    let end = connection.serve(outbox, from).await;
    debug!(%remote, ?end, "connection ends");
    connection.finish(end).await;
}

/// Waits for a write, but not longer than the limit nor past the reason to close.
async fn bounded(
    writing: impl Future<Output = Result<(), axum::Error>>,
    limit: Duration,
    closed: impl Future<Output = Close>,
) -> Result<(), End> {
    tokio::select! {
        written = timeout(limit, writing) => match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(Close::SlowReader.into()),
        },
        close = closed => Err(close.into()),
    }
}

/// What a connection waits for.
enum Event {
    Alarm,
    Blocked,
    Came(Option<Result<Message, axum::Error>>),
    End(End),
    Queued(Bytes),
}

struct Connection {
    service: Service,
    socket: WebSocket,
    reader: OutboxReader,
    stopping: Stopping,
    blocked: watch::Receiver<Option<Bytes>>,
    messages: Bucket,
    pulse: Pulse,
}

/// Whether the peer is alive: when to ping it, and when it has been silent for too long.
#[derive(Debug)]
struct Pulse {
    ping_interval: Duration,
    silence: Duration,
    /// What was heard last, or the time from which on silence counts.
    heard: Instant,
    pinged: Instant,
}

impl Pulse {
    fn new(limits: &Limits, now: Instant) -> Self {
        Self { ping_interval: limits.ping_interval, silence: limits.silence, heard: now, pinged: now }
    }

    fn alarm(&self) -> Instant {
        (self.heard + self.silence).min(self.pinged + self.ping_interval)
    }

    /// To be called at the alarm: a ping is due, or the peer is gone.
    fn beat(&mut self, now: Instant) -> Result<(), End> {
        if now >= self.alarm() + LATE_ALARM {
            self.heard = now;
        }
        if now >= self.heard + self.silence {
            return Err(End::Silent);
        }
        self.pinged = now;
        Ok(())
    }
}

impl Connection {
    async fn serve(&mut self, outbox: Outbox, from: Locality) -> End {
        let service = self.service.clone();
        let open = match service.open(from) {
            Ok(open) => open,
            Err(overloaded) => return overloaded.into(),
        };
        match self.greet(&open, outbox).await {
            Ok(session) => self.converse(session).await,
            Err(end) => end,
        }
    }

    /// Challenge, hello, welcome; the rest of the first message is served too.
    async fn greet(&mut self, open: &OpenConnection, outbox: Outbox) -> Result<Session, End> {
        let deadline = Instant::now() + self.service.shared().limits.hello_timeout;
        let challenge = random::<32>().map_err(|_| End::Gone)?;
        self.write(ServiceMessage::Challenge(challenge).to_bytes().into()).await?;
        let first = timeout_at(deadline, self.read()).await.map_err(|_| End::Silent)??;
        let mut frames = frames(&first);
        let hello = read_hello(&mut frames).ok_or(Close::MISBEHAVIOUR)?;
        let mut session = Session::admit(&self.service, &hello, &challenge, open.from, outbox.clone())?;
        if let Some(blocked) = self.blocked.borrow_and_update().clone() {
            // Behind the welcome, and before anything a peer could do with what is blocked.
            outbox.send_bytes(blocked);
        }
        self.handle(&mut session, frames)?;
        Ok(session)
    }

    async fn converse(&mut self, mut session: Session) -> End {
        loop {
            match self.step(&mut session).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn step(&mut self, session: &mut Session) -> Result<(), End> {
        let event = tokio::select! {
            () = self.stopping.wait() => Event::End(Close::SHUTDOWN.into()),
            queued = self.reader.next() => match queued {
                Ok(bytes) => Event::Queued(bytes),
                Err(close) => Event::End(close.into()),
            },
            message = self.socket.recv() => Event::Came(message),
            Ok(()) = self.blocked.changed() => Event::Blocked,
            () = sleep_until(self.pulse.alarm()) => Event::Alarm,
        };
        match event {
            Event::End(end) => Err(end),
            Event::Queued(bytes) => self.write(bytes).await,
            Event::Blocked => {
                let blocked = self.blocked.borrow_and_update().clone();
                self.write(blocked.unwrap_or_default()).await
            }
            Event::Came(message) => match self.accept(message)? {
                Some(bytes) => self.handle(session, frames(&bytes)),
                None => Ok(()),
            },
            Event::Alarm => {
                self.pulse.beat(Instant::now())?;
                self.write_ping().await
            }
        }
    }

    /// The next binary message.
    async fn read(&mut self) -> Result<Bytes, End> {
        loop {
            let message = tokio::select! {
                () = self.stopping.wait() => return Err(Close::SHUTDOWN.into()),
                message = self.socket.recv() => message,
            };
            if let Some(bytes) = self.accept(message)? {
                return Ok(bytes);
            }
        }
    }

    /// Charges for what came; `None` for a ping or pong.
    fn accept(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<Option<Bytes>, End> {
        // An error is a broken socket, or a frame that breaks RFC 6455 or the length limit: the goodbye is best effort.
        let message = message.ok_or(End::Gone)?.map_err(|_| Close::MISBEHAVIOUR)?;
        self.pulse.heard = Instant::now();
        let bytes = match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Ping(_) | Message::Pong(_) => None,
            Message::Text(_) => return Err(Close::MISBEHAVIOUR.into()),
            Message::Close(_) => return Err(End::Gone),
        };
        self.charge(1 + bytes.as_ref().map_or(0, Bytes::len) / BYTES_PER_UNIT)?;
        Ok(bytes)
    }

    fn charge(&mut self, units: usize) -> Result<(), End> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let rate = &self.service.shared().limits.messages;
        let taken = self.messages.take(rate, units, self.service.now());
        taken.map_err(|_| Close::MISBEHAVIOUR.into())
    }

    fn handle(&mut self, session: &mut Session, frames: Frames<'_>) -> Result<(), End> {
        for frame in frames {
            self.charge(1)?;
            let frame = frame.map_err(|_| Close::MISBEHAVIOUR)?;
            session.handle(&frame)?;
        }
        Ok(())
    }

    async fn write_ping(&mut self) -> Result<(), End> {
        let ping = self.socket.send(Message::Ping(Bytes::new()));
        bounded(ping, self.service.shared().limits.write_timeout, self.reader.watch()).await
    }

    /// Writes a message and whatever waits behind it, then flushes once.
    async fn write(&mut self, first: Bytes) -> Result<(), End> {
        let closed = self.reader.watch();
        let (socket, reader) = (&mut self.socket, &mut self.reader);
        let writing = async {
            let mut next = Some(first);
            while let Some(bytes) = next {
                socket.feed(Message::Binary(bytes)).await?;
                next = reader.try_next();
            }
            socket.flush().await
        };
        bounded(writing, self.service.shared().limits.write_timeout, closed).await
    }

    async fn finish(mut self, end: End) {
        let (reason, retry_after_secs) = match end {
            End::Close(Close::Goaway { reason, retry_after_secs }) => (reason, retry_after_secs),
            End::Gone => {
                // Reading once more writes the answer to a close frame, without which a browser reports a failure.
                let _ = timeout(FAREWELL, self.socket.recv()).await;
                return;
            }
            End::Close(Close::SlowReader) | End::Silent => return,
        };
        if !matches!(reason, GoawayReason::Replaced | GoawayReason::Shutdown) {
            count(&self.service.shared().counters.connections_refused);
        }
        let goaway = ServiceMessage::Goaway { reason, retry_after_secs }.to_bytes();
        let farewell = async {
            self.socket.feed(Message::Binary(goaway.into())).await?;
            let code = close_code::NORMAL;
            self.socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await?;
            // Closing a socket with unread input resets it, and the peer would never read why.
            for _ in 0..FAREWELL_MESSAGES {
                match self.socket.recv().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
            Ok::<(), axum::Error>(())
        };
        let told = timeout(FAREWELL, farewell).await;
        debug!(?reason, told = matches!(told, Ok(Ok(()))), "peer was sent away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the alarm goes off on time until the peer counts as gone: how many pings, and after how long.
    fn pings_until_silent(pulse: &mut Pulse, start: Instant) -> (u32, Duration) {
        let mut pings = 0;
        loop {
            let now = pulse.alarm();
            if pulse.beat(now).is_err() {
                return (pings, now - start);
            }
            pings += 1;
        }
    }

    #[test]
    fn a_silent_peer_is_pinged_twice_and_gone_after_45_s() {
        let start = Instant::now();
        let mut pulse = Pulse::new(&Limits::default(), start);
        assert_eq!(pings_until_silent(&mut pulse, start), (2, Duration::from_secs(45)));
    }

    #[test]
    fn a_service_that_stood_still_pings_before_it_calls_a_peer_silent() {
        let start = Instant::now();
        let mut pulse = Pulse::new(&Limits::default(), start);
        let woken = start + Duration::from_secs(3600);
        assert_eq!(pulse.beat(woken), Ok(()));
        assert_eq!(pings_until_silent(&mut pulse, woken), (2, Duration::from_secs(45)));
    }
}
