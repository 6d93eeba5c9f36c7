//! Single flight: callers who ask the same question at the same time share one call.

use core::fmt;
use core::hash::Hash;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::sync::{Mutex, MutexGuard};
use crate::{Error, ErrorKind};

type Call<T> = BoxFuture<'static, Result<T, Error>>;

/// The answer to a question that others may be waiting for too.
///
/// Whichever waiter is polled drives the call, so it goes on when the one who began it is dropped,
/// and it is dropped with the last one.
pub struct Flight<T>(Shared<Call<T>>);

impl<T: Clone> Future for Flight<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context)
    }
}

impl<T> fmt::Debug for Flight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// Single flight: the calls that are being made, by question.
///
/// What [`Coalesce`](super::Coalesce) is made of, for those who build a cache or a provider of
/// their own. It needs no runtime.
///
/// The table holds its calls weakly, and each call takes its own entry out when it ends or is
/// dropped. So there is never an entry without a waiter, nothing is remembered, and the table
/// is no larger than the number of callers.
pub struct Flights<Q, T>(Arc<Mutex<Table<Q, T>>>);

struct Table<Q, T> {
    calls: HashMap<Arc<Q>, Entry<T>>,
    next: u64,
}

struct Entry<T> {
    /// Tells a call from an earlier one with the same question.
    number: u64,
    call: WeakShared<Call<T>>,
}

impl<Q, T> Flights<Q, T>
where
    Q: Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Table {
            calls: HashMap::new(),
            next: 0,
        })))
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).calls.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Joins the call that has this question, or begins it.
    ///
    /// `begin` runs under the lock of the table and must neither block nor come back to it; the
    /// future it returns runs without. The entry is taken out when that future has ended and
    /// before anyone has the answer. So what the future stores, a `begin` that looks there finds:
    /// that is how a cache makes sure that nothing is asked twice.
    ///
    /// A panic of the future becomes an [`ErrorKind::Internal`] for every waiter.
    pub fn join<F>(&self, question: Q, begin: impl FnOnce(Arc<Q>) -> F) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut table = lock(&self.0);
        let running = table
            .calls
            .get(&question)
            .and_then(|entry| entry.call.upgrade());
        if let Some(running) = running {
            return Flight(running);
        }
        let question = Arc::new(question);
        let number = table.next;
        table.next = number.wrapping_add(1);
        let call = begin(Arc::clone(&question));
        // Made after that, so that a `begin` that panics does not come back to the lock it is under.
        let landing = Landing {
            flights: Arc::clone(&self.0),
            question: Arc::clone(&question),
            number,
        };
        let flight = async move {
            // A panic that unwound through the shared future would make every waiter panic too.
            let answer = AssertUnwindSafe(call).catch_unwind().await;
            // Before the answer is there for anyone: from now on a caller begins anew.
            drop(landing);
            answer.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Internal,
                    "the provider panicked during a shared call",
                ))
            })
        }
        .boxed()
        .shared();
        if let Some(call) = flight.downgrade() {
            table.calls.insert(question, Entry { number, call });
        }
        Flight(flight)
    }
}

impl<Q, T> Default for Flights<Q, T>
where
    Q: Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

fn lock<Q, T>(table: &Mutex<Table<Q, T>>) -> MutexGuard<'_, Table<Q, T>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Q, T> fmt::Debug for Flights<Q, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = lock(&self.0).calls.len();
        f.debug_struct("Flights").field("calls", &calls).finish()
    }
}

/// Takes a call's entry out of the table when the call ends, in whichever way.
struct Landing<Q: Eq + Hash, T> {
    flights: Arc<Mutex<Table<Q, T>>>,
    question: Arc<Q>,
    number: u64,
}

impl<Q: Eq + Hash, T> Drop for Landing<Q, T> {
    fn drop(&mut self) {
        let mut table = lock(&self.flights);
        let entry = table.calls.get(&self.question);
        // The last waiter may have gone, and another caller have begun the same question anew.
        if entry.is_some_and(|entry| entry.number == self.number) {
            table.calls.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{Ready, pending, ready};

    use super::*;

    fn answer(number: u32) -> impl FnOnce(Arc<&'static str>) -> Ready<Result<u32, Error>> {
        move |_| ready(Ok(number))
    }

    #[test]
    fn one_question_is_one_call_and_another_is_another() {
        let flights = Flights::new();
        let first = flights.join("a", answer(1));
        let second = flights.join("a", answer(2));
        let other = flights.join("b", answer(3));
        assert_eq!(flights.len(), 2);
        assert_eq!(second.now_or_never().unwrap().unwrap(), 1);
        assert_eq!(first.now_or_never().unwrap().unwrap(), 1);
        assert_eq!(other.now_or_never().unwrap().unwrap(), 3);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn an_answer_is_not_remembered_even_while_a_waiter_has_not_fetched_it() {
        let flights = Flights::new();
        let slow_waiter = flights.join("a", answer(1));
        assert_eq!(
            flights
                .join("a", answer(2))
                .now_or_never()
                .unwrap()
                .unwrap(),
            1
        );
        assert_eq!(
            flights
                .join("a", answer(3))
                .now_or_never()
                .unwrap()
                .unwrap(),
            3
        );
        assert_eq!(slow_waiter.now_or_never().unwrap().unwrap(), 1);
    }

    #[test]
    fn a_dropped_call_leaves_no_entry() {
        let flights: Flights<&str, u32> = Flights::new();
        let mut polled = flights.join("a", |_| pending());
        assert!((&mut polled).now_or_never().is_none());
        let unpolled = flights.join("b", |_| pending());
        assert_eq!(flights.len(), 2);
        drop((polled, unpolled));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn a_late_landing_leaves_its_successor_alone() {
        let flights: Flights<&str, u32> = Flights::new();
        let first = flights.join("a", |_| pending());
        // As if the first call were just being dropped by another thread.
        let stale = Landing {
            flights: Arc::clone(&flights.0),
            question: Arc::new("a"),
            number: u64::MAX,
        };
        drop(stale);
        assert_eq!(flights.len(), 1);
        drop(first);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn a_panic_becomes_an_error_for_every_waiter() {
        let flights: Flights<&str, u32> = Flights::new();
        let begin = |_| async { std::panic::resume_unwind(Box::new("defect")) };
        let (one, two) = (flights.join("a", begin), flights.join("a", begin));
        for waiter in [one, two] {
            let error = waiter.now_or_never().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        assert_eq!(flights.len(), 0);
    }
}
