//! Logging in: Distribution's token authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::challenge::Challenge;
use super::client::{Client, unreached};
use super::credentials::{Credentials, Secret};
use super::docker_config::Holder;
use super::helper;
use crate::image::ImageReference;
use crate::{Error, ErrorKind};

/// The longest answer with a token, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// What a program calls itself to a server of tokens.
const CLIENT_ID: &str = "kms-policy";

/// A registry that is logged in to.
pub(super) struct Login<'a> {
    pub(super) client: &'a Client,
    pub(super) name: &'a ImageReference,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
}

/// The header that answers a challenge.
pub(super) async fn header(login: &Login<'_>, challenge: Challenge) -> Result<HeaderValue, Error> {
    let credentials = login.credentials().await?;
    match (challenge, credentials) {
        (_, Some(Credentials::RegistryToken(token))) => login.bearer(&token),
        (Challenge::Basic, Some(Credentials::Password { name, password })) => {
            login.basic(&name, &password)
        }
        (Challenge::Basic, _) => Err(login
            .refused("wants a name and a password")
            .with_remedy("log in with `docker login`")),
        (
            Challenge::Bearer {
                realm,
                service,
                scope,
            },
            credentials,
        ) => {
            let realm = Url::parse(&realm)
                .ok()
                .filter(|realm| login.client.is_allowed(realm))
                .ok_or_else(|| login.refused("names a server of tokens without TLS"))?;
            let scope =
                scope.unwrap_or_else(|| format!("repository:{}:pull", login.name.repository()));
            let request = login.request(realm, service, &scope, credentials)?;
            login.bearer(&login.token(request).await?)
        }
    }
}

impl Login<'_> {
    fn refused(&self, what: &str) -> Error {
        let registry = self.name.registry();
        Error::new(ErrorKind::Registry, format!("{registry} {what}"))
    }

    /// From Docker's configuration, or a program that it names.
    async fn credentials(&self) -> Result<Option<Credentials>, Error> {
        let registry = self.name.registry();
        match self.client.options().docker_config.holder(registry)? {
            None => Ok(None),
            Some(Holder::File(credentials)) => Ok(Some(credentials)),
            Some(Holder::Helper(name)) => helper::ask(name, registry).await,
        }
    }

    fn basic(&self, name: &str, password: &str) -> Result<HeaderValue, Error> {
        let pair = Zeroizing::new(format!("{name}:{password}"));
        self.secret("Basic", &Zeroizing::new(STANDARD.encode(pair.as_bytes())))
    }

    fn bearer(&self, token: &str) -> Result<HeaderValue, Error> {
        self.secret("Bearer", token)
    }

    fn secret(&self, scheme: &str, text: &str) -> Result<HeaderValue, Error> {
        let text = Zeroizing::new(format!("{scheme} {text}"));
        let mut header = HeaderValue::from_str(&text)
            .map_err(|_| self.refused("has a token that no header can hold"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The request for a token: with a name and password, with an identity token, or as anybody.
    fn request(
        &self,
        mut realm: Url,
        service: Option<String>,
        scope: &str,
        credentials: Option<Credentials>,
    ) -> Result<RequestBuilder, Error> {
        let http = self.client.http();
        if let Some(Credentials::IdentityToken(token)) = credentials {
            // Built as a query, which has the form of a form.
            let mut form = realm.clone();
            form.query_pairs_mut()
                .clear()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.as_deref().unwrap_or_default())
                .append_pair("client_id", CLIENT_ID)
                .append_pair("scope", scope)
                .append_pair("refresh_token", &token);
            let form = form.query().unwrap_or_default().to_owned();
            return Ok(http
                .post(realm)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form));
        }
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", scope);
        }
        let request = http.get(realm);
        Ok(match credentials {
            Some(Credentials::Password { name, password }) => {
                request.header(AUTHORIZATION, self.basic(&name, &password)?)
            }
            _ => request,
        })
    }

    async fn token(&self, request: RequestBuilder) -> Result<Secret, Error> {
        let registry = self.name.registry();
        let mut attempts = 0_u32;
        let mut response = loop {
            attempts = attempts.saturating_add(1);
            let again = request
                .try_clone()
                .ok_or_else(|| Error::new(ErrorKind::Internal, "a request cannot be sent twice"))?;
            let error = match again.send().await {
                Ok(response) if response.status() == StatusCode::OK => break response,
                Ok(response) => {
                    let status = response.status();
                    let code = status.as_u16();
                    let what = format!("gives no token: its server of tokens answers {code}");
                    let error = self.refused(&what).with_remedy(
                        "log in with `docker login`, as someone who may pull this image",
                    );
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        return Err(error);
                    }
                    error
                }
                Err(error) => unreached(registry, error),
            };
            let pause = self.client.pause_or_give_up(attempts, None, || error);
            pause.await?;
        };
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unreached(registry, error))?
        {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(self.refused("has a server of tokens that answers over 256 KiB"));
            }
            body.extend_from_slice(&chunk);
        }
        // The cause might show the token.
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        answer
            .and_then(|it| it.token.or(it.access_token))
            .filter(|token| !token.is_empty())
            .ok_or_else(|| self.refused("has a server of tokens that gives none"))
    }
}
