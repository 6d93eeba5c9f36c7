//! The text in front of a stored value.

use crate::kubernetes::ProviderKind;

/// What every encrypted value starts with. `identity` refuses to read such a value.
pub(crate) const ENCRYPTED: &[u8] = b"k8s:enc:";

const PROVIDERS: [ProviderKind; 5] = [
    ProviderKind::KmsV2,
    ProviderKind::KmsV1,
    ProviderKind::AesCbc,
    ProviderKind::AesGcm,
    ProviderKind::Secretbox,
];

/// A provider's prefix, up to where a name follows.
pub(crate) const fn of(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Identity => "",
        ProviderKind::AesCbc => "k8s:enc:aescbc:v1:",
        ProviderKind::AesGcm => "k8s:enc:aesgcm:v1:",
        ProviderKind::Secretbox => "k8s:enc:secretbox:v1:",
        ProviderKind::KmsV1 => "k8s:enc:kms:v1:",
        ProviderKind::KmsV2 => "k8s:enc:kms:v2:",
    }
}

/// The provider of a value and what follows its prefix; `None` if the value says that it is
/// encrypted, but with nothing that is known.
pub(crate) fn split(value: &[u8]) -> Option<(ProviderKind, &[u8])> {
    if !value.starts_with(ENCRYPTED) {
        return Some((ProviderKind::Identity, value));
    }
    PROVIDERS.into_iter().find_map(|kind| {
        value
            .strip_prefix(of(kind).as_bytes())
            .map(|rest| (kind, rest))
    })
}
