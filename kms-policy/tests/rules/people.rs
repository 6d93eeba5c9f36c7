//! What a person is told of a policy.

use kms_policy::Policy;
use kms_policy::diff::diff;
use kms_policy::document::PolicyDocument;
use kms_policy::explain::{ImageProof, explain};
use kms_policy::generate::Profile;
use kms_policy::lint::{Severity, lint};
use kms_policy::rules::{Rules, RulesOrigin};
use serde_json::{Value, json};

use crate::build::{self, EXTRA, POD, PROFILES};

fn policy(profile: Profile, data: &Value) -> Policy {
    let text = format!(
        "{}\npolicy_data := {data:#}",
        Rules::built_in(profile).text()
    );
    Policy::from_text(text)
}

fn document(profile: Profile, yaml: &str) -> PolicyDocument {
    PolicyDocument::parse(&policy(profile, &build::data(profile, yaml))).unwrap()
}

#[test]
fn a_policy_tells_whom_it_is_for_and_what_its_containers_may_do() {
    for profile in PROFILES {
        let document = document(profile, POD);
        assert_eq!(document.profile(), profile);
        let explanation = explain(&document);
        let names: Vec<_> = explanation.containers.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["pause", "prepare", "web"]);
        let web = &explanation.containers[2];
        assert_eq!((web.user, web.group), (1000, 1000));
        assert_eq!(web.capabilities, ["NET_BIND_SERVICE"]);
        assert!(!web.root_is_writable && !web.is_privileged);
        assert_eq!(web.commands, ["/check --fast"]);
        assert!(web.variables.contains(&"GREETING".to_owned()));
        assert!(web.shared_with_host.contains(&"/etc/hosts".to_owned()));
        let is_proved = web.proof == ImageProof::RootHashes;
        assert_eq!(is_proved, profile != Profile::Kata);
        assert_eq!(explanation.guest_pulls_images, profile == Profile::Kata);
        let text = explanation.to_string();
        for part in [
            "2 container(s)",
            "web",
            "1000:1000",
            "NET_BIND_SERVICE",
            "read-only",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("hello"), "values are not shown");
    }
}

#[test]
fn a_difference_is_told_by_container_and_field_and_order_is_none() {
    for profile in PROFILES {
        let before = document(profile, POD);
        assert_eq!(diff(&before, &before), []);
        let reordered = POD.replace("        - {name: GREETING, value: hello}\n", "");
        let reordered = reordered.replace(
            "      securityContext:\n        readOnlyRoot",
            "        - {name: GREETING, value: hello}\n      securityContext:\n        readOnlyRoot",
        );
        assert_eq!(diff(&before, &document(profile, &reordered)), []);
        let changed = POD.replace("value: hello", "value: s3cret").replace(
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
        );
        let changes = diff(&before, &document(profile, &changed));
        let fields: Vec<_> = changes.iter().map(|it| &*it.field).collect();
        assert!(fields.contains(&"OCI.Process.Env[GREETING]"), "{fields:?}");
        assert!(fields.contains(&"OCI.Root.Readonly"), "{fields:?}");
        assert!(
            changes
                .iter()
                .all(|it| it.container.as_deref() == Some("web"))
        );
        assert!(changes.iter().all(|it| !it.to_string().contains("s3cret")));
        let more = diff(&before, &document(profile, &format!("{POD}{EXTRA}")));
        assert_eq!(more.len(), 1, "{more:?}");
        assert_eq!(more[0].container.as_deref(), Some("extra"));
        assert_eq!(
            (more[0].before.is_none(), more[0].after.is_some()),
            (true, true)
        );
    }
}

/// The findings of a pod whose data were changed so, by code and severity.
fn findings(
    profile: Profile,
    yaml: &str,
    change: impl Fn(&mut Value),
) -> Vec<(&'static str, Severity)> {
    let mut data = build::data(profile, yaml);
    change(&mut data);
    let findings = lint(&policy(profile, &data)).unwrap();
    findings
        .into_iter()
        .map(|it| (it.code, it.severity))
        .collect()
}

