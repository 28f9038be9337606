//! STUN and TURN servers as a page needs them: checked URLs and time-limited TURN credentials.
//!
//! Knows nothing of peers beyond their id as text, opens no socket and reads no clock.

mod credential;
mod servers;
mod url;

pub use credential::{SecretError, SharedSecret, TurnCredential};
pub use servers::{
    DEFAULT_CREDENTIAL_LIFETIME, IceServer, IceServers, IceServersError, MAX_SERVERS, TurnRelay,
};
pub use url::{IceUrl, IceUrlError, MAX_ICE_URL_LEN};
