//! One vault: the few operations that are needed, each checked and bounded.
//!
//! [`Vault`] is the SDK's client behind a gate that all who use one vault share: a circuit breaker,
//! a limiter that knows what operations weigh, and a bound on calls at once. It makes single
//! attempts; retries are [`kms_core::layer::Retry`]'s.

mod breaker;
mod gate;
mod guard;
mod key;
mod limiter;
mod meter;
mod options;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use azure_core::http::request::options::ClientRequestId;
use azure_core::http::{ClientMethodOptions, ClientOptions, Context, RequestContent};
use azure_security_keyvault_keys::models::{
    EncryptionAlgorithm, KeyClientDecryptOptions, KeyClientEncryptOptions,
    KeyClientGetDeletedKeyOptions, KeyClientGetKeyOptions,
    KeyClientListKeyPropertiesVersionsOptions, KeyClientUnwrapKeyOptions, KeyClientWrapKeyOptions,
    KeyOperationParameters, KeyOperationResult,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use futures_util::TryStreamExt as _;
use kms_core::{CallOptions, Clock, Error, ErrorKind, SecretBytes, SecureRandom};

use crate::credential::{Authority, Credential, Identity};
use crate::error::{Operation, from_sdk};
use crate::key_url::{KeyUrl, VaultHost};
use crate::span::{request_id, traced};
use crate::transport::{Transport, TransportOptions};

pub use key::{KeyBundle, KeyKind, RsaPublicKey, VersionFacts};
pub use meter::VaultCalls;
pub(crate) use options::DEFAULT_UNITS;
pub use options::VaultOptions;

use gate::Gate;
use guard::Guard;
use key::unexpected;

/// Reading a key weighs as much as an operation of the smallest one.
pub(crate) const READ_UNITS: u32 = 1;
/// 400 pages. A key that is rotated each week gets there in two hundred years.
const MAX_VERSIONS: usize = 10_000;
/// The longest answer of an operation: RSA-4096, with room for whatever AES adds.
const MAX_RESULT: usize = 1024;

/// A client of one vault. Clones share it, with its limits.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    host: VaultHost,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    client: KeyClient,
    gate: Gate,
    /// The first answer has come; so there is a token, and the SDK knows what to ask it for.
    warm: AtomicBool,
    /// Until then calls go one by one: each would begin with a challenge and take the token away
    /// from the others.
    first: tokio::sync::Mutex<()>,
}

/// What an operation on a key is given besides the key.
pub(crate) struct Operand<'a> {
    pub(crate) algorithm: EncryptionAlgorithm,
    pub(crate) value: &'a [u8],
    /// For authenticated encryption.
    pub(crate) aad: Option<Vec<u8>>,
    pub(crate) iv: Option<Vec<u8>>,
    pub(crate) tag: Option<Vec<u8>>,
    /// What it weighs in the vault's limits.
    pub(crate) units: u32,
}

/// What an operation gives.
pub(crate) struct Product {
    pub(crate) value: SecretBytes,
    pub(crate) iv: Option<Vec<u8>>,
    pub(crate) tag: Option<Vec<u8>>,
}

impl Vault {
    /// A client in the usual way: what this machine trusts is trusted, there is no proxy, and
    /// tokens come from the vault's own cloud. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if this machine has no trusted certificates.
    pub fn connect(
        host: VaultHost,
        identity: Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let transport = Transport::new(&TransportOptions::default())?;
        let options = VaultOptions::new(Arc::clone(&clock));
        let random = Arc::clone(&options.random);
        let authority = Authority::of(host.cloud());
        let credential = Credential::new(identity, authority, &transport, clock, random);
        Self::new(host, &credential, &transport, options)
    }

    /// A client, by way of a transport and with a credential that others may share. Nothing is
    /// sent yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the SDK does not take the vault's URL.
    pub fn new(
        host: VaultHost,
        credential: &Credential,
        transport: &Transport,
        options: VaultOptions,
    ) -> Result<Self, Error> {
        let guard = Guard {
            host: host.name().to_owned(),
            credential: credential.clone(),
        };
        let client_options = KeyClientOptions {
            client_options: ClientOptions {
                per_try_policies: vec![Arc::new(guard)],
                ..transport.client_options()
            },
            verify_challenge_resource: Some(options.verify_challenge),
            ..KeyClientOptions::default()
        };
        let token = Arc::new(credential.clone());
        let client = KeyClient::new(&host.url(), token, Some(client_options)).map_err(|_| {
            let message = format!("https://{host} is not taken for a URL");
            Error::new(ErrorKind::InvalidInput, message)
        })?;
        let units = options.units_for(host.service());
        Ok(Self(Arc::new(Inner {
            gate: Gate::new(
                host.to_string(),
                Arc::clone(&options.clock),
                Arc::clone(&options.random),
                units,
            ),
            host,
            clock: options.clock,
            random: options.random,
            client,
            warm: AtomicBool::new(false),
            first: tokio::sync::Mutex::default(),
        })))
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &VaultHost {
        &self.0.host
    }

    /// The time that everything goes by which uses this vault.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.clock)
    }

