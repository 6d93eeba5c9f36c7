//! The listener: TLS, HTTP/1.1, and answers as bytes on the wire.

use core::convert::Infallible;
use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::access::Kind;
use super::call::Call;
use super::dispatch::{REGION, Served, serve, with_wrong_kid};
use super::entra::uuid;
use super::entra::{TokenService, answer};
use super::fault::Fault;
use super::operation::Operation;
use super::refusal::Refusal;
use super::state::Shared;

/// Larger requests are refused.
const MAX_BODY: usize = 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, Cut>;

/// The connection ends here, on purpose.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl core::error::Error for Cut {}

/// Accepts until it is dropped; its connections end with it.
pub(super) async fn listen(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that is gone already, or no more descriptors: the next one may do.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    // A client may go away at any time; nobody is there to be told.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(json(
            413,
            HeaderMap::new(),
            &Refusal::bad_parameter("too large").body(),
        ));
    };
    let call = Call::new(parts, body.to_bytes().to_vec());
    if call.host_name() == shared.names.login_host() {
        return token(&shared, &call).await;
    }
    let Some(desk) = shared.stores.get(call.host_name()).map(Arc::clone) else {
        return Ok(json(404, HeaderMap::new(), &Refusal::no_route().body()));
    };
    let mut headers = service_headers(&shared, &call);
    let served = serve(&shared, &desk, call).await;
    wire(served, &mut headers).await
}

/// The answer of a store as it goes out, with whatever is to happen to it.
async fn wire(served: Served, headers: &mut HeaderMap) -> Result<Response<Body>, Cut> {
    let Served {
        result,
        fault,
        challenge,
    } = served;
    match fault {
        Some(Fault::Drop) => return Err(Cut),
        Some(Fault::Hang) => core::future::pending().await,
        Some(Fault::ProxyStatus(status)) => return Ok(proxy_error(status)),
        _ => {}
    }
    if let Some(challenge) = challenge {
        set(headers, "www-authenticate", &challenge);
    }
    let headers = core::mem::take(headers);
    Ok(match result {
        Ok(answer) => match (answer.body, fault) {
            (Some(body), Some(Fault::WrongKid)) => {
                json(answer.status, headers, &with_wrong_kid(body))
            }
            (Some(body), Some(Fault::Truncated)) => truncated(answer.status, headers, &body),
            (Some(body), _) => json(answer.status, headers, &body),
            (None, _) => empty(answer.status, headers),
        },
        Err(refusal) => {
            let mut headers = headers;
            if let Some(after) = refusal.retry_after {
                set(&mut headers, "retry-after", &after.as_secs().to_string());
            }
            json(refusal.status, headers, &refusal.body())
        }
    })
}

async fn token(shared: &Shared, call: &Call) -> Result<Response<Body>, Cut> {
    let is_token = call.path.ends_with("/token");
    let fault = if is_token {
        let mut entra = shared.entra();
        entra.calls = entra.calls.saturating_add(1);
        entra.faults.next(Operation::Token)
    } else {
        None
    };
    match fault {
        Some(Fault::Drop) => return Err(Cut),
        Some(Fault::Hang) => core::future::pending().await,
        Some(Fault::ProxyStatus(status)) => return Ok(proxy_error(status)),
        Some(Fault::Throttled { retry_after }) => return Ok(slow_down(retry_after)),
        Some(Fault::Status(status)) => {
            let body = serde_json::json!({
                "error": "temporarily_unavailable",
                "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
                "error_codes": [90033],
            });
            return Ok(json(status, HeaderMap::new(), &body));
        }
        Some(Fault::Slow(by)) => shared.clock.sleep_until(shared.clock.now() + by).await,
        _ => {}
    }
    let (status, body) = {
        let entra = shared.entra();
        let resources = [
            shared.names.zone(Kind::KeyVault),
            shared.names.zone(Kind::ManagedHsm),
            // A resource whose tokens no vault takes.
            "management.azure.com".to_owned(),
        ];
        let service = TokenService {
            directory: &entra.directory,
            tenants: &entra.tenants,
            resources: &resources,
            key: &shared.token_key,
            cluster_key: &shared.cluster_key,
            lifetime: shared.token_lifetime,
            now: shared.now(),
        };
        answer(&service, call)
    };
    Ok(match fault {
        Some(Fault::Truncated) => truncated(status, HeaderMap::new(), &body),
        _ => json(status, HeaderMap::new(), &body),
    })
}

fn slow_down(retry_after: Option<Duration>) -> Response<Body> {
    let mut headers = HeaderMap::new();
    if let Some(after) = retry_after {
        set(&mut headers, "retry-after", &after.as_secs().to_string());
    }
    let body = serde_json::json!({
        "error": "temporarily_unavailable",
        "error_description": "AADSTS90055: Tenant throttled due to too many requests.",
        "error_codes": [90055],
    });
    json(429, headers, &body)
}

/// What the service puts on every answer.
fn service_headers(shared: &Shared, call: &Call) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, "cache-control", "no-cache");
    set(&mut headers, "pragma", "no-cache");
    set(&mut headers, "x-content-type-options", "nosniff");
    set(
        &mut headers,
        "strict-transport-security",
        "max-age=31536000;includeSubDomains",
    );
    set(&mut headers, "x-ms-keyvault-region", REGION);
    set(&mut headers, "x-ms-keyvault-service-version", "1.9.2500.1");
    set(
        &mut headers,
        "x-ms-keyvault-network-info",
        "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
    );
    set(&mut headers, "x-ms-request-id", &uuid().unwrap_or_default());
    if let Some(id) = call.header("x-ms-client-request-id") {
        set(&mut headers, "x-ms-client-request-id", id);
    }
    if let Ok(now) = Timestamp::try_from(shared.clock.wall_time()) {
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        set(&mut headers, "date", &date);
    }
    headers
}

/// A value that cannot be a header is left out.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn json(status: u16, mut headers: HeaderMap, body: &Value) -> Response<Body> {
    set(
        &mut headers,
        "content-type",
        "application/json; charset=utf-8",
    );
    response(status, headers, full(body.to_string()))
}

fn empty(status: u16, headers: HeaderMap) -> Response<Body> {
    response(status, headers, full(String::new()))
}

/// As a proxy in between answers, which knows nothing of JSON.
fn proxy_error(status: u16) -> Response<Body> {
    let mut headers = HeaderMap::new();
    set(&mut headers, "content-type", "text/html");
    let text = format!("<html><body><h1>{status}</h1>upstream error</body></html>\n");
    response(status, headers, full(text))
}

/// Promises the whole body and ends in its middle.
fn truncated(status: u16, mut headers: HeaderMap, body: &Value) -> Response<Body> {
    let mut text = body.to_string().into_bytes();
    set(
        &mut headers,
        "content-type",
        "application/json; charset=utf-8",
    );
    set(&mut headers, "content-length", &text.len().to_string());
    text.truncate(text.len() / 2);
    let parts = [Ok(Frame::data(Bytes::from(text))), Err(Cut)];
    let body = StreamBody::new(stream::iter(parts)).boxed_unsync();
    response(status, headers, body)
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

fn response(status: u16, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}
