//! What is refused, and why.

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::kubernetes::plan::{
    KmsAnswer, PlanRequest, StoredObjects, StoredRow, Unchecked, plan, survey,
};

use super::{config, gcm, identity, keys, kinds, planned, purposes, stored, v1, v2, v2_at};
use crate::local;

const SECRETS: &[&str] = &["secrets"];

fn secrets(providers: &[serde_json::Value]) -> EncryptionConfiguration {
    config(&[(SECRETS, providers)])
}

#[test]
fn a_name_that_changes_its_meaning() {
    let other_key = |kind: &str| local(kind, &[("one", &[7; 32])]);
    for (from, to, kind) in [
        (
            keys("aescbc", &["one"]),
            other_key("aescbc"),
            "same_name_other_key",
        ),
        (gcm(&["one"]), other_key("aesgcm"), "same_name_other_key"),
        (
            keys("secretbox", &["one"]),
            other_key("secretbox"),
            "same_name_other_key",
        ),
        (v2("vault"), v2_at("vault", "elsewhere"), "kms_moved"),
        (v1("vault"), v2("vault"), "kms_version_changed"),
        (v2("vault"), v1("vault"), "kms_version_changed"),
    ] {
        let (from, to) = (secrets(&[from, identity()]), secrets(&[to, identity()]));
        let made = planned(Some(&from), &to);
        assert_eq!(kinds(&made), [kind]);
        assert!(made.steps.is_empty());
    }
}

#[test]
fn of_two_keys_of_one_name_neither_can_go_alone() {
    let both = local("aesgcm", &[("one", &[7; 32]), ("one", &[8; 32])]);
    let (both, one) = (
        secrets(&[both]),
        secrets(&[local("aesgcm", &[("one", &[7; 32])])]),
    );
    assert_eq!(kinds(&planned(Some(&both), &one)), ["same_name_other_key"]);
    assert_eq!(kinds(&planned(Some(&one), &both)), ["same_name_other_key"]);
    // Both may go, and both may stay.
    let other = secrets(&[v2("vault")]);
    assert!(!planned(Some(&both), &other).is_refused());
    assert!(!planned(Some(&both), &both).is_refused());
}

#[test]
fn cbc_keys_of_which_one_reads_the_others_values_do_not_come_together() {
    let from = secrets(&[keys("aescbc", &["a"])]);
    let to = secrets(&[keys("aescbc", &["a:b"])]);
    for (from, to) in [(&from, &to), (&to, &from)] {
        let made = planned(Some(from), to);
        assert_eq!(kinds(&made), ["confusable_names"]);
        let says = made.objections[0].to_string();
        let shorter_last = "`k8s:enc:aescbc:v1:a:b:` begin with `k8s:enc:aescbc:v1:a:`";
        assert!(says.contains(shorter_last), "{says}");
    }
    // Where they stand together already, that is how it is.
    let both = secrets(&[keys("aescbc", &["a:b", "a"])]);
    assert!(!planned(Some(&both), &both).is_refused());
    // The others notice.
    let (from, to) = (secrets(&[gcm(&["a"])]), secrets(&[gcm(&["a:b"])]));
    assert!(!planned(Some(&from), &to).is_refused());
}

#[test]
fn keys_of_one_name_do_not_come_together_by_sharing_an_entry() {
    // The two resources share the KMS, so that for a while they share all readers.
    let (a, b) = (
        local("aesgcm", &[("one", &[7; 32])]),
        local("aesgcm", &[("one", &[8; 32])]),
    );
    let from = config(&[(&["secrets", "configmaps"], &[v2("vault")])]);
    let to = config(&[(SECRETS, &[a]), (&["configmaps"], &[b])]);
    let made = planned(Some(&from), &to);
    assert!(made.is_refused(), "{made:?}");
}

