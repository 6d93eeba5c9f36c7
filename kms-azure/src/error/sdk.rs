//! From the SDK's errors to ours.

use core::error::Error as StdError;
use core::time::Duration;
use std::io;

use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use kms_core::Error;

use super::body::{Refusal, readable};
use super::{Fault, Operation, VaultError};
use crate::key_url::KeyUrl;
use crate::transport::NameNotResolved;

/// The longest advice of a service that is passed on.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");
const RETRY_AFTER_MS: [HeaderName; 2] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
];

/// What the SDK could not do with this key. Its own error is not kept as a source: it may hold
/// whole answers.
pub(crate) fn from_sdk(error: &azure_core::Error, operation: Operation, key: &KeyUrl) -> Error {
    // What our own credential or transport has said stays as it is.
    if let Some(ours) = find::<Error>(error) {
        return ours
            .clone()
            .with_provider(key.without_version().to_string());
    }
    if let SdkKind::HttpResponse {
        status,
        raw_response,
        ..
    } = error.kind()
    {
        let status = u16::from(*status);
        let refusal = match raw_response {
            Some(response) => refused(status, response, operation),
            None => answered(status, Refusal::default(), operation),
        };
        let after = raw_response.as_deref().and_then(retry_after);
        return refusal.about(key, after);
    }
    let fault = match error.kind() {
        _ if find::<NameNotResolved>(error).is_some() => Fault::NameNotResolved,
        _ if is_untrusted_certificate(error) => Fault::CertificateNotTrusted,
        SdkKind::Connection | SdkKind::Io => Fault::ConnectionFailed,
        // The names in the URL are checked before, so this is what the SDK has against the
        // challenge.
        SdkKind::Other => Fault::ChallengeRefused,
        _ => Fault::UnexpectedAnswer,
    };
    VaultError::found(fault, operation).about(key, None)
}

fn refused(status: u16, response: &RawResponse, operation: Operation) -> VaultError {
    let mut error = answered(status, Refusal::parse(response.body()), operation);
    let request_id = response.headers().get_optional_str(&REQUEST_ID);
    error.request_id = request_id.map(readable);
    error
}

fn answered(status: u16, refusal: Refusal, operation: Operation) -> VaultError {
    let codes = refusal.codes.iter().map(String::as_str);
    VaultError {
        fault: Fault::of(status, codes, operation.opens_ciphertext()),
        operation,
        status: Some(status),
        code: refusal.codes.into_iter().next(),
        message: refusal.message,
        request_id: None,
    }
}

/// In seconds, or in milliseconds in Microsoft's own headers. A date is not read: nothing depends
/// on this advice.
pub(crate) fn retry_after(response: &RawResponse) -> Option<Duration> {
    let headers = response.headers();
    let number = |name: &HeaderName| headers.get_optional_str(name)?.trim().parse::<u64>().ok();
    let millis = RETRY_AFTER_MS.iter().find_map(number);
    let after = millis
        .map(Duration::from_millis)
        .or_else(|| number(&RETRY_AFTER).map(Duration::from_secs))?;
    Some(after.min(MAX_RETRY_AFTER))
}

/// The first of the causes that is of this type. An `io::Error` does not show what it holds as its
/// source, so it is opened.
pub(crate) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

fn is_untrusted_certificate(error: &azure_core::Error) -> bool {
    matches!(
        find::<rustls::Error>(error),
        Some(rustls::Error::InvalidCertificate(_))
    )
}

#[cfg(test)]
mod tests {
    use azure_core::http::headers::Headers;
    use kms_core::ErrorKind;

    use super::*;
    use crate::error::Retry;

    const KEY: &str = "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef";

