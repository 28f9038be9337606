//! No source file past its limit of lines. A Rust file's trailing `#[cfg(test)] mod tests` does not count.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::layout::Layout;

/// Most lines, tests apart.
const MAX_LINES: usize = 600;
/// What a person writes and reads as code.
const EXTENSIONS: [&str; 6] = ["css", "js", "mjs", "rs", "ts", "tsx"];
/// Directories of things that tools write.
const GENERATED_DIRS: [&str; 4] = ["dist", "generated", "node_modules", "target"];

/// Fails when a file is too long, naming every one.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    let mut files = Vec::new();
    collect(layout.root(), &mut files)?;
    let mut too_long = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = counted_lines(&text, file);
        if lines > MAX_LINES {
            let name = file.strip_prefix(layout.root()).unwrap_or(file);
            too_long.push(format!("{}: {lines} lines", name.display()));
        }
    }
    if !too_long.is_empty() {
        bail!("past {MAX_LINES} non-test lines:\n{}", too_long.join("\n"));
    }
    println!("{} files, none past {MAX_LINES} non-test lines", files.len());
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        let (name, path) = (entry.file_name(), entry.path());
        // Links are not followed: npm links its workspaces into `node_modules`, and a link may lead anywhere.
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if kind.is_dir() && !is_hidden && !GENERATED_DIRS.iter().any(|generated| name == *generated) {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|is| EXTENSIONS.iter().any(|ext| is == *ext))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn counted_lines(text: &str, file: &Path) -> usize {
    let all = text.lines().count();
    if file.extension().is_none_or(|extension| extension != "rs") {
        return all;
    }
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1] == "mod tests {";
    let Some(start) = lines.windows(2).position(opens_tests) else { return all };
    // rustfmt closes the module with the next brace in the first column; anything after it would be code again.
    let after =
        lines[start..].iter().position(|line| *line == "}").map_or(0, |end| lines.len() - start - end - 1);
    if after == 0 { start } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        counted_lines(text, Path::new("a.rs"))
    }

    #[test]
    fn a_trailing_test_module_does_not_count() {
        assert_eq!(count("fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), 2);
    }

    #[test]
    fn code_after_the_test_module_makes_everything_count() {
        assert_eq!(count("#[cfg(test)]\nmod tests {\n}\nfn a() {}\n"), 4);
    }

    #[test]
    fn other_test_items_count() {
        assert_eq!(count("#[cfg(test)]\nfn only_for_tests() {}\nfn a() {}\n"), 3);
    }

    #[test]
    fn only_rust_has_test_modules() {
        assert_eq!(counted_lines("#[cfg(test)]\nmod tests {\n}\n", Path::new("a.ts")), 3);
    }
}
