//! Errors and deadlines as gRPC writes them: the one place where the two meet.

use core::time::Duration;

use kms_core::text::one_line;
use kms_core::{Error, ErrorKind};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Trailer with the exact [`ErrorKind`], for our own client: several kinds share a code.
const KIND_TRAILER: &str = "kms-error-kind";

/// Trailer with the remedy alone, for our own client; binary, so that it may be any text.
const REMEDY_TRAILER: &str = "kms-remedy-bin";

/// The most of a remedy that goes over the wire either way, in bytes.
const MAX_REMEDY_LEN: usize = 512;

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
    let remedy = one_line(remedy_of(error), MAX_REMEDY_LEN);
    trailers.insert_bin(REMEDY_TRAILER, MetadataValue::from_bytes(remedy.as_bytes()));
    Status::with_metadata(code, text_of(error), trailers)
}

/// What is said of an error to a peer, in one line.
pub(crate) fn text_of(error: &Error) -> String {
    // Why something did not open is nobody's business, whatever the provider wrote.
    let text = if error.kind() == ErrorKind::Crypto {
        format!("{}; {}", Error::crypto(), remedy_of(error))
    } else {
        format!("{error}; {}", remedy_of(error))
    };
    one_line(&text, MAX_MESSAGE_LEN)
}

/// What is said to a peer of what to do. A provider's own remedy could tell why it did not open.
fn remedy_of(error: &Error) -> &str {
    if error.kind() == ErrorKind::Crypto {
        ErrorKind::Crypto.remedy()
    } else {
        error.remedy()
    }
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

/// Which of the two services is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Api {
    /// KMS v1.
    V1Beta1,
    /// KMS v2.
    V2,
}

/// The table of `client`: what a plugin's status means.
pub(crate) fn error_from(status: &Status, operation: Operation, api: Api) -> Error {
    let stated = status
        .metadata()
        .get(KIND_TRAILER)
        .and_then(|value| value.to_str().ok())
        .and_then(|name| KINDS.into_iter().find(|kind| kind.as_str() == name));
    if stated.is_none() && status.code() == Code::Unimplemented {
        return not_served(operation, api);
    }
    let kind = stated.unwrap_or_else(|| kind_of(status.code(), operation));
    let remedy = stated.and_then(|_| stated_remedy(status));
    let text = one_line(status.message(), MAX_MESSAGE_LEN);
    // Our server's text ends in the remedy; it is said once.
    let text = remedy
        .as_deref()
        .and_then(|remedy| text.strip_suffix(remedy)?.strip_suffix("; "))
        .unwrap_or(&text);
    let message = if text.is_empty() {
        format!("the plugin answered {:?}", status.code())
    } else {
        text.to_owned()
    };
    let error = Error::new(kind, format!("{}: {message}", operation.as_str()));
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None if stated.is_none() && kind == ErrorKind::Internal => {
            error.with_remedy("read the plugin's log: it did not say what kind of fault it is")
        }
        None => error,
    }
}

/// The remedy that our own server sent, if it is text.
fn stated_remedy(status: &Status) -> Option<String> {
    let bytes = status.metadata().get_bin(REMEDY_TRAILER)?.to_bytes().ok()?;
    let text = core::str::from_utf8(&bytes).ok()?;
    let remedy = one_line(text.trim(), MAX_REMEDY_LEN);
    (!remedy.is_empty()).then_some(remedy)
}

/// What gRPC servers answer to calls of a service that they do not have.
fn not_served(operation: Operation, api: Api) -> Error {
    let (message, remedy) = match api {
        Api::V1Beta1 => (
            "the plugin does not serve KMS v1",
            "start it with KMS v1 on (kms serve --kms-v1)",
        ),
        Api::V2 => (
            "the plugin does not serve KMS v2",
            "use a plugin that serves KMS v2, or speak KMS v1 to this one",
        ),
    };
    Error::new(
        ErrorKind::Unsupported,
        format!("{}: {message}", operation.as_str()),
    )
    .with_remedy(remedy)
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
                assert_eq!(error_from(&status, operation, Api::V2).kind(), kind);
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
            for api in [Api::V1Beta1, Api::V2] {
                let read = |operation| error_from(&status, operation, api).kind();
                assert_eq!(read(Operation::Encrypt), encrypt);
                assert_eq!(read(Operation::Decrypt), decrypt);
            }
        }
    }

    #[test]
    fn a_cryptographic_failure_does_not_say_why() {
        let telling = Error::new(ErrorKind::Crypto, "padding byte 3 is wrong");
        assert!(!status_from(&telling).message().contains("padding"));
        let telling = Error::crypto().with_remedy("mend padding byte 3");
        let status = status_from(&telling);
        assert!(!status.message().contains("padding"));
        let read = error_from(&status, Operation::Decrypt, Api::V2);
        assert_eq!(read.remedy(), ErrorKind::Crypto.remedy());
    }

    #[test]
    fn a_remedy_arrives_and_is_said_once() {
        let own = "grant \u{201e}unwrap\u{201d}\non the key";
        let sent = Error::new(ErrorKind::PermissionDenied, "no").with_remedy(own);
        let read = error_from(&status_from(&sent), Operation::Encrypt, Api::V2);
        assert_eq!(read.remedy(), "grant \u{201e}unwrap\u{201d} on the key");
        assert_eq!(read.message(), "encrypt: no");
        // Long ones are cut, at both ends.
        let sent = sent.with_remedy("r".repeat(9000));
        let read = error_from(&status_from(&sent), Operation::Encrypt, Api::V2);
        assert!(read.remedy().len() < 600, "{}", read.remedy().len());
        let mut hostile = status_from(&sent);
        let long = "\u{1b}".repeat(9000);
        let value = MetadataValue::from_bytes(long.as_bytes());
        hostile.metadata_mut().insert_bin(REMEDY_TRAILER, value);
        let read = error_from(&hostile, Operation::Encrypt, Api::V2);
        assert!(read.remedy().len() < 600 && !read.remedy().contains('\u{1b}'));
    }

    #[test]
    fn a_service_that_is_not_there_is_named() {
        let status = Status::unimplemented("");
        for (api, name, remedy) in [
            (Api::V1Beta1, "KMS v1", "kms serve --kms-v1"),
            (Api::V2, "KMS v2", "serves KMS v2"),
        ] {
            let error = error_from(&status, Operation::Describe, api);
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(name), "{error}");
            assert!(error.remedy().contains(remedy), "{}", error.remedy());
        }
        // What our own server refuses by this code is another matter.
        let own = status_from(&Error::new(ErrorKind::Unsupported, "annotations"));
        let error = error_from(&own, Operation::Encrypt, Api::V1Beta1);
        assert!(error.message().contains("annotations"), "{error}");
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
