//! Keys of this software's own in a cluster's etcd: where a migration stands, and a rotation.
//!
//! They lie away from `/registry`, where Kubernetes keeps its objects, and are none.

/// What the keys of checkpoints and boards of migrations begin with.
pub(crate) const MIGRATIONS: &str = "/kms/migrate/";
/// What the keys of rotations begin with.
pub(crate) const ROTATIONS: &str = "/kms/rotation/";
/// The key under which a rotation keeps the place of a pass over all objects.
pub const ROTATION_CHECKPOINT: &str = "/kms/rotation-checkpoint";

/// Whether a key is one of these. What lies under the API server's own prefix never is.
pub(super) fn is_own_key(key: &[u8], etcd_prefix: &[u8]) -> bool {
    let is_ours = [MIGRATIONS, ROTATIONS]
        .iter()
        .any(|prefix| key.starts_with(prefix.as_bytes()))
        || key == ROTATION_CHECKPOINT.as_bytes();
    is_ours && !is_under(key, etcd_prefix)
}

fn is_under(key: &[u8], etcd_prefix: &[u8]) -> bool {
    let prefix = etcd_prefix.strip_suffix(b"/").unwrap_or(etcd_prefix);
    let prefix = prefix.strip_prefix(b"/").unwrap_or(prefix);
    let rest = key.strip_prefix(b"/").unwrap_or(key);
    rest.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_under_the_api_servers_prefix_is_the_api_servers() {
        for key in [
            "/kms/rotation/default",
            "/kms/migrate/0a/checkpoint",
            ROTATION_CHECKPOINT,
        ] {
            let is_own = |prefix: &str| is_own_key(key.as_bytes(), prefix.as_bytes());
            assert!(is_own("/registry"), "{key}");
            assert!(is_own("/km"), "{key}");
            for prefix in ["/kms", "kms/", "/", ""] {
                assert!(!is_own(prefix), "{key} under {prefix:?}");
            }
        }
        for key in [
            "/registry/kms/rotation/x",
            "/kms/other",
            "/kms",
            "/kms/rotation-checkpoint2",
        ] {
            assert!(!is_own_key(key.as_bytes(), b"/registry"), "{key}");
        }
    }
}
