//! Where one condition alone stands between what is allowed and what is not.

use kms_policy::evaluate::Verdict;
use kms_policy::generate::Profile;
use serde_json::{Value, json};

use crate::attacks::{judged, pod};
use crate::build::{self, POD, PROFILES, create, probe, verdict};

/// Names go into patterns, so a node that chooses them must not write patterns.
#[test]
pub(crate) fn names_that_the_node_chooses_are_names() {
    const NAME: &str = "io.kubernetes.cri.sandbox-name";
    const NAMESPACE: &str = "io.kubernetes.cri.sandbox-namespace";
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        for container in data["containers"].as_array_mut().unwrap() {
            let annotations = &mut container["OCI"]["Annotations"];
            annotations[NAME] = json!("$(generated-name)");
            annotations[NAMESPACE] = json!("");
        }
        let long = "a".repeat(253);
        let longer = "a".repeat(254);
        for (name, namespace, expected) in [
            ("shop.v2", "store", true),
            (&*long, "store", true),
            (&longer, "store", false),
            (".*", "store", false),
            ("shop|.*", "store", false),
            ("Shop", "store", false),
            ("shop v2", "store", false),
            ("shop/v2", "store", false),
            ("", "store", false),
            ("shop.v2", ".*", false),
            ("shop.v2", "sto.re", false),
            ("shop.v2", &long, false),
            ("shop.v2", "", false),
        ] {
            let mut request = create(&data, 2);
            let annotations = &mut request["OCI"]["Annotations"];
            annotations[NAME] = json!(name);
            annotations[NAMESPACE] = json!(namespace);
            let allowed = judged(profile, &data, &renamed(&request, name, namespace));
            assert_eq!(allowed, expected, "{profile:?} `{name}` `{namespace}`");
        }
    }
}

/// The request with the names in all that is made of them.
fn renamed(request: &Value, name: &str, namespace: &str) -> Value {
    let mut request = request.clone();
    let process = &mut request["OCI"]["Process"];
    for field in ["Args", "Env"] {
        let texts = process[field].as_array_mut().unwrap();
        for text in texts {
            *text = json!(text.as_str().unwrap().replace("shop.v2", name));
        }
    }
    let annotations = request["OCI"]["Annotations"].as_object_mut().unwrap();
    if let Some(logs) = annotations.get_mut("io.kubernetes.cri.sandbox-log-directory") {
        let text = logs.as_str().unwrap();
        *logs = json!(text.replace("store_shop.v2", &format!("{namespace}_{name}")));
    }
    request
}

