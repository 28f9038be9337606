//! `cargo xtask bench transfer`: builds what is measured and calls `tests/offload/transfer.mjs`.

use anyhow::Result;
use clap::Args as ClapArgs;

use crate::build;
use crate::layout::Layout;
use crate::process::{command, heading, run as run_command};
use crate::setup;

/// Arguments of `bench transfer`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// How often it is measured; medians are shown.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u16,
}

/// Builds and measures.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    let browser = setup::browser(layout)?;
    build::measured(layout)?;
    heading("transfer");
    let mut script = command(layout, "node");
    script.arg(layout.at("tests/offload/transfer.mjs")).arg("--dir").arg(layout.target("bench/transfer"));
    script.arg("--rounds").arg(args.rounds.to_string());
    run_command(script.env("CHROMIUM", browser.chromium).env("TABSWARM_BIN_DIR", layout.target("release")))
}
