//! Who we are to the token service.

use core::fmt;
use std::path::PathBuf;

use kms_core::{Error, ErrorKind};

use super::assertion::AssertionAlgorithm;
use super::secret::SecretSource;

/// Who asks for tokens, and how it proves that.
///
/// For a cluster: a user-assigned managed identity of its machines, or workload identity. A
/// system-assigned identity cannot be given; see [`system_assigned_is_refused`].
#[derive(Clone, Debug)]
pub struct Identity(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Managed(ManagedId),
    Workload {
        tenant: String,
        client_id: String,
        token_file: PathBuf,
    },
    Secret {
        tenant: String,
        client_id: String,
        secret: SecretSource,
    },
    Certificate {
        tenant: String,
        client_id: String,
        pem: SecretSource,
        algorithm: AssertionAlgorithm,
    },
    AzureCli {
        tenant: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub(super) enum ManagedId {
    Client(String),
    Object(String),
    Resource(String),
}

impl Identity {
    /// A user-assigned managed identity, by its client id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not a GUID.
    pub fn managed(client_id: &str) -> Result<Self, Error> {
        let id = guid("the client id", client_id)?;
        Ok(Self(Kind::Managed(ManagedId::Client(id))))
    }

    /// A user-assigned managed identity, by its object id, also called principal id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not a GUID.
    pub fn managed_by_object_id(object_id: &str) -> Result<Self, Error> {
        let id = guid("the object id", object_id)?;
        Ok(Self(Kind::Managed(ManagedId::Object(id))))
    }

    /// A user-assigned managed identity, by its resource id (R18).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not
    /// `/subscriptions/…/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`.
    pub fn managed_by_resource_id(resource_id: &str) -> Result<Self, Error> {
        let segments: Vec<&str> = resource_id.split('/').collect();
        let fits = match segments.as_slice() {
            [
                "",
                subscriptions,
                _,
                groups,
                _,
                providers,
                provider,
                identities,
                _,
            ] => {
                subscriptions.eq_ignore_ascii_case("subscriptions")
                    && groups.eq_ignore_ascii_case("resourceGroups")
                    && providers.eq_ignore_ascii_case("providers")
                    && provider.eq_ignore_ascii_case("Microsoft.ManagedIdentity")
                    && identities.eq_ignore_ascii_case("userAssignedIdentities")
            }
            _ => false,
        };
        let is_plain = |segment: &&str| {
            (1..=128).contains(&segment.len())
                && segment
                    .chars()
                    .all(|c| c.is_alphanumeric() || "-_.()".contains(c))
        };
        if fits && segments.iter().skip(1).all(is_plain) {
            let id = resource_id.to_owned();
            return Ok(Self(Kind::Managed(ManagedId::Resource(id))));
        }
        Err(
            invalid("the resource id is not that of a user-assigned identity")
                .with_remedy("give what `az identity show --query id` prints"),
        )
    }

    /// Workload identity: a Kubernetes service account, federated with a client. The file is read
    /// for every new token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if tenant or client id are malformed.
    pub fn workload(
        tenant: &str,
        client_id: &str,
        token_file: impl Into<PathBuf>,
    ) -> Result<Self, Error> {
        Ok(Self(Kind::Workload {
            tenant: self::tenant(tenant)?,
            client_id: guid("the client id", client_id)?,
            token_file: token_file.into(),
        }))
    }

    /// A service principal with a client secret. Of a file, the first line counts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if tenant or client id are malformed.
    pub fn client_secret(
        tenant: &str,
        client_id: &str,
        secret: SecretSource,
    ) -> Result<Self, Error> {
        Ok(Self(Kind::Secret {
            tenant: self::tenant(tenant)?,
            client_id: guid("the client id", client_id)?,
            secret,
        }))
    }

    /// A service principal with a certificate: PEM text with the private key, not encrypted, and
    /// the certificate, with its chain if it has one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if tenant or client id are malformed.
    pub fn client_certificate(
        tenant: &str,
        client_id: &str,
        pem: SecretSource,
        algorithm: AssertionAlgorithm,
    ) -> Result<Self, Error> {
        Ok(Self(Kind::Certificate {
            tenant: self::tenant(tenant)?,
            client_id: guid("the client id", client_id)?,
            pem,
            algorithm,
        }))
    }

    /// The person who is signed in to the Azure CLI (`az`) on this machine; in this tenant if one
    /// is given. For trying things out: it needs a person.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the tenant is malformed.
    pub fn azure_cli(tenant: Option<&str>) -> Result<Self, Error> {
        let tenant = tenant.map(self::tenant).transpose()?;
        Ok(Self(Kind::AzureCli { tenant }))
    }
}

impl Identity {
    /// Whether it is whoever is signed in, rather than a program.
    pub(crate) const fn is_person(&self) -> bool {
        matches!(self.0, Kind::AzureCli { .. })
    }
}

/// Names the identity, without its secret.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Managed(
                ManagedId::Client(id) | ManagedId::Object(id) | ManagedId::Resource(id),
            ) => write!(f, "managed identity {id}"),
            Kind::Workload { client_id, .. } => write!(f, "workload identity {client_id}"),
            Kind::Secret { client_id, .. } => write!(f, "client {client_id} with a secret"),
            Kind::Certificate { client_id, .. } => {
                write!(f, "client {client_id} with a certificate")
            }
            Kind::AzureCli { .. } => f.write_str("the Azure CLI's account"),
        }
    }
}

