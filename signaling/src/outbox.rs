//! What waits to be written to one connection: bounded, and a reader that falls behind is cut.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Bytes;
use tabswarm_core::wire::{GoawayReason, ServiceMessage};
use tokio::sync::{Notify, mpsc};

use crate::limits::Limits;

/// Why the service ends a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Close {
    /// The peer is told, then the socket closes.
    Goaway { reason: GoawayReason, retry_after_secs: u32 },
    /// The peer does not read: the socket is dropped.
    SlowReader,
}

impl Close {
    pub(crate) const MISBEHAVIOUR: Self =
        Self::Goaway { reason: GoawayReason::Misbehaviour, retry_after_secs: 60 };
    pub(crate) const REPLACED: Self = Self::Goaway { reason: GoawayReason::Replaced, retry_after_secs: 0 };
    pub(crate) const SHUTDOWN: Self = Self::Goaway { reason: GoawayReason::Shutdown, retry_after_secs: 1 };
}

#[derive(Debug)]
struct Shared {
    messages: mpsc::Sender<Bytes>,
    waiting_bytes: AtomicUsize,
    max_bytes: usize,
    close: OnceLock<Close>,
    closed: Notify,
}

/// The writing end; clones are cheap and write to the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Shared>);

/// The connection's end.
#[derive(Debug)]
pub(crate) struct OutboxReader {
    messages: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

pub(crate) fn outbox(limits: &Limits) -> (Outbox, OutboxReader) {
    let (messages, receiver) = mpsc::channel(limits.outbox_messages);
    let shared = Arc::new(Shared {
        messages,
        waiting_bytes: AtomicUsize::new(0),
        max_bytes: limits.outbox_bytes,
        close: OnceLock::new(),
        closed: Notify::new(),
    });
    (Outbox(shared.clone()), OutboxReader { messages: receiver, shared })
}

impl Outbox {
    pub(crate) fn send(&self, message: &ServiceMessage) {
        self.send_bytes(message.to_bytes().into());
    }

    /// Queues an encoded message, or cuts the connection if too much waits already.
    pub(crate) fn send_bytes(&self, bytes: Bytes) {
        let len = bytes.len();
        let waiting = self.0.waiting_bytes.fetch_add(len, Ordering::Relaxed);
        if waiting + len > self.0.max_bytes || self.0.messages.try_send(bytes).is_err() {
            self.0.waiting_bytes.fetch_sub(len, Ordering::Relaxed);
            self.close(Close::SlowReader);
        }
    }

    /// Ends the connection; the first reason counts.
    pub(crate) fn close(&self, close: Close) {
        if self.0.close.set(close).is_ok() {
            self.0.closed.notify_one();
        }
    }
}

impl OutboxReader {
    /// The next message, or why the connection ends. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Close> {
        tokio::select! {
            biased;
            close = closed(&self.shared) => Err(close),
            // The sender lives in `shared`, so the channel never closes while this end exists.
            Some(bytes) = self.messages.recv() => Ok(self.taken(bytes)),
        }
    }

    /// The next message, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<Bytes> {
        let bytes = self.messages.try_recv().ok()?;
        Some(self.taken(bytes))
    }

    /// Waits for the reason to end the connection, without a borrow of the reader.
    pub(crate) fn watch(&self) -> impl Future<Output = Close> + use<> {
        let shared = self.shared.clone();
        async move { closed(&shared).await }
    }

    fn taken(&self, bytes: Bytes) -> Bytes {
        self.shared.waiting_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        bytes
    }
}

async fn closed(shared: &Shared) -> Close {
    loop {
        if let Some(close) = shared.close.get() {
            return *close;
        }
        shared.closed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { outbox_messages: 2, outbox_bytes: 100, ..Limits::default() }
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_cut() {
        let (writer, reader) = outbox(&limits());
        for _ in 0..3 {
            writer.send(&ServiceMessage::Pong);
        }
        assert_eq!(reader.watch().await, Close::SlowReader);

        let (writer, reader) = outbox(&limits());
        writer.send_bytes(vec![0; 101].into());
        assert_eq!(reader.watch().await, Close::SlowReader);
    }

    #[tokio::test]
    async fn what_was_read_makes_room() {
        let (writer, mut reader) = outbox(&limits());
        for _ in 0..10 {
            writer.send_bytes(vec![0; 90].into());
            assert_eq!(reader.next().await.unwrap().len(), 90);
        }
        assert!(reader.try_next().is_none());
    }

    #[tokio::test]
    async fn the_first_reason_to_close_counts() {
        let (writer, reader) = outbox(&limits());
        writer.close(Close::REPLACED);
        writer.close(Close::SHUTDOWN);
        assert_eq!(reader.watch().await, Close::REPLACED);
    }
}
