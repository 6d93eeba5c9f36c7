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

// The maker of databases is in no published package.
#[cfg(all(test, feature = "testing"))]
mod tests {
    use core::ops::ControlFlow;

    use kms_cluster::snapshot::Snapshot;
    use kms_core::TokioClock;
    use kms_envelope::kubernetes::EncryptionConfiguration;
    use kms_testkit::objects::DatabaseWriter;

    use super::*;
    use crate::cluster::OpenerOptions;
    use crate::provider::Environment;

    const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources: [{resources: [secrets], providers: [{identity: {}}]}]
";
    const OBJECTS: u64 = 20 * BATCH_OBJECTS as u64;

    /// Every seventh object is under a key that nobody has.
    fn snapshot() -> (tempfile::TempDir, Snapshot) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("member.db");
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let mut writer = DatabaseWriter::new(file).unwrap();
        for number in 0..OBJECTS {
            let key = format!("/registry/secrets/default/s-{number:06}");
            let value: &[u8] = if number % 7 == 0 {
                b"k8s:enc:aescbc:v1:lost:0123456789abcdef0123456789abcdef"
            } else {
                b"k8s\0plain"
            };
            writer.put(key.as_bytes(), value, None).unwrap();
        }
        writer.finish().unwrap();
        let snapshot = Snapshot::open(&path).unwrap();
        (directory, snapshot)
    }

    fn opener() -> ObjectOpener {
        let config = EncryptionConfiguration::parse(CONFIG).unwrap();
        let mut environment = Environment::new(std::sync::Arc::new(TokioClock::new()));
        let options = OpenerOptions::default();
        ObjectOpener::new(config, Vec::new(), options, &mut environment).unwrap()
    }

    fn add_all(checker: &mut Checker, snapshot: &Snapshot) {
        let added = snapshot.sweep(None, |record| {
            checker.add(record);
            ControlFlow::Continue(())
        });
        added.unwrap();
    }

    fn assert_all(verifier: Verifier) {
        let failed = OBJECTS.div_ceil(7);
        let (found, damaged) = verifier.finish(Vec::new());
        assert_eq!((found.opened, found.failed), (OBJECTS - failed, failed));
        assert_eq!(damaged.len() as u64, failed);
        let [blocker] = &found.blockers[..] else {
            panic!("one reason: {:?}", found.blockers);
        };
        assert_eq!(blocker.objects, failed);
        assert_eq!(blocker.example, "/registry/secrets/default/s-000000");
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn each_object_is_opened_once_by_whichever_thread() {
        let (_directory, snapshot) = snapshot();
        let runtime = runtime();
        let mut checker = Checker::start(opener(), runtime.handle().clone());
        add_all(&mut checker, &snapshot);
        assert_all(checker.finish().unwrap());
    }

    /// The other thread takes nothing until all was read: what does not fit is opened here.
    #[test]
    fn what_the_other_thread_has_no_room_for_is_opened_here() {
        let (_directory, snapshot) = snapshot();
        let runtime = runtime();
        let mut checker = Checker::start(opener(), runtime.handle().clone());
        let (full, to_open) = sync_channel(1);
        let (used, empty) = channel();
        let (begin, may_begin) = channel::<()>();
        let other = Worker::new(opener(), runtime.handle().clone());
        checker.full = full;
        checker.empty = empty;
        checker.thread = std::thread::spawn(move || {
            may_begin.recv().unwrap();
            other.open_all(&to_open, &used)
        });
        add_all(&mut checker, &snapshot);
        let (here, _) = core::mem::replace(
            &mut checker.own,
            Worker::new(opener(), runtime.handle().clone()),
        )
        .verifier
        .finish(Vec::new());
        let here = here.opened + here.failed;
        assert!(here >= OBJECTS - 2 * BATCH_OBJECTS as u64, "{here}");
        begin.send(()).unwrap();
        let (there, _) = checker.finish().unwrap().finish(Vec::new());
        assert_eq!(here + there.opened + there.failed, OBJECTS);
    }

    /// A count that lacks what a dead thread had would say that a cluster comes back.
    #[test]
    fn a_thread_that_died_is_told() {
        let (_directory, snapshot) = snapshot();
        let runtime = runtime();
        let mut checker = Checker::start(opener(), runtime.handle().clone());
        let (full, to_open) = sync_channel(1);
        checker.full = full;
        checker.thread = std::thread::spawn(move || {
            drop(to_open);
            std::panic::resume_unwind(Box::new("it dies"))
        });
        add_all(&mut checker, &snapshot);
        assert!(checker.finish().is_err());
    }
}
