//! A migration on a live etcd against bare reads and transactions by the same generated client.
//!
//! Both go through the same number of objects of the same size, with as many transactions in flight:
//! the candidate opens, judges, seals, opens again and swaps; the baseline swaps what it has read.
//! Both read all pages once more at the end, as the migration does to verify.
//!
//! Needs `etcd` in `PATH`, or `KMS_ETCD`; without it, says so and measures nothing, but in CI that
//! is a failure.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kms_benches::{machine, smoke};
use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::{Clock, OsRandom, TokioClock};
use kms_envelope::kubernetes::{EncryptionConfiguration, Transformer};
use kms_envelope::reencrypt::{
    ConfiguredReencryptors, Migration, MigrationEnd, MigrationOptions, MigrationScope,
    ReencryptorOptions,
};
use kms_testkit::StaticProvider;
use proto::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::kv_client::KvClient;
use proto::request_op::Request;
use proto::{Compare, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// The client that the store uses, as it was generated.
#[expect(dead_code, unused_imports, reason = "the store needs more of it")]
#[path = "../../kms-cluster/src/etcd/proto.rs"]
mod proto;

const PAGE: u32 = 500;
const IN_FLIGHT: usize = 32;
const CONTENT: usize = 600;
const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: one, endpoint: "unix:///one"}
      - kms: {apiVersion: v2, name: two, endpoint: "unix:///two"}
