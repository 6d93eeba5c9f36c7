//! One token for all, renewed before it is needed.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind as SdkKind;
use azure_core::time::OffsetDateTime;
use kms_core::text::one_line;
use kms_core::{Clock, Error, ErrorKind, SecureRandom, Tick, within};
use tokio::sync::watch;

use super::authority::Authority;
use super::identity::Identity;
use super::source::{IdentitySource, TokenSource};
use crate::jitter;
use crate::span::traced;
use crate::transport::Transport;

/// How long one look for a token may take.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// A token is good for no longer than a day, whatever it says.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Before its end a token is not used any more: a call takes time, and clocks differ.
const END_MARGIN: Duration = Duration::from_secs(60);
/// The first pause after a failure. It doubles with each further one.
const BASE_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// A refused token that is younger than this is not thrown away: the next one would be refused too.
const MIN_AGE_TO_REJECT: Duration = Duration::from_secs(30);
/// A vault has one scope, so this is never reached in earnest.
const MAX_SCOPES: usize = 8;
/// A scope comes from the vault's challenge.
const MAX_SCOPE_SHOWN: usize = 128;

/// A credential: an identity at a token service. Clones share one token.
///
/// - A token is renewed when half of its life is over, in the background, so that callers wait for
///   the very first one only, and an outage of the token service shorter than the other half is not
///   noticed.
/// - However many callers there are, one request is made; and it goes on if they leave.
/// - After a failure there are no requests for a pause that doubles up to a minute, or for as long
///   as the service says. Callers have the error meanwhile.
/// - A token that a vault refuses is renewed at once, unless it is new.
#[derive(Clone)]
pub struct Credential(Arc<Shared>);

struct Shared {
    source: Box<dyn TokenSource>,
    name: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    slots: Mutex<BTreeMap<String, Slot>>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    failure: Option<Failure>,
    /// Closes when the request that is on its way has ended.
    request: Option<watch::Receiver<()>>,
}

struct Held {
    token: AccessToken,
    since: Tick,
    renew_at: Tick,
    good_until: Tick,
}

struct Failure {
    error: Error,
    count: u32,
    until: Tick,
}

