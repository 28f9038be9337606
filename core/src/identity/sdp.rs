//! SDP (RFC 8866) at the edge to a WebRTC stack: descriptions out of what it made, texts for it to take.
//!
//! Only data channels (RFC 8841): the text is a template around a [`Description`], so nothing a remote says becomes a line of
//! its own.

use super::{Candidate, Description, Fingerprint, IdentityError, MAX_CANDIDATES};
use crate::id::push_hex;

/// Longest text that is read; a data-channel offer with 32 candidates is under 20 KiB.
const MAX_SDP_LEN: usize = 64 * 1024;

fn invalid(field: &'static str) -> IdentityError {
    IdentityError::InvalidDescription { field }
}

// `AB:CD:…`, 32 pairs (RFC 8122 §5).
fn parse_fingerprint(text: &str) -> Result<Fingerprint, IdentityError> {
    let bytes = text.as_bytes();
    if bytes.len() != 95 || bytes[2..].chunks(3).any(|chunk| chunk[0] != b':') {
        return Err(invalid("fingerprint"));
    }
    text.replace(':', "").parse().map_err(|_| invalid("fingerprint"))
}

/// The value of `line` if it starts with `name`.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')
}

impl Description {
    /// Reads ICE credentials, the SHA-256 fingerprint and the first [`MAX_CANDIDATES`] candidates that are of use to the peer of a
    /// local description.
    pub fn from_sdp(sdp: &str) -> Result<Self, IdentityError> {
        if sdp.len() > MAX_SDP_LEN {
            return Err(invalid("length"));
        }
        let (mut fingerprint, mut ufrag, mut pwd, mut candidates) = (None, None, None, Vec::new());
        for line in sdp.lines() {
            if let Some(value) = attribute(line, "ice-ufrag") {
                ufrag = Some(value);
            } else if let Some(value) = attribute(line, "ice-pwd") {
                pwd = Some(value);
            } else if let Some(value) = attribute(line, "fingerprint") {
                let (algorithm, digits) = value.split_once(' ').ok_or(invalid("fingerprint"))?;
                if algorithm.eq_ignore_ascii_case("sha-256") {
                    fingerprint = Some(parse_fingerprint(digits.trim())?);
                }
            } else if let Some(line) = line.strip_prefix("a=").filter(|line| line.starts_with("candidate:"))
                && candidates.len() < MAX_CANDIDATES
            {
                candidates.extend(Some(Candidate::new(line)?).filter(Candidate::is_of_use));
            }
        }
        let fingerprint = fingerprint.ok_or(invalid("fingerprint"))?;
        Self::new(fingerprint, ufrag.ok_or(invalid("ice-ufrag"))?, pwd.ok_or(invalid("ice-pwd"))?, candidates)
    }
}

fn write_sdp(description: &Description, setup: &str) -> String {
    let mut sdp = String::with_capacity(1024);
    let mut line = |parts: [&str; 2]| {
        sdp.push_str(parts[0]);
        sdp.push_str(parts[1]);
        sdp.push_str("\r\n");
    };
    line(["v=0", ""]);
    line(["o=- 1 1 IN IP4 0.0.0.0", ""]);
    line(["s=-", ""]);
    line(["t=0 0", ""]);
    line(["a=group:BUNDLE 0", ""]);
    line(["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", ""]);
    line(["c=IN IP4 0.0.0.0", ""]);
    line(["a=ice-ufrag:", description.ufrag()]);
    line(["a=ice-pwd:", description.pwd()]);
    line(["a=ice-options:trickle", ""]);
    let mut digits = String::with_capacity(95);
    push_hex(&mut digits, description.fingerprint().as_bytes(), Some(':'));
    digits.make_ascii_uppercase();
    line(["a=fingerprint:sha-256 ", &digits]);
    line(["a=setup:", setup]);
    line(["a=mid:0", ""]);
    line(["a=sctp-port:5000", ""]);
    line(["a=max-message-size:262144", ""]);
    for candidate in description.candidates().iter().filter(|candidate| !candidate.as_str().is_empty()) {
        line(["a=", candidate.as_str()]);
    }
    sdp
}

/// The offer that a description stands for. Either side may become the DTLS client.
pub fn offer_sdp(description: &Description) -> String {
    write_sdp(description, "actpass")
}

/// The answer that a description stands for. The answerer is the DTLS client.
pub fn answer_sdp(description: &Description) -> String {
    write_sdp(description, "active")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::description::tests::description;

    // The data-channel offer of a Chromium, with its sections out of our control.
    const BROWSER_OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
        c=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 6f3c0e0e.local 57143 typ host generation 0 network-cost 999\r\n\
        a=ice-ufrag:ab+/\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

    #[test]
    fn a_browsers_offer_gives_its_fields() {
        let description = Description::from_sdp(BROWSER_OFFER).unwrap();
        assert_eq!((description.ufrag(), description.pwd()), ("ab+/", "abcdefghijklmnopqrstuvwx"));
        let expected: [u8; 32] = std::array::from_fn(|index| index as u8);
        assert_eq!(description.fingerprint().as_bytes(), &expected);
        assert_eq!(description.candidates().len(), 1);
        assert!(description.candidates()[0].as_str().starts_with("candidate:1 1 udp"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let sdp = offer_sdp(&description());
        assert_eq!(Description::from_sdp(&sdp), Ok(description()));
        assert!(sdp.contains("\r\na=setup:actpass\r\n") && sdp.contains("a=fingerprint:sha-256 AB:AB:"));
        let sdp = answer_sdp(&description());
        assert_eq!(Description::from_sdp(&sdp), Ok(description()));
        assert!(sdp.contains("\r\na=setup:active\r\n"));
    }

    #[test]
    fn a_missing_or_broken_field_is_named() {
        for (field, line) in
            [("ice-ufrag", "a=ice-ufrag:ab+/\r\n"), ("ice-pwd", "a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n")]
        {
            let sdp = BROWSER_OFFER.replace(line, "");
            assert_eq!(Description::from_sdp(&sdp), Err(invalid(field)));
        }
        for (from, to) in [("sha-256", "sha-1"), ("00:01", "0001:"), ("00:01", "0g:01"), ("1E:1F", "1E")] {
            let sdp = BROWSER_OFFER.replace(from, to);
            assert_eq!(Description::from_sdp(&sdp), Err(invalid("fingerprint")), "{to}");
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(
            lines in proptest::collection::vec(
                "(a=(ice-ufrag|ice-pwd|fingerprint|candidate):)?(sha-256 )?\\PC{0,99}", 0..20),
        ) {
            let _ = Description::from_sdp(&lines.join("\n"));
        }
    }
}
