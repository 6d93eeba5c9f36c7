//! The rules of [`KeyProvider`], checked.
//!
//! Implement [`Harness`] for the provider under test and call [`run_all`] from a test, which panics
//! if a rule is violated. Each rule is a function of its own too, for a closer look. A rule that
//! does not apply, because of what the provider says it can do or because the harness lacks a hook,
//! is reported as skipped with its reason; look at the [`Report`] once, so that no rule is skipped
//! that you thought was checked.
//!
//! | rule | what must hold |
//! |---|---|
//! | [`round_trip`] | what was wrapped unwraps, twice, at every size up to the limit |
//! | [`wraps_differ`] | two wraps of one DEK differ |
//! | [`wrap_names_the_current_key`] | the result of `wrap` names the key that `current_key` describes |
//! | [`dek_length_is_bounded`] | no DEK and one over the limit are [`ErrorKind::InvalidInput`] |
//! | [`context_is_bound_or_refused`] | `Native`: another context is [`ErrorKind::Crypto`]; `None`: any context is [`ErrorKind::Unsupported`], to wrap and to unwrap |
//! | [`tampering_is_detected`] | a changed ciphertext never opens |
//! | [`annotations_do_not_mislead`] | changed annotations never open as another DEK |
//! | [`unknown_key_id_is_not_found`] | it is [`ErrorKind::KeyNotFound`], and the error names the provider |
//! | [`key_id_is_bound`] | under the id of another key the ciphertext does not open |
//! | [`wrapping_is_as_announced`], [`describing_is_as_announced`], [`listing_is_as_announced`], [`unwrapping_without_key_id_is_as_announced`] | [`Capabilities`](kms_core::Capabilities) are true, in both directions |
//! | [`concurrent_calls_succeed`] | 64 round trips at once |
//! | [`cancellation_leaves_no_trace`] | dropped calls do not harm later ones |
//! | [`nothing_secret_is_shown`] | no key in `Debug` and `Display` of provider and errors |
//! | [`another_instance_opens`] | a second instance opens what the first has wrapped |
//! | [`rotation_keeps_old_keys`] | after rotation old wraps open, and no key id comes back |
//! | [`disabled_key_is_refused`] | a disabled key does not unwrap, and does again once enabled |
//! | [`destroyed_key_is_refused`] | a destroyed key does not unwrap |
//!
//! Which kind a tampered ciphertext is refused with: [`ErrorKind::Crypto`]. A provider whose
//! ciphertext says in its own header which key to use may answer [`ErrorKind::KeyNotFound`] if that
//! header is hit; the last byte, which is never header, must give `Crypto`.
//!
//! The suite runs on any executor and waits for nothing. On a tokio runtime, concurrent calls are
//! tasks of their own. A rule that does not end within [`Harness::patience`] has failed.
//!
//! [`KeyProvider`]: kms_core::KeyProvider
//! [`ErrorKind::Crypto`]: kms_core::ErrorKind::Crypto
//! [`ErrorKind::InvalidInput`]: kms_core::ErrorKind::InvalidInput
//! [`ErrorKind::KeyNotFound`]: kms_core::ErrorKind::KeyNotFound
//! [`ErrorKind::Unsupported`]: kms_core::ErrorKind::Unsupported

mod capability;
mod concurrency;
mod harness;
mod lifecycle;
mod report;
mod secrecy;
mod tampering;
mod watchdog;
mod wrapper;
mod wrapping;

pub use capability::{
    describing_is_as_announced, listing_is_as_announced, unwrapping_without_key_id_is_as_announced,
    wrapping_is_as_announced,
};
pub use concurrency::{cancellation_leaves_no_trace, concurrent_calls_succeed};
pub use harness::{Harness, HookOutcome};
pub use lifecycle::{
    another_instance_opens, destroyed_key_is_refused, disabled_key_is_refused,
    rotation_keeps_old_keys,
};
pub use report::{Report, RuleResult, Verdict, Violation};
pub use secrecy::nothing_secret_is_shown;
pub use tampering::{
    annotations_do_not_mislead, key_id_is_bound, tampering_is_detected, unknown_key_id_is_not_found,
};
pub use wrapper::WrapperHarness;
pub use wrapping::{
    context_is_bound_or_refused, dek_length_is_bounded, round_trip, wrap_names_the_current_key,
    wraps_differ,
};

/// Checks every rule, those that change keys last, and panics if one is violated.
///
/// # Panics
///
/// If a rule is violated. The message names every violated rule and says how.
pub async fn run_all(harness: &dyn Harness) -> Report {
    let report = check_all(harness).await;
    report.assert_passed();
    report
}

/// As [`run_all`], and leaves it to the caller to look at the report.
pub async fn check_all(harness: &dyn Harness) -> Report {
    let mut report = Report::new(harness.provider().to_string());
    let patience = harness.patience();
    macro_rules! check {
        ($($rule:ident),+ $(,)?) => {$(
            let verdict = watchdog::within(patience, $rule(harness)).await;
            report.add(stringify!($rule), verdict);
        )+};
    }
    check!(
        round_trip,
        wraps_differ,
        wrap_names_the_current_key,
        dek_length_is_bounded,
        context_is_bound_or_refused,
        tampering_is_detected,
        annotations_do_not_mislead,
        unknown_key_id_is_not_found,
        wrapping_is_as_announced,
        describing_is_as_announced,
        listing_is_as_announced,
        unwrapping_without_key_id_is_as_announced,
        concurrent_calls_succeed,
        cancellation_leaves_no_trace,
        nothing_secret_is_shown,
        another_instance_opens,
        rotation_keeps_old_keys,
        key_id_is_bound,
        disabled_key_is_refused,
        destroyed_key_is_refused,
    );
    report
}
