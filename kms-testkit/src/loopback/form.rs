//! Forms, queries and paths.

/// `a=b&c=d`, percent-decoded, `+` for a space.
pub(crate) fn parse_form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

/// Percent-decoding; what is not a valid escape stays as it is.
fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                digit(*high).zip(digit(*low)).map(|(high, low)| {
                    rest = after;
                    u8::try_from(high << 4 | low).unwrap_or_default()
                })
            }
            (b'+', _) if plus_is_space => Some(b' '),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A path as its segments, percent-decoded.
#[cfg(feature = "apiserver")]
pub(crate) fn parse_path(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode(segment, false))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let form = parse_form("scope=https%3A%2F%2Fvault%2F.default&a+b=c%zz&flag");
        assert_eq!(form[0].1, "https://vault/.default");
        assert_eq!(form[1], ("a b".to_owned(), "c%zz".to_owned()));
        assert_eq!(form[2], ("flag".to_owned(), String::new()));
    }

    #[cfg(feature = "apiserver")]
    #[test]
    fn paths_are_taken_apart_before_they_are_decoded() {
        assert_eq!(
            parse_path("/api/v1//a%2Fb/c+d"),
            ["api", "v1", "a/b", "c+d"]
        );
    }
}
