//! `cargo xtask bench offload`: builds what is measured and calls `tests/offload`, which has the harness and the names.

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::build;
use crate::layout::Layout;
use crate::process::{command, heading, run as run_command};
use crate::setup;

/// Arguments of `bench offload`. Without any: as with `--quick`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Some scenarios with plain hls.js and tabswarm, once; within 12 minutes.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Everything, three times, a rival's defaults once; about two and a half hours. Goes on from saved runs, writes docs/benchmarks.md.
    #[arg(long)]
    full: bool,
    /// Only this scenario; repeatable. Without `--full` every run is made once.
    #[arg(long, value_name = "NAME", conflicts_with = "quick")]
    scenario: Vec<String>,
    /// Only this plugin; repeatable.
    #[arg(long, value_name = "NAME", conflicts_with = "quick")]
    plugin: Vec<String>,
    /// Viewers of a scenario that does not say how many [default: 8].
    #[arg(long, value_name = "N")]
    viewers: Option<u16>,
    /// Write the table to docs/benchmarks.md.
    #[arg(long)]
    write: bool,
}

/// Builds and measures.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    let browser = setup::browser(layout)?;
    let ffmpeg = setup::ffmpeg(layout)?;
    build::measured(layout)?;
    heading("offload");
    let mut script = command(layout, "node");
    script.arg(layout.at("tests/offload/offload.mjs")).arg("--dir").arg(layout.target("bench/offload"));
    script.args(script_arguments(args));
    run_command(
        script
            .env("CHROMIUM", browser.chromium)
            .env("FFMPEG", ffmpeg)
            .env("TABSWARM_BIN_DIR", layout.target("release")),
    )
}

/// What the script is told; its plan without any of it is the quick one.
fn script_arguments(args: &Args) -> Vec<String> {
    let flags = [("--full", args.full), ("--write", args.write)];
    let mut words: Vec<String> =
        flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| (*flag).to_owned()).collect();
    let lists = [("--scenario", &args.scenario), ("--plugin", &args.plugin)];
    for (option, names) in lists {
        words.extend(names.iter().flat_map(|name| [option.to_owned(), name.clone()]));
    }
    words.extend(args.viewers.iter().flat_map(|viewers| ["--viewers".to_owned(), viewers.to_string()]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_told_what_was_chosen() {
        let args = Args {
            quick: false,
            full: true,
            scenario: vec!["live".to_owned(), "spaced".to_owned()],
            plugin: vec!["tabswarm".to_owned()],
            viewers: Some(4),
            write: false,
        };
        let words = script_arguments(&args).join(" ");
        assert_eq!(words, "--full --scenario live --scenario spaced --plugin tabswarm --viewers 4");
    }
}
