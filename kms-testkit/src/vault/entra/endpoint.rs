//! The routes of the token service.

use core::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::access_token::{Claims, TokenKey, host_of};
use super::assertion::{self, EXCHANGE_AUDIENCE, Surroundings};
use super::identity::{Directory, Proof, Registered};
use crate::vault::call::Call;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What the token service stands on.
#[derive(Debug)]
pub(in crate::vault) struct TokenService<'a> {
    pub(in crate::vault) directory: &'a Directory,
    pub(in crate::vault) tenants: &'a [String],
    /// Host names of the resources there are tokens for.
    pub(in crate::vault) resources: &'a [String],
    pub(in crate::vault) key: &'a TokenKey,
    pub(in crate::vault) cluster_key: &'a TokenKey,
    pub(in crate::vault) lifetime: Duration,
    /// Seconds since 1970.
    pub(in crate::vault) now: i64,
}

/// Status and JSON.
pub(in crate::vault) type TokenAnswer = (u16, Value);

/// Serves a call to the token service.
pub(in crate::vault) fn answer(service: &TokenService<'_>, call: &Call) -> TokenAnswer {
    let base = format!("https://{}", call.host);
    let segments: Vec<&str> = call.path.split('/').skip(1).collect();
    match (&call.method, segments.as_slice()) {
        (&Method::GET, [_, "discovery", "instance"]) => instance(call, &base),
        (&Method::GET, [tenant, ".well-known", "openid-configuration"])
        | (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
            known(service, tenant, |tenant| (200, openid(&base, tenant)))
        }
        (&Method::GET, [tenant, "discovery", "v2.0", "keys"]) => {
            known(service, tenant, |_| (200, service.key.jwks()))
        }
        (&Method::POST, [tenant, "oauth2", "v2.0", "token"] | [tenant, "oauth2", "token"]) => {
            known(service, tenant, |tenant| {
                let endpoint = format!("{base}{}", call.path);
                token(service, call, tenant, &endpoint)
                    .unwrap_or_else(|(status, error, text)| (status, failure(error, &text)))
            })
        }
        _ => (
            404,
            failure("invalid_request", "AADSTS900561: no such endpoint."),
        ),
    }
}

fn known(
    service: &TokenService<'_>,
    asked: &str,
    then: impl FnOnce(&str) -> TokenAnswer,
) -> TokenAnswer {
    match service
        .tenants
        .iter()
        .find(|tenant| tenant.eq_ignore_ascii_case(asked))
    {
        Some(tenant) => then(tenant),
        None => (
            400,
            failure(
                "invalid_request",
                &format!("AADSTS90002: Tenant '{asked}' not found."),
            ),
        ),
    }
}

/// Tells a client that this authority is to be trusted, as it wants to know before its first token.
fn instance(call: &Call, base: &str) -> TokenAnswer {
    let tenant = call
        .query("authorization_endpoint")
        .and_then(|endpoint| endpoint.split('/').nth(3))
        .unwrap_or("common");
    let body = json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": call.host,
            "preferred_cache": call.host,
            "aliases": [call.host],
        }],
    });
    (200, body)
}

fn openid(base: &str, tenant: &str) -> Value {
    json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
        "response_types_supported": ["code", "id_token", "token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
    })
}

