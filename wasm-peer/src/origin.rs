//! Requests to the origin: the page's side makes them, the body is read here as it comes.

use js_sys::Uint8Array;
use litemap::LiteMap;
use tabswarm_core::{
    id::{FetchId, OriginRequestId},
    node::OriginHead,
    units::ByteRange,
};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, ReadableStreamDefaultReader, Response, ResponseType};

use crate::{
    content_range,
    hooks::{Callbacks, Hooks, Kind},
};

#[wasm_bindgen]
extern "C" {
    /// What a reader gives: `{ done, value }`.
    type Chunk;
    #[wasm_bindgen(method, getter)]
    fn done(this: &Chunk) -> bool;
    #[wasm_bindgen(method, getter)]
    fn value(this: &Chunk) -> Uint8Array;
}

/// Longest sidecar that is read as a whole, from an origin that serves no ranges.
const MAX_WHOLE_SIDECAR: u64 = 4 << 20;

/// What a request is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// A segment, for this fetch.
    Segment(FetchId),
    /// A part of a sidecar.
    Sidecar(ByteRange),
}

struct Request {
    purpose: Purpose,
    ranged: bool,
    abort: AbortController,
    /// HTTP status, once it is known.
    status: u16,
    reader: Option<ReadableStreamDefaultReader>,
}

/// What a chunk of a body is.
pub(crate) enum Read {
    /// Bytes.
    Bytes(Uint8Array),
    /// The end.
    End,
}

/// See the module documentation.
pub(crate) struct Origins {
    callbacks: Callbacks,
    requests: LiteMap<OriginRequestId, Request>,
}

impl Origins {
    pub(crate) fn new(callbacks: Callbacks) -> Self {
        Self { callbacks, requests: LiteMap::new() }
    }

    /// Requests a segment or a part of one. Fails where there is no AbortController.
    pub(crate) fn fetch(
        &mut self,
        id: OriginRequestId,
        fetch: FetchId,
        range: Option<ByteRange>,
        fresh: bool,
        hooks: &Hooks,
    ) -> Result<(), JsValue> {
        let abort = AbortController::new()?;
        let promise = hooks.request(fetch.value() as f64, range.map(range_header), fresh, &abort);
        self.callbacks.settle(&promise, Kind::OriginHead, Kind::OriginFailed, id.value());
        self.insert(id, Purpose::Segment(fetch), range.is_some(), abort);
        Ok(())
    }

    /// Requests a part of a sidecar.
    pub(crate) fn fetch_sidecar(
        &mut self,
        id: OriginRequestId,
        stream: f64,
        path: &str,
        range: ByteRange,
        hooks: &Hooks,
    ) -> Result<(), JsValue> {
        let abort = AbortController::new()?;
        let promise = hooks.request_sidecar(stream, path, &range_header(range), &abort);
        self.callbacks.settle(&promise, Kind::OriginHead, Kind::OriginFailed, id.value());
        self.insert(id, Purpose::Sidecar(range), true, abort);
        Ok(())
    }

    fn insert(&mut self, id: OriginRequestId, purpose: Purpose, ranged: bool, abort: AbortController) {
        self.requests.insert(id, Request { purpose, ranged, abort, status: 0, reader: None });
    }

    pub(crate) fn purpose(&self, id: OriginRequestId) -> Option<Purpose> {
        self.requests.get(&id).map(|request| request.purpose)
    }

    /// Takes the head of an answer.
    pub(crate) fn head(&mut self, id: OriginRequestId, response: &Response) -> Option<OriginHead> {
        let request = self.requests.get_mut(&id)?;
        let head = read_head(response, request.ranged);
        request.status = head.status;
        Some(head)
    }

    /// Starts to read a body in parts; returns whether there is one.
    pub(crate) fn read_parts(&mut self, id: OriginRequestId, response: &Response) -> bool {
        let Some(request) = self.requests.get_mut(&id) else { return false };
        let Some(body) = response.body() else { return false };
        request.reader = Some(body.get_reader().unchecked_into());
        self.read_next(id);
        true
    }

    /// Reads the next part of a body.
    pub(crate) fn read_next(&self, id: OriginRequestId) {
        let reader = self.requests.get(&id).and_then(|request| request.reader.as_ref());
        if let Some(reader) = reader {
            self.callbacks.settle(&reader.read(), Kind::OriginChunk, Kind::OriginFailed, id.value());
        }
    }

    /// Starts to read a sidecar's body as a whole; returns whether that can be right.
    pub(crate) fn read_sidecar(&self, id: OriginRequestId, response: &Response, head: OriginHead) -> bool {
        let usable = match head.status {
            206 => true,
            200 => head.len.is_some_and(|len| len <= MAX_WHOLE_SIDECAR),
            _ => false,
        };
        let Some(body) = response.array_buffer().ok().filter(|_| usable) else { return false };
        self.callbacks.settle(&body, Kind::SidecarBody, Kind::OriginFailed, id.value());
        true
    }

