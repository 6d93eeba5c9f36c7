//! What is refused before any etcd is asked.

use crate::command::kms;

#[test]
fn what_cannot_be_meant_is_refused() {
    let etcd = [
        "--etcd",
        "http://127.0.0.1:1",
        "--encryption-config",
        "/nonexistent",
    ];
    let with = |more: &[&str]| {
        let arguments = [&["migrate"][..], &etcd, more].concat();
        let ran = kms(&arguments);
        assert_eq!(ran.code, Some(2), "{more:?}: {ran:?}");
        ran.stderr
    };
    assert!(with(&["--rate", "fast"]).contains("rate"));
    assert!(with(&["--rate", "0/s"]).contains("rate"));
    with(&["--concurrency", "0"]);
    with(&["--worker-id", "a"]);
    with(&["--workers-shared", "--resume"]);
    with(&["--workers-shared", "--checkpoint", "/tmp/x"]);
    let nowhere = kms(&["migrate", "--encryption-config", "/nonexistent"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.stderr.contains("--etcd"), "{}", nowhere.stderr);
}

#[test]
fn a_target_or_a_resource_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, super::CONFIG).unwrap();
    for (more, word) in [
        (["--to", "rot13"], "kms:NAME"),
        (["--resource", "frobnications"], "frobnications"),
        (["--namespace", "a/b"], "a/b"),
    ] {
        let fixed = [
            "migrate",
            "--etcd",
            "http://127.0.0.1:1",
            "--encryption-config",
        ];
        let arguments = [&fixed[..], &[config.to_str().unwrap()], &more].concat();
        let ran = kms(&arguments);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
}
