//! What a tab downloads, gzipped, against the committed budgets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::layout::Layout;
use crate::npm;

/// One line of `budgets.json`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Budget {
    /// A built file relative to the repository's root, or `directory/*.extension`. Each file is compressed on its own, as a
    /// server does it.
    files: String,
    /// More bytes than these are worth a look.
    alarm_bytes: Option<usize>,
    /// Most bytes of all of them after gzip -9.
    gzip_bytes: usize,
}

/// Prints each figure beside its budget. Fails when one is over. The npm package must be built.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    npm::bundle(layout)?;
    let text = fs::read_to_string(layout.at("budgets.json")).context("cannot read budgets.json")?;
    let mut over = Vec::new();
    for (name, budget) in parse(&text)? {
        let mut bytes = 0;
        for file in matching(&layout.at(&budget.files))? {
            bytes += gzipped_bytes(&file)?;
        }
        println!("{}", figure(&name, bytes, budget.gzip_bytes));
        if let Some(alarm) = budget.alarm_bytes.filter(|alarm| bytes > *alarm) {
            println!("{name}: past its alarm of {alarm} bytes (docs/decisions/0035)");
        }
        if bytes > budget.gzip_bytes {
            over.push(format!("{name}, by {} bytes", bytes - budget.gzip_bytes));
        }
    }
    if !over.is_empty() {
        bail!("over budget: {}", over.join("; "));
    }
    Ok(())
}

fn parse(text: &str) -> Result<BTreeMap<String, Budget>> {
    serde_json::from_str(text).context("budgets.json")
}

/// The files of a budget. None is an error: a budget of nothing would always be kept.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    if pattern.file_stem().is_none_or(|stem| stem != "*") {
        return Ok(vec![pattern.to_owned()]);
    }
    let dir = pattern.parent().context("a pattern stands in a directory")?;
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.extension() == pattern.extension() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no file is {}", pattern.display());
    }
    Ok(files)
}

fn gzipped_bytes(file: &Path) -> Result<usize> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content)?;
    Ok(encoder.finish()?.len())
}

fn figure(name: &str, bytes: usize, budget: usize) -> String {
    let kilobytes = |bytes: usize| format!("{}.{} KB", bytes / 1000, bytes % 1000 / 100);
    format!("{name:<32} {:>10} / {:>10} gzip", kilobytes(bytes), kilobytes(budget))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_names_files_and_bytes() {
        let budgets = parse(r#"{ "module": { "files": "a.wasm", "gzipBytes": 120000 } }"#).unwrap();
        let expected = Budget { files: "a.wasm".to_owned(), alarm_bytes: None, gzip_bytes: 120_000 };
        assert_eq!(budgets["module"], expected);
    }

    #[test]
    fn a_misspelt_budget_is_an_error() {
        assert!(parse(r#"{ "module": { "files": "a.wasm", "bytes": 1 } }"#).is_err());
    }

    #[test]
    fn a_pattern_is_every_file_of_its_kind_and_at_least_one() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let files = matching(&sources.join("*.rs")).unwrap();
        assert!(files.contains(&sources.join("module_sizes.rs")), "{files:?}");
        assert!(matching(&sources.join("*.wasm")).is_err());
    }

    #[test]
    fn a_figure_stands_beside_its_budget() {
        assert_eq!(
            figure("module", 58_432, 120_000).split_whitespace().collect::<Vec<_>>().join(" "),
            "module 58.4 KB / 120.0 KB gzip"
        );
    }
}
