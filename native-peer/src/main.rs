//! The `tabswarm` command.

use std::process::ExitCode;

use clap::Parser;
use tabswarm_native_peer::cli::Arguments;

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
