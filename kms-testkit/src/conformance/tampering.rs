//! What was changed must not open.

use kms_core::{ErrorKind, KeyId, KeyProvider, SecretBytes, UnwrapOptions, WrappedKey};

use super::harness::{Harness, HookOutcome, wrap};
use super::report::{Outcome, Verdict, Violation, ensure, fails_with, skip, succeeds};
use super::wrapping::patterned_dek;

/// What a key-locating header may answer with when it is hit, besides [`ErrorKind::Crypto`].
const IN_HEADER: &[ErrorKind] = &[ErrorKind::Crypto, ErrorKind::KeyNotFound];
const AT_END: &[ErrorKind] = &[ErrorKind::Crypto];

/// A ciphertext with any one byte changed, or cut, or longer, does not open: with its key id, and
/// without if the provider opens such.
///
/// # Errors
///
/// A [`Violation`] that says which change was accepted or answered with the wrong kind.
pub async fn tampering_is_detected(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    for (what, kinds, ciphertext) in changes(wrapped.ciphertext()) {
        let changed = rebuild(&wrapped, wrapped.key_id().cloned(), ciphertext.clone())?;
        let answer = provider.unwrap(&changed, &UnwrapOptions::default()).await;
        fails_with(answer, kinds, &format!("unwrapping with {what}"))?;
        if provider.capabilities().unwraps_without_key_id {
            let changed = rebuild(&wrapped, None, ciphertext)?;
            let answer = provider.unwrap(&changed, &UnwrapOptions::default()).await;
            fails_with(
                answer,
                kinds,
                &format!("unwrapping, without key id, with {what}"),
            )?;
        }
    }
    Ok(Verdict::Held)
}

type Change = (String, &'static [ErrorKind], Vec<u8>);

fn changes(ciphertext: &[u8]) -> Vec<Change> {
    let length = ciphertext.len();
    let last = length.saturating_sub(1);
    let mut changes: Vec<Change> = Vec::new();
    for index in 0..length {
        let kinds = if index == last { AT_END } else { IN_HEADER };
        for bit in [0x01, 0x80] {
            let flipped = ciphertext.iter().enumerate().map(|(at, byte)| match at {
                at if at == index => byte ^ bit,
                _ => *byte,
            });
            changes.push((format!("byte {index} changed"), kinds, flipped.collect()));
        }
    }
    for keep in [1, length / 2, last] {
        if let Some((kept, cut)) = ciphertext.split_at_checked(keep)
            && !kept.is_empty()
            && !cut.is_empty()
        {
            changes.push((
                format!("only its first {keep} bytes"),
                IN_HEADER,
                kept.to_vec(),
            ));
            changes.push((
                format!("its first {keep} bytes gone"),
                IN_HEADER,
                cut.to_vec(),
            ));
        }
    }
    for byte in [0, 0xff] {
        let longer = [ciphertext, &[byte]].concat();
        changes.push((format!("a byte {byte:#04x} behind it"), IN_HEADER, longer));
    }
    changes
}

/// Annotations that were changed, or are gone, lead to an error or to the same DEK, never to
/// another one.
///
/// # Errors
///
/// A [`Violation`] that names the annotation.
pub async fn annotations_do_not_mislead(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    let bare = rebuild_bare(&wrapped)?;
    opens_as(&*provider, &bare, &dek, "no annotations").await?;
    for (name, value) in wrapped.annotations() {
        let mut variants = vec![Vec::new(), vec![0; value.len()]];
        variants.extend((0..value.len()).map(|index| {
            let flipped = value.iter().enumerate();
            flipped
                .map(|(at, byte)| if at == index { byte ^ 1 } else { *byte })
                .collect()
        }));
        for variant in variants {
            let changed = wrapped.clone().with_annotation(name.clone(), variant);
            let changed = succeeds(changed, "changing an annotation")?;
            opens_as(
                &*provider,
                &changed,
                &dek,
                &format!("annotation {name:?} changed"),
            )
            .await?;
        }
    }
    let extra = wrapped
        .clone()
        .with_annotation("unknown.kms-testkit.example", vec![0; 64]);
    let extra = succeeds(extra, "adding an annotation")?;
    opens_as(&*provider, &extra, &dek, "an unknown annotation").await?;
    Ok(Verdict::Held)
}

async fn opens_as(
    provider: &dyn KeyProvider,
    wrapped: &WrappedKey,
    dek: &SecretBytes,
    what: &str,
) -> Result<(), Violation> {
    let opened = provider.unwrap(wrapped, &UnwrapOptions::default()).await;
    ensure(
        opened.is_err() || opened.is_ok_and(|opened| opened == *dek),
        || format!("with {what} it opens as another DEK"),
    )
}

/// An id that no key has is refused with [`ErrorKind::KeyNotFound`], also one of the greatest
/// length; the error names the provider.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn unknown_key_id_is_not_found(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let wrapped = match wrap(harness, &patterned_dek(32)).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    for id in [
        harness.unknown_key_id(),
        KeyId::new("k".repeat(KeyId::MAX_LEN)),
    ] {
        let id = succeeds(id, "making an unknown key id")?;
        let length = id.as_str().len();
        let changed = rebuild(&wrapped, Some(id), wrapped.ciphertext().to_vec())?;
        let answer = provider.unwrap(&changed, &UnwrapOptions::default()).await;
        let what = format!("unwrapping under an unknown key id of {length} bytes");
        let error = fails_with(answer, &[ErrorKind::KeyNotFound], &what)?;
        ensure(
            error.provider().is_some_and(|name| !name.is_empty()),
            || format!("the error does not name the provider: {error:?}"),
        )?;
    }
    Ok(Verdict::Held)
}

