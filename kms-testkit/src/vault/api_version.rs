//! `api-version`: which there are, and since when there is what.

use super::refusal::Refusal;

/// In the order of their appearance.
const KNOWN: [&str; 16] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
    "2026-05-01-preview",
    "2026-07-01-preview",
];
const NEWEST_STABLE: &str = "2026-04-01";

/// A version the service knows; ordered by age.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ApiVersion(usize);

impl ApiVersion {
    /// Rotation, rotation policies, release and random bytes.
    pub(super) const V7_3: Self = Self(4);
    /// Attestation and `CKM_AES_KEY_WRAP`.
    pub(super) const V7_6: Self = Self(8);

    /// The newest there is.
    pub(super) const fn newest() -> Self {
        Self(KNOWN.len().saturating_sub(1))
    }

    /// The version a request names. There is no default.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Refusal> {
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::bad_parameter("api-version must be specified in the query string.")
        })?;
        KNOWN
            .iter()
            .position(|known| known.eq_ignore_ascii_case(text))
            .map(Self)
            .ok_or_else(|| Self::not_recognized(text))
    }

    /// Refuses what came only with a later version.
    pub(super) fn needs(self, since: Self) -> Result<(), Refusal> {
        if self >= since {
            return Ok(());
        }
        Err(Self::not_recognized(self.name()))
    }

    pub(super) fn name(self) -> &'static str {
        KNOWN.get(self.0).copied().unwrap_or_default()
    }

    fn not_recognized(text: &str) -> Refusal {
        Refusal::bad_parameter(format!(
            "The specified version ({text}) is not recognized. Consider using the latest supported \
             version ({NEWEST_STABLE})."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_stand_where_their_names_say() {
        assert_eq!(ApiVersion::V7_3.name(), "7.3");
        assert_eq!(ApiVersion::V7_6.name(), "7.6");
        let version = |text| ApiVersion::parse(Some(text)).unwrap();
        assert!(version("7.2").needs(ApiVersion::V7_3).is_err());
        assert!(version("2025-07-01").needs(ApiVersion::V7_6).is_ok());
    }

    #[test]
    fn an_unknown_or_missing_version_is_refused() {
        assert_eq!(ApiVersion::parse(None).unwrap_err().status, 400);
        let refusal = ApiVersion::parse(Some("7.99")).unwrap_err();
        assert_eq!(refusal.code, "BadParameter");
        assert!(
            refusal
                .message
                .starts_with("The specified version (7.99) is not recognized.")
        );
    }
}
