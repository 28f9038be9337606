//! Where segments of a stream are fetched from, and with which credential.

use std::{fmt, str::FromStr};

use reqwest::header::{HeaderName, HeaderValue};
use tabswarm_core::{content::SegmentKey, id::StreamId, units::ByteRange, wire::AttestFailure};
use url::{Host, Url};

use super::{address::is_private, ledger::Part};

/// A configured origin that does not work.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestOriginError {
    /// The extension is none of a file name.
    #[error("`{extension}` is no extension of a file name: letters and digits, for example seg")]
    Extension {
        /// What was given.
        extension: String,
    },
    /// The header is not `Name: value`.
    #[error("the attestor's header must be `Name: value`, for example `Authorization: Bearer …`")]
    Header,
    /// The prefix is not a directory.
    #[error("stream prefix `{prefix}` must begin and end with /, for example /live/")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The origin is not an HTTP URL of a host, or it has a user, a query or a fragment.
    #[error("origin `{origin}` must be http:// or https:// with a host, and no user, query or fragment")]
    Url {
        /// The origin.
        origin: String,
    },
}

/// File name extensions of segments. Nothing else is attested: the root of a few bytes tells what they are, so a key, a
/// playlist or a page must not be asked for.
pub(super) const MEDIA_EXTENSIONS: [&str; 19] = [
    "aac", "ac3", "ac4", "cmfa", "cmft", "cmfv", "ec3", "flac", "m2ts", "m4a", "m4s", "m4v", "mp3", "mp4",
    "opus", "ts", "vtt", "webm", "webvtt",
];

/// A file name extension of segments besides the usual ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestExtension(String);

impl FromStr for AttestExtension {
    type Err = AttestOriginError;

    fn from_str(extension: &str) -> Result<Self, AttestOriginError> {
        let bare = extension.strip_prefix('.').unwrap_or(extension);
        if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(AttestOriginError::Extension { extension: extension.to_owned() });
        }
        Ok(Self(bare.to_owned()))
    }
}

/// Whether a path is that of a segment by its extension.
pub(super) fn is_segment(path: &str, more: &[AttestExtension]) -> bool {
    // Some servers cut a path at `;`, and it would be another file's extension that was looked at.
    let name = path.rsplit('/').next().filter(|_| !path.contains(';'));
    let Some((_, extension)) = name.and_then(|name| name.rsplit_once('.')) else { return false };
    let mut known = MEDIA_EXTENSIONS.into_iter().chain(more.iter().map(|more| more.0.as_str()));
    known.any(|known| known.eq_ignore_ascii_case(extension))
}

/// The origin of all streams under a prefix.
#[derive(Clone)]
pub struct AttestOrigin {
    stream_prefix: String,
    base: Url,
    header: Option<(HeaderName, HeaderValue)>,
}

impl AttestOrigin {
    /// An origin for the streams whose name begins with `stream_prefix`, a directory such as `/` or `/live/`.
    ///
    /// The stream `/live/a/master.m3u8` is fetched from `<origin>/live/a/`. `header` goes out with every request to the
    /// origin, and nowhere else: `Name: value`.
    ///
    /// # Errors
    /// [`AttestOriginError`], which says what to write instead.
    pub fn new(stream_prefix: &str, origin: &str, header: Option<&str>) -> Result<Self, AttestOriginError> {
        if !stream_prefix.starts_with('/') || !stream_prefix.ends_with('/') {
            return Err(AttestOriginError::Prefix { prefix: stream_prefix.to_owned() });
        }
        let url_error = || AttestOriginError::Url { origin: origin.to_owned() };
        let base = Url::parse(origin).map_err(|_| url_error())?;
        let plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !plain {
            return Err(url_error());
        }
        let header = header.map(parse_header).transpose()?;
        Ok(Self { stream_prefix: stream_prefix.to_owned(), base, header })
    }

    pub(super) fn serves(&self, stream_name: &str) -> bool {
        stream_name.starts_with(&self.stream_prefix)
    }

    /// Whether the URL itself has a private address; a name is checked when it is resolved.
    pub(super) fn is_private_literal(&self) -> bool {
        match self.base.host() {
            Some(Host::Ipv4(v4)) => is_private(v4.into()),
            Some(Host::Ipv6(v6)) => is_private(v6.into()),
            Some(Host::Domain(_)) | None => false,
        }
    }

    /// Where a segment of a stream is.
    pub(super) fn target(&self, stream_name: &str, key: &SegmentKey) -> Result<Target, AttestFailure> {
        // The name has to pass the same rules as a key: no host, no query, no way upwards.
        let name = SegmentKey::new(stream_name, None).map_err(|_| AttestFailure::Refused)?;
        let path = if key.path().starts_with('/') {
            key.path().to_owned()
        } else {
            let directory = name.path().rfind('/').map_or("", |slash| &name.path()[..=slash]);
            format!("{directory}{}", key.path())
        };
        // An absolute key must not turn the credential of one part of the site on another.
        if !path.starts_with(&self.stream_prefix) {
            return Err(AttestFailure::Refused);
        }
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| AttestFailure::Refused)?;
        if url.origin() != self.base.origin() || url.query().is_some() || url.fragment().is_some() {
            return Err(AttestFailure::Refused);
        }
        Ok(Target { url, header: self.header.clone(), range: key.range() })
    }
}