/// A plugin that moves with its keys is said to.
#[test]
fn a_plugin_may_move_with_its_keys() {
    let (from, to) = (
        secrets(&[v2("vault"), identity()]),
        secrets(&[v2_at("vault", "elsewhere"), identity()]),
    );
    let request = PlanRequest::new(Some(&from), &to);
    assert_eq!(kinds(&plan(&request)), ["kms_moved"]);
    let made = plan(&request.with_same_keys("vault"));
    assert_eq!(purposes(&made).len(), 1, "{:?}", made.objections);
}

#[test]
fn a_kms_v2_name_in_two_entries() {
    let one = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let two = config(&[(&["secrets", "configmaps"], &[v2("vault"), identity()])]);
    for (from, to) in [(&one, &two), (&two, &one)] {
        let made = planned(Some(from), to);
        assert_eq!(kinds(&made), ["name_in_two_entries"]);
        let text = made.objections[0].to_string();
        assert!(
            text.contains("configmaps") && text.contains("secrets"),
            "{text}"
        );
    }
    // An exception from a wildcard parts what shares the name, too.
    let all = config(&[(&["*.*"], &[v2("vault"), identity()])]);
    let but_one = config(&[
        (&["events"], &[identity()]),
        (&["*.*"], &[v2("vault"), identity()]),
    ]);
    assert_eq!(
        kinds(&planned(Some(&all), &but_one)),
        ["name_in_two_entries"]
    );
    // KMS v1 and local keys may.
    let one = config(&[(SECRETS, &[v1("old"), identity()])]);
    let two = config(&[(&["secrets", "configmaps"], &[v1("old"), identity()])]);
    assert!(!planned(Some(&one), &two).is_refused());
}

#[test]
fn objects_that_nobody_can_read() {
    let (from, to) = (
        secrets(&[v2("vault"), identity()]),
        secrets(&[v2("hsm"), identity()]),
    );
    let census = stored(&[
        ("secrets", "k8s:enc:kms:v2:vault:", 7),
        ("secrets", "k8s:enc:aescbc:v1:ancient:", 2),
    ]);
    let made = plan(&PlanRequest::new(Some(&from), &to).with_stored(&census));
    assert_eq!(kinds(&made), ["not_readable_now"]);
    let text = made.objections[0].to_string();
    assert!(text.starts_with("2 objects of secrets"), "{text}");
    // Where the new configuration reads them, the plan is their rescue.
    let to = secrets(&[v2("hsm"), identity(), keys("aescbc", &["ancient"])]);
    let made = plan(&PlanRequest::new(Some(&from), &to).with_stored(&census));
    assert!(!made.is_refused(), "{:?}", made.objections);
    // Objects of another resource are another matter.
    let census = stored(&[("configmaps", "k8s:enc:kms:v2:vault:", 1)]);
    let made = plan(&PlanRequest::new(Some(&from), &to).with_stored(&census));
    assert_eq!(kinds(&made), ["not_readable_now"]);
}

#[test]
fn damaged_objects_under_what_is_to_go() {
    let from = secrets(&[v2("vault"), identity()]);
    let damaged = StoredRow::new("secrets", "k8s:enc:kms:v2:vault:", 1).with_damage(true);
    let census = StoredObjects::new(vec![damaged]);
    let with = |to: &EncryptionConfiguration| {
        plan(&PlanRequest::new(Some(&from), to).with_stored(&census))
    };
    assert_eq!(kinds(&with(&secrets(&[v2("hsm")]))), ["damaged"]);
    let kept = with(&secrets(&[v2("hsm"), v2("vault"), identity()]));
    assert!(!kept.is_refused(), "{:?}", kept.objections);
    assert!(kept.unchecked.contains(&Unchecked::Damage { objects: 1 }));
}

