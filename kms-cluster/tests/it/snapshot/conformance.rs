//! A snapshot is a source as any other.

use std::sync::Arc;

use async_trait::async_trait;
use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::Error;
use kms_core::object::{ObjectKey, ObjectSource};
use kms_testkit::objects::{SourceHarness, run_source};

struct Files(SnapshotOptions);

#[async_trait]
impl SourceHarness for Files {
    async fn source_with(
        &self,
        objects: &[(ObjectKey, Vec<u8>)],
    ) -> Result<Arc<dyn ObjectSource>, Error> {
        let mut writer = super::writer();
        // Revisions in another order than keys, something before and something deleted.
        for (key, value) in objects.iter().rev() {
            writer.put(key.as_bytes(), b"superseded", None).unwrap();
            writer.put(key.as_bytes(), value, None).unwrap();
            let gone = [key.as_bytes(), b"-gone"].concat();
            if gone.len() <= ObjectKey::MAX_LEN {
                writer.put(&gone, b"x", None).unwrap();
                writer.delete(&gone).unwrap();
            }
        }
        let bytes = super::finish(writer);
        Ok(Arc::new(Snapshot::from_bytes(bytes, "test", &self.0)?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_conforms() {
    let report = run_source(&Files(SnapshotOptions::default())).await;
    assert!(report.has_passed(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_conforms_whose_keys_take_many_passes() {
    let options = SnapshotOptions::default().with_window_bytes(300);
    let report = run_source(&Files(options)).await;
    assert!(report.has_passed(), "{report}");
}
