//! What a driver tells of.

use core::fmt;

use kms_core::KeyId;
use kms_envelope::reencrypt::Objection;
use kms_envelope::rotation::{
    Activity, Alert, Effect, Expectation, Refusal, Remaining, Stage, Target,
};

use super::{Convergence, Doubt, DriverNote, PassProgress, PassSummary, Verified};
use crate::Failure;

/// Something that happened while a rotation was driven. `Display` says it in one line to a person;
/// [`code`](News::code) names it in JSON.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// This driver drives from now on.
    Driving {
        /// Whom it took over from, if that one had not left in order.
        after: Option<DriverNote>,
        /// Whether there was no state before.
        new: bool,
    },
    /// Another driver drives. This one waits for its signs of life to end.
    Waiting {
        /// The other.
        driver: DriverNote,
    },
    /// Another driver drives now, and this one has let go of everything.
    Yielded {
        /// The other, if the store names one.
        to: Option<DriverNote>,
    },
    /// The store does not answer. Nothing new is begun until it does.
    StoreFails(Failure),
    /// The store answers again.
    StoreAnswers,
    /// The provider could not be looked at.
    ProviderFails(Failure),
    /// The provider could be looked at again.
    ProviderAnswers,
    /// A key came to another stage, or came to be known.
    Key {
        /// The key.
        id: KeyId,
        /// The stage it was in; none if it was not known.
        from: Option<Stage>,
        /// The stage it is in.
        to: Stage,
    },
    /// Something else is being done.
    Activity {
        /// What.
        activity: Activity,
    },
    /// All who write, or not all, are as expected.
    Checked {
        /// As what.
        expectation: Expectation,
        /// What was found.
        found: Convergence,
    },
    /// A pass over all objects goes on.
    Progress(PassProgress),
    /// A pass has ended.
    Migrated(PassSummary),
    /// A census was taken.
    Census {
        /// It and its evidence.
        verified: Box<Verified>,
        /// What stands in the way of each key that is to go.
        objections: Vec<(KeyId, Vec<Objection>)>,
    },
    /// Something could not be done. It is tried again after a while.
    Failed {
        /// What.
        activity: Activity,
        /// Why.
        failure: Failure,
    },
    /// An operator has to do something: nobody else may, or can.
    Asked(Effect),
    /// An operator should know.
    Alert(Alert),
    /// What was asked for is refused.
    Refused(Refusal),
    /// Everything is done: every writer uses the target, every object is under it.
    Settled,
    /// The driver stops.
    Stopped(Doubt),
}

impl News {
    /// A stable lower-case name, for JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Driving { .. } => "driving",
            Self::Waiting { .. } => "waiting",
            Self::Yielded { .. } => "yielded",
            Self::StoreFails(_) => "store_fails",
            Self::StoreAnswers => "store_answers",
            Self::ProviderFails(_) => "provider_fails",
            Self::ProviderAnswers => "provider_answers",
            Self::Key { .. } => "key",
            Self::Activity { .. } => "activity",
            Self::Checked { found, .. } if found.lagging == 0 => "converged",
            Self::Checked { .. } => "lagging",
            Self::Progress(_) => "progress",
            Self::Migrated(_) => "migrated",
            Self::Census { .. } => "census",
            Self::Failed { .. } => "failed",
            Self::Asked(_) => "asked",
            Self::Alert(_) => "alert",
            Self::Refused(_) => "refused",
            Self::Settled => "settled",
            Self::Stopped(_) => "stopped",
        }
    }

    /// What to do about it, if anything.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::StoreFails(failure)
            | Self::ProviderFails(failure)
            | Self::Failed { failure, .. } => Some(failure.remedy()),
            Self::Alert(alert) => Some(alert.remedy()),
            Self::Refused(refusal) => Some(refusal.remedy()),
            Self::Stopped(doubt) => Some(doubt.remedy()),
            Self::Asked(effect) => Some(duty(effect)),
            _ => None,
        }
    }

    /// Whether a person should look.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::StoreFails(_)
                | Self::ProviderFails(_)
                | Self::Failed { .. }
                | Self::Asked(_)
                | Self::Alert(_)
                | Self::Refused(_)
                | Self::Stopped(_)
        )
    }
}

