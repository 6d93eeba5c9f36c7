//! What takes the place of the real locks, atomics and random hashes.

use std::future::Future;
use std::hash::{BuildHasher, DefaultHasher, Hash};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use kms_core::Error;

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};

use crate::flight;

/// The single flight, and what the checker cannot see of it: an answer out of a `Shared` future
/// brings along all that was done before it was there.
pub(crate) struct Flights<Q, T> {
    flights: flight::Flights<Q, T>,
    answers: Arc<AtomicU64>,
}

pub(crate) struct Flight<T> {
    flight: flight::Flight<T>,
    answers: Arc<AtomicU64>,
}

impl<Q, T> Flights<Q, T>
where
    Q: Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self {
            flights: flight::Flights::new(),
            answers: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn join<F>(&self, question: Q, begin: impl FnOnce(Arc<Q>) -> F) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let answers = Arc::clone(&self.answers);
        let flight = self.flights.join(question, |question| {
            let call = begin(question);
            async move {
                let answer = call.await;
                answers.fetch_add(1, Ordering::AcqRel);
                answer
            }
        });
        Flight {
            flight,
            answers: Arc::clone(&self.answers),
        }
    }
}

impl<T: Clone> Future for Flight<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.flight).poll(context));
        self.answers.fetch_add(0, Ordering::AcqRel);
        Poll::Ready(answer)
    }
}

/// Not random: the checker goes the same way again and again.
#[derive(Clone, Debug)]
pub(crate) struct RandomState;

impl RandomState {
    pub(crate) const fn new() -> Self {
        Self
    }
}

impl BuildHasher for RandomState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher::new()
    }
}
