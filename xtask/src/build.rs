//! What is built: the wasm module, the npm package around it, the demo page on top, and the binaries beside them.

use anyhow::Result;

use crate::layout::Layout;
use crate::npm;
use crate::process::{cargo, heading, run};
use crate::setup;
use crate::wasm;

/// The native binaries' packages.
const BINARIES: [&str; 4] = ["--package", "tabswarm-native-peer", "--package", "tabswarm-signaling"];

/// Builds everything a browser loads.
pub(crate) fn all(layout: &Layout) -> Result<()> {
    setup::for_build(layout)?;
    package(layout)?;
    heading("demo page");
    npm::script(layout, npm::DEMO, "build")
}

/// Builds the wasm module and the npm package. The machine must be set up.
pub(crate) fn package(layout: &Layout) -> Result<()> {
    wasm::build(layout)?;
    heading("npm package");
    npm::script(layout, npm::PACKAGE, "build")
}

/// Builds the debug binaries that the demo and the browser tests run.
pub(crate) fn binaries(layout: &Layout) -> Result<()> {
    run(cargo(layout).arg("build").args(BINARIES))
}

/// Builds what is measured in tabs: the npm package, and the binaries for release.
pub(crate) fn measured(layout: &Layout) -> Result<()> {
    setup::for_build(layout)?;
    package(layout)?;
    heading("native binaries");
    run(cargo(layout).args(["build", "--release"]).args(BINARIES))
}
