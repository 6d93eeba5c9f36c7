//! What is looked at in each request and answer.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, StatusCode};
use kms_core::{Error, ErrorKind};

use crate::credential::Credential;

/// Runs behind the SDK's authorization.
///
/// - A token goes to the vault that it was fetched for and nowhere else, whatever the link to a
///   next page says.
/// - A token that the vault refuses is reported to the credential.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) host: String,
    pub(super) credential: Credential,
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes something else of an explicit one"
)]
#[async_trait]
impl Policy for Guard {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let ours = request.url().host_str();
        if !ours.is_some_and(|host| host.eq_ignore_ascii_case(&self.host)) {
            return Err(refused("the vault's answer leads to another host"));
        }
        let Some((first, rest)) = next.split_first() else {
            return Err(refused("there is no transport"));
        };
        let response = first.send(context, request, rest).await?;
        if response.status() == StatusCode::Unauthorized {
            let header = request.headers().get_optional_str(&AUTHORIZATION);
            if let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) {
                self.credential.refused(token);
            }
        }
        Ok(response)
    }
}

fn refused(message: &'static str) -> azure_core::Error {
    azure_core::Error::new(SdkKind::Other, Error::new(ErrorKind::Protocol, message))
}

#[cfg(test)]
mod tests {
    use azure_core::http::headers::AUTHORIZATION as SENT;
    use kms_core::{CallOptions, OsRandom, TokioClock};

    use super::super::{Vault, VaultOptions};
    use super::*;
    use crate::credential::{Authority, Identity, SecretSource};
    use crate::key_url::KeyUrl;
    use crate::transport::fake::Fake;

    const CHALLENGE: &str =
        r#"Bearer authorization="https://login.example/t", resource="https://vault.azure.net""#;

    /// A vault whose first page of versions leads elsewhere.
    #[tokio::test]
    async fn a_token_does_not_follow_a_link_to_another_host() {
        let (fake, transport) = Fake::new(|request| {
            let has_token = request.headers().get_optional_str(&SENT).is_some();
            match (request.url().host_str().unwrap(), has_token) {
                ("login.example", _) => {
                    let body =
                        r#"{"token_type":"Bearer","expires_in":3600,"access_token":"the-token"}"#;
                    (200, vec![], body.to_owned())
                }
                ("kv1.vault.azure.net", false) => (
                    401,
                    vec![("www-authenticate", CHALLENGE.to_owned())],
                    String::new(),
                ),
                _ => {
                    let body = r#"{"value":[],"nextLink":"https://evil.vault.azure.net/keys/etcd/versions"}"#;
                    (200, vec![], body.to_owned())
                }
            }
        });
        let key: KeyUrl = "https://kv1.vault.azure.net/keys/etcd".parse().unwrap();
        let secret = SecretSource::given(kms_core::SecretBytes::from_vec(b"x".to_vec()));
        let client = "01234567-89ab-cdef-0123-456789abcdef";
        let clock = Arc::new(TokioClock::new());
        let credential = Credential::new(
            Identity::client_secret("t", client, secret).unwrap(),
            Authority::new("https://login.example").unwrap(),
            &transport,
            clock.clone(),
            Arc::new(OsRandom),
        );
        let options = VaultOptions::new(clock);
        let vault = Vault::new(key.host().clone(), &credential, &transport, options).unwrap();
        let error = vault
            .versions(&key, &CallOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("another host"), "{error}");
        assert!(
            fake.urls().iter().all(|url| !url.contains("evil")),
            "{:?}",
            fake.urls()
        );
    }

    /// A host that asks for tokens of a service that is not its own.
    #[tokio::test]
    async fn a_challenge_of_another_service_is_refused() {
        let (fake, transport) = Fake::new(|_| {
            let challenge = CHALLENGE.replace("vault.azure.net", "management.azure.com");
            (401, vec![("www-authenticate", challenge)], String::new())
        });
        let key: KeyUrl = "https://kv1.vault.azure.net/keys/etcd".parse().unwrap();
        let clock = Arc::new(TokioClock::new());
        let credential = Credential::new(
            Identity::managed("01234567-89ab-cdef-0123-456789abcdef").unwrap(),
            Authority::new("https://login.example").unwrap(),
            &transport,
            clock.clone(),
            Arc::new(OsRandom),
        );
        let options = VaultOptions::new(clock);
        let vault = Vault::new(key.host().clone(), &credential, &transport, options).unwrap();
        let error = vault.key(&key, &CallOptions::default()).await.unwrap_err();
        let fault = crate::error::VaultError::of(&error).unwrap().fault();
        assert_eq!(fault, crate::error::Fault::ChallengeRefused);
        assert_eq!(fake.urls().len(), 1, "no token was asked for");
    }
}
