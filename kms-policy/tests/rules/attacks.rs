//! What a hostile reader of the rules has tried: each was let through once.

use kms_policy::evaluate::Verdict;
use kms_policy::generate::Profile;
use kms_policy::rules::Rules;
use serde_json::{Value, json};

use crate::build::{self, POD, PROFILES, create, verdict};

pub(crate) fn judged(profile: Profile, data: &Value, request: &Value) -> bool {
    let mut evaluator = build::evaluator(profile, data);
    verdict(&mut evaluator, "CreateContainer", request) == Verdict::Allowed
}

/// The pod with its one command, image and variables replaced.
pub(crate) fn pod(web: &str) -> String {
    let (head, _) = POD.split_once("    - name: web\n").unwrap();
    format!("{head}    - name: web\n      image: registry.example/web:1\n{web}")
}

/// An engine may be built without case folding or classes of Unicode; then such a pattern is no
/// error, but neither true nor false.
#[test]
fn no_pattern_needs_what_an_engine_may_lack() {
    for profile in PROFILES {
        for lacking in ["(?i", r"\p", r"\w", r"\d", r"\b", "not regex.match"] {
            let rules = Rules::built_in(profile);
            let uses: Vec<_> = rules
                .text()
                .lines()
                .filter(|line| line.contains(lacking) && !line.contains("localhost"))
                .collect();
            assert!(uses.is_empty(), "{uses:?}");
        }
    }
}

#[test]
pub(crate) fn a_container_takes_no_others_place() {
    for profile in PROFILES {
        let data = build::data(profile, POD);
        let (pause, prepare, web) = (create(&data, 0), create(&data, 1), create(&data, 2));
        let mut evaluator = build::evaluator(profile, &data);
        let mut allowed = |request: &Value| {
            verdict(&mut evaluator, "CreateContainer", request) == Verdict::Allowed
        };
        assert!(allowed(&pause) && allowed(&prepare), "{profile:?}");
        // Its id is another's, and so is what may be run in that one.
        let mut same_id = web.clone();
        same_id["container_id"] = prepare["container_id"].clone();
        assert!(!allowed(&same_id), "{profile:?}");
        // Its root is another's.
        let bundle = |request: &Value| request["container_id"].as_str().unwrap().to_owned();
        let text = web.to_string().replace(&bundle(&web), &bundle(&prepare));
        let mut same_bundle: Value = serde_json::from_str(&text).unwrap();
        same_bundle["container_id"] = json!("x");
        assert!(!allowed(&same_bundle), "{profile:?}");
        assert!(allowed(&web), "{profile:?}");
    }
}

#[test]
pub(crate) fn what_is_removed_leaves_its_place() {
    for profile in [Profile::Aks3_15, Profile::Kata] {
        let data = build::data(profile, POD);
        let (prepare, web) = (create(&data, 1), create(&data, 2));
        let mut evaluator = build::evaluator(profile, &data);
        let id = prepare["container_id"].clone();
        for request in [&prepare, &web] {
            let created = verdict(&mut evaluator, "CreateContainer", request);
            assert_eq!(created, Verdict::Allowed);
        }
        let gone = json!({"container_id": id});
        let removed = verdict(&mut evaluator, "RemoveContainerRequest", &gone);
        assert_eq!(removed, Verdict::Allowed);
        // The other one keeps its own.
        let state = evaluator.state().unwrap();
        for held in [&state["containers"], &state["bundles"]] {
            let names: Vec<_> = held.as_object().unwrap().keys().collect();
            assert_eq!(names, [web["container_id"].as_str().unwrap()]);
        }
        let text = web.to_string();
        let other = text.replace(web["container_id"].as_str().unwrap(), id.as_str().unwrap());
        let other = serde_json::from_str(&other).unwrap();
        let again = verdict(&mut evaluator, "CreateContainer", &other);
        assert_eq!(again, Verdict::Allowed, "{profile:?}");
    }
}

