use kms_policy::evaluate::Verdict;
use kms_policy::generate::Profile;
use serde_json::json;

use crate::build::{self, EXTRA, POD, PROFILES, create, probe, verdict};

#[test]
pub(crate) fn a_container_that_is_added_changes_nothing_for_the_others() {
    for profile in PROFILES {
        let before = build::data(profile, POD);
        let after = build::data(profile, &format!("{POD}{EXTRA}"));
        let mut old = build::evaluator(profile, &before);
        let mut new = build::evaluator(profile, &after);
        for index in 0..3 {
            let request = create(&before, index);
            let mut wrong = request.clone();
            wrong["OCI"]["Process"]["Args"] = json!(["/extra"]);
            for (body, expected) in [(&request, Verdict::Allowed), (&wrong, Verdict::Denied)] {
                for evaluator in [&mut old, &mut new] {
                    let found = verdict(evaluator, "CreateContainer", body);
                    assert_eq!(found, expected, "{profile:?} {index}");
                }
            }
        }
        let extra = create(&after, 3);
        assert_eq!(
            verdict(&mut new, "CreateContainer", &extra),
            Verdict::Allowed
        );
        assert_eq!(
            verdict(&mut old, "CreateContainer", &extra),
            Verdict::Denied
        );
    }
}

#[test]
pub(crate) fn a_command_is_run_in_the_container_it_belongs_to() {
    for profile in PROFILES {
        let data = build::data(profile, &format!("{POD}{EXTRA}"));
        let mut evaluator = build::evaluator(profile, &data);
        let exec = |evaluator: &mut _, index: usize| {
            verdict(evaluator, "ExecProcess", &probe(&data, index))
        };
        if profile.has_state() {
            assert_eq!(exec(&mut evaluator, 2), Verdict::Denied, "not created yet");
        }
        for index in 0..4 {
            verdict(&mut evaluator, "CreateContainer", &create(&data, index));
        }
        assert_eq!(exec(&mut evaluator, 2), Verdict::Allowed, "{profile:?}");
        for (pointer, value) in [
            ("/process/Args/1", json!("--slow")),
            ("/process/Cwd", json!("/tmp")),
            ("/process/Env", json!(["PATH=/evil"])),
            (
                "/process/NoNewPrivileges",
                json!(
                    !data["containers"][2]["OCI"]["Process"]["NoNewPrivileges"]
                        .as_bool()
                        .unwrap()
                ),
            ),
            ("/process/Terminal", json!(true)),
            ("/process/User/UID", json!(0)),
            ("/process/User/GID", json!(77)),
        ] {
            let mut changed = probe(&data, 2);
            *changed.pointer_mut(pointer).unwrap() = value;
            let found = verdict(&mut evaluator, "ExecProcess", &changed);
            assert_eq!(found, Verdict::Denied, "{profile:?} {pointer}");
        }
        for (field, value) in [
            ("Capabilities", json!({"Bounding": ["CAP_CHOWN"]})),
            ("SelinuxLabel", json!("a:b")),
            ("ApparmorProfile", json!("a")),
        ] {
            let mut changed = probe(&data, 2);
            changed["process"][field] = value;
            let found = verdict(&mut evaluator, "ExecProcess", &changed);
            assert_eq!(found, Verdict::Denied, "{profile:?} {field}");
        }
        let mut changed = probe(&data, 2);
        changed["string_user"] = json!({"uid": "0"});
        assert_eq!(
            verdict(&mut evaluator, "ExecProcess", &changed),
            Verdict::Denied
        );
        if profile.has_state() {
            // Another container's probe.
            assert_eq!(exec(&mut evaluator, 3), Verdict::Denied, "{profile:?}");
            let id = json!({"container_id": probe(&data, 2)["container_id"]});
            assert_eq!(
                verdict(&mut evaluator, "RemoveContainer", &id),
                Verdict::Allowed
            );
            assert_eq!(exec(&mut evaluator, 2), Verdict::Denied, "removed");
        }
    }
}

