//! A census of a live etcd against a bare range scan by the same generated client.
//!
//! Needs `etcd` in `PATH`, or `KMS_ETCD`; without it, says so and measures nothing, but in CI that
//! is a failure.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kms_benches::{compare, machine, smoke};
use kms_cluster::etcd::{EtcdOptions, EtcdStore};
use kms_core::object::ScanOptions;
use kms_envelope::reencrypt::{CensusOptions, take_census};
use proto::kv_client::KvClient;
use proto::request_op::Request;
use proto::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// The client that the store uses, as it was generated.
#[expect(dead_code, unused_imports, reason = "the store needs more of it")]
#[path = "../../kms-cluster/src/etcd/proto.rs"]
mod proto;

const PAGE: u32 = 500;

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let Some(server) = Server::start() else {
        assert!(std::env::var_os("CI").is_none(), "CI has no etcd");
        println!("etcd is not in PATH: nothing is measured.");
        return;
    };
    println!("Machine: {}.\n", machine());
    println!("| objects | value | census | bare scan | ratio |");
    println!("|---|---|---|---|---|");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (objects, length) = if smoke() { (200, 600) } else { (20_000, 600) };
    let (store, bare) = runtime.block_on(async {
        let bare = connect(&server.url).await;
        fill(bare.clone(), objects, length).await;
        let options = EtcdOptions::new([server.url.clone()]).expect("options");
        (EtcdStore::connect(options).await.expect("a store"), bare)
    });
    let outcome = compare(
        || assert_eq!(runtime.block_on(census(&store)), objects as u64),
        || assert_eq!(runtime.block_on(bare_scan(bare.clone())), objects),
    );
    println!(
        "| {objects} | {length} B | {:.1} ms | {:.1} ms | {:.3} |",
        outcome.ours_ns / 1e6,
        outcome.bare_ns / 1e6,
        outcome.ratio
    );
}

async fn census(store: &EtcdStore) -> u64 {
    let (options, mut objects) = (CensusOptions::default(), 0);
    let scan = ScanOptions::default().with_page_limit(PAGE);
    let progress = |progress: kms_envelope::reencrypt::CensusProgress| objects = progress.objects;
    take_census(store, &scan, &options, false, progress)
        .await
        .expect("a census");
    objects
}

async fn bare_scan(mut client: KvClient<Channel>) -> usize {
    let (mut key, mut revision, mut objects) = (vec![0], 0, 0);
    loop {
        let request = RangeRequest {
            key,
            range_end: vec![0],
            limit: PAGE.into(),
            revision,
            keys_only: false,
        };
        let answer = client.range(request).await.expect("a page").into_inner();
        objects += answer.kvs.len();
        let last = answer.kvs.last().filter(|_| answer.more);
        let Some(last) = last else {
            return objects;
        };
        key = [last.key.as_slice(), &[0]].concat();
        if revision == 0 {
            revision = answer.header.expect("a header").revision;
        }
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

async fn fill(mut client: KvClient<Channel>, objects: usize, length: usize) {
    let mut value = b"k8s:enc:kms:v2:bench:".to_vec();
    let source = [7; 48];
    // `v2.EncryptedObject`: the ciphertext, the key id, the DEK source and its type.
    let rest = length - value.len() - 2 - 1 - 7 - 50 - 2;
    value.extend([0x0a, (rest % 128) as u8 | 0x80, (rest / 128) as u8]);
    value.extend(vec![0xa5; rest]);
    value.extend(b"\x12\x05key-1\x1a\x30");
    value.extend(source);
    value.extend([0x28, 1]);
    for numbers in (0..objects).collect::<Vec<_>>().chunks(100) {
        let puts = numbers.iter().map(|number| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: format!("/registry/secrets/ns-{}/{number:06}", number % 20).into_bytes(),
                value: value.clone(),
                ..PutRequest::default()
            })),
        });
        let request = TxnRequest {
            success: puts.collect(),
            ..TxnRequest::default()
        };
        client.txn(request).await.expect("objects");
    }
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