#[test]
pub(crate) fn an_image_is_pulled_from_its_own_repository() {
    let profile = Profile::Kata;
    let (this, other) = ("a".repeat(64), "b".repeat(64));
    let digest = |name: &str, digest: &str| format!("{name}@sha256:{digest}");
    for (known, pulled, expected) in [
        ("registry.example/web:1", "registry.example/web:1", true),
        (
            "registry.example/web:1",
            &digest("registry.example/web:1", &this),
            false,
        ),
        ("registry.example/web:1", "registry.example/web:2", false),
        ("registry.example/web:1", "registry.example/web", false),
        ("registry.example/web:1", "registry.example/evil:1", false),
        ("registry.example/web:1", "evil.example/web:1", false),
        (
            "registry.example/web:1",
            &digest("registry.example/web", &this),
            false,
        ),
        (
            "registry.example:5000/web",
            "registry.example:5000/web:latest",
            true,
        ),
        (
            "registry.example:5000/web",
            "registry.example/web:latest",
            false,
        ),
        ("web:1", "docker.io/library/web:1", true),
        ("web:1", "docker.io/evil/web:1", false),
        ("shop/web", "docker.io/shop/web:latest", true),
        ("shop/web", "docker.io/web:latest", false),
        ("localhost/web:1", "localhost/web:1", true),
        ("localhost/web:1", "docker.io/localhost/web:1", false),
        (
            &digest("registry.example/web:1", &this),
            &digest("registry.example/web", &this),
            true,
        ),
        (
            &digest("registry.example/web:1", &this),
            &digest("registry.example/web", &other),
            false,
        ),
        (
            &digest("registry.example/web:1", &this),
            &digest("evil.example/web", &this),
            false,
        ),
        (
            &digest("registry.example/web:1", &this),
            "registry.example/web:1",
            false,
        ),
    ] {
        let mut data = build::data(profile, POD);
        let annotations = &mut data["containers"][2]["OCI"]["Annotations"];
        annotations["io.kubernetes.cri.image-name"] = json!(known);
        let mut request = create(&data, 2);
        let root = request["OCI"]["Root"]["Path"].clone();
        let told = json!({"metadata": {"io.kubernetes.cri.container-type": "container"}});
        request["storages"].as_array_mut().unwrap().push(json!({
            "driver": "image_guest_pull", "driver_options": [format!("image_guest_pull={told}")],
            "source": pulled, "fstype": "overlay", "options": [], "mount_point": root, "fs_group": null,
        }));
        let allowed = judged(profile, &data, &request);
        assert_eq!(allowed, expected, "{known} {pulled}");
        for (field, value) in [
            ("fstype", json!("erofs")),
            ("fs_group", json!({"group_id": 0})),
            ("mount_point", json!("/run/other")),
            ("options", json!(["rw"])),
            ("shared", json!(true)),
        ] {
            let mut request = request.clone();
            request["storages"]
                .as_array_mut()
                .unwrap()
                .last_mut()
                .unwrap()[field] = value;
            assert!(!judged(profile, &data, &request), "{field}");
        }
        let mut twice = request.clone();
        let storage = twice["storages"]
            .as_array_mut()
            .unwrap()
            .last_mut()
            .unwrap();
        let options = storage["driver_options"].as_array_mut().unwrap();
        options.push(options[0].clone());
        assert!(!judged(profile, &data, &twice), "{known}");
        data["cluster_config"]["guest_pull"] = json!(false);
        assert!(!judged(profile, &data, &request), "{known} {pulled}");
    }
}

/// What the host shares with the guest may be left out, and goes nowhere else.
#[test]
pub(crate) fn a_shared_directory_is_mounted_where_the_data_say() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        let shared = |name: &str| {
            json!({
                "driver": "watchable-bind", "driver_options": [], "source": "kataShared",
                "fstype": "bind", "options": ["rbind", "rprivate", "ro"],
                "mount_point": format!("/run/kata-containers/shared/containers/watchable/{name}"),
                "fs_group": null, "shared": false,
            })
        };
        let storages = data["containers"][2]["storages"].as_array_mut().unwrap();
        let mut known = shared("config");
        known.as_object_mut().unwrap().remove("shared");
        known["mount_point"] =
            json!("^/run/kata-containers/shared/containers/watchable/config[12]?$");
        storages.push(known);
        let mut request = create(&data, 2);
        let storages = request["storages"].as_array_mut().unwrap();
        storages.retain(|storage| storage["driver"] != "watchable-bind");
        for (given, expected) in [
            (vec![], true),
            (vec![shared("config")], true),
            (vec![shared("config1"), shared("config2")], false),
            (vec![shared("other")], false),
            (vec![shared("../../../etc")], false),
        ] {
            let mut request = request.clone();
            request["storages"]
                .as_array_mut()
                .unwrap()
                .extend(given.clone());
            assert_eq!(
                judged(profile, &data, &request),
                expected,
                "{profile:?} {given:?}"
            );
        }
    }
}

