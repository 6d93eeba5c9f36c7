//! What is known of the current key: pure state, fed with observations and the time.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::SystemTime;

use kms_core::{Error, ErrorKind, KeyId, Tick};

use crate::health::{HealthState, PluginHealth};

/// How many replaced ids are remembered.
const MAX_REPLACED: usize = 1024;

/// When a fault is said, and when a proof is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) prove_interval: Duration,
    pub(super) degraded_after: Duration,
    pub(super) failing_after: Duration,
}

#[derive(Debug)]
struct Current {
    id: KeyId,
    confirmed: Tick,
    confirmed_wall: SystemTime,
    proven: Tick,
}

/// What has to happen before a key that the provider names may be believed.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing: it is the known one, and its proof is recent.
    Confirm,
    /// It must be proven.
    Prove,
    /// It had been replaced.
    Refuse(Error),
}

/// What Status says.
#[derive(Debug)]
pub(super) enum StatusAnswer {
    Ok(KeyId),
    Unwell(KeyId, Error),
    Unavailable(Error),
}

/// What a success changed, for the log.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct News {
    /// No key was known before.
    pub(super) first: bool,
    /// The key that was current until now.
    pub(super) replaced: Option<KeyId>,
    /// The attempt before failed, and a key was known.
    pub(super) recovered: bool,
}

#[derive(Debug, Default)]
pub(super) struct KeyBoard {
    current: Option<Current>,
    replaced: VecDeque<KeyId>,
    failure: Option<Error>,
    attempts: u64,
}

impl KeyBoard {
    /// The key that has been proven last.
    pub(super) fn current(&self) -> Option<&KeyId> {
        self.current.as_ref().map(|current| &current.id)
    }

    /// How often the provider has been asked, with whatever outcome.
    pub(super) const fn attempts(&self) -> u64 {
        self.attempts
    }

    pub(super) const fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    pub(super) fn judge(&self, id: &KeyId, now: Tick, patience: &Patience) -> Verdict {
        if let Some(current) = &self.current {
            if current.id == *id {
                // A failure may have been the key's own, so it is proven anew after one.
                let recent = now.since(current.proven) < patience.prove_interval;
                return if recent && self.failure.is_none() {
                    Verdict::Confirm
                } else {
                    Verdict::Prove
                };
            }
            if self.replaced.contains(id) {
                return Verdict::Refuse(
                    Error::new(
                        ErrorKind::Protocol,
                        format!(
                            "the provider went back to a key id that {} had replaced",
                            current.id
                        ),
                    )
                    .with_key_id(id.clone())
                    .with_remedy(
                        "make the newer key usable again, or roll back so that the old version \
                         gets a new key id; never use a key id twice",
                    ),
                );
            }
        }
        Verdict::Prove
    }

    /// The provider named the known key again.
    pub(super) fn confirmed(&mut self, now: Tick, wall: SystemTime) -> News {
        let news = self.succeeded();
        if let Some(current) = &mut self.current {
            current.confirmed = now;
            current.confirmed_wall = wall;
        }
        news
    }

    fn succeeded(&mut self) -> News {
        self.attempts = self.attempts.saturating_add(1);
        let failed = self.failure.take().is_some();
        News {
            first: self.current.is_none(),
            replaced: None,
            recovered: failed && self.current.is_some(),
        }
    }

    /// The provider named this key, and it wrapped and unwrapped.
    pub(super) fn proven(&mut self, id: KeyId, now: Tick, wall: SystemTime) -> News {
        let mut news = self.succeeded();
        let previous = self.current.replace(Current {
            id: id.clone(),
            confirmed: now,
            confirmed_wall: wall,
            proven: now,
        });
        if let Some(previous) = previous
            && previous.id != id
        {
            if self.replaced.len() >= MAX_REPLACED {
                self.replaced.pop_front();
            }
            self.replaced.push_back(previous.id.clone());
            news.replaced = Some(previous.id);
        }
        news
    }

