//! The connection to a plugin: made late, waited for, made again.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use kms_core::text::one_line;
use kms_core::{
    CallOptions, Clock, EncryptionContext, Error, ErrorKind, OsRandom, SecretBytes, SecureRandom,
    TokioClock,
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tower::Service;

use crate::grpc::{Api, Operation, error_from};
use crate::socket::SocketAddress;

/// The longest plaintext that a plugin may return, in bytes. Seeds and DEKs have 32.
const MAX_UNWRAPPED_LEN: usize = 4096;
/// The first pause before a failed connection is tried again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a socket may be missing, or closed to us, before that is the answer: a plugin that is
/// restarted removes its socket and makes it again, and sets its mode and owner after that.
const ABSENCE_LIMIT: Duration = Duration::from_millis(500);
/// The most of a transport's error text that is kept, in bytes.
const MAX_FAULT_LEN: usize = 256;

/// How a client calls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The longest that one call may take, from the first attempt to connect. 3 s, which is
    /// kube-apiserver's default. A deadline in the call's own options may shorten it.
    pub timeout: Duration,
    /// The longest DEK to wrap, in bytes. A plugin does not tell its own limit; 190 is what
    /// RSA-OAEP-256 under a 2048-bit key takes, the least of the usual ones.
    pub max_plaintext_len: usize,
    /// The clock that callers' deadlines are ticks of.
    pub clock: Arc<dyn Clock>,
    /// Where the ids of calls come from.
    pub random: Arc<dyn SecureRandom>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            max_plaintext_len: 190,
            clock: Arc::new(TokioClock::new()),
            random: Arc::new(OsRandom),
        }
    }
}

impl ClientOptions {
    /// Sets the longest that one call may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest DEK to wrap, in bytes.
    #[must_use]
    pub const fn with_max_plaintext_len(mut self, bytes: usize) -> Self {
        self.max_plaintext_len = bytes;
        self
    }

    /// Sets the clock that callers' deadlines are ticks of.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where the ids of calls come from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }
}

/// A lazy connection to one socket, and the rules of a call over it.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddress,
    api: Api,
    options: ClientOptions,
    channel: PluginChannel,
}

impl Link {
    pub(super) fn new(address: SocketAddress, api: Api, options: ClientOptions) -> Self {
        let path = address.to_connect_path();
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority that kube-apiserver 1.32 and later sends, and that every server accepts.
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            address,
            api,
            options,
            channel: PluginChannel(channel),
        }
    }

    pub(super) const fn address(&self) -> &SocketAddress {
        &self.address
    }

    pub(super) const fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(super) fn channel(&self) -> PluginChannel {
        self.channel.clone()
    }

    /// Says whose error it is.
    pub(super) fn name(&self, error: Error) -> Error {
        error.with_provider(self.address.to_string())
    }

    /// Makes one call, `attempt`, with as many attempts as transport needs, within the deadline.
    pub(super) async fn call<M, R, F>(
        &self,
        operation: Operation,
        options: &CallOptions,
        message: impl Fn() -> M,
        attempt: impl Fn(Request<M>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let clock = &*self.options.clock;
        let limit = clock.now() + self.options.timeout;
        let deadline = options.deadline.map_or(limit, |own| own.min(limit));
        let mut fault = None;
        let mut absent_since = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Err(self.name(too_late(operation, fault)));
            }
            let mut request = Request::new(message());
            request.set_timeout(left);
            let outcome = tokio::select! {
                biased;
                outcome = attempt(request) => outcome,
                () = clock.sleep_until(deadline) => {
                    return Err(self.name(too_late(operation, fault)));
                }
            };
            match outcome {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => match transport_fault(&status) {
                    Some(Unreachable::TimedOut) => {}
                    Some(Unreachable::Broken(text)) => {
                        fault = Some(text);
                        absent_since = None;
                    }
                    Some(Unreachable::Absent(why, text)) => {
                        let now = clock.now();
                        let since = *absent_since.get_or_insert(now);
                        if now.since(since) >= ABSENCE_LIMIT {
                            return Err(self.name(absent(operation, why, &text)));
                        }
                        fault = Some(text);
                    }
                    None => return Err(self.name(error_from(&status, operation, self.api))),
                },
            }
            clock.sleep_until((clock.now() + pause).min(deadline)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Checks what is about to be wrapped.
    pub(super) fn check_plaintext(
        &self,
        dek: &SecretBytes,
        context: &EncryptionContext,
    ) -> Result<(), Error> {
        self.check_context(context)?;
        let limit = self.options.max_plaintext_len;
        let fault = match dek.len() {
            0 => "the DEK is empty".to_owned(),
            length if length > limit => {
                format!("the DEK of {length} bytes is over the limit of {limit}")
            }
            _ => return Ok(()),
        };
        Err(self.name(Error::new(ErrorKind::InvalidInput, fault)))
    }

    /// The API carries no context.
    pub(super) fn check_context(&self, context: &EncryptionContext) -> Result<(), Error> {
        if context.is_empty() {
            return Ok(());
        }
        Err(self.name(Error::new(
            ErrorKind::Unsupported,
            "the KMS API carries no encryption context",
        )))
    }

    /// Takes a plaintext that the plugin returned.
    pub(super) fn take_plaintext(&self, plaintext: Vec<u8>) -> Result<SecretBytes, Error> {
        let secret = SecretBytes::from_vec(plaintext);
        match secret.len() {
            0 => Err(self.broken("its plaintext is empty")),
            1..=MAX_UNWRAPPED_LEN => Ok(secret),
            length => Err(self.broken(format!(
                "its plaintext of {length} bytes is over the limit of {MAX_UNWRAPPED_LEN}"
            ))),
        }
    }

    /// The plugin's answer breaks the protocol.
    pub(super) fn broken(&self, how: impl fmt::Display) -> Error {
        self.name(Error::new(
            ErrorKind::Protocol,
            format!("the plugin's answer is refused: {how}"),
        ))
    }
}

fn absent(operation: Operation, why: Absence, text: &str) -> Error {
    let message = format!(
        "{}: no connection to the plugin: {text}",
        operation.as_str()
    );
    match why {
        Absence::Missing => Error::new(ErrorKind::Unavailable, message)
            .with_remedy("check that the plugin runs, and that it listens at this path"),
        Absence::Denied => Error::new(ErrorKind::PermissionDenied, message).with_remedy(
            "run this as a user who may use the socket, or let the plugin give the socket another \
             mode or owner",
        ),
    }
}

fn too_late(operation: Operation, fault: Option<String>) -> Error {
    let operation = operation.as_str();
    match fault {
        Some(fault) => Error::new(
            ErrorKind::Unavailable,
            format!("{operation}: no connection to the plugin: {fault}"),
        )
        .with_remedy("check that the plugin runs, and that its socket is there and may be used"),
        None => Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{operation}: no answer in time"),
        ),
    }
}

