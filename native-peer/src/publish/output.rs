//! Writing all files or none: each is complete beside its place before the first takes it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct OutputError {
    path: PathBuf,
    cause: io::Error,
}

impl OutputError {
    /// Without the temporary name that a library adds to what the operating system said: it differs at each try.
    pub(super) fn new(path: &Path, cause: io::Error) -> Self {
        let cause = if cause.raw_os_error().is_some() { cause } else { cause.kind().into() };
        Self { path: path.to_owned(), cause }
    }
}

/// Files that wait to be written, in the order in which they take their places.
#[derive(Default)]
pub struct Output {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Output {
    /// Adds a file.
    pub fn push(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.files.push((path, bytes));
    }

    /// Writes every file under a temporary name, then renames them in order.
    pub fn commit(self) -> Result<(), OutputError> {
        // Found out before the first directory is made, not when other files have taken their places.
        if let Some((path, _)) = self.files.iter().find(|(path, _)| path.is_dir()) {
            let cause = io::ErrorKind::IsADirectory.into();
            return Err(OutputError::new(path, cause));
        }
        let mut staged = Vec::with_capacity(self.files.len());
        for (path, bytes) in self.files {
            let file = stage(&path).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.as_file().sync_all()?;
                Ok(file)
            });
            let file = file.map_err(|cause| OutputError::new(&path, cause))?;
            staged.push((path, file));
        }
        for (path, file) in staged {
            file.persist(&path).map_err(|error| OutputError::new(&path, error.error))?;
        }
        Ok(())
    }
}

/// A file beside its place, under a temporary name.
pub(super) fn stage(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut builder = Builder::new();
    // A web server has to read it: not the private mode of a temporary file, but what the umask leaves.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".tabswarm-").tempfile_in(directory)
}