"#;

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let Some(server) = Server::start() else {
        assert!(std::env::var_os("CI").is_none(), "CI has no etcd");
        println!("etcd is not in PATH: nothing is measured.");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (objects, rounds) = if smoke() { (100, 1) } else { (5000, 11) };
    println!("Machine: {}.\n", machine());
    println!("| objects | value | migration | bare read and transaction | ratio |");
    println!("|---|---|---|---|---|");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let mut bench = Bench::new(&server, objects).await;
        for round in 0..rounds {
            // Who goes first changes.
            if round % 2 == 0 {
                ours.push(bench.migrate().await);
                bare.push(bench.rewrite().await);
            } else {
                bare.push(bench.rewrite().await);
                ours.push(bench.migrate().await);
            }
        }
    });
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare);
    let ratio = median(ratios.collect());
    println!(
        "| {objects} | {CONTENT} B | {:.1} ms | {:.1} ms | {ratio:.3} |",
        median(ours) * 1e3,
        median(bare) * 1e3,
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Bench {
    store: EtcdStore,
    client: KvClient<Channel>,
    clock: Arc<dyn Clock>,
    kms: [Arc<StaticProvider>; 2],
    objects: usize,
    /// Which KMS comes next.
    next: usize,
}

impl Bench {
    async fn new(server: &Server, objects: usize) -> Self {
        let client = connect(&server.url).await;
        let options = EtcdOptions::new([server.url.clone()]).expect("options");
        let bench = Self {
            store: EtcdStore::connect(options).await.expect("a store"),
            client,
            clock: Arc::new(TokioClock::new()),
            kms: [(); 2].map(|()| Arc::new(StaticProvider::generate().expect("a key"))),
            objects,
            next: 1,
        };
        bench.fill().await;
        bench
    }

    async fn fill(&self) {
        let configuration = EncryptionConfiguration::parse(CONFIGURATION).expect("valid");
        let first = &configuration.resources[0].providers[..1];
        let writer = Transformer::builder(first, Arc::clone(&self.clock), Arc::new(OsRandom))
            .kms("one", self.kms[0].clone())
            .build()
            .expect("a transformer");
        writer.refresh().await.expect("a seed");
        let plaintext = [b"k8s\0".to_vec(), vec![0xa5; CONTENT]].concat();
        for number in 0..self.objects {
            let key = format!("/registry/secrets/ns-{}/{number:06}", number % 20).into_bytes();
            let value = writer.write(&key, &plaintext).await.expect("a value");
            let put = PutRequest {
                key,
                value,
                ..PutRequest::default()
            };
            let request = TxnRequest {
                success: vec![op(Request::RequestPut(put))],
                ..TxnRequest::default()
            };
            self.client.clone().txn(request).await.expect("an object");
        }
    }

    /// Everything to the other KMS, in seconds.
    async fn migrate(&mut self) -> f64 {
        let configuration = EncryptionConfiguration::parse(CONFIGURATION).expect("valid");
        let name = ["one", "two"][self.next];
        let scope = MigrationScope::configured("/registry", &configuration).expect("known");
        let made = ReencryptorOptions::new(Arc::clone(&self.clock), Arc::new(OsRandom))
            .with_target(format!("kms:{name}").parse().expect("a target"))
            .with_kms("one", self.kms[0].clone())
            .with_kms("two", self.kms[1].clone());
        let reencryptors =
            ConfiguredReencryptors::new(&configuration, &scope, &made).expect("re-encryptors");
        let options = MigrationOptions::new(scope)
            .with_concurrency(IN_FLIGHT)
            .with_page_limit(PAGE);
        let began = self.clock.now();
        let report = Migration::new(&self.store, &reencryptors, &*self.clock, &options)
            .run(std::future::pending(), |_| {})
            .await
            .expect("a migration");
        let took = self.clock.now().since(began).as_secs_f64();
        assert!(matches!(report.end, MigrationEnd::Complete), "{report:?}");
        assert_eq!(report.counts.rewritten, self.objects as u64);
        self.next = 1 - self.next;
        took
    }

    /// The same traffic without cryptography, in seconds.
    async fn rewrite(&self) -> f64 {
        let began = self.clock.now();
        let (mut key, mut revision, mut done) = (b"/registry/secrets/".to_vec(), 0, 0);
        while let Some(page) = self.page(&mut key, &mut revision).await {
            done += page.len();
            stream::iter(page)
                .for_each_concurrent(IN_FLIGHT, |object| self.swap(object))
                .await;
        }
        assert_eq!(done, self.objects);
        let (mut key, mut revision, mut seen) = (b"/registry/secrets/".to_vec(), 0, 0);
        while let Some(page) = self.page(&mut key, &mut revision).await {
            seen += page.len();
        }
        assert_eq!(seen, self.objects);
        self.clock.now().since(began).as_secs_f64()
    }

    async fn page(&self, key: &mut Vec<u8>, revision: &mut i64) -> Option<Vec<KeyValue>> {
        if key.is_empty() {
            return None;
        }
        let request = RangeRequest {
            key: key.clone(),
            range_end: b"/registry/secrets0".to_vec(),
            limit: PAGE.into(),
            revision: *revision,
            keys_only: false,
        };
        let answer = self.client.clone().range(request).await;
        let answer = answer.expect("a page").into_inner();
        // All pages at the revision of the first.
        if *revision == 0 {
            *revision = answer.header.expect("a header").revision;
        }
        let last = answer.kvs.last().filter(|_| answer.more);
        *key = last.map_or_else(Vec::new, |last| [last.key.as_slice(), &[0]].concat());
        Some(answer.kvs)
    }

    async fn swap(&self, object: KeyValue) {
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: object.key.clone(),
            target_union: Some(TargetUnion::ModRevision(object.mod_revision)),
        };
        let put = PutRequest {
            key: object.key,
            value: object.value,
            lease: 0,
            ignore_lease: true,
        };
        let request = TxnRequest {
            compare: vec![compare],
            success: vec![op(Request::RequestPut(put))],
            failure: Vec::new(),
        };
        let answer = self.client.clone().txn(request).await.expect("an answer");
        assert!(answer.into_inner().succeeded);
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// The same settings of a connection as the store's.
async fn connect(url: &str) -> KvClient<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .expect("a URL")
        .tcp_nodelay(true)
        .initial_stream_window_size(2 * 1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    for _ in 0..240 {
        if let Ok(channel) = endpoint.connect().await {
            let mut client = KvClient::new(channel).max_decoding_message_size(32 << 20);
            let probe = RangeRequest {
                key: vec![0],
                ..RangeRequest::default()
            };
            if client.range(probe).await.is_ok() {
                return client;
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("etcd does not get ready");
}

struct Server {
    url: String,
    child: Child,
    _directory: TempDir,
}

impl Server {
    /// None if there is no etcd on this machine.
    fn start() -> Option<Self> {
        let program = std::env::var_os("KMS_ETCD").map_or_else(|| "etcd".into(), PathBuf::from);
        let directory = TempDir::new().expect("a directory");
        let [url, peer] = [(); 2].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            format!("http://{}", listener.local_addr().expect("an address"))
        });
        let child = Command::new(program)
            .args(["--name=bench", "--logger=zap", "--log-level=error"])
            .arg(format!("--data-dir={}", directory.path().display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=bench={peer}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self {
            url,
            child,
            _directory: directory,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
