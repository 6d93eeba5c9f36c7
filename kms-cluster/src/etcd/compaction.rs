//! Compaction: how far history is gone, and letting it go.

use kms_core::object::Revision;
use kms_core::{CallOptions, Error, ErrorKind};

use super::EtcdStore;
use super::cluster::{Call, Repeat};
use super::proto::{CompactionRequest, RangeRequest};
use super::watch::Watch;

/// What was written under a key that is to go away stays in history until that is compacted, in the
/// database's free pages until these are used again or it is [defragmented](Self::defragment), and
/// in backups for as long as there are any.
impl EtcdStore {
    /// Up to which revision history was compacted: of what was before, only the newest state of
    /// each object is left. `None` if all of history is there.
    ///
    /// # Errors
    ///
    /// Any kind.
    pub async fn compacted(&self, options: &CallOptions) -> Result<Option<Revision>, Error> {
        let cluster = self.cluster();
        let deadline = cluster.deadline(options);
        // The first revision is of an empty cluster. Were it watched at once, etcd would read all
        // of a history that is still there.
        let request = RangeRequest {
            key: cluster.identity_key().as_bytes().to_vec(),
            revision: 1,
            keys_only: true,
            ..RangeRequest::default()
        };
        match cluster.range(request, deadline).await {
            Ok(_) => Ok(None),
            Err(failed) if failed.error.kind() == ErrorKind::Compacted => {
                Watch::floor(cluster, deadline).await.map(Some)
            }
            Err(failed) => Err(failed.error),
        }
    }

    /// Compacts history up to a revision, in the whole cluster, and waits until it is gone from the
    /// member that answers. It cannot be taken back: revisions before it can no longer be read, and
    /// API servers' watches and continue tokens that are older are refused.
    ///
    /// Does nothing if it is compacted up to there, or further, already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for a revision that is not reached yet; any other kind. Without
    /// an answer it may have happened; calling it again does no harm.
    pub async fn compact(&self, revision: Revision, options: &CallOptions) -> Result<(), Error> {
        let cluster = self.cluster();
        let request = CompactionRequest {
            revision: cluster.revision_to_ask(Some(revision))?,
            physical: true,
        };
        let call = Call {
            what: "compacting history",
            deadline: cluster.deadline(options),
            repeat: Repeat::FreelyHere,
        };
        let outcome = cluster
            .call(call, |line| {
                let request = line.request(request);
                async move { Ok(line.kv().compact(request).await?.into_inner()) }
            })
            .await;
        match outcome {
            Err(failed) if failed.error.kind() != ErrorKind::Compacted => Err(failed.error),
            _ => Ok(()),
        }
    }
}
