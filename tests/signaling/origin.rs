//! An origin that counts and records every request, and misbehaves by path.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE},
    },
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::harness::LIMIT;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Logged {
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
}

struct Inner {
    log: watch::Sender<Vec<Logged>>,
    /// `/show/gated…` is answered, and the last byte of `/show/last-gated…` leaves, once this is true.
    gate: watch::Sender<bool>,
    /// Where `/show/redirect-out` leads.
    elsewhere: Mutex<String>,
}

/// A running origin.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

/// The bytes of a file: any length, different from file to file.
pub fn content(path: &str, len: usize) -> Vec<u8> {
    let seed = path.bytes().fold(17_u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    (0..len as u32).map(|index| (index.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Length of the files that are served well.
pub const FILE_LEN: usize = 100_000;

impl Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the socket has an address");
        let inner = Inner {
            log: watch::Sender::default(),
            gate: watch::Sender::new(false),
            elsewhere: Mutex::default(),
        };
        let origin = Self { address, inner: Arc::new(inner) };
        let app = Router::new().fallback(serve).with_state(origin.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        origin
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> Vec<Logged> {
        self.inner.log.borrow().clone()
    }

    /// Requests for a path.
    pub fn requests(&self, path: &str) -> usize {
        self.log().iter().filter(|logged| logged.path == path).count()
    }

    /// Waits until a path was requested.
    pub async fn until_requested(&self, path: &str) {
        let mut log = self.inner.log.subscribe();
        let requested = log.wait_for(|log| log.iter().any(|logged| logged.path == path));
        timeout(LIMIT, requested).await.expect("the request comes").expect("the origin lives");
    }

    pub fn open_gate(&self) {
        self.inner.gate.send_replace(true);
    }

    pub fn redirect_to(&self, url: String) {
        *self.inner.elsewhere.lock().expect("no handler panics") = url;
    }
}

async fn serve(State(origin): State<Origin>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(str::to_owned);
    let logged = Logged { path: path.clone(), query, headers: request.headers().clone() };
    origin.inner.log.send_modify(|log| log.push(logged));
    let name = path.rsplit('/').next().unwrap_or_default();
    let kind = name.split('.').next().unwrap_or_default();
    match kind {
        "gated" => {
            let mut gate = origin.inner.gate.subscribe();
            let _ = gate.wait_for(|open| *open).await;
            content(&path, FILE_LEN).into_response()
        }
        "missing" => StatusCode::NOT_FOUND.into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "denied" => (StatusCode::FORBIDDEN, content(&path, 10)).into_response(),
        "empty" => Vec::new().into_response(),
        "slow" => std::future::pending().await,
        "stalled" => {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[1; 1000]))]);
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
        "short" => {
            let body =
                Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(content(&path, 500)))]));
            ([(CONTENT_LENGTH, "1000")], body).into_response()
        }
        "packed" => ([(CONTENT_ENCODING, "gzip")], content(&path, 10)).into_response(),
        "huge" => {
            let chunk = Bytes::from(vec![0; 1024 * 1024]);
            let chunks = stream::iter((0..17).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
            Body::from_stream(chunks).into_response()
        }
        "last-gated" => {
            let bytes = Bytes::from(content(&path, FILE_LEN));
            let last = bytes.slice(FILE_LEN - 1..);
            let mut gate = origin.inner.gate.subscribe();
            let gated = stream::once(async move {
                let _ = gate.wait_for(|open| *open).await;
                Ok::<_, std::io::Error>(last)
            });
            let first = stream::iter([Ok(bytes.slice(..FILE_LEN - 1))]);
            Body::from_stream(first.chain(gated)).into_response()
        }
        "redirect-out" => {
            let to = origin.inner.elsewhere.lock().expect("no handler panics").clone();
            (StatusCode::FOUND, [(LOCATION, to)]).into_response()
        }
        "redirect-in" => (StatusCode::FOUND, [(LOCATION, "/moved/1.m4s")]).into_response(),
        "redirect-loop" => (StatusCode::FOUND, [(LOCATION, path)]).into_response(),
        "whole" => content(&path, FILE_LEN).into_response(),
        "shifted" => {
            let range = [(CONTENT_RANGE, "bytes 0-999/100000")];
            (StatusCode::PARTIAL_CONTENT, range, content(&path, 1000)).into_response()
        }
        _ => ranged(&path, request.headers()),
    }
}

fn ranged(path: &str, headers: &HeaderMap) -> Response {
    let bytes = content(path, FILE_LEN);
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return bytes.into_response();
    };
    let (first, last): (usize, usize) =
        (first.parse().expect("a first byte"), last.parse().expect("a last byte"));
    if first >= bytes.len() {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let last = last.min(bytes.len() - 1);
    let header = format!("bytes {first}-{last}/{}", bytes.len());
    (StatusCode::PARTIAL_CONTENT, [(CONTENT_RANGE, header)], bytes[first..=last].to_vec()).into_response()
}
