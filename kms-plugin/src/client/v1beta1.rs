//! KMS v1.

use core::fmt;

use kms_core::text::one_line;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState,
    SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};
use tokio::sync::OnceCell;

use super::ClientOptions;
use super::link::{Link, PluginChannel};
use crate::grpc::{Api, Operation};
use crate::proto::v1beta1::key_management_service_client::KeyManagementServiceClient;
use crate::proto::{MAX_MESSAGE_LEN, v1beta1};
use crate::socket::SocketAddress;

const VERSION: &str = "v1beta1";

/// A plugin that speaks KMS v1, for data that was written with it.
///
/// KMS v1 tells no key id, so this provider has one fixed id, which its maker chooses; the `name`
/// of the provider in the `EncryptionConfiguration` is the natural choice. It names the plugin, not
/// a key: it does not change when the plugin's key does. Wrapped keys carry it, and those without
/// a key id are opened too.
///
/// The first call is preceded by `Version`, once, which must answer `v1beta1`.
#[derive(Debug)]
pub struct V1Beta1Client {
    link: Link,
    key_id: KeyId,
    greeted: OnceCell<()>,
}

impl V1Beta1Client {
    /// A client of the plugin at this address, whose wrapped keys carry `key_id`. Connects with
    /// the first call; must be made within a tokio runtime.
    #[must_use]
    pub fn new(address: SocketAddress, key_id: KeyId, options: ClientOptions) -> Self {
        Self {
            link: Link::new(address, Api::V1Beta1, options),
            key_id,
            greeted: OnceCell::new(),
        }
    }

    fn grpc(&self) -> KeyManagementServiceClient<PluginChannel> {
        KeyManagementServiceClient::new(self.link.channel())
            .max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    /// Asks for the version, if it has not been accepted yet.
    async fn greet(&self, options: &CallOptions) -> Result<(), Error> {
        let ask = || async {
            let answer = self
                .link
                .call(
                    Operation::Describe,
                    options,
                    || v1beta1::VersionRequest {
                        version: VERSION.to_owned(),
                    },
                    |request| async move { self.grpc().version(request).await },
                )
                .await?;
            if answer.version != VERSION {
                return Err(self.link.broken(format_args!(
                    "its version is {:?}",
                    one_line(&answer.version, 64)
                )));
            }
            Ok(())
        };
        self.greeted.get_or_try_init(ask).await.copied()
    }

    /// The options with the deadline of the whole call, greeting included.
    fn bounded(&self, options: &CallOptions) -> CallOptions {
        let own = self.link.options();
        let limit = own.clock.now() + own.timeout;
        let deadline = options.deadline.map_or(limit, |asked| asked.min(limit));
        options.clone().with_deadline(deadline)
    }
}

#[async_trait::async_trait]
impl KeyProvider for V1Beta1Client {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
            .with_max_plaintext_len(self.link.options().max_plaintext_len)
            .with_unwraps_without_key_id(true)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.greet(&self.bounded(options)).await?;
        Ok(KeyInfo::new(self.key_id.clone(), KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.link.check_plaintext(dek, &options.context)?;
        let call = self.bounded(&options.call);
        self.greet(&call).await?;
        let answer = self
            .link
            .call(
                Operation::Encrypt,
                &call,
                || v1beta1::EncryptRequest {
                    version: VERSION.to_owned(),
                    plain: dek.expose().to_vec(),
                },
                |request| async move { self.grpc().encrypt(request).await },
            )
            .await?;
        WrappedKey::new(self.key_id.clone(), answer.cipher)
            .map_err(|error| self.link.broken(error.message()))
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.link.check_context(&options.context)?;
        if let Some(other) = wrapped.key_id()
            && *other != self.key_id
        {
            let error = Error::new(
                ErrorKind::KeyNotFound,
                "the wrapped key names another provider",
            );
            return Err(self.link.name(error.with_key_id(other.clone())));
        }
        let call = self.bounded(&options.call);
        self.greet(&call).await?;
        let mut answer = self
            .link
            .call(
                Operation::Decrypt,
                &call,
                || v1beta1::DecryptRequest {
                    version: VERSION.to_owned(),
                    cipher: wrapped.ciphertext().to_vec(),
                },
                |request| async move { self.grpc().decrypt(request).await },
            )
            .await?;
        self.link.take_plaintext(core::mem::take(&mut answer.plain))
    }
}

impl fmt::Display for V1Beta1Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KMS v1 plugin at {}", self.link.address())
    }
}
