//! A whole policy: rules, and the data that they read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::generate::PolicyData;
use crate::rules::Rules;
use crate::{Error, ErrorKind};

/// A policy as the agent gets it: rules, a line feed, `policy_data := ` and the data, without a line
/// feed at its end. Its hash is over these very bytes.
///
/// ```
/// use kms_policy::Policy;
///
/// let policy = Policy::from_text("package agent_policy\ndefault AllowRequestsFailingPolicy := false\n");
/// assert_eq!(policy.sha256_hex().len(), 64);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    text: String,
}

/// The annotation that holds a policy by itself.
pub const POLICY_ANNOTATION: &str = "io.katacontainers.config.agent.policy";
/// The annotations of an object may hold 256 KiB together.
pub const MAX_ANNOTATIONS_LEN: usize = 256 * 1024;

impl Policy {
    /// Puts rules and data together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the data cannot be written as JSON.
    pub fn assemble(rules: &Rules, data: &PolicyData) -> Result<Self, Error> {
        Ok(Self {
            text: format!("{}\npolicy_data := {}", rules.text(), data.to_text()?),
        })
    }

    /// A policy that was made elsewhere.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Reads the value of the annotation `io.katacontainers.config.agent.policy`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Manifest`] if it is not base64 of UTF-8.
    pub fn from_base64(encoded: &str) -> Result<Self, Error> {
        let refused = |what| Error::new(ErrorKind::Manifest, format!("the policy is not {what}"));
        let bytes = STANDARD
            .decode(encoded.trim())
            .map_err(|_| refused("base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| refused("UTF-8"))?;
        Ok(Self { text })
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value of the annotation: standard base64 with padding, in one line.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.text)
    }

    /// The SHA-256 of the text, as 64 lower-case hexadecimal digits: what an attestation report of
    /// the pod holds (`x-ms-sevsnpvm-hostdata`).
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex(digest::digest(&digest::SHA256, self.text.as_bytes()).as_ref())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_is_read_back() {
        let policy = Policy::from_text("package agent_policy\n");
        assert_eq!(Policy::from_base64(&policy.to_base64()).unwrap(), policy);
        assert_eq!(
            Policy::from_base64("!").unwrap_err().kind(),
            ErrorKind::Manifest
        );
        assert_eq!(
            Policy::from_base64("/w==").unwrap_err().kind(),
            ErrorKind::Manifest
        );
    }

    #[test]
    fn the_hash_is_over_the_text() {
        // The well-known digest of "abc".
        assert_eq!(
            Policy::from_text("abc").sha256_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
