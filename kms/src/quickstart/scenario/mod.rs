//! The steps, one after the other.

mod place;
mod through;

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_cluster::embedded::EmbeddedStore;
use kms_core::local::LocalProvider;
use kms_core::object::{ObjectKey, ObjectStore, Scan, ScanOptions, Swap};
use kms_core::{CallOptions, Clock, KeyId, OsRandom, SecretBytes, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration, Transformer};
use kms_plugin::server::Plugin;
use kms_plugin::socket::{ListenOptions, Listener, SocketAddress};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::place::Place;
use super::report::{Progress, rate, seconds};
use super::tally::Tally;
use super::{QuickstartOptions, recorded, secret};
use crate::Failure;
use crate::figures::thousands;
use crate::provider::{LocalUri, open_endpoint};

const KMS_NAME: &str = "quickstart";
const PREFIX: &[u8] = b"/registry/secrets/";
/// The first Secret in the order of keys.
const FIRST_KEY: &str = "/registry/secrets/team-0/db-000000";
/// How often the plugin looks for a new key here; 30 s would try a watcher's patience.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait for the plugin to notice a rotation before calling it a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the whole scenario and tells about it.
///
/// # Errors
///
/// A [`Failure`] if a step cannot be done, or if anything that is read back differs from what was
/// written.
pub async fn run<W: Write + Send>(
    options: QuickstartOptions,
    progress: &mut Progress<W>,
) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
    let start = clock.now();
    let place = Place::prepare(options.dir)?;
    let mut scene = Scene::set_up(&place, clock, progress).await?;
    let mut outcome = scene.play(options.secrets, progress).await;
    if outcome.is_ok() && place.stays() {
        outcome = scene.leave_a_value(&place).await;
    }
    scene.stop().await?;
    outcome?;
    let total = scene.clock.now().since(start);
    finish(&place, total, progress).map_err(output)
}

/// Everything that runs.
struct Scene {
    clock: Arc<dyn Clock>,
    keyring: Arc<LocalProvider>,
    socket: PathBuf,
    /// Where the rotation is kept.
    state: PathBuf,
    transformer: Transformer,
    store: Arc<EmbeddedStore>,
    /// What each Secret must read as.
    written: BTreeMap<ObjectKey, Vec<u8>>,
    stop: Option<oneshot::Sender<()>>,
    plugin: JoinHandle<Result<(), kms_core::Error>>,
}

impl Scene {
    async fn set_up<W: Write + Send>(
        place: &Place,
        clock: Arc<dyn Clock>,
        progress: &mut Progress<W>,
    ) -> Result<Self, Failure> {
        progress
            .step("A keyring, and a KMS v2 plugin that serves it")
            .map_err(output)?;
        let uri = LocalUri::new(place.path().join("keyring.json"));
        // The operator's hand on the keyring; the plugin opens it for itself, as `kms serve` does.
        let keyring = uri.create(Arc::clone(&clock))?;
        let served = Arc::new(uri.open(Arc::clone(&clock))?);
        progress
            .line(format_args!("keyring {}", uri.path().display()))
            .map_err(output)?;

        let socket = place.path().join("kms.sock");
        let address = SocketAddress::from_path(&socket)?;
        let listener = Listener::bind(&address, &ListenOptions::default()).await?;
        let plugin = Plugin::builder(served)
            .clock(Arc::clone(&clock))
            .poll_interval(POLL)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let plugin =
            tokio::spawn(
                async move { plugin.serve(listener, async { drop(stopped.await) }).await },
            );
        progress
            .line(format_args!("plugin  unix://{}", socket.display()))
            .map_err(output)?;

        let text = configuration(&socket);
        let file = place.path().join("encryption-config.yaml");
        std::fs::write(&file, &text)
            .map_err(|e| Failure::io(format!("writing {}", file.display()), e))?;
        progress
            .line(format_args!("config  {}", file.display()))
            .map_err(output)?;

        Ok(Self {
            transformer: api_server(&socket, &clock)?,
            clock,
            keyring: Arc::new(keyring),
            state: place.path().join("rotation.json"),
            socket,
            store: Arc::new(EmbeddedStore::new("quickstart").with_cluster_id("quickstart")),
            written: BTreeMap::new(),
            stop: Some(stop),
            plugin,
        })
    }

    async fn play<W: Write + Send>(
        &mut self,
        secrets: u32,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        self.enable(progress).await?;
        self.store_secrets(secrets, progress).await?;
        self.read_back(progress).await?;
        self.open_recorded(progress).await?;
        let old = self.rotate(progress).await?;
        let evidence = self.carry_through(&old, progress).await?;
        self.retire(&old, &evidence, progress).await?;
        self.see_that_all_opens(&old, progress).await?;
        self.show_keys(progress).await
    }

