//! A call and the moment it must be over.

use kms_core::{Clock, Error, ErrorKind, Tick};

/// Waits for `work`, until `deadline` at the longest.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    deadline: Tick,
    what: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let done = kms_core::within(clock, deadline, work).await;
    done.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{what} did not finish in time"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use kms_core::TokioClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_wins_and_silence_ends() {
        let clock = TokioClock::new();
        let ready = within(&clock, clock.now(), "it", async { Ok(7) }).await;
        assert_eq!(ready.unwrap(), 7);
        let deadline = clock.now() + Duration::from_secs(3);
        let late = within::<()>(&clock, deadline, "it", core::future::pending()).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        assert!(clock.now() >= deadline);
    }
}
