//! Time-limited TURN credentials as coturn's `use-auth-secret` takes them
//! (draft-uberti-behave-turn-rest): the user name is `<unix expiry>:<user>`, the password is the base64 of
//! HMAC-SHA1 over it, keyed with the secret that service and relay share.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A secret that can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Too short to withstand guessing from one credential.
    #[error("the shared TURN secret has {len} bytes, at least {min} are needed")]
    TooShort {
        /// Bytes given.
        len: usize,
        /// Bytes needed.
        min: usize,
    },
}

/// User name and password for one peer, good until an expiry.
#[derive(Clone, Eq, PartialEq)]
pub struct TurnCredential {
    /// `<unix expiry>:<user>`.
    pub username: String,
    /// Base64 of HMAC-SHA1 over the user name.
    pub credential: String,
}

impl fmt::Debug for TurnCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnCredential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The secret in coturn's `static-auth-secret`.
#[derive(Clone)]
pub struct SharedSecret(Box<[u8]>);

impl SharedSecret {
    /// Fewest bytes of a secret: whoever holds one credential can try secrets offline.
    pub const MIN_LEN: usize = 16;

    /// Takes the secret as it stands in coturn's configuration.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] below [`SharedSecret::MIN_LEN`] bytes.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        if secret.len() < Self::MIN_LEN {
            return Err(SecretError::TooShort { len: secret.len(), min: Self::MIN_LEN });
        }
        Ok(Self(secret.as_bytes().into()))
    }

    /// The credential of `user` that the relay takes until `expires`, in seconds since the Unix epoch.
    pub fn credential(&self, user: &str, expires: u64) -> TurnCredential {
        let username = format!("{expires}:{user}");
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(username.as_bytes());
        let credential = STANDARD.encode(mac.finalize().into_bytes());
        TurnCredential { username, credential }
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '%s' '<user name>' | openssl dgst -sha1 -hmac '<secret>' -binary | base64
    #[test]
    fn credentials_are_what_openssl_computes() {
        let short = SharedSecret::new("north wind, east wind").unwrap();
        let credential = short.credential("00ff", 1_700_000_000);
        assert_eq!(credential.username, "1700000000:00ff");
        assert_eq!(credential.credential, "o2OFQQIS2mddLKuXG6zR92ttFzs=");

        let longer_than_a_sha1_block =
            SharedSecret::new("a-secret-longer-than-one-sha1-block-of-sixty-four-bytes-0123456789abcdef")
                .unwrap();
        let credential = longer_than_a_sha1_block.credential("3f1c9a", 1_750_021_600);
        assert_eq!(credential.credential, "rcXMYuaiCKlyY3HRcK72Fv+KQwU=");
    }

    #[test]
    fn a_guessable_secret_is_refused() {
        assert_eq!(SharedSecret::new("secret").unwrap_err(), SecretError::TooShort { len: 6, min: 16 });
    }

    #[test]
    fn neither_secret_nor_password_is_shown() {
        let secret = SharedSecret::new("north wind, east wind").unwrap();
        assert!(!format!("{secret:?}").contains("wind"));
        let credential = secret.credential("00ff", 1);
        assert!(!format!("{credential:?}").contains(&credential.credential));
    }
}
