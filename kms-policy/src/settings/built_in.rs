//! Settings where the user gives none.

use super::Settings;
use crate::Error;
use crate::generate::Profile;

impl Settings {
    /// The settings that the tool of this profile comes with. `settings/README.md` in this crate says
    /// where they are from.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`](crate::ErrorKind::Settings) only by a defect of this crate.
    ///
    /// ```
    /// use kms_policy::generate::Profile;
    /// use kms_policy::settings::Settings;
    ///
    /// assert!(Settings::built_in(Profile::AksAzl3).is_ok());
    /// ```
    pub fn built_in(profile: Profile) -> Result<Self, Error> {
        Self::parse(match profile {
            Profile::AksAzl3 => include_str!("../../settings/aks-azl3.json"),
            Profile::Aks3_15 => include_str!("../../settings/aks-3.15.json"),
            Profile::Kata => include_str!("../../settings/kata.json"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_settings_of_its_own() {
        let of = |profile| Settings::built_in(profile).unwrap().typed;
        let namespace = of(Profile::AksAzl3).cluster_config.default_namespace;
        assert_eq!(namespace.as_deref(), Some("default"));
        let version = of(Profile::Aks3_15).kata_config.oci_version;
        assert_eq!(version.as_deref(), Some("1.2.0"));
        assert!(of(Profile::Kata).cluster_config.guest_pull);
    }
}
