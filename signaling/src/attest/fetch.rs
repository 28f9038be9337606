//! Reads one segment from its origin, hashing as it comes and keeping none of it.
//!
//! Whatever an origin answers, the result is the exact bytes the player would have got, or an error: a wrong root would turn
//! peers against honest bytes.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, RANGE, TRANSFER_ENCODING},
    redirect,
};
use tabswarm_core::{
    content::{ContentError, GROUP_LEN, GroupList, ListHasher},
    units::ByteRange,
    wire::{AttestFailure, MAX_LIST_PART},
};

use super::{address::PublicResolver, origin::Target};

/// By this the origin's log tells the service's requests from viewers'.
pub const USER_AGENT: &str = concat!("tabswarm-attestor/", env!("CARGO_PKG_VERSION"));

/// Most bytes of a segment that is attested: its list fits one message.
const MAX_ATTESTED_LEN: u64 = MAX_LIST_PART as u64 * GROUP_LEN as u64;

/// Most bytes read past to get to a range, where the origin answers with the whole file.
const MAX_SKIPPED_LEN: u64 = 64 * 1024 * 1024;

/// Most redirects, all within the origin.
const MAX_REDIRECTS: usize = 3;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the answer came too late")]
    Deadline,
    #[error("the origin answered with content encoding that was not asked for")]
    Encoded,
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("the request failed: {}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("{found} bytes came, {expected} were expected")]
    Length { found: u64, expected: u64 },
    #[error("the origin answered another range")]
    Range,
    #[error("the origin answered {0}")]
    Status(StatusCode),
    #[error("a segment over {MAX_ATTESTED_LEN} bytes is not attested")]
    TooLong,
    #[error("the answer has no length, so that its end can't be told from a broken connection")]
    Unframed,
}

impl FetchError {
    pub(super) fn reason(&self) -> AttestFailure {
        match self {
            Self::TooLong => AttestFailure::Refused,
            _ => AttestFailure::Origin,
        }
    }
}

/// reqwest says only "error sending request" and leaves the cause to its sources; the URL is logged apart.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = if text.is_empty() { cause.to_string() } else { format!("{text}: {cause}") };
        source = cause.source();
    }
    text
}

/// The client of all requests.
pub(super) fn client(allow_private: bool) -> Result<Client, reqwest::Error> {
    // A second call finds the provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let within_origin = redirect::Policy::custom(|attempt| {
        let within = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if !within {
            attempt.error("a redirect leaves the configured origin")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    });
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(within_origin)
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT);
    if allow_private { builder.build() } else { builder.dns_resolver(Arc::new(PublicResolver)).build() }
}

/// Reads a segment and hashes it to its list.
pub(super) async fn fetch_list(client: &Client, target: &Target) -> Result<GroupList, FetchError> {
    let mut request = client.get(target.url().clone()).header(ACCEPT_ENCODING, "identity");
    if let Some((name, value)) = target.header() {
        request = request.header(name, value);
    }
    if let Some(range) = target.range() {
        if range.len() > MAX_ATTESTED_LEN {
            return Err(FetchError::TooLong);
        }
        request = request.header(RANGE, format!("bytes={}-{}", range.start(), range.end() - 1));
    }
    let mut response = request.send().await?;
    let mut body = Body::of(&response, target.range())?;
    let mut hasher = ListHasher::new();
    while let Some(chunk) = response.chunk().await? {
        let bytes = body.take(&chunk)?;
        hasher.update(bytes)?;
        if body.is_complete() {
            break;
        }
    }
    body.finish()?;
    Ok(hasher.finish_list()?)
}

/// How the bytes of a segment lie in an answer's body.
#[derive(Debug)]
struct Body {
    /// Bytes before the segment that are still to come.
    skip: u64,
    /// Bytes of the segment, if that is known before its end.
    expected: Option<u64>,
    /// Whether bytes may come behind the segment.
    more: bool,
    taken: u64,
}

