//! The npm workspaces: their packages from the lock file, and their scripts.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::layout::Layout;
use crate::process::{command, heading, run};

/// The npm package `tabswarm`.
pub(crate) const PACKAGE: &str = "wasm-peer/npm";
/// Where the package's JavaScript is bundled for `budgets.json`.
const BUNDLE: &str = "wasm-peer/npm/generated/bundle";
/// The demo page.
pub(crate) const DEMO: &str = "web-demo";
/// The end-to-end tests in real browsers.
pub(crate) const BROWSER_TESTS: &str = "tests/browser";
/// The bench of plugins in real browsers.
pub(crate) const OFFLOAD_BENCH: &str = "tests/offload";
/// Every workspace, in the order of their dependencies.
pub(crate) const WORKSPACES: [&str; 4] = [PACKAGE, DEMO, BROWSER_TESTS, OFFLOAD_BENCH];

/// Installs the packages of `package-lock.json` unless `node_modules` has exactly them.
pub(crate) fn install(layout: &Layout) -> Result<()> {
    let read = |path: &str| fs::read_to_string(layout.at(path));
    let lock = read("package-lock.json").context("cannot read package-lock.json")?;
    let lock = packages(&lock).context("package-lock.json")?;
    let installed = read("node_modules/.package-lock.json").ok().and_then(|text| packages(&text).ok());
    if installed.is_some_and(|installed| has_all(&installed, &lock)) {
        return Ok(());
    }
    heading("npm packages");
    run(npm(layout).args(["ci", "--no-audit", "--no-fund"]))
}

/// Runs a workspace's script.
pub(crate) fn script(layout: &Layout, workspace: &str, script: &str) -> Result<()> {
    run(npm(layout).args(["run", script, "--workspace", workspace]))
}

/// Bundles the built npm package as a page does, to see what a tab downloads.
pub(crate) fn bundle(layout: &Layout) -> Result<()> {
    let script = layout.at("xtask/bundle.mjs");
    run(command(layout, "node").arg(script).arg(layout.at("wasm-peer/npm/dist")).arg(layout.at(BUNDLE)))
}

/// `npm`, in the repository's root.
pub(crate) fn npm(layout: &Layout) -> Command {
    command(layout, if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn packages(lock: &str) -> Result<Map<String, Value>> {
    match serde_json::from_str::<Value>(lock)?.get_mut("packages").map(Value::take) {
        Some(Value::Object(packages)) => Ok(packages),
        _ => bail!("has no list of packages: it is older than lockfile version 2"),
    }
}

/// Whether `installed` has every package of `lock` in its version. Optional ones are left to npm: they depend on the platform.
fn has_all(installed: &Map<String, Value>, lock: &Map<String, Value>) -> bool {
    let wanted = lock.iter().filter(|(path, package)| {
        path.contains("node_modules/")
            && package["link"] != Value::Bool(true)
            && package["optional"] != Value::Bool(true)
    });
    wanted.into_iter().all(|(path, package)| {
        let found = installed.get(path);
        found.is_some_and(|found| found["version"] == package["version"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"{ "packages": {
        "": { "name": "root" },
        "web-demo": { "version": "0.1.0" },
        "node_modules/tabswarm": { "resolved": "wasm-peer/npm", "link": true },
        "node_modules/vite": { "version": "8.3.8" },
        "node_modules/fsevents": { "version": "2.3.3", "optional": true }
    } }"#;

    fn is_installed(installed: &str) -> bool {
        has_all(&packages(installed).unwrap(), &packages(LOCK).unwrap())
    }

    #[test]
    fn packages_of_this_platform_are_enough() {
        assert!(is_installed(r#"{ "packages": { "node_modules/vite": { "version": "8.3.8" } } }"#));
    }

    #[test]
    fn another_version_is_not_the_locked_one() {
        assert!(!is_installed(r#"{ "packages": { "node_modules/vite": { "version": "8.3.7" } } }"#));
    }

    #[test]
    fn a_missing_package_is_noticed() {
        assert!(!is_installed(r#"{ "packages": {} }"#));
    }

    #[test]
    fn a_lock_without_packages_is_an_error() {
        assert!(packages(r#"{ "dependencies": {} }"#).is_err());
    }
}
