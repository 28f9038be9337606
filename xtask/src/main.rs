//! `cargo xtask`: the only task runner of the repository. Each command first installs or names what the machine lacks.

mod bench;
mod build;
mod check;
mod demo;
mod file_sizes;
mod function_order;
mod layout;
mod module_sizes;
mod npm;
mod offload;
mod process;
mod report;
mod service;
mod setup;
mod test;
mod transfer;
mod wasm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::layout::Layout;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, checks, tests and demonstrates tabswarm.")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure: `bench list` names what there is.
    Bench(bench::Args),
    /// Build the wasm module, the npm package and the demo page.
    Build,
    /// Check formatting, lints, documentation, types, file sizes and module sizes.
    Check,
    /// Build everything, serve the demo page with the sample stream and print its address.
    Demo(demo::Args),
    /// Run every check and every test.
    Test,
    /// Runner that cargo calls for each wasm test binary.
    #[command(hide = true)]
    WasmTestRunner {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let layout = Layout::find()?;
    match task {
        Task::Bench(args) => bench::run(&layout, &args),
        Task::Build => build::all(&layout),
        Task::Check => check::run(&layout),
        Task::Demo(args) => demo::run(&layout, &args),
        Task::Test => test::run(&layout),
        Task::WasmTestRunner { args } => wasm::run_tests(args),
    }
}
