//! Key files: an Ed25519 seed as 64 hexadecimal digits, readable by its owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tabswarm_core::identity::Identity;

/// Where a key is looked for, and made, if nothing else is said.
pub const DEFAULT_KEY_FILE: &str = "publisher.key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A key is never overwritten.
    #[error("{} is already there; a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not 64 hexadecimal digits.
    #[error("{} is not a key file: 64 hexadecimal digits expected", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// No such file.
    #[error("no key at {}: make one with `tabswarm keygen`, or publish with --unsigned", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gave no random numbers.
    #[error("no random numbers from the operating system: {0}")]
    Randomness(getrandom::Error),
    /// The file can't be read or written.
    #[error("{}: {cause}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
}

/// Makes a new key and keeps it in a file that must not be there yet.
pub fn generate(path: &Path) -> Result<Identity, KeyFileError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(KeyFileError::Randomness)?;
    let text: String = seed.iter().map(|byte| format!("{byte:02x}")).chain([String::from("\n")]).collect();
    let written = private_file(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(Identity::from_seed(seed)),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists { path: path.to_owned() })
        }
        Err(cause) => Err(KeyFileError::Storage { path: path.to_owned(), cause }),
    }
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether other users of the machine may read a key.
pub fn is_readable_by_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        let mode = |metadata: fs::Metadata| std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        fs::metadata(path).map(mode).is_ok_and(|mode| mode & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Reads a key.
pub fn read(path: &Path) -> Result<Identity, KeyFileError> {
    let malformed = || KeyFileError::Malformed { path: path.to_owned() };
    let text = fs::read(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::Storage { path: path.to_owned(), cause },
    })?;
    let digits = text.trim_ascii();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed());
    }
    let mut seed = [0; 32];
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = str::from_utf8(pair).map_err(|_| malformed())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
    }
    Ok(Identity::from_seed(seed))
}
