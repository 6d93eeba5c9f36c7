//! Taking a snapshot, as `etcdctl snapshot save` does.

use kms_core::text::hex;
use kms_core::{CallOptions, Error, ErrorKind};
use ring::digest;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tonic::{Status, Streaming};

use super::EtcdStore;
use super::cluster::{Call, Cluster, Repeat};
use super::proto::{Answer, RangeResponse, ResponseHeader, SnapshotRequest, SnapshotResponse};

/// A snapshot that was written whole.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TakenSnapshot {
    /// What was written, in bytes: the database, and its SHA-256 at the end.
    pub bytes: u64,
    /// That SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A stream, what it began with, and who gives it: its own messages do not say.
struct Begun {
    who: RangeResponse,
    stream: Streaming<SnapshotResponse>,
    first: SnapshotResponse,
}

impl Answer for Begun {
    fn header(&self) -> Option<&ResponseHeader> {
        self.who.header()
    }
}

impl EtcdStore {
    /// Writes a snapshot of the member that answers: a file that `etcdutl snapshot restore` takes,
    /// and [`Snapshot`](crate::snapshot) reads. Everything is in it as etcd stores it, so what is
    /// in clear there is in clear here.
    ///
    /// The digest that etcd sends is checked. What is written counts for nothing unless this
    /// returns without an error: write to another name, and give the file its own after that.
    ///
    /// Takes as long as the caller's deadline allows, without end unless told; a stream that is
    /// silent for longer than the timeout of the store is given up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if what came is not what its digest says; [`ErrorKind::Io`] if it
    /// cannot be written; any other kind. It is not begun anew elsewhere, since something may have
    /// been written.
    pub async fn snapshot(
        &self,
        out: &mut (dyn AsyncWrite + Send + Unpin),
        options: &CallOptions,
    ) -> Result<TakenSnapshot, Error> {
        let cluster = self.cluster();
        let Begun { stream, first, .. } = begin(cluster, options).await?;
        let mut receipt = Receipt::new(&first);
        let mut stream = stream;
        let mut chunk = Some(first);
        while let Some(SnapshotResponse { blob, .. }) = chunk.take() {
            let taken = receipt.take(&blob);
            taken.map_err(|problem| cluster.fault(ErrorKind::Protocol, problem))?;
            out.write_all(&blob)
                .await
                .map_err(|error| writing(cluster, error))?;
            chunk = next(cluster, &mut stream, options).await?;
        }
        out.flush().await.map_err(|error| writing(cluster, error))?;
        receipt
            .finish()
            .map_err(|problem| cluster.fault(ErrorKind::Corrupt, problem))
    }
}

fn writing(cluster: &Cluster, error: std::io::Error) -> Error {
    let message = "a snapshot: it cannot be written";
    cluster.fault(ErrorKind::Io, message).with_source(error)
}

async fn begin(cluster: &Cluster, options: &CallOptions) -> Result<Begun, Error> {
    let call = Call {
        what: "a snapshot",
        deadline: cluster.deadline(options),
        repeat: Repeat::Freely,
    };
    let begun = cluster.call(call, |line| async move {
        let request = line.request(SnapshotRequest {});
        let mut maintenance = line.maintenance();
        let who = cluster.greet(line).await?;
        let mut stream = maintenance.snapshot(request).await?.into_inner();
        let first = stream.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("an empty snapshot"))?;
        Ok(Begun { who, stream, first })
    });
    Ok(begun.await?)
}

async fn next(
    cluster: &Cluster,
    stream: &mut Streaming<SnapshotResponse>,
    options: &CallOptions,
) -> Result<Option<SnapshotResponse>, Error> {
    let deadline = cluster.deadline(options);
    match cluster.within(deadline, stream.message()).await {
        Some(chunk) => chunk.map_err(|status| cluster.broken(&status, "a snapshot")),
        None => Err(cluster.fault(
            ErrorKind::DeadlineExceeded,
            "a snapshot: nothing came in time",
        )),
    }
}

const DIGEST_LEN: usize = 32;
/// bbolt's pages are a multiple of this, which is how a digest is told from a page.
const SECTOR: u64 = 512;

/// What has come of a snapshot.
struct Receipt {
    /// Over everything but the tail.
    digest: digest::Context,
    /// The last bytes, which are the digest if nothing follows.
    tail: Vec<u8>,
    bytes: u64,
    /// The most that may come, by what etcd said at the begin.
    expected: u64,
}

