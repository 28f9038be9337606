//! The `tabswarm-signaling` command.

mod cli;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tabswarm_signaling::{Service, app, dev::Dev, respond_stun, serve};
use tokio::net::{TcpListener, UdpSocket};
use tracing::info;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, ServeOptions};

/// The STUN codec warns about every malformed datagram, which anybody can send.
const DEFAULT_LOG: &str = "info,stun_types=error";

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tabswarm-signaling: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => run_serve(args.options()?).await,
        Command::Dev(args) => {
            let dev = Dev::bind(args.options()?).await?;
            let stop = stop_signal()?;
            // On standard output, for whoever started it with port 0.
            println!("http://{}", dev.address());
            info!(address = %dev.address(), network = %dev.service().network(), "development service");
            dev.run(stop).await;
            Ok(())
        }
    }
}

async fn run_serve(options: ServeOptions) -> Result<()> {
    let listen = options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on TCP {listen}; choose another address with --listen"))?;
    let service = Service::start(options.config)?;
    let stop = stop_signal()?;
    let mut stun = None;
    if let Some(address) = options.stun_listen {
        let socket = UdpSocket::bind(address).await.with_context(|| {
            format!("cannot listen on UDP {address}; choose another address with --stun-listen")
        })?;
        stun = Some(tokio::spawn(respond_stun(socket)));
    }
    println!("http://{}", listener.local_addr().context("the socket has an address")?);
    info!(address = %listen, network = %service.network(), issuer = %service.issuer(), "signaling service");
    serve(listener, app(service.clone()), service, stop).await;
    if let Some(stun) = stun {
        stun.abort();
    }
    Ok(())
}

/// Ready at the first SIGINT or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping");
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        info!("stopping");
    })
}
