//! Where in a cluster an etcd key belongs.

use std::borrow::Cow;

/// The parts of an etcd key: `/registry/RESOURCE[/NAMESPACE]/NAME`.
///
/// This is about names, not about meaning: it needs no table of resources, and so also places
/// what a newer Kubernetes stores. Whether a configuration encrypts an object is
/// [`resource_of_etcd_key`](crate::kubernetes::resource_of_etcd_key)'s to say.
///
/// ```
/// use kms_envelope::reencrypt::Place;
///
/// let place = Place::of(b"/registry", b"/registry/example.org/gadgets/default/one").unwrap();
/// assert_eq!(place.resource, "example.org/gadgets");
/// assert_eq!(place.namespace.as_deref(), Some("default"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Place<'a> {
    /// The first segment, or the first two if the first has a dot or is `services` or `ranges`.
    pub resource: Cow<'a, str>,
    /// The next segment, if it is not the last.
    pub namespace: Option<Cow<'a, str>>,
}

impl<'a> Place<'a> {
    /// Takes a key apart; `None` if it is not under the prefix. What is not printable ASCII is
    /// escaped.
    #[must_use]
    pub fn of(prefix: &[u8], key: &'a [u8]) -> Option<Self> {
        let path = under(prefix, key)?;
        let first = path.iter().position(|byte| *byte == b'/');
        let (resource, rest) = match first {
            None => (path, None),
            Some(end) => {
                let (segment, rest) = split_at_slash(path, end);
                let has_two = segment.contains(&b'.') || matches!(segment, b"services" | b"ranges");
                let second = rest.iter().position(|byte| *byte == b'/');
                match (has_two, second) {
                    (false, _) => (segment, Some(rest)),
                    (true, None) => (path, None),
                    (true, Some(second)) => {
                        let end = end.saturating_add(1).saturating_add(second);
                        let (resource, rest) = split_at_slash(path, end);
                        (resource, Some(rest))
                    }
                }
            }
        };
        let namespace = rest.and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == b'/')?;
            Some(text(split_at_slash(rest, end).0))
        });
        Some(Self {
            resource: text(resource),
            namespace,
        })
    }
}

fn under<'a>(prefix: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    key.strip_prefix(prefix)?.strip_prefix(b"/")
}

fn split_at_slash(path: &[u8], at: usize) -> (&[u8], &[u8]) {
    let (segment, rest) = path.split_at_checked(at).unwrap_or((path, b""));
    (segment, rest.strip_prefix(b"/").unwrap_or(rest))
}

/// Printable ASCII as it is, the rest escaped.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Without an early end, so that it is done for many bytes at once.
    let is_plain = bytes.iter().fold(true, |all, byte| {
        all & byte.is_ascii_graphic() & (*byte != b'\\')
    });
    match core::str::from_utf8(bytes) {
        Ok(text) if is_plain => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart_by_their_segments() {
        let cases: [(&[u8], &str, Option<&str>); 10] = [
            (
                b"/registry/secrets/default/token",
                "secrets",
                Some("default"),
            ),
            (b"/registry/namespaces/default", "namespaces", None),
            (
                b"/registry/services/specs/default/kubernetes",
                "services/specs",
                Some("default"),
            ),
            (b"/registry/ranges/serviceips", "ranges/serviceips", None),
            (
                b"/registry/a.example/gadgets/ns/one",
                "a.example/gadgets",
                Some("ns"),
            ),
            (
                b"/registry/a.example/gadgets/one",
                "a.example/gadgets",
                None,
            ),
            (b"/registry/a.example", "a.example", None),
            (b"/registry/health", "health", None),
            (b"/registry/secrets/\xff/token", "secrets", Some("\\xff")),
            (b"/registry//x/y", "", Some("x")),
        ];
        for (key, resource, namespace) in cases {
            let place = Place::of(b"/registry/", key).unwrap();
            assert_eq!(place.resource, resource, "{}", key.escape_ascii());
            assert_eq!(
                place.namespace.as_deref(),
                namespace,
                "{}",
                key.escape_ascii()
            );
        }
        assert_eq!(Place::of(b"/registry", b"/registryx/secrets/a"), None);
        assert_eq!(Place::of(b"/registry", b"compact_rev_key"), None);
        assert!(Place::of(b"/other/prefix", b"/other/prefix/secrets/a/b").is_some());
    }
}
