//! The list of ICE servers that one peer gets.

use std::time::Duration;

use crate::{IceUrl, SharedSecret};

/// How long a TURN credential lasts by default: the hours a peer may outlive its last contact with the service.
pub const DEFAULT_CREDENTIAL_LIFETIME: Duration = Duration::from_secs(6 * 60 * 60);

/// Most URLs in all: browsers slow down and warn beyond a handful.
pub const MAX_SERVERS: usize = 8;

/// URLs that don't make a list of servers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServersError {
    /// A `stun:` URL among the relays.
    #[error("`{url}` is a STUN server, not a relay")]
    NotARelay {
        /// The URL.
        url: IceUrl,
    },
    /// A `turn:` URL without a secret to make credentials with.
    #[error("`{url}` is a relay and needs the shared secret of its coturn")]
    RelayWithoutSecret {
        /// The URL.
        url: IceUrl,
    },
    /// More than [`MAX_SERVERS`] URLs.
    #[error("{count} ICE servers are more than {MAX_SERVERS}")]
    TooMany {
        /// URLs given.
        count: usize,
    },
}

/// An entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IceServer {
    /// One URL, or several transports of one server.
    pub urls: Vec<IceUrl>,
    /// User name for TURN, empty for STUN.
    pub username: String,
    /// Credential for TURN, empty for STUN.
    pub credential: String,
}

/// Relays that share a secret with the service.
#[derive(Clone, Debug)]
pub struct TurnRelay {
    /// `turn:` and `turns:` URLs of one coturn.
    pub urls: Vec<IceUrl>,
    /// Its `static-auth-secret`.
    pub secret: SharedSecret,
    /// How long a credential lasts.
    pub lifetime: Duration,
}

/// The configured servers. Turn them into a peer's list with [`IceServers::for_peer`].
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    stun: Vec<IceUrl>,
    turn: Option<TurnRelay>,
}

impl IceServers {
    /// Servers from configuration.
    ///
    /// # Errors
    /// [`IceServersError`] for a relay without a secret, a STUN URL among the relays, or too many.
    pub fn new(stun: Vec<IceUrl>, turn: Option<TurnRelay>) -> Result<Self, IceServersError> {
        if let Some(url) = stun.iter().find(|url| url.is_relay()) {
            return Err(IceServersError::RelayWithoutSecret { url: url.clone() });
        }
        let relays = turn.as_ref().map_or(&[][..], |turn| &turn.urls);
        if let Some(url) = relays.iter().find(|url| !url.is_relay()) {
            return Err(IceServersError::NotARelay { url: url.clone() });
        }
        let count = stun.len() + relays.len();
        if count > MAX_SERVERS {
            return Err(IceServersError::TooMany { count });
        }
        Ok(Self { stun, turn: turn.filter(|turn| !turn.urls.is_empty()) })
    }

    /// The list for one peer: STUN servers, and relays with a credential of its own.
    ///
    /// `peer` is the peer's id as text, `now` is in seconds since the Unix epoch.
    pub fn for_peer(&self, peer: &str, now: u64) -> Vec<IceServer> {
        let stun = self.stun.iter().map(|url| IceServer {
            urls: vec![url.clone()],
            username: String::new(),
            credential: String::new(),
        });
        let turn = self.turn.iter().map(|relay| {
            let granted = relay.secret.credential(peer, now.saturating_add(relay.lifetime.as_secs()));
            IceServer { urls: relay.urls.clone(), username: granted.username, credential: granted.credential }
        });
        stun.chain(turn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> IceUrl {
        text.parse().unwrap()
    }

    fn relay(urls: &[&str]) -> TurnRelay {
        TurnRelay {
            urls: urls.iter().map(|text| url(text)).collect(),
            secret: SharedSecret::new("north wind, east wind").unwrap(),
            lifetime: Duration::from_secs(600),
        }
    }

    #[test]
    fn each_peer_gets_a_credential_of_its_own() {
        let turn = relay(&["turn:relay.example.org", "turns:relay.example.org:443?transport=tcp"]);
        let servers = IceServers::new(vec![url("stun:stun.example.org")], Some(turn.clone())).unwrap();
        let list = servers.for_peer("00ff", 1_699_999_400);
        assert_eq!(list.len(), 2);
        assert_eq!(
            (list[0].urls.as_slice(), list[0].username.as_str()),
            (&[url("stun:stun.example.org")][..], "")
        );
        let expected = turn.secret.credential("00ff", 1_700_000_000);
        assert_eq!((&list[1].username, &list[1].credential), (&expected.username, &expected.credential));
        assert_eq!(list[1].urls, turn.urls);
        assert_ne!(servers.for_peer("00fe", 1_699_999_400)[1].credential, list[1].credential);
    }

    #[test]
    fn a_list_that_cannot_work_is_refused() {
        let turn = url("turn:relay.example.org");
        let refused = IceServers::new(vec![turn.clone()], None).unwrap_err();
        assert_eq!(refused, IceServersError::RelayWithoutSecret { url: turn });
        let stun = url("stun:stun.example.org");
        let refused = IceServers::new(Vec::new(), Some(relay(&["stun:stun.example.org"]))).unwrap_err();
        assert_eq!(refused, IceServersError::NotARelay { url: stun.clone() });
        let refused = IceServers::new(vec![stun; 8], Some(relay(&["turn:relay.example.org"]))).unwrap_err();
        assert_eq!(refused, IceServersError::TooMany { count: 9 });
    }

    #[test]
    fn no_servers_is_a_list_too() {
        assert!(IceServers::default().for_peer("00ff", 0).is_empty());
    }
}
