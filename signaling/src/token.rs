//! The static access tokens of a service that is not open to everybody.

use std::fmt;

/// A text that is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// No characters at all.
    #[error("an access token is empty: leave the option out to let everybody in")]
    Empty,
    /// Longer than a hello carries.
    #[error("an access token has {len} bytes, at most {} are possible", AccessToken::MAX_LEN)]
    TooLong {
        /// Bytes given.
        len: usize,
    },
}

/// A shared token; only its hash is kept.
#[derive(Clone)]
pub struct AccessToken(blake3::Hash);

impl AccessToken {
    /// Most bytes of a token.
    pub const MAX_LEN: usize = 4096;

    /// Takes a token.
    ///
    /// # Errors
    /// [`TokenError`] for an empty or too long one.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        match token.len() {
            0 => Err(TokenError::Empty),
            len if len > Self::MAX_LEN => Err(TokenError::TooLong { len }),
            _ => Ok(Self(blake3::hash(token.as_bytes()))),
        }
    }

    /// Whether `token` is this one, in time that does not depend on how much of it is right.
    pub(crate) fn matches(&self, token: &str) -> bool {
        // Equality of blake3::Hash is constant-time.
        self.0 == blake3::hash(token.as_bytes())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}
