//! The listeners: sockets, TLS, HTTP/1.1, and which room a request goes to.

use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::admin;
use super::call::Call;
use super::dispatch::{REGION, Served, serve};
use super::entra::{managed_identity, token, uuid};
use super::fault::Fault;
use super::refusal::Refusal;
use super::state::Shared;
use crate::loopback::accept;
use crate::loopback::wire::{Body, Cut, empty, json, proxy_error, set, truncated};

/// Larger requests are refused.
const MAX_BODY: usize = 1024 * 1024;

/// Serves vaults and tokens until it is dropped; its connections end with it.
pub(super) async fn listen(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    accept(listener, |stream| {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        async move {
            // Who cannot shake hands is not served, and nobody is there to be told.
            if let Ok(stream) = acceptor.accept(stream).await {
                connection(stream, shared, Door::Https).await;
            }
        }
    })
    .await;
}

/// Serves a machine's metadata, which is plain HTTP, until it is dropped.
pub(super) async fn listen_metadata(listener: TcpListener, shared: Arc<Shared>) {
    accept(listener, |stream| {
        connection(stream, Arc::clone(&shared), Door::Metadata)
    })
    .await;
}

#[derive(Clone, Copy)]
enum Door {
    Https,
    Metadata,
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
    door: Door,
) {
    let service = service_fn(move |request| respond(Arc::clone(&shared), door, request));
    // A client may go away at any time; nobody is there to be told.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    shared: Arc<Shared>,
    door: Door,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        let refusal = Refusal::bad_parameter("The request body is too large.");
        return Ok(json(413, HeaderMap::new(), &refusal.body()));
    };
    let call = Call::new(parts, body.to_bytes().to_vec());
    if matches!(door, Door::Metadata) {
        return managed_identity(&shared, &call).await;
    }
    if call.host_name() == shared.names.login_host() {
        return token(&shared, &call).await;
    }
    if call.host_name() == shared.names.admin_host() {
        let (status, body) = admin::answer(&shared, &call);
        return Ok(json(status, HeaderMap::new(), &body));
    }
    let Some(desk) = shared.stores.get(call.host_name()).map(Arc::clone) else {
        return Ok(json(404, HeaderMap::new(), &Refusal::no_route().body()));
    };
    let headers = service_headers(&shared, &call);
    let served = serve(&shared, &desk, call).await;
    send(served, headers).await
}

/// The answer of a store as it goes out, with whatever is to happen to it.
async fn send(served: Served, mut headers: HeaderMap) -> Result<Response<Body>, Cut> {
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
        set(&mut headers, "www-authenticate", &challenge);
    }
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
            if let Some(after) = refusal.retry_after {
                set(&mut headers, "retry-after", &after.as_secs().to_string());
            }
            json(refusal.status, headers, &refusal.body())
        }
    })
}

/// Makes an answer name another version than the one that was used.
fn with_wrong_kid(mut body: Value) -> Value {
    let place = if body.get("kid").is_some() {
        body.get_mut("kid")
    } else {
        body.pointer_mut("/key/kid")
    };
    if let Some(kid) = place
        && let Some((head, _)) = kid.as_str().and_then(|kid| kid.rsplit_once('/'))
    {
        *kid = format!("{head}/{:032x}", u128::MAX).into();
    }
    body
}

/// What the service puts on every answer.
fn service_headers(shared: &Shared, call: &Call) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("x-content-type-options", "nosniff"),
        (
            "strict-transport-security",
            "max-age=31536000;includeSubDomains",
        ),
        ("x-ms-keyvault-region", REGION),
        ("x-ms-keyvault-service-version", "1.9.2500.1"),
        (
            "x-ms-keyvault-network-info",
            "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
        ),
    ] {
        set(&mut headers, name, value);
    }
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
