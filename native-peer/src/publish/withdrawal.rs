//! What a publisher withdraws: by content id, or by a path that is hashed once more.

use std::{convert::Infallible, fmt, str::FromStr};

use tabswarm_core::{
    bounded::BoundedVec,
    content::{MAX_BLOCKED, Manifest, ManifestError},
    id::ContentId,
};

/// Something to withdraw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Withdrawal {
    /// By its address.
    Content(ContentId),
    /// Every segment of a file, by its path relative to the master playlist.
    Path(String),
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(id) => id.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

impl FromStr for Withdrawal {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Path(text.to_owned()), Self::Content))
    }
}

impl Withdrawal {
    fn contents<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = ContentId> + 'a {
        let (id, path) = match self {
            Self::Content(id) => (Some(*id), None),
            Self::Path(path) => (None, Some(path)),
        };
        let named = manifest
            .segments()
            .iter()
            .filter(move |entry| path.is_some_and(|path| entry.key().path() == path));
        id.into_iter().chain(named.map(|entry| entry.root()))
    }

    /// Whether it names something of a manifest, or an address.
    pub(crate) fn is_known(&self, manifest: &Manifest) -> bool {
        self.contents(manifest).next().is_some()
    }
}

/// The manifest with what is withdrawn now, and what the last one withdrew: nothing comes back by itself.
pub(crate) fn withdraw(
    manifest: Manifest,
    withdrawals: &[Withdrawal],
    last: Option<&Manifest>,
) -> Result<Manifest, ManifestError> {
    let mut contents: Vec<ContentId> = last.map_or(Vec::new(), |last| last.withdrawn().to_vec());
    contents.extend(withdrawals.iter().flat_map(|withdrawal| withdrawal.contents(&manifest)));
    contents.sort_unstable();
    contents.dedup();
    let contents = BoundedVec::<ContentId, MAX_BLOCKED>::try_from(contents)
        .map_err(|_| ManifestError::TooMany { what: "withdrawn segments" })?;
    Ok(manifest.withdrawing(contents))
}