    pub(crate) fn random(&self) -> Arc<dyn SecureRandom> {
        Arc::clone(&self.0.random)
    }

    /// How much of its limits has been used here.
    #[must_use]
    pub fn calls(&self) -> VaultCalls {
        self.0.gate.calls()
    }

    /// Whether it is being left alone after failures in a row.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.0.gate.is_open()
    }

    /// A key: of this version, or the newest.
    ///
    /// # Errors
    ///
    /// Those of [`error`](crate::error).
    pub async fn key(&self, key: &KeyUrl, call: &CallOptions) -> Result<KeyBundle, Error> {
        let operation = Operation::GetKey;
        let answer = self.attempt(READ_UNITS, operation, key, call, async {
            let options = KeyClientGetKeyOptions {
                key_version: key.version().map(ToString::to_string),
                method_options: method_options(call),
            };
            let name = key.name().as_str();
            self.0
                .client
                .get_key(name, Some(options))
                .await?
                .into_model()
        });
        KeyBundle::read(&answer.await?, key)
    }

    /// All versions of a key, in no order: the service promises none.
    ///
    /// # Errors
    ///
    /// Those of [`error`](crate::error).
    pub async fn versions(
        &self,
        key: &KeyUrl,
        call: &CallOptions,
    ) -> Result<Vec<VersionFacts>, Error> {
        let operation = Operation::ListVersions;
        let key = key.without_version();
        let answer = self.attempt(READ_UNITS, operation, &key, call, async {
            let mut options = KeyClientListKeyPropertiesVersionsOptions::default();
            options.method_options.context = method_options(call).context;
            let name = key.name().as_str();
            let pager = self
                .0
                .client
                .list_key_properties_versions(name, Some(options))?;
            pager.try_take(MAX_VERSIONS).await
        });
        let items = answer.await?;
        if items.len() > MAX_VERSIONS {
            return Err(unexpected(&key, operation, "there are over 10000 versions"));
        }
        items
            .iter()
            .map(|item| VersionFacts::of_list(item, &key))
            .collect()
    }

    /// Whether a key of this name is deleted and can be recovered.
    ///
    /// # Errors
    ///
    /// Those of [`error`](crate::error), [`ErrorKind::KeyNotFound`] excepted.
    pub async fn is_deleted(&self, key: &KeyUrl, call: &CallOptions) -> Result<bool, Error> {
        let operation = Operation::GetDeletedKey;
        let key = key.without_version();
        let answer = self.attempt(READ_UNITS, operation, &key, call, async {
            let options = KeyClientGetDeletedKeyOptions {
                method_options: method_options(call),
            };
            let name = key.name().as_str();
            self.0.client.get_deleted_key(name, Some(options)).await
        });
        match answer.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::KeyNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Wraps, unwraps, encrypts or decrypts under one version of a key.
    pub(crate) async fn perform(
        &self,
        operation: Operation,
        key: &KeyUrl,
        operand: Operand<'_>,
        call: &CallOptions,
    ) -> Result<Product, Error> {
        let Some(version) = key.version().map(ToString::to_string) else {
            return Err(Error::new(
                ErrorKind::Internal,
                "an operation without a key version",
            ));
        };
        let units = operand.units;
        let name = key.name().as_str();
        let client = &self.0.client;
        let answer = self.attempt(units, operation, key, call, async {
            let content = operand.into_content()?;
            let method_options = method_options(call);
            let key_version = Some(version.clone());
            let response = match operation {
                Operation::WrapKey => {
                    let options = KeyClientWrapKeyOptions {
                        key_version,
                        method_options,
                    };
                    client.wrap_key(name, content, Some(options)).await?
                }
                Operation::Encrypt => {
                    let options = KeyClientEncryptOptions {
                        key_version,
                        method_options,
                    };
                    client.encrypt(name, content, Some(options)).await?
                }
                Operation::Decrypt => {
                    let options = KeyClientDecryptOptions { method_options };
                    client
                        .decrypt(name, &version, content, Some(options))
                        .await?
                }
                _ => {
                    let options = KeyClientUnwrapKeyOptions { method_options };
                    client
                        .unwrap_key(name, &version, content, Some(options))
                        .await?
                }
            };
            response.into_model()
        });
        Product::read(answer.await?, operation, key)
    }

    /// One attempt, by way of the gate.
    async fn attempt<T>(
        &self,
        units: u32,
        operation: Operation,
        key: &KeyUrl,
        call: &CallOptions,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<T, Error> {
        if *key.host() != self.0.host {
            return Err(Error::new(ErrorKind::Internal, "a key of another vault"));
        }
        // The SDK's futures are large, and each layer around them would double that.
        let request = Box::pin(async {
            let answer = request.await;
            answer.map_err(|error| from_sdk(&error, operation, key))
        });
        let span = tracing::debug_span!(
            "vault_call",
            vault = %self.0.host,
            %operation,
            %key,
            units,
            outcome = tracing::field::Empty,
        );
        let sent = self.0.gate.pass(units, call.deadline, self.sent(request));
        let outcome = traced(&span, sent).await;
        match &outcome {
            Ok(_) => tracing::debug!(vault = %self.0.host, %operation, key = %key, "vault call"),
            Err(error) => tracing::debug!(
                vault = %self.0.host,
                %operation,
                key = %key,
                kind = error.kind().as_str(),
                error = error.message(),
                "vault call failed"
            ),
        }
        outcome.map_err(|error| error.with_provider(key.without_version().to_string()))
    }

    async fn sent<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.0.warm.load(Ordering::Acquire) {
            return request.await;
        }
        let turn = self.0.first.lock().await;
        if self.0.warm.load(Ordering::Acquire) {
            drop(turn);
            return request.await;
        }
        let outcome = request.await;
        if outcome.is_ok() {
            self.0.warm.store(true, Ordering::Release);
        }
        outcome
    }
}

