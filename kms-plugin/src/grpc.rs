//! Errors and deadlines as gRPC writes them: the one place where the two meet.

use core::time::Duration;

use kms_core::{Error, ErrorKind};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Trailer with the exact [`ErrorKind`], for our own client: several kinds share a code.
const KIND_TRAILER: &str = "kms-error-kind";

/// The most of an error's text that goes over the wire either way, in bytes.
const MAX_MESSAGE_LEN: usize = 768;

/// Every kind there is.
const KINDS: [ErrorKind; 19] = [
    ErrorKind::InvalidInput,
    ErrorKind::Unsupported,
    ErrorKind::Crypto,
    ErrorKind::KeyNotFound,
    ErrorKind::KeyDisabled,
    ErrorKind::KeyExpired,
    ErrorKind::KeyNotYetValid,
    ErrorKind::KeyDestroyed,
    ErrorKind::PermissionDenied,
    ErrorKind::Unauthenticated,
    ErrorKind::Throttled,
    ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Conflict,
    ErrorKind::Compacted,
    ErrorKind::Corrupt,
    ErrorKind::Io,
    ErrorKind::Protocol,
    ErrorKind::Internal,
];

/// The table of `server`: a kind as a code.
const fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::Crypto => Code::InvalidArgument,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::KeyNotFound => Code::NotFound,
        ErrorKind::KeyDisabled
        | ErrorKind::KeyExpired
        | ErrorKind::KeyNotYetValid
        | ErrorKind::KeyDestroyed => Code::FailedPrecondition,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Throttled => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Compacted => Code::OutOfRange,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Io | ErrorKind::Protocol | ErrorKind::Internal => Code::Internal,
        // A kind that is newer than this crate.
        _ => Code::Unknown,
    }
}

/// An error as the status that the peer sees, with the remedy in its text.
pub(crate) fn status_from(error: &Error) -> Status {
    status_with_code(code_of(error.kind()), error)
}

/// The same under another code.
pub(crate) fn status_with_code(code: Code, error: &Error) -> Status {
    let mut trailers = MetadataMap::new();
    trailers.insert(
        KIND_TRAILER,
        MetadataValue::from_static(error.kind().as_str()),
    );
    Status::with_metadata(code, text_of(error), trailers)
}

/// What is said of an error to a peer, in one line.
pub(crate) fn text_of(error: &Error) -> String {
    // Why something did not open is nobody's business, whatever the provider wrote.
    let text = if error.kind() == ErrorKind::Crypto {
        let opaque = Error::crypto();
        format!("{opaque}; {}", opaque.remedy())
    } else {
        format!("{error}; {}", error.remedy())
    };
    one_line(&text, MAX_MESSAGE_LEN)
}