/// Two of one kind are not one of each.
#[test]
pub(crate) fn every_storage_that_is_needed_is_there() {
    for profile in [Profile::AksAzl3, Profile::Aks3_15] {
        let pod = pod(
            "      command: [/serve]\n      volumeMounts:\n        - {name: data, mountPath: /data}\n        - {name: fast, mountPath: /fast}\n",
        )
        .replace(
            "    - name: fast\n",
            "    - name: data\n      ephemeral: {volumeClaimTemplate: {spec: {storageClassName: cc-local-csi, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}\n    - name: fast\n",
        );
        let data = build::data(profile, &pod);
        let mut request = create(&data, 2);
        let spath = data["common"]["spath"].as_str().unwrap();
        let disk = |name: &str| {
            json!({
                "driver": "blk", "driver_options": [], "source": "0001:00:01.0", "fstype": "ext4",
                "options": [], "mount_point": format!("{spath}/{name}"), "fs_group": null, "shared": false,
            })
        };
        for mount in request["OCI"]["Mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/data" {
                mount["source"] = json!(format!("{spath}/ZGF0YQ=="));
            }
        }
        let storages = request["storages"].as_array_mut().unwrap();
        let is_direct = |it: &Value| it["fstype"] == "$(fs-type)";
        let place = storages.iter().position(is_direct).unwrap();
        storages[place] = disk("ZGF0YQ==");
        let fast = |it: &Value| it["mount_point"].as_str().unwrap().ends_with("/fast");
        let fast = storages.iter().position(fast).unwrap();
        assert!(judged(profile, &data, &request), "{profile:?}");
        // It lies where the guest has such volumes, and not where its name alone leads.
        let text = request.to_string();
        let text = text.replace(&format!("{spath}/ZGF0YQ=="), "ZGF0YQ==");
        let astray = serde_json::from_str(&text).unwrap();
        assert!(!judged(profile, &data, &astray), "{profile:?}");
        request["storages"][fast] = disk("b3RoZXI=");
        assert!(!judged(profile, &data, &request), "{profile:?}");
        request["storages"] = json!([]);
        request["OCI"]["Mounts"] = json!([]);
        assert!(!judged(profile, &data, &request), "{profile:?}");
    }
}

#[test]
pub(crate) fn a_card_is_there_by_the_annotation_that_the_data_name() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        data["containers"][2]["devices"] = json!([{
            "id": "", "type_": "vfio-pci-gk", "vm_path": "",
            "container_path": "/dev/vfio/devices/vfio", "options": [],
        }]);
        data["containers"][2]["runtime_anno_patterns"] =
            json!({ r"^cdi\.k8s\.io/vfio[0-9]+$": r"^nvidia\.com/gpu=[0-9]+$" });
        let card = |group: &str| {
            json!({
                "id": format!("vfio{group}"), "type_": "vfio-pci-gk", "vm_path": "",
                "container_path": format!("/dev/vfio/devices/vfio{group}"), "options": [],
            })
        };
        let with = |field: &str, value: &str| {
            let mut card = card("7");
            card[field] = json!(value);
            card
        };
        let own = ("cdi.k8s.io/vfio7", "nvidia.com/gpu=0");
        // A note of the node's own, which anybody may make.
        let note = ("io.kubernetes.cri.note7", "nvidia.com/gpu=0");
        let stray = ("io.katacontainers.config.x7", "nvidia.com/gpu=0");
        for (annotations, cards, expected) in [
            (vec![own], vec![], true),
            (vec![own], vec![card("7")], true),
            (vec![own, note], vec![card("7")], true),
            (vec![own, stray], vec![card("7")], false),
            (vec![own], vec![card("8")], false),
            (vec![own], vec![with("id", "vfio8")], false),
            (vec![own], vec![with("type_", "vfio-pci")], false),
            (vec![own], vec![with("vm_path", "/dev/sda")], false),
            (
                vec![own],
                vec![with("container_path", "/dev/sdzz/devices/vfio7")],
                false,
            ),
            (vec![own], vec![card("7"), card("8")], false),
            (vec![note], vec![card("7")], false),
            (vec![note], vec![], false),
            (vec![], vec![card("7")], false),
            (vec![], vec![], false),
            (
                vec![("cdi.k8s.io/vfio7", "nvidia.com/other=0")],
                vec![],
                false,
            ),
            (
                vec![("cdi.k8s.io/other7", "nvidia.com/gpu=0")],
                vec![],
                false,
            ),
        ] {
            let mut request = create(&data, 2);
            for (key, value) in &annotations {
                request["OCI"]["Annotations"][key] = json!(value);
            }
            request["devices"] = json!(cards);
            let allowed = judged(profile, &data, &request);
            assert_eq!(allowed, expected, "{profile:?} {annotations:?} {cards:?}");
        }
    }
}

