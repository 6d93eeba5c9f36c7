//! Opening objects beside the thread that reads them.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

use futures_util::FutureExt as _;
use kms_cluster::snapshot::{RecordBatch, SweptRecord};
use tokio::runtime::Handle;

use super::ObjectOpener;
use super::verify::Verifier;
use crate::Failure;

/// A batch is handed over when it holds this many bytes, or this many objects.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_OBJECTS: usize = 256;
/// Batches under way: enough that neither thread waits for the other, and a few MiB.
const BATCHES: usize = 4;

/// Opens objects on a thread of its own, and where that falls behind on the one that reads, too.
pub(super) struct Checker {
    batch: RecordBatch,
    full: SyncSender<RecordBatch>,
    /// Batches that can be filled again.
    empty: Receiver<RecordBatch>,
    thread: JoinHandle<Verifier>,
    own: Worker,
}

impl Checker {
    pub(super) fn start(opener: ObjectOpener, runtime: Handle) -> Self {
        let (full, to_open) = sync_channel(BATCHES);
        let (used, empty) = channel();
        let own = Worker::new(opener.clone(), runtime.clone());
        let other = Worker::new(opener, runtime);
        Self {
            batch: RecordBatch::new(),
            full,
            empty,
            thread: std::thread::spawn(move || other.open_all(&to_open, &used)),
            own,
        }
    }

    /// Has an object opened. Opens a batch here if the other thread is far behind.
    pub(super) fn add(&mut self, record: &SweptRecord<'_>) {
        self.batch.push(record);
        if self.batch.held_bytes() >= BATCH_BYTES || self.batch.len() >= BATCH_OBJECTS {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = core::mem::replace(&mut self.batch, next);
        match self.full.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch)) => self.own.open(&batch),
            // The other thread has died, which `finish` tells.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Waits until all were opened.
    pub(super) fn finish(mut self) -> Result<Verifier, Failure> {
        self.hand_over();
        drop(self.full);
        let mut verifier = self
            .thread
            .join()
            .map_err(|_| super::census::died("the thread that opens objects died".to_owned()))?;
        verifier.merge(self.own.verifier);
        Ok(verifier)
    }
}

/// Opens what it is given.
struct Worker {
    opener: ObjectOpener,
    verifier: Verifier,
    runtime: Handle,
}

impl Worker {
    fn new(opener: ObjectOpener, runtime: Handle) -> Self {
        let verifier = Verifier::new(&opener);
        Self {
            opener,
            verifier,
            runtime,
        }
    }

    fn open_all(mut self, to_open: &Receiver<RecordBatch>, used: &Sender<RecordBatch>) -> Verifier {
        while let Ok(mut batch) = to_open.recv() {
            self.open(&batch);
            batch.clear();
            // Nobody wants it back at the end.
            let _ = used.send(batch);
        }
        self.verifier
    }

    fn open(&mut self, batch: &RecordBatch) {
        // A plugin's client needs a timer even to begin.
        let _entered = self.runtime.enter();
        for (key, value) in batch.iter() {
            let mut check = core::pin::pin!(self.verifier.check(&mut self.opener, key, value));
            // Nearly always the DEK is known, and nothing waits.
            if check.as_mut().now_or_never().is_none() {
                self.runtime.block_on(check);
            }
        }
    }
}