impl Body {
    fn of(response: &Response, range: Option<ByteRange>) -> Result<Self, FetchError> {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        if header(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(FetchError::Encoded);
        }
        let body = match (status, range) {
            (StatusCode::OK, None) => {
                let expected = response.content_length();
                if expected.is_none() && !response.headers().contains_key(TRANSFER_ENCODING) {
                    return Err(FetchError::Unframed);
                }
                Self { skip: 0, expected, more: false, taken: 0 }
            }
            (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                if header(CONTENT_RANGE).and_then(parse_content_range) != Some(range) {
                    return Err(FetchError::Range);
                }
                Self { skip: 0, expected: Some(range.len()), more: false, taken: 0 }
            }
            // RFC 9110 §14.2: an origin may ignore Range.
            (StatusCode::OK, Some(range)) => {
                if range.start() > MAX_SKIPPED_LEN {
                    return Err(FetchError::Range);
                }
                Self { skip: range.start(), expected: Some(range.len()), more: true, taken: 0 }
            }
            _ => return Err(FetchError::Status(status)),
        };
        match body.expected {
            Some(expected) if expected > MAX_ATTESTED_LEN => Err(FetchError::TooLong),
            _ => Ok(body),
        }
    }

    /// The part of the next bytes that belongs to the segment.
    fn take<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], FetchError> {
        let skipped = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        self.skip -= skipped as u64;
        let mut bytes = &chunk[skipped..];
        if let Some(expected) = self.expected {
            let left = usize::try_from(expected - self.taken).unwrap_or(usize::MAX);
            if bytes.len() > left && !self.more {
                return Err(FetchError::Length { found: self.taken + bytes.len() as u64, expected });
            }
            bytes = &bytes[..left.min(bytes.len())];
        }
        self.taken += bytes.len() as u64;
        if self.taken > MAX_ATTESTED_LEN { Err(FetchError::TooLong) } else { Ok(bytes) }
    }

    /// Whether the rest of the answer can be left unread.
    fn is_complete(&self) -> bool {
        self.more && self.expected == Some(self.taken)
    }

    fn finish(&self) -> Result<(), FetchError> {
        match self.expected {
            Some(expected) if expected != self.taken => {
                Err(FetchError::Length { found: self.taken, expected })
            }
            _ => Ok(()),
        }
    }
}

/// `bytes 0-99/1234`, or `*` for the size of the whole.
fn parse_content_range(value: &str) -> Option<ByteRange> {
    let (range, _) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    ByteRange::new(first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(skip: u64, expected: Option<u64>, more: bool) -> Body {
        Body { skip, expected, more, taken: 0 }
    }

    #[test]
    fn the_slice_of_a_whole_file_is_taken_wherever_chunks_end() {
        let mut body = body(5, Some(4), true);
        let mut taken = Vec::new();
        for chunk in [&b"012"[..], b"34567", b"89abc"] {
            taken.extend_from_slice(body.take(chunk).unwrap());
        }
        assert_eq!(taken, b"5678");
        assert!(body.is_complete());
        assert!(body.finish().is_ok());
    }

    #[test]
    fn a_body_that_is_short_or_long_is_no_segment() {
        let mut short = body(0, Some(4), false);
        short.take(b"012").unwrap();
        assert!(matches!(short.finish(), Err(FetchError::Length { found: 3, expected: 4 })));
        assert!(matches!(short.take(b"34"), Err(FetchError::Length { found: 5, expected: 4 })));
        let mut short = body(10, Some(4), true);
        short.take(b"012").unwrap();
        assert!(short.finish().is_err());
    }

    #[test]
    fn a_body_of_unknown_length_stops_at_the_limit() {
        let mut endless = body(0, None, false);
        let chunk = vec![0; 1024 * 1024];
        for _ in 0..16 {
            endless.take(&chunk).unwrap();
        }
        assert!(matches!(endless.take(b"1"), Err(FetchError::TooLong)));
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), ByteRange::new(0, 100));
        assert_eq!(parse_content_range("bytes 5-5/*"), ByteRange::new(5, 6));
        for bad in ["bytes */1234", "bytes 9-5/10", "0-9/10", "bytes 0-18446744073709551615/*", "bytes 1-/9"]
        {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
