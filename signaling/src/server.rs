//! The accept loop: HTTP/1.1 with bounded sockets, heads and waits, and a clean end.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{limits::MAX_REQUEST_HEAD_LEN, service::Service};

/// How long a client may take over a request's head, or keep an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` until `stop` is ready, then says goodbye to all peers and waits for them to close.
pub async fn serve(listener: TcpListener, app: Router, service: Service, stop: impl Future<Output = ()>) {
    let sockets = Arc::new(Semaphore::new(service.shared().limits.sockets as usize));
    let mut stop = pin!(stop);
    loop {
        let accept = async {
            // Never closed, so this only fails if the semaphore is gone.
            let permit = sockets.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?, permit))
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok(((socket, remote), permit)) => {
                let Ok(open) = service.open_socket(remote.ip()) else {
                    debug!(%remote, "too many sockets of one network group");
                    continue;
                };
                let (app, service) = (app.clone(), service.clone());
                tokio::spawn(async move {
                    serve_socket(socket, remote, app, service).await;
                    drop((open, permit));
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    service.stop();
    drop(listener);
    service.drained().await;
}

async fn serve_socket(socket: TcpStream, remote: SocketAddr, app: Router, service: Service) {
    // Without it small messages wait 35 to 45 ms for the acknowledgement of the one before.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%remote, %error, "cannot set TCP_NODELAY");
        return;
    }
    let handler = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(remote));
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_REQUEST_HEAD_LEN);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), handler).with_upgrades());
    let mut stopping = service.stopping();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%remote, %error, "HTTP connection ends");
    }
}
