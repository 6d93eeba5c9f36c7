//! Calls to whichever member answers.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use kms_core::object::ObjectKey;
use kms_core::{CallOptions, Clock, Error, ErrorKind, Tick};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::login::{Login, Token};
use super::options::{EtcdOptions, Member};
use super::proto::kv_client::KvClient;
use super::proto::lease_client::LeaseClient;
use super::proto::maintenance_client::MaintenanceClient;
use super::proto::watch_client::WatchClient;
use super::proto::{Answer, RangeRequest, RangeResponse};
use super::status::{self, Class};

/// The pause after a round in which no member answered, and the longest one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The members of one cluster.
pub(super) struct Cluster {
    members: Vec<Member>,
    /// The member that answered last.
    preferred: AtomicUsize,
    login: Option<Login>,
    /// Learnt from the first answer.
    id: OnceLock<u64>,
    name: String,
    timeout: Duration,
    max_message_len: usize,
    history_window_bytes: usize,
    identity_key: ObjectKey,
    clock: Arc<dyn Clock>,
}

/// One call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// For errors.
    pub(super) what: &'a str,
    pub(super) deadline: Tick,
    pub(super) repeat: Repeat,
}

/// When a request that failed may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Repeat {
    /// Always, since it changes nothing, or nothing more if it is done twice.
    Freely,
    /// As freely, but never in another cluster, where it could not be taken back.
    FreelyHere,
    /// Only if it was certainly not carried out.
    IfNotDone,
    /// Once to each member, and then no more.
    OneRound,
}

impl Repeat {
    /// Whether a member must be known to be of the cluster before it is asked.
    const fn asks_who_it_is(self) -> bool {
        matches!(self, Self::IfNotDone | Self::FreelyHere)
    }
}

/// How it went with one member.
enum Tried<R> {
    Answered(R),
    Failed(Failed),
    /// Time is over; what that means for the request.
    Late(Class),
}

/// Why a call failed.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) class: Class,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// A way to one member, with what it asks to see.
pub(super) struct Line {
    channel: Channel,
    token: Token,
    max_message_len: usize,
}

impl Line {
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token.value {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    pub(super) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(self.max_message_len)
    }

    pub(super) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(self.max_message_len)
    }

    pub(super) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone()).max_decoding_message_size(self.max_message_len)
    }
}

impl Cluster {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, Error> {
        let members = options.members()?;
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        Ok(Self {
            name: names.join(","),
            members,
            preferred: AtomicUsize::new(0),
            login: options.user.map(Login::new),
            id: OnceLock::new(),
            timeout: options.timeout,
            max_message_len: options.max_message_len,
            history_window_bytes: options.history_window_bytes,
            identity_key: options.identity_key,
            clock: options.clock,
        })
    }

    /// Its endpoints, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its endpoints, each as it is called.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Known after the first answer.
    pub(super) fn id(&self) -> Option<u64> {
        self.id.get().copied()
    }

    pub(super) const fn max_message_len(&self) -> usize {
        self.max_message_len
    }

    /// A key that may be read whatever else may not.
    pub(super) const fn identity_key(&self) -> &ObjectKey {
        &self.identity_key
    }

    pub(super) const fn history_window_bytes(&self) -> usize {
        self.history_window_bytes
    }

    pub(super) fn deadline(&self, options: &CallOptions) -> Tick {
        let limit = self.clock.now() + self.timeout;
        options.deadline.map_or(limit, |own| own.min(limit))
    }

    /// For what may take long: the caller's deadline, or this limit.
    pub(super) fn long_deadline(&self, options: &CallOptions, limit: Duration) -> Tick {
        options.deadline.unwrap_or_else(|| self.clock.now() + limit)
    }

    pub(super) fn has_time(&self, deadline: Tick) -> bool {
        self.clock.now() < deadline
    }

