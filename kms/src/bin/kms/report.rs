//! How a failure is told: one paragraph for a person, or one JSON object; and the exit code.

use core::fmt::Write as _;
use std::process::ExitCode;

use kms::Failure;
use serde_json::json;

/// Refused or failed. Wrong usage is 2, which `clap` returns by itself.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// Done as far as it goes; somebody has to look.
const WAITS: u8 = 3;

/// Prints what, where and what to do on standard error.
pub(crate) fn failure(failure: &Failure, as_json: bool) -> ExitCode {
    if failure.is_broken_pipe() {
        return ExitCode::from(FAILED);
    }
    if as_json {
        let message = with_causes(failure);
        let object = json!({ "error": {
            "kind": failure.kind(), "message": message, "remedy": failure.remedy(),
        }});
        eprintln!("{object}");
    } else {
        eprintln!(
            "kms: {}. To do: {}.",
            with_causes(failure),
            failure.remedy()
        );
    }
    ExitCode::from(match failure {
        failure if failure.is_usage() => USAGE,
        failure if failure.is_waiting() => WAITS,
        _ => FAILED,
    })
}

fn with_causes(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = core::error::Error::source(failure);
    while let Some(error) = cause {
        let reason = error.to_string();
        // Some errors say their cause themselves.
        if !text.ends_with(&reason) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {reason}");
        }
        cause = error.source();
    }
    text
}
