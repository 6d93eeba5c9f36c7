//! What `wrap` gives and takes.

use kms_core::{
    CallOptions, ContextSupport, EncryptionContext, Error, ErrorKind, KeyProvider, SecretBytes,
    UnwrapOptions, WrapOptions,
};

use super::harness::{Harness, wrap};
use super::report::{Outcome, Verdict, Violation, ensure, fails_with, skip, succeeds, violation};

/// Sizes up to here are all tried; above, those about each power of two.
const SMALL: usize = 64;

/// A DEK of every length wraps and unwraps, twice, to what it was: every size to 64 bytes, about
/// every power of two above, and the limit.
///
/// # Errors
///
/// A [`Violation`] that says which length failed and how.
pub async fn round_trip(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let limit = provider.capabilities().max_plaintext_len;
    ensure(limit > 0, || "max_plaintext_len is 0".to_owned())?;
    for length in lengths(limit) {
        let dek = patterned_dek(length);
        let wrapped = match wrap(harness, &dek).await {
            Ok(wrapped) => wrapped,
            Err(outcome) => return *outcome,
        };
        for _ in 0..2 {
            let opened = provider.unwrap(&wrapped, &UnwrapOptions::default()).await;
            let opened = succeeds(opened, &format!("unwrapping a DEK of {length} bytes"))?;
            ensure(opened == dek, || {
                format!("a DEK of {length} bytes comes back as another")
            })?;
        }
    }
    Ok(Verdict::Held)
}

/// The limit may be `usize::MAX`; what no wrapped key can hold is not tried.
fn lengths(limit: usize) -> Vec<usize> {
    let limit = limit.min(kms_core::WrappedKey::MAX_CIPHERTEXT_LEN / 2);
    let powers = core::iter::successors(Some(SMALL), |power| power.checked_mul(2));
    let mut lengths: Vec<usize> = (1..=SMALL.min(limit)).collect();
    for power in powers.take_while(|power| *power <= limit) {
        lengths.extend([power.saturating_sub(1), power, power.saturating_add(1)]);
    }
    lengths.push(limit);
    lengths.retain(|length| *length <= limit);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Bytes that are not alike, so that a mixed-up order shows.
pub(super) fn patterned_dek(length: usize) -> SecretBytes {
    let bytes = (0..length).map(|index| {
        let mixed = index
            .wrapping_mul(167)
            .wrapping_add(length)
            .wrapping_add(89);
        mixed.to_le_bytes().first().copied().unwrap_or_default()
    });
    SecretBytes::from_vec(bytes.collect())
}

/// Two wraps of one DEK differ.
///
/// # Errors
///
/// A [`Violation`] if they do not.
pub async fn wraps_differ(harness: &dyn Harness) -> Outcome {
    let dek = patterned_dek(32);
    let (one, two) = match (wrap(harness, &dek).await, wrap(harness, &dek).await) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(outcome), _) | (_, Err(outcome)) => return *outcome,
    };
    ensure(one.ciphertext() != two.ciphertext(), || {
        "two wraps of one DEK give one ciphertext".to_owned()
    })?;
    Ok(Verdict::Held)
}

/// The result of `wrap` names the key that `current_key` describes, and that key may wrap.
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn wrap_names_the_current_key(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    if !provider.capabilities().wraps {
        return skip("the provider does not wrap");
    }
    let call = CallOptions::default();
    // The key may change in between, so try again a few times until it did not.
    for _ in 0..8 {
        let before = succeeds(provider.current_key(&call).await, "current_key")?;
        let dek = patterned_dek(32);
        let wrapped = succeeds(provider.wrap(&dek, &WrapOptions::default()).await, "wrap")?;
        let after = succeeds(provider.current_key(&call).await, "current_key")?;
        if before.id != after.id {
            continue;
        }
        ensure(wrapped.key_id() == Some(&before.id), || {
            format!(
                "wrap names {:?}, current_key {:?}",
                wrapped.key_id(),
                before.id
            )
        })?;
        ensure(before.state.can_wrap(), || {
            format!("current_key describes a key that is {}", before.state)
        })?;
        return Ok(Verdict::Held);
    }
    violation("current_key changes at every call")
}

