//! Spans around calls. The table of them is in the documentation of the crate.

use kms_core::{CallOptions, Error};
use tracing::{Instrument as _, Span};

/// The longest request id that is handed on, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Does the work within the span, and notes in its field `outcome` how that ended.
pub(crate) async fn traced<T>(
    span: &Span,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let outcome = work.instrument(span.clone()).await;
    span.record(
        "outcome",
        match &outcome {
            Ok(_) => "ok",
            Err(error) => error.kind().as_str(),
        },
    );
    outcome
}

/// The caller's request id, if it is fit for a header and a log line.
pub(crate) fn request_id(call: &CallOptions) -> Option<&str> {
    call.request_id.as_deref().filter(|id| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    })
}
