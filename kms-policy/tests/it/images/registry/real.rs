//! A registry that others wrote: Debian's package `docker-registry`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kms_policy::image::{CollectOptions, Digest, ImageReference, Registry, RegistryOptions};

use super::{from_layout, web};
use crate::images::made::{INDEX, MANIFEST};

struct Running {
    child: Child,
    place: String,
    _directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let root = directory.path().join("store");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {place}\n",
            root.display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is in PATH");
        let begun = Instant::now();
        while TcpStream::connect(&place).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            std::thread::yield_now();
        }
        Self {
            child,
            place,
            _directory: directory,
        }
    }

    /// Sends one request; the status and the place that it names.
    fn send(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.place).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.place,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let mut location = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("location") {
                location = value.trim().to_owned();
            }
        }
        drop(reader.read_to_end(&mut Vec::new()));
        (status, location)
    }

    fn push_blob(&self, repository: &str, digest: &Digest, bytes: &[u8]) {
        let octets = "application/octet-stream";
        let (status, location) = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            octets,
            b"",
        );
        assert_eq!(status, 202);
        let path = location.split_once(&self.place).unwrap().1;
        let path = format!("{path}&digest={digest}");
        let (status, _) = self.send("PUT", &path, octets, bytes);
        assert_eq!(status, 201, "{digest}");
    }

    fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (status, _) = self.send("PUT", &path, media_type, bytes);
        assert_eq!(status, 201, "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs docker-registry of the Debian package of that name"]
async fn what_was_pushed_to_a_registry_gives_the_facts_of_a_layout() {
    let (content, index, amd64) = web();
    let running = Running::start();
    let repository = &content.repository;
    for (digest, bytes) in &content.blobs.0 {
        running.push_blob(repository, digest, bytes);
    }
    // Manifests go where manifests are too: those of images, then the index of them.
    let manifests = content.blobs.0.iter();
    let manifests: Vec<_> = manifests
        .filter(|(digest, bytes)| {
            *digest != &index && bytes.starts_with(b"{\"config\":{\"digest\"")
        })
        .collect();
    assert_eq!(manifests.len(), 2);
    for (digest, bytes) in manifests {
        running.push_manifest(repository, digest.as_str(), MANIFEST, bytes);
    }
    running.push_manifest(repository, "1", INDEX, &content.blobs.0[&index]);
    running.push_manifest(repository, "2", MANIFEST, &content.blobs.0[&amd64]);

    let options = RegistryOptions::default()
        .with_insecure(&running.place)
        .unwrap();
    let registry = Registry::new(options).unwrap();
    let expected = from_layout(&content, &index, "linux/amd64");
    let collect = CollectOptions::default();
    let name = |tag: &str| {
        ImageReference::parse(&format!("{}/{repository}:{tag}", running.place)).unwrap()
    };
    assert_eq!(
        registry.image(&name("1"), &collect).await.unwrap(),
        expected
    );
    let single = registry.image(&name("2"), &collect).await.unwrap();
    assert_eq!(single.facts, expected.facts);
    let pinned = name("1").pinned_to(&index);
    assert_eq!(registry.image(&pinned, &collect).await.unwrap(), expected);
    let error = registry.image(&name("3"), &collect).await.unwrap_err();
    assert!(
        error.to_string().contains("404 MANIFEST_UNKNOWN"),
        "{error}"
    );
}
