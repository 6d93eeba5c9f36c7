//! Bytes and foreign text, made fit for a line that a person reads.

/// Text from outside in one line of at most `max` bytes: control characters become spaces, and what
/// is cut off is followed by `...`, which is not counted.
///
/// ```
/// use kms_core::text::one_line;
///
/// assert_eq!(one_line("refused\r\n\u{1b}[31m", 64), "refused   [31m");
/// assert_eq!(one_line("a long story", 6), "a long...");
/// ```
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for letter in text.chars() {
        if line.len().saturating_add(letter.len_utf8()) > max {
            line.push_str("...");
            break;
        }
        line.push(if letter.is_control() { ' ' } else { letter });
    }
    line
}

/// Bytes as lower-case hexadecimal digits, two for each.
///
/// ```
/// assert_eq!(kms_core::text::hex(&[0x00, 0xab, 0x7f]), "00ab7f");
/// ```
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_bounded_and_one_line() {
        assert_eq!(one_line("a\r\nb\u{1b}[0m", 99), "a  b [0m");
        assert_eq!(one_line("\u{e4}\u{e4}", 3), "\u{e4}...");
        assert_eq!(one_line("abc", 3), "abc");
        assert_eq!(one_line(&"x".repeat(9000), 768).len(), 768 + 3);
    }

    #[test]
    fn every_byte_is_two_digits() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = hex(&bytes);
        assert_eq!(text.len(), 512);
        for (index, byte) in bytes.iter().enumerate() {
            assert_eq!(text[2 * index..2 * index + 2], format!("{byte:02x}"));
        }
    }
}
