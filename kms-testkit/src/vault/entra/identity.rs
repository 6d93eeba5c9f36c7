//! The applications and managed identities that the token service knows.

use kms_core::{Error, ErrorKind, OsRandom, SecureRandom as _};
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Someone to whom tokens are given and roles are granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    client_id: String,
    object_id: String,
}

impl Identity {
    /// The application id, which the identity logs in with.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The principal id, which roles are granted to.
    #[must_use]
    pub fn object_id(&self) -> &str {
        &self.object_id
    }
}

/// How an identity proves itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// A client secret.
    Secret(String),
    /// An X.509 certificate in PEM, whose RSA key signs client assertions.
    Certificate(String),
    /// The machine's own managed identity.
    SystemAssigned,
    /// A managed identity that the machine has, by its resource id.
    UserAssigned {
        /// `/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`
        resource_id: String,
    },
    /// A token of a Kubernetes service account, exchanged as workload identity does.
    Federated {
        /// The issuer of the cluster, as its tokens name it.
        issuer: String,
        /// `system:serviceaccount:NAMESPACE:NAME`
        subject: String,
    },
}

impl Credential {
    /// A client secret.
    #[must_use]
    pub fn secret(secret: impl Into<String>) -> Self {
        Self::Secret(secret.into())
    }
}

/// All identities of the double.
#[derive(Debug, Default)]
pub(in crate::vault) struct Directory(Vec<Registered>);

#[derive(Debug)]
pub(super) struct Registered {
    pub(super) identity: Identity,
    pub(super) proofs: Vec<Proof>,
}

/// A credential, ready to be checked.
#[derive(Debug)]
pub(super) enum Proof {
    Secret(String),
    /// The certificate and its public key, both DER.
    Certificate {
        der: Vec<u8>,
        public_key: Vec<u8>,
    },
    Federated {
        issuer: String,
        subject: String,
    },
    /// Without an id it is the machine's own.
    Managed {
        resource_id: Option<String>,
    },
}

impl Directory {
    pub(in crate::vault) fn register(
        &mut self,
        credentials: Vec<Credential>,
    ) -> Result<Identity, Error> {
        let proofs = credentials
            .into_iter()
            .map(Proof::new)
            .collect::<Result<_, _>>()?;
        let identity = Identity {
            client_id: uuid()?,
            object_id: uuid()?,
        };
        self.0.push(Registered {
            identity: identity.clone(),
            proofs,
        });
        Ok(identity)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Registered> {
        self.0.iter()
    }

    pub(super) fn find(&self, client_id: &str) -> Option<&Registered> {
        self.0
            .iter()
            .find(|app| app.identity.client_id.eq_ignore_ascii_case(client_id))
    }
}

impl Proof {
    fn new(credential: Credential) -> Result<Self, Error> {
        Ok(match credential {
            Credential::Secret(secret) => Self::Secret(secret),
            Credential::SystemAssigned => Self::Managed { resource_id: None },
            Credential::UserAssigned { resource_id } => Self::Managed {
                resource_id: Some(resource_id),
            },
            Credential::Federated { issuer, subject } => Self::Federated { issuer, subject },
            Credential::Certificate(pem) => {
                let invalid = || Error::new(ErrorKind::InvalidInput, "not a certificate in PEM");
                let certificate =
                    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| invalid())?;
                let public_key = ParsedCertificate::try_from(&certificate)
                    .map_err(|_| invalid())?
                    .subject_public_key_info()
                    .to_vec();
                Self::Certificate {
                    der: certificate.to_vec(),
                    public_key,
                }
            }
        })
    }
}

/// A random UUID, version 4.
pub(in crate::vault) fn uuid() -> Result<String, Error> {
    let mut bytes = [0; 16];
    OsRandom.fill(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes);
    let bits = bits & !(0xF << 76) | 4 << 76;
    let bits = bits & !(0x3 << 62) | 2 << 62;
    let hex = format!("{bits:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    Ok(format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_looks_like_one() {
        let id = uuid().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
        assert_ne!(id, uuid().unwrap());
    }
}