    /// What kube-apiserver does at its start: Status, and one Encrypt of a fresh seed.
    async fn enable<W: Write + Send>(&self, progress: &mut Progress<W>) -> Result<(), Failure> {
        progress
            .step("kube-apiserver's part: Status, and one Encrypt of a seed")
            .map_err(output)?;
        let start = self.clock.now();
        self.transformer.refresh().await?;
        let took = self.clock.now().since(start);
        progress
            .line(format_args!(
                "key id  {} ({} over the socket)",
                self.current_key_id()?,
                seconds(took.as_secs_f64())
            ))
            .map_err(output)
    }

    async fn store_secrets<W: Write + Send>(
        &mut self,
        secrets: u32,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        progress
            .step(&format!(
                "Store {} Secrets, each under a key of its own",
                thousands(u64::from(secrets))
            ))
            .map_err(output)?;
        let start = self.clock.now();
        for number in 0..secrets {
            let (key, object) = self.make_secret(number)?;
            let value = self.transformer.write(key.as_bytes(), &object).await?;
            let swap = Swap::Create { value };
            self.swap(&key, &swap).await?;
            self.written.insert(key, object);
        }
        let took = self.clock.now().since(start);
        progress
            .line(rate(u64::from(secrets), took))
            .map_err(output)
    }

    fn make_secret(&self, number: u32) -> Result<(ObjectKey, Vec<u8>), Failure> {
        let namespace = format!("team-{}", number % 7);
        let name = format!("db-{number:06}");
        let uid = format!("00000000-0000-4000-8000-{number:012x}");
        let password = SecretBytes::random(&OsRandom, 24)?;
        let key = ObjectKey::new(format!("/registry/secrets/{namespace}/{name}"))?;
        Ok((
            key,
            secret::stored_form(&namespace, &name, &uid, password.expose()),
        ))
    }

    async fn read_back<W: Write + Send>(&self, progress: &mut Progress<W>) -> Result<(), Failure> {
        progress
            .step("Read them all back and compare")
            .map_err(output)?;
        let start = self.clock.now();
        let stale = self.verify().await?;
        let took = self.clock.now().since(start);
        let count = self.count();
        progress
            .line(format_args!(
                "{}, all as written, {stale} stale",
                rate(count, took)
            ))
            .map_err(output)?;
        self.tally().await?.print(progress).map_err(output)
    }

    async fn open_recorded<W: Write + Send>(
        &self,
        progress: &mut Progress<W>,
    ) -> Result<(), Failure> {
        let (release, values) = recorded::reopen(&self.clock).await?;
        progress
            .step(&format!(
                "Open values that a real kube-apiserver {release} wrote"
            ))
            .map_err(output)?;
        for value in &values {
            let verdict = if value.same { "as written" } else { "DIFFERS" };
            let key_id = value.key_id.as_deref().unwrap_or("-");
            progress
                .line(format_args!(
                    "{:<10} {key_id:<6} {:<42} {:>5} bytes, {verdict}",
                    value.provider, value.etcd_key, value.len
                ))
                .map_err(output)?;
        }
        match values.iter().find(|value| !value.same) {
            None => Ok(()),
            Some(value) => Err(differs(&value.etcd_key)),
        }
    }

    /// Rotates the key as an operator would, and waits until the plugin says so. Returns the old
    /// key id.
    async fn rotate<W: Write + Send>(&self, progress: &mut Progress<W>) -> Result<KeyId, Failure> {
        progress
            .step("Rotate the key; nothing is restarted")
            .map_err(output)?;
        let old = self.current_key_id()?;
        self.keyring.rotate()?;
        let start = self.clock.now();
        while self.current_key_id()? == old {
            let now = self.clock.now();
            if now.since(start) > PATIENCE {
                return Err(Failure::new(
                    "deadline_exceeded",
                    "the plugin did not notice the new key",
                    "report this as a defect",
                ));
            }
            self.clock.sleep_until(now + POLL).await;
            self.transformer.refresh().await?;
        }
        let took = self.clock.now().since(start);
        progress
            .line(format_args!(
                "key id  {} (seen after {})",
                self.current_key_id()?,
                seconds(took.as_secs_f64())
            ))
            .map_err(output)?;
        let stale = self.verify().await?;
        progress
            .line(format_args!(
                "every Secret still opens; {} are stale:",
                thousands(stale)
            ))
            .map_err(output)?;
        self.tally().await?.print(progress).map_err(output)?;
        Ok(old)
    }

    /// Puts one stored value beside the keyring, to try `inspect` and `decrypt` on.
    async fn leave_a_value(&self, place: &Place) -> Result<(), Failure> {
        let Some(page) = self.scan().next_page().await? else {
            return Ok(());
        };
        let Some(object) = page.objects.first() else {
            return Ok(());
        };
        let file = place.path().join("value.bin");
        std::fs::write(&file, &object.value)
            .map_err(|e| Failure::io(format!("writing {}", file.display()), e))
    }

