//! Measurements. Each prints figures a person can compare with the last ones.

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};

use crate::build;
use crate::layout::Layout;
use crate::module_sizes;
use crate::process::heading;
use crate::setup;

/// Arguments of `bench`.
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Name the benches.
    List,
    /// Bytes a tab downloads, gzipped, against their budgets.
    Size,
}

/// Runs one bench.
pub(crate) fn run(layout: &Layout, args: &Args) -> Result<()> {
    match args.bench {
        Bench::List => {
            println!("size  bytes a tab downloads, gzipped, against their budgets");
            Ok(())
        }
        Bench::Size => {
            setup::for_build(layout)?;
            build::package(layout)?;
            heading("module sizes");
            module_sizes::check(layout)
        }
    }
}
