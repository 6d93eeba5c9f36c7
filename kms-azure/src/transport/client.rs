//! The HTTP client that the SDK is given.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Url};
use futures_util::TryStreamExt as _;
use kms_core::{Error, ErrorKind};

use super::options::TransportOptions;
use super::resolver::Resolver;
use super::tls;

/// A page of 25 key versions is some 10 KiB; tokens and keys are smaller.
const MAX_ANSWER: usize = 1024 * 1024;
/// Between two packets. What a call may take in all is its caller's business.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Where managed identities come from on a virtual machine.
const METADATA_SERVICE: &str = "169.254.169.254";

pub(super) struct Client {
    inner: Arc<dyn HttpClient>,
    requests: AtomicU64,
}

impl Client {
    pub(super) fn new(options: &TransportOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&options.roots)?)
            .dns_resolver(Arc::new(Resolver {
                addresses: Arc::new(options.addresses.clone()),
            }))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .read_timeout(READ_TIMEOUT)
            // The environment is the program's to read.
            .no_proxy();
        if let Some(proxy) = &options.proxy {
            let except = reqwest::NoProxy::from_string(&proxy.except);
            let proxy = reqwest::Proxy::https(&proxy.url).map_err(|_may_show_a_password| {
                Error::new(ErrorKind::InvalidInput, "the proxy is not a URL")
                    .with_remedy("give http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
            })?;
            builder = builder.proxy(proxy.no_proxy(except));
        }
        let client = builder.build().map_err(|source| {
            Error::new(ErrorKind::Internal, "the HTTP client cannot be set up").with_source(source)
        })?;
        Ok(Self::over(Arc::new(client)))
    }

    pub(super) fn over(inner: Arc<dyn HttpClient>) -> Self {
        Self {
            inner,
            requests: AtomicU64::new(0),
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !is_allowed(request.url()) {
            return Err(refused("requests without TLS are not sent"));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = self.inner.execute_request(request).await?;
        let (status, headers, mut body) = response.deconstruct();
        let mut whole = Vec::new();
        while let Some(chunk) = body.try_next().await? {
            if whole.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(refused("the answer is over 1 MiB"));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, whole))
    }
}

/// A local host is App Service's own way to managed identities.
fn is_allowed(url: &Url) -> bool {
    let local = [METADATA_SERVICE, "127.0.0.1", "localhost"];
    url.scheme() == "https" || url.host_str().is_some_and(|host| local.contains(&host))
}

fn refused(message: &'static str) -> azure_core::Error {
    azure_core::Error::new(SdkKind::Other, Error::new(ErrorKind::Protocol, message))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Transport as SdkTransport};

    use super::*;
    use crate::transport::fake::Fake;

    async fn ask(url: &str, body: &str) -> (Result<usize, ErrorKind>, usize) {
        let body = body.to_owned();
        let (fake, transport) = Fake::new(move |_| (200, vec![], body.clone()));
        let options = transport.client_options();
        let sdk: SdkTransport = options.transport.unwrap();
        let mut request = Request::new(url.parse().unwrap(), Method::Get);
        let answer = sdk
            .send(&azure_core::http::Context::new(), &mut request)
            .await;
        let answer = match answer {
            Ok(answer) => Ok(answer.into_body().collect().await.unwrap().len()),
            Err(error) => Err(crate::error::find::<Error>(&error).unwrap().kind()),
        };
        let sent = fake.urls().len();
        assert_eq!(transport.requests(), sent as u64);
        (answer, sent)
    }

    #[tokio::test]
    async fn nothing_is_sent_without_tls_but_to_this_machine() {
        for url in [
            "http://kv1.vault.azure.net/",
            "http://169.254.169.254.evil.example/",
            "http://169.254.169.253/",
        ] {
            assert_eq!(ask(url, "x").await, (Err(ErrorKind::Protocol), 0), "{url}");
        }
        for url in [
            "https://kv1.vault.azure.net/",
            "http://169.254.169.254/metadata",
            "http://127.0.0.1:41001/",
        ] {
            assert_eq!(ask(url, "x").await, (Ok(1), 1), "{url}");
        }
    }

    #[tokio::test]
    async fn answers_are_bounded() {
        let url = "https://kv1.vault.azure.net/";
        let most = "x".repeat(MAX_ANSWER);
        assert_eq!(ask(url, &most).await.0, Ok(MAX_ANSWER));
        assert_eq!(
            ask(url, &format!("{most}x")).await.0,
            Err(ErrorKind::Protocol)
        );
    }
}