    /// True if this is another failure than that of the attempt before.
    pub(super) fn failed(&mut self, error: Error) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let known = self.failure.as_ref().is_some_and(|failure| {
            failure.kind() == error.kind() && failure.to_string() == error.to_string()
        });
        self.failure = Some(error);
        !known
    }

    pub(super) fn status(&self, now: Tick, patience: &Patience) -> StatusAnswer {
        let Some(current) = &self.current else {
            return StatusAnswer::Unavailable(self.failure.clone().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "the key provider has not answered yet",
                )
            }));
        };
        let age = now.since(current.confirmed);
        let reason = || {
            self.failure.clone().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("the key has not been confirmed for {} s", age.as_secs()),
                )
            })
        };
        if age > patience.failing_after {
            return StatusAnswer::Unavailable(reason());
        }
        let passing = self.failure.as_ref().is_none_or(Error::is_retryable);
        if passing && age <= patience.degraded_after {
            StatusAnswer::Ok(current.id.clone())
        } else {
            StatusAnswer::Unwell(current.id.clone(), reason())
        }
    }

    pub(super) fn health(&self, now: Tick, patience: &Patience, live: bool) -> PluginHealth {
        let current = self.current.as_ref();
        PluginHealth {
            state: match self.status(now, patience) {
                StatusAnswer::Ok(_) => HealthState::Ready,
                StatusAnswer::Unwell(..) => HealthState::Degraded,
                StatusAnswer::Unavailable(_) if current.is_none() => HealthState::Starting,
                StatusAnswer::Unavailable(_) => HealthState::Failing,
            },
            live,
            key_id: current.map(|current| current.id.clone()),
            last_success: current.map(|current| current.confirmed_wall),
            since_success: current.map(|current| now.since(current.confirmed)),
            since_proof: current.map(|current| now.since(current.proven)),
            last_error: self.failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        prove_interval: Duration::from_secs(600),
        degraded_after: Duration::from_secs(60),
        failing_after: Duration::from_secs(180),
    };

    fn at(seconds: u64) -> Tick {
        Tick::ORIGIN + Duration::from_secs(seconds)
    }

    fn id(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    fn with_key(text: &str) -> KeyBoard {
        let mut board = KeyBoard::default();
        board.proven(id(text), at(0), SystemTime::UNIX_EPOCH);
        board
    }

    fn answer(board: &KeyBoard, seconds: u64) -> &'static str {
        match board.status(at(seconds), &PATIENCE) {
            StatusAnswer::Ok(_) => "ok",
            StatusAnswer::Unwell(..) => "unwell",
            StatusAnswer::Unavailable(_) => "unavailable",
        }
    }

    #[test]
    fn nothing_is_said_of_a_key_before_its_proof() {
        let mut board = KeyBoard::default();
        assert_eq!(answer(&board, 0), "unavailable");
        assert!(matches!(
            board.judge(&id("a"), at(0), &PATIENCE),
            Verdict::Prove
        ));
        board.failed(Error::new(ErrorKind::PermissionDenied, "no"));
        let StatusAnswer::Unavailable(error) = board.status(at(1), &PATIENCE) else {
            panic!("a key was named");
        };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(
            board.health(at(1), &PATIENCE, true).state,
            HealthState::Starting
        );
    }

    #[test]
    fn a_passing_fault_is_not_said_at_once_and_a_lasting_one_ends_in_an_error() {
        let mut board = with_key("a");
        board.failed(Error::new(ErrorKind::Throttled, "slow down"));
        assert_eq!(answer(&board, 60), "ok");
        assert_eq!(answer(&board, 61), "unwell");
        assert_eq!(answer(&board, 180), "unwell");
        assert_eq!(answer(&board, 181), "unavailable");
        assert_eq!(
            board.health(at(181), &PATIENCE, true).state,
            HealthState::Failing
        );
        board.proven(id("a"), at(200), SystemTime::UNIX_EPOCH);
        assert_eq!(answer(&board, 200), "ok");
    }

    #[test]
    fn a_fault_that_will_not_pass_is_said_at_once() {
        let mut board = with_key("a");
        board.failed(Error::new(ErrorKind::KeyDisabled, "switched off"));
        assert_eq!(answer(&board, 1), "unwell");
        assert_eq!(answer(&board, 181), "unavailable");
    }

    #[test]
    fn silence_of_the_background_task_is_a_fault_too() {
        let board = with_key("a");
        assert_eq!(answer(&board, 61), "unwell");
        assert_eq!(answer(&board, 181), "unavailable");
    }

    #[test]
    fn a_proof_is_due_after_its_interval_and_after_a_failure() {
        let mut board = with_key("a");
        assert!(matches!(
            board.judge(&id("a"), at(599), &PATIENCE),
            Verdict::Confirm
        ));
        assert!(matches!(
            board.judge(&id("a"), at(600), &PATIENCE),
            Verdict::Prove
        ));
        board.failed(Error::new(ErrorKind::Unavailable, "down"));
        assert!(matches!(
            board.judge(&id("a"), at(1), &PATIENCE),
            Verdict::Prove
        ));
    }

    #[test]
    fn a_replaced_id_does_not_come_back() {
        let mut board = with_key("a");
        assert!(matches!(
            board.judge(&id("b"), at(1), &PATIENCE),
            Verdict::Prove
        ));
        assert_eq!(
            board
                .proven(id("b"), at(1), SystemTime::UNIX_EPOCH)
                .replaced,
            Some(id("a"))
        );
        let Verdict::Refuse(error) = board.judge(&id("a"), at(2), &PATIENCE) else {
            panic!("taken back");
        };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(matches!(
            board.judge(&id("c"), at(2), &PATIENCE),
            Verdict::Prove
        ));
        assert_eq!(board.current(), Some(&id("b")));
    }

    #[test]
    fn only_what_is_new_is_told() {
        let mut board = KeyBoard::default();
        let fail = |kind, text: &str| Error::new(kind, text);
        assert!(board.failed(fail(ErrorKind::Unavailable, "down")));
        assert!(!board.failed(fail(ErrorKind::Unavailable, "down")));
        assert!(board.failed(fail(ErrorKind::Throttled, "down")));
        assert!(board.failed(fail(ErrorKind::Throttled, "slow down")));
        let news = |first, replaced: Option<&str>, recovered| News {
            first,
            replaced: replaced.map(id),
            recovered,
        };
        let wall = SystemTime::UNIX_EPOCH;
        assert_eq!(board.proven(id("a"), at(1), wall), news(true, None, false));
        assert_eq!(board.confirmed(at(2), wall), news(false, None, false));
        assert_eq!(
            board.proven(id("b"), at(3), wall),
            news(false, Some("a"), false)
        );
        assert!(board.failed(fail(ErrorKind::Throttled, "slow down")));
        assert_eq!(board.proven(id("b"), at(4), wall), news(false, None, true));
        assert!(board.failed(fail(ErrorKind::Throttled, "slow down")));
        assert_eq!(board.confirmed(at(5), wall), news(false, None, true));
    }

    #[test]
    fn the_memory_of_replaced_ids_is_bounded() {
        let mut board = with_key("0");
        for n in 1..3000 {
            board.proven(id(&n.to_string()), at(n), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(board.replaced.len(), MAX_REPLACED);
        assert!(matches!(
            board.judge(&id("2998"), at(1), &PATIENCE),
            Verdict::Refuse(_)
        ));
    }
}
