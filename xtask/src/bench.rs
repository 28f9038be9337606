//! Measurements. Each prints figures a person can compare with the last ones.

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::build;
use crate::layout::Layout;
use crate::module_sizes;
use crate::offload;
use crate::process::{cargo, command, heading, run as run_command};
use crate::setup;
use crate::transfer;

/// Arguments of `bench`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Origin copies of a live stream by the size of its crowd, simulated; `SIZES` and `SEED` choose.
    Crowd,
    /// Name the benches.
    List,
    /// A dozen tabs of four connections each that close again and again: who introduces them to others.
    Mesh,
    /// tabswarm beside plain hls.js and p2p-media-loader, in real tabs.
    Offload(offload::Args),
    /// Lookups through simulated meshes; `SIZES`, `LOOKUPS` and `SEEDS` choose.
    Overlay,
    /// Bytes a tab downloads, gzipped, against their budgets.
    Size,
    /// Verified content from one tab to another, beside a bare data channel.
    Transfer(transfer::Args),
}

const BENCHES: [(&str, &str); 6] = [
    (
        "crowd",
        "origin copies of a live stream by the size of its crowd, simulated (SIZES=10,100,1000 SEED=1)",
    ),
    (
        "mesh",
        "a dozen tabs of four connections each that close again and again: who introduces them to others",
    ),
    ("offload", "tabswarm beside plain hls.js and p2p-media-loader, in real tabs (--quick, --full)"),
    ("overlay", "lookups through simulated meshes (SIZES=1000,10000 LOOKUPS=10000 SEEDS=1,2,3)"),
    ("size", "bytes a tab downloads, gzipped, against their budgets"),
    ("transfer", "verified content from one tab to another, beside a bare data channel (--rounds N)"),
];

/// Runs one bench.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    match &args.bench {
        Bench::List => {
            for (name, about) in BENCHES {
                println!("{name:<8} {about}");
            }
            Ok(())
        }
        Bench::Crowd => simulate(layout, "crowd"),
        Bench::Mesh => mesh(layout),
        Bench::Offload(args) => offload::run(layout, args),
        Bench::Overlay => simulate(layout, "overlay"),
        Bench::Size => {
            setup::for_build(layout)?;
            build::package(layout)?;
            heading("module sizes");
            module_sizes::check(layout)
        }
        Bench::Transfer(args) => transfer::run(layout, args),
    }
}

fn mesh(layout: &Layout) -> Result<()> {
    let browser = setup::browser(layout)?;
    build::measured(layout)?;
    heading("mesh");
    let mut script = command(layout, "node");
    script.arg(layout.at("tests/browser/mesh.mjs")).env("CHROMIUM", browser.chromium);
    run_command(script.env("TABSWARM_BIN_DIR", layout.target("release")))
}

fn simulate(layout: &Layout, bench: &str) -> Result<()> {
    run_command(cargo(layout).args(["bench", "--package", "tabswarm-tests", "--bench", bench]))
}