/// What went wrong on the way, if the status was made here; what the plugin sent has no source.
fn transport_fault(status: &Status) -> Option<Unreachable> {
    let source = core::error::Error::source(status)?;
    Some(match source.downcast_ref::<Unreachable>() {
        Some(fault) => fault.clone(),
        None => Unreachable::from(source),
    })
}

/// A channel whose own errors can be told from the plugin's answers.
#[derive(Clone, Debug)]
pub(super) struct PluginChannel(Channel);

/// The call did not reach the plugin, or its answer did not reach us.
#[derive(Clone, Debug)]
pub(super) enum Unreachable {
    /// The channel's own timer, which runs beside ours, was first.
    TimedOut,
    /// The socket cannot be connected to as things are, whatever the plugin does.
    Absent(Absence, String),
    /// Anything else, in one line.
    Broken(String),
}

/// Why the operating system does not let us at a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absence {
    /// There is no such file (`ENOENT`).
    Missing,
    /// We may not use it, or not reach its directory (`EACCES`, `EPERM`).
    Denied,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Absent(_, text) | Self::Broken(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Unreachable {}

impl From<&(dyn core::error::Error + 'static)> for Unreachable {
    fn from(error: &(dyn core::error::Error + 'static)) -> Self {
        // The innermost cause is the telling one: "No such file or directory".
        let mut cause = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        if cause.is::<tonic::TimeoutExpired>() {
            return Self::TimedOut;
        }
        let text = one_line(&cause.to_string(), MAX_FAULT_LEN);
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => Self::Absent(Absence::Missing, text),
            Some(io::ErrorKind::PermissionDenied) => Self::Absent(Absence::Denied, text),
            _ => Self::Broken(text),
        }
    }
}

impl From<tonic::transport::Error> for Unreachable {
    fn from(error: tonic::transport::Error) -> Self {
        Self::from(&error as &(dyn core::error::Error + 'static))
    }
}

impl Service<http::Request<tonic::body::Body>> for PluginChannel {
    type Response = http::Response<tonic::body::Body>;
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unreachable>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        self.0.poll_ready(context).map_err(Unreachable::from)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map_err(Unreachable::from) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_of_a_socket_is_told_apart() {
        let read = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            Unreachable::from(&error as &(dyn core::error::Error + 'static))
        };
        let kind = |fault| match fault {
            Unreachable::Absent(why, text) => {
                let error = absent(Operation::Describe, why, &text);
                assert!(error.message().contains(&text), "{error}");
                Some(error.kind())
            }
            _ => None,
        };
        // ENOENT, EACCES, EPERM.
        assert_eq!(kind(read(2)), Some(ErrorKind::Unavailable));
        assert_eq!(kind(read(13)), Some(ErrorKind::PermissionDenied));
        assert_eq!(kind(read(1)), Some(ErrorKind::PermissionDenied));
        // ECONNRESET or the like: it is there.
        assert_eq!(kind(read(104)), None);
    }
}
