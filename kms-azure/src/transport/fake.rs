//! An HTTP client that answers by itself, for unit tests.

use core::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};

use super::Transport;

/// What is answered: status, headers, body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, String);

type Answers = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

pub(crate) struct Fake {
    answers: Answers,
    /// URL and headers of every request.
    pub(crate) seen: Mutex<Vec<(String, Headers)>>,
}

impl Fake {
    pub(crate) fn new(
        answers: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> (Arc<Self>, Transport) {
        let fake = Arc::new(Self {
            answers: Box::new(answers),
            seen: Mutex::default(),
        });
        (Arc::clone(&fake), Transport::answering(fake))
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(url, _)| url.clone()).collect()
    }
}

#[async_trait]
impl HttpClient for Fake {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url().to_string();
        self.seen
            .lock()
            .unwrap()
            .push((url, request.headers().clone()));
        let (status, headers, body) = (self.answers)(request);
        let headers = headers
            .into_iter()
            .fold(Headers::new(), |mut all, (name, value)| {
                all.insert(name, value);
                all
            });
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}
