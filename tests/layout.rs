//! The dependency direction of the workspace, read from `cargo metadata`.

use std::{collections::BTreeMap, process::Command};

/// Who may import whom (docs/architecture.md). Everything is allowed to `tests`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tabswarm-core", &[]),
    ("tabswarm-native-peer", &["tabswarm-core"]),
    ("tabswarm-signaling", &["tabswarm-core", "tabswarm-turn-config"]),
    ("tabswarm-turn-config", &[]),
    ("tabswarm-wasm-peer", &["tabswarm-core"]),
    ("xtask", &[]),
];

/// Crates that would bring IO, a clock or OS randomness into the core.
const BANNED_IN_CORE: &[&str] = &["getrandom", "js-sys", "rand", "tokio", "wasm-bindgen", "web-sys"];

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
fn core_depends_on_no_shell() {
    let packages = workspace_dependencies();
    for dependency in &packages["tabswarm-core"] {
        assert!(!BANNED_IN_CORE.contains(&dependency.as_str()), "core must not depend on {dependency}");
    }
}
