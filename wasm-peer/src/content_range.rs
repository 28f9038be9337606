//! The `Content-Range` header of a 206 (RFC 9110 §14.4).

/// First byte and length of the part; `None` for anything but `bytes first-last/…`.
pub(crate) fn parse(header: &str) -> Option<(u64, u64)> {
    let (unit, rest) = header.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, _complete) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let len = last.checked_sub(first)?.checked_add(1)?;
    Some((first, len))
}

// Digits alone: `parse` on integers would take a plus sign.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_and_length_are_read() {
        assert_eq!(parse("bytes 0-499/1234"), Some((0, 500)));
        assert_eq!(parse("bytes 500-500/*"), Some((500, 1)));
        assert_eq!(parse(" Bytes 16384-32767/40000 "), Some((16_384, 16_384)));
    }

    #[test]
    fn anything_else_is_no_range() {
        for header in [
            "",
            "bytes",
            "bytes ",
            "bytes */1234",
            "bytes 5-4/10",
            "bytes -5/10",
            "bytes 5-/10",
            "bytes 0-4",
            "items 0-4/10",
            "bytes +0-4/10",
            "bytes 0-99999999999999999999/1",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse(header), None, "{header:?}");
        }
    }
}
