//! Metrics and health over HTTP, for whoever watches a server.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kms::Failure;
use kms_core::layer::Metered;
use kms_plugin::health::PluginHealth;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time; more wait. A scraper needs one.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may take in all, whatever comes on it.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a connection that could not be taken, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often what was measured is put into its buckets, if nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);
/// In seconds: from a wrap in memory to kube-apiserver's patience and beyond.
const BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 3.0, 10.0,
];

/// Where metrics and health are told.
pub(crate) struct Watchpoint {
    listener: TcpListener,
    metrics: PrometheusHandle,
}

impl Watchpoint {
    /// Listens, and makes all metrics of this process go here: once in its life.
    ///
    /// Nobody has to log in, so other machines are let in only if that is said.
    pub(crate) async fn bind(address: SocketAddr, lets_others_in: bool) -> Result<Self, Failure> {
        if !lets_others_in && !address.ip().is_loopback() {
            return Err(Failure::usage(
                format!("--metrics-listen {address} is open to other machines"),
                "give an address of this machine such as 127.0.0.1:9464, or --metrics-remote too",
            ));
        }
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::io(format!("listening on {address} for metrics"), error))?;
        let defect = |error: metrics_exporter_prometheus::BuildError| {
            Failure::new("internal", error.to_string(), "report this as a defect")
        };
        let duration = Matcher::Full(Metered::<()>::DURATION.to_owned());
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(duration, &BUCKETS)
            .map_err(defect)?
            .install_recorder()
            .map_err(defect)?;
        Ok(Self { listener, metrics })
    }

    /// Where it listens, whichever port was free.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, health: impl Fn() -> PluginHealth + Clone + Send + 'static) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let metrics = self.metrics.clone();
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        };
        let connections = async {
            loop {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let connection =
                            connection(stream, place, self.metrics.clone(), health.clone());
                        tokio::spawn(connection);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot take a connection for metrics");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::join!(upkeep, connections);
    }
}

async fn connection(
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
    metrics: PrometheusHandle,
    health: impl Fn() -> PluginHealth + Send,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &metrics, &health());
        core::future::ready(Ok::<_, core::convert::Infallible>(answer))
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Who speaks no HTTP, or too slowly, is no concern of ours.
    let _ = tokio::time::timeout(PATIENCE, served).await;
}

fn answer(
    method: &Method,
    path: &str,
    metrics: &PrometheusHandle,
    health: &PluginHealth,
) -> Response<Full<Bytes>> {
    let verdict = |is_well: bool| match is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let (status, text) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, metrics.render()),
        "/livez" => (verdict(health.live), format!("{health}\n")),
        "/readyz" => (verdict(health.is_ready()), format!("{health}\n")),
        _ => (
            StatusCode::NOT_FOUND,
            "metrics are at /metrics, health is at /livez and /readyz\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
