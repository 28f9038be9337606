//! HLS playlists (RFC 8216), as far as the files behind them go: levels and renditions of a master playlist, segments and
//! init segments of a media playlist, each with the line that names it.
//!
//! Left to HTTP: keys and partial segments of low-latency streams, which are only named, and I-frame playlists.

use std::time::Duration;

use quick_m3u8::{
    HlsLine, Reader,
    config::{ParsingOptions, ParsingOptionsBuilder},
    tag::{AttributeValue, DecimalIntegerRange, KnownTag, NoCustomTag, UnknownTag, hls},
};
use tabswarm_core::units::ByteRange;

/// What plays longer than this counts as this long.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// A file that a playlist names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Line of the playlist, from 1.
    pub line: usize,
    /// As it stands in the playlist.
    pub uri: String,
    /// The bytes of the file that are meant; all without one.
    pub range: Option<ByteRange>,
    /// How long a segment plays; nothing for other files.
    pub duration: Duration,
}

impl Reference {
    /// A file that is no segment.
    pub(super) fn other(uri: &str) -> Self {
        Self { line: 0, uri: uri.to_owned(), range: None, duration: Duration::ZERO }
    }
}

/// A media playlist.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Media {
    /// Segments, init segments among them.
    pub segments: Vec<Reference>,
    /// URIs of keys and partial segments.
    pub others: Vec<String>,
    /// Whether no segment will follow.
    pub ended: bool,
}

/// What a playlist names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Playlist {
    /// The media playlists of a master playlist, levels and renditions.
    Master(Vec<Reference>),
    /// A media playlist.
    Media(Media),
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// A byte range of no bytes, or beyond what a number holds.
    #[error("byte range is empty or too large")]
    BadRange,
    /// A tag with a value that it can't have.
    #[error("{tag}: {reason}")]
    BadTag {
        /// Name of the tag.
        tag: String,
        /// What the parser says.
        reason: String,
    },
    /// A byte range that continues nothing.
    #[error("byte range has no offset, and the segment before it is not a byte range of the same file")]
    ImpliedOffset,
    /// Levels and segments in one playlist.
    #[error("a playlist has levels or segments, not both")]
    Mixed,
    /// A URI that nothing announces.
    #[error("a URI without #EXTINF or #EXT-X-STREAM-INF before it")]
    StrayUri,
    /// Not a playlist.
    #[error("a playlist starts with #EXTM3U")]
    NotAPlaylist,
    /// A playlist of nothing.
    #[error("the playlist names no level and no segment")]
    NothingNamed,
    /// Not text, or no tag.
    #[error("{reason}")]
    Syntax {
        /// What the parser says.
        reason: String,
    },
    /// A tag that changes what URIs mean in a way that is not understood here.
    #[error("{tag} is not supported")]
    Unsupported {
        /// Name of the tag.
        tag: &'static str,
    },
    /// A tag that announces a URI, and none comes.
    #[error("no URI follows")]
    UriMissing,
}

/// What is wrong with a playlist, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct PlaylistError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: LineFault,
}

/// What the tags since the last URI announce.
#[derive(Clone, Copy, Debug)]
enum Announced {
    Level { line: usize },
    Segment(SegmentTags),
}

#[derive(Clone, Copy, Debug)]
struct SegmentTags {
    line: usize,
    duration: Option<Duration>,
    range: Option<DecimalIntegerRange>,
    gap: bool,
}

#[derive(Default)]
struct Parser {
    announced: Option<Announced>,
    playlists: Vec<Reference>,
    media: Media,
    /// Where the segment before ended, if it was a byte range.
    previous: Option<(String, ByteRange)>,
}