/// Why a system-assigned managed identity is refused (R8): the answer to whoever asks for one.
#[must_use]
pub fn system_assigned_is_refused() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a system-assigned managed identity cannot be used: it exists only once its machine or \
         cluster does, and its access to the key has to exist before",
    )
    .with_remedy(
        "make a user-assigned identity (`az identity create`), grant it access to the key, and give \
         its client id",
    )
}

fn guid(field: &str, text: &str) -> Result<String, Error> {
    let groups = text.split('-').map(str::len);
    let fits = groups.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(invalid(&format!("{field} is not a GUID")))
    }
}

/// A GUID or a domain.
fn tenant(text: &str) -> Result<String, Error> {
    let fits = (1..=253).contains(&text.len())
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(invalid("the tenant is neither a GUID nor a domain"))
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use kms_core::SecretBytes;

    use super::*;

    const CLIENT: &str = "01234567-89AB-cdef-0123-456789abcdef";
    const RESOURCE: &str = "/subscriptions/01234567-89ab-cdef-0123-456789abcdef/resourcegroups/rg_1/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kms";

    #[test]
    fn ids_are_checked() {
        assert!(Identity::managed(CLIENT).is_ok());
        assert!(Identity::managed_by_object_id(CLIENT).is_ok());
        assert!(Identity::managed_by_resource_id(RESOURCE).is_ok());
        assert!(Identity::azure_cli(Some("contoso.onmicrosoft.com")).is_ok());
        for bad in [
            "",
            "x",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567-89ab-cdef-0123-456789abcdef&x=1",
        ] {
            assert!(Identity::managed(bad).is_err(), "{bad}");
            assert!(Identity::workload("t", bad, "/f").is_err(), "{bad}");
        }
        for bad in [
            "",
            "/",
            "/subscriptions/a",
            &format!("{RESOURCE}/x"),
            &RESOURCE.replace("kms", "a&b"),
        ] {
            assert!(Identity::managed_by_resource_id(bad).is_err(), "{bad}");
        }
        for bad in ["", "..", "a/b", "a b"] {
            assert!(Identity::azure_cli(Some(bad)).is_err(), "{bad}");
        }
    }

    /// R8.
    #[test]
    fn a_system_assigned_identity_is_refused_with_its_reason() {
        let error = system_assigned_is_refused();
        assert!(
            error
                .message()
                .contains("access to the key has to exist before")
        );
        assert!(error.remedy().contains("az identity create"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretSource::given(SecretBytes::from_vec(b"hunter2-hunter2".to_vec()));
        let identity = Identity::client_secret("t", CLIENT, secret).unwrap();
        assert!(!format!("{identity} {identity:?} {identity:#?}").contains("hunter2"));
    }
}
