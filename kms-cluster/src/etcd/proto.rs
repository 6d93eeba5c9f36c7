//! The messages and clients of etcd's API, generated from `proto/*.proto` of this crate by
//! `codegen/`, and what is written by hand of them.

use core::fmt;

use zeroize::Zeroize as _;

#[expect(
    clippy::allow_attributes_without_reason,
    clippy::enum_variant_names,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
#[path = "generated/etcdserverpb.rs"]
pub(super) mod etcdserverpb;
#[expect(unnameable_types, unreachable_pub, reason = "generated")]
#[path = "generated/mvccpb.rs"]
pub(super) mod mvccpb;

pub(super) use etcdserverpb::*;
pub(super) use mvccpb::{Event, KeyValue, event::EventType};

/// What every answer begins with.
pub(super) trait Answer {
    fn header(&self) -> Option<&ResponseHeader>;

    /// Whether etcd leaves the header out. Who answers was asked before then.
    fn may_lack_header(&self) -> bool {
        false
    }
}

/// etcd fills in no header here.
impl Answer for DefragmentResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }

    fn may_lack_header(&self) -> bool {
        true
    }
}

macro_rules! answers {
    ($($message:ty),*) => {$(
        impl Answer for $message {
            fn header(&self) -> Option<&ResponseHeader> {
                self.header.as_ref()
            }
        }
    )*};
}

answers!(
    RangeResponse,
    TxnResponse,
    CompactionResponse,
    StatusResponse,
    WatchResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    LeaseKeepAliveResponse
);

/// Values may be in clear: the length alone.
impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &self.key.escape_ascii().to_string())
            .field("mod_revision", &self.mod_revision)
            .field("value_len", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// Values may be in clear: the length alone.
impl fmt::Debug for PutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRequest")
            .field("key", &self.key.escape_ascii().to_string())
            .field("value_len", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// The database, of which some may be in clear: the length alone.
impl fmt::Debug for SnapshotResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotResponse")
            .field("remaining_bytes", &self.remaining_bytes)
            .field("blob_len", &self.blob.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for AuthenticateRequest {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateResponse")
            .finish_non_exhaustive()
    }
}

impl Drop for AuthenticateResponse {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let secret = "hunter2".to_owned();
        let bytes = secret.clone().into_bytes();
        let put = PutRequest {
            value: bytes.clone(),
            ..PutRequest::default()
        };
        let stored = KeyValue {
            value: bytes,
            ..KeyValue::default()
        };
        let login = AuthenticateRequest {
            name: "root".to_owned(),
            password: secret.clone(),
        };
        let answer = AuthenticateResponse {
            header: None,
            token: secret.clone(),
        };
        let chunk = SnapshotResponse {
            blob: secret.clone().into_bytes(),
            ..SnapshotResponse::default()
        };
        let text = format!("{put:?} {stored:?} {login:?} {answer:?} {chunk:?}");
        assert!(text.contains("root"), "{text}");
        assert!(
            !text.contains(&secret) && !text.contains("104, 117"),
            "{text}"
        );
    }
}
