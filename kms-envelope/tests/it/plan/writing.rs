//! Configurations that are written and read back.

use kms_envelope::kubernetes::EncryptionConfiguration;
use proptest::prelude::*;
use serde_json::json;

use super::{config, file, gcm, identity, v1, v2};

/// All that a configuration says, with its secrets: `Debug` shows none.
fn meaning(configuration: &EncryptionConfiguration) -> String {
    use kms_envelope::kubernetes::ProviderConfiguration as Provider;
    let mut text = format!("{configuration:?}");
    for provider in configuration.resources.iter().flat_map(|it| &it.providers) {
        if let Provider::AesCbc(keys) | Provider::AesGcm(keys) | Provider::Secretbox(keys) =
            provider
        {
            for key in keys {
                text += &format!("{:?}", key.secret.expose());
            }
        }
    }
    text
}

fn round_trip(configuration: &EncryptionConfiguration) -> EncryptionConfiguration {
    let yaml = configuration.to_yaml();
    let text = std::str::from_utf8(yaml.expose()).unwrap();
    EncryptionConfiguration::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn it_reads_as_people_write_it() {
    let configuration = config(&[(
        &["secrets", "*.apps"],
        &[v2("vault"), gcm(&["one"]), identity()],
    )]);
    let yaml = configuration.to_yaml();
    assert_eq!(
        std::str::from_utf8(yaml.expose()).unwrap(),
        "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - \"secrets\"
      - \"*.apps\"
    providers:
      - kms:
          apiVersion: v2
          name: \"vault\"
          endpoint: \"unix:///vault\"
      - aesgcm:
          keys:
            - name: \"one\"
              secret: \"b25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb24=\"
      - identity: {}
"
    );
}

#[test]
fn names_and_numbers_of_every_kind_come_back() {
    for name in [
        "yes",
        "1e3",
        "a\"b\\c",
        "\u{20ac}\u{1f511}",
        "- x: #",
        "a\tb\u{85}\u{7f}c",
        "\u{2028}\u{feff}x",
    ] {
        for timeout in ["1ns", "1500us", "2ms", "3s", "2562047h47m16s"] {
            let mut kms = v1(name);
            kms["kms"]["timeout"] = json!(timeout);
            kms["kms"]["cachesize"] = json!(-1);
            kms["kms"]["endpoint"] = json!("unix:///run/kms.sock");
            // What YAML does not print stands in the file as an escape.
            let text: String = file(&[(&["secrets"], &[kms, gcm(&[name])])])
                .chars()
                .map(|c| match c {
                    '\u{7f}' | '\u{85}' | '\u{2028}' | '\u{feff}' => {
                        format!("\\u{:04x}", u32::from(c))
                    }
                    c => c.to_string(),
                })
                .collect();
            let configuration = EncryptionConfiguration::parse(&text).unwrap();
            let back = round_trip(&configuration);
            assert_eq!(meaning(&back), meaning(&configuration), "{name:?}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_was_read_is_read_again(
        names in proptest::collection::vec("[^\0]{1,12}", 1..4),
        secret in proptest::array::uniform32(any::<u8>()),
        length in prop::sample::select(vec![16_usize, 24, 32]),
    ) {
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), &secret[..length])).collect();
        let file = json!({
            "apiVersion": "v1", "kind": "EncryptionConfig",
            "resources": [{ "resources": ["secrets"], "providers": [crate::local("aescbc", &keys)] }],
        });
        // Some characters are no YAML, and none of a JSON file either.
        if let Ok(configuration) = EncryptionConfiguration::parse(&file.to_string()) {
            prop_assert_eq!(meaning(&round_trip(&configuration)), meaning(&configuration));
        }
    }
}
