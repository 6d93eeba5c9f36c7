//! What sort of key something is, without the key.

use super::Curve;

/// The type and size of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) enum KeyKind {
    /// By bits: 2048, 3072 or 4096.
    Rsa(usize),
    Ec(Curve),
    /// By bits: 128, 192 or 256.
    Oct(usize),
}

impl KeyKind {
    /// The `kty` of a JWK.
    pub(in crate::vault) const fn kty(self, hsm: bool) -> &'static str {
        match (self, hsm) {
            (Self::Rsa(_), false) => "RSA",
            (Self::Rsa(_), true) => "RSA-HSM",
            (Self::Ec(_), false) => "EC",
            (Self::Ec(_), true) => "EC-HSM",
            (Self::Oct(_), false) => "oct",
            (Self::Oct(_), true) => "oct-HSM",
        }
    }
}
