//! The origin: an HTTP server with a delay, a rate and faults, which counts every byte it sends.
//!
//! A response is sent in pieces, a few of them unacknowledged at a time, so that a slow reader slows its own response down
//! and a fast one can't fill the reader's line.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use tabswarm_core::{id::OriginRequestId, node::OriginHead, time::Timestamp, units::ByteRange};

use super::{
    bytes::{Body, FileId},
    catalog::Catalog,
    host::{Happening, HostId},
    network::Pipe,
    world::{Event, World},
};

/// Bytes of one piece of a response.
const PIECE: u64 = 32 * 1024;
/// Pieces on their way to a reader.
const WINDOW: u32 = 8;
/// Bytes of a response's head.
const HEAD: u64 = 400;

/// How the origin serves.
#[derive(Clone, Debug)]
pub struct OriginSpec {
    /// Bytes per second of one response.
    pub connection_rate: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Time from a request's arrival to the first byte.
    pub first_byte: Duration,
    /// Bytes per second of all responses.
    pub rate: u64,
}

impl Default for OriginSpec {
    /// A CDN: 1 Gbit/s, 100 Mbit/s a response, 20 ms.
    fn default() -> Self {
        Self {
            connection_rate: 100_000_000 / 8,
            faults: Vec::new(),
            first_byte: Duration::from_millis(20),
            rate: 1_000_000_000 / 8,
        }
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    /// From when to when.
    pub during: Range<Duration>,
    /// Positions of the segments that are hit.
    pub segments: Range<usize>,
    /// What happens.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of every segment, all the time.
    pub fn always(kind: FaultKind) -> Self {
        Self { during: Duration::ZERO..Duration::MAX, segments: 0..usize::MAX, kind }
    }
}

/// What goes wrong with a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// The body breaks off half-way.
    Breaks,
    /// A bit of every piece is flipped.
    Corrupt,
    /// No answer at all.
    Hangs,
    /// Range requests get the whole file, with status 200.
    IgnoresRange,
    /// The connection is refused.
    Refuses,
    /// The body ends half-way as if it were complete.
    Short,
    /// The body comes at so many bytes per second.
    Slow(u64),
    /// The body stops half-way and never goes on.
    Stalls,
    /// An error status.
    Status(u16),
}

/// What reaches the origin.
#[derive(Debug)]
pub(crate) enum Arrival {
    Abort,
    /// A piece was read.
    Read,
    Request {
        segment: usize,
        range: Option<ByteRange>,
    },
    Sidecar {
        path: String,
        range: ByteRange,
    },
}

/// How a response ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Breaks,
    Complete,
    Never,
}

#[derive(Debug)]
struct Response {
    segment: usize,
    file: FileId,
    next: u64,
    end: u64,
    ending: Ending,
    corrupt: bool,
    pace: Pipe,
    unread: u32,
}

/// The running origin.
pub(crate) struct Origin {
    spec: OriginSpec,
    line: Pipe,
    responses: BTreeMap<(HostId, OriginRequestId), Response>,
    /// Bytes sent of each segment.
    pub(crate) served: Vec<u64>,
    /// Those of them that went to viewers who had nothing to play yet.
    pub(crate) served_newcomers: Vec<u64>,
    pub(crate) requests: u64,
    pub(crate) sidecar_bytes: u64,
}

impl Origin {
    pub(crate) fn new(spec: OriginSpec, catalog: &Catalog) -> Self {
        Self {
            line: Pipe::new(spec.rate),
            responses: BTreeMap::new(),
            served: vec![0; catalog.segments.len()],
            served_newcomers: vec![0; catalog.segments.len()],
            requests: 0,
            sidecar_bytes: 0,
            spec,
        }
    }

    fn fault(&self, position: usize, now: Timestamp) -> Option<FaultKind> {
        let now = now.saturating_since(Timestamp::default());
        let hits = |fault: &&Fault| fault.during.contains(&now) && fault.segments.contains(&position);
        self.spec.faults.iter().find(hits).map(|fault| fault.kind)
    }
}

impl World {
    /// Sends something to the origin, which arrives a delay later.
    pub(crate) fn ask_origin(&mut self, host: HostId, request: OriginRequestId, arrival: Arrival) {
        let at = self.now() + self.origin_delay(host);
        self.queue.push(at, Event::Origin(host, request, arrival));
    }