#[test]
pub(crate) fn the_first_container_pins_what_the_pod_is() {
    for profile in [Profile::Aks3_15, Profile::Kata] {
        // Any namespace, and any name that a controller makes.
        let pod = POD
            .replace("  namespace: store\n", "")
            .replace("name: shop.v2\n", "generateName: shop.v\n");
        let data = build::data(profile, &pod);
        let named = |index: usize, name: &str, namespace: &str, network: Option<&str>| {
            let text = create(&data, index).to_string().replace("shop.v2", name);
            let mut request: serde_json::Value =
                serde_json::from_str(&text.replace("store_", &format!("{namespace}_"))).unwrap();
            request["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!(namespace);
            if let Some(path) = network {
                let namespaces = request["OCI"]["Linux"]["Namespaces"]
                    .as_array_mut()
                    .unwrap();
                namespaces.push(json!({"Type": "network", "Path": path}));
            }
            request
        };
        let mut evaluator = build::evaluator(profile, &data);
        let mut allowed =
            |request| verdict(&mut evaluator, "CreateContainer", &request) == Verdict::Allowed;
        assert!(
            allowed(named(0, "shop.vbcdfg", "one", Some("/run/netns/a"))),
            "{profile:?}"
        );
        assert!(
            allowed(named(2, "shop.vbcdfg", "one", Some("/run/netns/a"))),
            "{profile:?}"
        );
        assert!(
            !allowed(named(2, "shop.vbcdfh", "one", Some("/run/netns/a"))),
            "another name"
        );
        assert!(
            !allowed(named(2, "shop.vbcdfg", "two", Some("/run/netns/a"))),
            "another namespace"
        );
        assert!(
            !allowed(named(2, "shop.vbcdfg", "one", Some("/run/netns/b"))),
            "another network"
        );
        assert!(!allowed(named(2, "shop.vbcdfg", "one", None)), "no network");
        let state = evaluator.state().unwrap();
        assert_eq!(state["sandbox_name"], "shop.vbcdfg");
        assert_eq!(state["containers"].as_object().unwrap().len(), 2);
    }
}

#[test]
pub(crate) fn a_disk_is_passed_through_where_the_manifest_names_it() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        data["containers"][2]["devices"] = json!([{
            "id": "", "type_": "", "vm_path": "", "container_path": "/dev/data", "options": [],
        }]);
        let mut evaluator = build::evaluator(profile, &data);
        let mut allowed = |devices: serde_json::Value| {
            let mut request = create(&data, 2);
            request["devices"] = devices;
            verdict(&mut evaluator, "CreateContainer", &request) == Verdict::Allowed
        };
        let disk = json!({"id": "0", "type_": "blk", "vm_path": "/dev/sdb", "container_path": "/dev/data"});
        assert!(allowed(json!([disk])), "{profile:?}");
        assert!(allowed(json!([])), "{profile:?}");
        assert!(!allowed(json!([disk, disk])), "{profile:?}");
        for (field, value) in [("type_", "vfio-pci-gk"), ("container_path", "/dev/other")] {
            let mut disk = disk.clone();
            disk[field] = json!(value);
            assert!(!allowed(json!([disk])), "{profile:?} {field}");
        }

        // Devices of the runtime are those of the data as well.
        data["containers"][2]["OCI"]["Linux"]["Devices"] = json!([{"Path": "/dev/fuse"}]);
        for (path, expected) in [("/dev/fuse", true), ("/dev/mem", false)] {
            let mut request = create(&data, 2);
            request["OCI"]["Linux"]["Devices"] = json!([{"Path": path}]);
            let mut evaluator = build::evaluator(profile, &data);
            let verdict = verdict(&mut evaluator, "CreateContainer", &request);
            assert_eq!(verdict == Verdict::Allowed, expected, "{profile:?} {path}");
        }
    }
}
