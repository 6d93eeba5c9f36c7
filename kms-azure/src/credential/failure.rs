//! Why there is no token.

use azure_core::error::ErrorKind as SdkKind;
use azure_core::http::RawResponse;
use kms_core::{Error, ErrorKind};
use serde::Deserialize;

use super::identity::{Identity, Kind};
use crate::error::{find, readable, retry_after};
use crate::transport::NameNotResolved;

/// What a token service says when it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
    error_codes: Vec<i64>,
}

/// What the SDK could not do for this identity. Its own error is not kept: it may hold answers.
pub(super) fn from_sdk(error: &azure_core::Error, identity: &Identity) -> Error {
    if let Some(ours) = find::<Error>(error) {
        return ours.clone();
    }
    if let Some((status, response)) = answer(error) {
        return refused(status, response, identity);
    }
    let no_token = |kind, why: &str| Error::new(kind, format!("no token for {identity}: {why}"));
    if find::<NameNotResolved>(error).is_some() {
        return no_token(
            ErrorKind::Unavailable,
            "the token service's name has no address",
        )
        .with_remedy("check DNS and the authority");
    }
    match innermost_kind(error) {
        SdkKind::Connection | SdkKind::Io if is_local(identity) => {
            // Files and programs of this machine.
            no_token(ErrorKind::Unauthenticated, &readable(&error.to_string()))
                .with_remedy(remedy_of(identity))
        }
        SdkKind::Connection | SdkKind::Io => no_token(
            ErrorKind::Unavailable,
            "the token service cannot be reached",
        )
        .with_remedy("check network, proxy and firewall to the token service"),
        // The SDK's text could quote what it cannot read; and of what is no JSON, such as a proxy's
        // 503, it does not tell the status.
        SdkKind::DataConversion => no_token(
            ErrorKind::Unavailable,
            "the token service's answer cannot be read",
        )
        .with_remedy("wait; if it lasts, check what answers as the token service"),
        _ => no_token(ErrorKind::Unauthenticated, &readable(&error.to_string()))
            .with_remedy(remedy_of(identity)),
    }
}

/// Whether this identity takes its token from this machine alone.
const fn is_local(identity: &Identity) -> bool {
    matches!(identity.0, Kind::AzureCli { .. })
}

/// The first answer in the chain of causes.
fn answer(error: &azure_core::Error) -> Option<(u16, Option<&RawResponse>)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let SdkKind::HttpResponse {
            status,
            raw_response,
            ..
        } = error.kind()
        {
            return Some((u16::from(*status), raw_response.as_deref()));
        }
        next = inner(error);
    }
    None
}

fn innermost_kind(error: &azure_core::Error) -> &SdkKind {
    let mut last = error;
    while let Some(error) = inner(last) {
        last = error;
    }
    last.kind()
}

fn inner(error: &azure_core::Error) -> Option<&azure_core::Error> {
    core::error::Error::source(error)?.downcast_ref()
}

fn refused(status: u16, response: Option<&RawResponse>, identity: &Identity) -> Error {
    let refusal: Refusal = response
        .and_then(|response| serde_json::from_slice(response.body()).ok())
        .unwrap_or_default();
    let kind = match status {
        429 => ErrorKind::Throttled,
        408 | 500..=599 => ErrorKind::Unavailable,
        // The metadata service, while it is being updated.
        404 | 410 if matches!(identity.0, Kind::Managed(_)) => ErrorKind::Unavailable,
        _ => ErrorKind::Unauthenticated,
    };
    let said = refusal.error_description.or(refusal.error);
    let said = said.as_deref().map(readable).unwrap_or_default();
    let message = format!("no token for {identity}: the token service answers {status} {said}");
    let error = Error::new(kind, message.trim_end());
    let error = match kind {
        ErrorKind::Unauthenticated => {
            let known = refusal.error_codes.iter().find_map(|code| remedy_for(*code));
            error.with_remedy(known.unwrap_or_else(|| remedy_of(identity)))
        }
        ErrorKind::Throttled => error.with_remedy(
            "wait; many restarts at once make many token requests: share one identity's machines out",
        ),
        _ => error,
    };
    match response.and_then(retry_after) {
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

/// For the commonest codes of Entra ID.
const fn remedy_for(code: i64) -> Option<&'static str> {
    Some(match code {
        7_000_215 => "the client secret is wrong: give its value, not its id",
        7_000_222 => "the client secret has expired: make a new one and put it in its place",
        700_016 => "the client id is not known in this tenant: check both",
        90_002 => "the tenant does not exist in this cloud: check tenant and authority",
        700_024 => "the assertion is not within its time: check this machine's clock",
        700_027 => "the certificate is not registered with the application, or has expired",
        70_021 | 700_211 | 700_212 | 700_213 => {
            "no federated credential matches: its issuer, subject and audience must be those of \
             the service account (`az identity federated-credential list`)"
        }
        500_011 => "the vault's cloud is another than the token service's: check the authority",
        _ => return None,
    })
}

const fn remedy_of(identity: &Identity) -> &'static str {
    match identity.0 {
        Kind::Managed(_) => {
            "check that this user-assigned identity is assigned to this machine: `az vm identity \
             show`, `az vmss identity show`"
        }
        Kind::Workload { .. } => {
            "check that the token file is mounted and that the service account is federated with \
             this client"
        }
        Kind::Secret { .. } | Kind::Certificate { .. } => {
            "check tenant, client id and the secret or certificate"
        }
        Kind::AzureCli { .. } => "sign in: `az login`",
    }
}