/// A pod with storages of every kind that the profile has, and the request for its container.
fn with_every_storage(profile: Profile) -> (Value, Value) {
    let claim = |name: &str, class: &str| {
        format!(
            "    - name: {name}\n      ephemeral: {{volumeClaimTemplate: {{spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}}}\n"
        )
    };
    let mut yaml = pod(
        "      command: [/serve]\n      volumeMounts:\n        - {name: fast, mountPath: /fast}\n        - {name: scratch, mountPath: /scratch}\n        - {name: data, mountPath: /data}\n        - {name: share, mountPath: /share}\n",
    );
    let claims = match profile {
        Profile::Kata => {
            yaml = yaml.replace("        - {name: data, mountPath: /data}\n", "");
            yaml = yaml.replace("        - {name: share, mountPath: /share}\n", "");
            String::new()
        }
        _ => claim("data", "cc-local-csi") + &claim("share", "azurefile-csi-kata-cc"),
    };
    let data = build::data(
        profile,
        &yaml.replace("    - name: fast\n", &format!("{claims}    - name: fast\n")),
    );
    let mut request = create(&data, 2);
    let spath = data["common"]["spath"].as_str().unwrap();
    for mount in request["OCI"]["Mounts"].as_array_mut().unwrap() {
        if let "/data" | "/share" = mount["destination"].as_str().unwrap() {
            let name = mount["destination"].as_str().unwrap().replace('/', "d");
            mount["source"] = json!(format!("{spath}/{name}"));
        }
    }
    for storage in request["storages"].as_array_mut().unwrap() {
        if storage["fstype"] == "$(fs-type)" {
            let is_share = storage["driver"] == "smb";
            storage["source"] = json!("//server/share");
            storage["fstype"] = json!(if is_share { "cifs" } else { "ext4" });
            storage["mount_point"] = json!(format!(
                "{spath}/{}",
                if is_share { "dshare" } else { "ddata" }
            ));
        }
    }
    (data, request)
}

#[test]
pub(crate) fn every_field_of_every_kind_of_storage_counts() {
    for profile in PROFILES {
        let (data, mut request) = with_every_storage(profile);
        assert!(judged(profile, &data, &request), "{profile:?}");
        // Without mounts, which may lack, the storages have to be judged by themselves.
        request["OCI"]["Mounts"] = json!([]);
        assert!(judged(profile, &data, &request), "{profile:?}");
        let storages = request["storages"].as_array().unwrap();
        let mut kinds = std::collections::BTreeSet::new();
        for (at, storage) in storages.iter().enumerate() {
            let text = |field: &str| storage[field].as_str().unwrap().to_owned();
            kinds.insert((text("driver"), text("fstype")));
            let mut options = storage["options"].as_array().unwrap().clone();
            options.push(json!("exec"));
            let is_shared = storage["shared"] == true;
            let mut changes = vec![
                ("driver_options", json!(["of=another"])),
                ("options", json!(options)),
                ("fs_group", json!({"group_id": 0, "group_change_policy": 0})),
                ("mount_point", json!(text("mount_point") + "/x")),
                ("mount_point", json!("/etc")),
            ];
            if let [_, fewer @ ..] = &storage["options"].as_array().unwrap()[..] {
                changes.push(("options", json!(fewer)));
            }
            for driver in ["local", "ephemeral", "blk", "smb", "overlayfs", "9p", ""] {
                changes.push(("driver", json!(driver)));
            }
            for fstype in [
                "local",
                "tmpfs",
                "ext4",
                "xfs",
                "cifs",
                "tar",
                "overlay",
                "fuse3.kata-overlay",
            ] {
                changes.push(("fstype", json!(fstype)));
            }
            if ["local", "ephemeral", "overlayfs"].contains(&&*text("driver")) {
                changes.push(("source", json!("/dev/sdb")));
            }
            if ["local", "ephemeral"].contains(&&*text("driver")) || is_shared {
                changes.push(("shared", json!(!is_shared)));
            }
            for (field, value) in changes {
                // A disk may have either of two file systems.
                let is_direct = storage["fstype"] == "ext4" && !is_shared;
                if storage[field] == value || (is_direct && value == "xfs") {
                    continue;
                }
                let mut other = request.clone();
                other["storages"][at][field] = value.clone();
                assert!(
                    !judged(profile, &data, &other),
                    "{profile:?} {storage} {field} {value}"
                );
            }
        }
        let expected = match profile {
            Profile::Kata => 2,
            _ => 6,
        };
        assert_eq!(kinds.len(), expected, "{kinds:?}");
    }
}

