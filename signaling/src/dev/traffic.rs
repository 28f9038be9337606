//! What left the sample stream's origin: counted as bytes leave, per path and per viewer, the attestor's requests apart.
//!
//! A viewer is whatever a page puts into the query parameter `viewer`.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{Method, Uri, header::USER_AGENT},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::service::lock;

const COUNTED_PREFIX: &str = "/sample/";

/// Most viewers told apart; the rest count in the total only.
const MAX_VIEWERS: usize = 256;

/// Most paths told apart in a tally.
const MAX_PATHS: usize = 4_096;

/// Most bytes of a viewer's name.
const MAX_VIEWER_LEN: usize = 64;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
struct PathTally {
    requests: u64,
    bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    requests: u64,
    bytes: u64,
    segment_requests: u64,
    segment_bytes: u64,
    paths: BTreeMap<String, PathTally>,
}

impl Tally {
    fn add(&mut self, path: &str, requests: u64, bytes: u64) {
        self.requests += requests;
        self.bytes += bytes;
        if is_segment(path) {
            self.segment_requests += requests;
            self.segment_bytes += bytes;
        }
        if self.paths.len() < MAX_PATHS || self.paths.contains_key(path) {
            let entry = self.paths.entry(path.to_owned()).or_default();
            entry.requests += requests;
            entry.bytes += bytes;
        }
    }
}

/// Everything counted since the start or the last reset.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    /// All requests but the attestor's.
    total: Tally,
    /// The attestor's own requests.
    attestor: Tally,
    /// Those with a `viewer` parameter, by its value.
    viewers: BTreeMap<String, Tally>,
}

fn is_segment(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    !matches!(extension, "m3u8" | "groups" | "tabswarm")
}

#[derive(Debug, Default)]
pub(super) struct Traffic(Mutex<Totals>);

impl Traffic {
    pub(super) fn totals(&self) -> Totals {
        lock(&self.0).clone()
    }

    pub(super) fn reset(&self) {
        *lock(&self.0) = Totals::default();
    }

    fn add(&self, source: &Source, requests: u64, bytes: u64) {
        let mut totals = lock(&self.0);
        if source.attestor {
            totals.attestor.add(&source.path, requests, bytes);
            return;
        }
        totals.total.add(&source.path, requests, bytes);
        let Some(viewer) = &source.viewer else { return };
        if totals.viewers.len() < MAX_VIEWERS || totals.viewers.contains_key(viewer) {
            totals.viewers.entry(viewer.clone()).or_default().add(&source.path, requests, bytes);
        }
    }
}

/// Who asks for what.
#[derive(Debug)]
struct Source {
    path: String,
    viewer: Option<String>,
    attestor: bool,
}

impl Source {
    fn of(request: &Request) -> Option<Self> {
        let uri = request.uri();
        if request.method() != Method::GET || !uri.path().starts_with(COUNTED_PREFIX) {
            return None;
        }
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let attestor = agent == Some(crate::ATTESTOR_USER_AGENT);
        Some(Self { path: uri.path().to_owned(), viewer: viewer(uri), attestor })
    }
}

fn viewer(uri: &Uri) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    let (_, viewer) = pairs.find(|(name, _)| name == "viewer")?;
    (!viewer.is_empty() && viewer.len() <= MAX_VIEWER_LEN).then(|| viewer.into_owned())
}

/// Counts what leaves these routes.
pub(super) fn counted(routes: Router, traffic: Arc<Traffic>) -> Router {
    routes.layer(from_fn_with_state(traffic, count))
}

async fn count(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    let source = Source::of(&request);
    let response = next.run(request).await;
    let Some(source) = source.filter(|_| response.status().is_success()) else { return response };
    traffic.add(&source, 1, 0);
    response.map(|inner| Body::new(CountedBody { inner, source, traffic }))
}

struct CountedBody {
    inner: Body,
    source: Source,
    traffic: Arc<Traffic>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.traffic.add(&self.source, 0, data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, viewer: Option<&str>, attestor: bool) -> Source {
        Source { path: path.to_owned(), viewer: viewer.map(str::to_owned), attestor }
    }

    #[test]
    fn viewers_and_the_attestor_are_counted_apart() {
        let traffic = Traffic::default();
        traffic.add(&source("/sample/1.m4s", Some("a"), false), 1, 100);
        traffic.add(&source("/sample/1.m4s", None, false), 1, 10);
        traffic.add(&source("/sample/master.m3u8", Some("a"), false), 1, 5);
        traffic.add(&source("/sample/1.m4s", None, true), 1, 100);
        let totals = traffic.totals();
        assert_eq!((totals.total.requests, totals.total.bytes), (3, 115));
        assert_eq!((totals.total.segment_requests, totals.total.segment_bytes), (2, 110));
        assert_eq!((totals.viewers["a"].bytes, totals.viewers["a"].segment_bytes), (105, 100));
        assert_eq!(totals.total.paths["/sample/1.m4s"], PathTally { requests: 2, bytes: 110 });
        assert_eq!(totals.attestor.bytes, 100);
        traffic.reset();
        assert_eq!(traffic.totals().total.requests, 0);
    }

    #[test]
    fn the_viewer_is_read_from_the_query() {
        let of = |uri: &str| viewer(&uri.parse().unwrap());
        assert_eq!(of("/sample/1.m4s?token=x&viewer=7%201"), Some("7 1".to_owned()));
        assert_eq!(of("/sample/1.m4s"), None);
        assert_eq!(of("/sample/1.m4s?viewer="), None);
    }
}
