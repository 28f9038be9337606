//! What the machine must have: installed where that can be done without asking, else named with the way to get it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::npm;
use crate::process::{command, heading, output, run};
use crate::wasm;

/// Oldest Node.js that Vite 8 runs on.
const NODE_AT_LEAST: (u32, u32) = (20, 19);

/// A Chromium and the driver of the same version.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) driver: PathBuf,
}

/// Everything a build needs: the wasm target, Node.js and the npm packages.
pub(crate) fn for_build(layout: &Layout) -> Result<()> {
    wasm_target(layout)?;
    node(layout)?;
    npm::install(layout)
}

fn wasm_target(layout: &Layout) -> Result<()> {
    let sysroot = output(command(layout, "rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(wasm::TARGET).is_dir() {
        return Ok(());
    }
    heading("wasm target");
    run(command(layout, "rustup").args(["target", "add", wasm::TARGET])).with_context(|| {
        format!("install the Rust target {} (without rustup: your system's package)", wasm::TARGET)
    })
}

fn node(layout: &Layout) -> Result<()> {
    let (major, minor) = NODE_AT_LEAST;
    let advice = format!("install Node.js {major}.{minor} or newer with npm: https://nodejs.org/en/download");
    let version = output(command(layout, "node").arg("--version")).with_context(|| advice.clone())?;
    if !is_new_enough(&version) {
        bail!("Node.js {} is too old: {advice}", version.trim());
    }
    output(npm::npm(layout).arg("--version")).with_context(|| advice)?;
    Ok(())
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim().trim_start_matches('v').split('.').map_while(|part| part.parse().ok());
    (parts.next(), parts.next()) >= (Some(NODE_AT_LEAST.0), Some(NODE_AT_LEAST.1))
}

/// Finds Chromium and chromedriver: `$CHROMIUM` and `$CHROMEDRIVER`, the `$PATH`, or a package of the system.
pub(crate) fn browser(layout: &Layout) -> Result<Browser> {
    if let Some(browser) = find_browser()? {
        return Ok(browser);
    }
    install(layout, "Chromium", &["chromium", "chromium-driver"], BROWSER_ADVICE)?;
    find_browser()?.context(BROWSER_ADVICE)
}

const BROWSER_ADVICE: &str = "Chromium and its chromedriver are needed. Debian: `apt-get install chromium chromium-driver`; \
     Fedora: `dnf install chromium chromedriver`; macOS: `brew install --cask chromium chromedriver`. Or set CHROMIUM and \
     CHROMEDRIVER to the paths of a browser and its driver";

fn find_browser() -> Result<Option<Browser>> {
    let chromium =
        find("CHROMIUM", &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])?;
    let driver = find("CHROMEDRIVER", &["chromedriver"])?;
    Ok(chromium.zip(driver).map(|(chromium, driver)| Browser { chromium, driver }))
}

fn find(variable: &str, names: &[&str]) -> Result<Option<PathBuf>> {
    if let Some(given) = env::var_os(variable).map(PathBuf::from) {
        if !given.is_file() {
            bail!("{variable} names {}, which is no file", given.display());
        }
        return Ok(Some(given));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let mut candidates = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    Ok(candidates.find(|file| file.is_file()))
}

/// Finds ffmpeg: `$FFMPEG`, the `$PATH`, or a package of the system.
pub(crate) fn ffmpeg(layout: &Layout) -> Result<PathBuf> {
    let find_ffmpeg = || find("FFMPEG", &["ffmpeg"]);
    if let Some(ffmpeg) = find_ffmpeg()? {
        return Ok(ffmpeg);
    }
    install(layout, "ffmpeg", &["ffmpeg"], FFMPEG_ADVICE)?;
    find_ffmpeg()?.context(FFMPEG_ADVICE)
}

const FFMPEG_ADVICE: &str = "ffmpeg with libx264 is needed. Debian: `apt-get install ffmpeg`; macOS: `brew install ffmpeg`. \
     Or set FFMPEG to its path";

/// Installs packages of the system where that can be done without asking; elsewhere fails with `advice`.
fn install(layout: &Layout, title: &str, packages: &[&str], advice: &'static str) -> Result<()> {
    let is_root = output(command(layout, "id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_root || !is_debian_like(&release) {
        bail!(advice);
    }
    heading(title);
    run(command(layout, "apt-get").arg("update"))?;
    let install = ["install", "-y", "--no-install-recommends"];
    let mut apt_get = command(layout, "apt-get");
    apt_get.args(install).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut apt_get).context(advice)
}

fn is_debian_like(os_release: &str) -> bool {
    let fields = os_release.lines().filter_map(|line| line.split_once('='));
    let ids =
        fields.filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE")).map(|(_, value)| value.trim_matches('"'));
    ids.flat_map(str::split_whitespace).any(|id| matches!(id, "debian" | "ubuntu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_compared_by_number() {
        assert!(is_new_enough("v20.19.0\n"));
        assert!(is_new_enough("v100.0.1"));
        assert!(!is_new_enough("v20.9.0"));
        assert!(!is_new_enough("v9.99.0"));
        assert!(!is_new_enough("no version"));
    }

    #[test]
    fn derivatives_of_debian_count() {
        assert!(is_debian_like("NAME=\"Debian GNU/Linux\"\nID=debian\n"));
        assert!(is_debian_like("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian_like("ID=fedora\n"));
    }
}