/// No DEK at all and a DEK over the limit are refused with [`ErrorKind::InvalidInput`].
///
/// # Errors
///
/// A [`Violation`] if not.
pub async fn dek_length_is_bounded(harness: &dyn Harness) -> Outcome {
    let provider = harness.provider();
    let capabilities = provider.capabilities();
    if !capabilities.wraps {
        return skip("the provider does not wrap");
    }
    let options = WrapOptions::default();
    let empty = provider.wrap(&patterned_dek(0), &options).await;
    fails_with(empty, &[ErrorKind::InvalidInput], "wrapping an empty DEK")?;
    let over = capabilities.max_plaintext_len.checked_add(1);
    // A limit that memory cannot reach is not tried.
    if let Some(over) = over.filter(|over| *over <= 1 << 24) {
        let answer = provider.wrap(&patterned_dek(over), &options).await;
        let what = format!("wrapping {over} bytes, one over the limit,");
        fails_with(answer, &[ErrorKind::InvalidInput], &what)?;
    }
    Ok(Verdict::Held)
}

/// A context is authenticated, or refused; never ignored.
///
/// # Errors
///
/// A [`Violation`] that says which of it was accepted.
pub async fn context_is_bound_or_refused(harness: &dyn Harness) -> Outcome {
    let contexts = contexts().map_err(|error| Violation::new(error.to_string()))?;
    let provider = harness.provider();
    match provider.capabilities().context {
        ContextSupport::Native => native_context(&*provider, &contexts).await,
        _ => no_context(harness, &contexts).await,
    }
}

/// All distinct, and near enough to each other to be confused by careless encodings.
fn contexts() -> Result<Vec<EncryptionContext>, Error> {
    let pairs: [&[(&str, &str)]; 6] = [
        &[],
        &[("tenant", "a")],
        &[("tenant", "b")],
        &[("tenanta", "")],
        &[("tenant", "a"), ("x", "")],
        &[("a", "tenant")],
    ];
    pairs
        .into_iter()
        .map(|pairs| {
            pairs
                .iter()
                .try_fold(EncryptionContext::new(), |context, (name, value)| {
                    context.with(*name, *value)
                })
        })
        .collect()
}

async fn native_context(provider: &dyn KeyProvider, contexts: &[EncryptionContext]) -> Outcome {
    if !provider.capabilities().wraps {
        return skip("the provider does not wrap");
    }
    let dek = patterned_dek(32);
    for context in contexts {
        let options = WrapOptions::default().with_context(context.clone());
        let wrapped = provider.wrap(&dek, &options).await;
        let wrapped = succeeds(wrapped, &format!("wrapping under {context:?}"))?;
        for other in contexts {
            let options = UnwrapOptions::default().with_context(other.clone());
            let answer = provider.unwrap(&wrapped, &options).await;
            let what = format!("unwrapping under {other:?} what was wrapped under {context:?}");
            if context == other {
                ensure(succeeds(answer, &what)? == dek, || {
                    format!("{what} gives another DEK")
                })?;
            } else {
                fails_with(answer, &[ErrorKind::Crypto], &what)?;
            }
        }
    }
    Ok(Verdict::Held)
}

async fn no_context(harness: &dyn Harness, contexts: &[EncryptionContext]) -> Outcome {
    let provider = harness.provider();
    let dek = patterned_dek(32);
    let wrapped = match wrap(harness, &dek).await {
        Ok(wrapped) => wrapped,
        Err(outcome) => return *outcome,
    };
    for context in contexts.iter().filter(|context| !context.is_empty()) {
        if provider.capabilities().wraps {
            let options = WrapOptions::default().with_context(context.clone());
            let answer = provider.wrap(&dek, &options).await;
            fails_with(
                answer,
                &[ErrorKind::Unsupported],
                "wrapping under a context",
            )?;
        }
        let options = UnwrapOptions::default().with_context(context.clone());
        let answer = provider.unwrap(&wrapped, &options).await;
        fails_with(
            answer,
            &[ErrorKind::Unsupported],
            "unwrapping under a context",
        )?;
    }
    Ok(Verdict::Held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_hold_both_ends_and_no_more() {
        assert_eq!(lengths(1), [1]);
        let lengths_4096 = lengths(4096);
        assert_eq!(lengths_4096.last(), Some(&4096));
        assert!(
            [1, 2, 63, 64, 65, 127, 4095]
                .iter()
                .all(|l| lengths_4096.contains(l))
        );
        assert_eq!(lengths(190).last(), Some(&190));
        assert_eq!(lengths(usize::MAX).last(), Some(&32_767));
    }

    #[test]
    fn the_contexts_are_distinct() {
        let contexts = contexts().unwrap();
        let distinct: std::collections::BTreeSet<_> = contexts.iter().collect();
        assert_eq!(distinct.len(), contexts.len());
    }
}
