//! Two names out of a token: whose it is. Nothing is decided by them but what is said.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// No token of Entra's comes near this.
const MAX_TOKEN: usize = 64 * 1024;

/// What a token says of its owner. Not verified: the vault does that.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(super) struct Claims {
    /// The tenant.
    pub(super) tid: Option<String>,
    /// The object id, also called principal id, which roles are granted to.
    pub(super) oid: Option<String>,
}

impl Claims {
    /// Empty if the token is of another form.
    pub(super) fn of(token: &str) -> Self {
        let payload = token
            .get(..token.len().min(MAX_TOKEN))
            .and_then(|token| token.split('.').nth(1))
            .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let claims: Self = payload
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .unwrap_or_default();
        // They go to a terminal, and into commands to copy.
        let is_guid = |text: &String| {
            text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        };
        Self {
            tid: claims.tid.filter(is_guid),
            oid: claims.oid.filter(is_guid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn only_guids_are_taken_over() {
        let of = |payload: &str| Claims::of(&format!("h.{}.s", URL_SAFE_NO_PAD.encode(payload)));
        let claims = of(&format!(r#"{{"tid":"{GUID}","oid":"$(reboot)","x":1}}"#));
        assert_eq!((claims.tid.as_deref(), claims.oid), (Some(GUID), None));
        for none in ["", "[]", "{}", r#"{"tid":1}"#] {
            assert_eq!(of(none), Claims::default(), "{none}");
        }
        for none in ["", "opaque", "a.b.c", "a.é.c"] {
            assert_eq!(Claims::of(none), Claims::default(), "{none}");
        }
    }
}