/// Under the id of another key that exists, a ciphertext does not open. Rotates.
///
/// # Errors
///
/// A [`Violation`] if it opens, or fails with another kind than [`ErrorKind::Crypto`].
pub async fn key_id_is_bound(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let old = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    if succeeds(harness.rotate().await, "the rotate hook")? == HookOutcome::Absent {
        return skip("the harness has no rotate hook");
    }
    let new = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    for (ciphertext, id) in [(&old, &new), (&new, &old)] {
        let swapped = rebuild(
            ciphertext,
            id.key_id().cloned(),
            ciphertext.ciphertext().to_vec(),
        )?;
        let answer = provider.unwrap(&swapped, &UnwrapOptions::default()).await;
        fails_with(
            answer,
            &[ErrorKind::Crypto],
            "unwrapping under the id of another key",
        )?;
    }
    Ok(Verdict::Held)
}

/// The same wrapped key with another id and ciphertext.
pub(super) fn rebuild(
    wrapped: &WrappedKey,
    id: Option<KeyId>,
    ciphertext: Vec<u8>,
) -> Result<WrappedKey, Violation> {
    let rebuilt = match id {
        Some(id) => WrappedKey::new(id, ciphertext),
        None => WrappedKey::without_key_id(ciphertext),
    };
    let rebuilt = wrapped
        .annotations()
        .iter()
        .fold(rebuilt, |rebuilt, (name, value)| {
            rebuilt?.with_annotation(name.clone(), value.clone())
        });
    succeeds(rebuilt, "building a wrapped key")
}

fn rebuild_bare(wrapped: &WrappedKey) -> Result<WrappedKey, Violation> {
    let ciphertext = wrapped.ciphertext().to_vec();
    let bare = match wrapped.key_id() {
        Some(id) => WrappedKey::new(id.clone(), ciphertext),
        None => WrappedKey::without_key_id(ciphertext),
    };
    succeeds(bare, "building a wrapped key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_one() {
        let ciphertext = [7; 5];
        let changes = changes(&ciphertext);
        assert_eq!(changes.len(), 5 * 2 + 3 * 2 + 2);
        for (what, _, changed) in changes {
            assert!(changed != ciphertext && !changed.is_empty(), "{what}");
        }
    }
}
