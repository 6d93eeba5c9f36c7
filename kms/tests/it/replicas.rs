//! `kms replicas`: whether all API servers write with a key, asked of plugins and by metrics (R24,
//! R28).

pub(crate) mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kms::cluster::replicas::{MetricsAccess, ReplicaReport, ReplicaSource, Replicas};
use kms_core::{Clock, KeyId, SecretBytes};
use kms_envelope::kubernetes::convergence::{Judgement, Role, Verdict, key_id_hash};
use kms_testkit::ManualClock;

use self::server::{MetricsServer, authority};
use crate::command::{Served, kms};

fn target() -> KeyId {
    KeyId::new("etcd/2").unwrap()
}

/// What an API server of this name tells that was told `key`, and wrote with it, just now.
pub(crate) fn metrics(server: &str, key: &str, now: SystemTime) -> String {
    let seconds = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let hash = key_id_hash(&KeyId::new(key).unwrap());
    let id = match server {
        "" => String::new(),
        server => format!("apiserver_id_hash=\"{server}\","),
    };
    let family = "apiserver_envelope_encryption_key_id_hash";
    format!(
        "# TYPE {family}_total counter\n\
         {family}_last_timestamp_seconds{{{id}key_id_hash=\"{hash}\",provider_name=\"vault\",transformation_type=\"to_storage\"}} {seconds}\n\
         {family}_status_last_timestamp_seconds{{{id}key_id_hash=\"{hash}\",provider_name=\"vault\"}} {seconds}\n\
         apiserver_encryption_config_controller_last_config_info{{{id}hash=\"sha256:{}\"}} 1\n",
        if key == "etcd/other-config" { "b" } else { "a" }
    )
}

struct Fleet {
    directory: tempfile::TempDir,
    clock: Arc<dyn Clock>,
}