    /// The wanted bytes of a sidecar, or as many as there are, from a body that is those bytes or, if the origin serves no ranges, the
    /// whole file.
    pub(crate) fn sidecar_part(&self, id: OriginRequestId, body: &Uint8Array) -> Option<Vec<u8>> {
        let request = self.requests.get(&id)?;
        let Purpose::Sidecar(range) = request.purpose else { return None };
        let len = u64::from(body.length());
        match request.status {
            206 if len <= range.len() => Some(body.to_vec()),
            200 if len > range.start() => {
                Some(body.subarray(range.start() as u32, range.end().min(len) as u32).to_vec())
            }
            _ => None,
        }
    }

    /// Forgets a request that is over.
    pub(crate) fn remove(&mut self, id: OriginRequestId) -> Option<Purpose> {
        self.requests.remove(&id).map(|request| request.purpose)
    }

    /// Gives a request up, and what is left of its body.
    pub(crate) fn abort(&mut self, id: OriginRequestId) -> Option<Purpose> {
        let request = self.requests.remove(&id)?;
        request.abort.abort();
        Some(request.purpose)
    }

    /// Gives everything up.
    pub(crate) fn abort_all(&mut self) {
        for request in std::mem::take(&mut self.requests).into_iter().map(|(_, value)| value) {
            request.abort.abort();
        }
    }
}

/// What a reader gave.
pub(crate) fn read_chunk(value: JsValue) -> Read {
    let chunk: Chunk = value.unchecked_into();
    if chunk.done() { Read::End } else { Read::Bytes(chunk.value()) }
}

fn range_header(range: ByteRange) -> String {
    let mut header = String::from("bytes=");
    header.push_str(&range.start().to_string());
    header.push('-');
    header.push_str(&(range.end() - 1).to_string());
    header
}

fn read_head(response: &Response, ranged: bool) -> OriginHead {
    let headers = response.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let status = response.status();
    let part = header("content-range").and_then(|value| content_range::parse(&value));
    let start = if status == 206 { part.map(|(start, _)| start) } else { Some(0) };
    // A cross-origin answer hides its content coding, and with it whether Content-Length is that of the body; a request
    // with a range goes out with `Accept-Encoding: identity` (Fetch §4.6).
    let coded = header("content-encoding").is_some_and(|coding| coding != "identity");
    let told = !coded && (ranged || response.type_() == ResponseType::Basic);
    let len = header("content-length").filter(|_| told).and_then(|len| len.parse().ok());
    OriginHead { status, start, len }
}

#[cfg(all(test, target_arch = "wasm32"))]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use web_sys::{Headers, ResponseInit};

    use super::*;

    fn head(status: u16, ranged: bool, headers: &[(&str, &str)]) -> OriginHead {
        let list = Headers::new().expect("headers can be made");
        for (name, value) in headers {
            list.set(name, value).expect("the header is valid");
        }
        let init = ResponseInit::new();
        init.set_status(status);
        init.set_headers(&list);
        let response = Response::new_with_opt_str_and_init(None, &init).expect("the status is valid");
        read_head(&response, ranged)
    }

    #[test]
    fn a_part_starts_where_its_header_says() {
        let headers = [("content-range", "bytes 500-999/4000"), ("content-length", "500")];
        assert_eq!(head(206, true, &headers), OriginHead { status: 206, start: Some(500), len: Some(500) });
        assert_eq!(head(206, true, &headers[1..]), OriginHead { status: 206, start: None, len: Some(500) });
    }

    #[test]
    fn a_whole_answer_starts_at_its_beginning() {
        let headers = [("content-range", "bytes 500-999/4000"), ("content-length", "4000")];
        assert_eq!(head(200, true, &headers), OriginHead { status: 200, start: Some(0), len: Some(4000) });
        assert_eq!(head(404, false, &[]), OriginHead { status: 404, start: Some(0), len: None });
    }

    #[test]
    fn a_length_that_may_be_that_of_coded_bytes_is_not_told() {
        let headers = [("content-length", "4000"), ("content-encoding", "gzip")];
        assert_eq!(head(200, true, &headers).len, None);
        assert_eq!(head(200, false, &headers[..1]).len, None);
    }

    #[test]
    fn a_range_ends_with_its_last_byte() {
        let range = ByteRange::new(16_384, 32_768).expect("not empty");
        assert_eq!(range_header(range), "bytes=16384-32767");
    }
}
