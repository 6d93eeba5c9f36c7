//! Every way in which the double says no, with the bodies that the service is documented to send.

use core::time::Duration;

use serde_json::{Value, json};

use super::operation::Operation;

/// An error answer: `{"error":{"code","message","innererror":{"code"}}}`.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) inner: Option<&'static str>,
    pub(super) message: String,
    /// A `WWW-Authenticate` header is to be sent along.
    pub(super) challenge: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    const fn new(status: u16, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            inner: None,
            message,
            challenge: false,
            retry_after: None,
        }
    }

    const fn inner(mut self, code: &'static str) -> Self {
        self.inner = Some(code);
        self
    }

    /// The body that goes with it.
    pub(super) fn body(&self) -> Value {
        match self.inner {
            Some(inner) => json!({"error": {
                "code": self.code, "message": self.message, "innererror": {"code": inner},
            }}),
            None => json!({"error": {"code": self.code, "message": self.message}}),
        }
    }

    /// 401: no token, or one that is not believed. A fresh challenge goes with it.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            challenge: true,
            ..Self::new(401, "Unauthorized", message.into())
        }
    }

    pub(super) fn no_token() -> Self {
        Self::unauthorized("Request is missing a Bearer or PoP token.")
    }

    pub(super) fn by_rbac(
        caller: &str,
        action: &str,
        resource: &str,
        vault: &str,
        location: &str,
    ) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
                 assignments or role definitions were changed recently, please observe propagation \
                 time.\r\nCaller: {caller}\r\nAction: '{action}'\r\nResource: '{resource}'\r\n\
                 Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n\
                 Vault: {vault};location={location}\r\n"
            ),
        )
        .inner("ForbiddenByRbac")
    }

    pub(super) fn by_firewall(caller: &str, vault: &str, location: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient \
                 address: 127.0.0.1\r\nCaller: {caller}\r\nVault: {vault};location={location}"
            ),
        )
        .inner("ForbiddenByFirewall")
    }

    pub(super) fn by_connection(caller: &str, vault: &str, location: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!(
                "Public network access is disabled and request is not from a trusted service nor via an \
                 approved private link.\r\nCaller: {caller}\r\nVault: {vault};location={location}"
            ),
        )
        .inner("ForbiddenByConnection")
    }

    pub(super) fn key_disabled(operation: Operation) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("Operation {operation} is not allowed on a disabled key."),
        )
        .inner("KeyDisabled")
    }

    pub(super) fn key_expired(operation: Operation) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("Operation {operation} is not allowed on an expired key."),
        )
        .inner("KeyExpired")
    }

    pub(super) fn key_not_yet_valid(operation: Operation) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("Operation {operation} is not allowed on a not yet valid key."),
        )
        .inner("KeyNotYetValid")
    }

    pub(super) fn key_operation_forbidden(operation: Operation) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!("Operation {operation} is not permitted on this key."),
        )
        .inner("KeyOperationForbidden")
    }

    /// 404. `id` is the name alone, or `name/version`. A soft-deleted key gives the same.
    pub(super) fn key_not_found(id: &str) -> Self {
        Self::new(
            404,
            "KeyNotFound",
            format!(
                "A key with (name/id) {id} was not found in this key vault. If you recently deleted \
                 this key you may be able to recover it using the correct recovery command. For help \
                 resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
        )
    }

    /// 404: no such route.
    pub(super) fn no_route() -> Self {
        Self::new(
            404,
            "NotFound",
            "The requested resource does not exist.".to_owned(),
        )
    }

    pub(super) fn deleted_but_recoverable(name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!(
                "Key {name} is currently in a deleted but recoverable state, and its name cannot be \
                 reused; in this state, the key can only be recovered or purged."
            ),
        )
        .inner("ObjectIsDeletedButRecoverable")
    }

    pub(super) fn being_deleted(name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            format!("Key {name} is currently being deleted."),
        )
        .inner("ObjectIsBeingDeleted")
    }

    pub(super) fn key_exists(name: &str) -> Self {
        Self::new(409, "Conflict", format!("Key {name} already exists.")).inner("KeyAlreadyExists")
    }

    pub(super) fn deleted_key_not_found(name: &str) -> Self {
        Self::new(
            404,
            "KeyNotFound",
            format!("A deleted key with (name/id) {name} was not found in this key vault."),
        )
    }

    pub(super) fn purge_protected() -> Self {
        Self::new(
            403,
            "Forbidden",
            "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key \
             Vault service will automatically purge it after the retention period has passed."
                .to_owned(),
        )
    }

    /// What is to receive a key is not believed.
    pub(super) fn target_not_verified() -> Self {
        Self::new(
            403,
            "Forbidden",
            "Target environment attestation statement cannot be verified.".to_owned(),
        )
        .inner("AccessDenied")
    }

    pub(super) fn by_policy(caller: &str, permission: &str, vault: &str, location: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            format!(
                "The user, group or application '{caller}' does not have keys {permission} permission on \
                 key vault '{vault};location={location}'. For help resolving this issue, please see \
                 https://go.microsoft.com/fwlink/?linkid=2125287"
            ),
        )
        .inner("ForbiddenByPolicy")
    }

    pub(super) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "BadParameter", message.into())
    }

    pub(super) fn required(field: &str) -> Self {
        Self::bad_parameter(format!("Property {field} is required."))
    }

    pub(super) fn key_type_not_supported(kty: &str) -> Self {
        Self::bad_parameter(format!("Invalid kty value: {kty}")).inner("KeyTypeNotSupported")
    }

    pub(super) fn throttled(retry_after: Option<Duration>) -> Self {
        Self {
            retry_after,
            ..Self::new(
                429,
                "Throttled",
                "Request was not processed because too many requests were received. Reason: \
                 VaultRequestTypeLimitReached"
                    .to_owned(),
            )
        }
    }

    /// An error on order, with the code that belongs to its status.
    pub(super) fn service(status: u16) -> Self {
        let (code, message) = match status {
            503 => (
                "ServiceUnavailable",
                "The service is temporarily unavailable.",
            ),
            504 => ("GatewayTimeout", "The operation timed out."),
            _ => (
                "InternalServerError",
                "An unexpected error occurred. Please try again later.",
            ),
        };
        Self::new(status, code, message.to_owned())
    }

    /// The double's own trouble, such as no randomness.
    pub(super) fn internal(what: &str) -> Self {
        Self::new(500, "InternalServerError", what.to_owned())
    }
}
