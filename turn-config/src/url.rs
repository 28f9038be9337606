//! URLs of ICE servers: `stun:` and `stuns:` (RFC 7064), `turn:` and `turns:` (RFC 7065).

use std::{fmt, str::FromStr};

/// Most bytes of an ICE server's URL.
pub const MAX_ICE_URL_LEN: usize = 256;

/// A text that is no URL of an ICE server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IceUrlError {
    /// The part between scheme and port is empty or has characters no host has.
    #[error("`{url}` has no valid host: write it as stun:stun.example.org:3478")]
    Host {
        /// The text.
        url: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("`{url}` has an invalid port: it must be 1 to 65535")]
    Port {
        /// The text.
        url: String,
    },
    /// Something other than `?transport=udp` or `?transport=tcp` behind a TURN server's host and port.
    #[error("`{url}` has an unknown query: only ?transport=udp or ?transport=tcp, on turn: and turns:")]
    Query {
        /// The text.
        url: String,
    },
    /// The URL does not begin with a known scheme.
    #[error("`{url}` does not begin with stun:, stuns:, turn: or turns:")]
    Scheme {
        /// The text.
        url: String,
    },
    /// Longer than [`MAX_ICE_URL_LEN`].
    #[error("an ICE server URL of {len} bytes is over the limit of {MAX_ICE_URL_LEN}")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
}

/// The URL of a STUN or TURN server, checked, so that `new RTCPeerConnection` in a page can't throw for it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct IceUrl {
    text: String,
    relay: bool,
}

impl IceUrl {
    /// The URL as `RTCIceServer.urls` takes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a TURN server, which needs a credential.
    pub fn is_relay(&self) -> bool {
        self.relay
    }
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(named)
}

/// Splits a trailing `:port` off, if the text has one; brackets of an IPv6 literal stay together.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

impl FromStr for IceUrl {
    type Err = IceUrlError;

    fn from_str(text: &str) -> Result<Self, IceUrlError> {
        if text.len() > MAX_ICE_URL_LEN {
            return Err(IceUrlError::TooLong { len: text.len() });
        }
        let url = || text.to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(|| IceUrlError::Scheme { url: url() })?;
        let relay = match scheme {
            "stun" | "stuns" => false,
            "turn" | "turns" => true,
            _ => return Err(IceUrlError::Scheme { url: url() }),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let known = |query| relay && matches!(query, "transport=udp" | "transport=tcp");
        if !query.is_none_or(known) {
            return Err(IceUrlError::Query { url: url() });
        }
        let (host, port) = split_port(authority);
        if !is_host(host) {
            return Err(IceUrlError::Host { url: url() });
        }
        let valid_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0);
        if !port.is_none_or(valid_port) {
            return Err(IceUrlError::Port { url: url() });
        }
        Ok(Self { text: url(), relay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_kinds_are_taken_as_they_are() {
        let taken = [
            ("stun:127.0.0.1:8080", false),
            ("stun:stun.example.org", false),
            ("stuns:stun.example.org:5349", false),
            ("turn:[2001:db8::1]:3478?transport=udp", true),
            ("turns:relay.example.org:443?transport=tcp", true),
        ];
        for (text, relay) in taken {
            let url: IceUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.is_relay()), (text, relay));
        }
    }

    #[test]
    fn a_bad_url_says_what_is_wrong_with_it() {
        let error = |text: &str| text.parse::<IceUrl>().unwrap_err();
        let url = |text: &str| text.to_owned();
        for text in ["example.org", "http://example.org", "STUN:example.org", ""] {
            assert_eq!(error(text), IceUrlError::Scheme { url: url(text) });
        }
        for text in
            ["stun:", "stun://example.org", "stun:exa mple.org", "stun:[::1", "stun:::1:3478", "turn:[x]:1"]
        {
            assert_eq!(error(text), IceUrlError::Host { url: url(text) });
        }
        for text in ["stun:example.org:", "stun:example.org:0", "stun:example.org:65536", "turn:[::1]:x"] {
            assert_eq!(error(text), IceUrlError::Port { url: url(text) });
        }
        for text in ["stun:example.org?transport=udp", "turn:example.org?transport=sctp", "turn:example.org?"]
        {
            assert_eq!(error(text), IceUrlError::Query { url: url(text) });
        }
        let long = format!("stun:{}", "a".repeat(MAX_ICE_URL_LEN));
        assert_eq!(error(&long), IceUrlError::TooLong { len: MAX_ICE_URL_LEN + 5 });
    }
}
