//! A service of its own for each test.

use std::{net::SocketAddr, time::Duration};

use tabswarm_signaling::{Config, Service, StartError, app, serve};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

/// How long a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A directory for the issuer's key that outlives a service.
pub fn state_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// A running service.
pub struct Harness {
    pub address: SocketAddr,
    pub service: Service,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    state: Option<TempDir>,
}

impl Harness {
    /// Starts a service with a new issuer.
    pub async fn start(config: Config) -> Self {
        let state = state_dir();
        let config = Config { state_dir: state.path().to_owned(), ..config };
        let mut harness = Self::start_as_configured(config).await.expect("the service starts");
        harness.state = Some(state);
        harness
    }

    /// Starts a service with the state directory of the configuration.
    pub async fn start_as_configured(config: Config) -> Result<Self, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the socket has an address");
        let service = Service::start(config)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // The sender is dropped with the harness, which stops the service as well.
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, app(service.clone()), service.clone(), stopped));
        Ok(Self { address, service, stop, served, state: None })
    }

    /// Stops the service as SIGTERM does, and waits until it is down.
    pub async fn stop(self) {
        self.stop.send(()).expect("the service still runs");
        timeout(LIMIT, self.served).await.expect("the service ends").expect("the service does not panic");
    }

    /// What `/healthz` says.
    pub async fn health(&self) -> serde_json::Value {
        let url = format!("http://{}/healthz", self.address);
        let response = reqwest_client().get(url).send().await.expect("the service answers");
        assert_eq!(response.status(), 200);
        response.json().await.expect("the answer is JSON")
    }

    /// Waits until `/healthz` says what is wanted.
    pub async fn until_health(&self, wanted: impl Fn(&serde_json::Value) -> bool) {
        let reached = async {
            while !wanted(&self.health().await) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(LIMIT, reached).await.is_err() {
            panic!("the service never got there: {}", self.health().await);
        }
    }
}

/// A client that has a TLS provider and no proxy.
pub fn reqwest_client() -> reqwest::Client {
    // A second call finds the provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client can be made")
}
