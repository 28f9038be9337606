//! HTTP routes of the service.

use std::{net::SocketAddr, sync::atomic::Ordering};

use axum::{
    Json, Router,
    extract::{ConnectInfo, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde::Serialize;
use tabswarm_core::wire::MAX_MESSAGE_LEN;

use crate::{
    connection,
    limits::{MAX_WRITE_BUFFER_LEN, READ_BUFFER_LEN, WRITE_BUFFER_LEN},
    service::Service,
};

/// Path of the WebSocket.
pub const SWARM_PATH: &str = "/swarm";

/// The routes: `/swarm` (WebSocket) and `/healthz`. Serve them with [`crate::serve`], or with another server that
/// gives each request a `ConnectInfo<SocketAddr>`.
pub fn app(service: Service) -> Router {
    Router::new().route(SWARM_PATH, any(swarm)).route("/healthz", get(health)).with_state(service)
}

async fn swarm(
    State(service): State<Service>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(permit) = service.connection_permit() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")]).into_response();
    };
    let from = service.locality(remote.ip(), &headers);
    upgrade
        .max_message_size(MAX_MESSAGE_LEN)
        .max_frame_size(MAX_MESSAGE_LEN)
        .read_buffer_size(READ_BUFFER_LEN)
        .write_buffer_size(WRITE_BUFFER_LEN)
        .max_write_buffer_size(MAX_WRITE_BUFFER_LEN)
        .on_upgrade(move |socket| async move {
            connection::run(service, socket, remote, from).await;
            drop(permit);
        })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    version: &'static str,
    connections: usize,
    swarms: usize,
    introductions_carried: u64,
    introductions_refused: u64,
    connections_refused: u64,
    segments_attested: u64,
    attestations_failed: u64,
}

async fn health(State(service): State<Service>) -> Json<Health> {
    let counters = &service.shared().counters;
    Json(Health {
        version: env!("CARGO_PKG_VERSION"),
        connections: service.connections(),
        swarms: service.swarms(),
        introductions_carried: counters.introductions_carried.load(Ordering::Relaxed),
        introductions_refused: counters.introductions_refused.load(Ordering::Relaxed),
        connections_refused: counters.connections_refused.load(Ordering::Relaxed),
        segments_attested: counters.segments_attested.load(Ordering::Relaxed),
        attestations_failed: counters.attestations_failed.load(Ordering::Relaxed),
    })
}