/// Whether the kernel's settings may be written, by what the data say and who asks.
#[test]
pub(crate) fn the_kernels_settings_are_written_where_the_data_say() {
    let readable = ["nosuid", "noexec", "nodev", "ro"];
    let writable = ["nosuid", "noexec", "nodev", "rw"];
    for profile in PROFILES {
        for (container, is_privileged, known, given, expected) in [
            (2, false, readable, &readable[..], true),
            (2, false, readable, &writable, false),
            (2, false, writable, &readable, true),
            (2, false, writable, &["nosuid", "noexec", "ro"], false),
            (2, false, writable, &["rw"], false),
            (2, true, readable, &writable, false),
            (0, false, readable, &writable, false),
            (0, true, readable, &writable, true),
            (0, true, readable, &["rw"], false),
            (
                0,
                true,
                readable,
                &["nosuid", "noexec", "nodev", "rw", "suid"],
                false,
            ),
        ] {
            let mut data = build::data(profile, POD);
            let sysfs = |mounts: &mut Value, options: Value| {
                let mounts = mounts.as_array_mut().unwrap();
                let mount = mounts.iter_mut().find(|it| it["type_"] == "sysfs").unwrap();
                mount["options"] = options;
            };
            sysfs(
                &mut data["containers"][container]["OCI"]["Mounts"],
                json!(known),
            );
            if is_privileged {
                let capabilities = &mut data["containers"][1]["OCI"]["Process"]["Capabilities"];
                capabilities["Bounding"] = json!(["$(privileged_caps)"]);
            }
            let mut request = create(&data, container);
            sysfs(&mut request["OCI"]["Mounts"], json!(given));
            let allowed = judged(profile, &data, &request);
            assert_eq!(
                allowed, expected,
                "{profile:?} {container} {known:?} {given:?}"
            );
        }
    }
}

#[test]
pub(crate) fn a_request_names_its_bundle() {
    for profile in PROFILES {
        let data = build::data(profile, POD);
        let mut request = create(&data, 2);
        let annotations = request["OCI"]["Annotations"].as_object_mut().unwrap();
        annotations.remove("io.katacontainers.pkg.oci.bundle_path");
        assert!(!judged(profile, &data, &request), "{profile:?}");
    }
}

#[test]
pub(crate) fn settings_forbid_hardware_addresses_however_they_are_written() {
    let profile = Profile::Kata;
    let mut data = build::data(profile, POD);
    let defaults = &mut data["request_defaults"]["UpdateInterfaceRequest"];
    defaults["forbidden_hw_addrs"] = json!(["02:00:00:00:00:aA"]);
    for (address, expected) in [
        ("02:00:00:00:00:ab", true),
        ("02:00:00:00:00:aa", false),
        ("02:00:00:00:00:Aa", false),
    ] {
        let mut evaluator = build::evaluator(profile, &data);
        let body = json!({"interface": {"name": "eth0", "raw_flags": 0, "hwAddr": address, "IPAddresses": []}});
        let verdict = verdict(&mut evaluator, "UpdateInterfaceRequest", &body);
        assert_eq!(verdict == Verdict::Allowed, expected, "{address}");
    }
}

