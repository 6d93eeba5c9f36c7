//! Reading objects: by key, and in pages.

use core::sync::atomic::{AtomicUsize, Ordering};

use kms_core::object::{LeaseId, ObjectKey, Revision, ScanOptions, ScanPage, StoredObject};
use kms_core::{Error, ErrorKind, Tick};

use super::cluster::{Call, Cluster, Failed, Repeat};
use super::proto::{KeyValue, RangeRequest, RangeResponse, ResponseHeader};
use super::status::Class;

/// The most keys that one request asks for: what it can cost a server that holds large objects
/// is bounded by this alone, since etcd knows no limit in bytes.
const MAX_KEYS: usize = 2000;
/// How many keys the first request asks for, when nothing is known of their sizes.
const FIRST_KEYS: usize = 100;

/// How many keys to ask for, so that the answer has the size that is wanted.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What an object took on the last page, in bytes; zero if there was none yet.
    average: AtomicUsize,
}

impl Pace {
    /// Keys that should take this many bytes together.
    pub(super) fn keys(&self, bytes: usize) -> usize {
        match self.average.load(Ordering::Relaxed) {
            0 => FIRST_KEYS,
            average => bytes
                .checked_div(average)
                .unwrap_or_default()
                .saturating_add(1)
                .min(MAX_KEYS),
        }
    }

    pub(super) fn learn(&self, objects: usize, bytes: usize) {
        if let Some(average) = bytes.checked_div(objects) {
            self.average.store(average.max(1), Ordering::Relaxed);
        }
    }
}

/// A range as etcd takes it: one zero byte is its word for the first key, and for no end.
pub(super) fn key_range(start: Vec<u8>, end: Option<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let start = if start.is_empty() { vec![0] } else { start };
    (start, end.unwrap_or_else(|| vec![0]))
}

impl Cluster {
    /// One request for objects, as it is.
    pub(super) async fn range(
        &self,
        request: RangeRequest,
        deadline: Tick,
    ) -> Result<RangeResponse, Failed> {
        let call = Call {
            what: "a read",
            deadline,
            repeat: Repeat::Freely,
        };
        self.range_by(request, call).await
    }

    pub(super) async fn range_by(
        &self,
        request: RangeRequest,
        call: Call<'_>,
    ) -> Result<RangeResponse, Failed> {
        self.call(call, |line| {
            let request = line.request(request.clone());
            async move { Ok(line.kv().range(request).await?.into_inner()) }
        })
        .await
    }

    /// The object of this key, at this revision or now.
    pub(super) async fn get(
        &self,
        key: &ObjectKey,
        at: Option<Revision>,
        deadline: Tick,
    ) -> Result<Option<KeyValue>, Error> {
        let request = RangeRequest {
            key: key.as_bytes().to_vec(),
            revision: self.revision_to_ask(at)?,
            ..RangeRequest::default()
        };
        Ok(self.range(request, deadline).await?.kvs.pop())
    }

