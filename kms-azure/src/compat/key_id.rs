//! The key id of Azure/kubernetes-kms: a hash of the URL.

use core::fmt::Write as _;

use kms_core::{Error, KeyId};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::key_url::KeyUrl;

/// The id that Azure/kubernetes-kms stores for a version of a key: the SHA-256 of its URL
/// (`https://VAULT/keys/NAME/VERSION`, as the vault spells it) in lower-case hexadecimal.
///
/// Upper and lower case count in a key's name here, though not in a vault: give the URL as
/// `az keyvault key show --query key.kid` prints it.
///
/// ```
/// use kms_azure::compat::upstream_key_id;
///
/// let url = "https://kv1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef".parse()?;
/// assert_eq!(upstream_key_id(&url)?.as_str().len(), 64);
/// # Ok::<(), kms_core::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](kms_core::ErrorKind::InvalidInput) for an id without a version.
pub fn upstream_key_id(key: &KeyUrl) -> Result<KeyId, Error> {
    KeyId::new(hash_of(key.key_id()?.as_str()))
}

/// Whether this can be a key id of Azure/kubernetes-kms: 64 lower-case hexadecimal digits. No URL
/// looks like that.
#[must_use]
pub fn is_upstream_key_id(id: &KeyId) -> bool {
    let id = id.as_str();
    id.len() == SHA256_OUTPUT_LEN.saturating_mul(2)
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash_of(url: &str) -> String {
    let hash = digest(&SHA256, url.as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of upstream's own test.
    #[test]
    fn the_hash_is_upstreams() {
        assert_eq!(
            hash_of("https://example.vault.azure.net/keys/mykey/ABCD"),
            "567d783db3043fe298fe0d9eeedb0029a3815cdd4fe4b059d018c91e6acffe3b"
        );
    }

    #[test]
    fn a_hash_is_told_from_a_url() {
        let url: KeyUrl = "https://KV1.vault.azure.net/keys/etcd/0123456789abcdef0123456789abcdef"
            .parse()
            .unwrap();
        assert!(is_upstream_key_id(&upstream_key_id(&url).unwrap()));
        assert!(upstream_key_id(&url.without_version()).is_err());
        for other in [
            url.to_string(),
            "a".repeat(63),
            "a".repeat(65),
            "A".repeat(64),
            "g".repeat(64),
        ] {
            assert!(!is_upstream_key_id(&KeyId::new(&other).unwrap()), "{other}");
        }
    }
}
