//! The demo: the page, the sample stream and the service on this machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};

use crate::build;
use crate::layout::Layout;
use crate::process::{command, heading, output, run as run_command};
use crate::service::{self, Service};
use crate::setup;

/// The port when it is free and no other is asked for.
const PREFERRED_PORT: u16 = 8080;
/// What is copied of `sample/`, beside the directories of the quality levels.
const MASTER: &str = "master.m3u8";
const LEVELS: [&str; 2] = ["high", "low"];

/// Arguments of `demo`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Open this many headless viewers, print their table and stop.
    #[arg(long, value_name = "N")]
    viewers: Option<u16>,
    /// Where the roots that segments are verified against come from.
    #[arg(long, value_enum, default_value_t = Mode::Signed)]
    mode: Mode,
    /// Port on 127.0.0.1 (default: 8080 if nobody has it; 0: any).
    #[arg(long)]
    port: Option<u16>,
    /// With `--viewers`: go on serving after the last viewer, until Ctrl-C.
    #[arg(long, requires = "viewers")]
    keep: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    /// From the signaling service, which fetches each segment itself.
    Attested,
    /// From an unsigned manifest beside the stream.
    Origin,
    /// From a manifest signed with a key the page knows.
    Signed,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Attested => "attested",
            Self::Origin => "origin",
            Self::Signed => "signed",
        }
    }
}

/// Builds everything and serves it, until the viewers are done or until Ctrl-C.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    let browser = args.viewers.map(|_| setup::browser(layout)).transpose()?;
    build::all(layout)?;
    heading("native binaries");
    build::binaries(layout)?;
    heading("sample stream");
    let publisher_key = prepare_sample(layout, args.mode)?;

    heading("demo");
    let service = start_service(layout, args, publisher_key.as_deref())?;
    let url = service.url();
    println!("\n    {url}/\n");
    if let (Some(viewers), Some(browser)) = (args.viewers, browser) {
        let mut script = command(layout, "node");
        script.arg(layout.at("tests/browser/viewers.mjs")).args(["--url", url, "--mode", args.mode.name()]);
        script.arg("--viewers").arg(viewers.to_string());
        run_command(script.env("CHROMIUM", browser.chromium))?;
        if !args.keep {
            return Ok(());
        }
        println!("\n    {url}/\n");
    } else {
        println!("Open it in two tabs. Ctrl-C ends the service.");
    }
    let status = service.wait()?;
    if !status.success() {
        bail!("the signaling service ended: {status}");
    }
    Ok(())
}

/// Copies the sample and publishes it as `mode` has it. Returns the publisher's key in signed mode.
fn prepare_sample(layout: &Layout, mode: Mode) -> Result<Option<String>> {
    let sample = layout.target("demo/sample");
    if sample.exists() {
        fs::remove_dir_all(&sample).with_context(|| format!("cannot remove {}", sample.display()))?;
    }
    copy_sample(&layout.at("sample"), &sample)?;
    let master = sample.join(MASTER);
    match mode {
        Mode::Attested => Ok(None),
        Mode::Origin => {
            print!("{}", output(tabswarm(layout).arg("publish").arg(master).arg("--unsigned"))?);
            Ok(None)
        }
        Mode::Signed => {
            let key = layout.target("demo/publisher.key");
            if !key.exists() {
                run_command(tabswarm(layout).arg("keygen").arg("--key").arg(&key))?;
            }
            let report = output(tabswarm(layout).arg("publish").arg(master).arg("--key").arg(&key))?;
            print!("{report}");
            publisher_key(&report).map(Some).context("`tabswarm publish` named no publisher key")
        }
    }
}

fn tabswarm(layout: &Layout) -> Command {
    command(layout, layout.binary("debug", "tabswarm"))
}

fn publisher_key(report: &str) -> Option<String> {
    let words = report.lines().find_map(|line| line.strip_prefix("publisher key"))?;
    words.split_whitespace().next().map(str::to_owned)
}

fn copy_sample(from: &Path, to: &Path) -> Result<()> {
    let copy = |name: &Path| {
        let (source, copy) = (from.join(name), to.join(name));
        fs::copy(&source, &copy).map(drop).with_context(|| format!("cannot copy {}", source.display()))
    };
    for level in LEVELS {
        let dir = from.join(level);
        fs::create_dir_all(to.join(level)).with_context(|| format!("cannot make {}", to.display()))?;
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            copy(&Path::new(level).join(entry?.file_name()))?;
        }
    }
    copy(Path::new(MASTER))
}

fn start_service(layout: &Layout, args: &Args, publisher_key: Option<&str>) -> Result<Service> {
    let address = service::address(args.port, PREFERRED_PORT);
    let mut command = command(layout, layout.binary("debug", "tabswarm-signaling"));
    command.args(["dev", "--listen", &address.to_string(), "--mode", args.mode.name()]);
    command.args(publisher_key.iter().flat_map(|key| ["--publisher-key", key]));
    command.arg("--demo-dir").arg(layout.at("web-demo/dist"));
    command.arg("--npm-dir").arg(layout.at("wasm-peer/npm/dist"));
    command.arg("--sample-dir").arg(layout.target("demo/sample"));
    command.arg("--state-dir").arg(layout.target("demo/state"));
    Service::start(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publisher_key_is_read_from_the_report() {
        assert_eq!(publisher_key("stream  /sample\npublisher key  0a1b\n").as_deref(), Some("0a1b"));
        assert_eq!(publisher_key("stream  /sample\n"), None);
    }
}