    pub(crate) fn at_origin(&mut self, host: HostId, request: OriginRequestId, arrival: Arrival) {
        match arrival {
            Arrival::Abort => {
                self.origin.responses.remove(&(host, request));
            }
            Arrival::Read => {
                if let Some(response) = self.origin.responses.get_mut(&(host, request)) {
                    response.unread -= 1;
                }
                self.pump(host, request);
            }
            Arrival::Request { segment, range } => self.respond(host, request, segment, range),
            Arrival::Sidecar { path, range } => {
                let body = self.catalog.sidecar(&path, range).map(<[u8]>::to_vec);
                let size = body.as_ref().map_or(HEAD, |body| HEAD + body.len() as u64);
                self.origin.sidecar_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
                let at = self.now() + self.origin.spec.first_byte + self.origin_delay(host);
                self.queue.push(at, Event::Arrive(host, size, Happening::Sidecar(request, body)));
            }
        }
    }

    fn respond(&mut self, host: HostId, request: OriginRequestId, index: usize, range: Option<ByteRange>) {
        self.origin.requests += 1;
        let fault = self.origin.fault(self.catalog.position(index), self.now());
        let file = self.catalog.segments[index].file;
        let whole = self.catalog.library.len(file);
        let range = range.filter(|_| fault != Some(FaultKind::IgnoresRange));
        let (start, end) = range.map_or((0, whole), |range| (range.start(), range.end().min(whole)));
        let status = match fault {
            Some(FaultKind::Hangs) => return,
            Some(FaultKind::Refuses) => {
                let at = self.now() + self.origin_delay(host);
                self.queue.push(at, Event::Arrive(host, HEAD, Happening::OriginFailed(request)));
                return;
            }
            Some(FaultKind::Status(status)) => status,
            _ if range.is_some() => 206,
            _ => 200,
        };
        let head = OriginHead { status, start: range.map(|range| range.start()), len: Some(end - start) };
        let at = self.now() + self.origin.spec.first_byte;
        let arrives = self.origin.line.push(HEAD, at) + self.origin_delay(host);
        self.queue.push(arrives, Event::Arrive(host, HEAD, Happening::OriginHead(request, head)));
        if matches!(fault, Some(FaultKind::Status(_))) {
            return;
        }
        let half = start + (end - start) / 2;
        let (end, ending) = match fault {
            Some(FaultKind::Breaks) => (half, Ending::Breaks),
            Some(FaultKind::Short) => (half, Ending::Complete),
            Some(FaultKind::Stalls) => (half, Ending::Never),
            _ => (end, Ending::Complete),
        };
        let rate = match fault {
            Some(FaultKind::Slow(rate)) => rate,
            _ => self.origin.spec.connection_rate,
        };
        let mut pace = Pipe::new(rate);
        pace.push(0, at);
        let corrupt = fault == Some(FaultKind::Corrupt);
        let response = Response { segment: index, file, next: start, end, ending, corrupt, pace, unread: 0 };
        self.origin.responses.insert((host, request), response);
        self.pump(host, request);
    }

    /// Sends what the reader's window allows.
    fn pump(&mut self, host: HostId, request: OriginRequestId) {
        let (now, delay) = (self.now(), self.origin_delay(host));
        let is_new = self.hosts.get(&host).is_some_and(|host| host.log.started_at.is_none());
        let Some(response) = self.origin.responses.get_mut(&(host, request)) else { return };
        while response.unread < WINDOW && response.next < response.end {
            let len = PIECE.min(response.end - response.next);
            let part = Body::Part { file: response.file, start: response.next, len };
            let body = if response.corrupt {
                let mut bytes = Vec::new();
                self.catalog.library.append(&part, &mut bytes);
                bytes[len as usize / 2] ^= 1;
                Body::raw(bytes)
            } else {
                part
            };
            response.next += len;
            response.unread += 1;
            self.origin.served[response.segment] += len;
            self.origin.served_newcomers[response.segment] += if is_new { len } else { 0 };
            let sent = response.pace.push(len, now).max(self.origin.line.push(len, now));
            self.queue.push(sent + delay, Event::Arrive(host, len, Happening::OriginBytes(request, body)));
            if response.next < response.end {
                continue;
            }
            let ending = match response.ending {
                Ending::Never => return,
                Ending::Breaks => Happening::OriginFailed(request),
                Ending::Complete => Happening::OriginEnd(request),
            };
            self.queue.push(sent + delay, Event::Arrive(host, 0, ending));
            self.origin.responses.remove(&(host, request));
            return;
        }
    }
}
