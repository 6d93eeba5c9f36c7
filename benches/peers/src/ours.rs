//! `Envelope`, as a program uses it.

use std::sync::Arc;
use std::time::Duration;

use kms_core::{EncryptionContext, TokioClock};
use kms_envelope::cache::{DekLimits, UnwrapCacheOptions};
use kms_envelope::crypto::{AwsLcBackend, CryptoBackend, RingBackend};
use kms_envelope::{Envelope, Purpose};

use crate::kek::StaticKek;
use crate::{AAD, Dek, Sealer, Side, now};

/// With its caches, as they are.
#[must_use]
pub fn cached() -> Side {
    Side::new("ours", Dek::Kept, || {
        let limits = DekLimits::default()
            .with_max_messages(u64::MAX)
            .with_max_bytes(u64::MAX)
            .with_max_age(Duration::MAX);
        Ours::new(Arc::new(RingBackend), limits, UnwrapCacheOptions::default())
    })
}

/// A DEK for each message and no cached answers, as peers without a cache do it.
#[must_use]
pub fn one_dek_a_message() -> Side {
    Side::new("ours", Dek::Each, || {
        let limits = DekLimits::default().with_max_messages(1);
        let unwraps = UnwrapCacheOptions::default().with_keep_for(Duration::ZERO);
        Ours::new(Arc::new(RingBackend), limits, unwraps)
    })
}

/// With the other backend.
pub(crate) fn on_aws_lc() -> Side {
    Side::new("ours, feature `aws-lc-rs`", Dek::Kept, || {
        let limits = DekLimits::default()
            .with_max_messages(u64::MAX)
            .with_max_bytes(u64::MAX)
            .with_max_age(Duration::MAX);
        Ours::new(
            Arc::new(AwsLcBackend),
            limits,
            UnwrapCacheOptions::default(),
        )
    })
}

struct Ours {
    envelope: Envelope,
    purpose: Purpose,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

impl Ours {
    fn new(
        backend: Arc<dyn CryptoBackend>,
        limits: DekLimits,
        unwraps: UnwrapCacheOptions,
    ) -> Self {
        let context = EncryptionContext::new()
            .with("table", "users")
            .expect("valid");
        Self {
            envelope: Envelope::builder(Arc::new(TokioClock::new()))
                .recipient("static", Arc::new(StaticKek::new()))
                .backend(backend)
                .dek_limits(limits)
                .unwrap_cache(unwraps)
                .build()
                .expect("valid"),
            purpose: Purpose::new(context),
            plaintext: Vec::new(),
            message: Vec::new(),
        }
    }
}

impl Sealer for Ours {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        now(self
            .envelope
            .seal(&self.purpose, AAD.as_bytes(), &self.plaintext))
        .expect("seals")
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        now(self
            .envelope
            .open(&self.purpose, AAD.as_bytes(), &self.message))
        .expect("opens")
        .len()
    }
}