/// Reads a playlist.
pub fn parse(text: &[u8]) -> Result<Playlist, PlaylistError> {
    let mut reader = Reader::from_bytes(text, options());
    let mut parser = Parser::default();
    let mut line = 0;
    loop {
        line += 1;
        let at = |fault| PlaylistError { line, fault };
        let read = reader.read_line();
        let read = read.map_err(|error| at(LineFault::Syntax { reason: error.error.to_string() }))?;
        if line == 1 && !matches!(read, Some(HlsLine::KnownTag(KnownTag::Hls(hls::Tag::M3u(_))))) {
            return Err(at(LineFault::NotAPlaylist));
        }
        match read {
            Some(content) => parser.take(content, line).map_err(at)?,
            None => return parser.finish(line.saturating_sub(1)),
        }
    }
}

/// Of the known tags, those that matter here: a fault in another is no reason to refuse a stream.
fn options() -> ParsingOptions {
    ParsingOptionsBuilder::new()
        .with_parsing_for_m3u()
        .with_parsing_for_inf()
        .with_parsing_for_byterange()
        .with_parsing_for_gap()
        .with_parsing_for_stream_inf()
        .build()
}

fn bad_tag(tag: &str, reason: impl ToString) -> LineFault {
    LineFault::BadTag { tag: tag.to_owned(), reason: reason.to_string() }
}

impl Parser {
    fn take(&mut self, content: HlsLine<'_, NoCustomTag>, line: usize) -> Result<(), LineFault> {
        match content {
            HlsLine::KnownTag(KnownTag::Hls(tag)) => self.known_tag(&tag, line),
            HlsLine::UnknownTag(tag) => self.other_tag(&tag, line),
            HlsLine::Uri(uri) => self.uri(&uri, line),
            _ => Ok(()),
        }
    }

    fn known_tag(&mut self, tag: &hls::Tag<'_>, line: usize) -> Result<(), LineFault> {
        match tag {
            hls::Tag::Inf(tag) => {
                let tags = self.segment_tags(line)?;
                if tags.duration.is_some() {
                    return Err(LineFault::UriMissing);
                }
                let duration = Duration::try_from_secs_f64(tag.duration()).unwrap_or_default();
                tags.duration = Some(duration.min(MAX_DURATION));
            }
            hls::Tag::Byterange(tag) => {
                let range = DecimalIntegerRange { length: tag.length(), offset: tag.offset() };
                self.segment_tags(line)?.range = Some(range);
            }
            hls::Tag::Gap(_) => self.segment_tags(line)?.gap = true,
            hls::Tag::StreamInf(_) if self.announced.is_some() => return Err(LineFault::UriMissing),
            hls::Tag::StreamInf(_) => self.announced = Some(Announced::Level { line }),
            _ => {}
        }
        Ok(())
    }

    fn segment_tags(&mut self, line: usize) -> Result<&mut SegmentTags, LineFault> {
        let none = SegmentTags { line, duration: None, range: None, gap: false };
        match self.announced.get_or_insert(Announced::Segment(none)) {
            Announced::Level { .. } => Err(LineFault::Mixed),
            Announced::Segment(tags) => Ok(tags),
        }
    }

