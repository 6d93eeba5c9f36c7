//! What can be wrong with a vault, and what each of it means.

use kms_core::ErrorKind;

/// What a vault, or the way to it, says is wrong.
///
/// One for each row of the table in [the module](super). Each has the kind that programs match on
/// ([`kind`](Self::kind)), says whether it passes ([`retry`](Self::retry)), and has a remedy of its
/// own, which stands in the error.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// 401, `AKV10032`: the token is of another tenant; or the vault has moved to one.
    InvalidIssuer,
    /// 401, `AKV10022`: the token is for another service.
    InvalidAudience,
    /// 401, `TokenExpired`.
    TokenExpired,
    /// 401 for another reason: there was no token, or not one to the vault's liking.
    TokenRefused,
    /// 403, `ForbiddenByRbac`: no role. May last up to a day after it was granted (R70).
    ForbiddenByRbac,
    /// 403, `ForbiddenByPolicy` or `AccessDenied`: no access policy.
    ForbiddenByPolicy,
    /// 403, `ForbiddenByFirewall`: the address is not let in.
    ForbiddenByFirewall,
    /// 403, `ForbiddenByConnection`: public access is off, and this is no approved private link.
    ForbiddenByConnection,
    /// 403, `KeyDisabled`.
    KeyDisabled,
    /// 403, `KeyExpired` (R44).
    KeyExpired,
    /// 403, `KeyNotYetValid`.
    KeyNotYetValid,
    /// 403, `KeyOperationForbidden`: the key's own list of operations lacks this one.
    KeyOperationForbidden,
    /// 403 for another reason.
    Forbidden,
    /// 404, `KeyNotFound`: never there, or deleted.
    KeyNotFound,
    /// The key is deleted and can be recovered. A vault says this only when asked twice.
    KeyDeleted,
    /// 409, `ObjectIsDeletedButRecoverable`: a deleted key has this name.
    NameTakenByDeletedKey,
    /// 409, `ObjectIsBeingDeleted`.
    BeingDeleted,
    /// 409 for another reason.
    Conflict,
    /// 400, `BadParameter` or `BadArgument`, in answer to a ciphertext: it does not open.
    DoesNotOpen,
    /// 400, `BadParameter` or `BadArgument`, in answer to anything else.
    BadParameter,
    /// 429.
    Throttled,
    /// 5xx and 408.
    ServerError,
    /// The host has no address: the vault was deleted or never had this name, or DNS is down.
    NameNotResolved,
    /// No connection, or it broke.
    ConnectionFailed,
    /// The certificate is not one that is trusted here.
    CertificateNotTrusted,
    /// The token service named by the vault's challenge is not the vault's own.
    ChallengeRefused,
    /// The answer is not one that this API gives.
    UnexpectedAnswer,
}

/// Whether a fault passes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// In seconds: the call is tried again by itself.
    Soon,
    /// In minutes or hours, without anyone doing more: the key is looked at again with each poll.
    Later,
    /// When somebody has changed something.
    AfterChange,
}

