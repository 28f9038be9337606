//! The key that certifies peers and signs attestations: made on first start, kept in the state directory.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tabswarm_core::{
    content::{BlockList, SignedBlockList},
    id::{NetworkId, Nonce, PeerId},
    identity::{
        CERTIFICATE_LIFETIME, Certificate, Identity, IdentityError, PublicKey, Rights, Role,
        SignedCertificate,
    },
    time::WallTime,
};
use tempfile::NamedTempFile;
use tracing::warn;

use crate::{
    blocklist::Blocked,
    groups::{GroupKey, Locality},
};

/// Name of the key's file in the state directory: the 32 bytes of the seed.
pub const ISSUER_KEY_FILE: &str = "issuer.key";

/// How long after its expiry a certificate still keeps its peer id: as long as peers go on without the service.
const PREVIOUS_GRACE: Duration = Duration::from_secs(6 * 60 * 60);

/// Why the issuer's key can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// The file is not a seed.
    #[error(
        "{} has {len} bytes, an issuer key has 32: restore it, or move it away and a new network begins",
        path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        len: usize,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness for the issuer key: {0}")]
    Randomness(getrandom::Error),
    /// The file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory or the file can't be written.
    #[error("cannot write {}: {source}; choose another directory with --state-dir", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Certifies peers.
pub(crate) struct Issuer {
    identity: Identity,
    groups: GroupKey,
}

/// Who is certified: what stays the same over all of a peer's certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Holder {
    pub(crate) key: PublicKey,
    pub(crate) nonce: Nonce,
    /// When it was certified first.
    pub(crate) since: WallTime,
}

impl Issuer {
    /// Signs what is blocked.
    pub(crate) fn sign_blocked(&self, issued: WallTime, contents: Blocked) -> SignedBlockList {
        BlockList::sign(&self.identity, issued, contents)
    }

    /// Reads the key of a state directory, or makes both.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, IssuerError> {
        let path = state_dir.join(ISSUER_KEY_FILE);
        let seed = match read_seed(&path) {
            Err(IssuerError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create_seed(state_dir, &path)
            }
            read => read,
        };
        Ok(Self::from_seed(seed?))
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        Self { identity: Identity::from_seed(seed), groups: GroupKey::derive(&seed) }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    pub(crate) fn network(&self) -> NetworkId {
        NetworkId::of_issuer(&self.public_key())
    }

    pub(crate) fn locality(&self, address: std::net::IpAddr) -> Locality {
        self.groups.locality(address)
    }

    /// Where a peer is that a proxy says nothing of.
    pub(crate) fn unknown_locality(&self) -> Locality {
        self.groups.unknown()
    }

    /// Who an earlier certificate of this key says it is, if this issuer gave it not too long ago.
    pub(crate) fn known(
        &self,
        previous: &SignedCertificate,
        holder: PublicKey,
        now: WallTime,
    ) -> Option<Holder> {
        let issuers = [self.public_key()];
        let verified = previous.verify(&issuers, now).or_else(|error| match error {
            IdentityError::Expired { at } if now < at + PREVIOUS_GRACE => {
                previous.verify(&issuers, WallTime::from_secs(at.as_secs().saturating_sub(1)))
            }
            other => Err(other),
        });
        verified
            .ok()
            .filter(|certificate| certificate.public_key == holder)
            .map(|Certificate { public_key: key, nonce, since, .. }| Holder { key, nonce, since })
    }

    /// Certifies a tab.
    pub(crate) fn certify(
        &self,
        holder: Holder,
        from: Locality,
        now: WallTime,
    ) -> (PeerId, SignedCertificate) {
        let certificate = Certificate {
            public_key: holder.key,
            nonce: holder.nonce,
            group: from.group,
            role: Role::Tab,
            rights: Rights::SWARM.with(Rights::UPLOAD),
            since: holder.since,
            issued: now,
            expires: now + CERTIFICATE_LIFETIME,
            issuer: self.public_key(),
        };
        (certificate.peer_id(), certificate.sign(&self.identity))
    }
}

fn read_seed(path: &Path) -> Result<[u8; 32], IssuerError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        warn_if_others_may_read(&file, path);
        // One more than a seed has tells a longer file apart without reading all of it.
        file.take(33).read_to_end(&mut bytes)
    });
    read.map_err(|source| IssuerError::Read { path: path.to_owned(), source })?;
    let len = bytes.len();
    bytes.try_into().map_err(|_| IssuerError::Length { path: path.to_owned(), len })
}

fn create_seed(state_dir: &Path, path: &Path) -> Result<[u8; 32], IssuerError> {
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source| IssuerError::Write { path, source }
    };
    fs::create_dir_all(state_dir).map_err(write_error(state_dir))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(IssuerError::Randomness)?;
    // Written aside first: a crash must not leave half a key that stops the next start. One that another start has made
    // meanwhile stays, and counts.
    let written = NamedTempFile::new_in(state_dir).and_then(|mut file| {
        file.write_all(&seed)?;
        file.as_file().sync_all()?;
        Ok(file)
    });
    match written.map_err(write_error(path))?.persist_noclobber(path) {
        Ok(_) => Ok(seed),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => read_seed(path),
        Err(error) => Err(write_error(path)(error.error)),
    }
}

/// A key that others may read is as good as theirs; whoever made it so may not have meant to.
fn warn_if_others_may_read(file: &File, path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = file.metadata()
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
    {
        warn!(path = %path.display(), "other users may read the issuer's key: run chmod 600 on it");
    }
    #[cfg(not(unix))]
    let _ = (file, path);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_secs(1_000_000);

    fn holder() -> Holder {
        let key = Identity::from_seed([9; 32]).public_key();
        Holder { key, nonce: Nonce::from_bytes([4; 16]), since: WallTime::from_secs(900_000) }
    }

    fn certified(issuer: &Issuer) -> SignedCertificate {
        let from = issuer.locality([203, 0, 113, 1].into());
        issuer.certify(holder(), from, NOW).1
    }

    #[test]
    fn an_earlier_certificate_keeps_its_nonce_and_age_until_six_hours_after_expiry() {
        let issuer = Issuer::from_seed([1; 32]);
        let previous = certified(&issuer);
        let expired = NOW + CERTIFICATE_LIFETIME;
        let last = WallTime::from_secs((expired + PREVIOUS_GRACE).as_secs() - 1);
        for now in [NOW, expired, last] {
            assert_eq!(issuer.known(&previous, holder().key, now), Some(holder()));
        }
        assert_eq!(issuer.known(&previous, holder().key, expired + PREVIOUS_GRACE), None);
    }

    #[test]
    fn of_two_first_starts_at_once_the_later_takes_the_key_of_the_other() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(ISSUER_KEY_FILE);
        let first = create_seed(state.path(), &path).unwrap();
        assert_eq!(create_seed(state.path(), &path).unwrap(), first);
        assert_eq!(read_seed(&path).unwrap(), first);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_certificate_of_another_key_or_issuer_keeps_nothing() {
        let issuer = Issuer::from_seed([1; 32]);
        let thief = Identity::from_seed([8; 32]).public_key();
        assert_eq!(issuer.known(&certified(&issuer), thief, NOW), None);
        let other = certified(&Issuer::from_seed([2; 32]));
        assert_eq!(issuer.known(&other, holder().key, NOW), None);
    }
}
