//! Keys, contexts, and how to call a provider.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use ::arbitrary::{Arbitrary, Result, Unstructured};

use super::{accepted, bytes, length, text};
use crate::{
    CallOptions, EncryptionContext, KeyId, KeyInfo, KeyState, SecretBytes, Tick, UnwrapOptions,
    WrapOptions, WrappedKey,
};

impl<'a> Arbitrary<'a> for KeyId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let id = text(u, 1..=Self::MAX_LEN, |character| !character.is_control())?;
        accepted(Self::new(id))
    }
}

impl<'a> Arbitrary<'a> for KeyState {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[
            Self::Enabled,
            Self::Disabled,
            Self::NotYetValid,
            Self::Expired,
            Self::PendingDestruction,
            Self::Destroyed,
        ])
        .copied()
    }
}

impl<'a> Arbitrary<'a> for KeyInfo {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut info = Self::new(u.arbitrary()?, u.arbitrary()?);
        info.version = u.arbitrary()?;
        info.algorithm = u.arbitrary()?;
        info.created = time(u)?;
        info.not_before = time(u)?;
        info.expires = time(u)?;
        Ok(info)
    }
}

fn time(u: &mut Unstructured<'_>) -> Result<Option<SystemTime>> {
    let seconds: Option<u32> = u.arbitrary()?;
    Ok(seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds.into()))))
}

impl<'a> Arbitrary<'a> for EncryptionContext {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut context = Self::new();
        for pair in 0..length(u, 0..=Self::MAX_PAIRS)? {
            let mut name = text(u, 1..=Self::MAX_NAME_LEN, |_| true)?;
            if context.value(&name).is_some() {
                name = format!("pair {pair}");
            }
            if context.value(&name).is_none() {
                let value = text(u, 0..=Self::MAX_VALUE_LEN, |_| true)?;
                context = accepted(context.with(name, value))?;
            }
        }
        Ok(context)
    }
}

/// Without a key id there are no annotations, as in the format that stores none (KMS v1).
impl<'a> Arbitrary<'a> for WrappedKey {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let ciphertext = bytes(u, 1..=Self::MAX_CIPHERTEXT_LEN)?;
        let Some(id) = u.arbitrary()? else {
            return accepted(Self::without_key_id(ciphertext));
        };
        let mut wrapped = accepted(Self::new(id, ciphertext))?;
        let mut left = Self::MAX_ANNOTATIONS_LEN;
        for _ in 0..length(u, 0..=65)? {
            let name = text(u, 0..=left.min(256), |_| true)?;
            if wrapped.annotation(&name).is_none() {
                left = left.saturating_sub(name.len());
                let value = bytes(u, 0..=left)?;
                left = left.saturating_sub(value.len());
                wrapped = accepted(wrapped.with_annotation(name, value))?;
            }
        }
        Ok(wrapped)
    }
}

/// Mostly of a length that means something: an AES key, the longest DEK of most providers, one more.
impl<'a> Arbitrary<'a> for SecretBytes {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let length = match u.int_in_range(0..=7_u8)? {
            0..=2 => 32,
            3 => *u.choose(&[16, 24])?,
            4 => *u.choose(&[4096, 4097])?,
            _ => length(u, 0..=128)?,
        };
        bytes(u, length..=length).map(Self::from_vec)
    }
}

impl<'a> Arbitrary<'a> for Tick {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::ORIGIN + u.arbitrary()?)
    }
}

impl<'a> Arbitrary<'a> for CallOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            deadline: u.arbitrary()?,
            request_id: u.arbitrary()?,
        })
    }
}

impl<'a> Arbitrary<'a> for WrapOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let options = Self::default().with_call(u.arbitrary()?);
        Ok(options.with_context(u.arbitrary()?))
    }
}

impl<'a> Arbitrary<'a> for UnwrapOptions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let options = Self::default().with_call(u.arbitrary()?);
        Ok(options.with_context(u.arbitrary()?))
    }
}