impl Fault {
    /// What programs match on.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::InvalidIssuer
            | Self::InvalidAudience
            | Self::TokenExpired
            | Self::TokenRefused => ErrorKind::Unauthenticated,
            Self::ForbiddenByRbac
            | Self::ForbiddenByPolicy
            | Self::ForbiddenByFirewall
            | Self::ForbiddenByConnection
            | Self::KeyOperationForbidden
            | Self::Forbidden => ErrorKind::PermissionDenied,
            // As with a version whose destruction is scheduled: switched off, and can come back.
            Self::KeyDisabled | Self::KeyDeleted => ErrorKind::KeyDisabled,
            Self::KeyExpired => ErrorKind::KeyExpired,
            Self::KeyNotYetValid => ErrorKind::KeyNotYetValid,
            Self::KeyNotFound => ErrorKind::KeyNotFound,
            Self::NameTakenByDeletedKey | Self::BadParameter => ErrorKind::InvalidInput,
            Self::BeingDeleted | Self::Conflict => ErrorKind::Conflict,
            Self::DoesNotOpen => ErrorKind::Crypto,
            Self::Throttled => ErrorKind::Throttled,
            Self::ServerError | Self::NameNotResolved | Self::ConnectionFailed => {
                ErrorKind::Unavailable
            }
            Self::CertificateNotTrusted | Self::ChallengeRefused | Self::UnexpectedAnswer => {
                ErrorKind::Protocol
            }
        }
    }

    /// Whether it passes.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Throttled
            | Self::ServerError
            | Self::NameNotResolved
            | Self::ConnectionFailed
            | Self::BeingDeleted
            | Self::Conflict => Retry::Soon,
            Self::ForbiddenByRbac | Self::ForbiddenByPolicy | Self::KeyNotYetValid => Retry::Later,
            _ => Retry::AfterChange,
        }
    }

    /// A stable lower-case name, for logs, metrics and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::TokenExpired => "token_expired",
            Self::TokenRefused => "token_refused",
            Self::ForbiddenByRbac => "forbidden_by_rbac",
            Self::ForbiddenByPolicy => "forbidden_by_policy",
            Self::ForbiddenByFirewall => "forbidden_by_firewall",
            Self::ForbiddenByConnection => "forbidden_by_connection",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyOperationForbidden => "key_operation_forbidden",
            Self::Forbidden => "forbidden",
            Self::KeyNotFound => "key_not_found",
            Self::KeyDeleted => "key_deleted",
            Self::NameTakenByDeletedKey => "name_taken_by_deleted_key",
            Self::BeingDeleted => "being_deleted",
            Self::Conflict => "conflict",
            Self::DoesNotOpen => "does_not_open",
            Self::BadParameter => "bad_parameter",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::NameNotResolved => "name_not_resolved",
            Self::ConnectionFailed => "connection_failed",
            Self::CertificateNotTrusted => "certificate_not_trusted",
            Self::ChallengeRefused => "challenge_refused",
            Self::UnexpectedAnswer => "unexpected_answer",
        }
    }

    /// From status and codes, the innermost code first.
    pub(super) fn of<'a>(
        status: u16,
        codes: impl Iterator<Item = &'a str>,
        opens_ciphertext: bool,
    ) -> Self {
        let named = codes
            .filter_map(|code| Self::of_code(status, code, opens_ciphertext))
            .next();
        named.unwrap_or(match status {
            401 => Self::TokenRefused,
            403 => Self::Forbidden,
            409 => Self::Conflict,
            429 => Self::Throttled,
            408 | 500..=599 => Self::ServerError,
            // Not even a 404 or 400 without its code: a proxy may have made it, and a key that
            // counts as gone is dropped from caches.
            _ => Self::UnexpectedAnswer,
        })
    }

    fn of_code(status: u16, code: &str, opens_ciphertext: bool) -> Option<Self> {
        Some(match (status, code) {
            (401, "AKV10032") => Self::InvalidIssuer,
            (401, "AKV10022") => Self::InvalidAudience,
            (401, "TokenExpired") => Self::TokenExpired,
            (403, "ForbiddenByRbac") => Self::ForbiddenByRbac,
            (403, "ForbiddenByPolicy" | "AccessDenied") => Self::ForbiddenByPolicy,
            (403, "ForbiddenByFirewall") => Self::ForbiddenByFirewall,
            (403, "ForbiddenByConnection") => Self::ForbiddenByConnection,
            (403, "KeyDisabled") => Self::KeyDisabled,
            (403, "KeyExpired") => Self::KeyExpired,
            (403, "KeyNotYetValid") => Self::KeyNotYetValid,
            (403, "KeyOperationForbidden") => Self::KeyOperationForbidden,
            (404, "KeyNotFound") => Self::KeyNotFound,
            (409, "ObjectIsDeletedButRecoverable") => Self::NameTakenByDeletedKey,
            (409, "ObjectIsBeingDeleted") => Self::BeingDeleted,
            (400, "BadParameter" | "BadArgument") if opens_ciphertext => Self::DoesNotOpen,
            (400, "BadParameter" | "BadArgument") => Self::BadParameter,
            _ => return None,
        })
    }
}
