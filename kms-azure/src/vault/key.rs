//! What a vault says of a key.

use std::time::SystemTime;

use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{
    JsonWebKey, Key, KeyAttributes, KeyProperties, KeyType,
};
use kms_core::{Error, KeyInfo, KeyState};

use crate::error::{Fault, Operation, VaultError};
use crate::key_url::KeyUrl;

/// One version of a key: its id and attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VersionFacts {
    /// The id, with its version.
    pub url: KeyUrl,
    /// Whether its owner has it switched on.
    pub enabled: bool,
    /// When it was made, in whole seconds.
    pub created: SystemTime,
    /// When its attributes were last changed, in whole seconds.
    pub updated: SystemTime,
    /// Before this it does not wrap.
    pub not_before: Option<SystemTime>,
    /// From this on it does not wrap.
    pub expires: Option<SystemTime>,
    /// What becomes of it when it is deleted, such as `Recoverable+Purgeable`.
    pub recovery_level: Option<String>,
}

impl VersionFacts {
    /// What may be done with it at this time, as far as its attributes say.
    #[must_use]
    pub fn state(&self, now: SystemTime) -> KeyState {
        if !self.enabled {
            KeyState::Disabled
        } else if self.expires.is_some_and(|end| now >= end) {
            KeyState::Expired
        } else if self.not_before.is_some_and(|start| now < start) {
            KeyState::NotYetValid
        } else {
            KeyState::Enabled
        }
    }

    /// The description that a provider gives.
    ///
    /// # Errors
    ///
    /// None but for a defect: the URL has a version.
    pub(crate) fn info(&self, now: SystemTime, algorithm: Option<&str>) -> Result<KeyInfo, Error> {
        let mut info = KeyInfo::new(self.url.key_id()?, self.state(now)).with_created(self.created);
        info.version = self.url.version().map(ToString::to_string);
        info.algorithm = algorithm.map(str::to_owned);
        info.not_before = self.not_before;
        info.expires = self.expires;
        Ok(info)
    }

    fn read(
        kid: Option<&str>,
        attributes: Option<&KeyAttributes>,
        asked: &KeyUrl,
        operation: Operation,
    ) -> Result<Self, Error> {
        let odd = |what: &str| unexpected(asked, operation, what);
        let Some(url) = kid.and_then(|kid| asked.of_answer(kid)) else {
            return Err(odd("the answer is about another key than was asked for"));
        };
        let attributes = attributes.ok_or_else(|| odd("the key has no attributes"))?;
        let created = attributes
            .created
            .ok_or_else(|| odd("the key has no time of creation"))?;
        Ok(Self {
            url,
            enabled: attributes.enabled.unwrap_or(true),
            created: created.into(),
            updated: attributes.updated.unwrap_or(created).into(),
            not_before: attributes.not_before.map(time),
            expires: attributes.expires.map(time),
            recovery_level: attributes.recovery_level.as_ref().map(ToString::to_string),
        })
    }

    pub(super) fn of_list(item: &KeyProperties, asked: &KeyUrl) -> Result<Self, Error> {
        Self::read(
            item.kid.as_deref(),
            item.attributes.as_ref(),
            asked,
            Operation::ListVersions,
        )
    }
}

fn time(time: OffsetDateTime) -> SystemTime {
    time.into()
}

pub(super) fn unexpected(key: &KeyUrl, operation: Operation, what: &str) -> Error {
    VaultError::found(Fault::UnexpectedAnswer, operation)
        .with_message(what)
        .about(key, None)
}

/// What a key is made of, as far as wrapping goes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA of 2048, 3072 or 4096 bits.
    Rsa {
        /// The size of the modulus, in bits.
        bits: u16,
        /// Whether it lies in an HSM, where it is dearer.
        hsm: bool,
    },
    /// AES in a Managed HSM. The service does not tell the size.
    Aes,
    /// One that cannot wrap: elliptic curves, and sizes of RSA that are not offered.
    Unsuitable(String),
}

impl KeyKind {
    /// What one operation weighs in a vault's limits: 1 for RSA-2048 in software, of which a vault
    /// takes 4,000 in 10 seconds, as documented (facts of 2026: RSA-3072 four times that, RSA-4096
    /// eight times, each twice that in an HSM).
    #[must_use]
    pub const fn units(&self) -> u32 {
        match self {
            Self::Rsa { bits, hsm } => {
                let size: u32 = match bits {
                    ..=2048 => 1,
                    2049..=3072 => 4,
                    _ => 8,
                };
                if *hsm { size.saturating_mul(2) } else { size }
            }
            Self::Aes | Self::Unsuitable(_) => 1,
        }
    }
}

/// The public half of an RSA key, in big-endian bytes without leading zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RsaPublicKey {
    /// The modulus.
    pub modulus: Vec<u8>,
    /// The public exponent.
    pub exponent: Vec<u8>,
}

/// One version of a key, with what it is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyBundle {
    /// Id and attributes.
    pub facts: VersionFacts,
    /// What it is made of.
    pub kind: KeyKind,
    /// The operations that the key itself allows, such as `wrapKey`.
    pub operations: Vec<String>,
    /// The public half of an RSA key.
    pub public_key: Option<RsaPublicKey>,
}

impl KeyBundle {
    pub(super) fn read(key: &Key, asked: &KeyUrl) -> Result<Self, Error> {
        let operation = Operation::GetKey;
        let jwk = key
            .key
            .as_ref()
            .ok_or_else(|| unexpected(asked, operation, "there is no key in the answer"))?;
        let facts = VersionFacts::read(
            jwk.kid.as_deref(),
            key.attributes.as_ref(),
            asked,
            operation,
        )?;
        let public_key = public_key(jwk);
        Ok(Self {
            facts,
            kind: kind(jwk, public_key.as_ref()),
            operations: jwk.key_ops.clone().unwrap_or_default(),
            public_key,
        })
    }

    /// Whether the key itself allows an operation. A vault that lists none does not say.
    #[must_use]
    pub fn allows(&self, operation: Operation) -> bool {
        let name = operation.as_str();
        self.operations.is_empty() || self.operations.iter().any(|allowed| allowed == name)
    }
}

fn public_key(jwk: &JsonWebKey) -> Option<RsaPublicKey> {
    Some(RsaPublicKey {
        modulus: without_leading_zeros(jwk.n.as_deref()?),
        exponent: without_leading_zeros(jwk.e.as_deref()?),
    })
}

fn without_leading_zeros(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

fn kind(jwk: &JsonWebKey, public_key: Option<&RsaPublicKey>) -> KeyKind {
    let rsa = |hsm| {
        // Counted by the modulus itself: a service that says one size and gives another is caught.
        let bits = public_key.and_then(|key| match (key.modulus.len(), key.modulus.first()) {
            (256, Some(0x80..)) => Some(2048),
            (384, Some(0x80..)) => Some(3072),
            (512, Some(0x80..)) => Some(4096),
            _ => None,
        });
        match bits {
            Some(bits) => KeyKind::Rsa { bits, hsm },
            None => KeyKind::Unsuitable("RSA of another size than 2048, 3072 or 4096 bits".into()),
        }
    };
    match &jwk.kty {
        Some(KeyType::Rsa) => rsa(false),
        Some(KeyType::RsaHsm) => rsa(true),
        Some(KeyType::OctHsm | KeyType::Oct) => KeyKind::Aes,
        Some(KeyType::Ec | KeyType::EcHsm) => KeyKind::Unsuitable("an elliptic curve".into()),
        Some(_) | None => KeyKind::Unsuitable("a key type that is not known here".into()),
    }
}
