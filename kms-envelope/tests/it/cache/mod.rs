//! Behaviour of the DEK caches.

mod encrypt;
mod life;
mod model;
mod races;
mod stampede;
mod tenants;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Clock as _, Error, ErrorKind, KeyId, KeyInfo, KeyProvider,
    SecretBytes, Tick, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_envelope::cache::{Partition, UnwrapCache, UnwrapCacheOptions};
use kms_testkit::ManualClock;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn partition(number: usize) -> Partition {
    Partition::new(format!("tenant-{number}")).unwrap()
}

/// The DEK of a number under the KEK of another; it unwraps to its own ciphertext.
fn wrapped(kek: usize, dek: usize) -> WrappedKey {
    WrappedKey::new(kek_id(kek), format!("dek {dek}").into_bytes()).unwrap()
}

fn kek_id(kek: usize) -> KeyId {
    KeyId::new(format!("kek-{kek}")).unwrap()
}

/// A KMS that answers after a latency with what it is given, or fails for everyone.
struct Vault {
    clock: ManualClock,
    latency: Mutex<Duration>,
    fault: Mutex<Option<ErrorKind>>,
    hangs: Mutex<bool>,
    calls: AtomicU64,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vault")
    }
}

impl Vault {
    fn new(clock: &ManualClock) -> Arc<Self> {
        Arc::new(Self {
            clock: clock.clone(),
            latency: Mutex::default(),
            fault: Mutex::default(),
            hangs: Mutex::default(),
            calls: AtomicU64::new(0),
        })
    }

    fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// From now on, every call fails like this, or none.
    fn set_fault(&self, fault: Option<ErrorKind>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn set_hangs(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn answer(&self) -> Result<(), Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let latency = *self.latency.lock().unwrap();
        if !latency.is_zero() {
            self.clock.sleep_until(self.clock.now() + latency).await;
        }
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        match *self.fault.lock().unwrap() {
            Some(kind) => Err(Error::new(kind, "as the test wants")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl KeyProvider for Vault {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }

    async fn wrap(&self, dek: &SecretBytes, _: &WrapOptions) -> Result<WrappedKey, Error> {
        self.answer().await?;
        WrappedKey::new(kek_id(0), dek.expose().to_vec())
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &UnwrapOptions) -> Result<SecretBytes, Error> {
        self.answer().await?;
        Ok(SecretBytes::copy_from_slice(wrapped.ciphertext()))
    }
}

/// A cache before a vault, and a clock.
struct Bed {
    clock: ManualClock,
    vault: Arc<Vault>,
    cache: Arc<UnwrapCache>,
}

impl Bed {
    fn new(options: UnwrapCacheOptions) -> Self {
        Self::with(options, |cache| cache)
    }

    fn with(options: UnwrapCacheOptions, more: impl FnOnce(UnwrapCache) -> UnwrapCache) -> Self {
        let clock = ManualClock::new();
        let vault = Vault::new(&clock);
        let cache = UnwrapCache::new(vault.clone(), Arc::new(clock.clone()), options);
        Self {
            clock,
            vault,
            cache: Arc::new(more(cache)),
        }
    }

    /// Opens a DEK; time passes as far as the vault needs it.
    fn open_in(
        &self,
        partition: &Partition,
        wrapped: &WrappedKey,
    ) -> Result<Arc<SecretBytes>, ErrorKind> {
        let options = UnwrapOptions::default();
        let opening = self.cache.unwrap(partition, wrapped, &options);
        let opened = self.clock.run(opening).expect("it ends");
        if let Ok(dek) = &opened {
            assert_eq!(dek.expose(), wrapped.ciphertext(), "another's DEK");
        }
        opened.map_err(|error| error.kind())
    }

    fn open(&self, dek: usize) -> Result<Arc<SecretBytes>, ErrorKind> {
        self.open_in(&Partition::default(), &wrapped(0, dek))
    }

    fn now(&self) -> Tick {
        self.clock.now()
    }
}
