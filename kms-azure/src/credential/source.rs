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

#[cfg(test)]
mod tests {
    use kms_core::{OsRandom, TokioClock};

    use super::*;
    use crate::transport::fake::Fake;

    const CLIENT: &str = "01234567-89ab-cdef-0123-456789abcdef";
    const RESOURCE: &str = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kms";
    const SCOPE: &str = "https://vault.azure.cn/.default";

    fn source(identity: Identity, transport: &Transport) -> IdentitySource {
        IdentitySource {
            identity,
            authority: Authority::new("https://login.chinacloudapi.cn").unwrap(),
            transport: transport.clone(),
            clock: Arc::new(TokioClock::new()),
            random: Arc::new(OsRandom),
        }
    }

    /// R18: a user-assigned identity, by whichever of its ids.
    #[tokio::test]
    async fn the_metadata_service_is_asked_for_the_identity_that_is_meant() {
        for (identity, asked) in [
            (Identity::managed(CLIENT), format!("client_id={CLIENT}")),
            (
                Identity::managed_by_object_id(CLIENT),
                format!("object_id={CLIENT}"),
            ),
            (
                Identity::managed_by_resource_id(RESOURCE),
                format!("msi_res_id={}", RESOURCE.replace('/', "%2F")),
            ),
        ] {
            let (fake, transport) = Fake::new(|_| {
                let body = r#"{"access_token":"t","expires_on":"1799999999","token_type":"Bearer","resource":"r"}"#;
                (200, vec![], body.to_owned())
            });
            let token = source(identity.unwrap(), &transport)
                .fetch(SCOPE)
                .await
                .unwrap();
            assert_eq!(token.token.secret(), "t");
            let seen = fake.seen.lock().unwrap();
            let (url, headers) = &seen[0];
            assert!(url.starts_with("http://169.254.169.254/metadata/identity/oauth2/token?"));
            assert!(
                url.contains("resource=https%3A%2F%2Fvault.azure.cn"),
                "{url}"
            );
            assert!(url.contains(&asked), "{url}");
            assert_eq!(headers.get_optional_str(&"metadata".into()), Some("true"));
        }
    }

    #[tokio::test]
    async fn an_identity_that_this_machine_does_not_have() {
        let (_, transport) = Fake::new(|_| {
            let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
            (400, vec![], body.to_owned())
        });
        let identity = Identity::managed(CLIENT).unwrap();
        let error = source(identity, &transport).fetch(SCOPE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains("Identity not found"), "{error}");
        assert!(
            error.remedy().contains("assigned to this machine"),
            "{}",
            error.remedy()
        );
    }

    #[tokio::test]
    async fn the_authority_of_the_cloud_is_asked() {
        let (fake, transport) = Fake::new(|_| (503, vec![], "busy".to_owned()));
        let secret = SecretBytes::from_vec(b"hunter2".to_vec());
        let secret = super::super::SecretSource::given(secret);
        let identity = Identity::client_secret("t", CLIENT, secret).unwrap();
        let error = source(identity, &transport).fetch(SCOPE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(
            fake.urls(),
            ["https://login.chinacloudapi.cn/t/oauth2/v2.0/token"],
            "once"
        );
    }

    /// It could quote a token.
    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_not_repeated() {
        let (_, transport) = Fake::new(|_| {
            (
                200,
                vec![],
                r#"{"access_token":["eyJ-secret"],"expires_in":"eyJ-secret"}"#.to_owned(),
            )
        });
        let secret = super::super::SecretSource::given(SecretBytes::from_vec(b"x".to_vec()));
        for identity in [
            Identity::client_secret("t", CLIENT, secret),
            Identity::managed(CLIENT),
        ] {
            let error = source(identity.unwrap(), &transport)
                .fetch(SCOPE)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(!format!("{error} {error:?}").contains("eyJ"), "{error:?}");
        }
    }
}
