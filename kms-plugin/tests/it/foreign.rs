//! Plugins that are not ours, and not all well-behaved.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_core::{CallOptions, ErrorKind, KeyProvider, WrapOptions};
use kms_plugin::client::{ClientOptions, V1Beta1Client, V2Client};
use kms_plugin::proto::{v1beta1, v2};
use kms_plugin::socket::SocketAddress;
use tempfile::TempDir;
use tonic::{Request, Response, Status};

use crate::support::{current, dek, ms};

/// A v2 plugin that answers what it is told to.
#[derive(Clone, Debug, Default)]
struct Foreign {
    status: v2::StatusResponse,
    encrypt: v2::EncryptResponse,
    decrypt: Vec<u8>,
    fails_with: Option<(tonic::Code, &'static str)>,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Foreign {
    fn good() -> Self {
        Self {
            status: v2::StatusResponse {
                version: "v2beta1".to_owned(),
                healthz: "ok".to_owned(),
                key_id: "theirs".to_owned(),
            },
            encrypt: v2::EncryptResponse {
                ciphertext: vec![1; 1024],
                key_id: "k".repeat(1024),
                annotations: BTreeMap::from([("version.vendor.io".to_owned(), vec![0; 32_751])]),
            },
            decrypt: vec![7; 32],
            ..Self::default()
        }
    }

    fn answer<T>(&self, answer: T) -> Result<Response<T>, Status> {
        match self.fails_with {
            Some((code, text)) => Err(Status::new(code, text)),
            None => Ok(Response::new(answer)),
        }
    }
}

#[async_trait::async_trait]
impl v2::key_management_service_server::KeyManagementService for Foreign {
    async fn status(
        &self,
        _: Request<v2::StatusRequest>,
    ) -> Result<Response<v2::StatusResponse>, Status> {
        self.answer(self.status.clone())
    }

    async fn encrypt(
        &self,
        request: Request<v2::EncryptRequest>,
    ) -> Result<Response<v2::EncryptResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout");
        assert!(timeout.is_some(), "the deadline is sent");
        self.seen
            .lock()
            .unwrap()
            .push(request.get_ref().uid.clone());
        self.answer(self.encrypt.clone())
    }

    async fn decrypt(
        &self,
        _: Request<v2::DecryptRequest>,
    ) -> Result<Response<v2::DecryptResponse>, Status> {
        self.answer(v2::DecryptResponse {
            plaintext: self.decrypt.clone(),
        })
    }
}

/// A v1 plugin that answers with this version, and counts how often it is asked for it.
#[derive(Clone, Debug)]
struct Old(&'static str, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl v1beta1::key_management_service_server::KeyManagementService for Old {
    async fn version(
        &self,
        _: Request<v1beta1::VersionRequest>,
    ) -> Result<Response<v1beta1::VersionResponse>, Status> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(v1beta1::VersionResponse {
            version: self.0.to_owned(),
            ..Default::default()
        }))
    }

    async fn encrypt(
        &self,
        _: Request<v1beta1::EncryptRequest>,
    ) -> Result<Response<v1beta1::EncryptResponse>, Status> {
        Ok(Response::new(v1beta1::EncryptResponse { cipher: vec![1] }))
    }

    async fn decrypt(
        &self,
        _: Request<v1beta1::DecryptRequest>,
    ) -> Result<Response<v1beta1::DecryptResponse>, Status> {
        Ok(Response::new(v1beta1::DecryptResponse { plain: vec![2] }))
    }
}

/// Serves a generated service, without any of the server under test.
fn serve<S>(service: S) -> (TempDir, SocketAddress)
where
    S: tower::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<tonic::body::Body>,
            Error = Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("their.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: http::Request<_>| {
                    // What kube-apiserver 1.32 and later sends.
                    assert_eq!(request.uri().authority().unwrap(), "localhost");
                    service.clone().call(request)
                });
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let address = SocketAddress::from_path(path).unwrap();
    (directory, address)
}

fn v2_client(plugin: Foreign) -> (TempDir, V2Client) {
    let server = v2::key_management_service_server::KeyManagementServiceServer::new(plugin);
    let (directory, address) = serve(server);
    let options = ClientOptions::default().with_timeout(ms(2000));
    (directory, V2Client::new(address, options))
}

