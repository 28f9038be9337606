//! The command line.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use tabswarm_core::{identity::Identity, time::WallTime};

use crate::{
    key_file::{self, DEFAULT_KEY_FILE},
    publish::{self, Report, WatchOptions, Withdrawal},
};

/// The native tabswarm peer.
#[derive(Debug, Parser)]
#[command(name = "tabswarm", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a publisher's key; print the public part, which pages pin
    Keygen {
        /// Where to keep the secret part; never overwritten
        #[arg(long, value_name = "FILE", default_value = DEFAULT_KEY_FILE)]
        key: PathBuf,
    },
    /// Hash an HLS stream and write its manifest and group lists beside the playlists
    Publish {
        /// Master or media playlist: a file or an http(s) URL
        #[arg(value_name = "PLAYLIST")]
        playlist: String,
        /// Write under this directory, in the stream's layout, instead of beside the playlists
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// The publisher's key
        #[arg(long, value_name = "FILE", default_value = DEFAULT_KEY_FILE)]
        key: PathBuf,
        /// Write a manifest without a signature, for pages that trust their origin
        #[arg(long, conflicts_with = "key")]
        unsigned: bool,
        /// Name of the stream, by default the URL path that viewers load the playlist from: of a URL its path, of a file
        /// `/<directory>/<file>`
        #[arg(long, value_name = "NAME")]
        stream: Option<String>,
        /// Withdraw a segment, by its content id or its path relative to the playlist: viewers of a signed stream remove it from
        /// memory and disk and share it no more. Several are possible, and later manifests keep them
        #[arg(long, value_name = "ID|PATH")]
        withdraw: Vec<Withdrawal>,
        /// Follow a live stream until it ends; with --out, copy segments and playlists there too, in the order that viewers may
        /// see them in
        #[arg(long)]
        watch: bool,
        /// Keep a segment so long after it left its playlist, and as long as the playlist plays at least
        #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "watch")]
        grace: u64,
        /// List the newest so many seconds of each playlist; what is older goes over HTTP
        #[arg(long, value_name = "SECONDS", default_value_t = 180, requires = "watch")]
        window: u64,
    },
}

impl Arguments {
    /// Does what was asked for and prints what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Keygen { key } => {
                let identity = key_file::generate(&key)?;
                println!("publisher key  {}", identity.public_key());
                println!("secret part    {}", key.display());
            }
            Command::Publish { playlist, out, key, unsigned, stream, withdraw, watch, grace, window } => {
                let publisher = if unsigned { None } else { Some(key_file::read(&key)?) };
                if publisher.is_some() && key_file::is_readable_by_others(&key) {
                    let key = key.display();
                    eprintln!("warning: other users may read {key}: run `chmod 600 {key}`");
                }
                if watch {
                    let (grace, window) = (Duration::from_secs(grace), Duration::from_secs(window));
                    let options = WatchOptions { playlist, out, stream, grace, window, withdraw };
                    return follow(options, publisher.as_ref());
                }
                let options = publish::Options { playlist, out, stream, withdraw, created: wall_clock()? };
                print_report(&publish::publish(&options, publisher.as_ref())?, publisher.as_ref());
            }
        }
        Ok(())
    }
}

/// Follows a live stream until it ends or a signal comes.
fn follow(options: WatchOptions, publisher: Option<&Identity>) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals can't be caught")?;
    }
    print_publisher(publisher);
    println!("following      {}", options.playlist);
    let mut first = true;
    let ended = publish::watch(options, publisher, &stop, |said| match said {
        Err(problem) => eprintln!("warning: {problem}"),
        Ok(pass) if std::mem::take(&mut first) => {
            println!("manifest       {} segments, {} bytes", pass.segments, pass.manifest_bytes);
        }
        Ok(_) => {}
    })?;
    println!(
        "{}",
        if ended { "the stream has ended" } else { "stopped: the stream is not followed any more" }
    );
    Ok(())
}

fn wall_clock() -> anyhow::Result<WallTime> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(WallTime::from_secs(since_epoch.as_secs()))
}

fn print_report(report: &Report, publisher: Option<&Identity>) {
    for segment in &report.too_long {
        eprintln!("warning: {segment} is longer than a segment may be and stays HTTP only");
    }
    if let Some(why) = &report.damaged_before {
        eprintln!("warning: {} could not be read and is replaced: {why}", report.manifest.display());
    }
    println!("stream         {}", report.stream);
    print_publisher(publisher);
    println!("playlists      {}", report.playlists);
    println!("segments       {} ({} bytes)", report.segments, report.segment_bytes);
    println!("group lists    {} bytes", report.list_bytes);
    println!("manifest       {} ({} bytes)", report.manifest.display(), report.manifest_bytes);
}

fn print_publisher(publisher: Option<&Identity>) {
    match publisher {
        Some(publisher) => println!("publisher key  {}", publisher.public_key()),
        None => println!("publisher key  none, not signed"),
    }
}
