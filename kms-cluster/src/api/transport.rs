//! Requests and answers, bounded.

use core::time::Duration;
use std::sync::Arc;

use kms_core::{CallOptions, Error, ErrorKind};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use zeroize::Zeroizing;

use super::connector::Connector;
use super::credentials::{Credentials, Pass};
use super::options::ApiOptions;
use super::status::one_line;
use super::target::ApiTarget;

/// The longest advice of a server on when to come back that is passed on.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATE_UID: HeaderName = HeaderName::from_static("impersonate-uid");
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// The way to one server.
pub(super) struct Transport {
    connector: Arc<Connector>,
    credentials: Credentials,
    base: Url,
    host: Option<HeaderValue>,
    impersonation: Vec<(HeaderName, HeaderValue)>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) segments: Vec<&'a str>,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) accept: &'static str,
    /// With its content type.
    pub(super) body: Option<(&'static str, String)>,
    /// The longest answer that is taken, in bytes.
    pub(super) most: usize,
}

impl<'a> Ask<'a> {
    pub(super) fn get(segments: Vec<&'a str>, most: usize) -> Self {
        Self {
            method: Method::GET,
            segments,
            query: Vec::new(),
            accept: "application/json",
            body: None,
            most,
        }
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// May hold annotations, and these a secret.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Whether the body was over the bound, and was left where it is.
    pub(super) is_too_long: bool,
}

impl Transport {
    pub(super) fn new(target: ApiTarget, options: ApiOptions) -> Result<Self, Error> {
        let connector = Arc::new(Connector::new(target, options)?);
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "a name that cannot stand in a header",
                )
            })
        };
        let mut impersonation = Vec::new();
        if let Some(whom) = &connector.target().impersonation {
            impersonation.push((IMPERSONATE_USER, header(&whom.user)?));
            if let Some(uid) = &whom.uid {
                impersonation.push((IMPERSONATE_UID, header(uid)?));
            }
            for group in &whom.groups {
                impersonation.push((IMPERSONATE_GROUP, header(group)?));
            }
        }
        Ok(Self {
            credentials: Credentials::new(Arc::clone(&connector))?,
            base: connector.base()?,
            host: connector.host().as_deref().map(header).transpose()?,
            impersonation,
            connector,
        })
    }

    pub(super) fn target(&self) -> &ApiTarget {
        self.connector.target()
    }

    pub(super) fn options(&self) -> &ApiOptions {
        self.connector.options()
    }

    /// Sends a request, and once more if the token was refused and there may be a new one.
    pub(super) async fn send(&self, ask: &Ask<'_>, call: &CallOptions) -> Result<Answer, Error> {
        let clock = &self.options().clock;
        let limit = clock.now() + self.options().timeout;
        let deadline = call.deadline.map_or(limit, |own| own.min(limit));
        // The work goes first, so that an answer that is there is never thrown away.
        tokio::select! {
            biased;
            answer = self.attempts(ask) => answer,
            () = clock.sleep_until(deadline) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "no answer in time",
            )),
        }
    }

    async fn attempts(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let pass = self.credentials.current().await?;
        let answer = self.attempt(ask, &pass).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.credentials.refuse(&pass).await {
            return Ok(answer);
        }
        let pass = self.credentials.current().await?;
        self.attempt(ask, &pass).await
    }

    async fn attempt(&self, ask: &Ask<'_>, pass: &Pass) -> Result<Answer, Error> {
        let url = self.url(ask)?;
        let mut request = pass
            .client
            .request(ask.method.clone(), url)
            .header(ACCEPT, ask.accept);
        if let Some(authorization) = &pass.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(host) = &self.host {
            request = request.header(HOST, host.clone());
        }
        for (name, value) in &self.impersonation {
            request = request.header(name.clone(), value.clone());
        }
        if let Some((kind, body)) = &ask.body {
            request = request.header(CONTENT_TYPE, *kind).body(body.clone());
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        receive(response, ask.most).await
    }

    fn url(&self, ask: &Ask<'_>) -> Result<Url, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::new(ErrorKind::InvalidInput, "the URL of the server has no path"))?
            .pop_if_empty()
            .extend(&ask.segments);
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        Ok(url)
    }
}

async fn receive(mut response: Response, most: usize) -> Result<Answer, Error> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    let mut body = Wiped::default();
    let mut is_too_long = false;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&error))?
    {
        if body.0.len().saturating_add(chunk.len()) > most {
            is_too_long = true;
            body = Wiped::default();
            break;
        }
        body.append(&chunk);
    }
    Ok(Answer {
        status,
        retry_after,
        body: body.0,
        is_too_long,
    })
}

/// A buffer that wipes what it leaves behind as it grows.
#[derive(Default)]
struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let room = needed.saturating_mul(2).max(8 * 1024);
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

/// No answer, or one that broke off. The library's own words may hold a URL, but nothing of a
/// request or an answer.
fn unreachable(error: &reqwest::Error) -> Error {
    let tls = find::<rustls::Error>(error);
    let advice = match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Some(
            "name the cluster's certificate authority; or the name that its certificate has, as tls-server-name",
        ),
        Some(rustls::Error::AlertReceived(_)) => {
            Some("check the client certificate: who signed it, and whether it has expired")
        }
        _ => None,
    };
    if let (Some(fault), Some(remedy)) = (tls, advice) {
        let fault = one_line(&fault.to_string());
        let message = format!("no TLS connection with the server: {fault}");
        return Error::new(ErrorKind::Unauthenticated, message).with_remedy(remedy);
    }
    let what = if error.is_connect() {
        "the server cannot be reached"
    } else if error.is_timeout() {
        "the server did not answer in time"
    } else {
        "the connection broke off"
    };
    let failed = Error::new(ErrorKind::Unavailable, what);
    match find::<std::io::Error>(error) {
        Some(cause) => failed.with_source(std::io::Error::from(cause.kind())),
        None => failed,
    }
}

/// The first of the causes that is of this type. An `io::Error` does not show what it holds as its
/// source, so it is opened.
fn find<'a, T: core::error::Error + 'static>(
    error: &'a (dyn core::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let held = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
