//! `kms key …`

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

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
    let keys = keyring.run("list", &["--json"]).ok().json();
    // By its key id as well, which is what a census names.
    keyring
        .run("enable", &[keys["keys"][0]["key_id"].as_str().unwrap()])
        .ok();
    assert_eq!(keyring.run("enable", &["local/other/1"]).code, Some(2));
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
    for file in ["pass", "wrong"] {
        std::fs::set_permissions(path(file), Permissions::from_mode(0o600)).unwrap();
    }
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

#[test]
fn a_key_can_be_brought_in_and_a_passphrase_added() {
    let keyring = Keyring::create();
    let file = |name: &str| format!("{}.{name}", keyring.path);
    std::fs::write(file("short"), [7; 31]).unwrap();
    let ran = keyring.run("import", &[&file("short")]).refused();
    assert!(ran.stderr.contains("31 bytes"), "{ran:?}");
    std::fs::write(file("key"), [7; 32]).unwrap();
    let key = keyring.run("import", &["--json", &file("key")]).ok().json();
    assert_eq!(key["keys"][0]["imported"], true);
    assert_eq!(key["keys"][0]["current"], true);

    std::fs::write(file("pass"), "correct horse\n").unwrap();
    std::fs::set_permissions(file("pass"), Permissions::from_mode(0o600)).unwrap();
    keyring
        .run("passphrase", &["--new-passphrase-file", &file("pass")])
        .ok();
    keyring.run("list", &[]).refused();
    let with = format!("{}?passphrase-file={}", keyring.provider, file("pass"));
    // To do without one has to be said.
    let ran = kms(&["key", "passphrase", "--provider", &with]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    keyring.run("list", &[]).refused();
    let ran = kms(&["key", "passphrase", "--provider", &with, "--remove"]).ok();
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
    assert!(told.contains("no passphrase now"), "{told}");
    assert_eq!(keyring.states(), ["enabled", "enabled"]);
}
