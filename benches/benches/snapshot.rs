//! A snapshot of 1 GiB: its census beside reading the file, and opening every object beside the
//! cipher calls that it takes.
//!
//! The file is in the page cache. "Read" is the file read from begin to end in pieces of 1 MiB.
//! "Same calls" is HKDF, key set-up and AES-GCM over the same values, which lie in memory. Rounds
//! take turns; a ratio is a throughput: 1.00 is as fast, 0.50 half as fast.

use std::fs::File;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kms::cluster::{CensusRequest, ClusterSource, ObjectOpener, OpenerOptions, census};
use kms::provider::Environment;
use kms_benches::{machine, smoke};
use kms_cluster::snapshot::{Snapshot, SnapshotOptions};
use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{KeyId, KeyProvider as _, OsRandom, SecretBytes, TokioClock, WrappedKey};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer, inspect};
use kms_envelope::reencrypt::{Census, CensusOptions};
use kms_testkit::objects::DatabaseWriter;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};

const CONFIGURATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: bench, endpoint: \"unix:///nonexistent/kms.sock\"}
";

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let (bytes, rounds) = if smoke() { (8 << 20, 1) } else { (1 << 30, 5) };
    runtime.block_on(run(directory.path(), bytes, rounds));
}

async fn run(directory: &Path, bytes: u64, rounds: usize) {
    let keyring = directory.join("keyring.json");
    let clock = Arc::new(TokioClock::new());
    let provider = LocalProvider::create(&keyring, LocalOptions::new(clock.clone()));
    let provider = Arc::new(provider.expect("a keyring"));
    let path = directory.join("backup.db");
    let values = write(&path, bytes, provider.clone()).await;
    let objects = values.len() as f64;
    let file_bytes = std::fs::metadata(&path).expect("the file").len() as f64;
    println!(
        "{:.0} objects, {:.2} GiB.\n",
        objects,
        file_bytes / f64::from(1 << 30)
    );
    let bare = Bare::new(&provider, &values).await;
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        times[0].push(seconds(|| read(&path)));
        times[1].push(seconds(|| count(&path, false)));
        times[2].push(seconds(|| count(&path, true)));
        times[3].push(seconds(|| bare.open_all(&values)));
        let config = EncryptionConfiguration::parse(CONFIGURATION).expect("parses");
        let kek = format!("bench=local:{}", keyring.display());
        let keks = vec![kek.parse().expect("a provider")];
        let options = OpenerOptions::default();
        let mut environment = Environment::new(clock.clone());
        let opener = ObjectOpener::new(config, keks, options, &mut environment).expect("an opener");
        let start = Instant::now();
        let unchecked = SnapshotOptions::default().with_verify_digest(false);
        let snapshot = Snapshot::open_with(&path, &unchecked).expect("opens");
        let source = ClusterSource::Snapshot(snapshot);
        let request = CensusRequest::new(CensusOptions::default()).with_verify(opener);
        let found = census(&source, request, clock.clone(), |_| {})
            .await
            .expect("counts");
        times[4].push(start.elapsed().as_secs_f64());
        let verified = found.verify.expect("was asked for");
        assert_eq!((verified.opened as f64, verified.failed), (objects, 0));
    }
    let [read, counted, checked, opened, verified] = times.map(median);
    let rate = |seconds: f64| format!("{:.0}", objects / seconds / 1000.0);
    let band = |seconds: f64| format!("{:.2}", file_bytes / seconds / f64::from(1 << 30));
    println!("| | thousand objects/s | GiB/s | of reading | of the same calls |");
    println!("|---|---|---|---|---|");
    println!("| read | | {} | 1.00 | |", band(read));
    for (name, time) in [("census", counted), ("census with digest", checked)] {
        let ratio = read / time;
        println!(
            "| {name} | {} | {} | {ratio:.2} | |",
            rate(time),
            band(time)
        );
    }
    println!(
        "| same calls | {} | {} | | 1.00 |",
        rate(opened),
        band(opened)
    );
    let ratio = opened / verified;
    println!(
        "| census --verify | {} | {} | {:.2} | {ratio:.2} |",
        rate(verified),
        band(verified),
        read / verified
    );
}

/// Secrets of 0.3 to 3 KiB, as an API server would write them; key and value.
async fn write(path: &Path, bytes: u64, provider: Arc<LocalProvider>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let config = EncryptionConfiguration::parse(CONFIGURATION).expect("parses");
    let transformer = Transformer::builder(
        config.providers_for("", "secrets"),
        Arc::new(TokioClock::new()),
        Arc::new(OsRandom),
    )
    .kms("bench", provider)
    .build()
    .expect("a transformer");
    transformer.refresh().await.expect("a seed");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .expect("a file");
    let mut writer = DatabaseWriter::new(file).expect("writes");
    let (mut values, mut written) = (Vec::new(), 0);
    while written < bytes {
        let number = values.len();
        let key = format!(
            "/registry/secrets/namespace-{}/secret-{number}",
            number % 97
        );
        let plaintext = vec![0x5a; 300 + number.wrapping_mul(7919) % 2700];
        let value = transformer
            .write(key.as_bytes(), &plaintext)
            .await
            .expect("writes");
        writer.put(key.as_bytes(), &value, None).expect("writes");
        written += (key.len() + value.len() + 64) as u64;
        values.push((key.into_bytes(), value));
    }
    writer.finish_snapshot().expect("writes");
    values
}

fn read(path: &Path) {
    let mut file = File::open(path).expect("opens");
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece).expect("reads") > 0 {}
}

fn count(path: &Path, verify: bool) {
    let options = SnapshotOptions::default().with_verify_digest(verify);
    let snapshot = Snapshot::open_with(path, &options).expect("opens");
    let mut census = Census::new(CensusOptions::default());
    let swept = snapshot.sweep(None, |record| {
        if let (true, Some(value)) = (record.is_live, record.value) {
            census.live(record.key, value, false).expect("counts");
        }
        ControlFlow::Continue(())
    });
    swept.expect("sweeps");
}

/// The cipher calls alone, with the seed at hand.
struct Bare(SecretBytes);

impl Bare {
    async fn new(provider: &LocalProvider, values: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let info = inspect(&values[0].1).expect("parses");
        let key_id = KeyId::new(info.key_id.expect("KMS v2")).expect("a key id");
        let source = info.encrypted_dek_source.expect("KMS v2").to_vec();
        let wrapped = WrappedKey::new(key_id, source).expect("a wrapped key");
        let seed = provider.unwrap(&wrapped, &Default::default()).await;
        Self(seed.expect("unwraps"))
    }

    fn open_all(&self, values: &[(Vec<u8>, Vec<u8>)]) {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.0.expose());
        let mut buffer = Vec::new();
        for (key, value) in values {
            let data = encrypted_data(value);
            let (info, rest) = data.split_at(32);
            let (nonce, sealed) = rest.split_at(12);
            let okm = [info];
            let derived = prk.expand(&okm, &AES_256_GCM).expect("expands");
            let cipher = LessSafeKey::new(UnboundKey::from(derived));
            buffer.clear();
            buffer.extend_from_slice(sealed);
            let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
            cipher
                .open_in_place(nonce, Aad::from(key), &mut buffer)
                .expect("opens");
        }
    }
}

/// Field 1 of the message: two bytes of length at these sizes.
fn encrypted_data(value: &[u8]) -> &[u8] {
    let message = &value[b"k8s:enc:kms:v2:bench:".len()..];
    let length = usize::from(message[1] & 0x7f) | usize::from(message[2]) << 7;
    &message[3..3 + length]
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
