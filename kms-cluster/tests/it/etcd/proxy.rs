//! A way to etcd that can be broken: nothing passes, or only questions do, or connections end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Passes {
    Everything,
    Questions,
    Nothing,
}

pub(crate) struct Proxy {
    url: String,
    passes: Arc<AtomicU8>,
    cuts: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn start(target: &str) -> Self {
        let target = target.rsplit('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passes = Arc::new(AtomicU8::new(Passes::Everything as u8));
        let (cuts, cut) = watch::channel(0);
        let rule = Arc::clone(&passes);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else {
                    continue;
                };
                let (mut cut, rule) = (cut.clone(), Arc::clone(&rule));
                cut.mark_unchanged();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(from_client, to_server, &rule, Passes::Questions as u8) => {}
                        () = pass(from_server, to_client, &rule, Passes::Everything as u8) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { url, passes, cuts }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn let_pass(&self, passes: Passes) {
        self.passes.store(passes as u8, Ordering::SeqCst);
    }

    /// Ends all connections; new ones pass everything.
    pub(crate) fn cut(&self) {
        self.let_pass(Passes::Everything);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rule: &AtomicU8, most: u8) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if rule.load(Ordering::SeqCst) <= most && to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
