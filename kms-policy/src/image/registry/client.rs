//! Requests to registries: where to, who pays, how often.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::docker_config::DOCKER_HUB;
use super::options::RegistryOptions;
use super::tls;
use super::token::{self, Login};
use crate::image::digest::shown;
use crate::image::oci::{self, Descriptor};
use crate::image::{Digest, ImageReference};
use crate::{Error, ErrorKind};

/// Indexes and manifests, of OCI and of Docker.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two packets; how long a download takes is the network's business.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, also if a registry asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often something is tried that may yet succeed.
const MAX_ATTEMPTS: u32 = 5;
/// How often a registry may send elsewhere.
const MAX_REDIRECTS: usize = 5;
/// The longest answer that says why, in bytes.
const MAX_REASON: usize = 64 * 1024;
/// The longest code of an error that is shown, in bytes.
const MAX_CODE: usize = 64;

/// What is asked for, within a repository.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Tag(&'a str),
    Manifest(&'a Digest),
    Blob(&'a Digest),
}

impl What<'_> {
    fn path(&self) -> String {
        match self {
            Self::Tag(tag) => format!("manifests/{tag}"),
            Self::Manifest(digest) => format!("manifests/{digest}"),
            Self::Blob(digest) => format!("blobs/{digest}"),
        }
    }

    const fn is_blob(&self) -> bool {
        matches!(self, Self::Blob(_))
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    options: RegistryOptions,
    /// What was shown to a registry last for a repository, and taken.
    logins: Mutex<BTreeMap<(String, String), HeaderValue>>,
}

impl Client {
    pub(super) fn new(options: RegistryOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&options.roots)?)
            // Where to follow, and what to show there, is decided here.
            .redirect(reqwest::redirect::Policy::none())
            // What is stored is asked for, not what was packed once more on the way.
            .no_gzip()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("kms-policy/", env!("CARGO_PKG_VERSION")))
            // The environment is the program's to read.
            .no_proxy();
        if let Some(proxy) = &options.proxy {
            let except = reqwest::NoProxy::from_string(&proxy.except);
            let proxy = reqwest::Proxy::https(proxy.url.as_str()).map_err(|_may_show_it| {
                Error::new(ErrorKind::Registry, "the proxy is not a URL")
                    .with_remedy("give http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
            })?;
            builder = builder.proxy(proxy.no_proxy(except));
        }
        let http = builder.build().map_err(|source| {
            Error::new(ErrorKind::Internal, "the HTTP client cannot be set up").with_source(source)
        })?;
        Ok(Self {
            http,
            options,
            logins: Mutex::default(),
        })
    }

    pub(super) const fn options(&self) -> &RegistryOptions {
        &self.options
    }

    pub(super) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A manifest or index, and its digest.
    pub(super) async fn manifest(
        &self,
        name: &ImageReference,
        what: &What<'_>,
    ) -> Result<(Digest, Vec<u8>), Error> {
        let (response, _) = self.get(name, what, 0).await?;
        let header = response.headers().get(CONTENT_DIGEST);
        let said = header.and_then(|it| it.to_str().ok()).map(str::to_owned);
        let bytes = self.body(name, response, oci::MAX_MANIFEST).await?;
        if let What::Manifest(digest) = what {
            digest.check(&bytes)?;
            return Ok(((*digest).clone(), bytes));
        }
        if let Some(said) = said {
            Digest::parse(&said)?.check(&bytes)?;
        }
        Ok((Digest::sha256(&bytes), bytes))
    }

    /// A small blob.
    pub(super) async fn document(
        &self,
        name: &ImageReference,
        descriptor: &Descriptor,
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        let digest = descriptor.digest()?;
        if descriptor.size > max {
            let message = format!("{digest} is over {max} bytes");
            return Err(Error::new(ErrorKind::Image, message));
        }
        let (response, _) = self.get(name, &What::Blob(&digest), 0).await?;
        let bytes = self.body(name, response, descriptor.size).await?;
        digest.check(&bytes)?;
        Ok(bytes)
    }

    /// A whole body, if it is not over `max` bytes.
    async fn body(
        &self,
        name: &ImageReference,
        mut response: Response,
        max: u64,
    ) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| unreached(name.registry(), error))? else {
                return Ok(whole);
            };
            whole.extend_from_slice(&chunk);
            if whole.len() as u64 > max {
                let message = format!("{}: an answer is over {max} bytes", name.registry());
                return Err(Error::new(ErrorKind::Image, message));
            }
        }
    }

    /// Asks for something, from a byte on. Logs in where that is asked for, follows where it is sent,
    /// and tries again what may succeed yet. Says how many bytes of the body are to be left out: a
    /// server may send the whole.
    pub(super) async fn get(
        &self,
        name: &ImageReference,
        what: &What<'_>,
        from: u64,
    ) -> Result<(Response, u64), Error> {
        let mut attempts = 0_u32;
        let mut has_logged_in = false;
        loop {
            attempts = attempts.saturating_add(1);
            let response = match self.ask(name, what, from).await {
                Ok(response) => response,
                Err(Asked::Refused(error)) => return Err(error),
                Err(Asked::Broken(error)) => {
                    self.pause_or_give_up(attempts, None, || error).await?;
                    continue;
                }
            };
            let status = response.status();
            if status.is_success() {
                let left_out = left_out(name, &response, from)?;
                return Ok((response, left_out));
            }
            if status == StatusCode::UNAUTHORIZED && !has_logged_in {
                has_logged_in = true;
                self.log_in(name, response.headers()).await?;
                continue;
            }
            let pause = retry_after(response.headers());
            let error = refusal(name, what, response).await;
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                self.pause_or_give_up(attempts, pause, || error).await?;
                continue;
            }
            return Err(error);
        }
    }

    /// Waits before what failed is tried again; or gives up.
    pub(super) async fn pause_or_give_up(
        &self,
        failures: u32,
        asked_for: Option<Duration>,
        error: impl FnOnce() -> Error,
    ) -> Result<(), Error> {
        if failures >= MAX_ATTEMPTS {
            return Err(error());
        }
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(1);
        let first = self.options.first_pause.unwrap_or(FIRST_PAUSE);
        let pause = asked_for.unwrap_or_else(|| first.saturating_mul(doubled));
        tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        Ok(())
    }

    /// One request, and where it is sent on.
    async fn ask(
        &self,
        name: &ImageReference,
        what: &What<'_>,
        from: u64,
    ) -> Result<Response, Asked> {
        let start = self.url(name, &what.path()).map_err(Asked::Refused)?;
        let mut url = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.http.get(url.clone());
            if !what.is_blob() {
                request = request.header(ACCEPT, MANIFESTS);
            }
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            // Elsewhere, credentials are none of anybody's business.
            if url.origin() == start.origin()
                && let Some(login) = self.login(name)
            {
                request = request.header(AUTHORIZATION, login);
            }
            let sent = request.send().await;
            let response =
                sent.map_err(|error| Asked::Broken(unreached(name.registry(), error)))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|it| it.to_str().ok());
            let next = location.and_then(|it| url.join(it).ok());
            url = next
                .filter(|next| self.is_allowed(next))
                .ok_or_else(|| Asked::Refused(sent_astray(name)))?;
        }
        Err(Asked::Refused(sent_astray(name)))
    }

    /// The URL of something in a repository.
    fn url(&self, name: &ImageReference, path: &str) -> Result<Url, Error> {
        let registry = name.registry();
        let is_insecure = self.options.is_insecure(registry);
        let scheme = if is_insecure { "http" } else { "https" };
        let host = if registry == DOCKER_HUB {
            "registry-1.docker.io"
        } else {
            registry
        };
        let url = format!("{scheme}://{host}/v2/{}/{path}", name.repository());
        Url::parse(&url).map_err(|source| {
            let message = format!("{} is no registry", shown(registry));
            Error::new(ErrorKind::Registry, message).with_source(source)
        })
    }

    /// Whether requests may go there: over TLS, or to whom was named as insecure.
    pub(super) fn is_allowed(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let place = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        match url.scheme() {
            "https" => !host.is_empty(),
            "http" => self.options.is_insecure(&place),
            _ => false,
        }
    }

    fn login(&self, name: &ImageReference) -> Option<HeaderValue> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(&place(name)).cloned()
    }

    /// Does what a registry asks for before it answers.
    async fn log_in(&self, name: &ImageReference, headers: &HeaderMap) -> Result<(), Error> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let mut challenges = challenges.filter_map(|it| Challenge::parse(it.to_str().ok()?));
        let challenge = challenges.next().ok_or_else(|| {
            let message = format!(
                "{} wants to be logged in to, and does not say how",
                name.registry()
            );
            Error::new(ErrorKind::Registry, message)
        })?;
        let login = Login { client: self, name };
        let header = token::header(&login, challenge).await?;
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.insert(place(name), header);
        Ok(())
    }
}

