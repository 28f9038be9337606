//! Everything that can be said about the code without running it.

use anyhow::Result;

use crate::build;
use crate::file_sizes;
use crate::layout::Layout;
use crate::module_sizes;
use crate::npm;
use crate::process::{cargo, run as run_command};
use crate::report::Report;
use crate::setup;
use crate::wasm;

/// cargo's selection of everything but the task runner. Together they would unite their features, and the task runner's many
/// dependencies, which `cargo xtask` has already built, be built once more.
pub(crate) const PRODUCT: [&str; 3] = ["--workspace", "--exclude", "xtask"];

/// Sets the machine up and runs every check.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::for_build(layout)?;
    let mut report = Report::default();
    sections(layout, &mut report);
    report.finish()
}

/// Every check as a section, the quick ones first. The machine must be set up.
pub(crate) fn sections(layout: &Layout, report: &mut Report) {
    report.section("file sizes", || file_sizes::check(layout));
    report.section("formatting", || run_command(cargo(layout).args(["fmt", "--all", "--check"])));
    report.section("lints, native", || {
        let mut clippy = cargo(layout);
        clippy.arg("clippy").args(PRODUCT).args(["--all-targets", "--", "-D", "warnings"]);
        run_command(&mut clippy)
    });
    report.section("lints, task runner", || {
        let clippy = ["clippy", "--package", "xtask", "--all-targets", "--", "-D", "warnings"];
        run_command(cargo(layout).args(clippy))
    });
    report.section("lints, wasm", || {
        let mut clippy = cargo(layout);
        clippy.args(["clippy", "--lib", "--tests", "--target", wasm::TARGET]);
        clippy.args(wasm::package_args());
        run_command(clippy.args(["--", "-D", "warnings"]))
    });
    report.section("documentation", || {
        run_command(
            cargo(layout).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    report.section("build for the browser", || build::package(layout));
    for workspace in npm::WORKSPACES {
        report.section(&format!("types of {workspace}"), || npm::script(layout, workspace, "check"));
    }
    report.section("module sizes", || module_sizes::check(layout));
}