/// Status, OAuth error, and Entra's text.
type TokenError = (u16, &'static str, String);

fn token(
    service: &TokenService<'_>,
    call: &Call,
    tenant: &str,
    endpoint: &str,
) -> Result<TokenAnswer, TokenError> {
    let form = call.form();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let required =
        |name: &str| {
            field(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let text = format!(
                "AADSTS900144: The request body must contain the following parameter: '{name}'."
            );
            (400, "invalid_request", text)
        })
        };
    if required("grant_type")? != "client_credentials" {
        let text = "AADSTS70003: The app requested an unsupported grant type.".to_owned();
        return Err((400, "unsupported_grant_type", text));
    }
    let client_id = required("client_id")?;
    let app = service.directory.find(client_id).ok_or_else(|| {
        let text = format!(
            "AADSTS700016: Application with identifier '{client_id}' was not found in the directory \
             '{tenant}'."
        );
        (400, "unauthorized_client", text)
    })?;
    match (field("client_secret"), field("client_assertion")) {
        (Some(secret), None) => check_secret(app, secret)?,
        (None, Some(assertion)) => {
            if required("client_assertion_type")? != ASSERTION_TYPE {
                let text = "AADSTS50027: unsupported client_assertion_type.".to_owned();
                return Err((400, "invalid_request", text));
            }
            let surroundings = Surroundings {
                client_id,
                endpoint,
                now: service.now,
                cluster_key: service.cluster_key,
            };
            assertion::check(app, assertion, &surroundings)
                .map_err(|text| (401, "invalid_client", text.to_owned()))?;
        }
        _ => {
            let text =
                "AADSTS7000216: 'client_assertion', 'client_secret' or 'request' is required for \
                        the 'client_credentials' grant type."
                    .to_owned();
            return Err((401, "invalid_client", text));
        }
    }
    let audience = audience(service, field("scope"), field("resource"))?;
    let issued = issue(service, app, tenant, audience)
        .ok_or_else(|| (500, "server_error", "no token could be signed".to_owned()))?;
    Ok((200, issued))
}

/// A token and what a client wants to know of it.
pub(super) fn issue(
    service: &TokenService<'_>,
    app: &Registered,
    tenant: &str,
    audience: &str,
) -> Option<Value> {
    let token = service.key.issue(&Claims {
        client_id: app.identity.client_id(),
        object_id: app.identity.object_id(),
        tenant,
        audience,
        now: service.now,
        lifetime: service.lifetime,
    })?;
    let seconds = service.lifetime.as_secs();
    Some(json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": token,
    }))
}

fn check_secret(app: &Registered, secret: &str) -> Result<(), TokenError> {
    let right = app
        .proofs
        .iter()
        .any(|proof| matches!(proof, Proof::Secret(known) if known == secret));
    if right {
        return Ok(());
    }
    let text = format!(
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the \
         client secret value, not the client secret ID, for a secret added to app '{}'.",
        app.identity.client_id()
    );
    Err((401, "invalid_client", text))
}

fn audience<'a>(
    service: &TokenService<'_>,
    scope: Option<&'a str>,
    resource: Option<&'a str>,
) -> Result<&'a str, TokenError> {
    let wanted = match (scope, resource) {
        (Some(scope), _) => scope
            .split(' ')
            .find_map(|scope| scope.strip_suffix("/.default"))
            .ok_or_else(|| {
                let text = format!(
                    "AADSTS1002012: The provided value for scope {scope} is not valid. Client credential \
                     flows must have a scope value with /.default suffixed to the resource identifier."
                );
                (400, "invalid_scope", text)
            })?,
        (None, Some(resource)) => resource,
        (None, None) => {
            let text = "AADSTS900144: The request body must contain the following parameter: 'scope'."
                .to_owned();
            return Err((400, "invalid_request", text));
        }
    };
    if is_resource(service, wanted) {
        return Ok(wanted);
    }
    let text =
        format!("AADSTS500011: The resource principal named {wanted} was not found in the tenant.");
    Err((400, "invalid_resource", text))
}

/// Whether there are tokens for it.
pub(super) fn is_resource(service: &TokenService<'_>, wanted: &str) -> bool {
    let host = host_of(wanted);
    service
        .resources
        .iter()
        .any(|known| Some(known.as_str()) == host)
}

fn failure(error: &str, text: &str) -> Value {
    let code: u64 = text
        .strip_prefix("AADSTS")
        .and_then(|rest| rest.split(':').next()?.parse().ok())
        .unwrap_or_default();
    json!({
        "error": error,
        "error_description": text,
        "error_codes": [code],
    })
}

/// What a Kubernetes API server would write into a projected service account token.
pub(in crate::vault) fn service_account_token(
    key: &TokenKey,
    issuer: &str,
    subject: &str,
    now: i64,
    lifetime: Duration,
) -> Option<String> {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    key.sign(&json!({
        "aud": [EXCHANGE_AUDIENCE],
        "iss": issuer,
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add(lifetime),
    }))
}
