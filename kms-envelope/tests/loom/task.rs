//! Waiting, as a runtime does it, on the checker's threads.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread::{self, Thread};

/// Who waits. One order at a time is run, so one list will do.
static WAITING: Mutex<Vec<Arc<Task>>> = Mutex::new(Vec::new());

struct Task {
    /// Set by a waker, which may be called under locks that the checker does not know. So it does
    /// no more: see [`Task::pass_on`].
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

impl Task {
    fn begin() -> Arc<Self> {
        let task = Arc::new(Self {
            woken: AtomicBool::new(false),
            thread: thread::current(),
        });
        waiting(|tasks| tasks.push(Arc::clone(&task)));
        task
    }

    /// Sleeps unless it was woken meanwhile.
    fn sleep(&self) {
        while !self.woken.swap(false, Ordering::Relaxed) {
            thread::park();
        }
    }

    /// Lets those run whom this one has woken.
    fn pass_on(self: &Arc<Self>) {
        let tasks = waiting(|tasks| tasks.clone());
        for task in tasks {
            if task.woken.load(Ordering::Relaxed) && !Arc::ptr_eq(&task, self) {
                task.thread.unpark();
            }
        }
    }

    fn end(self: &Arc<Self>) {
        waiting(|tasks| tasks.retain(|task| !Arc::ptr_eq(task, self)));
        self.pass_on();
    }
}

fn waiting<R>(work: impl FnOnce(&mut Vec<Arc<Task>>) -> R) -> R {
    work(&mut WAITING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Waits for the answer.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let task = Task::begin();
    let waker = Waker::from(Arc::clone(&task));
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(output) = polled {
            task.end();
            return output;
        }
        task.pass_on();
        task.sleep();
    }
}

/// Asks once, and drops the future if that is not enough.
pub(crate) fn ask_once(future: impl Future) {
    let task = Task::begin();
    let waker = Waker::from(Arc::clone(&task));
    drop(pin!(future).poll(&mut Context::from_waker(&waker)));
    task.end();
}
