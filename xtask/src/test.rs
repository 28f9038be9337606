//! Every check and every test, with a summary.

use anyhow::Result;

use crate::build;
use crate::check::{self, PRODUCT};
use crate::layout::Layout;
use crate::npm;
use crate::process::{cargo, run as run_command};
use crate::report::Report;
use crate::setup;
use crate::wasm;

/// Sets the machine up and runs everything.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::for_build(layout)?;
    let browser = setup::browser(layout)?;
    let ffmpeg = setup::ffmpeg(layout)?;
    let mut report = Report::default();
    check::sections(layout, &mut report);
    report.section("native tests", || {
        run_command(cargo(layout).arg("test").args(PRODUCT).arg("--no-fail-fast"))
    });
    report.section("tests of the task runner", || {
        run_command(cargo(layout).args(["test", "--package", "xtask"]))
    });
    report.section("wasm tests in a headless browser", || wasm::test(layout, &browser));
    report.section("tests of the npm package", || npm::script(layout, npm::PACKAGE, "test"));
    report.section("tests of the demo page", || npm::script(layout, npm::DEMO, "test"));
    report.section("tests of the offload bench", || npm::script(layout, npm::OFFLOAD_BENCH, "test"));
    report.section("binaries", || build::binaries(layout));
    report.section("demo page", || npm::script(layout, npm::DEMO, "build"));
    report.section("browser end-to-end tests", || {
        // The debug binaries are those just built from this source; a release build may be older.
        run_command(
            npm::npm(layout)
                .args(["run", "test", "--workspace", npm::BROWSER_TESTS])
                .env("CHROMIUM", &browser.chromium)
                .env("FFMPEG", &ffmpeg)
                .env("TABSWARM_BIN_DIR", layout.target("debug")),
        )
    });
    report.finish()
}