impl Fleet {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new()),
        }
    }

    /// A file of metrics, as an argument.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn told(&self, server: &str, key: &str) -> String {
        let text = metrics(server, key, self.clock.wall_time());
        self.file(&format!("{server}-{}", key.replace('/', "-")), &text)
    }

    fn check(&self, metrics: &[String], expected: Option<u32>) -> ReplicaReport {
        let sources = metrics
            .iter()
            .map(|text| ReplicaSource::metrics(text).unwrap())
            .collect();
        let replicas = Replicas::new(sources).with_expected(expected);
        block_on(replicas.check("vault", &target(), &self.clock))
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn three_that_agree_are_all_if_there_are_three() {
    let fleet = Fleet::new();
    let files: Vec<_> = ["a", "b", "c"]
        .map(|server| fleet.told(server, "etcd/2"))
        .into();
    let report = fleet.check(&files, Some(3));
    assert!(report.agrees(), "{report}");
    assert!(report.unchecked().is_empty(), "{:?}", report.unchecked());
    assert_eq!(report.settles_in(), Duration::ZERO);

    // One less than there are.
    let report = fleet.check(&files[..2], Some(3));
    assert!(!report.agrees());
    assert_eq!((report.seen, report.missing()), (2, 1));
    assert!(report.unchecked()[0].contains("there are 3"), "{report}");

    // Nobody said how many there are.
    let report = fleet.check(&files, None);
    assert!(report.agrees());
    assert!(report.unchecked()[0].contains("how many"), "{report}");
}

#[test]
fn one_that_writes_with_another_key_is_named() {
    let fleet = Fleet::new();
    let files = [
        fleet.told("a", "etcd/2"),
        format!("cp-2={}", fleet.told("b", "etcd/1")),
    ];
    let report = fleet.check(&files, Some(2));
    assert!(!report.agrees());
    let another: Vec<_> = report.disagreeing().map(|it| it.name.as_str()).collect();
    assert_eq!(another, ["cp-2"]);
    assert!(report.to_string().contains("ANOTHER"), "{report}");
}

/// What the first step of a plan asks for: nobody has written with the key yet.
#[test]
fn readers_need_to_have_written_nothing() {
    let fleet = Fleet::new();
    let text = metrics("a", "etcd/2", fleet.clock.wall_time());
    let text = text.replace("to_storage", "from_storage");
    let source = ReplicaSource::metrics(&fleet.file("readers", &text)).unwrap();
    let replicas = Replicas::new(vec![source]).with_expected(1);
    let ask = |replicas: Replicas| block_on(replicas.check("vault", &target(), &fleet.clock));
    assert!(!ask(replicas.clone()).agrees());
    let report = ask(replicas.with_role(Role::Reader));
    assert!(report.agrees(), "{report}");
    assert!(report.to_string().contains("READS WITH"));
}

#[test]
fn a_load_balancer_that_answers_twice_is_one_server() {
    let fleet = Fleet::new();
    let first = fleet.told("a", "etcd/2");
    let text = std::fs::read_to_string(&first).unwrap();
    let again = fleet.file("again", &text);
    // Without names they are one replica; with names they are seen to be the same.
    let report = fleet.check(&[first.clone(), again.clone()], Some(2));
    assert_eq!((report.seen, report.agrees()), (1, false), "{report}");
    let named = [format!("cp-1={first}"), format!("cp-2={again}")];
    let report = fleet.check(&named, Some(2));
    assert_eq!((report.seen, report.agrees()), (1, false), "{report}");
    assert_eq!(report.replicas[1].same_as.as_deref(), Some("cp-1"));
    // Before 1.29 a server does not name itself, and nobody can tell.
    let old = fleet.told("", "etcd/2");
    let report = fleet.check(
        &[
            old.clone(),
            fleet.file("old", &std::fs::read_to_string(old).unwrap()),
        ],
        Some(2),
    );
    assert_eq!(report.seen, 2);
}

#[test]
fn a_prometheus_tells_of_several() {
    let fleet = Fleet::new();
    let now = fleet.clock.wall_time();
    let text = metrics("a", "etcd/2", now) + &metrics("b", "etcd/1", now);
    let report = fleet.check(&[format!("fleet={}", fleet.file("all", &text))], Some(2));
    assert_eq!(report.seen, 2);
    let verdicts: Vec<_> = report.replicas.iter().map(|it| it.verdict()).collect();
    assert_eq!(verdicts, [Verdict::Target, Verdict::Another]);
    assert!(report.replicas[1].name.starts_with("fleet (b"), "{report}");
}

#[test]
fn what_cannot_be_read_is_in_doubt_and_says_what_to_do() {
    let fleet = Fleet::new();
    for (file, why) in [
        (fleet.file("html", "<html>no</html>"), "line 1"),
        (fleet.file("json", "{\"kind\":\"Status\"}"), "line 1"),
        (fleet.file("empty", ""), "no KMS v2 at all"),
        ("/nonexistent/metrics".to_owned(), "/nonexistent/metrics"),
    ] {
        let report = fleet.check(core::slice::from_ref(&file), Some(1));
        assert!(!report.agrees(), "{file}");
        assert_eq!(report.disagreeing().count(), 0);
        assert!(report.unchecked()[0].contains(why), "{report}");
    }
    let report = fleet.check(&[], Some(1));
    assert!(!report.agrees() && report.unchecked()[0].contains("no API server"));
}

#[test]
fn different_configurations_are_noticed() {
    let fleet = Fleet::new();
    let now = fleet.clock.wall_time();
    let other = metrics("b", "etcd/2", now).replace("sha256:a", "sha256:b");
    let files = [fleet.told("a", "etcd/2"), fleet.file("other", &other)];
    let report = fleet.check(&files, Some(2));
    assert!(report.agrees());
    assert!(
        report.unchecked()[0].contains("different configurations"),
        "{report}"
    );

    let refused = metrics("a", "etcd/2", now)
        + "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds{apiserver_id_hash=\"a\",status=\"failure\"} 5\n";
    let report = fleet.check(&[fleet.file("refused", &refused)], Some(1));
    assert!(
        report.unchecked()[0].contains("refused its newest"),
        "{report}"
    );
}

/// A plugin that is `kms serve`, and its key id.
fn plugin(directory: &Path, name: &str) -> (Served, String, String) {
    let keyring = format!("local:{}", directory.join(name).display());
    let created = kms(&["key", "create", "--provider", &keyring, "--json"]).ok();
    let key_id = created.json()["key_id"].as_str().map(str::to_owned);
    let key_id = key_id.unwrap_or_else(|| {
        let list = kms(&["key", "list", "--provider", &keyring, "--json"]).ok();
        list.json()["keys"][0]["key_id"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let socket = directory.join(format!("{name}.sock"));
    let address = format!("unix:{}", socket.display());
    let served = Served::start(
        &["serve", "--provider", &keyring, "--listen", &address],
        &socket,
    );
    (served, address, key_id)
}

#[test]
fn a_real_plugin_is_asked_through_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let (served, address, key_id) = plugin(directory.path(), "keyring");
    let base = ["replicas", "--kms", "vault", "--json", "--replicas", "1"];
    let ask = |key: &str, replica: &str| {
        kms(&[&base[..], &["--key-id", key, "--replica", replica]].concat())
    };
    let found = ask(&key_id, &address).ok().json();
    assert_eq!(found["agrees"], true);
    assert_eq!(found["settles_in_seconds"], 180);
    assert!(
        found["unchecked"][0]
            .as_str()
            .unwrap()
            .contains("a plugin cannot tell"),
        "{found}"
    );

    let ran = ask("etcd/2", &format!("cp-1={address}"));
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.error_json()["error"]["kind"], "replicas");
    let found = ran.json();
    assert_eq!(found["replicas"][0]["name"], "cp-1");
    assert_eq!(found["replicas"][0]["evidence"][0]["key_id"], *key_id);

    assert_eq!(served.terminate(), Some(0));
    let ran = ask(&key_id, &address);
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.json()["replicas"][0]["evidence"][0]["reason"],
        "not_read"
    );
}

#[test]
fn a_plugin_and_its_server_are_judged_together_and_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_served, address, key_id) = plugin(directory.path(), "keyring");
    let file = directory.path().join("metrics");
    let base = ["replicas", "--kms", "vault", "--key-id", &key_id, "--json"];
    let ask = |plugin: &str, metrics: &str, replicas: &str| {
        let more = [
            "--replica",
            plugin,
            "--metrics",
            metrics,
            "--replicas",
            replicas,
        ];
        kms(&[&base[..], &more].concat())
    };
    std::fs::write(&file, metrics("a", &key_id, SystemTime::now())).unwrap();
    let file = file.to_str().unwrap();
    let (named, also) = (format!("cp-1={address}"), format!("cp-1={file}"));
    let found = ask(&named, &also, "1").ok().json();
    assert_eq!(found["replicas"].as_array().unwrap().len(), 1);
    // Without names they may be one or two: they are not taken for two.
    assert_eq!(ask(&address, file, "2").json()["seen"], 1);
    assert_eq!(
        ask(&named, &format!("cp-2={file}"), "2").ok().json()["seen"],
        2
    );
    // The server has not followed its plugin yet.
    std::fs::write(file, metrics("a", "etcd/1", SystemTime::now())).unwrap();
    let ran = ask(&named, &also, "1");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.error_json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("cp-1")
    );
}

