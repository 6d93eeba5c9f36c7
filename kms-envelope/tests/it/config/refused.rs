//! What is refused, and where the message says it is.

use kms_envelope::ErrorKind;
use kms_envelope::kubernetes::EncryptionConfiguration;

use super::{SECRET_32, SNAPSHOT, file, with_key, with_kms, with_names, with_providers};

/// Asserts that `text` is refused, and how the message begins and goes on.
#[track_caller]
fn refused(text: &str, path: &str, what: &str) {
    let error = match EncryptionConfiguration::parse(text) {
        Ok(configuration) => panic!("accepted: {configuration:?}\n{text}"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let message = error.to_string();
    let rest = message
        .strip_prefix(path)
        .and_then(|rest| rest.strip_prefix(": "));
    assert!(
        rest.is_some_and(|rest| rest.contains(what)),
        "wanted {path}: ... {what}\ngot    {message}"
    );
}

const ENTRY: &str = "[{resources: [secrets], providers: [{identity: {}}]}]";
const NAMES: &str = "resources[0].resources";
const PROVIDER: &str = "resources[0].providers[0]";
const KMS: &str = "resources[0].providers[0].kms";
const KEY: &str = "resources[0].providers[0].aescbc.keys[0]";

#[test]
fn the_document() {
    let whole = "EncryptionConfiguration";
    refused("", whole, "");
    refused("# nothing\n", whole, "");
    refused("[]", whole, "expected a mapping, got a list");
    refused("just text", whole, "expected a mapping, got a string");
    refused("a: [b", whole, "not valid YAML");
    refused("a: *b", whole, "alias");
    refused(
        &format!("{SNAPSHOT}---\n{SNAPSHOT}"),
        whole,
        "more than one YAML document",
    );
    refused(
        &format!("{SNAPSHOT}{}", "#".repeat(1 << 20)),
        whole,
        "bytes",
    );
    refused(&"[".repeat(1000), whole, "");
    refused(
        &format!("{}1{}", "[".repeat(40), "]".repeat(40)),
        whole,
        "nested",
    );
    refused(&format!("a: [{}]", "1,".repeat(60_000)), whole, "larger");
    let bomb = (1..9).fold("a0: &a0 [1,1,1,1,1,1,1,1,1]\n".to_owned(), |text, level| {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        format!("{text}a{level}: &a{level} [{aliases}]\n")
    });
    refused(&bomb, whole, "larger");
    let long = "x".repeat(900_000);
    refused(
        &format!("a: &a {long}\nb: [{}]\n", ["*a"; 20].join(",")),
        whole,
        "larger",
    );
}

#[test]
fn the_type() {
    let with_type = |head: &str| format!("{head}\nresources: {ENTRY}\n");
    refused(
        &with_type("kind: EncryptionConfiguration"),
        "apiVersion",
        "is required",
    );
    refused(
        &with_type("apiVersion: apiserver.config.k8s.io/v1"),
        "kind",
        "is required",
    );
    refused(
        &with_type("apiVersion: apiserver.config.k8s.io/v1beta1\nkind: EncryptionConfiguration"),
        "apiVersion",
        "write apiVersion: apiserver.config.k8s.io/v1",
    );
    refused(
        &with_type("apiVersion: v1\nkind: EncryptionConfiguration"),
        "apiVersion",
        "write apiVersion: apiserver.config.k8s.io/v1",
    );
    refused(
        &with_type("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfig"),
        "kind",
        "kind: EncryptionConfiguration (line 2)",
    );
    refused(
        &with_type("apiVersion: 1\nkind: EncryptionConfiguration"),
        "apiVersion",
        "expected a string, got a number",
    );
}

#[test]
fn fields_that_are_unknown_repeated_or_of_another_type() {
    refused(&format!("{SNAPSHOT}extra: 1\n"), "extra", "unknown field");
    refused(
        &format!("{SNAPSHOT}kind: EncryptionConfiguration\n"),
        "kind",
        "more than once",
    );
    refused(
        &format!("{SNAPSHOT}Kind: EncryptionConfiguration\n"),
        "Kind",
        "unknown field",
    );
    refused(&file("{}"), "resources", "expected a list, got a mapping");
    refused(
        &file("[a]"),
        "resources[0]",
        "expected a mapping, got a string",
    );
    refused(
        &file("[null]"),
        "resources[0]",
        "expected a mapping, got nothing",
    );
    refused(
        &file("[{resource: [a]}]"),
        "resources[0].resource",
        "unknown field",
    );
    refused(
        &with_providers("[{aes: {}}]"),
        "resources[0].providers[0].aes",
        "known are",
    );
    refused(
        &with_providers("[{identity: {a: 1}}]"),
        &format!("{PROVIDER}.identity.a"),
        "unknown",
    );
    refused(
        &with_providers("[{identity: true}]"),
        &format!("{PROVIDER}.identity"),
        "a mapping",
    );
    refused(
        &with_kms("name: a, Endpoint: b"),
        &format!("{KMS}.Endpoint"),
        "unknown field",
    );
    refused(
        &with_kms("name: a, name: a"),
        &format!("{KMS}.name"),
        "more than once",
    );
    refused(
        &with_key(&format!(
            "name: a, secret: {SECRET_32}, secret: {SECRET_32}"
        )),
        &format!("{KEY}.secret"),
        "more than once",
    );
    for (scalar, what) in [
        ("yes", "boolean"),
        ("no", "boolean"),
        ("on", "boolean"),
        ("off", "boolean"),
        ("y", "boolean; put it in quotes"),
        ("N", "boolean"),
        ("True", "boolean"),
        ("123", "number"),
        ("1.5", "number"),
        ("1e3", "number"),
        ("0x1F", "number"),
        ("1_000", "number"),
        (".inf", "number"),
        (".nan", "number"),
        ("18446744073709551615", "number"),
        ("340282366920938463463374607431768211455", "number"),
        ("[a]", "list"),
        ("{a: b}", "mapping"),
        ("!!int 1", "number"),
    ] {
        let text = with_kms(&format!("name: {scalar}, endpoint: 'unix:///a'"));
        refused(&text, &format!("{KMS}.name"), what);
    }
}

#[test]
fn entries() {
    refused(&file("[]"), "resources", "at least one");
    refused(&file(""), "resources", "at least one");
    refused(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n",
        "resources",
        "at least one",
    );
    refused(
        &file("[{providers: [{identity: {}}]}]"),
        NAMES,
        "at least one",
    );
    refused(&with_names("[]"), NAMES, "at least one");
    refused(
        &file("[{resources: [a]}]"),
        "resources[0].providers",
        "at least one",
    );
    refused(
        &with_providers("[]"),
        "resources[0].providers",
        "at least one",
    );
    refused(&with_providers("[{}]"), PROVIDER, "names no provider");
    refused(&with_providers("[{identity: }]"), PROVIDER, "identity: {}");
    refused(
        &with_providers("[{identity: {}, kms: {name: a, endpoint: 'unix:///a'}}]"),
        PROVIDER,
        "more than one provider",
    );
}

#[test]
fn keys() {
    let keys = "resources[0].providers[0].aescbc.keys";
    refused(&with_providers("[{aescbc: {}}]"), keys, "at least one");
    refused(
        &with_providers("[{aescbc: {keys: []}}]"),
        keys,
        "at least one",
    );
    refused(
        &with_key(&format!("secret: {SECRET_32}")),
        &format!("{KEY}.name"),
        "required",
    );
    refused(
        &with_key(&format!("name: '', secret: {SECRET_32}")),
        &format!("{KEY}.name"),
        "required",
    );
    refused(
        &with_key("name: k"),
        &format!("{KEY}.secret"),
        "is required",
    );
    refused(
        &with_key("name: k, secret: ''"),
        &format!("{KEY}.secret"),
        "is required",
    );
    for secret in [
        "KioqKioqKioqKioqKioqKg",
        "KioqKioqKioqKioqKioqKg=",
        "'KioqKioq KioqKioqKioqKg=='",
        "KioqKioqKioqKioqKioqKg==KioqKioqKioqKioqKioqKg==",
        "_-oqKioqKioqKioqKioqKg==",
        "'not base64!'",
    ] {
        let text = with_key(&format!("name: k, secret: {secret}"));
        refused(&text, &format!("{KEY}.secret"), "is not base64");
    }
    refused(
        &with_key("name: k, secret: Kioq"),
        &format!("{KEY}.secret"),
        "3 bytes",
    );
    refused(
        &with_providers("[{secretbox: {keys: [{name: k, secret: KioqKioqKioqKioqKioqKg==}]}}]"),
        "resources[0].providers[0].secretbox.keys[0].secret",
        "16 bytes long once decoded; 32 are required",
    );
}

#[test]
fn kms_providers() {
    let fields = |fields: &str| with_kms(&format!("name: a, endpoint: 'unix:///a', {fields}"));
    let field = |name: &str| format!("{KMS}.{name}");
    refused(
        &with_kms("endpoint: 'unix:///a'"),
        &field("name"),
        "is required",
    );
    refused(&with_kms("name: a"), &field("endpoint"), "is required");
    refused(&fields("apiVersion: v3"), &field("apiVersion"), "v1 or v2");
    refused(
        &with_kms("apiVersion: v2, name: 'a:b', endpoint: 'unix:///a'"),
        &field("name"),
        "colon",
    );
    for endpoint in [
        "/run/a.sock",
        "http://a/",
        "unixx:///a",
        "tcp://a:1",
        "unix",
    ] {
        let text = with_kms(&format!("name: a, endpoint: '{endpoint}'"));
        refused(&text, &field("endpoint"), "unix:///path/to/socket");
    }
    refused(
        &with_kms("name: a, endpoint: 'unix:///a%2'"),
        &field("endpoint"),
        "%",
    );
    refused(
        &with_kms("name: a, endpoint: \"unix:///a\\n\""),
        &field("endpoint"),
        "control",
    );
    refused(
        &fields("timeout: 3"),
        &field("timeout"),
        "expected a string, got a number",
    );
    refused(&fields("timeout: 3 s"), &field("timeout"), "no duration");
    refused(&fields("timeout: ''"), &field("timeout"), "no duration");
    refused(&fields("timeout: 0s"), &field("timeout"), "not positive");
    refused(&fields("timeout: -3s"), &field("timeout"), "not positive");
    refused(
        &fields("cachesize: 0"),
        &field("cachesize"),
        "must not be 0",
    );
    refused(
        &fields("cachesize: 2147483648"),
        &field("cachesize"),
        "32 bits",
    );
    refused(
        &fields("cachesize: 1.5"),
        &field("cachesize"),
        "whole number",
    );
    refused(
        &fields("cachesize: '10'"),
        &field("cachesize"),
        "expected a number",
    );
    refused(
        &fields("cachesize: 10, apiVersion: v2"),
        &field("cachesize"),
        "not supported",
    );

    let v1 = "{kms: {name: a, endpoint: 'unix:///a'}}";
    let v2 = "{kms: {apiVersion: v2, name: a, endpoint: 'unix:///a'}}";
    let second = "resources[0].providers[1].kms.name";
    refused(&with_providers(&format!("[{v1}, {v2}]")), second, "unique");
    refused(&with_providers(&format!("[{v2}, {v2}]")), second, "unique");
    refused(
        &file(&format!(
            "[{{resources: [a], providers: [{v2}]}}, {{resources: [b], providers: [{v2}]}}]"
        )),
        "resources[1].providers[0].kms.name",
        "unique",
    );
}

#[test]
fn resource_names() {
    let first = "resources[0].resources[0]";
    for (name, what) in [
        ("''", "name is required"),
        ("null", "name is required"),
        ("Secrets", "capital"),
        ("\u{c4}pfel", "capital"),
        ("apiServerIPInfo", "capital"),
        ("'*'", "*.*"),
        ("apiserveripinfo", "no REST API"),
        ("serviceipallocations", "no REST API"),
        ("servicenodeportallocations", "no REST API"),
        ("events.events.k8s.io", "write events"),
        ("'*.events.k8s.io'", "write events"),
        ("ingresses.extensions", "removed"),
        ("'*.extensions'", "removed"),
        ("'secrets.*'", "across all groups"),
    ] {
        refused(&with_names(&format!("[{name}]")), first, what);
    }
    refused(&with_names("[1]"), first, "expected a string, got a number");
    refused(
        &with_names("[secrets, secrets]"),
        NAMES,
        "\"secrets\" is listed more than once",
    );
    refused(&with_names("[secrets, secrets.]"), NAMES, "more than once");
    refused(&with_names("['*.apps', '*.apps']"), NAMES, "more than once");
    refused(&with_names("[secrets, '*.']"), NAMES, "\"*.\" covers");
    refused(&with_names("['*.', secrets]"), NAMES, "\"*.\" covers");
    refused(
        &with_names("[pods, '*.apps', deployments.apps]"),
        NAMES,
        "\"*.apps\" covers",
    );
    refused(&with_names("[secrets, '*.*']"), NAMES, "*.* covers");
    refused(&with_names("['*.*', '*.apps']"), NAMES, "*.* covers");
}

#[test]
fn names_behind_an_earlier_wildcard() {
    let two = |first: &str, second: &str| {
        file(&format!(
            "\n- resources: [{first}]\n  providers: [{{identity: {{}}}}]\n- resources: [{second}]\n  providers: [{{identity: {{}}}}]"
        ))
    };
    let path = "resources[1].resources[0]";
    refused(&two("'*.'", "secrets"), path, "\"*.\" of an earlier entry");
    refused(
        &two("'*.apps'", "deployments.apps"),
        path,
        "\"*.apps\" of an earlier entry",
    );
    refused(
        &two("'*.*'", "secrets"),
        path,
        "\"*.*\" of an earlier entry",
    );
    refused(&two("'*.*'", "'*.*'"), path, "\"*.*\" of an earlier entry");
    refused(&two("'*.'", "'*.'"), path, "\"*.\" of an earlier entry");
    refused(
        &two("'*.'", "deployments.apps, secrets"),
        "resources[1].resources[1]",
        "(line 6)",
    );
}
