//! Opening objects beside the thread that reads them.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::ObjectOpener;
use super::verify::Verifier;
use crate::Failure;

/// A batch is handed over when it holds this many bytes, or this many objects.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_OBJECTS: usize = 256;
/// Batches under way: enough that neither thread waits for the other, and a few MiB.
const BATCHES: usize = 4;

/// Objects on their way to the thread that opens them.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Lengths of key and value, one behind the other in `bytes`.
    lengths: Vec<(usize, usize)>,
}

impl Batch {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.lengths.push((key.len(), value.len()));
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.lengths.len() >= BATCH_OBJECTS
    }

    fn objects(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().filter_map(move |(key, value)| {
            let (found_key, behind) = rest.split_at_checked(*key)?;
            let (found_value, behind) = behind.split_at_checked(*value)?;
            rest = behind;
            Some((found_key, found_value))
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }
}

/// The thread that opens objects.
pub(super) struct Checker {
    batch: Batch,
    full: SyncSender<Batch>,
    /// Batches that can be filled again.
    empty: Receiver<Batch>,
    thread: JoinHandle<Verifier>,
}

impl Checker {
    pub(super) fn start(opener: ObjectOpener, runtime: Handle) -> Self {
        let (full, to_open) = sync_channel(BATCHES);
        let (used, empty) = channel();
        Self {
            batch: Batch::default(),
            full,
            empty,
            thread: std::thread::spawn(move || open_all(opener, &runtime, &to_open, &used)),
        }
    }

    /// Has an object opened. Waits if the other thread is far behind.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.batch.add(key, value);
        if self.batch.is_full() {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = core::mem::replace(&mut self.batch, next);
        // It fails if the other thread has died, which `finish` tells.
        let _ = self.full.send(batch);
    }

    /// Waits until all were opened.
    pub(super) fn finish(mut self) -> Result<Verifier, Failure> {
        self.hand_over();
        drop(self.full);
        self.thread
            .join()
            .map_err(|_| super::census::died("the thread that opens objects died".to_owned()))
    }
}

fn open_all(
    mut opener: ObjectOpener,
    runtime: &Handle,
    to_open: &Receiver<Batch>,
    used: &Sender<Batch>,
) -> Verifier {
    // A plugin's client needs a timer even to begin.
    let _entered = runtime.enter();
    let mut verifier = Verifier::new(&opener);
    while let Ok(mut batch) = to_open.recv() {
        for (key, value) in batch.objects() {
            let mut check = core::pin::pin!(verifier.check(&mut opener, key, value));
            // Nearly always the DEK is known, and nothing waits.
            if check.as_mut().now_or_never().is_none() {
                runtime.block_on(check);
            }
        }
        batch.clear();
        // Nobody wants it back at the end.
        let _ = used.send(batch);
    }
    verifier
}
