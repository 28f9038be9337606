//! Where things are in the repository.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Paths of the repository this binary was built from.
pub(crate) struct Layout {
    root: PathBuf,
    // Read at the start: building the workspace may replace the file under the running program.
    own_binary: PathBuf,
}

impl Layout {
    /// Finds the repository.
    pub(crate) fn find() -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().context("the task runner's package has no parent directory")?;
        let own_binary = env::current_exe().context("the task runner cannot name its own binary")?;
        Ok(Self { root: root.to_owned(), own_binary })
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the repository.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path in cargo's target directory.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        self.root.join(target).join(path)
    }

    /// A native binary of the workspace, in `target/debug` or `target/release`.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target(profile).join(name).with_extension(env::consts::EXE_EXTENSION)
    }

    /// This program.
    pub(crate) fn own_binary(&self) -> &Path {
        &self.own_binary
    }
}
