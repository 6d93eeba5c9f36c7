//! Comparing and swapping.

use kms_core::object::{LeaseId, ObjectKey, Revision, Swap, SwapOutcome};
use kms_core::{CallOptions, Error, ErrorKind, Tick};

use super::cluster::{Call, Cluster, FIRST_PAUSE, Failed, Repeat};
use super::proto::compare::{CompareResult, CompareTarget, TargetUnion};
use super::proto::request_op::Request;
use super::proto::response_op::Response;
use super::proto::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest,
    TxnResponse,
};
use super::status::Class;

/// What is known of a swap that had no answer.
enum Trace {
    /// The object is as expected: nothing happened so far.
    NotYet,
    /// Another change took the expectation away: it did not happen and never will.
    Never(Option<Revision>),
    /// Something happened that this swap, or another like it, may have done.
    Unclear,
}

impl Cluster {
    /// Swaps. A transaction without an answer is not sent again before the object was read: it
    /// may have happened.
    pub(super) async fn swap(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        lease: Option<LeaseId>,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        let deadline = self.deadline(options);
        let Some(expected) = expected(swap) else {
            // No object has that revision, and etcd would take zero for "there is none".
            let current = self.get(key, None, deadline).await?;
            return self.changed(current);
        };
        let transaction = transaction(key, swap, expected, lease);
        let mut pause = FIRST_PAUSE;
        let mut unanswered: Option<Error> = None;
        loop {
            match self.transact(transaction.clone(), deadline).await {
                Ok(answer) => {
                    let outcome = self.outcome(answer)?;
                    // After an attempt without an answer, "changed" may be the work of that one.
                    if outcome.swapped().is_some() || unanswered.is_none() {
                        return Ok(outcome);
                    }
                }
                Err(failed) if failed.class == Class::Unsettled => {
                    unanswered = Some(failed.error);
                }
                Err(failed) if unanswered.is_none() => return Err(failed.error),
                Err(_) => {}
            }
            match self.trace(key, swap, expected, deadline).await {
                Ok(Trace::NotYet) => self.pause(&mut pause, deadline).await,
                Ok(Trace::Never(current)) => return Ok(SwapOutcome::Changed { current }),
                Ok(Trace::Unclear) | Err(_) => return Err(self.unclear(key, unanswered)),
            }
        }
    }

    async fn transact(&self, request: TxnRequest, deadline: Tick) -> Result<TxnResponse, Failed> {
        let call = Call {
            what: "a change",
            deadline,
            repeat: Repeat::IfNotDone,
        };
        self.call(call, |line| {
            let request = line.request(request.clone());
            async move { Ok(line.kv().txn(request).await?.into_inner()) }
        })
        .await
    }

    fn outcome(&self, answer: TxnResponse) -> Result<SwapOutcome, Error> {
        if answer.succeeded {
            let revision = self.newest(answer.header)?;
            return Ok(SwapOutcome::Swapped { revision });
        }
        match answer
            .responses
            .into_iter()
            .next()
            .and_then(|op| op.response)
        {
            Some(Response::ResponseRange(range)) => self.changed(range.kvs.into_iter().next()),
            _ => Err(self.fault(ErrorKind::Protocol, "a change without an outcome")),
        }
    }

    fn changed(&self, current: Option<KeyValue>) -> Result<SwapOutcome, Error> {
        let current = match current {
            Some(current) => Some(self.revision(current.mod_revision)?),
            None => None,
        };
        Ok(SwapOutcome::Changed { current })
    }

    /// Looks for what a swap without an answer did.
    async fn trace(
        &self,
        key: &ObjectKey,
        swap: &Swap,
        expected: i64,
        deadline: Tick,
    ) -> Result<Trace, Error> {
        let current = self.get(key, None, deadline).await?;
        let is_at = current.as_ref().map_or(0, |current| current.mod_revision);
        if is_at == expected {
            return Ok(Trace::NotYet);
        }
        let (Some(current), Some(_)) = (current, swap.expected()) else {
            // It was made, or deleted, and nothing tells by whom.
            return Ok(Trace::Unclear);
        };
        let never = Trace::Never(Some(self.revision(current.mod_revision)?));
        let Some(value) = swap.value() else {
            // It is there, and has been since before: nobody deleted it.
            let is_same = current.create_revision <= expected;
            return Ok(if is_same { never } else { Trace::Unclear });
        };
        // If the change after the expected one is known, it is ours only if it has our bytes.
        // Somebody else may have written the same bytes.
        let before = self.revision(current.mod_revision.saturating_sub(1))?;
        let before = self.get(key, Some(before), deadline).await?;
        let is_next = before.is_some_and(|before| before.mod_revision == expected);
        Ok(if is_next && current.value != value {
            never
        } else {
            Trace::Unclear
        })
    }

    /// The error for a swap of which nobody can say whether it happened.
    fn unclear(&self, key: &ObjectKey, cause: Option<Error>) -> Error {
        let message = format!("whether {key} was changed is not known");
        let remedy = "read the object: it tells whether the change is still to be made";
        match cause {
            Some(cause) => self
                .fault(
                    ErrorKind::Unavailable,
                    format!("{message}: {}", cause.message()),
                )
                .with_source(cause),
            None => self.fault(ErrorKind::Unavailable, message),
        }
        .with_remedy(remedy)
    }
}

/// The expectation as etcd takes it, where zero is "there is none"; none if nothing can meet it.
fn expected(swap: &Swap) -> Option<i64> {
    match swap.expected() {
        None => Some(0),
        Some(revision) => i64::try_from(revision.get())
            .ok()
            .filter(|number| *number > 0),
    }
}

fn transaction(key: &ObjectKey, swap: &Swap, expected: i64, lease: Option<LeaseId>) -> TxnRequest {
    let key = key.as_bytes();
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.to_vec(),
        target_union: Some(TargetUnion::ModRevision(expected)),
    };
    let change = match swap {
        Swap::Create { value } => Request::RequestPut(PutRequest {
            key: key.to_vec(),
            value: value.clone(),
            lease: lease.map_or(0, LeaseId::get),
            ignore_lease: false,
        }),
        Swap::Replace { value, .. } => Request::RequestPut(PutRequest {
            key: key.to_vec(),
            value: value.clone(),
            lease: 0,
            ignore_lease: true,
        }),
        Swap::Delete { .. } => {
            Request::RequestDeleteRange(DeleteRangeRequest { key: key.to_vec() })
        }
    };
    let look = Request::RequestRange(RangeRequest {
        key: key.to_vec(),
        keys_only: true,
        ..RangeRequest::default()
    });
    let only = |request| {
        vec![RequestOp {
            request: Some(request),
        }]
    };
    TxnRequest {
        compare: vec![compare],
        success: only(change),
        failure: only(look),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_word_for_no_object_is_never_an_expectation() {
        let at = |number| Swap::Delete {
            expected: Revision::new(number),
        };
        assert_eq!(expected(&at(0)), None);
        assert_eq!(expected(&at(u64::MAX)), None);
        assert_eq!(expected(&at(7)), Some(7));
        assert_eq!(expected(&Swap::Create { value: vec![] }), Some(0));
    }
}
