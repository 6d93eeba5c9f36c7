//! Whether two texts name one key.

use ring::digest;

/// The names that a key goes by, as digests: two texts that share one name one key.
///
/// - Stored values name the key by its id.
/// - The API server's metrics show `sha256:` and the SHA-256 of that in hexadecimal.
/// - Azure/kubernetes-kms takes the SHA-256 of the key's URL, in hexadecimal, for its id: a version
///   in a vault may thus stand in stored values under two ids, and in metrics under the hash of
///   either.
///
/// Two keys that are taken for one are a reason too many not to delete a key, and never one too
/// few.
pub(super) struct Names {
    digests: Vec<[u8; 32]>,
    url: Option<String>,
}

impl Names {
    pub(super) fn of(text: &str) -> Self {
        let own = sha256(text.as_bytes());
        let mut digests = vec![own, sha256(hex(&own).as_bytes())];
        if let Some(hash) = parse_hash(text) {
            digests.extend([hash, sha256(hex(&hash).as_bytes())]);
        }
        // A vault takes upper and lower case for the same.
        let url = text
            .get(.."https://".len())
            .filter(|scheme| scheme.eq_ignore_ascii_case("https://"))
            .map(|_| text.to_ascii_lowercase());
        Self { digests, url }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let shares = |digest| other.digests.contains(digest);
        self.digests.iter().any(shares) || (self.url.is_some() && self.url == other.url)
    }
}

/// Whether two texts name one key: its id, `sha256:` and the hash of that as the API server's metrics
/// show it, or what Azure/kubernetes-kms makes of the URL of a version in a vault.
///
/// ```
/// use kms_envelope::reencrypt::names_one_key;
///
/// assert!(names_one_key("kek-1", "kek-1"));
/// assert!(!names_one_key("kek-1", "kek-2"));
/// ```
#[must_use]
pub fn names_one_key(one: &str, other: &str) -> bool {
    one == other || Names::of(one).is_same(&Names::of(other))
}

/// 64 hexadecimal digits, with or without `sha256:` before them.
fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut hash = [0; 32];
    if !rest.is_empty() || pairs.len() != hash.len() {
        return None;
    }
    let digit = |letter: u8| u8::try_from(char::from(letter).to_digit(16)?).ok();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, bytes);
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://example.vault.azure.net/keys/mykey/ABCD";
    /// The vector of Azure/kubernetes-kms's own test.
    const UPSTREAM: &str = "567d783db3043fe298fe0d9eeedb0029a3815cdd4fe4b059d018c91e6acffe3b";

    fn is_same(a: &str, b: &str) -> bool {
        let (a, b) = (Names::of(a), Names::of(b));
        assert_eq!(a.is_same(&b), b.is_same(&a));
        a.is_same(&b)
    }

    #[test]
    fn a_key_is_known_by_each_of_its_names() {
        let in_metrics = |id: &str| format!("sha256:{}", hex(&sha256(id.as_bytes())));
        for name in [
            URL.to_owned(),
            URL.to_ascii_lowercase(),
            UPSTREAM.to_owned(),
            in_metrics(URL),
            in_metrics(UPSTREAM),
            in_metrics(UPSTREAM)
                .to_ascii_uppercase()
                .replace("SHA", "sha"),
        ] {
            assert!(is_same(URL, &name), "{name}");
            assert!(
                is_same(UPSTREAM, &name) || name == URL.to_ascii_lowercase(),
                "{name}"
            );
        }
        assert!(is_same("kek-0", &in_metrics("kek-0")));
        assert!(is_same("kek-0", "kek-0"));
    }

    #[test]
    fn other_keys_are_others() {
        let in_metrics = format!("sha256:{}", hex(&sha256(b"kek-1")));
        for name in [
            "kek-1",
            "KEK-0",
            "kek-",
            "",
            URL,
            UPSTREAM,
            &in_metrics,
            "sha256:",
            "sha256:00",
        ] {
            assert!(!is_same("kek-0", name), "{name}");
        }
        assert!(!is_same(URL, &format!("{URL}E")));
    }
}
