//! A real etcd of one member, in a directory of its own, on ports that were free.

use core::time::Duration;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kms_core::object::Revision;
use tempfile::TempDir;

pub(crate) struct Server {
    pub(crate) directory: TempDir,
    client_url: String,
    peer_url: String,
    /// For etcd itself.
    arguments: Vec<OsString>,
    /// For `etcdctl`, each time.
    pub(crate) control: Vec<OsString>,
    child: Option<Child>,
}

fn program(name: &str) -> PathBuf {
    match std::env::var_os("KMS_ETCD") {
        Some(etcd) => PathBuf::from(etcd).with_file_name(name),
        None => PathBuf::from(name),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("http", &[], &[])
    }

    /// Arguments for etcd, and for `etcdctl`.
    pub(crate) fn start_with(scheme: &str, arguments: &[&str], control: &[&str]) -> Self {
        let mut server = Self::prepare(scheme, arguments, control);
        server.run();
        server
    }

    /// An etcd that starts from this snapshot.
    pub(crate) fn restore(snapshot: &Path) -> Self {
        let mut server = Self::prepare("http", &[], &[]);
        let peer = format!("--initial-advertise-peer-urls={}", server.peer_url);
        let cluster = format!("--initial-cluster=test={}", server.peer_url);
        let data = format!("--data-dir={}", server.data().display());
        let output = Command::new(program("etcdctl"))
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "restore", "--name=test"])
            .args([peer, cluster, data])
            .arg(snapshot)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        server.run();
        server
    }

    fn prepare(scheme: &str, arguments: &[&str], control: &[&str]) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            client_url: format!("{scheme}://127.0.0.1:{}", free_port()),
            peer_url: format!("http://127.0.0.1:{}", free_port()),
            arguments: arguments.iter().map(OsString::from).collect(),
            control: control.iter().map(OsString::from).collect(),
            child: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("member/snap/db")
    }

    pub(crate) fn url(&self) -> &str {
        &self.client_url
    }

    pub(crate) fn run(&mut self) {
        let child = Command::new(program("etcd"))
            .args(["--name=test", "--logger=zap", "--log-level=error"])
            .arg(format!("--data-dir={}", self.data().display()))
            .arg(format!("--listen-client-urls={}", self.client_url))
            .arg(format!("--advertise-client-urls={}", self.client_url))
            .arg(format!("--listen-peer-urls={}", self.peer_url))
            .arg(format!("--initial-advertise-peer-urls={}", self.peer_url))
            .arg(format!("--initial-cluster=test={}", self.peer_url))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd (Debian: etcd-server), in PATH or as KMS_ETCD");
        self.child = Some(child);
        for _ in 0..240 {
            if self.try_control(&["endpoint", "health"]).is_ok() {
                return;
            }
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none(), "etcd ended");
            std::thread::sleep(Duration::from_millis(250));
        }
        panic!("etcd does not get ready");
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // As a crash would.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        self.try_control(arguments).unwrap()
    }

    fn try_control(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.client_url))
            .args(["--command-timeout=20s", "--dial-timeout=20s"])
            .args(&self.control)
            .args(arguments)
            .output()
            .expect("etcdctl (Debian: etcd-client), in PATH or beside KMS_ETCD");
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub(crate) fn compact(&self, revision: Revision) {
        let revision = revision.to_string();
        if let Err(error) = self.try_control(&["compaction", "--physical", &revision]) {
            assert!(error.contains("has been compacted"), "{error}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