impl Receipt {
    fn new(first: &SnapshotResponse) -> Self {
        let database = first
            .remaining_bytes
            .saturating_add(first.blob.len() as u64);
        Self {
            digest: digest::Context::new(&digest::SHA256),
            tail: Vec::with_capacity(DIGEST_LEN),
            bytes: 0,
            expected: database.saturating_add(DIGEST_LEN as u64),
        }
    }

    fn take(&mut self, blob: &[u8]) -> Result<(), &'static str> {
        self.bytes = self.bytes.saturating_add(blob.len() as u64);
        if self.bytes > self.expected {
            return Err("a snapshot that is longer than etcd said");
        }
        // What can no longer be among the last bytes.
        let settled = self.tail.len().saturating_add(blob.len());
        let settled = settled.saturating_sub(DIGEST_LEN);
        let of_tail = settled.min(self.tail.len());
        let of_blob = settled.saturating_sub(of_tail);
        for byte_run in [self.tail.get(..of_tail), blob.get(..of_blob)] {
            self.digest.update(byte_run.unwrap_or_default());
        }
        self.tail.drain(..of_tail);
        self.tail.extend(blob.get(of_blob..).unwrap_or_default());
        Ok(())
    }

    fn finish(self) -> Result<TakenSnapshot, &'static str> {
        let Self {
            digest,
            tail,
            bytes,
            expected,
        } = self;
        if bytes != expected || bytes % SECTOR != DIGEST_LEN as u64 {
            return Err("a snapshot that is not as long as etcd said, or has no digest");
        }
        if digest.finish().as_ref() != tail.as_slice() {
            return Err("a snapshot that is not what the SHA-256 at its end says");
        }
        Ok(TakenSnapshot {
            bytes,
            sha256: hex(&tail),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receive(
        database: &[u8],
        said: u64,
        chunks: &[usize],
    ) -> Result<TakenSnapshot, &'static str> {
        let digest = digest::digest(&digest::SHA256, database);
        let all = [database, digest.as_ref()].concat();
        receive_as_it_is(&all, said, chunks)
    }

    fn receive_as_it_is(
        mut all: &[u8],
        said: u64,
        chunks: &[usize],
    ) -> Result<TakenSnapshot, &'static str> {
        let mut receipt = Receipt::new(&SnapshotResponse {
            remaining_bytes: said,
            ..SnapshotResponse::default()
        });
        for chunk in chunks.iter().copied().chain([usize::MAX]) {
            let (now, rest) = all.split_at(chunk.min(all.len()));
            receipt.take(now)?;
            all = rest;
        }
        receipt.finish()
    }

    #[test]
    fn a_snapshot_that_is_not_whole_is_refused() {
        let database = vec![7; 1024];
        let taken = receive(&database, 1024, &[]).unwrap();
        assert_eq!(taken.bytes, 1056);
        assert_eq!(
            taken.sha256,
            hex(digest::digest(&digest::SHA256, &database).as_ref())
        );
        assert!(receive(&database, 1023, &[]).is_err(), "longer than said");
        assert!(receive(&database, 1025, &[]).is_err(), "shorter than said");
        assert!(receive_as_it_is(&database, 1024, &[]).is_err(), "no digest");
        assert!(receive_as_it_is(&[], 0, &[]).is_err(), "nothing");
        assert!(receive(&[7; 100], 100, &[]).is_err(), "no database");
        let digest = digest::digest(&digest::SHA256, &database);
        let mut all = [&database[..], digest.as_ref()].concat();
        for at in [0, 1023, 1024, 1055] {
            all[at] ^= 1;
            assert!(receive_as_it_is(&all, 1024, &[1000]).is_err(), "{at}");
            all[at] ^= 1;
        }
        assert!(receive_as_it_is(&all, 1024, &[1000]).is_ok());
    }

    proptest! {
        /// The digest may come in a message of its own, or in several, or with the last page.
        #[test]
        fn it_does_not_matter_how_it_is_cut(
            sectors in 1_usize..4,
            chunks in proptest::collection::vec(0_usize..700, 0..8),
        ) {
            let database: Vec<u8> = (0..sectors * 512).map(|at| at as u8).collect();
            let taken = receive(&database, database.len() as u64, &chunks);
            prop_assert_eq!(taken.unwrap().bytes, database.len() as u64 + 32);
        }
    }
}
