//! Connections: taken, bounded, served, and let go in good order.

use core::convert::Infallible;
use core::pin::pin;
use core::time::Duration;
use std::io::Cursor;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kms_core::{Error, ErrorKind};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tower::Service as _;

use super::LIFECYCLE;
use super::calls::{Answer, Calls};
use super::engine::Engine;
use super::greeting;
use super::service::{V1Beta1Service, V2Service};
use crate::grpc::status_from;
use crate::proto::MAX_MESSAGE_LEN;
use crate::proto::v1beta1::key_management_service_server::KeyManagementServiceServer as V1Beta1Server;
use crate::proto::v2::key_management_service_server::KeyManagementServiceServer as V2Server;
use crate::socket::Listener;

const MAX_CONNECTIONS: usize = 64;
const MAX_STREAMS: u32 = 128;
const MAX_HEADER_LIST_LEN: u32 = 16 * 1024;
/// How long a client may take for its side of the HTTP/2 handshake, from its connection on.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// When the plugin stops, how long a connection without a call is left to its client's good-bye.
const GOODBYE_LIMIT: Duration = Duration::from_millis(100);
/// A peer that is gone without a word is found out after the sum of these.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(10);
/// The pause after the operating system refused a connection, as when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gRPC services, by the path of a request.
#[derive(Clone)]
pub(super) struct Services {
    v2: V2Server<V2Service>,
    v1beta1: Option<V1Beta1Server<V1Beta1Service>>,
    engine: Arc<Engine>,
    /// How long a request may take from its first header to its answer.
    limit: Duration,
}

impl Services {
    pub(super) fn new(v2: V2Service, v1beta1: Option<V1Beta1Service>, limit: Duration) -> Self {
        Self {
            engine: Arc::clone(&v2.engine),
            v2: V2Server::new(v2).max_decoding_message_size(MAX_MESSAGE_LEN),
            v1beta1: v1beta1.map(|service| {
                V1Beta1Server::new(service).max_decoding_message_size(MAX_MESSAGE_LEN)
            }),
            limit,
        }
    }

    /// Answers one request. A path that is nobody's gets `UNIMPLEMENTED` from the v2 service.
    async fn answer(
        self,
        request: http::Request<Incoming>,
        calls: Calls,
    ) -> Result<http::Response<Answer<tonic::body::Body>>, Infallible> {
        let call = calls.begin();
        let Self {
            mut v2,
            v1beta1,
            engine,
            limit,
        } = self;
        let clock = engine.clock();
        let answer = match v1beta1 {
            Some(mut v1beta1) if request.uri().path().starts_with("/v1beta1.") => {
                v1beta1.call(request)
            }
            _ => v2.call(request),
        };
        let answer = tokio::select! {
            biased;
            answer = answer => answer?,
            // The services keep their own, shorter time; this is for a request that trickles in.
            () = clock.sleep_until(clock.now() + limit) => {
                let error = Error::new(ErrorKind::DeadlineExceeded, "the request was not complete in time");
                status_from(&error).into_http()
            }
        };
        Ok(call.until_sent(answer))
    }
}

/// What goes on beside the calls.
pub(super) struct Background {
    pub(super) engine: Arc<Engine>,
    pub(super) retry_interval: Duration,
}

pub(super) async fn run(
    listener: Listener,
    services: &Services,
    background: Background,
    stop_limit: Duration,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    tracing::info!(target: LIFECYCLE, address = %listener.address(), "listening");
    // Both sets abort their tasks when this future is dropped.
    let mut connections = JoinSet::new();
    let mut keeper = JoinSet::new();
    keeper.spawn(keep_up(Arc::clone(&background.engine), None));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let calls = Calls::default();
    let (stop, stopped) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            Some(ended) = keeper.join_next() => {
                report(ended);
                let pause = Some(background.retry_interval);
                keeper.spawn(keep_up(Arc::clone(&background.engine), pause));
            }
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(connection(
                    stream,
                    permit,
                    services.clone(),
                    calls.of_new_connection(),
                    stopped.clone(),
                ));
            }
        }
    }
    tracing::info!(address = %listener.address(), "stopping");
    drop(listener);
    stop.send_replace(true);
    let drained = tokio::time::timeout(stop_limit, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    })
    .await;
    if drained.is_err() {
        let left = calls.in_all();
        connections.shutdown().await;
        if left > 0 {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("{left} calls were in flight when the time to stop was up"),
            ));
        }
    }
    Ok(())
}

/// Keeps the key state true, for ever; begins after `pause`.
async fn keep_up(engine: Arc<Engine>, pause: Option<Duration>) {
    if let Some(pause) = pause {
        let clock = engine.clock();
        clock.sleep_until(clock.now() + pause).await;
    }
    engine.keep_up().await;
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The panic's own text has gone to the panic hook; it is not ours to repeat.
        tracing::error!("a task panicked; the plugin goes on");
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone has stopped too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The next connection, when there is room for it.
async fn accept(
    listener: &Listener,
    permits: &Arc<Semaphore>,
) -> (UnixStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok(stream) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut stream: UnixStream,
    permit: Option<OwnedSemaphorePermit>,
    services: Services,
    calls: Calls,
    mut stopped: watch::Receiver<bool>,
) {
    // The library would wait for ever, and the place would be taken.
    let greeting = tokio::select! {
        biased;
        () = told_to_stop(&mut stopped) => return,
        greeting = tokio::time::timeout(GREETING_LIMIT, greeting::read(&mut stream)) => greeting,
    };
    let Ok(Ok(greeting)) = greeting else {
        tracing::debug!("a client did not begin as HTTP/2 does, or not in time");
        return;
    };
    let (read, write) = stream.into_split();
    let stream = tokio::io::join(Cursor::new(greeting).chain(read), write);
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_LEN)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT);
    let service = service_fn({
        let calls = calls.clone();
        move |request| services.clone().answer(request, calls.clone())
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = told_to_stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                outcome = connection.as_mut() => outcome,
                // It has no call, and its client does not say good-bye.
                () = calls.quiet_for(GOODBYE_LIMIT) => Ok(()),
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended");
    }
    drop(permit);
}
