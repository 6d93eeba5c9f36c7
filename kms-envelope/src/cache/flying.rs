//! What both caches need to make calls: an end to waiting, and somewhere to leave a refresh.

use core::fmt;
use core::pin::Pin;

use kms_core::{Clock, Error, ErrorKind, Tick, within};

/// A refresh, for the program's runtime to run. It ends by itself; dropping it is safe.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where refreshes run, if anywhere.
#[derive(Default)]
pub(super) struct Spawner(Option<Box<dyn Fn(Background) + Send + Sync>>);

impl Spawner {
    pub(super) fn new(spawn: impl Fn(Background) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(spawn)))
    }

    /// Gives a refresh away, or back if there is nobody to take it.
    pub(super) fn spawn<F>(&self, refresh: F) -> Option<F>
    where
        F: Future + Send + 'static,
    {
        let Some(spawn) = &self.0 else {
            return Some(refresh);
        };
        spawn(Box::pin(async move {
            drop(refresh.await);
        }));
        None
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "given" } else { "none" })
    }
}

/// Waits for an answer until the deadline, if there is one.
pub(super) async fn by<T>(
    clock: &dyn Clock,
    deadline: Option<Tick>,
    what: &'static str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(deadline) = deadline else {
        return answer.await;
    };
    within(clock, deadline, answer).await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{what} has no answer by its deadline"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawner_says_whether_there_is_one() {
        let given = Spawner::new(drop);
        assert_eq!(format!("{given:?} {:?}", Spawner::default()), "given none");
    }
}
