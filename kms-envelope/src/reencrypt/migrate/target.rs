//! What objects are brought to.

use core::fmt;
use core::str::FromStr;

use crate::kubernetes::{KmsApiVersion, ProviderConfiguration, ProviderKind};
use crate::{Error, ErrorKind};

/// Which provider of a resource's list objects are brought to.
///
/// Written as on a command line: `current`, `plain`, `kms:NAME`, `aescbc:KEY`, `aesgcm:KEY`,
/// `secretbox:KEY`. It must be in the list of every resource that is migrated: API servers read
/// with that list, and could not read what was written with anything else.
///
/// ```
/// use kms_envelope::reencrypt::TargetSelector;
///
/// let target: TargetSelector = "kms:my-kms".parse()?;
/// assert_eq!(target.to_string(), "kms:my-kms");
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TargetSelector {
    /// The first provider of the list: what API servers write with.
    #[default]
    Current,
    /// `identity`: stored as it is. The step before encryption is switched off.
    Plain,
    /// The KMS of this name, v1 or v2.
    Kms(String),
    /// The provider of this kind whose first key has this name; the first provider of the kind
    /// without a name.
    Local(ProviderKind, Option<String>),
}

impl TargetSelector {
    /// Where in the list it is; `None` if the list is empty, which is stored as it is.
    pub(super) fn place_in(
        &self,
        providers: &[&ProviderConfiguration],
        resource: &str,
    ) -> Result<Option<usize>, Error> {
        let refuse = |fault: String| Err(Error::new(ErrorKind::Config, fault));
        let found = match self {
            Self::Current => return Ok((!providers.is_empty()).then_some(0)),
            Self::Plain if providers.is_empty() => return Ok(None),
            Self::Plain => providers
                .iter()
                .position(|it| matches!(it, ProviderConfiguration::Identity)),
            Self::Kms(name) => providers
                .iter()
                .position(|it| matches!(it, ProviderConfiguration::Kms(kms) if kms.name == *name)),
            Self::Local(kind, None) => providers.iter().position(|it| kind_of(it) == *kind),
            Self::Local(kind, Some(name)) => {
                let of_kind = |it: &&&ProviderConfiguration| kind_of(it) == *kind;
                let has = |it: &ProviderConfiguration, first_only: bool| {
                    let keys = keys_of(it);
                    let most = if first_only { 1 } else { usize::MAX };
                    keys.iter().take(most).any(|key| key.name == *name)
                };
                let place = providers
                    .iter()
                    .position(|it| kind_of(it) == *kind && has(it, true));
                if place.is_none() && providers.iter().filter(of_kind).any(|it| has(it, false)) {
                    return refuse(format!(
                        "the key `{name}` of {kind} is not the first of its provider for {resource}, and only the first one writes"
                    ));
                }
                place
            }
        };
        match found {
            Some(place) => Ok(Some(place)),
            None => refuse(format!(
                "the configuration of {resource} has no provider `{self}`: API servers could not read what is written with it"
            )),
        }
    }
}

fn kind_of(provider: &ProviderConfiguration) -> ProviderKind {
    match provider {
        ProviderConfiguration::Identity => ProviderKind::Identity,
        ProviderConfiguration::AesCbc(_) => ProviderKind::AesCbc,
        ProviderConfiguration::AesGcm(_) => ProviderKind::AesGcm,
        ProviderConfiguration::Secretbox(_) => ProviderKind::Secretbox,
        ProviderConfiguration::Kms(kms) => match kms.api_version {
            KmsApiVersion::V1 => ProviderKind::KmsV1,
            KmsApiVersion::V2 => ProviderKind::KmsV2,
        },
    }
}

fn keys_of(provider: &ProviderConfiguration) -> &[crate::kubernetes::NamedKey] {
    match provider {
        ProviderConfiguration::AesCbc(keys)
        | ProviderConfiguration::AesGcm(keys)
        | ProviderConfiguration::Secretbox(keys) => keys,
        ProviderConfiguration::Identity | ProviderConfiguration::Kms(_) => &[],
    }
}

impl fmt::Display for TargetSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Plain => f.write_str("plain"),
            Self::Kms(name) => write!(f, "kms:{name}"),
            Self::Local(kind, None) => write!(f, "{kind}"),
            Self::Local(kind, Some(name)) => write!(f, "{kind}:{name}"),
        }
    }
}

impl FromStr for TargetSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (word, name) = match text.split_once(':') {
            Some((word, name)) if !name.is_empty() => (word, Some(name.to_owned())),
            Some((word, _)) => (word, None),
            None => (text, None),
        };
        match (word, name) {
            ("current", None) => Ok(Self::Current),
            ("plain" | "identity", None) => Ok(Self::Plain),
            ("kms", Some(name)) => Ok(Self::Kms(name)),
            ("aescbc", name) => Ok(Self::Local(ProviderKind::AesCbc, name)),
            ("aesgcm", name) => Ok(Self::Local(ProviderKind::AesGcm, name)),
            ("secretbox", name) => Ok(Self::Local(ProviderKind::Secretbox, name)),
            _ => Err(Error::new(
                ErrorKind::Config,
                "the target is none of current, plain, kms:NAME, aescbc:KEY, aesgcm:KEY and secretbox:KEY",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::EncryptionConfiguration;

    const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - aesgcm: {keys: [{name: one, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}, {name: two, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - kms: {apiVersion: v2, name: mine, endpoint: \"unix:///a\"}
      - aesgcm: {keys: [{name: three, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";

    #[test]
    fn a_target_is_found_by_name_and_refused_if_it_does_not_write() {
        let config = EncryptionConfiguration::parse(CONFIG).unwrap();
        let providers = config.providers_for("", "secrets");
        let place = |text: &str| {
            let target: TargetSelector = text.parse().unwrap();
            target.place_in(&providers, "secrets")
        };
        assert_eq!(place("current").unwrap(), Some(0));
        assert_eq!(place("kms:mine").unwrap(), Some(1));
        assert_eq!(place("aesgcm").unwrap(), Some(0));
        assert_eq!(place("aesgcm:three").unwrap(), Some(2));
        assert_eq!(place("identity").unwrap(), Some(3));
        let second = place("aesgcm:two").unwrap_err();
        assert!(second.message().contains("not the first"), "{second}");
        for missing in ["kms:yours", "secretbox", "aescbc:one"] {
            let error = place(missing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("secrets"), "{error}");
        }
    }

    #[test]
    fn no_list_is_stored_as_it_is() {
        assert_eq!(TargetSelector::Current.place_in(&[], "pods").unwrap(), None);
        assert_eq!(TargetSelector::Plain.place_in(&[], "pods").unwrap(), None);
        let kms = TargetSelector::Kms("a".to_owned());
        assert!(kms.place_in(&[], "pods").is_err());
    }

    #[test]
    fn text_gives_back_what_it_was_made_of() {
        for text in [
            "current",
            "plain",
            "kms:a:b",
            "aescbc",
            "aesgcm:k",
            "secretbox:k",
        ] {
            assert_eq!(text.parse::<TargetSelector>().unwrap().to_string(), text);
        }
        for bad in ["", "kms", "kms:", "current:x", "rot13"] {
            assert!(bad.parse::<TargetSelector>().is_err(), "{bad}");
        }
    }
}