#[test]
pub(crate) fn more_of_the_kernel_may_be_hidden_and_nothing_of_the_image() {
    for profile in PROFILES {
        let data = build::data(profile, POD);
        for field in ["MaskedPaths", "ReadonlyPaths"] {
            for (path, expected) in [
                ("/sys/devices/virtual/powercap", true),
                ("/proc/interrupts", true),
                ("/etc/app/auth.conf", false),
                ("/usr/bin", false),
                ("/proc/../etc", false),
                ("/process", false),
            ] {
                let mut request = create(&data, 2);
                let paths = request["OCI"]["Linux"][field].as_array_mut().unwrap();
                paths.push(json!(path));
                assert_eq!(
                    judged(profile, &data, &request),
                    expected,
                    "{profile:?} {path}"
                );
            }
        }
    }
}

#[test]
pub(crate) fn of_a_variable_that_stands_twice_the_last_counts() {
    let pod = pod(
        "      command: [/serve]\n      env:\n        - {name: PATH, value: /safe}\n        - {name: HOSTNAME, value: fixed}\n",
    );
    for profile in PROFILES {
        let data = build::data(profile, &pod);
        let mut request = create(&data, 2);
        let mut with = |env: Value| {
            request["OCI"]["Process"]["Env"] = env;
            judged(profile, &data, &request)
        };
        assert!(with(json!(["PATH=/safe", "HOSTNAME=fixed"])), "{profile:?}");
        assert!(!with(json!(["PATH=/bin", "HOSTNAME=fixed"])), "{profile:?}");
        assert!(
            !with(json!(["PATH=/safe", "HOSTNAME=other"])),
            "{profile:?}"
        );
    }
}

/// What the kubelet makes of `$$` and of references to other variables.
#[test]
pub(crate) fn variables_are_resolved_as_kubernetes_does() {
    let pod = pod(
        "      command: [/serve, $$(OPTS), $(OPTS)]\n      env:\n        - {name: OPTS, value: -Da=b}\n        - {name: CMD, value: run $(OPTS)}\n        - {name: COST, value: pa$$word}\n        - {name: SELF, value: $(SELF)}\n        - {name: LEFT, value: $(RIGHT)}\n        - {name: RIGHT, value: $(LEFT)}\n        - name: ADDRESS\n          valueFrom: {fieldRef: {fieldPath: status.podIP}}\n        - {name: URL, value: \"http://$(ADDRESS):80\"}\n",
    );
    for profile in PROFILES {
        let data = build::data(profile, &pod);
        let mut request = create(&data, 2);
        request["OCI"]["Process"]["Args"] = json!(["/serve", "$(OPTS)", "-Da=b"]);
        request["OCI"]["Process"]["Env"] = json!([]);
        let base = request.clone();
        let with = |variables: &[&str]| {
            let mut request = base.clone();
            request["OCI"]["Process"]["Env"] = json!(variables);
            judged(profile, &data, &request)
        };
        assert!(
            with(&["OPTS=-Da=b", "CMD=run -Da=b", "COST=pa$word"]),
            "{profile:?}"
        );
        assert!(!with(&["OPTS=-Da=b", "CMD=run -Da=c"]), "{profile:?}");
        assert!(!with(&["OPTS=-Da=b", "COST=pa-word"]), "{profile:?}");
        assert!(!with(&["OPTS=-Da=b", "SELF=anything"]), "{profile:?}");
        assert!(
            !with(&["OPTS=-Da=b", "LEFT=anything", "RIGHT=anything"]),
            "{profile:?}"
        );
        assert!(!with(&["OPTS=-Da=b", "LEFT=$(LEFT)"]), "{profile:?}");
        assert!(
            with(&["OPTS=-Da=b", "ADDRESS=10.0.0.7", "URL=http://10.0.0.7:80"]),
            "{profile:?}"
        );
        assert!(
            !with(&["OPTS=-Da=b", "ADDRESS=10.0.0.7", "ADDRESS=10.0.0.8"]),
            "{profile:?}: it would be the program that chooses"
        );
        for url in ["10.0.0.7.x", "evil", ""] {
            let url = format!("URL=http://{url}:80");
            assert!(
                !with(&["OPTS=-Da=b", "ADDRESS=10.0.0.7", &url]),
                "{profile:?} {url}"
            );
        }
        let mut escaped = base.clone();
        escaped["OCI"]["Process"]["Env"] = json!(["OPTS=-Da=b"]);
        assert!(judged(profile, &data, &escaped), "{profile:?}");
        escaped["OCI"]["Process"]["Args"] = json!(["/serve", "$-Da=b", "-Da=b"]);
        assert!(!judged(profile, &data, &escaped), "{profile:?}");
    }
}