/// R15, R44: a key that only decrypts does not carry an API server over a restart.
#[test]
fn a_kms_that_answers_no_encrypt() {
    let (from, to) = (
        secrets(&[v2("vault"), identity()]),
        secrets(&[v2("hsm"), identity()]),
    );
    for name in ["vault", "hsm"] {
        let silent = KmsAnswer::Silent("KeyExpired".to_owned());
        let made = plan(&PlanRequest::new(Some(&from), &to).with_kms(name, silent));
        assert_eq!(kinds(&made), ["kms_does_not_answer"]);
        let text = made.objections[0].to_string();
        assert!(text.contains(name) && text.contains("KeyExpired"), "{text}");
    }
    // The remedy: nothing is under it, and no file of the plan has it.
    let from = secrets(&[v2("hsm"), v2("vault"), identity()]);
    let silent = KmsAnswer::Silent("KeyExpired".to_owned());
    let census = stored(&[("secrets", "k8s:enc:kms:v2:hsm:", 1)]);
    let request = PlanRequest::new(Some(&from), &to)
        .with_kms("vault", silent)
        .with_stored(&census);
    assert!(!plan(&request).is_refused());
}

#[test]
fn resources_of_the_census_go_where_the_configuration_puts_them() {
    let from = config(&[
        (&["gadgets.example.org", "services"], &[gcm(&["one"])]),
        (&["*.apps"], &[gcm(&["two"])]),
        (&["futures.later.k8s.io"], &[gcm(&["three"])]),
    ]);
    let ask = |resource: &str, prefix: &str| {
        let census = stored(&[(resource, prefix, 1)]);
        plan(&PlanRequest::new(Some(&from), &from).with_stored(&census))
    };
    for (resource, key) in [
        ("example.org/gadgets", "one"),
        ("services/specs", "one"),
        ("ranges/serviceips", "one"),
        ("deployments", "two"),
        // Not in the table, but in the configuration.
        ("futures", "three"),
        // Nobody knows it, and one wildcard reads it.
        ("unheard-of", "two"),
    ] {
        let made = ask(resource, &format!("k8s:enc:aesgcm:v1:{key}:"));
        assert!(!made.is_refused(), "{resource}: {:?}", made.objections);
        let is_unknown = matches!(made.unchecked.first(), Some(Unchecked::Resource { .. }));
        assert_eq!(is_unknown, resource.starts_with(['f', 'u']), "{resource}");
    }
    assert!(ask("pods", "k8s:enc:aesgcm:v1:one:").is_refused());
    assert!(ask("example.org/gadgets", "").is_refused());
    // Keys that are no objects' are nobody's business.
    assert!(!ask("", "k8s:enc:aesgcm:v1:nine:").is_refused());
}

#[test]
fn what_is_worth_knowing_of_one_configuration() {
    let kinds = |configuration: &EncryptionConfiguration| -> Vec<_> {
        let cautions = survey(configuration).cautions;
        cautions.iter().map(|it| it.kind()).collect()
    };
    assert_eq!(kinds(&secrets(&[identity()])), ["secrets_in_clear"]);
    assert_eq!(kinds(&secrets(&[v2("vault"), identity()])), [""; 0]);
    assert_eq!(kinds(&secrets(&[v2("vault")])), ["clear_is_unreadable"]);
    assert_eq!(kinds(&secrets(&[v1("old"), identity()])), ["kms_v1"]);
    assert_eq!(kinds(&secrets(&[gcm(&["a"]), identity()])), ["many_writes"]);
    let twice = config(&[
        (SECRETS, &[v1("old"), identity()]),
        (&["configmaps"], &[identity(), v1("old")]),
    ]);
    assert_eq!(kinds(&twice), ["kms_v1", "kms_v1_in_several_lists"]);
    let gadgets = config(&[(&["gadgets.example.org"], &[v2("vault"), identity()])]);
    assert_eq!(kinds(&gadgets), ["secrets_in_clear"]);
    for names in [["a", "a"], ["a", "a:b"]] {
        let cbc = local("aescbc", &[(names[0], &[1; 32]), (names[1], &[2; 32])]);
        let found = kinds(&secrets(&[cbc, identity()]));
        assert_eq!(found, ["unauthenticated", "cbc_names_overlap"], "{names:?}");
    }
}
