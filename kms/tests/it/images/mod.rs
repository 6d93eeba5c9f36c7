//! `kms policy images lock` (R61).

#[path = "../../../../kms-policy/tests/it/images/made.rs"]
#[expect(dead_code, reason = "tests of kms-policy need more of it")]
mod made;
#[path = "../../../../kms-policy/tests/it/images/registry/server.rs"]
#[expect(dead_code, reason = "tests of kms-policy need more of it")]
mod server;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use kms_policy::image::ImageLock;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

use self::made::{Blobs, layers};
use self::server::{Answer, Content, Server};
use crate::command::{Ran, kms, kms_with_path};
use crate::replicas::server::authority;

const PAUSE: &str = "mcr.microsoft.com/oss/kubernetes/pause:3.6";
const WEB: &str = "registry.example/web:1";

/// A directory with a pod, and layouts with its images.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write_pod("pod.yaml", WEB);
        let mut blobs = Blobs::default();
        let web = blobs.add_image(&layers(), "amd64");
        blobs.write_layout(&desk.path("web"), &[(&web, WEB)]);
        let mut blobs = Blobs::default();
        let pause = blobs.add_image(&layers()[..1], "amd64");
        blobs.write_layout(&desk.path("pause"), &[(&pause, "whatever")]);
        desk
    }

    fn write_pod(&self, name: &str, image: &str) {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: web\n    image: {image}\n"
        );
        fs::write(self.path(name), pod).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lock(&self) -> ImageLock {
        ImageLock::read(&self.path("lock.json")).unwrap()
    }

    /// Runs a subcommand with arguments in which `@` is the directory.
    fn run(&self, arguments: &str) -> Ran {
        self.run_by(arguments, kms)
    }

    fn run_by(&self, arguments: &str, kms: impl Fn(&[&str]) -> Ran) -> Ran {
        let directory = self.0.path().to_str().unwrap();
        let arguments: Vec<String> = arguments
            .split(' ')
            .map(|argument| argument.replace('@', directory))
            .collect();
        let mut all = vec!["policy"];
        all.extend(arguments.iter().map(|argument| &**argument));
        kms(&all)
    }
}

const OFFLINE: &str = "images lock -y @/pod.yaml -o @/lock.json --offline";

fn both() -> String {
    format!("{OFFLINE} --oci-layout @/web --oci-layout @/pause={PAUSE}")
}

#[test]
fn a_policy_is_made_from_what_was_locked() {
    let desk = Desk::new();
    let ran = desk.run(&both());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains(&format!("new       {WEB} sha256:")), "{text}");
    // Both are tags, and what to pin them to is said.
    for image in [WEB, PAUSE] {
        assert!(
            ran.stderr.contains(&format!("{image}@sha256:")),
            "{}",
            ran.stderr
        );
    }
    let written = fs::read(desk.path("lock.json")).unwrap();
    let names: Vec<_> = desk
        .lock()
        .images()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(names, [PAUSE, WEB]);
    let data = desk.run("data -y @/pod.yaml --images @/lock.json");
    assert_eq!(data.code, Some(0), "{}", data.stderr);
    let data: Value = serde_json::from_slice(&data.stdout).unwrap();
    let storages = data["containers"][1]["storages"].as_array().unwrap();
    assert_eq!(storages.len(), 4, "three layers and the overlay");
    // The user is that of the image's own `passwd`.
    assert_eq!(
        data["containers"][1]["OCI"]["Process"]["Env"][0],
        "PATH=/bin"
    );
    let again = desk.run(&both());
    let text = String::from_utf8(again.stdout).unwrap();
    assert!(
        text.lines().all(|line| line.starts_with("unchanged ")),
        "{text}"
    );
    assert_eq!(fs::read(desk.path("lock.json")).unwrap(), written);
}

#[test]
fn what_could_be_locked_is_locked_and_the_rest_is_named() {
    let desk = Desk::new();
    let ran = desk.run(&format!("{OFFLINE} --oci-layout @/web --json"));
    assert_eq!(ran.code, Some(1));
    let outcome: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(outcome["images"][0]["image"], WEB);
    assert_eq!(outcome["images"][0]["state"], "new");
    assert!(
        outcome["images"][0]["pin"]
            .as_str()
            .unwrap()
            .starts_with("registry.example/web:1@")
    );
    assert_eq!(outcome["failed"][0]["image"], PAUSE);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert!(
        error["error"]["message"].as_str().unwrap().contains(PAUSE),
        "{error}"
    );
    assert_eq!(desk.lock().images().count(), 1);
}

#[test]
fn a_moved_tag_is_a_change() {
    let desk = Desk::new();
    assert_eq!(desk.run(&both()).code, Some(0));
    let mut blobs = Blobs::default();
    let moved = blobs.add_image(&layers()[1..], "amd64");
    blobs.write_layout(&desk.path("web"), &[(&moved, WEB)]);
    let ran = desk.run(&both());
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains(&format!("changed   {WEB} {moved}")), "{text}");
    assert_eq!(desk.lock().facts(WEB).unwrap().layers.len(), 2);
}