impl Operand<'_> {
    fn into_content(self) -> azure_core::Result<RequestContent<KeyOperationParameters>> {
        let parameters = KeyOperationParameters {
            algorithm: Some(self.algorithm),
            value: Some(self.value.to_vec()),
            additional_authenticated_data: self.aad,
            iv: self.iv,
            authentication_tag: self.tag,
        };
        parameters.try_into()
    }
}

impl Product {
    fn read(result: KeyOperationResult, operation: Operation, key: &KeyUrl) -> Result<Self, Error> {
        let odd = |what: &str| Err(unexpected(key, operation, what));
        // Taken over first, so that it is wiped whatever is wrong with the rest.
        let value = SecretBytes::from_vec(result.result.unwrap_or_default());
        if result.kid.is_none_or(|kid| key.of_answer(&kid).is_none()) {
            return odd("the answer names another key than was asked for");
        }
        if value.is_empty() || value.len() > MAX_RESULT {
            return odd("the answer has no value, or one of over 1024 bytes");
        }
        Ok(Self {
            value,
            iv: result.iv,
            tag: result.authentication_tag,
        })
    }
}

/// Hands the caller's request id on, if it is fit for a header.
fn method_options(call: &CallOptions) -> ClientMethodOptions<'static> {
    let context = match request_id(call) {
        Some(id) => Context::new().with_value(ClientRequestId::new(id.to_owned())),
        None => Context::new(),
    };
    ClientMethodOptions { context }
}

/// The vault's host.
impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.host.fmt(f)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("host", &self.0.host)
            .finish_non_exhaustive()
    }
}

/// Gathers the items of a list, and one more than the bound if there are so many.
trait TryTake<T> {
    async fn try_take(self, bound: usize) -> azure_core::Result<Vec<T>>;
}

impl<S, T> TryTake<T> for S
where
    S: futures_util::TryStream<Ok = T, Error = azure_core::Error> + Unpin,
{
    async fn try_take(mut self, bound: usize) -> azure_core::Result<Vec<T>> {
        let mut items = Vec::new();
        while let Some(item) = self.try_next().await? {
            items.push(item);
            if items.len() > bound {
                break;
            }
        }
        Ok(items)
    }
}