    /// Reads every Secret, compares it with what was written, and counts the stale ones.
    async fn verify(&self) -> Result<u64, Failure> {
        let (mut seen, mut stale) = (0_u64, 0_u64);
        let mut scan = self.scan();
        while let Some(page) = scan.next_page().await? {
            for object in page.objects {
                let opened = self
                    .transformer
                    .read(object.key.as_bytes(), &object.value)
                    .await?;
                if self.written.get(&object.key).map(Vec::as_slice) != Some(opened.plaintext()) {
                    return Err(differs(&object.key));
                }
                seen = seen.saturating_add(1);
                stale = stale.saturating_add(u64::from(opened.is_stale()));
            }
        }
        if seen == self.count() {
            Ok(stale)
        } else {
            Err(differs(&"the number of Secrets"))
        }
    }

    async fn tally(&self) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut scan = self.scan();
        while let Some(page) = scan.next_page().await? {
            page.objects
                .iter()
                .for_each(|object| tally.count(&object.value));
        }
        Ok(tally)
    }

    fn scan(&self) -> Scan<'_> {
        Scan::new(&*self.store, ScanOptions::default().with_prefix(PREFIX))
    }

    async fn swap(&self, key: &ObjectKey, swap: &Swap) -> Result<(), Failure> {
        let outcome = self
            .store
            .compare_and_swap(key, swap, &CallOptions::default())
            .await?;
        match outcome.swapped() {
            Some(_) => Ok(()),
            // Nobody else writes here.
            None => Err(differs(key)),
        }
    }

    fn count(&self) -> u64 {
        u64::try_from(self.written.len()).unwrap_or(u64::MAX)
    }

    fn current_key_id(&self) -> Result<KeyId, Failure> {
        match self.transformer.kms_write_state(KMS_NAME) {
            Some(state) => Ok(state.key_id),
            None => Err(Failure::new(
                "not_ready",
                "the plugin gave no key",
                "report this",
            )),
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        // The receiver is gone only if the plugin has already stopped, which `join` then tells.
        let _ = self.stop.take().map(|stop| stop.send(()));
        match (&mut self.plugin).await {
            Ok(outcome) => Ok(outcome?),
            Err(join) => Err(
                Failure::new("internal", "the plugin's task died", "report this").with_source(join),
            ),
        }
    }
}

/// What opens and writes values as an API server with this plugin does.
fn api_server(socket: &Path, clock: &Arc<dyn Clock>) -> Result<Transformer, Failure> {
    let config = EncryptionConfiguration::parse(&configuration(socket))?;
    let providers = config.providers_for("", "secrets");
    let mut builder = Transformer::builder(
        providers.iter().copied(),
        Arc::clone(clock),
        Arc::new(OsRandom),
    );
    for provider in &providers {
        if let ProviderConfiguration::Kms(kms) = provider {
            builder = builder.kms(&kms.name, open_endpoint(kms, Arc::clone(clock))?);
        }
    }
    Ok(builder.build()?)
}

fn configuration(socket: &Path) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - secrets
    providers:
      - kms:
          apiVersion: v2
          name: {KMS_NAME}
          endpoint: \"unix://{}\"
      - identity: {{}}
",
        socket.display()
    )
}

fn finish<W: Write + Send>(
    place: &Place,
    total: Duration,
    progress: &mut Progress<W>,
) -> std::io::Result<()> {
    progress.step(&format!(
        "Done in {}. What to try next",
        seconds(total.as_secs_f64())
    ))?;
    if place.stays() {
        let dir = place.path().display();
        progress.line(format_args!(
            "kms key list --provider local:{dir}/keyring.json"
        ))?;
        progress.line(format_args!(
            "kms rotation status --state file:{dir}/rotation.json --provider local:{dir}/keyring.json"
        ))?;
        progress.line(format_args!("kms inspect {dir}/value.bin"))?;
        progress.line(format_args!(
            "kms decrypt --encryption-config {dir}/encryption-config.yaml --kek {KMS_NAME}=local:{dir}/keyring.json \\"
        ))?;
        progress.line(format_args!(
            "    --etcd-key {FIRST_KEY} --value-file {dir}/value.bin"
        ))?;
        return progress.line(format_args!(
            "kms serve --provider local:{dir}/keyring.json --listen unix:{dir}/kms.sock"
        ));
    }
    progress.line(
        "kms quickstart --dir DIR    keep the keyring, the configuration and a stored value",
    )?;
    progress
        .line("kms inspect FILE            what a stored value is encrypted with; needs no key")?;
    progress.line("kms decrypt --help          open a stored value without an API server")?;
    progress.line("kms serve --help            serve a key to a real kube-apiserver")?;
    progress.line("kms rotation watch --help   carry a rotation through, unattended")
}

fn differs(what: &dyn core::fmt::Display) -> Failure {
    Failure::new(
        "internal",
        format!("{what} is not what was written"),
        "report this as a defect",
    )
}

fn output(error: std::io::Error) -> Failure {
    Failure::io("writing the output", error)
}