/// What an operator has to do for an effect that no driver carries out.
const fn duty(effect: &Effect) -> &'static str {
    match effect {
        Effect::StopWrites { .. } => {
            "make a new version of the key now, so that nothing is written under this one"
        }
        Effect::PurgeDeks { .. } => {
            "restart the API servers after the new key is in use, so that they forget what this one has wrapped"
        }
        Effect::MakeVersion { .. } => "make a new version of the key where it is kept",
        Effect::AddReader { .. } => {
            "put this provider into the `EncryptionConfiguration` of every API server, not in the first place"
        }
        Effect::SwitchWriter { .. } => {
            "put this provider into the first place in the `EncryptionConfiguration` of every API server"
        }
        Effect::DropReader { .. } => {
            "take this provider out of the `EncryptionConfiguration` of every API server"
        }
        Effect::PermitDeletion { .. } => {
            "the key may be deleted until the permit ends; `kms key retire` looks once more"
        }
        _ => "nothing",
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driving {
                after: Some(note), ..
            } => {
                write!(
                    f,
                    "driving; took over from {note}, which gave no sign of life"
                )
            }
            Self::Driving { new: true, .. } => f.write_str("driving; began with a new state"),
            Self::Driving { .. } => f.write_str("driving"),
            Self::Waiting { driver } => write!(f, "{driver} drives; waiting"),
            Self::Yielded { to: Some(driver) } => write!(f, "yielded to {driver}"),
            Self::Yielded { to: None } => f.write_str("yielded to another driver"),
            Self::StoreFails(failure) => write!(f, "the store of the state fails: {failure}"),
            Self::StoreAnswers => f.write_str("the store of the state answers again"),
            Self::ProviderFails(failure) => {
                write!(f, "the key provider could not be looked at: {failure}")
            }
            Self::ProviderAnswers => f.write_str("the key provider answers again"),
            Self::Key { id, from: None, to } => write!(f, "key {id}: {}", to.as_str()),
            Self::Key {
                id,
                from: Some(from),
                to,
            } => write!(f, "key {id}: {}, was {}", to.as_str(), from.as_str()),
            Self::Activity { activity } => f.write_str(saying(*activity)),
            Self::Checked { expectation, found } => checked(f, expectation, found),
            Self::Progress(progress) => {
                write!(f, "{} objects", progress.done)?;
                if let Some(total) = progress.total {
                    write!(f, " of {total}")?;
                }
                write!(f, ", {} rewritten", progress.rewritten)?;
                match progress.seconds_left {
                    Some(seconds) => write!(f, ", about {seconds} s to go"),
                    None => Ok(()),
                }
            }
            Self::Migrated(summary) => {
                write!(
                    f,
                    "a pass has ended: {} objects seen, {} rewritten, {} left",
                    summary.seen, summary.rewritten, summary.left
                )?;
                summary
                    .reasons
                    .iter()
                    .try_for_each(|why| write!(f, "; {why}"))
            }
            Self::Census {
                verified,
                objections,
            } => census(f, verified, objections),
            Self::Failed { activity, failure } => {
                write!(
                    f,
                    "{} failed, and is tried again: {failure}",
                    activity.as_str()
                )
            }
            Self::Asked(effect) => asked(f, effect),
            Self::Alert(alert) => fmt::Display::fmt(alert, f),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Settled => {
                f.write_str("everything is done: every object is under the current key")
            }
            Self::Stopped(doubt) => write!(f, "stopped: {doubt}"),
        }
    }
}

const fn saying(activity: Activity) -> &'static str {
    match activity {
        Activity::Idle => "nothing to do; watching for a new version",
        Activity::MakingVersion => "waiting for a new version to be made",
        Activity::AddingReader => "waiting for every API server to read by the new provider",
        Activity::Converging => "waiting for every API server to write with the new key",
        Activity::Migrating => "re-encrypting objects",
        Activity::Verifying => "counting what objects are under",
        Activity::DroppingReader => "waiting for every API server to do without the old provider",
        _ => "at work",
    }
}

fn checked(
    f: &mut fmt::Formatter<'_>,
    expectation: &Expectation,
    found: &Convergence,
) -> fmt::Result {
    let what = Expected(expectation);
    match found.lagging {
        0 => write!(f, "every API server {what}")?,
        lagging => write!(f, "not every API server {what}: {lagging} to wait for")?,
    }
    found
        .findings
        .iter()
        .try_for_each(|finding| write!(f, "; {finding}"))
}

/// What each is expected to do.
struct Expected<'a>(&'a Expectation);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expectation::Reads(target) => write!(f, "reads by {}", Named(target)),
            Expectation::Writes(target) => write!(f, "writes with {}", Named(target)),
            Expectation::Released(provider) => write!(f, "does without {provider}"),
            _ => f.write_str("is as expected"),
        }
    }
}

pub(super) struct Named<'a>(pub(super) &'a Target);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.key() {
            Some(id) => write!(f, "the key {id}"),
            None => f.write_str("no key"),
        }
    }
}

fn census(
    f: &mut fmt::Formatter<'_>,
    verified: &Verified,
    objections: &[(KeyId, Vec<Objection>)],
) -> fmt::Result {
    let Remaining {
        off_target,
        unreadable,
        ..
    } = verified.remaining;
    write!(
        f,
        "counted at revision {}: {off_target} objects not under the current key, {unreadable} damaged",
        verified.revision()
    )?;
    for (key, objections) in objections {
        match objections.as_slice() {
            [] => write!(f, "; nothing needs {key}")?,
            [first] => write!(f, "; {key} is still needed: {first}")?,
            [first, rest @ ..] => {
                write!(
                    f,
                    "; {key} is still needed: {first}, and {} more",
                    rest.len()
                )?;
            }
        }
    }
    Ok(())
}

fn asked(f: &mut fmt::Formatter<'_>, effect: &Effect) -> fmt::Result {
    match effect {
        Effect::StopWrites { key } => write!(f, "nothing may be written under {key} any more"),
        Effect::PurgeDeks { key } => {
            write!(f, "every DEK that {key} has wrapped is to be forgotten")
        }
        Effect::MakeVersion { provider, .. } => write!(f, "{provider} needs a new version"),
        Effect::AddReader { target, .. } => {
            write!(f, "every API server has to read by {}", Named(target))
        }
        Effect::SwitchWriter { target, .. } => {
            write!(f, "every API server has to write with {}", Named(target))
        }
        Effect::DropReader { provider, .. } => {
            write!(f, "nothing needs {provider} any more; it can be taken out")
        }
        Effect::PermitDeletion { key, .. } => write!(f, "{key} may be deleted"),
        other => write!(f, "{other:?}"),
    }
}
