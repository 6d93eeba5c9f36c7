//! What tells one piece of evidence from another.

use core::fmt;

use ring::digest;

/// The SHA-256 of the canonical form of [`Evidence`](super::Evidence), shown as 64 hexadecimal
/// digits. Against accident, not against forgery.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EvidenceDigest([u8; 32]);

impl EvidenceDigest {
    /// The digest of a canonical form.
    pub(super) fn of(canonical: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"kms-evidence/1\n");
        context.update(canonical);
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EvidenceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EvidenceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for EvidenceDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
