//! Trouble on order: what the next calls run into.

use core::time::Duration;
use std::collections::VecDeque;

use super::operation::Operation;

/// One kind of trouble. It meets a call that has a valid token, whatever else would come of it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Answered, after so long on the double's clock.
    Slow(Duration),
    /// 429, with or without a `Retry-After` in whole seconds. The real service sends none.
    Throttled {
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// An error with the service's own JSON body.
    Status(u16),
    /// An error with a body that is no JSON, as a proxy in between sends it.
    ProxyStatus(u16),
    /// The connection ends without an answer.
    Drop,
    /// No answer, ever.
    Hang,
    /// The answer names another key version than the one that was used.
    WrongKid,
    /// The answer ends in the middle of its body.
    Truncated,
}

/// Which faults are still to come, in order.
#[derive(Debug, Default)]
pub(super) struct FaultScript(VecDeque<Planned>);

#[derive(Debug)]
struct Planned {
    operation: Option<Operation>,
    fault: Fault,
    /// `None`: until cleared.
    times: Option<u32>,
}

impl FaultScript {
    pub(super) fn add(&mut self, operation: Option<Operation>, fault: Fault, times: Option<u32>) {
        if times != Some(0) {
            self.0.push_back(Planned {
                operation,
                fault,
                times,
            });
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first fault planned for this call, used up.
    pub(super) fn next(&mut self, operation: Operation) -> Option<Fault> {
        let at = self.0.iter().position(|planned| {
            planned
                .operation
                .is_none_or(|expected| expected == operation)
        })?;
        let planned = self.0.get_mut(at)?;
        let fault = planned.fault.clone();
        if let Some(times) = &mut planned.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(at);
            }
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_to_the_operations_they_are_for() {
        let mut script = FaultScript::default();
        script.add(Some(Operation::UnwrapKey), Fault::Drop, Some(1));
        script.add(None, Fault::Hang, Some(2));
        script.add(Some(Operation::Get), Fault::Truncated, None);
        assert_eq!(script.next(Operation::Get), Some(Fault::Hang));
        assert_eq!(script.next(Operation::UnwrapKey), Some(Fault::Drop));
        assert_eq!(script.next(Operation::UnwrapKey), Some(Fault::Hang));
        assert_eq!(script.next(Operation::UnwrapKey), None);
        assert_eq!(script.next(Operation::Get), Some(Fault::Truncated));
        assert_eq!(script.next(Operation::Get), Some(Fault::Truncated));
        script.clear();
        assert_eq!(script.next(Operation::Get), None);
    }
}
