//! The wasm module a tab downloads, its JavaScript bindings, and wasm tests in a headless browser. `wasm-bindgen` is the crate that
//! `Cargo.lock` names, called as a library: nobody has to install a command line tool of the same version.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::function_order;
use crate::layout::Layout;
use crate::process::{cargo, command, heading, run};
use crate::setup::Browser;

/// The target of the module.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// What runs in a tab as well as natively.
const PACKAGES: [&str; 2] = ["tabswarm-core", "tabswarm-wasm-peer"];
/// Where the bindings and the optimised module go; the npm package's build takes them from there.
const GENERATED: &str = "wasm-peer/npm/generated";
/// The module's file.
const MODULE: &str = "tabswarm_bg.wasm";
/// What stands beside it.
const BINDINGS: [&str; 3] = ["tabswarm.d.ts", "tabswarm.js", "tabswarm_bg.wasm.d.ts"];
/// Longest time one wasm test binary may take in the browser.
const TEST_TIMEOUT_SECONDS: &str = "600";
/// Longest time the browser's driver may take to listen, on a machine busy with other things.
const DRIVER_TIMEOUT_SECONDS: &str = "60";
/// Largest function, in nodes of wasm-opt's syntax tree, that it may move into its only caller. Without a limit the module has 0.3 %
/// fewer bytes before gzip and 8 % more after it.
const LARGEST_INLINED_ONCE: &str = "30";
/// What the Rust target has on by default, plus SIMD (blake3 turns it on for its own functions only).
const WASM_OPT_FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// Builds the module and its bindings into `wasm-peer/npm/generated`. Needs the wasm target and the npm packages.
pub(crate) fn build(layout: &Layout) -> Result<()> {
    heading("wasm module");
    run(cargo(layout).arg("--config").arg(without_paths()?).args([
        "build",
        "--package",
        "tabswarm-wasm-peer",
        "--target",
        TARGET,
        "--profile",
        "wasm-release",
    ]))?;
    let compiled = layout.target(&format!("{TARGET}/wasm-release/tabswarm_wasm_peer.wasm"));
    let generated = layout.at(GENERATED);
    let module = generated.join(MODULE);
    if is_newer(&module, &compiled) && is_newer(&module, layout.own_binary()) {
        println!("{} is up to date", module.display());
        return Ok(());
    }
    let bound = layout.target("wasm-bindgen");
    bind(&compiled, &bound)?;
    fs::create_dir_all(&generated).with_context(|| format!("cannot make {}", generated.display()))?;
    for file in BINDINGS {
        fs::copy(bound.join(file), generated.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    optimise(layout, &bound.join(MODULE), &module)
}

/// A setting by which what a panic says names a dependency's file by its crate, not by where this machine keeps it: the module is the
/// same wherever it is built.
fn without_paths() -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registries = home.context("cargo's directory is unknown: set CARGO_HOME")?.join("registry/src");
    let mut flags = Vec::new();
    if registries.is_dir() {
        for registry in
            fs::read_dir(&registries).with_context(|| format!("cannot read {}", registries.display()))?
        {
            flags.push(format!("--remap-path-prefix={}/=", registry?.path().display()));
        }
    }
    Ok(format!("target.{TARGET}.rustflags={}", json!(flags)))
}

fn bind(compiled: &Path, out_dir: &Path) -> Result<()> {
    println!("$ wasm-bindgen --target web --out-name tabswarm {}", compiled.display());
    let mut args: Vec<OsString> =
        vec!["wasm-bindgen".into(), compiled.into(), "--out-dir".into(), out_dir.into()];
    args.extend(["--target", "web", "--out-name", "tabswarm"].map(OsString::from));
    args.extend(["--remove-name-section", "--remove-producers-section"].map(OsString::from));
    wasm_bindgen_cli::wasm_bindgen::run_cli_with_args(args).context("wasm-bindgen failed")
}

fn optimise(layout: &Layout, bound: &Path, module: &Path) -> Result<()> {
    let optimised = bound.with_extension("opt.wasm");
    let tool = layout.at("node_modules/binaryen/bin/wasm-opt");
    run(command(layout, "node")
        .arg(tool)
        // Nothing lies in the first KB of memory: the stack ends there.
        .args(["-Oz", "--converge", "--low-memory-unused"])
        .args(["--one-caller-inline-max-function-size", LARGEST_INLINED_ONCE])
        // What can be known of values in the whole module is known best once everything else is done.
        .args(["--gufa", "-Oz"])
        .args(WASM_OPT_FEATURES)
        .arg(bound)
        .arg("-o")
        .arg(&optimised))?;
    let ordered = fs::read(&optimised).with_context(|| format!("cannot read {}", optimised.display()))?;
    let ordered = function_order::alike_together(&ordered)
        .with_context(|| format!("cannot order {}", optimised.display()))?;
    // Last and only when complete, so that an interrupted build is not taken for an up-to-date one.
    fs::write(module, ordered).with_context(|| format!("cannot write {}", module.display()))
}

fn is_newer(made: &Path, source: &Path) -> bool {
    let modified = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    matches!((modified(made), modified(source)), (Some(made), Some(source)) if made >= source)
}

/// cargo's selection of what is compiled for the browser.
pub(crate) fn package_args() -> [&'static str; 4] {
    ["--package", PACKAGES[0], "--package", PACKAGES[1]]
}

/// Runs the wasm tests in a headless browser.
pub(crate) fn test(layout: &Layout, browser: &Browser) -> Result<()> {
    let capabilities = layout.target("xtask-webdriver.json");
    write_capabilities(&capabilities, browser)?;
    let runner = format!("{} wasm-test-runner", layout.own_binary().display());
    run(cargo(layout)
        .args(["test", "--no-fail-fast", "--lib", "--tests", "--target", TARGET])
        .args(package_args())
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("CHROMEDRIVER", &browser.driver)
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", DRIVER_TIMEOUT_SECONDS)
        .env("WASM_BINDGEN_TEST_TIMEOUT", TEST_TIMEOUT_SECONDS)
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", capabilities)
        .env("WASM_BINDGEN_USE_BROWSER", "1"))
}

fn write_capabilities(path: &Path, browser: &Browser) -> Result<()> {
    let mut capabilities: Value = serde_json::from_str(include_str!("../webdriver.json"))
        .context("xtask/webdriver.json is not JSON")?;
    capabilities["goog:chromeOptions"]["binary"] = json!(browser.chromium);
    fs::write(path, capabilities.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs one wasm test binary: cargo's arguments, the binary's path first.
pub(crate) fn run_tests(args: Vec<OsString>) -> Result<()> {
    let program = OsString::from("wasm-bindgen-test-runner");
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::iter::once(program).chain(args))
}