fn parse_header(header: &str) -> Result<(HeaderName, HeaderValue), AttestOriginError> {
    let (name, value) = header.split_once(':').ok_or(AttestOriginError::Header)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| AttestOriginError::Header)?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| AttestOriginError::Header)?;
    value.set_sensitive(true);
    Ok((name, value))
}

impl fmt::Debug for AttestOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttestOrigin({} at {})", self.stream_prefix, self.base)
    }
}

impl fmt::Display for AttestOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str())
    }
}

/// One request to an origin.
#[derive(Clone)]
pub(super) struct Target {
    url: Url,
    header: Option<(HeaderName, HeaderValue)>,
    range: Option<ByteRange>,
}

impl Target {
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.header.clone()
    }

    pub(super) fn range(&self) -> Option<ByteRange> {
        self.range
    }

    /// What of which of a stream's files it is. A file has one URL, where its keys may be several.
    pub(super) fn part_of(&self, stream: &StreamId) -> Part {
        let mut file = blake3::Hasher::new();
        file.update(stream.as_bytes()).update(self.url.as_str().as_bytes());
        Part { file: file.finalize(), range: self.range }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(prefix: &str, url: &str) -> AttestOrigin {
        AttestOrigin::new(prefix, url, None).unwrap()
    }

    fn url_of(origin: &AttestOrigin, stream: &str, path: &str) -> Result<String, AttestFailure> {
        let key = SegmentKey::new(path, None).unwrap();
        origin.target(stream, &key).map(|target| target.url().to_string())
    }

    #[test]
    fn segments_are_beside_the_master_playlist_or_at_an_absolute_path() {
        let plain = origin("/", "https://origin.example");
        let url = url_of(&plain, "/live/a/master.m3u8", "720p/1.m4s");
        assert_eq!(url.as_deref(), Ok("https://origin.example/live/a/720p/1.m4s"));
        let url = url_of(&plain, "/live/a/master.m3u8", "/other/1.m4s");
        assert_eq!(url.as_deref(), Ok("https://origin.example/other/1.m4s"));
        let deep = origin("/", "http://origin.example:8080/vod/");
        let url = url_of(&deep, "/a.m3u8", "%C3%A4/1.ts");
        assert_eq!(url.as_deref(), Ok("http://origin.example:8080/vod/%C3%A4/1.ts"));
    }

    #[test]
    fn nothing_leads_out_of_the_origin_or_the_prefix() {
        let live = origin("/live/", "https://origin.example");
        assert!(live.serves("/live/a/master.m3u8"));
        assert!(!live.serves("/lively/master.m3u8") && !live.serves("live/"));
        for stream in ["/live/../admin/a.m3u8", "/live/a?b/c.m3u8", "/live/%2e%2e/a.m3u8", "/live/\\a.m3u8"] {
            assert_eq!(url_of(&live, stream, "1.ts"), Err(AttestFailure::Refused), "{stream}");
        }
        assert_eq!(url_of(&live, "/live/a.m3u8", "/admin/1.ts"), Err(AttestFailure::Refused));
        assert_eq!(url_of(&live, "/live/./.././a.m3u8", "1.ts"), Err(AttestFailure::Refused));
    }

    #[test]
    fn only_files_with_an_extension_of_segments_are_attested() {
        let more: [AttestExtension; 2] = ["seg".parse().unwrap(), ".Frag".parse().unwrap()];
        for path in ["a/1.m4s", "1.TS", "/x.y/init.mp4", "subs.de.vtt", "a.seg", "a.frag"] {
            assert!(is_segment(path, &more), "{path}");
        }
        for path in [
            "key.bin",
            "v0.m3u8",
            "api.json",
            "index.html",
            "a.ts/key",
            "key",
            "ts",
            "key;.ts",
            "k;/1.ts",
            "1.ts.",
            "1.ts%00",
            "a.sega",
        ] {
            assert!(!is_segment(path, &more), "{path}");
        }
        assert!(!is_segment("a.seg", &[]));
        for bad in ["", ".", "a.b", "a/b", "é"] {
            assert!(bad.parse::<AttestExtension>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_that_cannot_work_says_why() {
        let error = |prefix, url, header| AttestOrigin::new(prefix, url, header).unwrap_err();
        for url in
            ["origin.example", "ftp://origin.example", "https://u:p@origin.example", "https://o.example/?a"]
        {
            assert_eq!(error("/", url, None), AttestOriginError::Url { origin: url.to_owned() });
        }
        let prefix = AttestOriginError::Prefix { prefix: "live".to_owned() };
        assert_eq!(error("live", "https://origin.example", None), prefix);
        for header in ["Bearer x", "Bad Name: x", "X: a\nb"] {
            assert_eq!(
                error("/", "https://origin.example", Some(header)),
                AttestOriginError::Header,
                "{header}"
            );
        }
    }

    #[test]
    fn private_addresses_in_the_url_are_seen() {
        for url in ["http://127.0.0.1:1", "http://[::1]/", "http://0x7f.1/", "http://192.168.1.1"] {
            assert!(origin("/", url).is_private_literal(), "{url}");
        }
        assert!(!origin("/", "http://1.1.1.1").is_private_literal());
    }

    #[test]
    fn the_credential_is_never_shown() {
        let origin =
            AttestOrigin::new("/", "https://origin.example", Some("Authorization: Bearer abc")).unwrap();
        assert!(!format!("{origin:?} {origin}").contains("abc"));
    }
}
