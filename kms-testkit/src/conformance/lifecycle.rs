//! What becomes of keys.

use std::collections::BTreeSet;

use kms_core::{CallOptions, ErrorKind, KeyId, SecretBytes, UnwrapOptions, WrappedKey};

use super::harness::{Harness, HookOutcome, wrap};
use super::report::{Outcome, Verdict, Violation, ensure, fails_with, skip, succeeds, violation};
use super::wrapping::patterned_dek;

const ROTATIONS: usize = 3;
const NO_ROTATE: &str = "the harness has no rotate hook";

/// A second instance over the same keys opens what the first has wrapped, and the other way round.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn another_instance_opens(harness: &dyn Harness) -> Outcome {
    let first = harness.provider();
    let Some(second) = succeeds(harness.reopen().await, "the reopen hook")? else {
        return skip("the harness has no reopen hook");
    };
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    let opened = second.unwrap(&wrapped, &UnwrapOptions::default()).await;
    ensure(
        succeeds(opened, "unwrapping with the second instance")? == dek,
        || "the second instance opens it as another DEK".to_owned(),
    )?;
    if second.capabilities().wraps {
        let wrapped = second.wrap(&dek, &Default::default()).await;
        let wrapped = succeeds(wrapped, "wrapping with the second instance")?;
        let opened = first.unwrap(&wrapped, &UnwrapOptions::default()).await;
        ensure(
            succeeds(opened, "unwrapping what the second has wrapped")? == dek,
            || "what the second has wrapped opens as another DEK".to_owned(),
        )?;
    }
    Ok(Verdict::Held)
}

/// After each of three rotations the current key is another one, its id was never seen before,
/// and everything wrapped so far still opens.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn rotation_keeps_old_keys(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let mut wraps: Vec<(SecretBytes, WrappedKey)> = Vec::new();
    let mut seen: BTreeSet<KeyId> = BTreeSet::new();
    if provider.capabilities().lists_keys {
        let keys = succeeds(
            provider.list_keys(&CallOptions::default()).await,
            "list_keys",
        )?;
        seen.extend(keys.into_iter().map(|key| key.id));
    }
    for rotation in 0..=ROTATIONS {
        let dek = patterned_dek(rotation.saturating_add(16));
        let wrapped = match wrap(harness, &dek).await {
            Ok(wrapped) => wrapped,
            Err(outcome) => return *outcome,
        };
        let Some(id) = wrapped.key_id().cloned() else {
            return violation("wrap names no key");
        };
        let is_new = seen.insert(id.clone());
        ensure(rotation == 0 || is_new, || {
            format!("after rotation {rotation} the key id {id} is used again")
        })?;
        wraps.push((dek, wrapped));
        for (age, (dek, wrapped)) in wraps.iter().rev().enumerate() {
            let opened = provider.unwrap(wrapped, &UnwrapOptions::default()).await;
            let opened = succeeds(opened, &format!("unwrapping what is {age} rotations old"))?;
            ensure(opened == *dek, || {
                format!("what is {age} rotations old is another DEK")
            })?;
        }
        if rotation < ROTATIONS
            && succeeds(harness.rotate().await, "the rotate hook")? == HookOutcome::Absent
        {
            return skip(NO_ROTATE);
        }
    }
    let order: Vec<&WrappedKey> = wraps.iter().map(|(_, wrapped)| wrapped).collect();
    listed_oldest_first(harness, &order).await?;
    Ok(Verdict::Held)
}

async fn listed_oldest_first(
    harness: &dyn Harness,
    wraps: &[&WrappedKey],
) -> Result<(), Violation> {
    let provider = harness.provider();
    if !provider.capabilities().lists_keys {
        return Ok(());
    }
    let keys = succeeds(
        provider.list_keys(&CallOptions::default()).await,
        "list_keys",
    )?;
    let places: Vec<Option<usize>> = wraps
        .iter()
        .map(|wrapped| {
            keys.iter()
                .position(|key| Some(&key.id) == wrapped.key_id())
        })
        .collect();
    ensure(
        places.iter().all(Option::is_some) && places.is_sorted(),
        || "list_keys does not list every key, oldest first".to_owned(),
    )
}

/// What a disabled key has wrapped is refused with [`ErrorKind::KeyDisabled`], and opens again
/// once it is enabled. Rotates first.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn disabled_key_is_refused(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let (dek, wrapped, id) = match under_an_old_key(harness).await {
        Ok(old) => old,
        Err(outcome) => return *outcome,
    };
    if succeeds(harness.disable(&id).await, "the disable hook")? == HookOutcome::Absent {
        return skip("the harness has no disable hook");
    }
    let answer = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
    fails_with(
        answer,
        &[ErrorKind::KeyDisabled],
        "unwrapping under a disabled key",
    )?;
    if succeeds(harness.enable(&id).await, "the enable hook")? == HookOutcome::Done {
        let opened = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
        ensure(
            succeeds(opened, "unwrapping under the key enabled again")? == dek,
            || "the key enabled again opens it as another DEK".to_owned(),
        )?;
    }
    Ok(Verdict::Held)
}

/// What a destroyed key has wrapped is refused with [`ErrorKind::KeyDestroyed`], or with
/// [`ErrorKind::KeyNotFound`] by a provider that does not remember. Rotates first.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn destroyed_key_is_refused(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let (_, wrapped, id) = match under_an_old_key(harness).await {
        Ok(old) => old,
        Err(outcome) => return *outcome,
    };
    if succeeds(harness.destroy(&id).await, "the destroy hook")? == HookOutcome::Absent {
        return skip("the harness has no destroy hook");
    }
    let kinds = [ErrorKind::KeyDestroyed, ErrorKind::KeyNotFound];
    let answer = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
    fails_with(answer, &kinds, "unwrapping under a destroyed key")?;
    Ok(Verdict::Held)
}

/// Something wrapped under a key that is not current any more.
async fn under_an_old_key(
    harness: &dyn Harness,
) -> Result<(SecretBytes, WrappedKey, KeyId), Box<Outcome>> {
    let dek = patterned_dek(32);
    let wrapped = wrap(harness, &dek).await?;
    let Some(id) = wrapped.key_id().cloned() else {
        return Err(Box::new(violation("wrap names no key")));
    };
    match harness.rotate().await {
        Ok(HookOutcome::Done) => Ok((dek, wrapped, id)),
        Ok(HookOutcome::Absent) => Err(Box::new(skip(NO_ROTATE))),
        Err(error) => Err(Box::new(violation(format!(
            "the rotate hook fails: {error:?}"
        )))),
    }
}
