//! What compaction has left: the newest change of each object up to a revision, oldest first.
//!
//! A watch gives what came after; these changes it does not give. etcd can sort a range by
//! revision, but reads all of the range for every page of it. So keys and revisions are read in
//! one pass, as many as memory allows are kept, and values are read for those.

use std::collections::BTreeMap;

use kms_core::object::{HistoryPosition, HistoryRecord, ObjectKey, Revision, ScanOptions};
use kms_core::{Error, ErrorKind, Tick};

use super::cluster::{Call, Cluster, Failed, Repeat};
use super::history::{Room, size};
use super::proto::request_op::Request;
use super::proto::response_op::Response;
use super::proto::{RangeRequest, RequestOp, TxnRequest};
use super::range::{Pace, key_range};
use super::status::Class;

/// What an entry takes beside its key, in bytes.
const ENTRY: usize = 96;
/// Keys that one request of the pass asks for, without values.
const KEYS: i64 = 2000;
/// Values that one transaction asks for; etcd takes 128 unless it is told otherwise.
const VALUES: usize = 100;

/// The changes up to a revision that are still to be given.
pub(super) struct Settled {
    prefix: Vec<u8>,
    /// The revision that was compacted to.
    floor: Revision,
    /// Revision and key of each, and how many of its revision come before it.
    entries: BTreeMap<(Revision, ObjectKey), u64>,
    /// Whether there are more than were kept.
    has_more: bool,
    /// What was given last.
    after: Option<HistoryPosition>,
}

impl Settled {
    pub(super) fn new(prefix: &[u8], floor: Revision, after: Option<HistoryPosition>) -> Self {
        Self {
            prefix: prefix.to_vec(),
            floor,
            entries: BTreeMap::new(),
            has_more: true,
            after,
        }
    }

    /// Some of the next changes, or none if all have been given.
    pub(super) async fn next(
        &mut self,
        cluster: &Cluster,
        pace: &Pace,
        room: Room,
        deadline: Tick,
    ) -> Result<Vec<HistoryRecord>, Error> {
        if self.entries.is_empty() && self.has_more {
            self.fill(cluster, deadline).await?;
        }
        let mut limit = pace.keys(room.bytes).min(room.records).clamp(1, VALUES);
        let records = loop {
            let wanted: Vec<_> = self.entries.iter().take(limit).collect();
            match self.read(cluster, &wanted, deadline).await {
                Err(failed) if failed.class == Class::TooLong && limit > 1 => {
                    limit = limit.div_ceil(2);
                }
                records => break records?,
            }
        };
        let all = records.iter().map(size).fold(0, usize::saturating_add);
        pace.learn(records.len(), all);
        for record in &records {
            self.entries
                .remove(&(record.position.revision, record.key.clone()));
            self.after = Some(record.position);
        }
        Ok(records)
    }

    /// One pass over the keys, for the oldest changes that were not given yet.
    async fn fill(&mut self, cluster: &Cluster, deadline: Tick) -> Result<(), Error> {
        let since = self.after.map(|after| after.revision);
        let mut kept = BTreeMap::new();
        let mut total = 0_usize;
        self.has_more = false;
        let (start, end) = ScanOptions::default()
            .with_prefix(self.prefix.clone())
            .range();
        let (mut key, range_end) = key_range(start, end);
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: KEYS,
                revision: cluster.revision_to_ask(Some(self.floor))?,
                keys_only: true,
            };
            let answer = cluster.range(request, deadline).await?;
            match answer.kvs.last() {
                Some(last) if last.key >= key => key = [last.key.as_slice(), &[0]].concat(),
                Some(_) => return Err(cluster.fault(ErrorKind::Protocol, "keys run backwards")),
                None => {}
            }
            for kv in answer.kvs {
                let revision = cluster.revision(kv.mod_revision)?;
                if since.is_some_and(|since| revision < since) {
                    continue;
                }
                let name = cluster.key(&kv.key)?;
                total = total.saturating_add(cost(&name));
                kept.insert((revision, name), 0);
                while total > cluster.history_window_bytes()
                    && kept.len() > 1
                    && let Some(((_, dropped), _)) = kept.pop_last()
                {
                    total = total.saturating_sub(cost(&dropped));
                    self.has_more = true;
                }
            }
            if !answer.more {
                break;
            }
        }
        // Changes of one revision are numbered by their keys; etcd's own numbers are not told.
        let (mut revision, mut sub) = (Revision::default(), 0_u64);
        for (entry, number) in &mut kept {
            sub = if entry.0 == revision {
                sub.saturating_add(1)
            } else {
                0
            };
            revision = entry.0;
            *number = sub;
        }
        let is_next = |place: &(Revision, ObjectKey), sub: u64| {
            self.after
                .is_none_or(|after| HistoryPosition::new(place.0, sub) > after)
        };
        kept.retain(|place, sub| is_next(place, *sub));
        self.entries = kept;
        Ok(())
    }

    /// The values of these changes.
    async fn read(
        &self,
        cluster: &Cluster,
        wanted: &[(&(Revision, ObjectKey), &u64)],
        deadline: Tick,
    ) -> Result<Vec<HistoryRecord>, Failed> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let broken = |what: &str| Failed {
            error: cluster.fault(ErrorKind::Protocol, what),
            class: Class::Refused,
        };
        let refused = |error| Failed {
            error,
            class: Class::Refused,
        };
        let revision = cluster.revision_to_ask(Some(self.floor)).map_err(refused)?;
        let looks = wanted.iter().map(|((_, key), _)| RequestOp {
            request: Some(Request::RequestRange(RangeRequest {
                key: key.as_bytes().to_vec(),
                revision,
                ..RangeRequest::default()
            })),
        });
        let request = TxnRequest {
            success: looks.collect(),
            ..TxnRequest::default()
        };
        let call = Call {
            what: "reading history",
            deadline,
            repeat: Repeat::Freely,
        };
        let answer = cluster
            .call(call, |line| {
                let request = line.request(request.clone());
                async move { Ok(line.kv().txn(request).await?.into_inner()) }
            })
            .await?;
        if answer.responses.len() != wanted.len() {
            return Err(broken("another number of answers than of questions"));
        }
        let mut records = Vec::with_capacity(wanted.len());
        for (((revision, key), sub), op) in wanted.iter().zip(answer.responses) {
            let Some(Response::ResponseRange(mut range)) = op.response else {
                return Err(broken("another answer than was asked for"));
            };
            let Some(kv) = range.kvs.pop() else {
                return Err(broken("an object is gone from the past"));
            };
            if kv.key != key.as_bytes()
                || cluster.revision(kv.mod_revision).map_err(refused)? != *revision
            {
                return Err(broken("an object changed in the past"));
            }
            let position = HistoryPosition::new(*revision, **sub);
            records.push(HistoryRecord::new(position, key.clone(), Some(kv.value)));
        }
        Ok(records)
    }
}

fn cost(key: &ObjectKey) -> usize {
    key.as_bytes().len().saturating_add(ENTRY)
}
