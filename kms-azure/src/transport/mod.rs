//! The way to a vault and to the token service: one HTTP client, with TLS by `ring`.
//!
//! The SDK would make a client for each of its parts, with a TLS library of its own choice. All of
//! ours share one [`Transport`], so connections, trusted certificates, proxy and DNS are set once.

mod client;
#[cfg(test)]
pub(crate) mod fake;
mod options;
mod resolver;
mod tls;

use core::fmt;
use std::sync::Arc;

use azure_core::http::headers::Headers;
use azure_core::http::{
    ClientOptions, HttpClient as _, Method, Request, RetryOptions, StatusCode, Url,
    UserAgentOptions,
};
use kms_core::Error;

pub use options::TransportOptions;
pub use resolver::NameNotResolved;

use client::Client;

/// What the `User-Agent` begins with. Over 24 characters, and at a slash, the SDK panics.
const APPLICATION_ID: &str = concat!("kms-azure-", env!("CARGO_PKG_VERSION"));
const _: () = assert!(APPLICATION_ID.len() <= 24);

/// An HTTP client for vaults and token services. Clones share it.
///
/// Only `https://` URLs are asked, except of the metadata service that hands out managed
/// identities, which has no TLS. Redirects are not followed. Answers are bounded.
#[derive(Clone)]
pub struct Transport(Arc<Client>);

impl Transport {
    /// Makes the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](kms_core::ErrorKind::InvalidInput) for a CA certificate or a
    /// proxy that cannot be read; [`ErrorKind::Io`](kms_core::ErrorKind::Io) if this machine has
    /// no trusted certificates.
    pub fn new(options: &TransportOptions) -> Result<Self, Error> {
        Client::new(options).map(|client| Self(Arc::new(client)))
    }

    /// How many requests have been sent: to vaults and token services, repetitions and challenges
    /// included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests()
    }

    /// Sends one bare GET and gives status and headers back.
    pub(crate) async fn probe(&self, url: Url) -> azure_core::Result<(StatusCode, Headers)> {
        let request = Request::new(url, Method::Get);
        let (status, headers, _) = self.0.execute_request(&request).await?.deconstruct();
        Ok((status, headers))
    }

    /// Options for a client of the SDK that uses this transport and does not retry.
    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(azure_core::http::Transport::new(self.0.clone())),
            retry: RetryOptions::none(),
            user_agent: UserAgentOptions {
                application_id: Some(APPLICATION_ID.to_owned()),
            },
            ..ClientOptions::default()
        }
    }

    /// A transport that answers by itself, for unit tests.
    #[cfg(test)]
    pub(crate) fn answering(answers: Arc<dyn azure_core::http::HttpClient>) -> Self {
        Self(Arc::new(Client::over(answers)))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}