/// A newer kernel's options of cgroups, which settings allow by name.
#[test]
pub(crate) fn options_of_cgroups_are_added_behind_those_of_the_data() {
    let (known, place) = (["nosuid", "noexec", "ro"], "/sys/fs/cgroup");
    for profile in PROFILES {
        for (given, at, expected) in [
            (&["nosuid", "noexec", "ro"][..], place, true),
            (&["nosuid", "noexec", "ro", "nsdelegate"], place, true),
            (&["nosuid", "noexec", "ro", "nsdelegate"], "/cgroup", false),
            (&["nosuid", "noexec", "ro", "suid"], place, false),
            (&["nosuid", "noexec", "rw", "nsdelegate"], place, false),
            (&["nosuid", "nsdelegate"], place, false),
            (&["nsdelegate", "nosuid", "noexec", "ro"], place, false),
            (&["nsdelegate"], place, false),
            (&[], place, false),
        ] {
            let mut data = build::data(profile, POD);
            data["cluster_config"]["cgroup_mount_extras_allowed"] = json!(["nsdelegate"]);
            let mount = |options: Value| json!({"destination": at, "source": "cgroup", "type_": "cgroup", "options": options});
            let put = |mounts: &mut Value, options: Value| {
                let mounts = mounts.as_array_mut().unwrap();
                mounts.retain(|it| it["type_"] != "cgroup");
                mounts.push(mount(options));
            };
            put(&mut data["containers"][2]["OCI"]["Mounts"], json!(known));
            let mut request = create(&data, 2);
            put(&mut request["OCI"]["Mounts"], json!(given));
            let allowed = judged(profile, &data, &request);
            assert_eq!(allowed, expected, "{profile:?} {at} {given:?}");
        }
    }
}

/// What does not begin as an expression is a path, and that alone.
#[test]
pub(crate) fn a_source_that_is_no_expression_is_itself_alone() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        let mounts = &mut data["containers"][2]["OCI"]["Mounts"];
        mounts.as_array_mut().unwrap().push(json!({
            "destination": "/dev/fuse", "source": "/dev/fuse", "type_": "bind", "options": ["rbind"],
        }));
        let request = create(&data, 2);
        for (source, expected) in [
            ("/dev/fuse", true),
            ("/dev/fuse/x", false),
            ("/x/dev/fuse", false),
        ] {
            let mut request = request.clone();
            let mounts = request["OCI"]["Mounts"].as_array_mut().unwrap();
            let mount = mounts.last_mut().unwrap();
            mount["source"] = json!(source);
            assert_eq!(
                judged(profile, &data, &request),
                expected,
                "{profile:?} {source}"
            );
        }
    }
}

#[test]
pub(crate) fn a_container_is_in_one_network() {
    for profile in PROFILES {
        let data = build::data(profile, POD);
        for (paths, expected) in [
            (&["/run/netns/a"][..], true),
            (&["/run/netns/a", "/run/netns/a"], true),
            (&["/run/netns/a", "/run/netns/b"], false),
        ] {
            let mut request = create(&data, 2);
            let namespaces = request["OCI"]["Linux"]["Namespaces"]
                .as_array_mut()
                .unwrap();
            namespaces.retain(|it| it["Type"] != "network");
            namespaces.extend(
                paths
                    .iter()
                    .map(|path| json!({"Type": "network", "Path": path})),
            );
            let allowed = judged(profile, &data, &request);
            assert_eq!(allowed, expected, "{profile:?} {paths:?}");
        }
    }
}

