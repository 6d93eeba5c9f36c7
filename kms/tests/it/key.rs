//! `kms key …`

use crate::command::kms;

struct Keyring {
    _directory: tempfile::TempDir,
    path: String,
    provider: String,
}

impl Keyring {
    fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory
            .path()
            .join("keyring.json")
            .to_str()
            .unwrap()
            .to_owned();
        let provider = format!("local:{path}");
        kms(&["key", "create", "--provider", &provider]).ok();
        Self {
            _directory: directory,
            path,
            provider,
        }
    }

    fn run(&self, command: &str, more: &[&str]) -> crate::command::Ran {
        kms(&[&["key", command, "--provider", &self.provider], more].concat())
    }

    fn states(&self) -> Vec<String> {
        let keys = self.run("list", &["--json"]).ok().json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter()
            .map(|key| key["state"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// R24, R26, R27: two keys live after a rotation; the one in use cannot be taken away.
#[test]
fn a_key_goes_through_its_life() {
    let keyring = Keyring::create();
    keyring.run("disable", &["1"]).refused();
    let new = keyring.run("rotate", &["--json"]).ok().json();
    assert_eq!(new["keys"][0]["version"], 2);
    assert_eq!(new["keys"][0]["current"], true);
    assert_eq!(keyring.states(), ["enabled", "enabled"]);

    keyring.run("disable", &["1"]).ok();
    assert_eq!(keyring.states(), ["disabled", "enabled"]);
    keyring.run("enable", &["1"]).ok();
    keyring.run("destroy", &["1"]).ok();
    assert_eq!(keyring.states(), ["pending_destruction", "enabled"]);
    keyring.run("purge", &[]).ok();
    assert_eq!(
        keyring.states(),
        ["pending_destruction", "enabled"],
        "the grace period runs"
    );
    keyring.run("restore", &["1"]).ok();
    keyring.run("enable", &["1"]).ok();
    assert_eq!(keyring.states(), ["enabled", "enabled"]);

    let status = keyring.run("status", &["--json"]).ok().json();
    assert_eq!(status["key_id"], new["keys"][0]["key_id"]);
    assert_eq!(status["unwraps"], true);
}

#[test]
fn a_keyring_is_never_overwritten_and_a_torn_one_is_named() {
    let keyring = Keyring::create();
    let before = std::fs::read(&keyring.path).unwrap();
    let ran = keyring.run("create", &[]).refused();
    assert!(ran.stderr.contains(&keyring.path), "{ran:?}");
    assert_eq!(std::fs::read(&keyring.path).unwrap(), before);

    std::fs::write(&keyring.path, &before[..before.len() / 2]).unwrap();
    let ran = keyring.run("list", &[]).refused();
    assert!(ran.stderr.contains(&keyring.path), "{ran:?}");
    let error = keyring.run("list", &["--json"]).error_json();
    assert_eq!(error["error"]["kind"], "corrupt");
}

#[test]
fn a_passphrase_is_needed_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("pass"), "correct horse\n").unwrap();
    std::fs::write(path("wrong"), "battery staple\n").unwrap();
    let with = |file: &str| format!("local:{}?passphrase-file={}", path("keyring"), path(file));
    kms(&["key", "create", "--provider", &with("pass")]).ok();
    kms(&["key", "status", "--provider", &with("pass")]).ok();
    for provider in [with("wrong"), format!("local:{}", path("keyring"))] {
        let ran = kms(&["key", "status", "--json", "--provider", &provider]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(ran.error_json()["error"]["kind"], "unauthenticated");
        assert!(!ran.stderr.contains("horse"), "{ran:?}");
    }
}
