//! Answers as bytes on the wire, whole or not.

use core::convert::Infallible;
use core::fmt;

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::Value;

pub(crate) type Body = UnsyncBoxBody<Bytes, Cut>;

/// The connection ends here, on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut on purpose")
    }
}

impl core::error::Error for Cut {}

/// A value that cannot be a header is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

pub(crate) fn json(status: u16, mut headers: HeaderMap, body: &Value) -> Response<Body> {
    set(
        &mut headers,
        "content-type",
        "application/json; charset=utf-8",
    );
    response(status, headers, full(body.to_string()))
}

#[cfg(feature = "vault")]
pub(crate) fn empty(status: u16, headers: HeaderMap) -> Response<Body> {
    response(status, headers, full(String::new()))
}

/// As a proxy in between answers, which knows nothing of JSON.
pub(crate) fn proxy_error(status: u16) -> Response<Body> {
    let mut headers = HeaderMap::new();
    set(&mut headers, "content-type", "text/html");
    let text = format!("<html><body><h1>{status}</h1>upstream error</body></html>\n");
    response(status, headers, full(text))
}

/// Promises the whole body and ends in its middle.
pub(crate) fn truncated(status: u16, mut headers: HeaderMap, body: &Value) -> Response<Body> {
    let mut text = body.to_string().into_bytes();
    set(
        &mut headers,
        "content-type",
        "application/json; charset=utf-8",
    );
    set(&mut headers, "content-length", &text.len().to_string());
    text.truncate(text.len() / 2);
    let half = stream::once(async { Ok(Frame::data(Bytes::from(text))) });
    let end = stream::once(async {
        // What came before is sent only while its successor is waited for.
        tokio::task::yield_now().await;
        Err(Cut)
    });
    let body = StreamBody::new(half.chain(end)).boxed_unsync();
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
