//! How many calls are in flight, on each connection and in all.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::watch;

/// The calls of one connection, counted for the whole plugin too.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    here: watch::Sender<usize>,
    in_all: watch::Sender<usize>,
}

impl Calls {
    /// For one more connection of the same plugin.
    pub(super) fn of_new_connection(&self) -> Self {
        Self {
            here: watch::Sender::default(),
            in_all: self.in_all.clone(),
        }
    }

    /// Counts a call until what is returned is dropped.
    pub(super) fn begin(&self) -> Call {
        for count in [&self.here, &self.in_all] {
            count.send_modify(|count| *count = count.saturating_add(1));
        }
        Call(self.clone())
    }

    /// How many there are on all connections.
    pub(super) fn in_all(&self) -> usize {
        *self.in_all.borrow()
    }

    /// Waits until this connection has had no call for `pause`.
    pub(super) async fn quiet_for(&self, pause: Duration) {
        let mut here = self.here.subscribe();
        loop {
            // The sender is ours, so neither wait fails.
            let _ = here.wait_for(|count| *count == 0).await;
            let call = here.wait_for(|count| *count > 0);
            if tokio::time::timeout(pause, call).await.is_err() {
                return;
            }
        }
    }
}

/// A call in flight.
#[derive(Debug)]
pub(super) struct Call(Calls);

impl Call {
    /// Keeps the call in flight until its answer has been handed over as a whole.
    pub(super) fn until_sent<B>(self, answer: http::Response<B>) -> http::Response<Answer<B>> {
        answer.map(|body| Answer { body, _call: self })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        for count in [&self.0.here, &self.0.in_all] {
            count.send_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

/// The body of an answer, and the call that it belongs to.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    _call: Call,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_until_their_answer_is_gone() {
        let pause = Duration::from_secs(1);
        let plugin = Calls::default();
        let (first, second) = (plugin.of_new_connection(), plugin.of_new_connection());
        let call = first.begin();
        let answer = call.until_sent(http::Response::new(tonic::body::Body::empty()));
        let other = second.begin();
        assert_eq!(plugin.in_all(), 2);
        drop(other);
        second.quiet_for(pause).await;
        let early = tokio::time::timeout(pause * 10, first.quiet_for(pause)).await;
        assert!(early.is_err());
        drop(answer);
        assert_eq!(plugin.in_all(), 0);
        first.quiet_for(pause).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_comes_in_the_pause_is_waited_for() {
        let second = Duration::from_secs(1);
        let calls = Calls::default();
        let begun = tokio::time::Instant::now();
        tokio::join!(calls.quiet_for(second * 2), async {
            tokio::time::sleep(second).await;
            let _call = calls.begin();
            tokio::time::sleep(second * 5).await;
        });
        assert_eq!(begun.elapsed().as_secs(), 8);
    }
}