#[tokio::test]
async fn a_good_one_is_used_up_to_its_limits() {
    let plugin = Foreign::good();
    let (_directory, client) = v2_client(plugin.clone());
    assert_eq!(current(&client).await.unwrap().as_str(), "theirs");
    let options =
        WrapOptions::default().with_call(CallOptions::default().with_request_id("call-1"));
    let wrapped = client.wrap(&dek(), &options).await.unwrap();
    assert_eq!(wrapped.ciphertext().len(), 1024);
    let opened = client.unwrap(&wrapped, &Default::default()).await.unwrap();
    assert_eq!(opened, dek());
    client.wrap(&dek(), &Default::default()).await.unwrap();
    let seen = plugin.seen.lock().unwrap().clone();
    assert_eq!(seen[0], "call-1");
    assert_eq!(seen[1].len(), 36, "{}", seen[1]);
}

#[tokio::test]
async fn a_bad_status_is_refused() {
    type Change = fn(&mut v2::StatusResponse);
    let changes: [(Change, ErrorKind); 6] = [
        (
            |status| status.version = "v3".to_owned(),
            ErrorKind::Protocol,
        ),
        (|status| status.version.clear(), ErrorKind::Protocol),
        (|status| status.key_id.clear(), ErrorKind::Protocol),
        (
            |status| status.key_id = "k".repeat(1025),
            ErrorKind::Protocol,
        ),
        (
            |status| status.healthz = "sick\r\n".to_owned(),
            ErrorKind::Unavailable,
        ),
        (
            |status| status.healthz = "x".repeat(100_000),
            ErrorKind::Unavailable,
        ),
    ];
    for (change, kind) in changes {
        let mut plugin = Foreign::good();
        change(&mut plugin.status);
        let (_directory, client) = v2_client(plugin);
        let error = current(&client).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().len() < 1200, "{error}");
        assert!(!error.to_string().contains('\r'));
    }
}

#[tokio::test]
async fn a_bad_encrypt_is_refused() {
    type Change = fn(&mut v2::EncryptResponse);
    let changes: [Change; 7] = [
        |answer| answer.ciphertext.clear(),
        |answer| answer.ciphertext.push(1),
        |answer| answer.key_id.clear(),
        |answer| answer.key_id.push('k'),
        |answer| {
            answer.annotations.insert("a.b".to_owned(), vec![]);
        },
        |answer| answer.annotations = BTreeMap::from([("Upper.case".to_owned(), vec![])]),
        |answer| answer.annotations = BTreeMap::from([("a/b.c".to_owned(), vec![])]),
    ];
    for change in changes {
        let mut plugin = Foreign::good();
        change(&mut plugin.encrypt);
        let (_directory, client) = v2_client(plugin);
        let error = client.wrap(&dek(), &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[tokio::test]
async fn a_bad_plaintext_is_refused() {
    let (_directory, client) = v2_client(Foreign::good());
    let wrapped = client.wrap(&dek(), &Default::default()).await.unwrap();
    for (length, kind) in [
        (0, ErrorKind::Protocol),
        (4097, ErrorKind::Protocol),
        // Over the limit of a message: not read at all.
        (200_000, ErrorKind::InvalidInput),
    ] {
        let mut plugin = Foreign::good();
        plugin.decrypt = vec![1; length];
        let (_directory, client) = v2_client(plugin);
        let error = client.unwrap(&wrapped, &Default::default()).await;
        assert_eq!(error.unwrap_err().kind(), kind, "{length}");
    }
}

#[tokio::test]
async fn what_it_says_in_an_error_is_passed_on() {
    let mut plugin = Foreign::good();
    plugin.fails_with = Some((tonic::Code::Unknown, "rpc error: vault is\nsealed"));
    let (_directory, client) = v2_client(plugin);
    let error = current(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("vault is sealed"), "{error}");
    assert!(
        error.remedy().contains("plugin's log"),
        "{}",
        error.remedy()
    );
}

#[tokio::test]
async fn an_old_one_is_greeted_once_and_must_answer_rightly() {
    for (version, good) in [("v1beta1", true), ("v2", false), ("", false)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let old = Old(version, asked.clone());
        let server = v1beta1::key_management_service_server::KeyManagementServiceServer::new(old);
        let (_directory, address) = serve(server);
        let id = "old".parse().unwrap();
        let client = V1Beta1Client::new(address, id, ClientOptions::default());
        for _ in 0..3 {
            let wrapped = client.wrap(&dek(), &Default::default()).await;
            assert_eq!(wrapped.is_ok(), good, "{version}");
            if let Err(error) = wrapped {
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        }
        assert_eq!(asked.load(Ordering::SeqCst), if good { 1 } else { 3 });
    }
}
