//! One request as the rooms see it, and the answer they give.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::Refusal;
use crate::loopback::form::parse_form;

/// A request, read wholly.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The `Host` header: name, and port if it was given.
    pub(super) host: String,
    pub(super) body: Vec<u8>,
}

impl Call {
    pub(super) fn new(parts: Parts, body: Vec<u8>) -> Self {
        let host = parts
            .headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_ascii_lowercase();
        Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(parse_form).unwrap_or_default(),
            headers: parts.headers,
            host,
            body,
        }
    }

    /// A call that came over no wire.
    pub(super) fn inside(method: Method, path: &str, host: String, body: Vec<u8>) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            host,
            body,
        }
    }

    /// The host name without its port.
    pub(super) fn host_name(&self) -> &str {
        self.host.split(':').next().unwrap_or_default()
    }

    /// `:port` as the caller wrote it, or nothing.
    pub(super) fn port_suffix(&self) -> &str {
        self.host
            .find(':')
            .and_then(|at| self.host.get(at..))
            .unwrap_or_default()
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as a form, as token requests send it.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        parse_form(&String::from_utf8_lossy(&self.body))
    }

    /// The body as JSON; an empty one is `{}`.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let body: &[u8] = if self.body.is_empty() {
            b"{}"
        } else {
            &self.body
        };
        serde_json::from_slice(body).map_err(|error| {
            Refusal::bad_parameter(format!("The request body is not acceptable: {error}."))
        })
    }
}

/// What is sent back when nothing went wrong.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) const fn ok(body: Value) -> Self {
        Self {
            status: 200,
            body: Some(body),
        }
    }
}

impl Answer {
    pub(super) const fn no_content() -> Self {
        Self {
            status: 204,
            body: None,
        }
    }
}

/// Base64url without padding, which is how all bytes travel.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a field, or the refusal that names it.
pub(super) fn decode(field: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        Refusal::bad_parameter(format!(
            "Property {field} has invalid value: not base64url without padding."
        ))
    })
}
