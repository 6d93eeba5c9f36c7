//! Who we are, kept up to date.

use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use kms_core::{Error, ErrorKind, SecretBytes, Tick};
use reqwest::Client;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::connector::Connector;
use super::exec::{self, RunOptions};
use super::file::{self, MAX_CREDENTIAL_LEN};
use super::target::{Login, check_token};

/// How long a token that was read from a file is taken to be the newest, as `kubectl` has it.
const FILE_AGE: Duration = Duration::from_secs(60);
/// How long before its end a plugin's credential is not used any more; a quarter of its life, if
/// that is less.
const MARGIN: Duration = Duration::from_secs(30);
/// How long the failure of a plugin stands for all who ask.
const FAILURE_AGE: Duration = Duration::from_secs(1);

/// What a request goes out with. The copy of the token in the header is the HTTP library's, and
/// not wiped.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) client: Client,
    /// Which pass it is.
    number: u64,
}

pub(super) struct Credentials {
    connector: Arc<Connector>,
    /// Held while a plugin runs, so that it runs once for all who wait.
    state: Mutex<State>,
}

struct State {
    pass: Option<Pass>,
    good_until: Until,
    failure: Option<(Tick, Error)>,
    issued: u64,
}

#[derive(Clone, Copy)]
enum Until {
    /// Until the server refuses it.
    Refused,
    Tick(Tick),
    Wall(SystemTime),
}

impl Credentials {
    /// Makes the first client, so that what is wrong with certificates and keys shows at once.
    pub(super) fn new(connector: Arc<Connector>) -> Result<Self, Error> {
        let client = connector.client(None)?;
        let authorization = match &connector.target().login {
            Login::Nothing => None,
            Login::Token(token) => Some(bearer(token)?),
            Login::TokenFile(_) | Login::Exec(_) => {
                let state = Mutex::new(State::empty());
                return Ok(Self { connector, state });
            }
        };
        let pass = Pass {
            authorization,
            client,
            number: 0,
        };
        let state = Mutex::new(State {
            pass: Some(pass),
            ..State::empty()
        });
        Ok(Self { connector, state })
    }

    /// What to go out with now.
    pub(super) async fn current(&self) -> Result<Pass, Error> {
        let mut state = self.state.lock().await;
        if let Some(pass) = &state.pass
            && self.is_good(state.good_until)
        {
            return Ok(pass.clone());
        }
        let options = self.connector.options();
        let now = options.clock.now();
        if let Some((at, error)) = &state.failure
            && now.since(*at) < FAILURE_AGE
        {
            return Err(error.clone());
        }
        let renewed = match &self.connector.target().login {
            // As good as it gets.
            Login::Nothing | Login::Token(_) => return self.refused_for_good(),
            Login::TokenFile(path) => self.renewed_by_file(path, &state),
            Login::Exec(plugin) => self.renewed_by_plugin(plugin).await,
        };
        match renewed {
            Ok((authorization, client, until)) => {
                state.issued = state.issued.saturating_add(1);
                let pass = Pass {
                    authorization,
                    client,
                    number: state.issued,
                };
                state.pass = Some(pass.clone());
                state.good_until = until;
                state.failure = None;
                Ok(pass)
            }
            Err(error) => {
                // The time that matters is that of the failure, not that of the call.
                state.failure = Some((options.clock.now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The server refused a pass. Whether it is worth to ask with a new one.
    pub(super) async fn refuse(&self, refused: &Pass) -> bool {
        match self.connector.target().login {
            Login::Nothing | Login::Token(_) => false,
            Login::TokenFile(_) | Login::Exec(_) => {
                let mut state = self.state.lock().await;
                // Another call may have renewed it already.
                if state.pass.as_ref().map(|pass| pass.number) == Some(refused.number) {
                    state.good_until = Until::Tick(Tick::ORIGIN);
                }
                true
            }
        }
    }

    fn is_good(&self, until: Until) -> bool {
        let clock = &self.connector.options().clock;
        match until {
            Until::Refused => true,
            Until::Tick(tick) => clock.now() < tick,
            Until::Wall(end) => clock.wall_time() < end,
        }
    }

    fn refused_for_good(&self) -> Result<Pass, Error> {
        Err(Error::new(
            ErrorKind::Internal,
            "a login that does not change was asked for another one",
        ))
    }

    fn renewed_by_file(
        &self,
        path: &std::path::Path,
        state: &State,
    ) -> Result<(Option<HeaderValue>, Client, Until), Error> {
        let read = file::read(path, MAX_CREDENTIAL_LEN, "the token file");
        let authorization = match read {
            Ok(bytes) => bearer(&check_token(SecretBytes::copy_from_slice(&bytes))?)?,
            // A file that is being replaced: the old token may do for a while.
            Err(error) => match state
                .pass
                .as_ref()
                .and_then(|pass| pass.authorization.clone())
            {
                Some(old) => old,
                None => return Err(error),
            },
        };
        let client = match &state.pass {
            Some(pass) => pass.client.clone(),
            None => self.connector.client(None)?,
        };
        let now = self.connector.options().clock.now();
        Ok((Some(authorization), client, Until::Tick(now + FILE_AGE)))
    }

    async fn renewed_by_plugin(
        &self,
        plugin: &exec::ExecPlugin,
    ) -> Result<(Option<HeaderValue>, Client, Until), Error> {
        let options = self.connector.options();
        let cluster = exec::cluster_info(self.connector.target());
        let credential = exec::run(
            plugin,
            &RunOptions {
                timeout: options.exec_timeout,
                shows_messages: options.shows_exec_messages,
                cluster: Some(&cluster),
                clock: &*options.clock,
            },
        )
        .await?;
        let authorization = credential.token.as_ref().map(bearer).transpose()?;
        let client = self.connector.client(credential.certificate.as_ref())?;
        let now = options.clock.wall_time();
        let until = credential.expires.map_or(Until::Refused, |end| {
            let life = end.duration_since(now).unwrap_or_default();
            let margin = life.checked_div(4).unwrap_or_default().min(MARGIN);
            Until::Wall(end.checked_sub(margin).unwrap_or(end))
        });
        Ok((authorization, client, until))
    }
}

impl State {
    const fn empty() -> Self {
        Self {
            pass: None,
            good_until: Until::Refused,
            failure: None,
            issued: 0,
        }
    }
}

fn bearer(token: &SecretBytes) -> Result<HeaderValue, Error> {
    let mut text = Zeroizing::new(Vec::with_capacity(token.len().saturating_add(8)));
    text.extend_from_slice(b"Bearer ");
    text.extend_from_slice(token.expose());
    let mut value = HeaderValue::from_bytes(&text).map_err(|_may_show_it| {
        Error::new(
            ErrorKind::InvalidInput,
            "the token holds what cannot stand in a header",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
