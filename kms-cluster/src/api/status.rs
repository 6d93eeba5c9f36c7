//! What an API server says when it does not do what was asked.

use kms_core::{Error, ErrorKind};
use serde::Deserialize;

use super::transport::Answer;

/// The longest text of a server's that is passed on, in bytes.
const MAX_TEXT_LEN: usize = 512;

/// The part of a `Status` (`meta/v1`) that is looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    kind: String,
    pub(super) message: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: String,
    retry_after_seconds: u64,
}

impl Status {
    /// Reads the body of an answer; a proxy in between sends what is none.
    pub(super) fn read(answer: &Answer) -> Self {
        serde_json::from_slice::<Self>(&answer.body)
            .ok()
            .filter(|status| status.kind == "Status")
            .unwrap_or_default()
    }

    /// Whether it is about an object of this name, and not about where it should be.
    pub(super) fn is_about(&self, name: &str) -> bool {
        self.details
            .as_ref()
            .is_some_and(|details| details.name == name)
    }
}

/// What a status code is taken for, whatever was asked.
pub(super) struct Row {
    pub(super) code: u16,
    pub(super) kind: ErrorKind,
    pub(super) meaning: &'static str,
    /// Empty: that of the kind.
    pub(super) remedy: &'static str,
}

/// The table in the documentation of [`crate::api`].
pub(super) const ROWS: &[Row] = &[
    Row {
        code: 400,
        kind: ErrorKind::InvalidInput,
        meaning: "the server does not understand the request",
        remedy: "",
    },
    Row {
        code: 401,
        kind: ErrorKind::Unauthenticated,
        meaning: "the server does not know who we are",
        remedy: "log in again: check the user of the kubeconfig's context, its token, certificate or exec plugin",
    },
    Row {
        code: 403,
        kind: ErrorKind::PermissionDenied,
        meaning: "the server does not allow it",
        remedy: "",
    },
    Row {
        code: 404,
        kind: ErrorKind::InvalidInput,
        meaning: "the server has no such resource",
        remedy: "check the resource's name, group and version, and the path in the server's URL",
    },
    Row {
        code: 405,
        kind: ErrorKind::Unsupported,
        meaning: "the resource does not allow it",
        remedy: "leave this resource out",
    },
    Row {
        code: 406,
        kind: ErrorKind::Unsupported,
        meaning: "the server cannot list metadata without content",
        remedy: "use Kubernetes 1.15 or later; leave this resource out if it is of an aggregated API",
    },
    Row {
        code: 410,
        kind: ErrorKind::Compacted,
        meaning: "the server does not hold the rest of this list any more",
        remedy: "",
    },
    Row {
        code: 415,
        kind: ErrorKind::Unsupported,
        meaning: "the server does not take merge patches of this resource",
        remedy: "leave this resource out",
    },
    Row {
        code: 429,
        kind: ErrorKind::Throttled,
        meaning: "the server asks to slow down",
        remedy: "",
    },
    Row {
        code: 500,
        kind: ErrorKind::Unavailable,
        meaning: "the server failed",
        remedy: "if it is always so: an object that no configured key decrypts makes lists fail; find it with `kms census` on a snapshot, and check the KMS plugin",
    },
    Row {
        code: 502,
        kind: ErrorKind::Unavailable,
        meaning: "a proxy did not reach the server",
        remedy: "",
    },
    Row {
        code: 503,
        kind: ErrorKind::Unavailable,
        meaning: "the server is not ready",
        remedy: "",
    },
    Row {
        code: 504,
        kind: ErrorKind::Unavailable,
        meaning: "the server did not get it done in time",
        remedy: "",
    },
];

/// The error that an answer stands for; `what` was asked.
pub(super) fn error(answer: &Answer, status: &Status, what: &str) -> Error {
    let code = answer.status.as_u16();
    let row = ROWS.iter().find(|row| row.code == code);
    let (kind, meaning) = row.map_or(
        (ErrorKind::Protocol, "an answer that is not to be expected"),
        |row| (row.kind, row.meaning),
    );
    let mut message = format!("{what}: {meaning} ({code})");
    if !status.message.is_empty() {
        message.push_str(": ");
        message.push_str(&one_line(&status.message));
    }
    let mut error = Error::new(kind, message);
    if let Some(remedy) = row.map(|row| row.remedy).filter(|text| !text.is_empty()) {
        error = error.with_remedy(remedy);
    }
    let said = status
        .details
        .as_ref()
        .map(|details| details.retry_after_seconds)
        .filter(|seconds| *seconds > 0)
        .map(core::time::Duration::from_secs);
    match answer.retry_after.or(said) {
        Some(after) if kind.is_retryable() => error.with_retry_after(after),
        _ => error,
    }
}

/// Text from outside, bounded, and without what would upset a terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for letter in text.trim().chars() {
        if line.len().saturating_add(letter.len_utf8()) > MAX_TEXT_LEN {
            line.push_str("...");
            break;
        }
        line.push(if letter.is_control() { ' ' } else { letter });
    }
    line
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use reqwest::StatusCode;
    use zeroize::Zeroizing;

    use super::*;

    fn answer(code: u16, retry_after: Option<u64>, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
            body: Zeroizing::new(body.as_bytes().to_vec()),
            is_too_long: false,
        }
    }

    #[test]
    fn every_row_of_the_table_is_documented_and_has_its_kind() {
        let documentation = include_str!("mod.rs");
        for row in ROWS {
            let answer = answer(row.code, None, "");
            let error = error(&answer, &Status::read(&answer), "a list");
            assert_eq!(error.kind(), row.kind);
            let line = format!("//! | {} | {:?} | {} |", row.code, row.kind, row.meaning);
            assert!(documentation.contains(&line), "not documented: {line}");
        }
        let documented = documentation
            .lines()
            .filter(|line| line.starts_with("//! | ") && line.as_bytes()[6].is_ascii_digit());
        assert_eq!(documented.count(), ROWS.len());
    }

    #[test]
    fn what_is_not_in_the_table_is_a_breach() {
        for code in [100, 204, 302, 418, 507] {
            let answer = answer(code, None, "");
            let error = error(&answer, &Status::read(&answer), "a list");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{code}");
        }
    }

    #[test]
    fn advice_on_when_to_come_back_is_passed_on_where_it_helps() {
        let status =
            r#"{"kind":"Status","message":"slow\ndown","details":{"retryAfterSeconds":7}}"#;
        let after = |code, header, body| {
            let answer = answer(code, header, body);
            error(&answer, &Status::read(&answer), "a list").retry_after()
        };
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(after(429, Some(3), status), seconds(3));
        assert_eq!(after(429, None, status), seconds(7));
        assert_eq!(after(503, Some(0), ""), seconds(0));
        assert_eq!(after(429, None, "<html>"), None);
        assert_eq!(after(403, Some(3), status), None);
    }

    #[test]
    fn a_servers_words_are_one_short_line() {
        let long = format!("\u{1b}[31m{}", "\u{e4}\n".repeat(2000));
        let body = serde_json::json!({"kind": "Status", "message": long}).to_string();
        let answer = answer(500, None, &body);
        let error = error(&answer, &Status::read(&answer), "a list");
        assert!(error.message().len() < MAX_TEXT_LEN + 64);
        assert!(!error.message().chars().any(char::is_control));
        // What is no Status says nothing.
        let other = self::answer(500, None, r#"{"message":"hunter2"}"#);
        let error = self::error(&other, &Status::read(&other), "a list");
        assert!(!error.message().contains("hunter2"));
    }
}
