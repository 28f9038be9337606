//! The manifest in the media playlists: who loads one need not ask for the other.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The tag, docs/protocol.md §5.6.
const TAG: &str = "#EXT-X-TABSWARM:";

/// A longer manifest does not come along: it would in each of several playlists, again and again.
const LONGEST: usize = 8 * 1024;

/// A media playlist's text with the manifest at its end, if that is short. A line of its own that a player skips which does not know
/// it (RFC 8216 §6.3.1).
pub(super) fn bring_along(text: &[u8], manifest: Option<&[u8]>) -> Vec<u8> {
    let mut text = text.to_vec();
    if let Some(manifest) = manifest.filter(|manifest| manifest.len() <= LONGEST) {
        text.extend([TAG, &STANDARD.encode(manifest), "\n"].concat().into_bytes());
    }
    text
}
