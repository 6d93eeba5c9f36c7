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
