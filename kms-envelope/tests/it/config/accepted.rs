//! What is read, and as what.

use core::time::Duration;

use kms_envelope::kubernetes::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, ProviderConfiguration,
};

use super::{
    KEY_32, SECRET_32, SNAPSHOT, file, parse, with_key, with_kms, with_names, with_providers,
};

fn providers(configuration: &EncryptionConfiguration) -> &[ProviderConfiguration] {
    &configuration.resources[0].providers
}

fn kms(text: &str) -> KmsConfiguration {
    match parse(text).resources.remove(0).providers.remove(0) {
        ProviderConfiguration::Kms(kms) => kms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_configuration_of_a_snapshot() {
    let configuration = parse(SNAPSHOT);
    assert_eq!(configuration.resources.len(), 1);
    let entry = &configuration.resources[0];
    assert_eq!(
        entry.resources,
        ["secrets", "configmaps", "gadgets.snap.example"]
    );
    let [
        ProviderConfiguration::Kms(v2),
        ProviderConfiguration::Kms(v1),
        ProviderConfiguration::Secretbox(boxes),
        ProviderConfiguration::AesGcm(gcm),
        ProviderConfiguration::AesCbc(cbc),
        ProviderConfiguration::Identity,
    ] = &entry.providers[..]
    else {
        panic!("{entry:?}");
    };
    assert_eq!(v2.api_version, KmsApiVersion::V2);
    assert_eq!(v2.name, "plugin-v2");
    assert_eq!(v2.endpoint, "unix:///run/kms/plugin.sock");
    assert_eq!(v2.timeout, Duration::from_secs(3));
    assert_eq!(v2.cache_size, None);
    assert_eq!(v1.api_version, KmsApiVersion::V1);
    assert_eq!(v1.name, "plugin-v1");
    assert_eq!(v1.cache_size, Some(1000));
    let names = |keys: &[kms_envelope::kubernetes::NamedKey]| {
        keys.iter()
            .map(|key| (key.name.clone(), key.secret.expose()[0], key.secret.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(boxes), [("box-1".to_owned(), 0xbd, 32)]);
    assert_eq!(names(gcm), [("gcm-1".to_owned(), 0xe3, 32)]);
    assert_eq!(
        names(cbc),
        [
            ("cbc-2024".to_owned(), 0xcb, 32),
            ("cbc-2023".to_owned(), 0x48, 32)
        ]
    );
}

#[test]
fn json_and_the_old_type_name() {
    let configuration = parse(
        r#"{"kind": "EncryptionConfig", "apiVersion": "v1", "resources": [
            {"resources": ["secrets"], "providers": [{"identity": {}}]}]}"#,
    );
    assert!(matches!(
        providers(&configuration),
        [ProviderConfiguration::Identity]
    ));
}

#[test]
fn json_indented_with_tabs() {
    parse(
        "{\n\t\"kind\": \"EncryptionConfiguration\",\n\t\"apiVersion\":\t\"apiserver.config.k8s.io/v1\",\n\t\"resources\": [\n\t\t{\"resources\": [\"secrets\"], \"providers\": [{\"identity\": {}}]}\n\t]\n}\n",
    );
}

#[test]
fn the_defaults_of_a_kms_provider() {
    let bare = kms(&with_kms("name: a, endpoint: 'unix:///a'"));
    assert_eq!(bare.api_version, KmsApiVersion::V1);
    assert_eq!(bare.timeout, Duration::from_secs(3));
    assert_eq!(bare.cache_size, Some(1000));
    let null = kms(&with_kms(
        "apiVersion: null, name: a, endpoint: 'unix:///a', timeout: ~, cachesize: ",
    ));
    assert_eq!(null, bare);
}

#[test]
fn every_form_of_a_kms_field() {
    for (timeout, nanoseconds) in [
        ("3s", 3_000_000_000),
        ("'1m30s'", 90_000_000_000),
        ("500ms", 500_000_000),
        ("1ns", 1),
        (".5s", 500_000_000),
    ] {
        let text = with_kms(&format!(
            "name: a, endpoint: 'unix:///a', timeout: {timeout}"
        ));
        assert_eq!(kms(&text).timeout, Duration::from_nanos(nanoseconds));
    }
    for size in [-1, 1, i32::MAX] {
        let text = with_kms(&format!(
            "name: a, endpoint: 'unix:///a', cachesize: {size}"
        ));
        assert_eq!(kms(&text).cache_size, Some(size));
    }
    for endpoint in [
        "unix:///a",
        "UNIX:///a",
        "unix:///@abstract",
        "unix:///a%20b",
    ] {
        let text = with_kms(&format!("name: a, endpoint: '{endpoint}'"));
        assert_eq!(kms(&text).endpoint, endpoint);
    }
    assert_eq!(
        kms(&with_kms("name: 'a:b', endpoint: 'unix:///a'")).name,
        "a:b"
    );
    assert_eq!(
        kms(&with_kms("name: '123', endpoint: 'unix:///a'")).name,
        "123"
    );
    assert_eq!(
        kms(&with_kms("name: \"yes\", endpoint: 'unix:///a'")).name,
        "yes"
    );
    assert_eq!(
        kms(&with_kms("name: !!str 1, endpoint: !!binary dW5peDovLy9h")).endpoint,
        "unix:///a"
    );
}

#[test]
fn v1_names_may_repeat_and_v2_names_may_repeat_elsewhere_as_v1() {
    let v1 = "{kms: {name: a, endpoint: 'unix:///a'}}";
    let v2 = "{kms: {apiVersion: v2, name: a, endpoint: 'unix:///a'}}";
    parse(&with_providers(&format!("[{v1}, {v1}]")));
    parse(&with_providers(&format!("[{v2}, {v1}]")));
}

#[test]
fn secrets_as_go_decodes_them() {
    let spellings = [
        SECRET_32.to_owned(),
        format!("\"{SECRET_32}\""),
        // Line breaks are skipped.
        format!("\"{}\\n{}\\r\\n\"", &SECRET_32[..20], &SECRET_32[20..]),
        // Stray bits in the last symbol are not looked at.
        SECRET_32.replace("io=", "ir="),
    ];
    for spelling in spellings {
        let configuration = parse(&with_key(&format!("name: k, secret: {spelling}")));
        let [ProviderConfiguration::AesCbc(keys)] = providers(&configuration) else {
            panic!("{configuration:?}");
        };
        assert_eq!(keys[0].secret.expose(), KEY_32, "{spelling}");
    }
    let block = format!(
        "\n- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n      - name: k\n        secret: |\n          {SECRET_32}\n"
    );
    let configuration = parse(&file(&block));
    assert!(matches!(
        providers(&configuration),
        [ProviderConfiguration::Secretbox(_)]
    ));
}

#[test]
fn keys_of_every_length_and_repeated_names() {
    for (secret, length) in [
        ("KioqKioqKioqKioqKioqKg==", 16),
        ("KioqKioqKioqKioqKioqKioqKioqKioq", 24),
        (SECRET_32, 32),
    ] {
        let configuration = parse(&with_key(&format!("name: k, secret: {secret}")));
        let [ProviderConfiguration::AesCbc(keys)] = providers(&configuration) else {
            panic!("{configuration:?}");
        };
        assert_eq!(keys[0].secret.len(), length);
    }
    parse(&with_providers(&format!(
        "[{{aesgcm: {{keys: [{{name: 'k:1', secret: {SECRET_32}}}, {{name: 'k:1', secret: {SECRET_32}}}]}}}}]"
    )));
}

#[test]
fn resource_names() {
    for names in [
        "['*.*']",
        "['*.', '*.apps', deployments.extra]",
        "[secrets, configmaps, deployments.apps, '*.batch']",
        "[secrets, secrets.example.org]",
        "[events]",
    ] {
        parse(&with_names(names));
    }
    // A wildcard after the names that it would cover is the way to make exceptions.
    let entry = |names: &str| format!("{{resources: [{names}], providers: [{{identity: {{}}}}]}}");
    parse(&file(&format!(
        "[{}, {}, {}, {}]",
        entry("secrets"),
        entry("secrets, '*.apps'"),
        entry("'*.'"),
        entry("'*.*'"),
    )));
}

#[test]
fn anchors_and_merge_keys() {
    let configuration = parse(
        "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: &all
  - kms: &plugin {apiVersion: v2, name: a, endpoint: 'unix:///a'}
  - identity: {}
- resources: [configmaps]
  providers:
  - kms: {<<: *plugin, name: b}
",
    );
    let [ProviderConfiguration::Kms(kms)] = &configuration.resources[1].providers[..] else {
        panic!("{configuration:?}");
    };
    assert_eq!(
        (kms.name.as_str(), kms.endpoint.as_str()),
        ("b", "unix:///a")
    );
}
