//! A digest as text.

use core::fmt::Write as _;

pub(super) fn encode(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 64 lower-case digits, and nothing else.
pub(super) fn decode(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let is_canonical = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if pairs.len() != 32 || !rest.is_empty() || !text.bytes().all(|byte| is_canonical(&byte)) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let pair = core::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let digest: [u8; 32] = core::array::from_fn(|at| at as u8 * 7);
        let text = encode(&digest);
        assert_eq!(decode(&text), Some(digest));
        let bad = [
            text.to_uppercase(),
            text[1..].to_owned(),
            format!("{text}0"),
            format!("+{}", &text[1..]),
            String::new(),
        ];
        for text in bad {
            assert_eq!(decode(&text), None, "{text}");
        }
    }
}