/// Why a request has no answer.
enum Asked {
    /// There will be none.
    Refused(Error),
    /// There may be one the next time.
    Broken(Error),
}

fn place(name: &ImageReference) -> (String, String) {
    (name.registry().to_owned(), name.repository().to_owned())
}

/// The error of a request that got no answer. URLs may hold signatures that let others in.
pub(super) fn unreached(place: &str, error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Registry, format!("{place} does not answer"))
        .with_source(error.without_url())
}

/// How much of a body comes before the byte that was asked for.
fn left_out(name: &ImageReference, response: &Response, from: u64) -> Result<u64, Error> {
    if from == 0 || response.status() == StatusCode::OK {
        return Ok(from);
    }
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|it| it.to_str().ok()).unwrap_or_default();
    if range.starts_with(&format!("bytes {from}-")) {
        return Ok(0);
    }
    let message = format!("{} sends another part than was asked for", name.registry());
    Err(Error::new(ErrorKind::Registry, message))
}

fn sent_astray(name: &ImageReference) -> Error {
    Error::new(
        ErrorKind::Registry,
        format!(
            "{} sends elsewhere, and not over TLS, or too often",
            name.registry()
        ),
    )
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// What registries answer with when they refuse.
#[derive(Deserialize)]
struct Reasons {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
}

async fn refusal(name: &ImageReference, what: &What<'_>, mut response: Response) -> Error {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REASON {
            break;
        }
    }
    let reasons = serde_json::from_slice::<Reasons>(&body);
    let reasons = reasons.map(|it| it.errors).unwrap_or_default();
    let code = reasons.into_iter().next().map(|it| it.code);
    let is_code = |code: &String| {
        let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        code.len() <= MAX_CODE && code.bytes().all(is_letter)
    };
    let code = code.filter(is_code).map(|code| format!(" {code}"));
    let what = match what {
        What::Blob(digest) => format!("the blob {digest} of {name}"),
        _ => name.to_string(),
    };
    let message = format!(
        "{what}: the registry answers {}{}",
        status.as_u16(),
        code.unwrap_or_default()
    );
    let error = Error::new(ErrorKind::Registry, message);
    match status {
        StatusCode::NOT_FOUND => error.with_remedy("check the image's name and tag"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error.with_remedy("log in with `docker login`, as someone who may pull this image")
        }
        StatusCode::TOO_MANY_REQUESTS => error.with_remedy("log in, or try again later"),
        _ => error,
    }
}
