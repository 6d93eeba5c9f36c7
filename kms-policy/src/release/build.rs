//! Making policies.

use super::{Authority, ClaimCondition, Condition, Operator, ReleasePolicy, Scalar};
use crate::{Error, ErrorKind};

impl ClaimCondition {
    /// A claim that must be this text.
    #[must_use]
    pub fn equals(claim: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            claim: claim.into(),
            operator: Operator::Equals,
            value: Scalar::Text(value.into()),
        }
    }
}

impl ReleasePolicy {
    /// The policy of a key that only the confidential pod with this policy hash may have, on AKS: the
    /// hardware, the hash of the pod's policy, the guest that Microsoft signed, not debuggable, and
    /// the highest privilege level. `host_data` is [`Policy::sha256_hex`](crate::Policy::sha256_hex).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Release`] if the hash is not 64 lower-case hexadecimal digits, or there is no
    /// authority, or one is no `https` URL.
    pub fn for_pod<'a>(
        host_data: &str,
        authorities: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let refused = |what: String| Error::new(ErrorKind::Release, what);
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if host_data.len() != 64 || !host_data.bytes().all(is_digit) {
            let what = "the hash is not 64 lower-case hexadecimal digits".to_owned();
            return Err(refused(what).with_remedy("take it from `kms policy hash`"));
        }
        if host_data.bytes().all(|digit| digit == b'0') {
            let what = "the hash is zero, which is that of every pod without a policy".to_owned();
            return Err(refused(what).with_remedy("take it from `kms policy hash`"));
        }
        let conditions: Vec<_> = [
            ("x-ms-attestation-type", "sevsnpvm"),
            ("x-ms-compliance-status", "azure-signed-katacc-uvm"),
            ("x-ms-sevsnpvm-hostdata", host_data),
            ("x-ms-sevsnpvm-is-debuggable", "false"),
            ("x-ms-sevsnpvm-vmpl", "0"),
        ]
        .into_iter()
        .map(|(claim, value)| Condition::Claim(ClaimCondition::equals(claim, value)))
        .collect();
        let authorities = authorities.into_iter().map(|url| {
            let host = url.strip_prefix("https://").unwrap_or_default();
            let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"\\<>`".contains(letter);
            if host.is_empty() || host.starts_with('/') || !host.chars().all(is_plain) {
                return Err(refused(format!("the authority `{url}` is no https URL")));
            }
            Ok(Authority {
                url: url.to_owned(),
                condition: Condition::AllOf(conditions.clone()),
            })
        });
        let authorities: Vec<_> = authorities.collect::<Result<_, _>>()?;
        if authorities.is_empty() {
            return Err(refused(
                "there is no authority: nobody could vouch for the pod".to_owned(),
            ));
        }
        Ok(Self {
            version: "1.0.0".to_owned(),
            authorities,
        })
    }
}
