//! The block list: a file with the addresses of what no peer is to keep, give or take, read again when it changes.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use tabswarm_core::{bounded::BoundedVec, content::MAX_BLOCKED, id::ContentId};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::service::Service;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of the file: room for comments.
const MAX_FILE_LEN: u64 = 1024 * 1024;

/// Why a block list is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocklistError {
    /// A line that is no address.
    #[error("{}, line {line}: 64 hexadecimal digits of a content id are expected", path.display())]
    NoAddress {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// More than a list may have.
    #[error("{}: more than {MAX_BLOCKED} content ids, or a file of more than 1 MiB", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("cannot read the block list {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is blocked.
pub(crate) type Blocked = BoundedVec<ContentId, MAX_BLOCKED>;

/// Reads a file: a content id a line, `#` begins a comment.
pub(crate) fn read(path: &Path) -> Result<Blocked, BlocklistError> {
    let unreadable = |source| BlocklistError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let mut file = File::open(path).map_err(unreadable)?.take(MAX_FILE_LEN + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    let too_long = || BlocklistError::TooLong { path: path.to_owned() };
    if text.len() as u64 > MAX_FILE_LEN {
        return Err(too_long());
    }
    let mut contents: Vec<ContentId> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let content = entry
            .parse()
            .map_err(|_| BlocklistError::NoAddress { path: path.to_owned(), line: index + 1 })?;
        contents.push(content);
    }
    contents.sort_unstable();
    contents.dedup();
    Blocked::try_from(contents).map_err(|_| too_long())
}

/// Looks at the file until the service ends. One that is wrong or gone changes nothing.
pub(crate) async fn watch(service: Service, path: PathBuf, mut current: Blocked) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = service.stopping();
    let mut broken = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopping.wait() => return,
        }
        match read(&path) {
            Ok(contents) if contents == current => broken = false,
            Ok(contents) => {
                broken = false;
                info!(blocked = contents.len(), "block list");
                service.block(contents.clone());
                current = contents;
            }
            Err(error) => {
                if !std::mem::replace(&mut broken, true) {
                    warn!(%error, "the block list before it counts on");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocked");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn addresses_are_read_and_comments_are_not() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let (_dir, path) = written(&format!("# why\n\n{two} # a segment\n  {one}\n{two}\n"));
        let ids: Vec<String> = read(&path).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ids, [one, two]);
        let (_dir, path) = written("");
        assert!(read(&path).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let (_dir, path) = written(&format!("{}\nsegment-05.m4s\n", "1".repeat(64)));
        assert!(matches!(read(&path), Err(BlocklistError::NoAddress { line: 2, .. })));
        let lines: String = (0..=MAX_BLOCKED).map(|number| format!("{number:064x}\n")).collect();
        let (_dir, path) = written(&lines);
        assert!(matches!(read(&path), Err(BlocklistError::TooLong { .. })));
        let (dir, path) = written(&"#".repeat(1 << 21));
        assert!(matches!(read(&path), Err(BlocklistError::TooLong { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(BlocklistError::Unreadable { .. })));
    }
}
