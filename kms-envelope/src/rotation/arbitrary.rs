//! Valid values out of a fuzzer's bytes. Names are few, so that one meets itself again.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use ::arbitrary::{Arbitrary, Error, Result, Unstructured};
use kms_core::arbitrary::text;
use kms_core::{KeyId, KeyState};

use super::{
    Change, Observation, ObservedKey, Policy, ProviderName, Remaining, Retention, Rewrite, Start,
    TaskId,
};

impl<'a> Arbitrary<'a> for ProviderName {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let name = if u.ratio(7_u8, 8)? {
            (*u.choose(&["a", "b", "c"])?).to_owned()
        } else {
            text(u, 1..=Self::MAX_LEN, |letter| !letter.is_control())?
        };
        Self::new(name).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for TaskId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.int_in_range(0..=16)?))
    }
}

fn key_id(u: &mut Unstructured<'_>) -> Result<KeyId> {
    if u.ratio(7_u8, 8)? {
        let name = *u.choose(&["a1", "a2", "a3", "b1", "b2", "c1"])?;
        return KeyId::new(name).map_err(|_| Error::IncorrectFormat);
    }
    u.arbitrary()
}

fn maybe<T>(
    u: &mut Unstructured<'_>,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? {
        make(u).map(Some)
    } else {
        Ok(None)
    }
}

/// Within a day of the beginning of 2027.
fn moment(u: &mut Unstructured<'_>) -> Result<SystemTime> {
    let seconds = u.int_in_range(1_798_700_000_u64..=1_798_900_000)?;
    Ok(UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH))
}

impl<'a> Arbitrary<'a> for ObservedKey {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let state = *u.choose(&[
            KeyState::Enabled,
            KeyState::Enabled,
            KeyState::Disabled,
            KeyState::NotYetValid,
            KeyState::Expired,
            KeyState::PendingDestruction,
            KeyState::Destroyed,
        ])?;
        Ok(Self::new(key_id(u)?, state)
            .with_active_at(maybe(u, moment)?)
            .with_material(maybe(u, key_id)?))
    }
}

impl<'a> Arbitrary<'a> for Observation {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let count = u.int_in_range(0..=4_usize)?;
        let keys = (0..count)
            .map(|_| u.arbitrary())
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::new(u.arbitrary()?, keys)
            .with_current(maybe(u, key_id)?)
            .with_complete(u.arbitrary()?))
    }
}

impl<'a> Arbitrary<'a> for Change {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=4_u8)? {
            0 => Self::Enable {
                provider: u.arbitrary()?,
                key: u.arbitrary()?,
            },
            1 => Self::Replace {
                provider: u.arbitrary()?,
                key: u.arbitrary()?,
            },
            2 => Self::Rollback { to: key_id(u)? },
            3 => Self::Rotate,
            _ => Self::Disable,
        })
    }
}

impl<'a> Arbitrary<'a> for Start {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=2_u8)? {
            0 => Self::Plain,
            1 => Self::Unnamed {
                provider: u.arbitrary()?,
            },
            _ => Self::Key {
                provider: u.arbitrary()?,
                key: u.arbitrary()?,
            },
        })
    }
}

impl<'a> Arbitrary<'a> for Remaining {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(
            u.int_in_range(0..=2)?,
            u.int_in_range(0..=2)?,
            u.int_in_range(0..=2)?,
        ))
    }
}

impl<'a> Arbitrary<'a> for Retention {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[Self::WhileNeeded, Self::UntilNextChange])
            .copied()
    }
}

impl<'a> Arbitrary<'a> for Rewrite {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.choose(&[Self::FreshDeks, Self::Rewrap]).copied()
    }
}

/// One that [`check`](Policy::check) takes.
impl<'a> Arbitrary<'a> for Policy {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let first_retry = wait(u)?;
        Ok(Self {
            max_live_keys: u.int_in_range(2..=Self::MOST_LIVE_KEYS)?,
            retention: u.arbitrary()?,
            rewrite: u.arbitrary()?,
            skew: wait(u)?,
            activation_delay: wait(u)?,
            write_lease: wait(u)?,
            evidence_max_age: wait(u)?,
            permit_life: wait(u)?,
            first_retry,
            longest_retry: first_retry.max(wait(u)?),
            reissue_after: wait(u)?,
            verify_again_after: wait(u)?,
        })
    }
}

/// Mostly minutes, at times the longest that a policy may hold.
fn wait(u: &mut Unstructured<'_>) -> Result<Duration> {
    if u.ratio(1_u8, 16)? {
        return Ok(Policy::LONGEST);
    }
    Ok(Duration::from_millis(u.int_in_range(1..=1_000_000)?))
}