#[test]
fn arguments_that_cannot_work_are_usage() {
    for more in [
        &[][..],
        &["--replica", "/run/kms.sock"],
        &["--metrics", "http://10.0.0.1:8080"],
        &["--metrics", "f", "--metrics-token-file", "t"],
        &["--metrics", "f", "--replicas", "0"],
    ] {
        let base = ["replicas", "--kms", "vault", "--key-id", "etcd/2"];
        let ran = kms(&[&base[..], more].concat());
        assert_eq!(ran.code, Some(2), "{more:?}: {ran:?}");
    }
}

fn over_http(server: &MetricsServer, access: Option<MetricsAccess>) -> ReplicaReport {
    let source = ReplicaSource::metrics(&server.url()).unwrap();
    let replicas = Replicas::new(vec![source])
        .with_expected(1)
        .with_access(access);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    block_on(replicas.check("vault", &target(), &clock))
}

fn answer() -> String {
    metrics("a", "etcd/2", ManualClock::new().wall_time())
}

#[test]
fn a_server_is_asked_over_tls_with_a_token() {
    let (identity, pem) = authority();
    let server = MetricsServer::tls(identity, 200, answer());
    let token = SecretBytes::copy_from_slice(b"s3cret\n");
    let access = MetricsAccess::new(Some(pem.as_bytes())).unwrap();
    assert!(!format!("{access:?}").contains("s3cret"));
    let report = over_http(&server, Some(access.with_token(token).unwrap()));
    assert!(report.agrees(), "{report}");
    let request = server.request();
    assert!(
        request.starts_with("GET /metrics HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request
            .to_lowercase()
            .contains("authorization: bearer s3cret\r\n")
    );
}

#[test]
fn a_token_never_crosses_a_wire_in_clear() {
    let server = MetricsServer::plain(200, answer());
    let (_, pem) = authority();
    let access = MetricsAccess::new(Some(pem.as_bytes()))
        .and_then(|access| access.with_token(SecretBytes::copy_from_slice(b"s3cret")))
        .unwrap();
    let report = over_http(&server, Some(access));
    assert!(report.agrees(), "{report}");
    assert!(!server.request().to_lowercase().contains("authorization"));
}

fn not_read(report: &ReplicaReport) -> &str {
    match &report.replicas[0].evidence[0].judgement {
        Judgement::NotRead { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_trusted_who_was_not_named() {
    let (identity, _) = authority();
    let (_, other) = authority();
    let server = MetricsServer::tls(identity, 200, answer());
    let report = over_http(&server, None);
    assert!(not_read(&report).contains("--metrics-ca"), "{report}");
    let access = MetricsAccess::new(Some(other.as_bytes())).unwrap();
    let report = over_http(&server, Some(access));
    assert!(not_read(&report).contains("certificate"), "{report}");
    for pem in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----",
    ] {
        MetricsAccess::new(Some(pem.as_bytes())).unwrap_err();
    }
    let token = |bytes| {
        let access = MetricsAccess::new(None).unwrap();
        access.with_token(SecretBytes::copy_from_slice(bytes))
    };
    token(b" \n").unwrap_err();
    token(b"two\nlines").unwrap_err();
}

#[test]
fn an_answer_that_is_no_metrics_says_what_to_do() {
    for (status, body, why) in [
        (403, String::new(), "--metrics-token-file"),
        (401, String::new(), "--metrics-token-file"),
        (503, String::new(), "503"),
        (302, String::new(), "302"),
        (200, "<html></html>".to_owned(), "line 1"),
        (200, "x".repeat((64 << 20) + 1), "longer than any"),
    ] {
        let server = MetricsServer::plain(status, body);
        let report = over_http(&server, None);
        assert!(not_read(&report).contains(why), "{status}: {report}");
    }
}

#[test]
fn one_that_never_answers_does_not_hold_the_others_up() {
    // It takes the connection, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let replicas = Replicas::new(vec![ReplicaSource::metrics(&url).unwrap()])
        .with_timeout(Duration::from_millis(50));
    let clock: Arc<dyn Clock> = Arc::new(kms_core::TokioClock::new());
    let report = block_on(replicas.check("vault", &target(), &clock));
    assert!(not_read(&report).contains("in time"), "{report}");
}
