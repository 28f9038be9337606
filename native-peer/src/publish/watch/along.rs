//! The manifest and the newest group list in the media playlists: who loads one need not ask for the others.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tabswarm_core::content::{GroupList, Manifest};

/// The tag, docs/protocol.md §5.6.
const TAG: &str = "#EXT-X-TABSWARM:";

/// More does not come along: it would in each of several playlists, again and again.
const LONGEST: usize = 8 * 1024;

/// A media playlist's text with the manifest at its end, and behind that the list of its newest segment, as far as they are short. A
/// line of its own that a player skips which does not know it (RFC 8216 §6.3.1).
pub(super) fn bring_along(text: &[u8], manifest: Option<&[u8]>, newest: Option<&GroupList>) -> Vec<u8> {
    let fits = |along: &Vec<u8>| along.len() <= LONGEST;
    let mut text = text.to_vec();
    if let Some(manifest) = manifest.map(<[u8]>::to_vec).filter(fits) {
        let with_list = newest.map(|list| Manifest::encode_along(manifest.clone(), list)).filter(fits);
        let along = STANDARD.encode(with_list.unwrap_or(manifest));
        text.extend([TAG, &along, "\n"].concat().into_bytes());
    }
    text
}
