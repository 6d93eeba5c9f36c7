//! Valid values out of a fuzzer's bytes.

use core::time::Duration;
use std::collections::BTreeMap;

use ::arbitrary::{Arbitrary, Error, Result, Unstructured};
use kms_core::WrappedKey;
use kms_core::arbitrary::text;

use crate::Purpose;
use crate::cache::{DekLimits, Partition, UnwrapCacheOptions};
use crate::kubernetes::{DekSourceType, GroupResource, ProviderKind};
use crate::sealed::limits::{
    MAX_ANNOTATION_NAME_LEN, MAX_ANNOTATIONS, MAX_KEY_VERSION_LEN, MAX_PROVIDER_ID_LEN,
};
use crate::sealed::{ChunkSize, Recipient, Suite};

impl<'a> Arbitrary<'a> for Partition {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let name = text(u, 0..=Self::MAX_LEN, |_| true)?;
        Self::new(name).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Purpose {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?).with_partition(u.arbitrary()?))
    }
}

/// Small numbers, so that a harness gets to see a limit at work.
impl<'a> Arbitrary<'a> for DekLimits {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            max_messages: u.int_in_range(0..=64)?,
            max_bytes: u.int_in_range(0..=1 << 20)?,
            max_age: seconds(u)?,
            refresh_before: seconds(u)?,
            retry_every: seconds(u)?,
            purposes: u.int_in_range(0..=8)?,
            partitions: u.int_in_range(0..=8)?,
            call_limit: seconds(u)?,
        })
    }
}

/// Small numbers, so that a harness gets to see a limit at work.
impl<'a> Arbitrary<'a> for UnwrapCacheOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            capacity: u.int_in_range(0..=8)?,
            partitions: u.int_in_range(0..=8)?,
            keep_for: seconds(u)?,
            serve_stale_for: seconds(u)?,
            refresh_before: seconds(u)?,
            retry_every: seconds(u)?,
            remember_errors_for: seconds(u)?,
            remembered_errors: u.int_in_range(0..=8)?,
            call_limit: seconds(u)?,
        })
    }
}

fn seconds(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(match u.int_in_range(0..=9_u8)? {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        _ => Duration::from_millis(u.int_in_range(0..=100_000)?),
    })
}

impl<'a> Arbitrary<'a> for Suite {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[Self::Aes256Gcm, Self::ChaCha20Poly1305])
            .copied()
    }
}

/// Mostly the smallest, so that short plaintexts have several chunks.
impl<'a> Arbitrary<'a> for ChunkSize {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.ratio(3_u8, 4)? {
            return Ok(Self::MIN);
        }
        Self::from_exponent(u.int_in_range(12..=24)?).ok_or(Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Recipient {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let provider_id = text(
            u,
            1..=MAX_PROVIDER_ID_LEN,
            |character| matches!(character, 'a'..='z' | '0'..='9' | '-' | '.' | '_'),
        )?;
        let version = text(u, 0..=MAX_KEY_VERSION_LEN, |character| {
            !character.is_control()
        })?;
        let wrapped = WrappedKey::arbitrary(u)?;
        // A wrapped key in general may lack what one of a recipient has.
        let key_id = match wrapped.key_id() {
            Some(id) => id.clone(),
            None => u.arbitrary()?,
        };
        let annotations: BTreeMap<_, _> = wrapped
            .annotations()
            .iter()
            .filter(|(name, _)| (1..=MAX_ANNOTATION_NAME_LEN).contains(&name.len()))
            .take(MAX_ANNOTATIONS)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        WrappedKey::new(key_id, wrapped.ciphertext().to_vec())
            .and_then(|wrapped| wrapped.with_annotations(annotations))
            .map_err(|_| Error::IncorrectFormat)
            .and_then(|wrapped| {
                Self::new(provider_id, wrapped)
                    .and_then(|recipient| recipient.with_key_version(version))
                    .map_err(|_| Error::IncorrectFormat)
            })
    }
}

impl<'a> Arbitrary<'a> for GroupResource<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::parse)
    }
}

impl<'a> Arbitrary<'a> for ProviderKind {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[
            Self::Identity,
            Self::AesCbc,
            Self::AesGcm,
            Self::Secretbox,
            Self::KmsV1,
            Self::KmsV2,
        ])
        .copied()
    }
}

impl<'a> Arbitrary<'a> for DekSourceType {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[Self::AesGcmKey, Self::HkdfSha256XnonceAesGcmSeed])
            .copied()
    }
}
