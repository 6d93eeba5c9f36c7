//! The changes that operators make, and the steps to each.

use kms_envelope::kubernetes::EncryptionConfiguration;
use kms_envelope::kubernetes::plan::{
    Action, Check, KmsAnswer, PlanRequest, Purpose, Rollout, Unchecked, WayBack, plan,
};

use super::fleet::World;
use super::{config, file, gcm, identity, keys, planned, purposes, stored, text_of, v1, v2, v2_at};
use Purpose::{AddReaders, DropReaders, Migrate, SwitchWriter, Tidy};

struct Scenario {
    name: &'static str,
    from: Option<EncryptionConfiguration>,
    to: EncryptionConfiguration,
    steps: &'static [Purpose],
}

const SECRETS: &[&str] = &["secrets"];

fn scenarios() -> Vec<Scenario> {
    let scenario = |name, from, to, steps| Scenario {
        name,
        from,
        to,
        steps,
    };
    vec![
        scenario(
            "R21, R22: enabled for the first time",
            None,
            config(&[(SECRETS, &[v2("vault"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate],
        ),
        scenario(
            "enabled, and nothing in clear is read any more",
            None,
            config(&[(SECRETS, &[v2("vault")])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "R24: a local key rotated, the old one kept for a while",
            Some(config(&[(SECRETS, &[gcm(&["one"]), identity()])])),
            config(&[(SECRETS, &[gcm(&["two", "one"]), identity()])]),
            &[AddReaders, SwitchWriter, Migrate],
        ),
        scenario(
            "R24, R27: a local key rotated, and the old one gone",
            Some(config(&[(SECRETS, &[gcm(&["one"]), identity()])])),
            config(&[(SECRETS, &[gcm(&["two"]), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "R12, R34: another KMS",
            Some(config(&[(SECRETS, &[v2("vault"), identity()])])),
            config(&[(SECRETS, &[v2("hsm"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "a KMS renamed at its socket",
            Some(config(&[(SECRETS, &[v2("vault"), identity()])])),
            config(&[(SECRETS, &[v2_at("vault-2", "vault"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "aescbc to KMS",
            Some(config(&[(SECRETS, &[keys("aescbc", &["k"]), identity()])])),
            config(&[(SECRETS, &[v2("vault"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "R40: KMS v1 to v2 at one socket",
            Some(config(&[(SECRETS, &[v1("old"), identity()])])),
            config(&[(SECRETS, &[v2_at("new", "old"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "R37: disabled",
            Some(config(&[(SECRETS, &[v2("vault"), identity()])])),
            config(&[(SECRETS, &[identity()])]),
            &[SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "R37: disabled where nothing in clear was read",
            Some(config(&[(SECRETS, &[v2("vault")])])),
            config(&[(SECRETS, &[identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "a resource more, under a name of its own",
            Some(config(&[(SECRETS, &[v2("vault"), identity()])])),
            config(&[
                (SECRETS, &[v2("vault"), identity()]),
                (&["configmaps"], &[v2_at("vault-2", "vault"), identity()]),
            ]),
            &[AddReaders, SwitchWriter, Migrate],
        ),
        scenario(
            "a resource less",
            Some(config(&[
                (SECRETS, &[v2("vault"), identity()]),
                (&["configmaps"], &[gcm(&["one"]), identity()]),
            ])),
            config(&[(SECRETS, &[v2("vault"), identity()])]),
            &[SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "two resources of one entry to another KMS",
            Some(config(&[(
                &["secrets", "configmaps"],
                &[v2("vault"), identity()],
            )])),
            config(&[(&["secrets", "configmaps"], &[v2("hsm"), identity()])]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "what was named becomes what a wildcard covers",
            Some(config(&[(SECRETS, &[gcm(&["one"]), identity()])])),
            config(&[(&["*.*"], &[gcm(&["one"]), identity()])]),
            &[AddReaders, SwitchWriter, Migrate],
        ),
        scenario(
            "the order changes which of two writes",
            Some(config(&[(SECRETS, &[gcm(&["one"]), v2("vault")])])),
            config(&[(SECRETS, &[v2("vault"), gcm(&["one"])])]),
            &[SwitchWriter, Migrate],
        ),
        scenario(
            "the order changes which of two reads first",
            Some(config(&[(
                SECRETS,
                &[v2("vault"), gcm(&["one"]), identity()],
            )])),
            config(&[(SECRETS, &[v2("vault"), identity(), gcm(&["one"])])]),
            &[Tidy],
        ),
        scenario(
            "identity goes",
            Some(config(&[(SECRETS, &[gcm(&["one"]), identity()])])),
            config(&[(SECRETS, &[gcm(&["one"])])]),
            &[Migrate, DropReaders],
        ),
        scenario(
            "two resources share an entry, and one of them stands in another, too",
            Some(config(&[(&["secrets", "configmaps"], &[gcm(&["one"])])])),
            config(&[
                (&["secrets", "configmaps"], &[v2("vault"), gcm(&["one"])]),
                (SECRETS, &[identity()]),
            ]),
            &[AddReaders, SwitchWriter, Migrate, Tidy],
        ),
        scenario(
            "an entry with a name and a wildcard, and the exception from that in another",
            Some(config(&[
                (&["deployments.apps"], &[gcm(&["one"])]),
                (&["secrets", "*.apps"], &[v2("vault"), identity()]),
            ])),
            config(&[
                (&["deployments.apps"], &[gcm(&["one"])]),
                (&["secrets", "*.apps"], &[v2("hsm"), identity()]),
            ]),
            &[AddReaders, SwitchWriter, Migrate, DropReaders],
        ),
        scenario(
            "a reader more",
            Some(config(&[(SECRETS, &[gcm(&["one"])])])),
            config(&[(SECRETS, &[gcm(&["one"]), identity()])]),
            &[Tidy],
        ),
    ]
}

#[test]
fn every_scenario_has_its_steps_and_can_be_walked() {
    for scenario in scenarios() {
        let made = planned(scenario.from.as_ref(), &scenario.to);
        assert_eq!(
            purposes(&made),
            scenario.steps,
            "{}: {:?}",
            scenario.name,
            made.objections
        );
        let mut world = World::new();
        world.populate(scenario.from.as_ref());
        let steps: Vec<_> = made.steps.iter().collect();
        world
            .walk(
                scenario.from.as_ref(),
                &steps,
                &scenario.to,
                Rollout::Rolling,
                [2, 0, 1],
            )
            .unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
    }
}

/// R23, R25: what must hold before each step, and what is undone how.
#[test]
fn each_step_says_what_to_check_and_the_way_back() {
    let from = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let to = config(&[(SECRETS, &[v2("hsm"), identity()])]);
    let census = stored(&[("secrets", "k8s:enc:kms:v2:vault:", 7), ("pods", "", 3)]);
    let request = PlanRequest::new(Some(&from), &to).with_stored(&census);
    let made = plan(&request);
    assert_eq!(made.unchecked.len(), 1, "{:?}", made.unchecked);
    let [readers, switch, migrate, drop] = made.steps.as_slice() else {
        panic!("{made:?}");
    };

    let hsm = vec!["hsm".to_owned()];
    assert_eq!(
        readers.checks,
        [
            Check::ConfigurationTaken,
            Check::KmsHealthy { names: hsm.clone() }
        ]
    );
    assert_eq!(readers.way_back, WayBack::PreviousFile);

    let Check::WritesWith { kms, prefixes } = &switch.checks[1] else {
        panic!("{switch:?}");
    };
    assert_eq!((kms, prefixes.len()), (&hsm, 0));
    assert_eq!(switch.way_back, WayBack::PreviousFile);

    let Action::Migrate(migration) = &migrate.action else {
        panic!("{migrate:?}");
    };
    assert_eq!(migration.resources, SECRETS);
    assert_eq!((migration.objects, migration.is_required), (Some(7), true));
    let Check::NoObjectsUnder { under } = &migrate.checks[0] else {
        panic!("{migrate:?}");
    };
    assert_eq!(under[0].prefix, "k8s:enc:kms:v2:vault:");
    assert_eq!(migrate.checks[1], Check::HistoryCompacted);

    let Action::Configure(file) = &drop.action else {
        panic!("{drop:?}");
    };
    assert!(file.is_target);
    assert_eq!(file.resources.len(), 1);
    assert_eq!(file.resources[0].writes, "kms-v2 hsm");
    let cautions: Vec<_> = made.cautions.iter().map(|it| it.kind()).collect();
    assert_eq!(cautions, ["kms_needed_to_the_last"]);
}

#[test]
fn the_files_in_between_read_what_both_ends_read() {
    let from = config(&[(SECRETS, &[gcm(&["one"]), identity()])]);
    let to = config(&[(SECRETS, &[v2("vault")])]);
    let made = planned(Some(&from), &to);
    let texts: Vec<_> = made
        .steps
        .iter()
        .filter_map(|it| text_of(&it.action))
        .collect();
    let lists: Vec<Vec<String>> = texts
        .iter()
        .map(|text| {
            let configuration = EncryptionConfiguration::parse(text).unwrap();
            let made = kms_envelope::kubernetes::plan::survey(&configuration);
            let secrets = &made.resources[0];
            assert_eq!(secrets.resource, "secrets");
            let mut all = vec![secrets.writes.clone()];
            all.extend(secrets.reads.iter().cloned());
            all
        })
        .collect();
    assert_eq!(lists[0], ["aesgcm one", "identity", "kms-v2 vault"]);
    assert_eq!(lists[1], ["kms-v2 vault", "aesgcm one", "identity"]);
    assert_eq!(lists[2], ["kms-v2 vault"]);
    assert!(texts[0].starts_with("# Step add-readers"), "{}", texts[0]);
}

/// R16, R24: KMS v2 follows its plugin's key, and KMS v1 does not say its key.
#[test]
fn a_rotation_inside_a_kms_is_no_change_of_the_configuration() {
    let same = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let made = planned(Some(&same), &same);
    assert!(made.steps.is_empty() && !made.is_refused());
    assert_eq!(made.cautions[0].kind(), "nothing_to_plan");
    assert_eq!(made.cautions.len(), 1);
    let same = config(&[(SECRETS, &[v1("old"), identity()])]);
    let made = planned(Some(&same), &same);
    assert_eq!(made.cautions[1].kind(), "kms_v1_rotation_rewrites_nothing");
}

#[test]
fn a_longer_time_out_is_one_step() {
    let from = config(&[(SECRETS, &[v2("vault")])]);
    let text = file(&[(SECRETS, &[v2("vault")])])
        .replace("\"endpoint\"", "\"timeout\":\"5s\",\"endpoint\"");
    let to = EncryptionConfiguration::parse(&text).unwrap();
    let made = planned(Some(&from), &to);
    assert_eq!(purposes(&made), [Tidy]);
    assert!(
        text_of(&made.steps[0].action)
            .unwrap()
            .contains("timeout: 5s")
    );
}

/// R15, R37: what disabling leaves behind.
#[test]
fn disabling_says_what_will_be_in_clear() {
    let from = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let to = config(&[(SECRETS, &[identity()])]);
    let made = planned(Some(&from), &to);
    let cautions: Vec<_> = made.cautions.iter().map(ToString::to_string).collect();
    assert!(cautions[0].contains("in clear"), "{cautions:?}");
    assert!(cautions.iter().any(|it| it.contains("not only Decrypt")));
}

/// The census counts nothing under the provider that goes, and still somebody may write there
/// until every server has the new file.
#[test]
fn nothing_to_rewrite_is_still_looked_at_before_a_drop() {
    let from = config(&[(SECRETS, &[gcm(&["one"]), identity()])]);
    let to = config(&[(SECRETS, &[gcm(&["one"])])]);
    let census = stored(&[("secrets", "k8s:enc:aesgcm:v1:one:", 9)]);
    let made = plan(&PlanRequest::new(Some(&from), &to).with_stored(&census));
    assert_eq!(purposes(&made), [Migrate, DropReaders]);
    let Action::Migrate(migration) = &made.steps[0].action else {
        panic!("{made:?}");
    };
    assert_eq!(migration.objects, Some(0));
    assert!(made.unchecked.is_empty());
}

#[test]
fn without_a_census_a_plan_says_that_it_could_not_look() {
    let to = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let made = planned(None, &to);
    assert!(made.unchecked.contains(&Unchecked::Census));
    let asked = PlanRequest::new(None, &to).with_kms("vault", KmsAnswer::Answers);
    assert_eq!(plan(&asked).unchecked, [Unchecked::Census]);
}

/// One API server, or a time without any: what cannot be done one by one.
#[test]
fn all_at_once_brings_a_second_resource_under_one_name() {
    let from = config(&[(SECRETS, &[v2("vault"), identity()])]);
    let to = config(&[(&["secrets", "configmaps"], &[v2("vault"), identity()])]);
    assert!(planned(Some(&from), &to).is_refused());
    let made = plan(&PlanRequest::new(Some(&from), &to).with_rollout(Rollout::AllAtOnce));
    assert_eq!(
        purposes(&made),
        [SwitchWriter, Migrate],
        "{:?}",
        made.objections
    );
    assert_eq!(made.steps[0].way_back, WayBack::OnlyForward);
    let mut world = World::new();
    world.populate(Some(&from));
    let steps: Vec<_> = made.steps.iter().collect();
    world
        .walk(Some(&from), &steps, &to, Rollout::AllAtOnce, [0, 1, 2])
        .unwrap();
    // Where it can be done one by one, the way back is kept.
    let to = config(&[(SECRETS, &[v2("hsm"), identity()])]);
    let made = plan(&PlanRequest::new(Some(&from), &to).with_rollout(Rollout::AllAtOnce));
    assert_eq!(purposes(&made)[0], AddReaders);
}

/// The remedy of a refusal works: by way of a local key, one name becomes two.
#[test]
fn a_local_key_in_between_parts_what_shares_a_kms() {
    let from = config(&[(&["secrets", "configmaps"], &[v2("vault"), identity()])]);
    let between = config(&[(
        &["secrets", "configmaps"],
        &[keys("secretbox", &["bridge"]), identity()],
    )]);
    let to = config(&[
        (SECRETS, &[v2("vault"), identity()]),
        (&["configmaps"], &[v2_at("vault-2", "vault"), identity()]),
    ]);
    assert_eq!(
        super::kinds(&planned(Some(&from), &to)),
        ["name_in_two_entries"]
    );
    let mut world = World::new();
    world.populate(Some(&from));
    for (from, to) in [(&from, &between), (&between, &to)] {
        let made = planned(Some(from), to);
        assert!(!made.is_refused(), "{:?}", made.objections);
        let steps: Vec<_> = made.steps.iter().collect();
        world
            .walk(Some(from), &steps, to, Rollout::Rolling, [0, 1, 2])
            .unwrap();
    }
}
