//! Segment keys: what a segment is called, the same on every host that serves it and for every viewer.
//!
//! A key is the path relative to the master playlist, without host and query: many CDN names share one swarm, and no
//! viewer's token is part of it. Paths are compared as text; URL parsers have normalised them before.

use serde::{Deserialize, Serialize};

use crate::{
    bounded::BoundedString,
    id::{SegmentId, StreamId},
    identity::domain,
    units::ByteRange,
};

/// Most bytes of a path in a key or a manifest.
pub const MAX_PATH_LEN: usize = 1024;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A control character or a backslash, plain or percent-encoded, or the start of a query or fragment.
    #[error("path has a character that is not allowed")]
    Character,
    /// No path.
    #[error("path is empty")]
    Empty,
    /// A host or a scheme: not a path alone.
    #[error("path names a host or a scheme")]
    Host,
    /// A `..` component, plain or percent-encoded.
    #[error("path leads upwards")]
    Parent,
    /// More than [`MAX_PATH_LEN`] bytes.
    #[error("path is longer than {MAX_PATH_LEN} bytes")]
    TooLong,
}

fn percent_decoded(path: &str) -> Vec<u8> {
    let mut rest = path.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let digits =
            tail.first_chunk::<2>().filter(|_| *first == b'%').and_then(|pair| str::from_utf8(pair).ok());
        let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// `name:` at the start, as a URL parser would take it for a scheme.
fn has_scheme(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first.contains(':'))
}

// The attestor and browsers resolve paths against a base URL: one must not reach another host or directory that way, nor
// after the percent-decoding that servers do.
pub(super) fn check_path(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > MAX_PATH_LEN {
        return Err(PathError::TooLong);
    }
    let decoded = percent_decoded(path);
    let control = |byte: &u8| *byte < b' ' || *byte == 0x7f || *byte == b'\\';
    if decoded.iter().any(control) || path.chars().any(|char| char.is_control() || matches!(char, '?' | '#'))
    {
        return Err(PathError::Character);
    }
    if path.starts_with("//") || has_scheme(path) {
        return Err(PathError::Host);
    }
    if decoded.split(|byte| *byte == b'/').any(|component| component == b"..") {
        return Err(PathError::Parent);
    }
    Ok(())
}

/// Name of a segment in its stream: a path, and a byte range where the playlist has one.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "RawKey")]
pub struct SegmentKey {
    path: String,
    range: Option<ByteRange>,
}

#[derive(Deserialize)]
struct RawKey {
    path: BoundedString<MAX_PATH_LEN>,
    range: Option<ByteRange>,
}

impl TryFrom<RawKey> for SegmentKey {
    type Error = PathError;

    fn try_from(raw: RawKey) -> Result<Self, PathError> {
        Self::new(raw.path.into_string(), raw.range)
    }
}

impl SegmentKey {
    /// Takes a path as [`relative_path`] gives it; refuses one with a host, a query or a way upwards.
    pub fn new(path: impl Into<String>, range: Option<ByteRange>) -> Result<Self, PathError> {
        let path = path.into();
        check_path(&path)?;
        Ok(Self { path, range })
    }

    /// Path relative to the master playlist's directory, or from the root if it is outside.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The bytes of the file that are the segment; all without one.
    pub fn range(&self) -> Option<ByteRange> {
        self.range
    }

