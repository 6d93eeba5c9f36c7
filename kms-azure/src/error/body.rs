//! The body of a refusal: `{"error":{"code":…,"message":…,"innererror":{"code":…}}}`.

use serde::Deserialize;

/// No honest refusal comes near this.
const MAX_BODY: usize = 64 * 1024;
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 400;
const MAX_DEPTH: usize = 8;

/// What a refusal says, bounded and fit for a terminal.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Refusal {
    /// The innermost first; after those of the body the one that the message begins with, if any.
    pub(super) codes: Vec<String>,
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    error: Option<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    code: Option<String>,
    message: Option<String>,
    #[serde(alias = "innerError")]
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<String>,
    #[serde(alias = "innerError")]
    innererror: Option<Box<Self>>,
}

impl Refusal {
    /// Reads a body. What cannot be read says nothing; the status still does.
    pub(super) fn parse(body: &[u8]) -> Self {
        let Some(detail) = body
            .get(..body.len().min(MAX_BODY))
            .and_then(|body| serde_json::from_slice::<Document>(body).ok())
            .and_then(|document| document.error)
        else {
            return Self::default();
        };
        let mut codes = vec![detail.code];
        let mut next = detail.innererror;
        while let Some(inner) = next
            && codes.len() < MAX_DEPTH
        {
            codes.insert(0, inner.code);
            next = inner.innererror.map(|inner| *inner);
        }
        let of_message = detail.message.as_deref().and_then(leading_code);
        codes.push(of_message.map(str::to_owned));
        Self {
            codes: codes
                .into_iter()
                .flatten()
                .filter(|code| is_code(code))
                .collect(),
            message: detail.message.map(|message| readable(&message)),
        }
    }
}

fn is_code(code: &str) -> bool {
    (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `AKV10022` of `AKV10022: Invalid audience…`, and `TokenExpired` of `[TokenExpired] …`.
fn leading_code(message: &str) -> Option<&str> {
    if let Some(rest) = message.strip_prefix('[') {
        return rest.split_once(']').map(|(code, _)| code);
    }
    let (code, _) = message.split_once(':')?;
    let digits = code.strip_prefix("AKV")?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

/// The first line, bounded, without control characters and without the full stop at its end. The
/// lines behind it name the caller.
pub(crate) fn readable(message: &str) -> String {
    let line: String = message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_MESSAGE)
        .collect();
    line.trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_come_innermost_first_in_both_spellings() {
        for inner in ["innererror", "innerError"] {
            let body = format!(
                r#"{{"error":{{"code":"Forbidden","message":"no","{inner}":{{"code":"A","{inner}":{{"code":"B","{inner}":null}}}}}}}}"#
            );
            let refusal = Refusal::parse(body.as_bytes());
            assert_eq!(refusal.codes, ["B", "A", "Forbidden"]);
            assert_eq!(refusal.message.as_deref(), Some("no"));
        }
    }

    #[test]
    fn a_code_may_stand_before_the_message() {
        assert_eq!(
            leading_code("AKV10022: Invalid audience."),
            Some("AKV10022")
        );
        assert_eq!(leading_code("[TokenExpired] Error"), Some("TokenExpired"));
        for none in ["", "AKV: x", "AKV1", "Note: x", "[x", "AKV1x: y"] {
            assert_eq!(leading_code(none), None, "{none}");
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(readable("a\x1b[31m\tb. \r\nCaller: me"), "a[31mb");
        assert_eq!(readable(&"é".repeat(1000)).chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn what_is_no_refusal_says_nothing() {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"error":"x"}"#,
            r#"{"error":null}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(
                Refusal::parse(body.as_bytes()),
                Refusal::default(),
                "{body}"
            );
        }
        let deep = format!(
            "{}{}",
            r#"{"error":{"innererror":"#.repeat(200),
            "}".repeat(400)
        );
        assert_eq!(Refusal::parse(deep.as_bytes()), Refusal::default());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_is_bounded(body in ".{0,200}", message in ".{0,800}") {
            Refusal::parse(body.as_bytes());
            let body = serde_json::json!({"error": {"code": message, "message": message}});
            let refusal = Refusal::parse(body.to_string().as_bytes());
            prop_assert!(refusal.codes.len() <= MAX_DEPTH + 1);
            prop_assert!(refusal.message.unwrap().chars().count() <= MAX_MESSAGE);
        }
    }
}
