//! The development service: one port with the demo, the npm bundle, a sample stream, the swarm's WebSocket and STUN, so
//! that nothing else is needed on a developer's machine. Not for production: it allows every origin and counts in public.

mod files;
mod traffic;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Serialize;
use tabswarm_core::identity::PublicKey;
use tabswarm_turn_config::{IceServers, IceServersError, IceUrlError};
use tokio::net::{TcpListener, UdpSocket};

use crate::{
    AttestOrigin, AttestOriginError, SWARM_PATH, StartError, app, respond_stun, serve,
    service::{Config, Service},
};

use traffic::{Totals, Traffic};

pub use files::DirectoryError;

/// URL path of the sample's master playlist.
pub const SAMPLE_STREAM: &str = "/sample/master.m3u8";

/// Ports that may be taken on UDP before the search for one ends.
const MAX_TAKEN_PORTS: usize = 10;

/// Where a page takes the roots of segments from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootsMode {
    /// From the service.
    #[default]
    Attested,
    /// From an unsigned manifest beside the playlist.
    Origin,
    /// From a manifest signed with the publisher's key.
    Signed,
}

/// What a development service is made of.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// Address for TCP and UDP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The built demo, served at `/`.
    pub demo_dir: PathBuf,
    /// The built npm package, served at `/npm/`.
    pub npm_dir: PathBuf,
    /// The sample stream with `master.m3u8`, served at `/sample/`.
    pub sample_dir: PathBuf,
    /// What the demo's configuration says about roots.
    pub mode: RootsMode,
    /// The publisher's key, needed in [`RootsMode::Signed`].
    pub publisher_key: Option<PublicKey>,
    /// The service. An empty `attest` becomes this server itself; its own STUN responder replaces `ice`.
    pub service: Config,
}

/// Why a development service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The address can't be had.
    #[error("cannot listen on {protocol} {address}: {source}; choose another address with --listen")]
    Bind {
        /// TCP or UDP.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A directory has not what it should.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// `signed` without a key.
    #[error("mode `signed` needs the publisher's key: add --publisher-key with 64 hexadecimal digits")]
    NoPublisherKey,
    /// Its own address does not make an origin.
    #[error(transparent)]
    Origin(#[from] AttestOriginError),
    /// The service does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its own address does not make a STUN URL.
    #[error(transparent)]
    StunUrl(#[from] IceUrlError),
    /// Its STUN server can't be listed.
    #[error(transparent)]
    StunServers(#[from] IceServersError),
}

/// A development service that has its sockets. Run it with [`Dev::run`].
pub struct Dev {
    listener: TcpListener,
    stun: UdpSocket,
    address: SocketAddr,
    app: Router,
    service: Service,
}

impl Dev {
    /// Checks the directories and takes the sockets.
    ///
    /// # Errors
    /// [`DevError`], with what to do about it.
    pub async fn bind(options: DevOptions) -> Result<Self, DevError> {
        if options.mode == RootsMode::Signed && options.publisher_key.is_none() {
            return Err(DevError::NoPublisherKey);
        }
        let files = files::routes(&options)?;
        let (listener, stun, address) = bind_both(options.listen).await?;
        let reachable = SocketAddr::new(reachable(address.ip()), address.port());
        let mut config = options.service;
        config.ice = IceServers::new(vec![format!("stun:{reachable}").parse()?], None)?;
        if config.attest.is_empty() {
            config.attest = vec![AttestOrigin::new("/", &format!("http://{reachable}"), None)?];
            config.allow_private_origin = true;
        }
        let service = Service::start(config)?;
        let traffic = Arc::new(Traffic::default());
        let page = PageConfig {
            mode: options.mode,
            publisher_key: options.publisher_key.map(|key| key.to_string()),
            stream: SAMPLE_STREAM,
            signaling: SWARM_PATH,
        };
        let pages = Router::new()
            .route("/dev/config.json", get(move || async move { Json(page) }))
            .route("/dev/traffic.json", get(read_traffic))
            .route("/dev/traffic/reset", post(reset_traffic))
            .with_state(traffic.clone())
            .merge(files);
        let app = app(service.clone()).merge(files::finish(traffic::counted(pages, traffic)));
        Ok(Self { listener, stun, address: reachable, app, service })
    }

    /// The address to reach it at, for TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The service inside.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Serves until `stop` is ready.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let stun = tokio::spawn(respond_stun(self.stun));
        serve(self.listener, self.app, self.service, stop).await;
        stun.abort();
    }
}

/// Takes one port on TCP and UDP. A port 0 that is free on TCP only is followed by another.
async fn bind_both(listen: SocketAddr) -> Result<(TcpListener, UdpSocket, SocketAddr), DevError> {
    let bind_error = |protocol, address| move |source| DevError::Bind { protocol, address, source };
    let tcp_error = bind_error("TCP", listen);
    // Held, so that the next one is another.
    let mut taken = Vec::new();
    loop {
        let listener = TcpListener::bind(listen).await.map_err(&tcp_error)?;
        let address = listener.local_addr().map_err(&tcp_error)?;
        match UdpSocket::bind(address).await {
            Ok(stun) => return Ok((listener, stun, address)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && listen.port() == 0
                    && taken.len() < MAX_TAKEN_PORTS =>
            {
                taken.push(listener);
            }
            Err(error) => return Err(bind_error("UDP", address)(error)),
        }
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip }
}

/// What the demo page reads first.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageConfig {
    mode: RootsMode,
    publisher_key: Option<String>,
    stream: &'static str,
    signaling: &'static str,
}

async fn read_traffic(State(traffic): State<Arc<Traffic>>) -> Json<Totals> {
    Json(traffic.totals())
}

async fn reset_traffic(State(traffic): State<Arc<Traffic>>) -> StatusCode {
    traffic.reset();
    StatusCode::NO_CONTENT
}
