//! To etcd.

use kms_core::{SecretBytes, WrapOptions, WrappedKey};

use super::opened::WrittenWith;
use super::{EntryCipher, KmsV1, LocalKeys, Transformer};
use crate::kubernetes::ProviderKind;
use crate::kubernetes::value::plaintext::wipe;
use crate::kubernetes::value::{aes_cbc, aes_gcm, kms_v1, prefix, secretbox, too_long};
use crate::{Error, ErrorKind};

const DEK_LEN: usize = 32;

impl Transformer {
    /// Makes the stored value of an object, with the first provider and its first key.
    ///
    /// `etcd_key` is the whole key that it will be stored under, such as
    /// `/registry/secrets/default/token`: most formats are bound to it.
    ///
    /// KMS v2 calls no provider. KMS v1 has a new DEK wrapped for each value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotReady`] if KMS v2 has no state or it has expired: see
    /// [`refresh`](Self::refresh). [`ErrorKind::Provider`] and [`ErrorKind::Protocol`] if KMS v1
    /// fails. [`ErrorKind::Unsupported`] if the transformer is read-only, or if the provider is
    /// `identity` and the object starts with `k8s:enc:`, so that it could not be read back.
    pub async fn write(&self, etcd_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        if self.read_only {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this transformer is read-only",
            ));
        }
        let Some(entry) = self.entries.first() else {
            return Err(Error::new(ErrorKind::Config, "the provider list is empty"));
        };
        let prefix = &*entry.prefix;
        match &entry.cipher {
            EntryCipher::Identity if plaintext.starts_with(prefix::ENCRYPTED) => Err(Error::new(
                ErrorKind::Unsupported,
                "identity cannot store an object that starts with `k8s:enc:`",
            )),
            EntryCipher::Identity => Ok(plaintext.to_vec()),
            EntryCipher::Local(keys) => self.write_local(prefix, keys, etcd_key, plaintext),
            EntryCipher::KmsV1(kms) => self.write_kms_v1(prefix, kms, etcd_key, plaintext).await,
            EntryCipher::KmsV2(kms) => {
                let state = kms
                    .state
                    .for_writing(self.clock.now())
                    .ok_or_else(|| kms.kms.no_state())?;
                state.seal(prefix, self.random.as_ref(), etcd_key, plaintext)
            }
        }
    }

    /// What [`write`](Self::write) writes with; `None` if that is a KMS v2 without a state.
    pub(crate) fn written_with(&self) -> Option<WrittenWith> {
        let (provider, name, key_id) = match &self.entries.first()?.cipher {
            EntryCipher::Identity => (ProviderKind::Identity, None, None),
            EntryCipher::Local(keys) => (keys.kind, Some(&keys.keys.first()?.name), None),
            EntryCipher::KmsV1(kms) => (ProviderKind::KmsV1, Some(&kms.kms.name), None),
            EntryCipher::KmsV2(kms) => {
                let state = kms.state.describe()?;
                (ProviderKind::KmsV2, Some(&kms.kms.name), Some(state.key_id))
            }
        };
        Some(WrittenWith {
            provider,
            name: name.cloned(),
            key_id,
        })
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.random.fill(bytes).map_err(no_randomness)
    }

    fn write_local(
        &self,
        prefix: &[u8],
        keys: &LocalKeys,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let Some(key) = keys.keys.first() else {
            return Err(Error::new(ErrorKind::Config, "the provider has no keys"));
        };
        let name = key.name.as_bytes();
        let secret = key.secret.expose();
        let body_len = match keys.kind {
            ProviderKind::AesCbc => aes_cbc::padded_len(plaintext.len())
                .and_then(|len| len.checked_add(aes_cbc::BLOCK_LEN)),
            ProviderKind::AesGcm => plaintext.len().checked_add(aes_gcm::OVERHEAD),
            _ => plaintext.len().checked_add(secretbox::OVERHEAD),
        }
        .ok_or_else(too_long)?;
        let header = [prefix, name, b":"];
        match keys.kind {
            ProviderKind::AesCbc => {
                let mut out = with_header(header, body_len)?;
                let mut iv = [0; aes_cbc::BLOCK_LEN];
                self.fill(&mut iv)?;
                out.extend_from_slice(&iv);
                aes_cbc::append(secret, &iv, plaintext, &mut out)
                    .inspect_err(|_| wipe(&mut out))?;
                Ok(out)
            }
            ProviderKind::AesGcm => {
                let out = with_header(header, body_len)?;
                self.append_aes_gcm(out, secret, aad, plaintext)
            }
            _ => {
                let mut out = with_header(header, body_len)?;
                let mut nonce = [0; secretbox::NONCE_LEN];
                self.fill(&mut nonce)?;
                out.extend_from_slice(&nonce);
                let tag_at = out.len();
                out.extend_from_slice(&[0; secretbox::TAG_LEN]);
                let body = out.len();
                out.extend_from_slice(plaintext);
                let sealed =
                    secretbox::seal(secret, &nonce, out.get_mut(body..).unwrap_or_default());
                match (sealed, out.get_mut(tag_at..body)) {
                    (Ok(tag), Some(place)) => place.copy_from_slice(&tag),
                    (sealed, _) => {
                        wipe(&mut out);
                        return Err(sealed.err().unwrap_or_else(too_long));
                    }
                }
                Ok(out)
            }
        }
    }

    async fn write_kms_v1(
        &self,
        prefix: &[u8],
        KmsV1 { kms }: &KmsV1,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let dek = SecretBytes::random(self.random.as_ref(), DEK_LEN).map_err(no_randomness)?;
        let options = WrapOptions::default().with_call(kms.call_options(self.clock.as_ref()));
        let wrapped = kms
            .provider
            .wrap(&dek, &options)
            .await
            .map_err(|error| kms.failed("wrapping a DEK", error))?;
        if !wrapped.annotations().is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "KMS `{}`: v1 cannot store the provider's annotations",
                    kms.name
                ),
            ));
        }
        let length = dek_length(&wrapped)?;
        let body_len = plaintext
            .len()
            .checked_add(aes_gcm::OVERHEAD)
            .ok_or_else(too_long)?;
        let out = with_header([prefix, &length, wrapped.ciphertext()], body_len)?;
        self.append_aes_gcm(out, dek.expose(), aad, plaintext)
    }

    /// Appends `nonce ‖ ciphertext ‖ tag`.
    fn append_aes_gcm(
        &self,
        mut out: Vec<u8>,
        key: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; aes_gcm::NONCE_LEN];
        self.fill(&mut nonce)?;
        out.extend_from_slice(&nonce);
        let body = out.len();
        out.extend_from_slice(plaintext);
        let sealed = aes_gcm::seal(key, &nonce, aad, out.get_mut(body..).unwrap_or_default());
        let tag = sealed.inspect_err(|_| wipe(&mut out))?;
        out.extend_from_slice(&tag);
        Ok(out)
    }
}

fn dek_length(wrapped: &WrappedKey) -> Result<[u8; kms_v1::LENGTH_LEN], Error> {
    u16::try_from(wrapped.ciphertext().len())
        .map(u16::to_be_bytes)
        .map_err(|_| Error::new(ErrorKind::Protocol, "the encrypted DEK is over 65535 bytes"))
}

/// A buffer for a whole value, with what stands in front of its body.
fn with_header(header: [&[u8]; 3], body_len: usize) -> Result<Vec<u8>, Error> {
    let total = header
        .iter()
        .try_fold(body_len, |sum, part| sum.checked_add(part.len()))
        .ok_or_else(too_long)?;
    let mut out = Vec::with_capacity(total);
    for part in header {
        out.extend_from_slice(part);
    }
    Ok(out)
}

pub(super) fn no_randomness(error: kms_core::Error) -> Error {
    Error::new(ErrorKind::Internal, error.message().to_owned())
}
