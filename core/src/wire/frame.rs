//! Framing (docs/protocol.md §2): `type: u16 LE, length: u32 LE, body`.
//!
//! One transport message carries one or more frames. Unknown types are skipped by the caller, trailing bytes
//! inside a body are ignored, and nothing is allocated from a claimed length.

use serde::{Serialize, de::DeserializeOwned};

use super::WireError;

/// Bytes of a frame's type and length fields.
pub const FRAME_HEADER_LEN: usize = 6;

/// Longest transport message that is accepted on a control channel or from the service.
pub const MAX_MESSAGE_LEN: usize = 64 * 1024;

/// One frame as it stands in a transport message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// The message type, see docs/protocol.md §3 and §4.
    pub kind: u16,
    /// The body, exactly as long as the header said.
    pub body: &'a [u8],
}

/// Appends one frame with a postcard body to `out`.
pub(crate) fn write_frame<T: Serialize>(out: &mut Vec<u8>, kind: u16, body: &T) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let encoded = postcard::to_allocvec(body).expect("postcard writes every message type of this crate");
    out.extend_from_slice(&encoded);
    set_body_len(out, start);
}

/// Writes the length of everything behind the header that starts at `start`.
fn set_body_len(out: &mut [u8], start: usize) {
    let len = u32::try_from(out.len() - start - FRAME_HEADER_LEN).expect("a frame is far below 4 GiB");
    out[start + 2..start + FRAME_HEADER_LEN].copy_from_slice(&len.to_le_bytes());
}

/// Reads the frames of one transport message, in order.
///
/// The iterator ends after the first error.
pub fn frames(message: &[u8]) -> Frames<'_> {
    Frames { rest: message }
}

/// Iterator over the frames of a transport message, see [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = split_frame(self.rest);
        self.rest = match &item {
            Ok((_, rest)) => rest,
            Err(_) => &[],
        };
        Some(item.map(|(frame, _)| frame))
    }
}

fn split_frame(message: &[u8]) -> Result<(Frame<'_>, &[u8]), WireError> {
    let (header, rest) = message.split_at_checked(FRAME_HEADER_LEN).ok_or(WireError::Truncated)?;
    let kind = u16::from_le_bytes([header[0], header[1]]);
    let len = u32::from_le_bytes([header[2], header[3], header[4], header[5]]) as usize;
    let (body, rest) = rest.split_at_checked(len).ok_or(WireError::Truncated)?;
    Ok((Frame { kind, body }, rest))
}

/// Decodes a postcard body; bytes behind the value are ignored, a later version may use them.
pub(crate) fn read_body<T: DeserializeOwned>(frame: &Frame<'_>) -> Result<T, WireError> {
    postcard::take_from_bytes(frame.body)
        .map(|(value, _)| value)
        .map_err(|_| WireError::Malformed { kind: frame.kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order() {
        let mut message = Vec::new();
        write_frame(&mut message, 7, &1_u32);
        write_frame(&mut message, 9, &[2_u8; 3]);
        let kinds: Vec<u16> = frames(&message).map(|frame| frame.expect("frames are whole").kind).collect();
        assert_eq!(kinds, [7, 9]);
    }

    #[test]
    fn a_length_beyond_what_came_is_refused() {
        let message = [1, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3];
        let read: Vec<_> = frames(&message).collect();
        assert_eq!(read, [Err(WireError::Truncated)]);
    }

    #[test]
    fn trailing_bytes_of_a_body_are_ignored() {
        let mut message = Vec::new();
        write_frame(&mut message, 7, &(5_u32, [9_u8; 4]));
        let frame = frames(&message).next().expect("one frame").expect("whole");
        assert_eq!(read_body::<u32>(&frame), Ok(5));
    }
}