/// Text from outside, made fit for a log line: no control characters, and not endless.
pub(crate) fn one_line(text: &str, max: usize) -> String {
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

/// What a plugin is asked for; the same code may mean different things.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    /// `Status`, or `Version`.
    Describe,
    /// `Encrypt`.
    Encrypt,
    /// `Decrypt`.
    Decrypt,
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "status",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

/// The table of `client`: what a plugin's status means.
pub(crate) fn error_from(status: &Status, operation: Operation) -> Error {
    let stated = status
        .metadata()
        .get(KIND_TRAILER)
        .and_then(|value| value.to_str().ok())
        .and_then(|name| KINDS.into_iter().find(|kind| kind.as_str() == name));
    let kind = stated.unwrap_or_else(|| kind_of(status.code(), operation));
    let message = match one_line(status.message(), MAX_MESSAGE_LEN) {
        text if text.is_empty() => format!("the plugin answered {:?}", status.code()),
        text => text,
    };
    let error = Error::new(kind, format!("{}: {message}", operation.as_str()));
    if stated.is_none() && kind == ErrorKind::Internal {
        return error.with_remedy("read the plugin's log: it did not say what kind of fault it is");
    }
    error
}

const fn kind_of(code: Code, operation: Operation) -> ErrorKind {
    match code {
        // The client has checked the limits, so what is left is that it does not open.
        Code::InvalidArgument if matches!(operation, Operation::Decrypt) => ErrorKind::Crypto,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidInput,
        Code::NotFound => ErrorKind::KeyNotFound,
        Code::FailedPrecondition => ErrorKind::KeyDisabled,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::ResourceExhausted => ErrorKind::Throttled,
        Code::Unavailable | Code::Cancelled => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::Aborted | Code::AlreadyExists => ErrorKind::Conflict,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Unimplemented => ErrorKind::Unsupported,
        // `Ok` is no error, so a peer that says so broke the protocol.
        Code::Ok => ErrorKind::Protocol,
        Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

/// The caller's time-out from the `grpc-timeout` header: up to eight digits and a unit. Anything
/// else is as if it were not there, so that the server's own limit holds.
pub(crate) fn timeout_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_code_of_the_table() {
        let table = [
            (ErrorKind::InvalidInput, Code::InvalidArgument),
            (ErrorKind::Unsupported, Code::Unimplemented),
            (ErrorKind::Crypto, Code::InvalidArgument),
            (ErrorKind::KeyNotFound, Code::NotFound),
            (ErrorKind::KeyDisabled, Code::FailedPrecondition),
            (ErrorKind::KeyExpired, Code::FailedPrecondition),
            (ErrorKind::KeyNotYetValid, Code::FailedPrecondition),
            (ErrorKind::KeyDestroyed, Code::FailedPrecondition),
            (ErrorKind::PermissionDenied, Code::PermissionDenied),
            (ErrorKind::Unauthenticated, Code::Unauthenticated),
            (ErrorKind::Throttled, Code::ResourceExhausted),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
            (ErrorKind::Conflict, Code::Aborted),
            (ErrorKind::Compacted, Code::OutOfRange),
            (ErrorKind::Corrupt, Code::DataLoss),
            (ErrorKind::Io, Code::Internal),
            (ErrorKind::Protocol, Code::Internal),
            (ErrorKind::Internal, Code::Internal),
        ];
        assert_eq!(table.len(), KINDS.len());
        for (kind, code) in table {
            let status = status_from(&Error::new(kind, "it failed"));
            assert_eq!(status.code(), code, "{kind}");
            assert!(status.message().contains(kind.remedy()), "{kind}");
            // Our own client gets the kind back.
            for operation in [Operation::Describe, Operation::Encrypt, Operation::Decrypt] {
                assert_eq!(error_from(&status, operation).kind(), kind);
            }
        }
    }

    #[test]
    fn each_code_of_a_foreign_plugin_has_the_kind_of_the_table() {
        for (code, encrypt, decrypt) in [
            (Code::Ok, ErrorKind::Protocol, ErrorKind::Protocol),
            (
                Code::Cancelled,
                ErrorKind::Unavailable,
                ErrorKind::Unavailable,
            ),
            (Code::Unknown, ErrorKind::Internal, ErrorKind::Internal),
            (
                Code::InvalidArgument,
                ErrorKind::InvalidInput,
                ErrorKind::Crypto,
            ),
            (
                Code::DeadlineExceeded,
                ErrorKind::DeadlineExceeded,
                ErrorKind::DeadlineExceeded,
            ),
            (
                Code::NotFound,
                ErrorKind::KeyNotFound,
                ErrorKind::KeyNotFound,
            ),
            (
                Code::AlreadyExists,
                ErrorKind::Conflict,
                ErrorKind::Conflict,
            ),
            (
                Code::PermissionDenied,
                ErrorKind::PermissionDenied,
                ErrorKind::PermissionDenied,
            ),
            (
                Code::ResourceExhausted,
                ErrorKind::Throttled,
                ErrorKind::Throttled,
            ),
            (
                Code::FailedPrecondition,
                ErrorKind::KeyDisabled,
                ErrorKind::KeyDisabled,
            ),
            (Code::Aborted, ErrorKind::Conflict, ErrorKind::Conflict),
            (
                Code::OutOfRange,
                ErrorKind::InvalidInput,
                ErrorKind::InvalidInput,
            ),
            (
                Code::Unimplemented,
                ErrorKind::Unsupported,
                ErrorKind::Unsupported,
            ),
            (Code::Internal, ErrorKind::Internal, ErrorKind::Internal),
            (
                Code::Unavailable,
                ErrorKind::Unavailable,
                ErrorKind::Unavailable,
            ),
            (Code::DataLoss, ErrorKind::Corrupt, ErrorKind::Corrupt),
            (
                Code::Unauthenticated,
                ErrorKind::Unauthenticated,
                ErrorKind::Unauthenticated,
            ),
        ] {
            let status = Status::new(code, "x");
            assert_eq!(error_from(&status, Operation::Encrypt).kind(), encrypt);
            assert_eq!(error_from(&status, Operation::Decrypt).kind(), decrypt);
        }
    }

    #[test]
    fn a_cryptographic_failure_does_not_say_why() {
        let telling = Error::new(ErrorKind::Crypto, "padding byte 3 is wrong");
        assert!(!status_from(&telling).message().contains("padding"));
    }

    #[test]
    fn text_from_outside_is_bounded_and_one_line() {
        assert_eq!(one_line("a\r\nb\u{1b}[0m", 99), "a  b [0m");
        assert_eq!(one_line("\u{e4}\u{e4}", 3), "\u{e4}...");
        assert!(one_line(&"x".repeat(9000), 768).len() < 800);
    }

    #[test]
    fn the_timeout_header_is_read_as_the_protocol_says() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout_of(&metadata)
        };
        assert_eq!(read("3S"), Some(Duration::from_secs(3)));
        assert_eq!(read("2999967u"), Some(Duration::from_micros(2_999_967)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(read("0m"), Some(Duration::ZERO));
        for bad in [
            "",
            "S",
            "3",
            "-3S",
            "+3S",
            "123456789S",
            "3s",
            "3.5S",
            "3 S",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