/// Settings name commands whole, and expressions for whole commands.
#[test]
pub(crate) fn a_command_of_the_settings_is_run_whole() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        data["request_defaults"]["ExecProcessRequest"] = json!({
            "allowed_commands": [["id", "-u"]],
            "commands": ["uname -a"],
            "regex": ["ls( -l)?|df"],
        });
        let mut evaluator = build::evaluator(profile, &data);
        verdict(&mut evaluator, "CreateContainer", &create(&data, 2));
        for (args, expected) in [
            (&["id", "-u"][..], true),
            (&["id -u"], false),
            (&["id"], false),
            (&["uname", "-a"], true),
            (&["uname", "-a", "-b"], false),
            (&["ls"], true),
            (&["ls", "-l"], true),
            (&["df"], true),
            (&["ls", "-l", "/"], false),
            (&["sh", "-c", "ls"], false),
            (&["df", "x"], false),
            (&[], false),
        ] {
            let mut request = probe(&data, 2);
            request["process"]["Args"] = json!(args);
            let verdict = verdict(&mut evaluator, "ExecProcess", &request);
            assert_eq!(
                verdict == Verdict::Allowed,
                expected,
                "{profile:?} {args:?}"
            );
        }
    }
}

#[test]
pub(crate) fn no_source_leaves_the_directory_that_its_expression_is_about() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        let mount = |source: &str| json!({"destination": "/notes", "source": source, "type_": "bind", "options": ["rbind"]});
        let mounts = &mut data["containers"][2]["OCI"]["Mounts"];
        let mounts = mounts.as_array_mut().unwrap();
        mounts.push(mount("^/run/shared/.*/notes$"));
        let mut request = create(&data, 2);
        for (source, expected) in [
            ("/run/shared/a/notes", true),
            ("/run/shared/a..b/notes", true),
            ("/run/shared/../../etc/notes", false),
            ("/run/shared/a/notes/..", false),
            ("/x/run/shared/a/notes", false),
        ] {
            let mounts = request["OCI"]["Mounts"].as_array_mut().unwrap();
            *mounts.last_mut().unwrap() = mount(source);
            assert_eq!(
                judged(profile, &data, &request),
                expected,
                "{profile:?} {source}"
            );
        }
    }
}

/// A disk is mounted where it belongs, and nothing else is.
#[test]
pub(crate) fn no_other_storage_stands_for_a_disk() {
    let profile = Profile::Kata;
    let data = build::data(profile, POD);
    let mut request = create(&data, 2);
    let source = |request: &Value, destination: &str| {
        let mounts = request["OCI"]["Mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|it| it["destination"] == destination);
        mount.unwrap()["source"].clone()
    };
    let (memory, disk) = (source(&request, "/fast"), source(&request, "/scratch"));
    assert_ne!(memory, disk);
    for mount in request["OCI"]["Mounts"].as_array_mut().unwrap() {
        if mount["source"] == disk {
            mount["source"] = memory.clone();
        }
    }
    assert!(!judged(profile, &data, &request));
}

/// Of the kernel's settings alone it is less to read them.
#[test]
pub(crate) fn of_other_mounts_the_options_are_those_of_the_data() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        let capabilities = &mut data["containers"][1]["OCI"]["Process"]["Capabilities"];
        capabilities["Bounding"] = json!(["$(privileged_caps)"]);
        let mount = |access: &str| json!({"destination": "/notes", "source": "/notes", "type_": "bind", "options": ["rbind", access]});
        for container in [0, 2] {
            for (known, given) in [("ro", "rw"), ("rw", "ro"), ("ro", "ro")] {
                let mut data = data.clone();
                let mounts = &mut data["containers"][container]["OCI"]["Mounts"];
                mounts.as_array_mut().unwrap().push(mount(known));
                let mut request = create(&data, container);
                let mounts = request["OCI"]["Mounts"].as_array_mut().unwrap();
                *mounts.last_mut().unwrap() = mount(given);
                let allowed = judged(profile, &data, &request);
                assert_eq!(
                    allowed,
                    known == given,
                    "{profile:?} {container} {known} {given}"
                );
            }
        }
    }
}

#[test]
pub(crate) fn an_empty_annotation_is_no_leave_for_any() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        data["containers"][2]["OCI"]["Annotations"]["io.katacontainers.note"] = json!("");
        let mut request = create(&data, 2);
        assert!(judged(profile, &data, &request), "{profile:?}");
        request["OCI"]["Annotations"]["io.katacontainers.note"] = json!("x");
        assert!(!judged(profile, &data, &request), "{profile:?}");
    }
}