    fn failed(
        operation: Operation,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Error {
        let headers: Headers = headers
            .iter()
            .fold(Headers::new(), |mut all, (name, value)| {
                all.insert(*name, (*value).to_owned());
                all
            });
        let response = RawResponse::from_bytes(status.into(), headers, body.to_owned());
        let kind = SdkKind::HttpResponse {
            status: status.into(),
            error_code: None,
            raw_response: Some(Box::new(response)),
        };
        let sdk = azure_core::Error::with_message(kind, "…").with_context("wrapped");
        from_sdk(&sdk, operation, &KEY.parse().unwrap())
    }

    fn body(code: &str, message: &str, inner: Option<&str>) -> String {
        let inner = inner.map(|code| serde_json::json!({"code": code, "innererror": null}));
        serde_json::json!({"error": {"code": code, "message": message, "innererror": inner}})
            .to_string()
    }

    /// One row: what a vault says, and what is made of it.
    #[track_caller]
    fn row(
        (status, code, inner, message): (u16, &str, Option<&str>, &str),
        fault: Fault,
        kind: ErrorKind,
        retry: Retry,
        remedy: &str,
    ) {
        let error = failed(Operation::GetKey, status, &[], &body(code, message, inner));
        let source = VaultError::of(&error).expect("a source");
        assert_eq!(source.fault(), fault);
        assert_eq!(error.kind(), kind);
        assert_eq!(fault.kind(), kind);
        assert_eq!(fault.retry(), retry);
        assert!(error.remedy().contains(remedy), "{}", error.remedy());
        assert_eq!(error.is_retryable(), retry == Retry::Soon);
        assert_eq!(source.status(), Some(status));
        assert_eq!(error.key_id().unwrap().as_str(), KEY);
        assert_eq!(
            error.provider(),
            Some("https://kv1.vault.azure.net/keys/etcd")
        );
    }

    #[test]
    fn a_missing_token() {
        row(
            (
                401,
                "Unauthorized",
                None,
                "Request is missing a Bearer or PoP token.",
            ),
            Fault::TokenRefused,
            ErrorKind::Unauthenticated,
            Retry::AfterChange,
            "credentials",
        );
    }

    #[test]
    fn a_token_of_another_tenant() {
        row(
            (
                401,
                "Unauthorized",
                None,
                "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/t/, found x",
            ),
            Fault::InvalidIssuer,
            ErrorKind::Unauthenticated,
            Retry::AfterChange,
            "tenant",
        );
    }

    #[test]
    fn a_token_for_another_service() {
        row(
            (
                401,
                "Unauthorized",
                None,
                "AKV10022: Invalid audience. Expected x, found y",
            ),
            Fault::InvalidAudience,
            ErrorKind::Unauthenticated,
            Retry::AfterChange,
            "own name",
        );
    }

    #[test]
    fn an_expired_token() {
        row(
            (
                401,
                "Unauthorized",
                None,
                "[TokenExpired] Error validating token",
            ),
            Fault::TokenExpired,
            ErrorKind::Unauthenticated,
            Retry::AfterChange,
            "clock",
        );
    }

    /// R20, R70.
    #[test]
    fn a_missing_role() {
        row(
            (
                403,
                "Forbidden",
                Some("ForbiddenByRbac"),
                "Caller is not authorized to perform action on resource.\r\nCaller: appid=1",
            ),
            Fault::ForbiddenByRbac,
            ErrorKind::PermissionDenied,
            Retry::Later,
            "24 hours",
        );
    }

    /// R9.
    #[test]
    fn a_closed_firewall() {
        row(
            (
                403,
                "Forbidden",
                Some("ForbiddenByFirewall"),
                "Client address is not authorized and caller is not a trusted service.",
            ),
            Fault::ForbiddenByFirewall,
            ErrorKind::PermissionDenied,
            Retry::AfterChange,
            "az keyvault network-rule add --name kv1",
        );
    }

    #[test]
    fn no_private_link() {
        row(
            (
                403,
                "Forbidden",
                Some("ForbiddenByConnection"),
                "Public network access is disabled and request is not from a trusted service nor via an approved private link.",
            ),
            Fault::ForbiddenByConnection,
            ErrorKind::PermissionDenied,
            Retry::AfterChange,
            "private endpoint",
        );
    }

    /// R19.
    #[test]
    fn no_access_policy() {
        for inner in ["ForbiddenByPolicy", "AccessDenied"] {
            row(
                (
                    403,
                    "Forbidden",
                    Some(inner),
                    "The user, group or application 'a' does not have keys decrypt permission on key vault 'n;location=r'.",
                ),
                Fault::ForbiddenByPolicy,
                ErrorKind::PermissionDenied,
                Retry::Later,
                "az keyvault set-policy --name kv1",
            );
        }
    }

    #[test]
    fn a_disabled_key() {
        row(
            (
                403,
                "Forbidden",
                Some("KeyDisabled"),
                "Operation get is not allowed on a disabled key.",
            ),
            Fault::KeyDisabled,
            ErrorKind::KeyDisabled,
            Retry::AfterChange,
            "--vault-name kv1 --name etcd --version 0123456789abcdef0123456789abcdef --enabled true",
        );
    }

    /// R44: extend the expiry, then rotate.
    #[test]
    fn an_expired_key() {
        row(
            (
                403,
                "Forbidden",
                Some("KeyExpired"),
                "Operation encrypt is not allowed on an expired key.",
            ),
            Fault::KeyExpired,
            ErrorKind::KeyExpired,
            Retry::AfterChange,
            "--expires DATE`, then make a new version: `az keyvault key rotate --vault-name kv1 --name etcd`",
        );
    }

    #[test]
    fn a_key_before_its_time() {
        row(
            (
                403,
                "Forbidden",
                Some("KeyNotYetValid"),
                "Operation wrapKey is not allowed…",
            ),
            Fault::KeyNotYetValid,
            ErrorKind::KeyNotYetValid,
            Retry::Later,
            "start time",
        );
    }

    #[test]
    fn an_operation_that_the_key_does_not_allow() {
        row(
            (
                403,
                "Forbidden",
                Some("KeyOperationForbidden"),
                "Operation decrypt is not permitted on this key.",
            ),
            Fault::KeyOperationForbidden,
            ErrorKind::PermissionDenied,
            Retry::AfterChange,
            "--ops wrapKey unwrapKey",
        );
    }

    #[test]
    fn no_key() {
        row(
            (
                404,
                "KeyNotFound",
                None,
                "A key with (name/id) etcd was not found in this key vault.",
            ),
            Fault::KeyNotFound,
            ErrorKind::KeyNotFound,
            Retry::AfterChange,
            "az keyvault key recover",
        );
    }

    #[test]
    fn a_deleted_key_in_the_way() {
        row(
            (409, "Conflict", Some("ObjectIsDeletedButRecoverable"), "…"),
            Fault::NameTakenByDeletedKey,
            ErrorKind::InvalidInput,
            Retry::AfterChange,
            "az keyvault key recover",
        );
        row(
            (409, "Conflict", Some("ObjectIsBeingDeleted"), "…"),
            Fault::BeingDeleted,
            ErrorKind::Conflict,
            Retry::Soon,
            "again",
        );
    }

    #[test]
    fn a_bad_parameter() {
        for code in ["BadParameter", "BadArgument"] {
            row(
                (400, code, None, "Property has invalid value"),
                Fault::BadParameter,
                ErrorKind::InvalidInput,
                Retry::AfterChange,
                "RSA of 2048, 3072 or 4096 bits",
            );
        }
    }

    #[test]
    fn a_ciphertext_that_does_not_open_is_opaque() {
        for operation in [Operation::UnwrapKey, Operation::Decrypt] {
            let error = failed(operation, 400, &[], &body("BadParameter", "padding", None));
            assert_eq!(error.kind(), ErrorKind::Crypto);
            assert_eq!(error.message(), Error::crypto().message());
            assert!(StdError::source(&error).is_none());
        }
        let proxy = failed(Operation::UnwrapKey, 400, &[], "<h1>Bad Request</h1>");
        assert_eq!(proxy.kind(), ErrorKind::Protocol);
    }

    #[test]
    fn too_many_calls() {
        let message = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";
        row(
            (429, "Throttled", None, message),
            Fault::Throttled,
            ErrorKind::Throttled,
            Retry::Soon,
            "fewer calls",
        );
        for (headers, after) in [
            (&[][..], None),
            (&[("retry-after", "7")], Some(Duration::from_secs(7))),
            (&[("retry-after", "86400")], Some(MAX_RETRY_AFTER)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "Fri, 01 Jan 2027 00:00:00 GMT")], None),
            (
                &[("retry-after", "9"), ("retry-after-ms", "250")],
                Some(Duration::from_millis(250)),
            ),
        ] {
            let error = failed(
                Operation::UnwrapKey,
                429,
                headers,
                &body("Throttled", message, None),
            );
            assert_eq!(error.retry_after(), after, "{headers:?}");
        }
    }

    #[test]
    fn a_failing_service() {
        for (status, code) in [
            (500, "InternalServerError"),
            (503, "ServiceUnavailable"),
            (504, "GatewayTimeout"),
            (408, "Timeout"),
        ] {
            row(
                (status, code, None, "…"),
                Fault::ServerError,
                ErrorKind::Unavailable,
                Retry::Soon,
                "health of the service",
            );
        }
        let html = failed(Operation::UnwrapKey, 502, &[], "<html>Bad Gateway</html>");
        assert_eq!(html.kind(), ErrorKind::Unavailable);
    }

    /// What a proxy in the way may say must not pass for a word on the key.
    #[test]
    fn an_answer_without_its_code_says_nothing_of_the_key() {
        for status in [302, 400, 404, 418] {
            let error = failed(Operation::GetKey, status, &[], "<html/>");
            assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
        }
        let other = failed(
            Operation::GetKey,
            403,
            &[],
            &body("Forbidden", "why not", None),
        );
        assert_eq!(VaultError::of(&other).unwrap().fault(), Fault::Forbidden);
    }

    #[test]
    fn what_goes_wrong_on_the_way() {
        let io = |inner: Box<dyn StdError + Send + Sync>| io::Error::other(inner);
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for (sdk, fault) in [
            (
                azure_core::Error::new(SdkKind::Connection, io(Box::new(NameNotResolved))),
                Fault::NameNotResolved,
            ),
            (
                azure_core::Error::new(SdkKind::Connection, io(Box::new(certificate))),
                Fault::CertificateNotTrusted,
            ),
            (
                azure_core::Error::new(SdkKind::Io, io("reset".into())),
                Fault::ConnectionFailed,
            ),
            (
                azure_core::Error::with_message(SdkKind::Other, "challenge resource"),
                Fault::ChallengeRefused,
            ),
            (
                azure_core::Error::with_message(SdkKind::DataConversion, "no JSON"),
                Fault::UnexpectedAnswer,
            ),
        ] {
            let sdk = sdk.with_context("retry policy expired");
            let error = from_sdk(&sdk, Operation::WrapKey, &KEY.parse().unwrap());
            assert_eq!(VaultError::of(&error).unwrap().fault(), fault);
            assert_eq!(error.kind(), fault.kind());
        }
    }

    #[test]
    fn our_own_errors_come_through() {
        let ours = Error::new(ErrorKind::Unauthenticated, "no token").with_remedy("sign in");
        let sdk = azure_core::Error::new(SdkKind::Credential, ours).with_context("…");
        let error = from_sdk(&sdk, Operation::WrapKey, &KEY.parse().unwrap());
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert_eq!(error.remedy(), "sign in");
        assert_eq!(
            error.provider(),
            Some("https://kv1.vault.azure.net/keys/etcd")
        );
    }

    #[test]
    fn details_are_kept_and_bounded() {
        let error = failed(
            Operation::GetKey,
            403,
            &[("x-ms-request-id", "abc-1")],
            &body(
                "Forbidden",
                "Caller is not authorized\nCaller: appid=secret",
                Some("ForbiddenByRbac"),
            ),
        );
        let source = VaultError::of(&error).unwrap();
        assert_eq!(source.request_id(), Some("abc-1"));
        assert_eq!(source.code(), Some("ForbiddenByRbac"));
        assert_eq!(
            error.message(),
            "get failed with 403 ForbiddenByRbac: Caller is not authorized"
        );
        assert!(!format!("{error:?}").contains("appid"));
    }
}
