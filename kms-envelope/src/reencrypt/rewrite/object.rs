//! One object, until there is a verdict.

use kms_core::object::{ApiObject, ListOptions, RewriteOutcome};
use kms_core::{CallOptions, Error, ErrorKind};

use super::report::LeftReason;
use super::trouble::{Line, Next, Trouble};

/// How often one object may change under our hands before it is left for the next pass.
const MAX_CONFLICTS: u32 = 16;

/// What became of an object.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// Rewrites that found it changed.
    pub(super) conflicts: u32,
    /// The resource version that the verdict is about.
    pub(super) resource_version: String,
}

#[derive(Debug)]
pub(super) enum Verdict {
    /// The server stored it anew.
    Written,
    /// The server holds it for fresh.
    Fresh,
    /// It is not there any more.
    Gone,
    /// It stays as it is.
    Left(LeftReason),
}

/// No verdict.
#[derive(Debug)]
pub(super) enum Halt {
    /// What is in the same place will fare the same: no rights, no such resource.
    Place(Error),
    /// Everything will.
    Run(Error),
    /// It was to stop.
    Interrupted,
}

/// Whether an error is about the resource or the namespace, so that the rest can go on.
pub(super) fn is_about_place(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}

pub(super) async fn judge(line: &Line<'_>, mut object: ApiObject) -> Result<Judged, Halt> {
    let call = CallOptions::default();
    let mut conflicts = 0_u32;
    let mut trouble = Trouble::default();
    loop {
        if !line.gate.pass().await {
            return Err(Halt::Interrupted);
        }
        let verdict = match line.rewriter.rewrite(&object, &call).await {
            Ok(RewriteOutcome::Written { resource_version }) => {
                line.note_success();
                return Ok(Judged {
                    verdict: Verdict::Written,
                    conflicts,
                    resource_version,
                });
            }
            Ok(RewriteOutcome::Conflict) => {
                line.note_success();
                trouble.reset();
                conflicts = conflicts.saturating_add(1);
                if conflicts <= MAX_CONFLICTS {
                    // Whoever wrote it may have gone through a server that uses the old key. And
                    // what was made anew under the name is an object like any other.
                    match look_again(line, &object).await? {
                        Look::Here(now) => {
                            object = now;
                            continue;
                        }
                        Look::Gone => Verdict::Gone,
                        Look::Failed(error) => Verdict::Left(failed(&error)),
                    }
                } else {
                    Verdict::Left(LeftReason::AlwaysChanging)
                }
            }
            Ok(outcome) => {
                line.note_success();
                verdict(outcome)
            }
            Err(error) if is_about_place(error.kind()) => return Err(Halt::Place(error)),
            Err(error) => match trouble.after(line, error).await {
                Next::Again => continue,
                Next::Stopped => return Err(Halt::Interrupted),
                Next::Over(error) => return Err(Halt::Run(error)),
                Next::ItsOwn(error) => Verdict::Left(failed(&error)),
            },
        };
        return Ok(Judged {
            verdict,
            conflicts,
            resource_version: object.resource_version().to_owned(),
        });
    }
}

fn verdict(outcome: RewriteOutcome) -> Verdict {
    match outcome {
        RewriteOutcome::Unchanged => Verdict::Fresh,
        RewriteOutcome::Gone => Verdict::Gone,
        RewriteOutcome::Refused { reason } => Verdict::Left(LeftReason::Refused(reason)),
        other => Verdict::Left(LeftReason::Failed(format!("an unknown outcome: {other:?}"))),
    }
}

fn failed(error: &Error) -> LeftReason {
    LeftReason::Failed(error.message().to_owned())
}

enum Look {
    Here(ApiObject),
    Gone,
    Failed(Error),
}

/// The object as it is listed now.
async fn look_again(line: &Line<'_>, object: &ApiObject) -> Result<Look, Halt> {
    let options = ListOptions::of_object(object);
    let mut trouble = Trouble::default();
    loop {
        if !line.gate.open().await {
            return Err(Halt::Interrupted);
        }
        match line.rewriter.list(&options).await {
            Ok(page) => {
                line.note_success();
                let now = page.objects.into_iter().next();
                return Ok(now.map_or(Look::Gone, Look::Here));
            }
            Err(error) if is_about_place(error.kind()) => return Err(Halt::Place(error)),
            Err(error) => match trouble.after(line, error).await {
                Next::Again => {}
                Next::Stopped => return Err(Halt::Interrupted),
                Next::ItsOwn(error) => return Ok(Look::Failed(error)),
                Next::Over(error) => return Err(Halt::Run(error)),
            },
        }
    }
}