impl Credential {
    /// A credential for this identity. Nothing is asked yet.
    #[must_use]
    pub fn new(
        identity: Identity,
        authority: Authority,
        transport: &Transport,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        let name = identity.to_string();
        let source = IdentitySource {
            identity,
            authority,
            transport: transport.clone(),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        Self::over(Box::new(source), name, clock, random)
    }

    fn over(
        source: Box<dyn TokenSource>,
        name: String,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        Self(Arc::new(Shared {
            source,
            name,
            clock,
            random,
            slots: Mutex::default(),
        }))
    }

    /// Makes sure that there is a token for this scope, such as `https://vault.azure.net/.default`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if the identity is refused, and whatever keeps the token
    /// service from answering.
    pub async fn check(&self, scope: &str) -> Result<(), Error> {
        self.token(scope).await.map(drop)
    }

    async fn token(&self, scope: &str) -> Result<AccessToken, Error> {
        loop {
            let mut request = match self.0.look(scope)? {
                Look::Token(token) => return Ok(token),
                Look::Wait(request) => request,
            };
            // An error says that the request has ended.
            let _ended = request.changed().await;
        }
    }

    /// What a vault has answered 401 to is not given out again.
    pub(crate) fn refused(&self, token: &str) {
        let now = self.0.clock.now();
        for slot in self.0.slots().values_mut() {
            slot.held.take_if(|held| {
                held.token.token.secret() == token && now.since(held.since) >= MIN_AGE_TO_REJECT
            });
        }
    }
}

enum Look {
    Token(AccessToken),
    Wait(watch::Receiver<()>),
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token at hand, or the request to wait for, which is begun if need be.
    fn look(self: &Arc<Self>, scope: &str) -> Result<Look, Error> {
        let now = self.clock.now();
        let mut slots = self.slots();
        if !slots.contains_key(scope) && slots.len() >= MAX_SCOPES {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the vault asks for tokens of ever other scopes",
            ));
        }
        let slot = slots.entry(scope.to_owned()).or_default();
        let pausing = slot.failure.as_ref().filter(|failure| now < failure.until);
        let usable = slot.held.as_ref().filter(|held| now < held.good_until);
        if let Some(held) = usable {
            let token = held.token.clone();
            if now >= held.renew_at && slot.request.is_none() && pausing.is_none() {
                slot.request = Some(self.begin(scope));
            }
            return Ok(Look::Token(token));
        }
        if let Some(request) = &slot.request {
            return Ok(Look::Wait(request.clone()));
        }
        if let Some(failure) = pausing {
            let error = failure.error.clone();
            return Err(error.with_retry_after(failure.until.since(now)));
        }
        let request = self.begin(scope);
        slot.request = Some(request.clone());
        Ok(Look::Wait(request))
    }

    /// Asks the token service in a task of its own, which does not end with whoever began it.
    fn begin(self: &Arc<Self>, scope: &str) -> watch::Receiver<()> {
        let (ended, request) = watch::channel(());
        let ticket = Ticket {
            shared: Arc::clone(self),
            scope: scope.to_owned(),
            _ended: ended,
        };
        // Who asked first is where it comes from, though others may wait for it as well.
        let span = tracing::debug_span!(
            target: "kms_azure::credential",
            "token",
            identity = self.name,
            scope = one_line(scope, MAX_SCOPE_SHOWN),
            outcome = tracing::field::Empty,
        );
        tokio::spawn(async move {
            let shared = &ticket.shared;
            let outcome = traced(&span, shared.fetch(&ticket.scope)).await;
            shared.record(&ticket.scope, outcome);
        });
        request
    }

    async fn fetch(&self, scope: &str) -> Result<AccessToken, Error> {
        let end = self.clock.now() + FETCH_LIMIT;
        let token = within(&*self.clock, end, self.source.fetch(scope)).await;
        token.unwrap_or_else(|| {
            let message = format!("no token for {}: no answer in 10 s", self.name);
            Err(Error::new(ErrorKind::Unavailable, message))
        })
    }

    fn record(&self, scope: &str, outcome: Result<AccessToken, Error>) {
        let now = self.clock.now();
        let mut slots = self.slots();
        let slot = slots.entry(scope.to_owned()).or_default();
        match outcome {
            Ok(token) => {
                let lifetime = lifetime(&token, self.clock.wall_time());
                let half = lifetime.checked_div(2).unwrap_or_default();
                slot.held = Some(Held {
                    token,
                    since: now,
                    renew_at: now + half,
                    good_until: now + lifetime.saturating_sub(END_MARGIN.min(half)),
                });
                slot.failure = None;
                tracing::debug!(identity = self.name, "token renewed");
            }
            Err(error) => {
                let count = slot.failure.as_ref().map_or(0, |failure| failure.count);
                let pause = jitter::doubling(BASE_PAUSE, MAX_PAUSE, count);
                let pause = jitter::upper_half(&*self.random, pause);
                let pause = pause.max(error.retry_after().unwrap_or_default());
                tracing::warn!(
                    identity = self.name,
                    kind = error.kind().as_str(),
                    error = error.message(),
                    "no token"
                );
                slot.failure = Some(Failure {
                    error,
                    count: count.saturating_add(1),
                    until: now + pause,
                });
            }
        }
    }
}

fn lifetime(token: &AccessToken, now: SystemTime) -> Duration {
    let end = SystemTime::from(token.expires_on);
    end.duration_since(now)
        .unwrap_or_default()
        .min(MAX_LIFETIME)
}

/// Takes the request off its slot when it ends, even by a panic, and then tells those who wait.
struct Ticket {
    shared: Arc<Shared>,
    scope: String,
    /// Dropped last.
    _ended: watch::Sender<()>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slot) = self.shared.slots().get_mut(&self.scope) {
            slot.request = None;
        }
    }
}

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = match scopes {
            [scope] => self.token(scope).await,
            _ => Err(Error::new(ErrorKind::Protocol, "not one scope")),
        };
        let mut token = token.map_err(|error| {
            azure_core::Error::with_error(SdkKind::Credential, error, "there is no token")
        })?;
        // The SDK keeps a token of its own until 5 minutes before its end, and then lets its
        // callers ask one after another. Of one that has ended it asks each time, and at once has
        // the one that is kept here.
        token.expires_on = OffsetDateTime::UNIX_EPOCH;
        Ok(token)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.0.name).finish()
    }
}

#[cfg(test)]
mod tests;
