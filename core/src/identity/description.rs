//! What one side of a WebRTC connection tells the other, as fields: session descriptions never travel as SDP text.

use serde::{Deserialize, Serialize};

use super::IdentityError;
use crate::{
    bounded::{BoundedString, BoundedVec},
    id::fixed_bytes,
};

/// Most bytes of a candidate line.
pub const MAX_CANDIDATE_LEN: usize = 512;

/// Most candidates in a description; more come one by one.
pub const MAX_CANDIDATES: usize = 32;

fixed_bytes! {
    /// SHA-256 of a DTLS certificate (RFC 8122).
    Fingerprint[32];
}

/// An ICE candidate line as browsers give it, `candidate:` first; empty for "no more candidates".
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "BoundedString<MAX_CANDIDATE_LEN>", into = "String")]
pub struct Candidate(String);

impl Candidate {
    /// Refuses what is no single candidate line of at most [`MAX_CANDIDATE_LEN`] bytes.
    pub fn new(line: &str) -> Result<Self, IdentityError> {
        let printable = line.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        let shaped = line.is_empty() || line.starts_with("candidate:");
        if line.len() > MAX_CANDIDATE_LEN || !printable || !shaped {
            return Err(IdentityError::InvalidDescription { field: "candidate" });
        }
        Ok(Self(line.to_owned()))
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it says that there are no more candidates.
    pub fn is_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the peer has a use for it. An active TCP candidate, whose port is 9 (RFC 6544 §4.5), only calls others: who listens
    /// learns of it when it does.
    pub fn is_of_use(&self) -> bool {
        !self.is_end() && self.0.split(' ').nth(5) != Some("9")
    }
}

impl TryFrom<BoundedString<MAX_CANDIDATE_LEN>> for Candidate {
    type Error = IdentityError;

    fn try_from(line: BoundedString<MAX_CANDIDATE_LEN>) -> Result<Self, IdentityError> {
        Self::new(&line)
    }
}

impl From<Candidate> for String {
    fn from(candidate: Candidate) -> String {
        candidate.0
    }
}

/// One side of a connection: its DTLS fingerprint, ICE credentials and the candidates known so far.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "RawDescription")]
pub struct Description {
    fingerprint: Fingerprint,
    ufrag: String,
    pwd: String,
    candidates: BoundedVec<Candidate, MAX_CANDIDATES>,
}

#[derive(Deserialize)]
struct RawDescription {
    fingerprint: Fingerprint,
    ufrag: BoundedString<256>,
    pwd: BoundedString<256>,
    candidates: BoundedVec<Candidate, MAX_CANDIDATES>,
}

// RFC 8839 §5.4: 4 to 256 ice-chars for a ufrag, 22 to 256 for a password.
fn ice_text(text: &str, shortest: usize, field: &'static str) -> Result<(), IdentityError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    if (shortest..=256).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(IdentityError::InvalidDescription { field })
}

impl Description {
    /// Refuses credentials that ICE would not take, and more than [`MAX_CANDIDATES`] candidates.
    pub fn new(
        fingerprint: Fingerprint,
        ufrag: &str,
        pwd: &str,
        candidates: Vec<Candidate>,
    ) -> Result<Self, IdentityError> {
        ice_text(ufrag, 4, "ice-ufrag")?;
        ice_text(pwd, 22, "ice-pwd")?;
        let candidates = BoundedVec::try_from(candidates)
            .map_err(|_| IdentityError::InvalidDescription { field: "candidates" })?;
        Ok(Self { fingerprint, ufrag: ufrag.to_owned(), pwd: pwd.to_owned(), candidates })
    }

    /// SHA-256 of the DTLS certificate this side will show.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// ICE user name fragment.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// ICE password.
    pub fn pwd(&self) -> &str {
        &self.pwd
    }

    /// Candidates gathered before it was sent.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Takes one more candidate. One beyond [`MAX_CANDIDATES`] is left out.
    pub fn add(&mut self, candidate: Candidate) {
        self.candidates.push(candidate).ok();
    }
}

impl TryFrom<RawDescription> for Description {
    type Error = IdentityError;

    fn try_from(raw: RawDescription) -> Result<Self, IdentityError> {
        Self::new(raw.fingerprint, &raw.ufrag, &raw.pwd, raw.candidates.into_vec())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn description() -> Description {
        let candidate = Candidate::new("candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host").unwrap();
        Description::new(
            Fingerprint::from_bytes([0xab; 32]),
            "uf/+",
            "0123456789abcdefghijkl",
            vec![candidate],
        )
        .unwrap()
    }

    #[test]
    fn credentials_outside_the_ice_grammar_are_refused() {
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let pwd = "0123456789abcdefghijkl";
        for ufrag in ["abc", "abc\r", "abc def", "ab\u{e9}cd", &"a".repeat(257)] {
            let refused = Err(IdentityError::InvalidDescription { field: "ice-ufrag" });
            assert_eq!(Description::new(fingerprint, ufrag, pwd, Vec::new()), refused, "{ufrag:?}");
        }
        for pwd in ["short", "0123456789abcdefghijk\n", &"a".repeat(257)] {
            let refused = Err(IdentityError::InvalidDescription { field: "ice-pwd" });
            assert_eq!(Description::new(fingerprint, "abcd", pwd, Vec::new()), refused, "{pwd:?}");
        }
    }

    #[test]
    fn a_candidate_is_one_line_of_text() {
        for line in ["a=candidate:1", "candidate:1\r\na=x", "candidate:\0", "candidate:\u{e9}"] {
            assert!(Candidate::new(line).is_err(), "{line:?}");
        }
        assert!(Candidate::new(&format!("candidate:{}", "1".repeat(502))).is_ok());
        assert!(Candidate::new(&format!("candidate:{}", "1".repeat(503))).is_err());
        assert!(Candidate::new("").is_ok());
    }

    #[test]
    fn what_the_constructor_refuses_is_refused_from_the_wire() {
        let good = postcard::to_allocvec(&description()).unwrap();
        assert_eq!(postcard::from_bytes(&good), Ok(description()));
        let mut bad = good.clone();
        let place = bad.windows(4).position(|window| window == b"uf/+").unwrap();
        bad[place] = b'\r';
        assert!(postcard::from_bytes::<Description>(&bad).is_err());
    }

    #[test]
    fn a_description_takes_its_limit_of_candidates_and_no_more() {
        let candidates = |count| vec![Candidate::new("candidate:1").unwrap(); count];
        let build = |count| {
            Description::new(
                Fingerprint::from_bytes([0; 32]),
                "abcd",
                "0123456789abcdefghijkl",
                candidates(count),
            )
        };
        assert!(build(MAX_CANDIDATES).is_ok());
        assert!(build(MAX_CANDIDATES + 1).is_err());
    }
}
