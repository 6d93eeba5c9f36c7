//! Leases: claims that end with their holder.

use core::time::Duration;

use async_trait::async_trait;
use kms_core::object::{GrantedLease, LeaseId, LeaseStore, ObjectKey, Swap, SwapOutcome};
use kms_core::{CallOptions, Error, ErrorKind};
use tonic::Status;

use super::EtcdStore;
use super::cluster::{Call, Repeat};
use super::proto::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use super::status::Class;

#[async_trait]
impl LeaseStore for EtcdStore {
    async fn grant_lease(
        &self,
        time_to_live: Duration,
        options: &CallOptions,
    ) -> Result<GrantedLease, Error> {
        let seconds = i64::try_from(time_to_live.as_secs().max(1)).unwrap_or(i64::MAX);
        let cluster = self.cluster();
        let call = Call {
            what: "granting a lease",
            deadline: cluster.deadline(options),
            repeat: Repeat::IfNotDone,
        };
        let answer = cluster
            .call(call, |line| {
                let request = line.request(LeaseGrantRequest {
                    ttl: seconds,
                    id: 0,
                });
                async move { Ok(line.lease().lease_grant(request).await?.into_inner()) }
            })
            .await?;
        match (LeaseId::new(answer.id), seconds_of(answer.ttl)) {
            (Some(id), Some(time_to_live)) => Ok(GrantedLease::new(id, time_to_live)),
            _ => Err(cluster.fault(ErrorKind::Protocol, "a lease without id or time")),
        }
    }

    async fn keep_lease_alive(
        &self,
        lease: LeaseId,
        options: &CallOptions,
    ) -> Result<Option<Duration>, Error> {
        let cluster = self.cluster();
        let call = Call {
            what: "keeping a lease alive",
            deadline: cluster.deadline(options),
            repeat: Repeat::Freely,
        };
        let answer = cluster
            .call(call, |line| {
                let once = tokio_stream::once(LeaseKeepAliveRequest { id: lease.get() });
                let request = line.request(once);
                async move {
                    let mut answers = line.lease().lease_keep_alive(request).await?.into_inner();
                    let answer = answers.message().await?;
                    answer.ok_or_else(|| Status::unavailable("no answer to a sign of life"))
                }
            })
            .await?;
        Ok(seconds_of(answer.ttl))
    }

    async fn revoke_lease(&self, lease: LeaseId, options: &CallOptions) -> Result<(), Error> {
        let cluster = self.cluster();
        let call = Call {
            what: "revoking a lease",
            deadline: cluster.deadline(options),
            repeat: Repeat::Freely,
        };
        let outcome = cluster
            .call(call, |line| {
                let request = line.request(LeaseRevokeRequest { id: lease.get() });
                async move { Ok(line.lease().lease_revoke(request).await?.into_inner()) }
            })
            .await;
        match outcome {
            Err(failed)
                if failed.class == Class::Refused && failed.error.kind() == ErrorKind::Conflict =>
            {
                Ok(())
            }
            Err(failed) => Err(failed.error),
            Ok(_) => Ok(()),
        }
    }

    async fn create_with_lease(
        &self,
        key: &ObjectKey,
        value: Vec<u8>,
        lease: LeaseId,
        options: &CallOptions,
    ) -> Result<SwapOutcome, Error> {
        let swap = Swap::Create { value };
        self.cluster().swap(key, &swap, Some(lease), options).await
    }
}

fn seconds_of(number: i64) -> Option<Duration> {
    let seconds = u64::try_from(number).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}
