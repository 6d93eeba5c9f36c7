//! A client assertion: a JWT signed with the key of a client certificate (RFC 7523), by `ring`.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kms_core::{Clock, Error, ErrorKind, SecretBytes, SecureRandom};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use zeroize::Zeroizing;

/// How long an assertion is good for. The token service asks for 5 to 10 minutes.
const LIFETIME: Duration = Duration::from_secs(600);

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AssertionAlgorithm {
    /// RSASSA-PSS with SHA-256; the certificate is named by its SHA-256 thumbprint.
    #[default]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256; the certificate is named by its SHA-1 thumbprint. For AD FS.
    Rs256,
}

/// A certificate with its key.
pub(super) struct ClientCertificate {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    algorithm: AssertionAlgorithm,
}

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(rename = "x5t", skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    /// The chain, by which a renewed certificate of the same subject is known.
    x5c: Vec<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl ClientCertificate {
    /// Reads a PEM text with a private RSA key (PKCS#8 or PKCS#1, not encrypted) and one or more
    /// certificates, that of the key first.
    pub(super) fn parse(pem: &SecretBytes, algorithm: AssertionAlgorithm) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose())
            .map_err(|_| refused("it holds no private key that is not encrypted"))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(refused("its private key is not an RSA key")),
        };
        let pair =
            pair.map_err(|_| refused("its private key is no RSA key of 2048 to 4096 bits"))?;
        let chain = CertificateDer::pem_slice_iter(pem.expose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| refused("its certificates cannot be read"))?;
        if chain.is_empty() {
            return Err(refused("it holds no certificate"));
        }
        Ok(Self {
            key: pair,
            chain,
            algorithm,
        })
    }

    fn header(&self) -> Header {
        let of_first = |algorithm| {
            let first = self.chain.first()?;
            Some(URL_SAFE_NO_PAD.encode(digest(algorithm, first)))
        };
        let (alg, sha256, sha1) = match self.algorithm {
            AssertionAlgorithm::Ps256 => ("PS256", of_first(&SHA256), None),
            AssertionAlgorithm::Rs256 => ("RS256", None, of_first(&SHA1_FOR_LEGACY_USE_ONLY)),
        };
        Header {
            alg,
            typ: "JWT",
            sha256,
            sha1,
            x5c: self
                .chain
                .iter()
                .map(|each| STANDARD.encode(each))
                .collect(),
        }
    }

    fn sign(&self, message: &str) -> Result<String, Error> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        let padding: &'static dyn RsaEncoding = match self.algorithm {
            AssertionAlgorithm::Ps256 => &RSA_PSS_SHA256,
            AssertionAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
        };
        let random = SystemRandom::new();
        self.key
            .sign(padding, &random, message.as_bytes(), &mut signature)
            .map_err(|_| Error::new(ErrorKind::Internal, "the assertion cannot be signed"))?;
        Ok(URL_SAFE_NO_PAD.encode(signature))
    }
}

fn refused(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("client certificate: {what}"),
    )
    .with_remedy(
        "give a PEM file with the private key and its certificate: `openssl pkcs12 -in FILE.pfx \
         -nodes -out FILE.pem`",
    )
}

/// Makes assertions for one client at one token service.
pub(super) struct Assertions {
    pub(super) certificate: ClientCertificate,
    pub(super) client_id: String,
    /// The URL that the assertion is sent to.
    pub(super) audience: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom>,
}

impl Assertions {
    pub(super) fn make(&self) -> Result<Zeroizing<String>, Error> {
        let mut id = [0; 16];
        self.random.fill(&mut id)?;
        let now = self.clock.wall_time().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let claims = Claims {
            aud: &self.audience,
            iss: &self.client_id,
            sub: &self.client_id,
            jti: URL_SAFE_NO_PAD.encode(id),
            iat: now,
            nbf: now,
            exp: now.saturating_add(LIFETIME.as_secs()),
        };
        let message = format!("{}.{}", part(&self.certificate.header())?, part(&claims)?);
        let signature = self.certificate.sign(&message)?;
        Ok(Zeroizing::new(format!("{message}.{signature}")))
    }
}

fn part(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_vec(value)
        .map_err(|_| Error::new(ErrorKind::Internal, "the assertion cannot be written"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
