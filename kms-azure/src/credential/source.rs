//! One token from the token service, by way of the SDK's credentials.
//!
//! A credential of the SDK is made anew for every token: it would otherwise give back the token it
//! has, even one that a vault has refused or that is to be renewed early, and go on with an old
//! secret.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::{ClientMethodOptions, ClientOptions};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use kms_core::{Clock, Error, ErrorKind, SecretBytes, SecureRandom};

use super::assertion::{Assertions, ClientCertificate};
use super::authority::Authority;
use super::failure;
use super::identity::{Identity, Kind, ManagedId};
use crate::transport::Transport;

/// Fetches tokens, each time from the token service.
#[async_trait]
pub(super) trait TokenSource: fmt::Debug + Send + Sync {
    async fn fetch(&self, scope: &str) -> Result<AccessToken, Error>;
}

/// By an identity.
#[derive(Debug)]
pub(super) struct IdentitySource {
    pub(super) identity: Identity,
    pub(super) authority: Authority,
    pub(super) transport: Transport,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom>,
}

#[async_trait]
impl TokenSource for IdentitySource {
    async fn fetch(&self, scope: &str) -> Result<AccessToken, Error> {
        let credential = self.credential()?;
        let token = credential.get_token(&[scope], None).await;
        token.map_err(|error| failure::from_sdk(&error, &self.identity))
    }
}

impl IdentitySource {
    fn credential(&self) -> Result<Arc<dyn TokenCredential>, Error> {
        let credential: azure_core::Result<Arc<dyn TokenCredential>> = match &self.identity.0 {
            Kind::Managed(id) => self.managed(id),
            Kind::Workload {
                tenant,
                client_id,
                token_file,
            } => WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                credential_options: self.assertion_options(),
                client_id: Some(client_id.clone()),
                tenant_id: Some(tenant.clone()),
                token_file_path: Some(token_file.clone()),
            }))
            .map(|it| it as _),
            Kind::Secret {
                tenant,
                client_id,
                secret,
            } => {
                let options = ClientSecretCredentialOptions {
                    client_options: self.client_options(),
                };
                let secret = first_line(&*secret.read()?)?;
                ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options))
                    .map(|it| it as _)
            }
            Kind::Certificate {
                tenant,
                client_id,
                pem,
                algorithm,
            } => {
                let assertions = Assertions {
                    certificate: ClientCertificate::parse(&*pem.read()?, *algorithm)?,
                    client_id: client_id.clone(),
                    audience: format!("{}/{tenant}/oauth2/v2.0/token", self.authority),
                    clock: Arc::clone(&self.clock),
                    random: Arc::clone(&self.random),
                };
                ClientAssertionCredential::new(
                    tenant.clone(),
                    client_id.clone(),
                    assertions,
                    Some(self.assertion_options()),
                )
                .map(|it| it as _)
            }
            Kind::AzureCli { tenant } => AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id: tenant.clone(),
                ..Default::default()
            }))
            .map(|it| it as _),
        };
        credential.map_err(|error| failure::from_sdk(&error, &self.identity))
    }

    fn managed(&self, id: &ManagedId) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let id = match id.clone() {
            ManagedId::Client(id) => UserAssignedId::ClientId(id),
            ManagedId::Object(id) => UserAssignedId::ObjectId(id),
            ManagedId::Resource(id) => UserAssignedId::ResourceId(id),
        };
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: Some(id),
            client_options: self.client_options(),
        };
        ManagedIdentityCredential::new(Some(options)).map(|it| it as _)
    }

    fn assertion_options(&self) -> ClientAssertionCredentialOptions {
        ClientAssertionCredentialOptions {
            client_options: self.client_options(),
        }
    }

    fn client_options(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.as_str().to_owned();
        ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            ..self.transport.client_options()
        }
    }
}

/// A file that an editor wrote ends in a newline.
fn first_line(secret: &SecretBytes) -> Result<Secret, Error> {
    let line = secret.expose().split(|byte| matches!(byte, b'\n' | b'\r'));
    let line = line.into_iter().next().unwrap_or_default();
    match core::str::from_utf8(line) {
        Ok(line) if !line.is_empty() => Ok(Secret::new(line.to_owned())),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            "the client secret is empty or no text",
        )),
    }
}

#[async_trait]
impl ClientAssertion for Assertions {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let assertion = self.make().map_err(|error| {
            azure_core::Error::with_error(SdkKind::Credential, error, "no assertion")
        })?;
        Ok(assertion.as_str().to_owned())
    }
}
