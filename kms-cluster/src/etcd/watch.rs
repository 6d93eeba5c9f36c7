//! Every change since a revision, from a watch.

use std::collections::VecDeque;

use kms_core::object::{HistoryPosition, HistoryRecord, Revision};
use kms_core::{Error, ErrorKind, Tick};
use tokio_stream::StreamExt as _;
use tonic::{Status, Streaming};

use super::cluster::{Call, Cluster, Repeat};
use super::history::compacted;
use super::proto::watch_request::RequestUnion;
use super::proto::{
    Answer, Event, EventType, ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
};

/// A watch over all keys, read up to a revision.
///
/// Over all, because only then a change is certain to come at that very revision: etcd's notes of
/// progress, which would tell that nothing follows, could come before the changes they speak of
/// until etcd 3.4.25 and 3.5.8.
pub(super) struct Watch {
    stream: Streaming<WatchResponse>,
    /// Changes that were received and not given yet.
    received: VecDeque<HistoryRecord>,
    /// The position of the change that was received last.
    last: HistoryPosition,
    /// Up to which revision to read.
    until: Revision,
    is_done: bool,
}

/// What a watch begins with.
pub(super) enum Opened {
    Watch(Box<Watch>),
    /// History begins here.
    Compacted(Revision),
}

/// A stream and what it began with.
struct Begun(Streaming<WatchResponse>, WatchResponse);

impl Answer for Begun {
    fn header(&self) -> Option<&ResponseHeader> {
        self.1.header()
    }
}

impl Watch {
    /// Opens a watch. etcd tells soon, but not at once, that a revision is compacted: so this
    /// waits for what comes first, a change or that.
    pub(super) async fn open(
        cluster: &Cluster,
        since: Revision,
        until: Revision,
        deadline: Tick,
    ) -> Result<Opened, Error> {
        let create = WatchCreateRequest {
            key: vec![0],
            range_end: vec![0],
            start_revision: cluster.revision_to_ask(Some(since))?,
            fragment: true,
        };
        Self::begin(cluster, create, until, deadline).await
    }

    /// Where history begins, of which it is known that its first revision is compacted. A watch
    /// of one key tells that before it reads anything.
    pub(super) async fn floor(cluster: &Cluster, deadline: Tick) -> Result<Revision, Error> {
        let first = Revision::new(1);
        let create = WatchCreateRequest {
            key: cluster.identity_key().as_bytes().to_vec(),
            start_revision: cluster.revision_to_ask(Some(first))?,
            ..WatchCreateRequest::default()
        };
        match Self::begin(cluster, create, first, deadline).await? {
            Opened::Compacted(floor) => Ok(floor),
            Opened::Watch(_) => Err(cluster.fault(
                ErrorKind::Protocol,
                "a watch begins at a revision that a read calls compacted",
            )),
        }
    }

    async fn begin(
        cluster: &Cluster,
        create: WatchCreateRequest,
        until: Revision,
        deadline: Tick,
    ) -> Result<Opened, Error> {
        let call = Call {
            what: "a watch",
            deadline,
            repeat: Repeat::Freely,
        };
        let Begun(stream, first) = cluster
            .call(call, |line| {
                let create = WatchRequest {
                    request_union: Some(RequestUnion::CreateRequest(create.clone())),
                };
                // The stream to etcd stays open: etcd need not go on for those who are gone.
                let requests = tokio_stream::once(create).chain(tokio_stream::pending());
                let request = line.request(requests);
                async move {
                    let mut stream = line.watch().watch(request).await?.into_inner();
                    let first = stream.message().await?;
                    let first = first.ok_or_else(|| Status::unavailable("no answer to a watch"))?;
                    match first.canceled && first.compact_revision == 0 {
                        true => Err(canceled(&first.cancel_reason)),
                        false => Ok(Begun(stream, first)),
                    }
                }
            })
            .await?;
        let mut watch = Self {
            stream,
            received: VecDeque::new(),
            // Before every change of the first revision.
            last: HistoryPosition::new(Revision::default(), 0),
            until,
            is_done: false,
        };
        let mut floor = watch.take(cluster, first)?;
        while floor.is_none() && watch.last.revision == Revision::default() {
            floor = watch.receive(cluster, deadline).await?;
        }
        Ok(match floor {
            Some(floor) => Opened::Compacted(floor),
            None => Opened::Watch(Box::new(watch)),
        })
    }

    /// The next change; none if all up to the revision were given.
    pub(super) async fn next(
        &mut self,
        cluster: &Cluster,
        deadline: Tick,
    ) -> Result<Option<HistoryRecord>, Error> {
        loop {
            if let Some(record) = self.received.pop_front() {
                return Ok(Some(record));
            }
            if self.is_done {
                return Ok(None);
            }
            if let Some(floor) = self.receive(cluster, deadline).await? {
                return Err(compacted(cluster, floor));
            }
        }
    }

    async fn receive(
        &mut self,
        cluster: &Cluster,
        deadline: Tick,
    ) -> Result<Option<Revision>, Error> {
        let Some(message) = cluster.within(deadline, self.stream.message()).await else {
            return Err(cluster.fault(ErrorKind::DeadlineExceeded, "a watch: nothing came in time"));
        };
        let answer = message
            .and_then(|answer| answer.ok_or_else(|| Status::unavailable("the watch ended")))
            .map_err(|status| cluster.broken(&status, "a watch"))?;
        self.take(cluster, answer)
    }

    /// Takes an answer apart. What is returned is where history begins, if that is what it says.
    fn take(
        &mut self,
        cluster: &Cluster,
        answer: WatchResponse,
    ) -> Result<Option<Revision>, Error> {
        if answer.compact_revision != 0 {
            return cluster.revision(answer.compact_revision).map(Some);
        }
        if answer.canceled {
            return Err(cluster.broken(&canceled(&answer.cancel_reason), "a watch"));
        }
        for event in answer.events {
            self.take_event(cluster, event)?;
        }
        // What happened at one revision comes in one answer, but for fragments of it.
        self.is_done |= !answer.fragment && self.last.revision >= self.until;
        Ok(None)
    }

    fn take_event(&mut self, cluster: &Cluster, event: Event) -> Result<(), Error> {
        let is_deleted = event.r#type() == EventType::Delete;
        let kv = event.kv.unwrap_or_default();
        let revision = cluster.revision(kv.mod_revision)?;
        let position = if revision == self.last.revision {
            HistoryPosition::new(revision, self.last.sub.saturating_add(1))
        } else if revision > self.last.revision {
            HistoryPosition::new(revision, 0)
        } else {
            return Err(cluster.fault(ErrorKind::Protocol, "a watch ran backwards"));
        };
        self.last = position;
        if revision <= self.until {
            let key = cluster.key(&kv.key)?;
            let value = (!is_deleted).then_some(kv.value);
            self.received
                .push_back(HistoryRecord::new(position, key, value));
        }
        Ok(())
    }
}

/// Why etcd ended a watch is text alone: the status of the call it would have been.
fn canceled(reason: &str) -> Status {
    if reason.contains("permission denied") {
        return Status::permission_denied(format!(
            "{reason} (history needs the right to all keys)"
        ));
    }
    if reason.contains("invalid auth token") {
        return Status::unauthenticated(reason);
    }
    if reason.contains("user name is empty") {
        return Status::invalid_argument(reason);
    }
    Status::unavailable(reason)
}
