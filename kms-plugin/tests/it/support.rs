//! A served plugin, and the small things that every test needs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kms_core::{
    CallOptions, Capabilities, Clock, Error, ErrorKind, KeyId, KeyInfo, KeyProvider, SecretBytes,
    TokioClock, UnwrapOptions, WrapOptions, WrappedKey,
};
use kms_plugin::client::{ClientOptions, V2Client};
use kms_plugin::server::{Plugin, PluginBuilder};
use kms_plugin::socket::{ListenOptions, Listener, SocketAddress};
use kms_testkit::{FaultProvider, StaticProvider};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub type Provider = FaultProvider<StaticProvider>;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn provider() -> Arc<Provider> {
    provider_on(Arc::new(TokioClock::new()))
}

/// A provider whose delays pass on this clock.
pub fn provider_on(clock: Arc<dyn Clock>) -> Arc<Provider> {
    Arc::new(FaultProvider::new(
        StaticProvider::generate().unwrap(),
        clock,
    ))
}

pub fn dek() -> SecretBytes {
    SecretBytes::from_vec(vec![7; 32])
}

/// A plugin with short intervals.
pub fn quick(provider: Arc<dyn KeyProvider>) -> PluginBuilder {
    Plugin::builder(provider)
        .poll_interval(ms(20))
        .retry_interval(ms(20))
        .degraded_after(Duration::from_secs(30))
        .failing_after(Duration::from_secs(60))
}

/// A plugin that looks at its provider once, and then not again while a test runs.
pub fn still(provider: Arc<dyn KeyProvider>) -> PluginBuilder {
    Plugin::builder(provider)
        .poll_interval(Duration::from_secs(900))
        .retry_interval(Duration::from_secs(900))
        .degraded_after(Duration::from_secs(1800))
        .failing_after(Duration::from_secs(3600))
}

pub struct Served {
    pub plugin: Plugin,
    pub address: SocketAddress,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), Error>>,
    _directory: Option<TempDir>,
}

impl Served {
    /// Serves in a directory of its own.
    pub async fn new(builder: PluginBuilder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddress::from_path(directory.path().join("kms.sock")).unwrap();
        let mut served = Self::at(&address, builder).await;
        served._directory = Some(directory);
        served
    }

    pub async fn at(address: &SocketAddress, builder: PluginBuilder) -> Self {
        let listener = Listener::bind(address, &ListenOptions::default())
            .await
            .unwrap();
        let plugin = builder.build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn({
            let plugin = plugin.clone();
            async move {
                plugin
                    .serve(listener, async {
                        let _ = stopped.await;
                    })
                    .await
            }
        });
        Self {
            plugin,
            address: address.clone(),
            stop: Some(stop),
            task,
            _directory: None,
        }
    }

    pub fn client(&self) -> V2Client {
        V2Client::new(self.address.clone(), ClientOptions::default())
    }

    /// Tells it to stop.
    pub fn begin_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub async fn stopped(self) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the plugin stops")
            .unwrap()
    }

    pub async fn stop(mut self) -> Result<(), Error> {
        self.begin_stop();
        self.stopped().await
    }
}

/// Asks again and again until the answer is there.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(ms(5)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("it never happened: {what}"))
}

/// What Status names once it is well.
pub async fn well(client: &V2Client) -> KeyId {
    eventually("Status is ok", || async {
        let info = client.current_key(&CallOptions::default()).await;
        info.ok().map(|info| info.id)
    })
    .await
}

pub async fn current(client: &V2Client) -> Result<KeyId, Error> {
    let info = client.current_key(&CallOptions::default()).await?;
    Ok(info.id)
}

/// What Status fails with, once it does with this kind.
pub async fn unwell(client: &V2Client, kind: ErrorKind) -> Error {
    eventually("Status fails", || async {
        let info = client.current_key(&CallOptions::default()).await;
        info.err().filter(|error| error.kind() == kind)
    })
    .await
}

/// A provider whose wrapped keys are just as long as a test says; it has one key, and unwraps
/// nothing but what it has wrapped.
#[derive(Debug)]
pub struct Sized {
    pub key_id: KeyId,
    pub ciphertext_len: AtomicUsize,
    pub annotations: Vec<(String, usize)>,
    pub clock: TokioClock,
}

impl Sized {
    pub fn new(key_id_len: usize, ciphertext_len: usize) -> Self {
        Self {
            key_id: KeyId::new("k".repeat(key_id_len)).unwrap(),
            ciphertext_len: AtomicUsize::new(ciphertext_len),
            annotations: Vec::new(),
            clock: TokioClock::new(),
        }
    }
}

impl fmt::Display for Sized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sized")
    }
}

#[async_trait]
impl KeyProvider for Sized {
    fn capabilities(&self) -> Capabilities {
        Capabilities::basic()
    }

    async fn current_key(&self, _: &CallOptions) -> Result<KeyInfo, Error> {
        Ok(KeyInfo::new(
            self.key_id.clone(),
            kms_core::KeyState::Enabled,
        ))
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        // The plugin passes its deadline on, as a tick of the clock that both have.
        assert!(options.call.deadline.is_some());
        let mut ciphertext = dek.expose().to_vec();
        ciphertext.resize(self.ciphertext_len.load(Ordering::SeqCst), 0);
        let wrapped = WrappedKey::new(self.key_id.clone(), ciphertext)?;
        self.annotations
            .iter()
            .try_fold(wrapped, |wrapped, (name, length)| {
                wrapped.with_annotation(name, vec![0; *length])
            })
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        assert!(options.call.deadline.unwrap() >= self.clock.now());
        Ok(SecretBytes::copy_from_slice(&wrapped.ciphertext()[..32]))
    }
}
