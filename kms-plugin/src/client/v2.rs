//! KMS v2.

use core::fmt;

use kms_core::text::one_line;
use kms_core::{
    CallOptions, Capabilities, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, KeyState,
    SecretBytes, SecureRandom, UnwrapOptions, WrapOptions, WrappedKey,
};

use super::ClientOptions;
use super::link::{Link, PluginChannel};
use crate::grpc::{Api, Operation};
use crate::proto::v2::key_management_service_client::KeyManagementServiceClient;
use crate::proto::{MAX_CIPHERTEXT_LEN, MAX_MESSAGE_LEN, check_annotation_name, v2, wrapped_key};
use crate::socket::SocketAddress;

/// The longest id of a call that is passed on, in bytes.
const MAX_UID_LEN: usize = 128;
/// The most of a plugin's health text that is kept, in bytes.
const MAX_HEALTHZ_LEN: usize = 512;

/// A plugin that speaks KMS v2.
///
/// `current_key` is `Status`, `wrap` is `Encrypt` and `unwrap` is `Decrypt`, with the key id and
/// annotations that `Encrypt` gave. A plugin whose `healthz` is not `ok` is
/// [`ErrorKind::Unavailable`] with its text, even though it names a key.
///
/// ```no_run
/// use kms_core::KeyProvider as _;
/// use kms_plugin::client::{ClientOptions, V2Client};
///
/// # async fn run() -> Result<(), kms_core::Error> {
/// let address = "unix:///run/kms/kms.sock".parse()?;
/// let plugin = V2Client::new(address, ClientOptions::default());
/// println!("{}", plugin.current_key(&Default::default()).await?.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct V2Client {
    link: Link,
}

impl V2Client {
    /// A client of the plugin at this address. Connects with the first call; must be made within a
    /// tokio runtime.
    #[must_use]
    pub fn new(address: SocketAddress, options: ClientOptions) -> Self {
        Self {
            link: Link::new(address, Api::V2, options),
        }
    }

    fn grpc(&self) -> KeyManagementServiceClient<PluginChannel> {
        KeyManagementServiceClient::new(self.link.channel())
            .max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    /// The caller's id for logs, or a random one in the form of a UUID.
    fn uid(&self, options: &CallOptions) -> Result<String, Error> {
        match &options.request_id {
            Some(id) if !id.is_empty() && id.len() <= MAX_UID_LEN => Ok(id.clone()),
            _ => uuid(&*self.link.options().random),
        }
    }
}

/// A UUID of version 4 (RFC 9562, section 5.4).
fn uuid(random: &dyn SecureRandom) -> Result<String, Error> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes);
    let bits = (bits & !(0xf << 76)) | (0x4 << 76);
    let bits = (bits & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (place, digit) in hex.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    Ok(text)
}

#[async_trait::async_trait]
impl KeyProvider for V2Client {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic().with_max_plaintext_len(self.link.options().max_plaintext_len)
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        let status = self
            .link
            .call(
                Operation::Describe,
                options,
                || v2::StatusRequest {},
                |request| async move { self.grpc().status(request).await },
            )
            .await?;
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            return Err(self.link.broken(format_args!(
                "its version is {:?}",
                one_line(&status.version, 64)
            )));
        }
        let id = KeyId::new(&status.key_id).map_err(|error| self.link.broken(error.message()))?;
        if status.healthz != "ok" {
            let text = one_line(&status.healthz, MAX_HEALTHZ_LEN);
            let error = Error::new(
                ErrorKind::Unavailable,
                format!("the plugin says it is unwell: {text:?}"),
            )
            .with_remedy("do what the plugin says, or read its log");
            return Err(self.link.name(error.with_key_id(id)));
        }
        Ok(KeyInfo::new(id, KeyState::Enabled))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.link.check_plaintext(dek, &options.context)?;
        let uid = self.uid(&options.call)?;
        let answer = self
            .link
            .call(
                Operation::Encrypt,
                &options.call,
                || v2::EncryptRequest {
                    plaintext: dek.expose().to_vec(),
                    uid: uid.clone(),
                },
                |request| async move { self.grpc().encrypt(request).await },
            )
            .await?;
        for name in answer.annotations.keys() {
            check_annotation_name(name).map_err(|error| self.link.broken(error.message()))?;
        }
        wrapped_key(&answer.key_id, answer.ciphertext, answer.annotations)
            .map_err(|error| self.link.broken(error.message()))
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.link.check_context(&options.context)?;
        let Some(key_id) = wrapped.key_id() else {
            let error = Error::new(ErrorKind::Unsupported, "KMS v2 needs a key id to decrypt");
            return Err(self.link.name(error));
        };
        if wrapped.ciphertext().len() > MAX_CIPHERTEXT_LEN {
            let error = Error::new(
                ErrorKind::InvalidInput,
                format!("ciphertext is over the limit of {MAX_CIPHERTEXT_LEN} bytes"),
            );
            return Err(self.link.name(error));
        }
        let uid = self.uid(&options.call)?;
        let mut answer = self
            .link
            .call(
                Operation::Decrypt,
                &options.call,
                || v2::DecryptRequest {
                    ciphertext: wrapped.ciphertext().to_vec(),
                    uid: uid.clone(),
                    key_id: key_id.as_str().to_owned(),
                    annotations: wrapped.annotations().clone(),
                },
                |request| async move { self.grpc().decrypt(request).await },
            )
            .await?;
        self.link
            .take_plaintext(core::mem::take(&mut answer.plaintext))
    }
}

impl fmt::Display for V2Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KMS v2 plugin at {}", self.link.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Ones;

    impl SecureRandom for Ones {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
            bytes.fill(0xff);
            Ok(())
        }
    }

    #[test]
    fn a_uid_is_a_uuid_of_version_4() {
        assert_eq!(uuid(&Ones).unwrap(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
