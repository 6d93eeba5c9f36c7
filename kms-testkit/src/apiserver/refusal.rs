//! What a server says when it does not do what was asked.

use core::time::Duration;

use serde_json::{Value, json};

/// A `Status` of `meta/v1`.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    reason: &'static str,
    pub(super) message: String,
    details: Option<Value>,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            retry_after: None,
        }
    }

    /// Says which object it is about.
    fn about(mut self, resource: &str, name: &str) -> Self {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        self.details = Some(json!({ "name": name, "group": group, "kind": plural }));
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("{resource} {name:?} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    pub(super) fn not_found(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        Self::new(404, "NotFound", message).about(resource, name)
    }

    /// There is no such place.
    pub(super) fn no_route() -> Self {
        let message = "the server could not find the requested resource";
        let mut refusal = Self::new(404, "NotFound", message);
        refusal.details = Some(json!({}));
        refusal
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(406, "NotAcceptable", message)
    }

    pub(super) fn already_exists(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} already exists");
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The object was changed since it was read.
    pub(super) fn modified(resource: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(super) fn expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    pub(super) fn unsupported_media_type(given: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, application/apply-patch+yaml; it was {given:?}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(super) fn invalid(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("{resource} {name:?} is invalid: {why}");
        Self::new(422, "Invalid", message).about(resource, name)
    }

    pub(super) fn throttled(retry_after: Option<Duration>) -> Self {
        let message = "Too many requests, please try again later.";
        let mut refusal = Self::new(429, "TooManyRequests", message);
        refusal.retry_after = retry_after;
        refusal
    }

    pub(super) fn internal(why: impl core::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {why}");
        Self::new(500, "InternalError", message)
    }

    /// What was ordered.
    pub(super) fn ordered(code: u16) -> Self {
        let reason = match code {
            403 => "Forbidden",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        Self::new(code, reason, "this was ordered")
    }

    /// A refusal of admission, with whatever code.
    pub(super) fn admission(code: u16, resource: &str, name: &str, why: &str) -> Self {
        let mut refusal = Self::forbidden(resource, name, why);
        refusal.code = code;
        refusal
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let (Some(details), Some(fields)) = (&self.details, body.as_object_mut()) {
            fields.insert("details".to_owned(), details.clone());
        }
        body
    }
}