    /// An error of this cluster.
    pub(super) fn fault(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).with_provider(format!("etcd {}", self.name))
    }

    /// Waits for `work`, until the deadline at the longest.
    pub(super) async fn within<T>(
        &self,
        deadline: Tick,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        kms_core::within(&*self.clock, deadline, work).await
    }

    /// Lets the member that answered last try, then the others, and all again until the deadline.
    pub(super) async fn call<R, F>(
        &self,
        call: Call<'_>,
        attempt: impl Fn(Line) -> F,
    ) -> Result<R, Failed>
    where
        R: Answer,
        F: Future<Output = Result<R, Status>>,
    {
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let first = self.preferred.load(Ordering::Relaxed);
            let members = self.members.iter().enumerate().cycle();
            for (index, member) in members.skip(first).take(self.members.len()) {
                if !self.has_time(call.deadline) {
                    return Err(self.too_late(call, last, Class::NotDone));
                }
                let failed = match self.try_member(member, call, &attempt).await {
                    Tried::Answered(answer) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Tried::Late(class) => return Err(self.too_late(call, last, class)),
                    Tried::Failed(failed) => failed,
                };
                match (failed.class, call.repeat) {
                    (Class::Unsettled, Repeat::IfNotDone) => return Err(failed),
                    (Class::NotDone | Class::Unsettled, _) => last = Some(failed),
                    _ => return Err(failed),
                }
            }
            if call.repeat == Repeat::OneRound {
                return Err(self.too_late(call, last, Class::Unsettled));
            }
            self.pause(&mut pause, call.deadline).await;
        }
    }

    /// Lets the member at this endpoint try, once and no other.
    pub(super) async fn call_member<R, F>(
        &self,
        endpoint: &str,
        call: Call<'_>,
        attempt: impl Fn(Line) -> F,
    ) -> Result<R, Failed>
    where
        R: Answer,
        F: Future<Output = Result<R, Status>>,
    {
        let member = self.members.iter().find(|member| member.name == endpoint);
        let member = member.ok_or_else(|| Failed {
            error: self
                .fault(
                    ErrorKind::InvalidInput,
                    format!("no endpoint is {endpoint}"),
                )
                .with_remedy("name one of the endpoints that were given to connect to"),
            class: Class::Refused,
        })?;
        match self.try_member(member, call, &attempt).await {
            Tried::Answered(answer) => Ok(answer),
            Tried::Failed(failed) => Err(failed),
            Tried::Late(class) => Err(self.too_late(call, None, class)),
        }
    }

    async fn try_member<R, F>(
        &self,
        member: &Member,
        call: Call<'_>,
        attempt: &impl Fn(Line) -> F,
    ) -> Tried<R>
    where
        R: Answer,
        F: Future<Output = Result<R, Status>>,
    {
        if call.repeat.asks_who_it_is() && !member.is_known.load(Ordering::Relaxed) {
            let greet = |line| self.greet(line);
            match self.within(call.deadline, self.ask(member, &greet)).await {
                None => return Tried::Late(Class::NotDone),
                Some(Ok(answer)) => {
                    if let Err(failed) = self.check(member, &answer) {
                        return Tried::Failed(failed);
                    }
                }
                Some(Err(status)) => {
                    let mut failed = self.failed(&status, call, member);
                    // What was called for has not been sent.
                    if failed.class == Class::Unsettled {
                        failed.class = Class::NotDone;
                    }
                    return Tried::Failed(failed);
                }
            }
        }
        match self.within(call.deadline, self.ask(member, attempt)).await {
            None => Tried::Late(Class::Unsettled),
            Some(Err(status)) => Tried::Failed(self.failed(&status, call, member)),
            Some(Ok(answer)) => match self.check(member, &answer) {
                Ok(()) => Tried::Answered(answer),
                Err(failed) => Tried::Failed(failed),
            },
        }
    }

    /// Asks a member who it is.
    pub(super) async fn greet(&self, line: Line) -> Result<RangeResponse, Status> {
        let request = line.request(RangeRequest {
            key: self.identity_key.as_bytes().to_vec(),
            keys_only: true,
            ..RangeRequest::default()
        });
        Ok(line.kv().range(request).await?.into_inner())
    }

    fn failed(&self, status: &Status, call: Call<'_>, member: &Member) -> Failed {
        Failed {
            error: status::error(status, call.what, &member.name)
                .with_provider(format!("etcd {}", self.name)),
            class: status::class(status),
        }
    }

    /// Waits a little, then longer each time, but not beyond the deadline.
    pub(super) async fn pause(&self, pause: &mut Duration, deadline: Tick) {
        let until = (self.clock.now() + *pause).min(deadline);
        self.clock.sleep_until(until).await;
        *pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// One request to one member, and once more with a new token if the old one has run out.
    async fn ask<R, F>(&self, member: &Member, attempt: &impl Fn(Line) -> F) -> Result<R, Status>
    where
        F: Future<Output = Result<R, Status>>,
    {
        let mut refused = None;
        loop {
            let token = match &self.login {
                Some(login) => login.token(&member.channel, refused.as_ref()).await?,
                None => Token::default(),
            };
            let outcome = attempt(Line {
                channel: member.channel.clone(),
                token: token.clone(),
                max_message_len: self.max_message_len,
            })
            .await;
            match outcome {
                Err(status)
                    if self.login.is_some()
                        && refused.is_none()
                        && status::class(&status) == Class::Stale =>
                {
                    refused = Some(token);
                }
                outcome => return outcome,
            }
        }
    }

    /// A stream that was begun and broke.
    pub(super) fn broken(&self, status: &Status, what: &str) -> Error {
        status::error(status, what, &self.name).with_provider(format!("etcd {}", self.name))
    }

    /// Half of one cluster and half of another would be worse than nothing.
    fn check(&self, member: &Member, answer: &impl Answer) -> Result<(), Failed> {
        let fault = match answer.header() {
            None if answer.may_lack_header() => return Ok(()),
            None => format!("{}: an answer without a header", member.name),
            Some(header) => {
                let id = *self.id.get_or_init(|| header.cluster_id);
                if header.cluster_id == id {
                    member.is_known.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                format!(
                    "{} is of the cluster {:016x}, and not of {id:016x} as before",
                    member.name, header.cluster_id
                )
            }
        };
        Err(Failed {
            error: self
                .fault(ErrorKind::Protocol, fault)
                .with_remedy("give endpoints of one cluster only; begin again if it was restored"),
            class: Class::Refused,
        })
    }

    /// No member answered. The last fault says more than that time is over.
    fn too_late(&self, call: Call<'_>, last: Option<Failed>, class: Class) -> Failed {
        let error = last.map_or_else(
            || {
                let message = format!("{}: no answer in time", call.what);
                self.fault(ErrorKind::DeadlineExceeded, message)
            },
            |failed| failed.error,
        );
        Failed { error, class }
    }
}