    fn other_tag(&mut self, tag: &UnknownTag<'_>, line: usize) -> Result<(), LineFault> {
        if let Some(error) = tag.validation_error() {
            return Err(bad_tag(&format!("#EXT{}", tag.name()), error));
        }
        match tag.name() {
            "-X-DEFINE" => Err(LineFault::Unsupported { tag: "#EXT-X-DEFINE" }),
            "-X-SKIP" => Err(LineFault::Unsupported { tag: "#EXT-X-SKIP" }),
            "-X-MAP" => self.init_segment(tag, line),
            "-X-MEDIA" => self.rendition(tag, line),
            "-X-KEY" | "-X-PART" => {
                self.media.others.extend(quoted(tag, "URI").ok().flatten().map(str::to_owned));
                Ok(())
            }
            "-X-ENDLIST" => {
                self.media.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn init_segment(&mut self, tag: &UnknownTag<'_>, line: usize) -> Result<(), LineFault> {
        let fault = |reason: &str| bad_tag("#EXT-X-MAP", reason);
        let uri = quoted(tag, "URI")?.ok_or_else(|| fault("required attribute URI is missing"))?;
        let range = match quoted(tag, "BYTERANGE")? {
            None => None,
            Some(text) => {
                let range =
                    DecimalIntegerRange::try_from(text).map_err(|error| bad_tag("#EXT-X-MAP", error))?;
                Some(byte_range(range.offset.unwrap_or(0), range.length)?)
            }
        };
        let duration = Duration::ZERO;
        self.media.segments.push(Reference { line, uri: uri.to_owned(), range, duration });
        Ok(())
    }

    fn rendition(&mut self, tag: &UnknownTag<'_>, line: usize) -> Result<(), LineFault> {
        // A rendition without a URI is in the level's own segments.
        if let Some(uri) = quoted(tag, "URI")? {
            let duration = Duration::ZERO;
            self.playlists.push(Reference { line, uri: uri.to_owned(), range: None, duration });
        }
        Ok(())
    }

    fn uri(&mut self, uri: &str, line: usize) -> Result<(), LineFault> {
        let uri = uri.trim();
        if uri.is_empty() {
            return Ok(());
        }
        let reference = |range, duration| Reference { line, uri: uri.to_owned(), range, duration };
        match self.announced.take() {
            Some(Announced::Level { .. }) => {
                self.playlists.push(reference(None, Duration::ZERO));
                Ok(())
            }
            Some(Announced::Segment(SegmentTags { duration: Some(duration), range, gap, .. })) => {
                let range = range.map(|range| self.segment_range(uri, range)).transpose()?;
                self.previous = range.map(|range| (uri.to_owned(), range));
                // Nobody can load a gap.
                if !gap {
                    self.media.segments.push(reference(range, duration));
                }
                Ok(())
            }
            _ => Err(LineFault::StrayUri),
        }
    }

    // RFC 8216 §4.3.2.2: without an offset, a byte range begins where the one before it ended.
    fn segment_range(&self, uri: &str, range: DecimalIntegerRange) -> Result<ByteRange, LineFault> {
        let offset = match (range.offset, &self.previous) {
            (Some(offset), _) => offset,
            (None, Some((previous_uri, previous))) if previous_uri == uri => previous.end(),
            (None, _) => return Err(LineFault::ImpliedOffset),
        };
        byte_range(offset, range.length)
    }

    fn finish(self, lines: usize) -> Result<Playlist, PlaylistError> {
        if let Some(Announced::Level { line } | Announced::Segment(SegmentTags { line, .. })) = self.announced
        {
            return Err(PlaylistError { line, fault: LineFault::UriMissing });
        }
        let at_end = |fault| PlaylistError { line: lines, fault };
        match (self.playlists.is_empty(), self.media.segments.is_empty()) {
            (true, true) => Err(at_end(LineFault::NothingNamed)),
            (false, false) => Err(at_end(LineFault::Mixed)),
            (false, true) => Ok(Playlist::Master(self.playlists)),
            (true, false) => Ok(Playlist::Media(self.media)),
        }
    }
}

fn byte_range(offset: u64, length: u64) -> Result<ByteRange, LineFault> {
    let end = offset.checked_add(length).ok_or(LineFault::BadRange)?;
    ByteRange::new(offset, end).ok_or(LineFault::BadRange)
}

/// An attribute that must be a quoted string if it is there.
fn quoted<'a>(tag: &UnknownTag<'a>, name: &str) -> Result<Option<&'a str>, LineFault> {
    let fault = |reason: String| bad_tag(&format!("#EXT{}", tag.name()), reason);
    let value = tag.value().ok_or_else(|| fault(String::from("no attributes")))?;
    let attributes = value.try_as_ordered_attribute_list().map_err(|error| fault(error.to_string()))?;
    match attributes.into_iter().find(|(attribute, _)| *attribute == name) {
        None => Ok(None),
        Some((_, AttributeValue::Quoted(text))) => Ok(Some(text)),
        Some((_, AttributeValue::Unquoted(_))) => Err(fault(format!("attribute {name} is not quoted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Result<Playlist, PlaylistError> {
        parse(lines.join("\n").as_bytes())
    }

    fn reference(line: usize, uri: &str, range: Option<(u64, u64)>) -> Reference {
        let range = range.map(|(start, end)| ByteRange::new(start, end).unwrap());
        Reference { line, uri: uri.to_owned(), range, duration: Duration::ZERO }
    }

    fn segment(line: usize, uri: &str, range: Option<(u64, u64)>) -> Reference {
        Reference { duration: Duration::from_secs(4), ..reference(line, uri, range) }
    }

    #[test]
    fn a_master_playlist_names_levels_and_renditions() {
        let playlist = lines(&[
            "#EXTM3U",
            r#"#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English",URI="audio/index.m3u8""#,
            r#"#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="c",NAME="CC",INSTREAM-ID="CC1""#,
            "# a comment",
            "#EXT-X-STREAM-INF:BANDWIDTH=800000",
            "low/index.m3u8",
            "",
            "#EXT-X-STREAM-INF:BANDWIDTH=2000000",
            "high/index.m3u8?v=2",
            r#"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI="iframes.m3u8""#,
        ]);
        let expected = vec![
            reference(2, "audio/index.m3u8", None),
            reference(6, "low/index.m3u8", None),
            reference(9, "high/index.m3u8?v=2", None),
        ];
        assert_eq!(playlist, Ok(Playlist::Master(expected)));
    }

    #[test]
    fn a_media_playlist_names_segments_init_segments_and_implied_ranges() {
        let playlist = lines(&[
            "#EXTM3U\r",
            "#EXT-X-TARGETDURATION:4\r",
            "#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"700@0\"\r",
            "#EXTINF:4.0,\r",
            "#EXT-X-BYTERANGE:1000@700\r",
            "all.mp4\r",
            "#EXT-X-BYTERANGE:500",
            "#EXTINF:4.0,title",
            "all.mp4",
            "#EXT-X-GAP",
            "#EXTINF:4.0,",
            "lost.ts",
            "#EXT-X-DISCONTINUITY",
            "#EXTINF:4,",
            "whole.ts",
            "#EXT-X-ENDLIST",
            "",
        ]);
        let expected = vec![
            reference(3, "all.mp4", Some((0, 700))),
            segment(6, "all.mp4", Some((700, 1700))),
            segment(9, "all.mp4", Some((1700, 2200))),
            segment(15, "whole.ts", None),
        ];
        let expected = Media { segments: expected, ended: true, ..Media::default() };
        assert_eq!(playlist, Ok(Playlist::Media(expected)));
    }

    #[test]
    fn a_live_playlist_has_no_end_and_names_its_parts_and_keys() {
        let playlist = lines(&[
            "#EXTM3U",
            "#EXT-X-PART-INF:PART-TARGET=1",
            r#"#EXT-X-KEY:METHOD=AES-128,URI="key.bin""#,
            "#EXTINF:4,",
            "7.m4s",
            r#"#EXT-X-PART:DURATION=1,URI="8.0.m4s",INDEPENDENT=YES"#,
            r#"#EXT-X-PART:DURATION=1,URI="8.1.m4s""#,
            r#"#EXT-X-PRELOAD-HINT:TYPE=PART,URI="8.2.m4s""#,
            "#EXT-X-KEY:METHOD=NONE",
        ]);
        let others = ["key.bin", "8.0.m4s", "8.1.m4s"].map(str::to_owned).to_vec();
        let expected = Media { segments: vec![segment(5, "7.m4s", None)], others, ended: false };
        assert_eq!(playlist, Ok(Playlist::Media(expected)));
    }

    fn fault(text: &[&str]) -> (usize, LineFault) {
        let error = lines(text).unwrap_err();
        (error.line, error.fault)
    }

    #[test]
    fn a_fault_names_its_line() {
        assert_eq!(fault(&["#EXTINF:4,"]), (1, LineFault::NotAPlaylist));
        assert_eq!(parse(b"").unwrap_err().line, 1);
        assert_eq!(fault(&["#EXTM3U", "", "1.ts"]), (3, LineFault::StrayUri));
        assert_eq!(fault(&["#EXTM3U", "#EXTINF:4,", "#EXT-X-ENDLIST"]), (2, LineFault::UriMissing));
        assert_eq!(fault(&["#EXTM3U", "#EXT-X-STREAM-INF:BANDWIDTH=1"]), (2, LineFault::UriMissing));
        assert_eq!(fault(&["#EXTM3U", "#EXT-X-ENDLIST"]), (2, LineFault::NothingNamed));
        let no_offset = ["#EXTM3U", "#EXTINF:4,", "#EXT-X-BYTERANGE:5", "a.ts"];
        assert_eq!(fault(&no_offset), (4, LineFault::ImpliedOffset));
        let huge = ["#EXTM3U", "#EXTINF:4,", "#EXT-X-BYTERANGE:5@18446744073709551615", "a.ts"];
        assert_eq!(fault(&huge), (4, LineFault::BadRange));
        let twice = ["#EXTM3U", "#EXTINF:4,", "#EXTINF:4,", "a.ts"];
        assert_eq!(fault(&twice), (3, LineFault::UriMissing));
        let untimed = ["#EXTM3U", "#EXT-X-BYTERANGE:5@0", "a.ts"];
        assert_eq!(fault(&untimed), (3, LineFault::StrayUri));
        let empty = ["#EXTM3U", "#EXTINF:4,", "#EXT-X-BYTERANGE:0@5", "a.ts"];
        assert_eq!(fault(&empty), (4, LineFault::BadRange));
        let define = ["#EXTM3U", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\""];
        assert_eq!(fault(&define), (2, LineFault::Unsupported { tag: "#EXT-X-DEFINE" }));
        let mixed = ["#EXTM3U", "#EXT-X-STREAM-INF:BANDWIDTH=1", "#EXTINF:4,", "a.ts"];
        assert_eq!(fault(&mixed), (3, LineFault::Mixed));
    }

    #[test]
    fn a_bad_tag_is_named_with_its_line() {
        for (line, name) in [
            ("#EXTINF:four,", "#EXTINF"),
            ("#EXT-X-BYTERANGE:x@1", "#EXT-X-BYTERANGE"),
            ("#EXT-X-MAP:URI=init.mp4", "#EXT-X-MAP"),
            ("#EXT-X-MAP:BYTERANGE=\"1@2\"", "#EXT-X-MAP"),
            ("#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@\"", "#EXT-X-MAP"),
            ("#EXT-X-MAP", "#EXT-X-MAP"),
            ("#EXT-X-MEDIA:TYPE=AUDIO,URI=audio.m3u8", "#EXT-X-MEDIA"),
            ("#EXT-X-STREAM-INF:RESOLUTION=1x1", "#EXT-X-STREAM-INF"),
        ] {
            let (found, fault) = fault(&["#EXTM3U", "", line, "a.ts"]);
            assert!(matches!(&fault, LineFault::BadTag { tag, .. } if tag == name), "{line}: {fault}");
            assert_eq!(found, 3, "{line}");
        }
        let not_text = [&b"#EXTM3U\n#EXTINF:4,\n"[..], &[0xff, 0xfe], b"\n"].concat();
        assert_eq!(parse(&not_text).unwrap_err().line, 3);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = parse(&[b"#EXTM3U\n", bytes.as_slice()].concat());
        }

        #[test]
        fn arbitrary_tags_never_panic(
            lines in proptest::collection::vec(
                "#EXT(INF|-X-MAP|-X-MEDIA|-X-BYTERANGE|-X-STREAM-INF|-X-GAP):?[A-Z0-9@=,.\"-]{0,30}|[a-z.]{0,5}", 0..20),
        ) {
            let _ = parse(format!("#EXTM3U\n{}", lines.join("\n")).as_bytes());
        }
    }
}