/// A script of many lines with one placeholder: no engine makes an expression of all of it.
#[test]
pub(crate) fn a_long_text_may_hold_a_placeholder() {
    let script = format!(
        "{} $(POD) {} $(POD)",
        "a.b*".repeat(3_000),
        "c|d ".repeat(2_000)
    );
    let pod = pod(&format!(
        "      command: [sh, -c, \"{script}\"]\n      env:\n        - name: POD\n          valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}\n"
    ));
    for profile in PROFILES {
        let data = build::data(profile, &pod);
        let request = create(&data, 2);
        assert!(judged(profile, &data, &request), "{profile:?}");
        let text = request["OCI"]["Process"]["Args"][2]
            .as_str()
            .unwrap()
            .to_owned();
        for wrong in [
            text.replacen("a.b*", "aXb*", 1),
            text.replacen("c|d ", "c", 1),
            text.replacen("shop.v2", "shop", 1),
            format!("{text}x"),
            format!("x{text}"),
            text.replace("shop.v2", "\u{2}0\u{2}"),
            text.replace(&format!("{} ", "a.b*".repeat(3_000)), "\u{2}0\u{2}"),
        ] {
            let mut request = request.clone();
            request["OCI"]["Process"]["Args"][2] = json!(wrong);
            assert!(!judged(profile, &data, &request), "{profile:?}");
        }
    }
}

#[test]
pub(crate) fn two_disks_are_not_one() {
    let pod = pod(
        "      command: [/serve]\n      volumeMounts:\n        - {name: scratch, mountPath: /uploads}\n        - {name: plugins, mountPath: /plugins}\n",
    )
    .replace(
        "    - name: fast\n",
        "    - name: plugins\n      emptyDir: {}\n    - name: fast\n",
    );
    let profile = Profile::Kata;
    let data = build::data(profile, &pod);
    let request = create(&data, 2);
    assert!(judged(profile, &data, &request));
    let source = |request: &Value, destination: &str| {
        let mounts = request["OCI"]["Mounts"].as_array().unwrap();
        let place = mounts
            .iter()
            .position(|it| it["destination"] == destination);
        (place.unwrap(), mounts[place.unwrap()]["source"].clone())
    };
    let (_, uploads) = source(&request, "/uploads");
    let (place, _) = source(&request, "/plugins");
    let mut one = request.clone();
    one["OCI"]["Mounts"][place]["source"] = uploads;
    assert!(!judged(profile, &data, &one));

    // Nor by leaving the second mount out, with its disk over the first.
    let mut over = request;
    let storages = over["storages"].as_array_mut().unwrap();
    let disks: Vec<_> = (0..storages.len())
        .filter(|at| storages[*at]["driver"] == "blk")
        .collect();
    let mut first = storages[disks[0]].clone();
    first["driver"] = json!("scsi");
    storages[disks[1]] = first;
    over["OCI"]["Mounts"].as_array_mut().unwrap().remove(place);
    assert!(!judged(profile, &data, &over));
}

/// The runtime gives a volume as often as it is mounted.
#[test]
pub(crate) fn a_volume_may_be_mounted_in_two_places() {
    for profile in PROFILES {
        let twice = pod(
            "      command: [/serve]\n      volumeMounts:\n        - {name: fast, mountPath: /fast}\n        - {name: fast, mountPath: /faster}\n",
        );
        let data = build::data(profile, &twice);
        let request = create(&data, 2);
        assert!(judged(profile, &data, &request), "{profile:?}");

        // Of a volume that is mounted once, it is one too many.
        let data = build::data(profile, POD);
        let mut request = create(&data, 2);
        let storages = request["storages"].as_array_mut().unwrap();
        let fast = storages
            .iter()
            .find(|it| it["mount_point"].as_str().unwrap().ends_with("/fast"))
            .cloned()
            .unwrap();
        storages.push(fast);
        assert!(!judged(profile, &data, &request), "{profile:?}");
    }
}