#[test]
fn doubtful_things_are_found_and_no_others() {
    let has = |found: &[(&str, Severity)], code: &str| found.iter().any(|(it, _)| *it == code);
    let plain = findings(Profile::Kata, POD, |_| {});
    for code in [
        "unpinned-image",
        "image-unproved",
        "exec-allowed",
        "files-unchecked",
        "may-lack",
    ] {
        assert!(has(&plain, code), "{code}");
    }
    for code in [
        "wildcard-env",
        "secret-in-clear",
        "long-line",
        "size",
        "open-request",
        "privileged",
        "missing-env",
        "dialect",
        "lenient",
        "guest-path",
        "exec-joined",
        "unknown-rules",
        "open-rule",
    ] {
        assert!(!has(&plain, code), "{code}: {plain:?}");
    }
    let proved = findings(Profile::AksAzl3, POD, |_| {});
    assert!(!has(&proved, "image-unproved"), "{proved:?}");
    assert!(
        has(&proved, "exec-joined") && has(&proved, "open-request"),
        "{proved:?}"
    );
    assert!(proved.is_sorted_by(|a, b| a.1 >= b.1), "the worst first");
    let changed = |pod: &str| findings(Profile::Kata, pod, |_| {});
    let secret = POD.replace("name: GREETING", "name: DB_PASSWORD");
    assert!(changed(&secret).contains(&("secret-in-clear", Severity::Error)));
    let wildcard = POD.replace("status.podIP", "\"metadata.annotations['x']\"");
    assert!(has(&changed(&wildcard), "wildcard-env"));
    let privileged = POD.replace("readOnlyRootFilesystem: true", "privileged: true");
    let privileged = privileged.replace("capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}", "");
    assert!(has(&changed(&privileged), "privileged"));
    let long = POD.replace("[/prepare]", &format!("[/prepare, {}]", "x".repeat(1100)));
    assert!(has(&changed(&long), "long-line"));
    let missing = POD.replace("a$$b", "$(NOWHERE)");
    assert!(has(&changed(&missing), "missing-env"));
    let settings = |name: &'static str, value: Value| {
        findings(Profile::Kata, POD, |data| {
            *data["request_defaults"].pointer_mut(name).unwrap() = value.clone();
        })
    };
    assert!(has(
        &settings("/WriteStreamRequest", json!(true)),
        "open-request"
    ));
    assert!(has(
        &settings("/ExecProcessRequest/allowed_commands", json!([["sh"]])),
        "exec-allowed"
    ));
    assert!(has(
        &settings("/CreateContainerRequest/allow_env_regex", json!([".*"])),
        "wildcard-env"
    ));
    let large = findings(Profile::Kata, POD, |data| {
        data["common"]["note"] = json!(vec!["x".repeat(900); 110]);
    });
    assert!(large.contains(&("size", Severity::Warning)), "{large:?}");
}

#[test]
fn rules_of_one_dialect_are_told() {
    let text = "package agent_policy\n\nCopyFileRequest { input.path }\n\npolicy_data := {}";
    let found = lint(&Policy::from_text(text)).unwrap();
    let dialect: Vec<_> = found.iter().filter(|it| it.code == "dialect").collect();
    assert_eq!(dialect.len(), 1, "{found:?}");
    assert!(
        dialect[0].message.contains("newer"),
        "{}",
        dialect[0].message
    );
    let text = "package agent_policy\n\nCopyFileRequest if input.path\n\npolicy_data := {}";
    let found = lint(&Policy::from_text(text)).unwrap();
    assert!(
        found
            .iter()
            .any(|it| it.code == "dialect" && it.message.contains("older")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|it| it.code == "unknown-rules"),
        "{found:?}"
    );
    let text =
        "package agent_policy\ndefault AllowRequestsFailingPolicy := true\npolicy_data := {}";
    let found = lint(&Policy::from_text(text)).unwrap();
    assert!(found.iter().any(|it| it.code == "lenient"), "{found:?}");
}

/// A policy that opens everything is not to be told as one that opens nothing.
#[test]
fn rules_that_open_everything_are_told_first() {
    let data = build::data(Profile::Kata, POD);
    let ours = Rules::built_in(Profile::Kata);
    let opened = ours.text().replace(
        "default ExecProcessRequest := false",
        "default ExecProcessRequest := true",
    );
    assert_ne!(opened, ours.text());
    let behind = format!(
        "{}\npolicy_data := {data:#}\ndefault SetPolicyRequest := true\n",
        ours.text()
    );
    for (text, name) in [
        (
            format!("{opened}\npolicy_data := {data:#}"),
            "ExecProcessRequest",
        ),
        (behind, "SetPolicyRequest"),
    ] {
        let policy = Policy::from_text(text);
        let found = lint(&policy).unwrap();
        assert!(
            found
                .iter()
                .any(|it| it.code == "open-rule" && it.message.contains(name)),
            "{found:?}"
        );
        let explanation = explain(&PolicyDocument::parse(&policy).unwrap());
        assert_eq!(explanation.rules, RulesOrigin::Unknown);
        assert!(explanation.opened_by_rules.contains(&name.to_owned()));
        assert!(
            explanation
                .to_string()
                .starts_with("ITS RULES ARE NOT KNOWN")
        );
    }
    let known = explain(&document(Profile::Kata, POD));
    assert_eq!(known.rules, RulesOrigin::BuiltIn);
}
