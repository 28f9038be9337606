//! The dependency direction of the workspace and what core brings along, as cargo tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// Who may import whom (docs/architecture.md). Everything is allowed to `tests`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tabswarm-core", &[]),
    ("tabswarm-native-peer", &["tabswarm-core"]),
    ("tabswarm-signaling", &["tabswarm-core", "tabswarm-turn-config"]),
    ("tabswarm-turn-config", &[]),
    ("tabswarm-wasm-peer", &["tabswarm-core"]),
    ("xtask", &[]),
];

/// Every crate that core may bring along, its own and those behind them. None does IO, reads a clock or draws OS randomness.
const ALLOWED_IN_CORE: &[&str] = &[
    "aead",
    "arrayvec",
    "blake3",
    "block-buffer",
    "cfg-if",
    "chacha20",
    "chacha20poly1305",
    "cipher",
    "cmov",
    "cobs",
    "constant_time_eq",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "curve25519-dalek",
    "digest",
    "ed25519",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "hpke",
    "hybrid-array",
    "inout",
    "litemap",
    "poly1305",
    "postcard",
    "rand_core",
    "serde",
    "serde_core",
    "sha2",
    "signature",
    "subtle",
    "tabswarm-core",
    "thiserror",
    "typenum",
    "universal-hash",
    "x25519-dalek",
    "zeroize",
];

/// A tab and a server. Elsewhere a crate that asks which instructions the CPU has may take another way to it.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "x86_64-unknown-linux-gnu"];

fn workspace_dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("metadata lists packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package lists dependencies");
            let names = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a dependency has a name").to_owned())
                .collect();
            (package["name"].as_str().expect("a package has a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn no_crate_imports_against_the_dependency_direction() {
    let packages = workspace_dependencies();
    for (name, allowed) in ALLOWED {
        let dependencies = packages.get(*name).unwrap_or_else(|| panic!("{name} is a workspace member"));
        for dependency in dependencies {
            let is_member = packages.contains_key(dependency);
            assert!(
                !is_member || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn core_brings_along_only_crates_on_its_list() {
    for target in TARGETS {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--package", "tabswarm-core", "--target", target])
            .args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).expect("cargo tree prints text");
        let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(crates.contains("blake3"), "cargo tree lists core's crates: {tree}");
        for name in crates {
            assert!(
                ALLOWED_IN_CORE.contains(&name),
                "core must not depend on {name}, not even through others"
            );
        }
    }
}
