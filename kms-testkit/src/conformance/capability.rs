//! Capabilities are true, in both directions.

use std::collections::BTreeSet;

use kms_core::{CallOptions, ErrorKind, UnwrapOptions, WrapOptions, WrappedKey};

use super::harness::{Harness, wrap};
use super::report::{Outcome, Verdict, ensure, fails_with, succeeds};
use super::tampering::rebuild;
use super::wrapping::patterned_dek;

const UNSUPPORTED: &[ErrorKind] = &[ErrorKind::Unsupported];

/// `wrap` works, or is refused with [`ErrorKind::Unsupported`]; and what is announced does not
/// change.
///
/// # Errors
///
/// A [`Violation`](super::Violation) if the announcement is not true.
pub async fn wrapping_is_as_announced(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let announced = provider.capabilities();
    let dek = patterned_dek(announced.max_plaintext_len.min(32));
    let answer = provider.wrap(&dek, &WrapOptions::default()).await;
    if announced.wraps {
        succeeds(answer, "wrap, which is announced,")?;
    } else {
        fails_with(answer, UNSUPPORTED, "wrap, which is not announced,")?;
    }
    ensure(provider.capabilities() == announced, || {
        "capabilities have changed".to_owned()
    })?;
    Ok(Verdict::Held)
}

/// `describe_key` describes the current key and does not find an unknown one, or is refused with
/// [`ErrorKind::Unsupported`].
///
/// # Errors
///
/// A [`Violation`](super::Violation) if the announcement is not true.
pub async fn describing_is_as_announced(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let call = CallOptions::default();
    let announced = provider.capabilities();
    let unknown = succeeds(harness.unknown_key_id(), "making an unknown key id")?;
    let answer = provider.describe_key(&unknown, &call).await;
    if !announced.describes_keys {
        fails_with(answer, UNSUPPORTED, "describe_key, which is not announced,")?;
        return Ok(Verdict::Held);
    }
    fails_with(
        answer,
        &[ErrorKind::KeyNotFound],
        "describing an unknown key",
    )?;
    if announced.wraps {
        let current = succeeds(provider.current_key(&call).await, "current_key")?;
        let described = provider.describe_key(&current.id, &call).await;
        let described = succeeds(described, "describing the current key")?;
        ensure(described.id == current.id, || {
            format!("{:?} is described as {:?}", current.id, described.id)
        })?;
    }
    Ok(Verdict::Held)
}

/// `list_keys` lists the current key and no id twice, or is refused with
/// [`ErrorKind::Unsupported`].
///
/// # Errors
///
/// A [`Violation`](super::Violation) if the announcement is not true.
pub async fn listing_is_as_announced(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let call = CallOptions::default();
    let announced = provider.capabilities();
    let answer = provider.list_keys(&call).await;
    if !announced.lists_keys {
        fails_with(answer, UNSUPPORTED, "list_keys, which is not announced,")?;
        return Ok(Verdict::Held);
    }
    let keys = succeeds(answer, "list_keys, which is announced,")?;
    let distinct: BTreeSet<_> = keys.iter().map(|key| &key.id).collect();
    ensure(distinct.len() == keys.len(), || {
        "a key is listed twice".to_owned()
    })?;
    if announced.wraps {
        let current = succeeds(provider.current_key(&call).await, "current_key")?;
        ensure(keys.iter().any(|key| key.id == current.id), || {
            format!("the current key {:?} is not listed", current.id)
        })?;
    }
    Ok(Verdict::Held)
}

/// What the provider has wrapped opens from its ciphertext alone, without key id and annotations,
/// as KMS v1 stores it. If that is not announced, it is refused without its key id, with
/// annotations or without, by [`ErrorKind::Unsupported`]; a union that opens older data of this
/// kind but not its own may answer [`ErrorKind::Crypto`] too.
///
/// # Errors
///
/// A [`Violation`](super::Violation) if the announcement is not true.
pub async fn unwrapping_without_key_id_is_as_announced(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    let ciphertext = wrapped.ciphertext().to_vec();
    let annotated = rebuild(&wrapped, None, ciphertext.clone())?;
    let bare = succeeds(
        WrappedKey::without_key_id(ciphertext),
        "building a wrapped key",
    )?;
    let options = UnwrapOptions::default();
    let answer = provider.unwrap(&bare, &options).await;
    if provider.capabilities().unwraps_without_key_id {
        let opened = succeeds(
            answer,
            "unwrapping without key id and annotations, which is announced,",
        )?;
        ensure(opened == dek, || {
            "without key id another DEK comes out".to_owned()
        })?;
    } else {
        for answer in [answer, provider.unwrap(&annotated, &options).await] {
            fails_with(
                answer,
                &[ErrorKind::Unsupported, ErrorKind::Crypto],
                "unwrapping without key id, which is not announced,",
            )?;
        }
    }
    Ok(Verdict::Held)
}