#[test]
pub(crate) fn an_image_is_pulled_as_what_the_container_is() {
    let profile = Profile::Kata;
    let data = build::data(profile, POD);
    let pull = |index: usize, image: &str, told: Value| {
        let mut request = create(&data, index);
        let root = request["OCI"]["Root"]["Path"].clone();
        let option = match &told {
            Value::String(option) => option.clone(),
            told => format!("image_guest_pull={told}"),
        };
        request["storages"].as_array_mut().unwrap().push(json!({
            "driver": "image_guest_pull", "driver_options": [option], "source": image,
            "fstype": "overlay", "options": [], "mount_point": root, "fs_group": null,
        }));
        judged(profile, &data, &request)
    };
    let kind = |kind: &str| json!({"metadata": {"io.kubernetes.cri.container-type": kind}});
    assert!(pull(0, "pause", kind("sandbox")));
    assert!(!pull(0, "pause", json!({})));
    assert!(!pull(0, "pause", kind("container")));
    assert!(!pull(0, "registry.example/pause:1", kind("sandbox")));
    let image = data["containers"][2]["OCI"]["Annotations"]["io.kubernetes.cri.image-name"].clone();
    let image = image.as_str().unwrap();
    assert!(pull(2, image, kind("container")));
    assert!(!pull(2, image, kind("sandbox")));
    assert!(!pull(2, "pause", kind("container")));
    assert!(!pull(2, image, json!(kind("container").to_string())));
    let other = json!({"metadata": {"io.kubernetes.cri-o.ContainerType": "sandbox"}});
    assert!(!pull(2, image, other));
}

/// Volumes that the guest mounts by itself, by their storage class.
#[test]
pub(crate) fn a_direct_volume_is_mounted_where_its_storage_is() {
    for (profile, class, driver, fstype, options) in [
        (Profile::AksAzl3, "cc-local-csi", "blk", "ext4", json!([])),
        (Profile::Aks3_15, "cc-local-csi", "blk", "ext4", json!([])),
        (
            Profile::AksAzl3,
            "azurefile-csi-kata-cc",
            "smb",
            "cifs",
            json!(["vers=3.0", "addr=10.0.0.9"]),
        ),
        (
            Profile::Aks3_15,
            "azurefile-csi-kata-cc",
            "smb",
            "cifs",
            json!(["vers=3.0", "addr=10.0.0.9"]),
        ),
    ] {
        let pod = pod(
            "      command: [/serve]\n      volumeMounts:\n        - {name: data, mountPath: /data}\n",
        )
        .replace(
            "    - name: fast\n",
            &format!("    - name: data\n      ephemeral: {{volumeClaimTemplate: {{spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}}}\n    - name: fast\n"),
        );
        let data = build::data(profile, &pod);
        let mut request = create(&data, 2);
        let spath = data["common"]["spath"].as_str().unwrap();
        let point = format!("{spath}/L3Zhci9saWIva3ViZWxldA==");
        let storages = request["storages"].as_array_mut().unwrap();
        let place = storages
            .iter()
            .position(|it| it["fstype"] == "$(fs-type)")
            .unwrap();
        let storage = &mut storages[place];
        let mut all = storage["options"].as_array().unwrap().clone();
        all.extend(options.as_array().unwrap().iter().cloned());
        *storage = json!({
            "driver": driver, "driver_options": [], "source": "//server/share", "fstype": fstype,
            "options": all, "mount_point": point, "fs_group": null, "shared": false,
        });
        let mounts = request["OCI"]["Mounts"].as_array_mut().unwrap();
        let mount = mounts
            .iter()
            .position(|it| it["destination"] == "/data")
            .unwrap();
        mounts[mount]["source"] = json!(point);
        assert!(judged(profile, &data, &request), "{profile:?} {class}");
        let (storage, mount) = (
            format!("/storages/{place}"),
            format!("/OCI/Mounts/{mount}/source"),
        );
        for (pointer, value) in [
            (mount.clone(), json!(format!("{spath}/other"))),
            (
                format!("{storage}/mount_point"),
                json!(format!("{spath}/../etc")),
            ),
            (format!("{storage}/fstype"), json!("overlay")),
            (format!("{storage}/options"), json!(["vers=3.0,exec"])),
        ] {
            let mut wrong = request.clone();
            *wrong.pointer_mut(&pointer).unwrap() = value;
            assert!(
                !judged(profile, &data, &wrong),
                "{profile:?} {class} {pointer}"
            );
        }
    }
}
