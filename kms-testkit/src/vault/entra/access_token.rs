//! Access tokens: issued by the token service, believed by vaults.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_core::{Error, ErrorKind};
use serde_json::{Value, json};

use super::jwt::{Jwt, to_be_signed};
use crate::vault::refusal::Refusal;

const KEY_ID: &str = "kms-testkit";

/// Signs tokens with a key that lives as long as the double. (The real service uses RSA; clients
/// treat tokens as opaque.)
pub(in crate::vault) struct TokenKey(EcdsaKeyPair);

/// Whom a vault talks to.
#[derive(Clone, Debug)]
pub(in crate::vault) struct Caller {
    pub(in crate::vault) client_id: String,
    pub(in crate::vault) object_id: String,
    issuer: String,
}

impl Caller {
    /// As error messages name a caller.
    pub(in crate::vault) fn describe(&self) -> String {
        format!(
            "appid={};oid={};iss={}",
            self.client_id, self.object_id, self.issuer
        )
    }
}

/// What a token is issued for.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) client_id: &'a str,
    pub(super) object_id: &'a str,
    pub(super) tenant: &'a str,
    pub(super) audience: &'a str,
    pub(super) now: i64,
    pub(super) lifetime: Duration,
}

impl TokenKey {
    pub(in crate::vault) fn generate() -> Result<Self, Error> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Self)
            .map_err(|_| Error::new(ErrorKind::Internal, "no key to sign tokens with"))
    }

    /// `None` only if the cryptography fails.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": KEY_ID});
        let signed = to_be_signed(&header, claims);
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(super) fn issue(&self, claims: &Claims<'_>) -> Option<String> {
        let lifetime = i64::try_from(claims.lifetime.as_secs()).unwrap_or(i64::MAX);
        self.sign(&json!({
            "aud": claims.audience,
            "iss": issuer(claims.tenant),
            "iat": claims.now,
            "nbf": claims.now,
            "exp": claims.now.saturating_add(lifetime),
            "appid": claims.client_id,
            "appidacr": "1",
            "idtyp": "app",
            "oid": claims.object_id,
            "sub": claims.object_id,
            "tid": claims.tenant,
            "ver": "1.0",
        }))
    }

    /// Whether this key signed the token.
    pub(super) fn signed(&self, token: &Jwt) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.public_key())
            .verify(token.signed.as_bytes(), &token.signature)
            .is_ok()
    }

    /// The public half, as the token service publishes it.
    pub(super) fn jwks(&self) -> Value {
        let point = self.0.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(32).unwrap_or_default();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    /// What a vault checks: signature, time, audience, issuer.
    ///
    /// `zone` is the host name of the resource, such as `vault.azure.net`; `resource` is how
    /// messages call it.
    pub(in crate::vault) fn believe(
        &self,
        token: &str,
        zone: &str,
        resource: &str,
        tenant: &str,
        now: i64,
    ) -> Result<Caller, Refusal> {
        let invalid = || {
            Refusal::unauthorized("Error validating token: IDX10511: Signature validation failed.")
        };
        let token = Jwt::parse(token).ok_or_else(invalid)?;
        if !self.signed(&token) {
            return Err(invalid());
        }
        if token.time("exp").is_none_or(|expires| now >= expires) {
            return Err(Refusal::unauthorized(
                "[TokenExpired] Error validating token: 'S2S12086'.",
            ));
        }
        if token.time("nbf").is_some_and(|start| now < start) {
            return Err(Refusal::unauthorized("Token not yet valid."));
        }
        let audience = token.text("aud").unwrap_or_default();
        if host_of(audience) != Some(zone) {
            return Err(Refusal::unauthorized(format!(
                "AKV10022: Invalid audience. Expected {resource}, found: {audience}."
            )));
        }
        let found = token.text("iss").unwrap_or_default();
        let expected = issuer(tenant);
        if found != expected {
            return Err(Refusal::unauthorized(format!(
                "AKV10032: Invalid issuer. Expected one of {expected}, found {found}."
            )));
        }
        let claim = |name| token.text(name).map(str::to_owned).ok_or_else(invalid);
        Ok(Caller {
            client_id: claim("appid")?,
            object_id: claim("oid")?,
            issuer: expected,
        })
    }
}

impl core::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TokenKey")
    }
}

fn issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// The host of an `https` URL, without port and path.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    authority.split(':').next()
}