    /// The segment's id in a stream (docs/protocol.md).
    pub fn id(&self, stream: &StreamId) -> SegmentId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(domain::SEGMENT_ID).update(&[0]).update(stream.as_bytes());
        hasher.update(&(self.path.len() as u32).to_le_bytes()).update(self.path.as_bytes());
        if let Some(range) = self.range {
            hasher.update(&range.start().to_le_bytes()).update(&range.end().to_le_bytes());
        }
        SegmentId::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// The path of a key: `url_path` seen from the directory of `playlist_path`, or as it is when it lies outside.
///
/// Both are URL paths; a query or fragment on either is dropped. The result may still be refused by [`SegmentKey::new`].
pub fn relative_path(playlist_path: &str, url_path: &str) -> String {
    let bare = without_query(url_path);
    let playlist = without_query(playlist_path);
    let inside = match playlist.rsplit_once('/') {
        Some((directory, _)) => bare.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')),
        None => Some(bare),
    };
    // What would read as a path from the root, or as a scheme, stays absolute.
    let relative = inside.filter(|rest| !rest.is_empty() && !rest.starts_with('/') && !has_scheme(rest));
    relative.unwrap_or(bare).to_owned()
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_master_playlist() {
        let master = "/live/show/master.m3u8";
        for (url_path, expected) in [
            ("/live/show/720p/1.m4s", "720p/1.m4s"),
            ("/live/show/1.ts?token=secret#t=3", "1.ts"),
            ("/live/other/1.ts", "/live/other/1.ts"),
            ("/live/showcase/1.ts", "/live/showcase/1.ts"),
            ("/live/show//1.ts", "/live/show//1.ts"),
            ("/live/show/mp4:film/1.ts", "/live/show/mp4:film/1.ts"),
            ("/live/show/720p/mp4:film/1.ts", "720p/mp4:film/1.ts"),
        ] {
            let path = relative_path(master, url_path);
            assert_eq!(path, expected);
            assert!(SegmentKey::new(path, None).is_ok(), "{url_path}");
        }
        assert_eq!(relative_path("/master.m3u8?a=/b/c", "/1.ts"), "1.ts");
        assert_eq!(relative_path("master.m3u8", "720p/1.ts"), "720p/1.ts");
    }

    #[test]
    fn what_is_not_a_path_alone_is_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("//cdn.example/1.ts", PathError::Host),
            ("https://cdn.example/1.ts", PathError::Host),
            ("data:,x", PathError::Host),
            ("a/../1.ts", PathError::Parent),
            ("..", PathError::Parent),
            ("/%2E%2e/1.ts", PathError::Parent),
            ("a/.%2e%2f1.ts", PathError::Parent),
            ("..\\1.ts", PathError::Character),
            ("a%5c..%5c1.ts", PathError::Character),
            ("1.ts?token=secret", PathError::Character),
            ("1.ts#x", PathError::Character),
            ("1\n.ts", PathError::Character),
            ("1%00.ts", PathError::Character),
            ("1\u{85}.ts", PathError::Character),
        ] {
            assert_eq!(SegmentKey::new(path, None), Err(error), "{path:?}");
            let encoded = postcard::to_allocvec(&(path, None::<ByteRange>)).unwrap();
            assert!(postcard::from_bytes::<SegmentKey>(&encoded).is_err(), "{path:?}");
        }
        assert!(SegmentKey::new("a".repeat(1024), None).is_ok());
        assert_eq!(SegmentKey::new("a".repeat(1025), None), Err(PathError::TooLong));
        for path in ["a..b/...", "1%", "%zz%2", "%e4%bd%a0.ts", "你.ts", "/a/12:30.ts"] {
            assert!(SegmentKey::new(path, None).is_ok(), "{path}");
        }
    }

    #[test]
    fn ids_differ_by_stream_path_and_range() {
        let key = |path, range| SegmentKey::new(path, range).unwrap();
        let (one, two) = (StreamId::from_bytes([1; 32]), StreamId::from_bytes([2; 32]));
        let ids = [
            key("a.ts", None).id(&one),
            key("a.ts", None).id(&two),
            key("b.ts", None).id(&one),
            key("a.ts", ByteRange::new(0, 1)).id(&one),
            key("a.ts", ByteRange::new(0, 2)).id(&one),
        ];
        assert_eq!(std::collections::BTreeSet::from(ids).len(), ids.len());
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn keys_round_trip(path in "[a-z0-9/.%-]{1,80}", range in proptest::option::of((0u64..9, 10u64..99))) {
            let range = range.and_then(|(start, end)| ByteRange::new(start, end));
            if let Ok(key) = SegmentKey::new(path, range) {
                let encoded = postcard::to_allocvec(&key).unwrap();
                proptest::prop_assert_eq!(postcard::from_bytes::<SegmentKey>(&encoded), Ok(key));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..99)) {
            let _ = postcard::from_bytes::<SegmentKey>(&bytes);
        }

        #[test]
        fn arbitrary_paths_never_panic_and_keep_no_query(playlist in "\\PC{0,40}", path in "\\PC{0,40}") {
            let relative = relative_path(&playlist, &path);
            proptest::prop_assert!(!relative.contains(['?', '#']));
            let _ = SegmentKey::new(relative, None);
        }
    }
}
