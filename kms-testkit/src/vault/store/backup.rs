//! A key as a backup holds it: all versions with their ids, and the policy.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use kms_core::{Error, OsRandom, SecureRandom as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::key::{KeyOps, KeyRecord, Version};
use super::rotation::RotationPolicy;
use crate::vault::access::Kind;
use crate::vault::call::{decode, encode};
use crate::vault::material::{Curve, EcKey, Material, OctKey, RsaKey};
use crate::vault::refusal::Refusal;

/// Seals backups. It stands for subscription and geography: nowhere else do they open.
pub(in crate::vault) struct BackupKey(RandomizedNonceKey);

#[derive(Deserialize, Serialize)]
struct Saved {
    kind: SavedKind,
    name: String,
    versions: Vec<SavedVersion>,
    policy: Option<RotationPolicy>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
enum SavedKind {
    KeyVault,
    ManagedHsm,
}

#[derive(Deserialize, Serialize)]
struct SavedVersion {
    id: String,
    material: SavedMaterial,
    hsm: bool,
    attributes: Attributes,
    key_ops: Vec<String>,
    tags: BTreeMap<String, String>,
    release_policy: Option<Value>,
}

/// All numbers as base64url.
#[derive(Deserialize, Serialize)]
enum SavedMaterial {
    Rsa {
        pkcs8: String,
    },
    Ec {
        crv: String,
        x: String,
        y: String,
        d: String,
    },
    Oct {
        k: String,
    },
}

impl From<Kind> for SavedKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::KeyVault => Self::KeyVault,
            Kind::ManagedHsm => Self::ManagedHsm,
        }
    }
}

impl BackupKey {
    pub(in crate::vault) fn generate() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        OsRandom.fill(&mut *key)?;
        RandomizedNonceKey::new(&AES_256_GCM, &*key)
            .map(Self)
            .map_err(|_| Error::new(kms_core::ErrorKind::Internal, "no key for backups"))
    }

    pub(in crate::vault) fn seal(&self, kind: Kind, key: &KeyRecord) -> Result<Vec<u8>, Refusal> {
        let failed = || Refusal::internal("the backup could not be made");
        let saved = Saved {
            kind: kind.into(),
            name: key.name.clone(),
            versions: key
                .versions()
                .iter()
                .map(SavedVersion::new)
                .collect::<Result<_, _>>()?,
            policy: key.policy.clone(),
        };
        let mut bytes = serde_json::to_vec(&saved).map_err(|_| failed())?;
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::empty(), &mut bytes)
            .map_err(|_| failed())?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(sealed)
    }

    /// The key in a backup of this kind of store.
    pub(in crate::vault) fn open(&self, kind: Kind, sealed: &[u8]) -> Result<KeyRecord, Refusal> {
        let invalid = || {
            Refusal::bad_parameter(
                "Property value has invalid value: not a backup of a key of this subscription.",
            )
        };
        let (nonce, rest) = sealed.split_first_chunk::<12>().ok_or_else(invalid)?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let opened = self
            .0
            .open_in_place(nonce.into(), Aad::empty(), &mut bytes)
            .map_err(|_| invalid())?;
        let saved: Saved = serde_json::from_slice(opened).map_err(|_| invalid())?;
        if saved.kind != kind.into() {
            return Err(invalid());
        }
        let mut key = KeyRecord::new(&saved.name);
        key.policy = saved.policy;
        for version in saved.versions {
            key.push(version.restore()?);
        }
        Ok(key)
    }
}

impl core::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BackupKey")
    }
}

impl SavedVersion {
    fn new(version: &Version) -> Result<Self, Refusal> {
        let material = match &version.material {
            Material::Rsa(key) => SavedMaterial::Rsa {
                pkcs8: encode(&key.to_pkcs8()?),
            },
            Material::Ec(key) => {
                let (x, y) = key.public();
                SavedMaterial::Ec {
                    crv: key.curve().name().to_owned(),
                    x: encode(&x),
                    y: encode(&y),
                    d: encode(&key.private()?),
                }
            }
            Material::Oct(key) => SavedMaterial::Oct {
                k: encode(key.bytes()),
            },
        };
        Ok(Self {
            id: version.id.clone(),
            material,
            hsm: version.hsm,
            attributes: version.attributes,
            key_ops: version
                .key_ops
                .names()
                .iter()
                .map(|op| (*op).to_owned())
                .collect(),
            tags: version.tags.clone(),
            release_policy: version.release_policy.clone(),
        })
    }

    fn restore(self) -> Result<Version, Refusal> {
        let material = match &self.material {
            SavedMaterial::Rsa { pkcs8 } => Material::Rsa(RsaKey::from_pkcs8(&Zeroizing::new(
                decode("value", pkcs8)?,
            ))?),
            SavedMaterial::Ec { crv, x, y, d } => Material::Ec(EcKey::from_parts(
                Curve::named(crv)?,
                &decode("value", x)?,
                &decode("value", y)?,
                &Zeroizing::new(decode("value", d)?),
            )?),
            SavedMaterial::Oct { k } => {
                Material::Oct(OctKey::new(Zeroizing::new(decode("value", k)?))?)
            }
        };
        Ok(Version {
            id: self.id,
            key_ops: KeyOps::new(material.kind(), Some(&self.key_ops))?,
            material,
            hsm: self.hsm,
            attributes: self.attributes,
            tags: self.tags,
            release_policy: self.release_policy,
        })
    }
}