#[test]
fn runs_at_the_same_time_lose_nothing() {
    let desk = Desk::new();
    let images: Vec<String> = (0..6)
        .map(|number| format!("registry.example/web:v{number}"))
        .collect();
    std::thread::scope(|scope| {
        for (number, image) in images.iter().enumerate() {
            desk.write_pod(&format!("{number}.yaml"), image);
            let desk = &desk;
            scope.spawn(move || {
                let arguments = format!(
                    "images lock -y @/{number}.yaml -o @/lock.json --offline --oci-layout @/web={image} --oci-layout @/pause={PAUSE}"
                );
                let ran = desk.run(&arguments);
                assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            });
        }
    });
    for image in &images {
        assert!(desk.lock().facts(image).is_some(), "{image}");
    }
}

#[test]
fn a_damaged_lock_file_and_a_wrong_name_stop_before_anything_is_done() {
    let desk = Desk::new();
    let ran = desk.run(&format!(
        "{OFFLINE} --oci-layout @/web=registry.example/wbe:1"
    ));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    fs::write(desk.path("lock.json"), "{").unwrap();
    let ran = desk.run(&both());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("lock.json"), "{}", ran.stderr);
    assert_eq!(fs::read(desk.path("lock.json")).unwrap(), b"{");
}

#[test]
fn an_unchanged_image_of_a_registry_is_not_fetched_again() {
    let desk = Desk::new();
    let mut blobs = Blobs::default();
    let web = blobs.add_image(&layers(), "amd64");
    let content = Content::new("web", blobs, &[("1", &web)]);
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    let name = content.name(&server, "1").to_string();
    desk.write_pod("pod.yaml", &name);
    let blobs_fetched = || {
        let requests = server.requests();
        requests
            .iter()
            .filter(|it| it.path.contains("/blobs/"))
            .count()
    };
    let lock = format!(
        "images lock -y @/pod.yaml -o @/lock.json --oci-layout @/pause={PAUSE} --insecure-registry {} --docker-config @/config.json",
        server.place
    );
    fs::write(desk.path("config.json"), "{}").unwrap();
    for (more, fetched) in [("", 4), ("", 4), (" --refetch", 8)] {
        let ran = desk.run(&format!("{lock}{more}"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(blobs_fetched(), fetched, "{more}");
    }
    let digest = desk.lock().facts(&name).unwrap().digest.clone();
    assert_eq!(digest.as_deref(), Some(web.as_str()));
    let ran = desk.run(&format!("{lock} --offline"));
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_layer_that_images_share_is_fetched_once() {
    let desk = Desk::new();
    let mut blobs = Blobs::default();
    let (web, other) = (
        blobs.add_image(&layers(), "amd64"),
        blobs.add_image(&layers()[..2], "amd64"),
    );
    let content = Content::new("web", blobs, &[("1", &web), ("2", &other)]);
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    desk.write_pod("pod.yaml", &content.name(&server, "1").to_string());
    desk.write_pod("other.yaml", &content.name(&server, "2").to_string());
    fs::write(desk.path("config.json"), "{}").unwrap();
    let ran = desk.run(&format!(
        "images lock -y @/pod.yaml -y @/other.yaml -o @/lock.json --oci-layout @/pause={PAUSE} --insecure-registry {} --docker-config @/config.json",
        server.place
    ));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let requests = server.requests();
    let fetched = requests.iter().filter(|it| it.path.contains("/blobs/"));
    assert_eq!(fetched.count(), 5, "two configurations and three layers");
    let lock = desk.lock();
    let facts = |tag: &str| lock.facts(&content.name(&server, tag).to_string()).unwrap();
    assert_eq!(facts("1").layers[..2], facts("2").layers);
}

#[test]
fn a_registry_over_tls_is_trusted_by_its_authority_alone() {
    let desk = Desk::new();
    let mut blobs = Blobs::default();
    let web = blobs.add_image(&layers(), "amd64");
    let content = Content::new("web", blobs, &[("1", &web)]);
    let (answering, (identity, pem)) = (content.clone(), authority());
    let server = Server::start_over(
        move |stream| {
            let connection = ServerConnection::new(Arc::clone(&identity)).unwrap();
            StreamOwned::new(connection, stream)
        },
        move |request| answering.answer(request),
    );
    let name = content.name(&server, "1").to_string();
    desk.write_pod("pod.yaml", &name);
    fs::write(desk.path("config.json"), "{}").unwrap();
    fs::write(desk.path("ca.pem"), pem).unwrap();
    fs::write(desk.path("other.pem"), authority().1).unwrap();
    let lock = format!(
        "images lock -y @/pod.yaml -o @/lock.json --oci-layout @/pause={PAUSE} --docker-config @/config.json"
    );
    let ran = desk.run(&format!("{lock} --registry-ca @/other.pem"));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("invalid peer certificate"),
        "{}",
        ran.stderr
    );
    assert!(server.requests().is_empty());
    let ran = desk.run(&format!("{lock} --registry-ca @/ca.pem"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let digest = desk.lock().facts(&name).unwrap().digest.clone();
    assert_eq!(digest.as_deref(), Some(web.as_str()));
}

#[test]
fn the_platform_that_is_asked_for_is_locked() {
    let desk = Desk::new();
    let mut blobs = Blobs::default();
    let amd64 = blobs.add_image(&layers(), "amd64");
    let arm64 = blobs.add_image(&layers()[..1], "arm64");
    let index = blobs.add_index(&[(&amd64, "amd64"), (&arm64, "arm64")]);
    let content = Content::new("web", blobs.clone(), &[("1", &index)]);
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    blobs.write_layout(&desk.path("both"), &[(&index, WEB)]);
    desk.write_pod("registry.yaml", &content.name(&server, "1").to_string());
    fs::write(desk.path("config.json"), "{}").unwrap();
    let name = content.name(&server, "1").to_string();
    let insecure = format!("--insecure-registry {}", server.place);
    for (pod, image, source) in [
        ("pod.yaml", WEB, "--oci-layout @/both"),
        ("registry.yaml", &name, &insecure),
    ] {
        // The second and third find another platform's facts in the lock file.
        for (platform, digest) in [("amd64", &amd64), ("arm64", &arm64), ("amd64", &amd64)] {
            let ran = desk.run(&format!(
                "images lock -y @/{pod} -o @/lock.json --oci-layout @/pause={PAUSE} {source} --docker-config @/config.json --platform linux/{platform}"
            ));
            let lock = desk.lock();
            let facts = lock.facts(image).expect(&ran.stderr);
            assert_eq!(facts.digest.as_deref(), Some(digest.as_str()), "{pod}");
            let found = facts.platform.as_deref();
            assert_eq!(found, Some(&*format!("linux/{platform}")), "{pod}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_credential_helper_is_asked_and_never_through_a_shell() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    let mut blobs = Blobs::default();
    let web = blobs.add_image(&layers()[..1], "amd64");
    let content = Content::new("web", blobs, &[("1", &web)]);
    let answering = content.clone();
    let server = Server::start(move |request| {
        // "me:hunter2"
        if request.header("authorization") == Some("Basic bWU6aHVudGVyMg==") {
            return answering.answer(request);
        }
        Answer::new(401, "").with("WWW-Authenticate", "Basic realm=x")
    });
    desk.write_pod("pod.yaml", &content.name(&server, "1").to_string());
    let bin = desk.path("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-test");
    let lock = format!(
        "images lock -y @/pod.yaml -o @/lock.json --oci-layout @/pause={PAUSE} --insecure-registry {} --docker-config @/config.json",
        server.place
    );
    let run = |name: &str, script: &str| {
        fs::write(&helper, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(r#"{{"credHelpers":{{"{}":"{name}"}}}}"#, server.place);
        fs::write(desk.path("config.json"), config).unwrap();
        desk.run_by(&lock, |arguments| kms_with_path(arguments, &bin))
    };
    let says = |fields: &str| {
        format!(
            r#"test "$1" = get || exit 3; read -r server; test "$server" = {} || exit 4; echo '{{{fields}}}'"#,
            server.place
        )
    };
    let right = run(
        "test",
        &says(r#""ServerURL":"x","Username":"me","Secret":"hunter2""#),
    );
    assert_eq!(right.code, Some(0), "{}", right.stderr);
    let mark = desk.path("mark");
    let shell = format!("test; touch {}", mark.display());
    for (name, script, reason) in [
        ("test", says(r#""Username":"me","Secret":"hunter3""#), "401"),
        (
            "test",
            "echo credentials not found in native keychain; exit 1".to_owned(),
            "a name and a password",
        ),
        ("test", "echo hunter2; exit 1".to_owned(), "failed"),
        ("test", "echo hunter2".to_owned(), "as helpers do"),
        ("test", "head -c 300000 /dev/zero".to_owned(), "256 KiB"),
        ("absent", String::new(), "not in PATH"),
        (
            "../bin/docker-credential-test",
            String::new(),
            "a name that is none",
        ),
        (&*shell, String::new(), "a name that is none"),
    ] {
        let ran = run(name, &script);
        assert_eq!(ran.code, Some(1), "{name} {script}");
        assert!(
            ran.stderr.contains(reason),
            "{name} {script}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("hunter"), "{}", ran.stderr);
    }
    assert!(!mark.exists());
}
