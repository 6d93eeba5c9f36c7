//! What is asked of a member rather than of the cluster.

use core::time::Duration;

use kms_core::object::Revision;
use kms_core::text::one_line;
use kms_core::{CallOptions, Error};

use super::EtcdStore;
use super::cluster::{Call, Repeat};
use super::proto::{DefragmentRequest, StatusRequest, StatusResponse};
use super::status::MAX_TEXT_LEN;

/// What a member says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EtcdStatus {
    /// The member's id.
    pub member_id: u64,
    /// The version of etcd that it runs, such as `3.5.16`.
    pub version: String,
    /// The newest revision that it has.
    pub revision: Revision,
    /// What its database takes, in bytes.
    pub database_bytes: u64,
    /// Of these, what is in use. The rest is free pages, which still hold what was in them;
    /// [`EtcdStore::defragment`] gives them back.
    pub database_bytes_in_use: u64,
    /// The leader's id; `None` if there is no leader.
    pub leader_id: Option<u64>,
    /// Whether it still learns, and so neither votes nor answers reads.
    pub is_learner: bool,
    /// Alarms and what else is wrong, in etcd's words; at most 16.
    pub faults: Vec<String>,
}

const MAX_FAULTS: usize = 16;
const MAX_VERSION_LEN: usize = 64;
/// A database of several gigabytes takes minutes.
const DEFRAGMENT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Where the members of a cluster are, and how they are. With users in etcd, all but the status
/// needs the role `root`.
impl EtcdStore {
    /// The endpoints that were given, as they are called here: without credentials, and without a
    /// slash at the end.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.cluster().endpoints()
    }

    /// How the member is that answers.
    ///
    /// # Errors
    ///
    /// Any kind.
    pub async fn status(&self, options: &CallOptions) -> Result<EtcdStatus, Error> {
        let cluster = self.cluster();
        let call = Call {
            what: "a member's status",
            deadline: cluster.deadline(options),
            repeat: Repeat::Freely,
        };
        let answer = cluster
            .call(call, |line| {
                let request = line.request(StatusRequest {});
                async move { Ok(line.maintenance().status(request).await?.into_inner()) }
            })
            .await?;
        self.read_status(answer)
    }

    fn read_status(&self, answer: StatusResponse) -> Result<EtcdStatus, Error> {
        let bytes = |count: i64| u64::try_from(count).unwrap_or_default();
        let header = answer.header.unwrap_or_default();
        Ok(EtcdStatus {
            member_id: header.member_id,
            version: one_line(&answer.version, MAX_VERSION_LEN),
            revision: self.cluster().revision(header.revision)?,
            database_bytes: bytes(answer.db_size),
            database_bytes_in_use: bytes(answer.db_size_in_use),
            leader_id: Some(answer.leader).filter(|leader| *leader != 0),
            is_learner: answer.is_learner,
            faults: answer
                .errors
                .iter()
                .take(MAX_FAULTS)
                .map(|fault| one_line(fault, MAX_TEXT_LEN))
                .collect(),
        })
    }

    /// Lets the member at one of the [endpoints](Self::endpoints) write its database anew, without
    /// free pages. It answers nothing else meanwhile: do one after the other, the leader last, and
    /// look at each one's status in between.
    ///
    /// Takes as long as the caller's deadline allows, 15 minutes unless told; the timeout of the
    /// store does not count.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](kms_core::ErrorKind::InvalidInput) if there is no such endpoint; any other
    /// kind. Without an answer it may have happened, or go on.
    pub async fn defragment(&self, endpoint: &str, options: &CallOptions) -> Result<(), Error> {
        let cluster = self.cluster();
        let call = Call {
            what: "defragmenting",
            deadline: cluster.long_deadline(options, DEFRAGMENT_LIMIT),
            repeat: Repeat::FreelyHere,
        };
        cluster
            .call_member(endpoint, call, |line| {
                let request = line.request(DefragmentRequest {});
                async move { Ok(line.maintenance().defragment(request).await?.into_inner()) }
            })
            .await?;
        Ok(())
    }
}