    /// One page of a scan.
    pub(super) async fn scan(&self, options: &ScanOptions, pace: &Pace) -> Result<ScanPage, Error> {
        let deadline = self.deadline(&options.call);
        let revision = self.revision_to_ask(options.at)?;
        let (start, end) = options.range();
        if end.as_ref() == Some(&start) {
            // etcd is not asked what is in an empty range, but whether the revision can be read.
            let request = RangeRequest {
                key: self.identity_key().as_bytes().to_vec(),
                revision,
                keys_only: true,
                ..RangeRequest::default()
            };
            let answer = self.range(request, deadline).await?;
            let at = options.at.map_or_else(|| self.newest(answer.header), Ok)?;
            return Ok(ScanPage::new(Vec::new(), None, at));
        }
        let (key, range_end) = key_range(start, end);
        let bytes = options.page_bytes.clamp(1, self.max_message_len());
        let most = usize::try_from(options.page_limit.max(1)).unwrap_or(usize::MAX);
        let mut limit = pace.keys(bytes).min(most);
        let answer = loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: i64::try_from(limit).unwrap_or(i64::MAX),
                revision,
                keys_only: false,
            };
            match self.range(request, deadline).await {
                Err(failed) if failed.class == Class::TooLong && limit > 1 => {
                    limit = limit.div_ceil(2);
                    // Others need not learn it the same way.
                    pace.learn(limit, bytes);
                }
                answer => break answer?,
            }
        };
        let at = options.at.map_or_else(|| self.newest(answer.header), Ok)?;
        if answer.kvs.len() > limit {
            return Err(self.fault(ErrorKind::Protocol, "more objects than were asked for"));
        }
        let found = answer.kvs.len();
        let mut objects = Vec::with_capacity(found);
        let (mut size, mut all) = (0_usize, 0_usize);
        for kv in answer.kvs {
            all = all
                .saturating_add(kv.key.len())
                .saturating_add(kv.value.len());
            if size < bytes {
                objects.push(self.object(kv)?);
                size = all;
            }
        }
        pace.learn(found, all);
        let more = answer.more || objects.len() < found;
        let next = objects.last().filter(|_| more);
        let next = next.map(|object| object.key.clone());
        let counted = u64::try_from(answer.count).unwrap_or_default();
        let remaining = counted.saturating_sub(objects.len() as u64);
        Ok(ScanPage::new(objects, next, at).with_remaining(Some(remaining)))
    }

    /// A revision as etcd takes it, where zero is the newest.
    pub(super) fn revision_to_ask(&self, at: Option<Revision>) -> Result<i64, Error> {
        match at {
            None => Ok(0),
            Some(at) if at == Revision::default() => Err(self.fault(
                ErrorKind::Compacted,
                "revision 0 comes before every change, and is not kept",
            )),
            Some(at) => i64::try_from(at.get()).map_err(|_| {
                let message = format!("revision {at} is not reached yet");
                self.fault(ErrorKind::InvalidInput, message)
            }),
        }
    }

    /// The revision at which a request was carried out.
    pub(super) fn newest(&self, header: Option<ResponseHeader>) -> Result<Revision, Error> {
        self.revision(header.unwrap_or_default().revision)
    }

    /// A revision that etcd gave. It counts from one.
    pub(super) fn revision(&self, number: i64) -> Result<Revision, Error> {
        match u64::try_from(number) {
            Ok(number) if number > 0 => Ok(Revision::new(number)),
            _ => Err(self.fault(
                ErrorKind::Protocol,
                format!("{number} where a revision should be"),
            )),
        }
    }

    /// A key that etcd gave.
    pub(super) fn key(&self, key: &[u8]) -> Result<ObjectKey, Error> {
        ObjectKey::new(key).map_err(|error| {
            let length = key.len();
            self.fault(
                ErrorKind::Corrupt,
                format!("a key of {length} bytes: {}", error.message()),
            )
        })
    }

    pub(super) fn object(&self, kv: KeyValue) -> Result<StoredObject, Error> {
        let revision = self.revision(kv.mod_revision)?;
        let key = self.key(&kv.key)?;
        Ok(StoredObject::new(key, kv.value, revision).with_lease(LeaseId::new(kv.lease)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_size_and_stays_bounded() {
        let pace = Pace::default();
        assert_eq!(pace.keys(8 << 20), FIRST_KEYS);
        pace.learn(0, 0);
        assert_eq!(pace.keys(8 << 20), FIRST_KEYS);
        pace.learn(100, 100);
        assert_eq!(pace.keys(8 << 20), MAX_KEYS);
        pace.learn(100, 100 << 20);
        assert_eq!(pace.keys(8 << 20), 9);
        pace.learn(1, 0);
        assert_eq!(pace.keys(0), 1);
    }

    #[test]
    fn an_open_range_is_written_as_etcd_writes_it() {
        assert_eq!(key_range(vec![], None), (vec![0], vec![0]));
        assert_eq!(
            key_range(b"a".to_vec(), Some(b"b".to_vec())),
            (b"a".to_vec(), b"b".to_vec())
        );
    }
}
