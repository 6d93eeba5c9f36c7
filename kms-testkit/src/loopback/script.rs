//! Which faults are still to come.

use std::collections::VecDeque;

/// Faults in order, each for one operation or for any.
#[derive(Debug)]
pub(crate) struct Script<O, F>(VecDeque<Planned<O, F>>);

#[derive(Debug)]
struct Planned<O, F> {
    operation: Option<O>,
    fault: F,
    /// `None`: until cleared.
    times: Option<u32>,
}

impl<O, F> Default for Script<O, F> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<O: PartialEq, F: Clone> Script<O, F> {
    pub(crate) fn add(&mut self, operation: Option<O>, fault: F, times: Option<u32>) {
        if times != Some(0) {
            self.0.push_back(Planned {
                operation,
                fault,
                times,
            });
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first fault planned for this operation, used up.
    pub(crate) fn next(&mut self, operation: &O) -> Option<F> {
        let at = self.0.iter().position(|planned| {
            planned
                .operation
                .as_ref()
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
        let mut script = Script::default();
        script.add(Some("unwrap"), "drop", Some(1));
        script.add(None, "hang", Some(2));
        script.add(Some("get"), "truncated", None);
        assert_eq!(script.next(&"get"), Some("hang"));
        assert_eq!(script.next(&"unwrap"), Some("drop"));
        assert_eq!(script.next(&"unwrap"), Some("hang"));
        assert_eq!(script.next(&"unwrap"), None);
        assert_eq!(script.next(&"get"), Some("truncated"));
        assert_eq!(script.next(&"get"), Some("truncated"));
        script.clear();
        assert_eq!(script.next(&"get"), None);
    }
}
