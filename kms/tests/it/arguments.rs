//! Help, wrong usage and exit codes.

use proptest::prelude::*;

use crate::command::kms;

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        &[][..],
        &["key"],
        &["quickstart"],
        &["serve"],
        &["inspect"],
        &["decrypt"],
        &["doctor"],
        &["doctor", "azure"],
        &["key", "create"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "disable"],
        &["key", "enable"],
        &["key", "destroy"],
        &["key", "restore"],
        &["key", "purge"],
        &["key", "import"],
        &["key", "passphrase"],
        &["key", "status"],
        &["key", "plan-retire"],
        &["key", "retire"],
    ] {
        let ran = kms(&[command, &["--help"]].concat()).ok();
        assert!(
            ran.text().contains("Example"),
            "{command:?}: {}",
            ran.text()
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["unknown"],
        &["inspect"],
        &["decrypt", "--json"],
        &["quickstart", "--secrets", "0"],
        &["key", "rotate", "--provider", "vault:x"],
        &["key", "rotate", "--provider", "unix:/run/kms.sock"],
        &["key", "create", "--provider", "local:/x?pasphrase-file=y"],
        &["key", "status", "--provider", "unix:"],
        &[
            "key",
            "rotate",
            "--provider",
            "https://v.vault.azure.net/keys/k",
        ],
        &[
            "key",
            "status",
            "--provider",
            "https://kv1.vault.azure.net/keys/k",
        ],
        &[
            "key",
            "status",
            "--provider",
            "https://user:pass@kv1.vault.azure.net/keys/k",
        ],
        &[
            "key",
            "status",
            "--azure-identity",
            "cli",
            "--provider",
            "https://example.com/keys/k",
        ],
        &[
            "key",
            "status",
            "--azure-identity",
            "managed",
            "--provider",
            "https://kv1.vault.azure.net/keys/k",
        ],
        &[
            "key",
            "status",
            "--azure-identity",
            "cli",
            "--azure-poll",
            "60",
            "--azure-activation-delay",
            "60",
            "--provider",
            "https://kv1.vault.azure.net/keys/k",
        ],
        &[
            "serve",
            "--provider",
            "local:/x",
            "--listen",
            "/run/kms.sock",
        ],
        &["serve", "--provider", "local:/x", "--listen", "tcp:1234"],
        &[
            "serve",
            "--provider",
            "local:/x",
            "--listen",
            "unix:/x",
            "--socket-mode",
            "999",
        ],
        &["key", "disable", "--provider", "local:/x"],
        &["key", "plan-retire", "kek-1"],
        &["key", "plan-retire", "", "--snapshot", "/x"],
        &[
            "key",
            "plan-retire",
            "https://kv1.vault.azure.net/keys/k",
            "--snapshot",
            "/x",
        ],
        &[
            "key",
            "plan-retire",
            "k",
            "--snapshot",
            "/x",
            "--etcd",
            "http://127.0.0.1:9",
        ],
        &[
            "key",
            "plan-retire",
            "k",
            "--snapshot",
            "/x",
            "--replica",
            "https://api",
        ],
        &[
            "key",
            "plan-retire",
            "k",
            "--snapshot",
            "/x",
            "--kms-v1",
            "x",
        ],
        &[
            "key",
            "plan-retire",
            "k",
            "--snapshot",
            "/x",
            "--not-scanned",
            "backup:",
        ],
        &["key", "retire", "k", "--evidence", "/x"],
        &[
            "key",
            "retire",
            "k",
            "--evidence",
            "/x",
            "--etcd",
            "http://127.0.0.1:9",
            "--out",
            "/y",
        ],
        &["doctor", "azure"],
        &["doctor", "azure", "--key-id", "https://example.com/keys/x"],
        &[
            "doctor",
            "azure",
            "--key-id",
            "https://kv1.vault.azure.net/keys/x",
            "--identity",
            "managed",
        ],
        &[
            "key",
            "destroy",
            "--provider",
            "local:/x",
            "1",
            "--grace-days",
            "6",
        ],
    ] {
        let ran = kms(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[cfg(not(feature = "testing"))]
#[test]
fn keys_on_the_command_line_are_not_in_this_build() {
    let keys = format!("static:k={}", "00".repeat(32));
    let ran = kms(&["key", "status", "--provider", &keys]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(!ran.stderr.contains("0000"), "{ran:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_argument_makes_it_panic(text in "[ -~]{0,40}") {
        for arguments in [
            vec!["key", "status", "--provider", &text],
            vec!["serve", "--provider", "local:/nonexistent/x", "--listen", &text],
            vec!["inspect", "--", &text],
        ] {
            let ran = kms(&arguments);
            prop_assert!(matches!(ran.code, Some(0..=2)), "{:?}", ran);
            prop_assert!(!ran.stderr.contains("panicked"), "{:?}", ran);
        }
    }
}
