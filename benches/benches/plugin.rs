//! A round trip to the plugin over a Unix socket, beside a bare tonic server that echoes.
//!
//! Both are called by the same bare client, in the same process, taking turns. `Decrypt` is of one
//! wrapped key that the plugin has in its cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use kms_benches::{machine, percentile, smoke};
use kms_core::{KeyProvider as _, SecretBytes, WrapOptions};
use kms_plugin::proto::v2::key_management_service_client::KeyManagementServiceClient;
use kms_plugin::proto::v2::key_management_service_server::{
    KeyManagementService, KeyManagementServiceServer,
};
use kms_plugin::proto::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use kms_plugin::server::Plugin;
use kms_plugin::socket::{ListenOptions, Listener, SocketAddress};
use kms_testkit::StaticProvider;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

type Client = KeyManagementServiceClient<Channel>;

struct Echo;

#[tonic::async_trait]
impl KeyManagementService for Echo {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse::default()))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        // As many bytes as an answer has.
        let plaintext = request
            .get_ref()
            .ciphertext
            .iter()
            .copied()
            .take(32)
            .collect();
        Ok(Response::new(DecryptResponse { plaintext }))
    }

    async fn encrypt(
        &self,
        _: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        Ok(Response::new(EncryptResponse::default()))
    }
}

async fn connect(path: std::path::PathBuf) -> Client {
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .expect("connected");
    KeyManagementServiceClient::new(channel)
}

/// Latencies of `calls` calls spread over `callers` at once, appended to `into`.
async fn load(
    client: &Client,
    request: &DecryptRequest,
    callers: usize,
    calls: usize,
    into: &mut Vec<Duration>,
) {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (mut client, request) = (client.clone(), request.clone());
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(calls / callers);
                for _ in 0..calls / callers {
                    let start = Instant::now();
                    let answer = client.decrypt(request.clone()).await.expect("answered");
                    times.push(start.elapsed());
                    assert_eq!(answer.get_ref().plaintext.len(), 32);
                }
                times
            })
        })
        .collect();
    for task in tasks {
        into.extend(task.await.expect("a caller"));
    }
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let provider = Arc::new(StaticProvider::generate().expect("a key"));
    let dek = SecretBytes::from_vec(vec![7; 32]);
    let wrapped = provider
        .wrap(&dek, &WrapOptions::default())
        .await
        .expect("wrapped");
    let request = DecryptRequest {
        ciphertext: wrapped.ciphertext().to_vec(),
        uid: "00000000-0000-4000-8000-000000000000".to_owned(),
        key_id: wrapped.key_id().expect("a key id").to_string(),
        annotations: Default::default(),
    };

    let ours = directory.path().join("ours.sock");
    let address = SocketAddress::from_path(&ours).expect("an address");
    let listener = Listener::bind(&address, &ListenOptions::default())
        .await
        .expect("bound");
    let plugin = Plugin::builder(provider).build().expect("a plugin");
    tokio::spawn(async move { plugin.serve(listener, std::future::pending()).await });

    let bare = directory.path().join("bare.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&bare).expect("bound"));
    tokio::spawn(async move {
        Server::builder()
            .add_service(KeyManagementServiceServer::new(Echo))
            .serve_with_incoming(incoming)
            .await
    });

    let (ours, bare) = (connect(ours).await, connect(bare).await);
    println!("Machine: {}.\n", machine());
    println!("| callers | plugin p50 | p99 | bare tonic echo p50 | p99 | ratio p50 | ratio p99 |");
    println!("|---|---|---|---|---|---|---|");
    for callers in [1, 64] {
        let (rounds, calls) = if smoke() { (1, callers) } else { (30, 1920) };
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            load(&ours, &request, callers, calls, &mut a).await;
            load(&bare, &request, callers, calls, &mut b).await;
        }
        a.sort_unstable();
        b.sort_unstable();
        let at = |times: &[Duration], p| percentile(times, p).as_secs_f64() * 1e6;
        println!(
            "| {callers} | {:.0} us | {:.0} us | {:.0} us | {:.0} us | {:.2} | {:.2} |",
            at(&a, 0.5),
            at(&a, 0.99),
            at(&b, 0.5),
            at(&b, 0.99),
            at(&a, 0.5) / at(&b, 0.5),
            at(&a, 0.99) / at(&b, 0.99)
        );
    }
}
