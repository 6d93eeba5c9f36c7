//! Which providers a resource gets.

use kms_envelope::kubernetes::{ProviderConfiguration, resource_of_etcd_key};

use super::{SNAPSHOT, file, parse};

/// The names of the KMS providers of a resource.
fn names(entries: &[(&str, &str)], group: &str, resource: &str) -> Vec<String> {
    let list: Vec<_> = entries
        .iter()
        .map(|(resources, name)| {
            format!(
                "{{resources: [{resources}], providers: [{{kms: {{name: {name}, endpoint: 'unix:///a'}}}}]}}"
            )
        })
        .collect();
    parse(&file(&format!("[{}]", list.join(", "))))
        .providers_for(group, resource)
        .into_iter()
        .map(|provider| match provider {
            ProviderConfiguration::Kms(kms) => kms.name.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

const LAYERS: &[(&str, &str)] = &[
    ("secrets", "exact"),
    ("deployments.apps", "apps-exact"),
    ("'*.'", "core"),
    ("'*.apps'", "apps"),
    ("'*.*'", "all"),
];

#[test]
fn the_closest_rule_wins() {
    for (group, resource, wanted) in [
        ("", "secrets", "exact"),
        ("", "configmaps", "core"),
        ("apps", "deployments", "apps-exact"),
        ("apps", "statefulsets", "apps"),
        ("example.org", "secrets", "all"),
        ("example.org", "deployments", "all"),
        ("", "apiServerIPInfo", "core"),
    ] {
        assert_eq!(
            names(LAYERS, group, resource),
            [wanted],
            "{resource}.{group}"
        );
    }
}

#[test]
fn no_rule_means_no_provider() {
    let entries = &LAYERS[..4];
    assert!(names(entries, "example.org", "gadgets").is_empty());
    assert!(names(&LAYERS[..2], "", "configmaps").is_empty());
    assert!(names(&LAYERS[..1], "example.org", "secrets").is_empty());
}

#[test]
fn entries_for_the_same_resource_are_appended() {
    let entries = [
        ("secrets, configmaps", "first"),
        ("secrets", "second"),
        ("pods, secrets", "third"),
    ];
    assert_eq!(names(&entries, "", "secrets"), ["first", "second", "third"]);
    assert_eq!(names(&entries, "", "configmaps"), ["first"]);
}

#[test]
fn service_allocations_go_with_services() {
    let entries = [("services", "services"), ("'*.*'", "all")];
    for key in [
        "/registry/ranges/serviceips",
        "/registry/ranges/servicenodeports",
    ] {
        let resource = resource_of_etcd_key(key.as_bytes()).unwrap();
        assert_eq!(
            names(&entries, resource.group, resource.resource),
            ["services"]
        );
    }
}

#[test]
fn from_an_etcd_key_to_its_providers() {
    let configuration = parse(SNAPSHOT);
    for (key, count) in [
        ("/registry/secrets/ns/a", 6),
        ("/registry/snap.example/gadgets/ns/a", 6),
        ("/registry/pods/ns/a", 0),
        ("/registry/other.example/gadgets/ns/a", 0),
    ] {
        let resource = resource_of_etcd_key(key.as_bytes()).unwrap();
        let providers = configuration.providers_for(resource.group, resource.resource);
        assert_eq!(providers.len(), count, "{key}");
    }
}
