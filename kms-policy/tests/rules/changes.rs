//! A container is created as the policy says, or not at all.

use kms_policy::evaluate::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::build::{self, POD, PROFILES, create, verdict};

/// A change of one field to something else; none where the request has no such field.
pub(crate) type Change = fn(&mut Value, &str) -> Option<()>;

fn push(request: &mut Value, pointer: &str, value: Value) -> Option<()> {
    request.pointer_mut(pointer)?.as_array_mut()?.push(value);
    Some(())
}

fn set(request: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let field = request.pointer_mut(pointer)?;
    if *field == value {
        return None;
    }
    *field = value;
    Some(())
}

fn flip(request: &mut Value, pointer: &str) -> Option<()> {
    let field = request.pointer_mut(pointer)?;
    *field = json!(!field.as_bool()?);
    Some(())
}

fn cut(request: &mut Value, pointer: &str) -> Option<()> {
    request
        .pointer_mut(pointer)?
        .as_array_mut()?
        .pop()
        .map(drop)
}

/// Fields that decide what a container may do. The list is the promise of the docs of `rules`.
pub(crate) const CHANGES: &[(&str, Change)] = &[
    ("shared_mounts", |r, t| {
        push(r, "/shared_mounts", json!({"name": t}))
    }),
    ("string_user", |r, t| {
        r["string_user"] = json!({"uid": t});
        Some(())
    }),
    ("sandbox_pidns", |r, _| flip(r, "/sandbox_pidns")),
    ("devices", |r, t| {
        push(
            r,
            "/devices",
            json!({"id": t, "container_path": "/dev/sda"}),
        )
    }),
    ("OCI.Version", |r, t| set(r, "/OCI/Version", json!(t))),
    ("OCI.Hooks", |r, t| {
        r["OCI"]["Hooks"] = json!({"Prestart": [{"Path": t}]});
        Some(())
    }),
    ("OCI.Solaris", |r, t| {
        r["OCI"]["Solaris"] = json!({"milestone": t});
        Some(())
    }),
    ("OCI.Windows", |r, t| {
        r["OCI"]["Windows"] = json!({"servicing": t});
        Some(())
    }),
    ("OCI.Process.Terminal", |r, _| {
        flip(r, "/OCI/Process/Terminal")
    }),
    ("OCI.Process.NoNewPrivileges", |r, _| {
        flip(r, "/OCI/Process/NoNewPrivileges")
    }),
    ("OCI.Process.Cwd", |r, t| {
        set(r, "/OCI/Process/Cwd", json!(t))
    }),
    ("OCI.Process.SelinuxLabel", |r, t| {
        set(r, "/OCI/Process/SelinuxLabel", json!(t))
    }),
    ("OCI.Process.User.UID", |r, _| {
        set(r, "/OCI/Process/User/UID", json!(0))
    }),
    ("OCI.Process.User.GID", |r, _| {
        set(r, "/OCI/Process/User/GID", json!(4))
    }),
    ("OCI.Process.User.Username", |r, t| {
        set(r, "/OCI/Process/User/Username", json!(t))
    }),
    ("OCI.Process.User.AdditionalGids", |r, _| {
        push(r, "/OCI/Process/User/AdditionalGids", json!(5))
    }),
    ("OCI.Process.Args: a word", |r, t| {
        set(r, "/OCI/Process/Args/0", json!(t))
    }),
    ("OCI.Process.Args: a filled-in word", |r, t| {
        set(r, "/OCI/Process/Args/2", json!(t))
    }),
    ("OCI.Process.Args: one more", |r, t| {
        push(r, "/OCI/Process/Args", json!(t))
    }),
    ("OCI.Process.Args: one less", |r, _| {
        cut(r, "/OCI/Process/Args")
    }),
    ("OCI.Process.Env: a value", |r, t| {
        let env = r.pointer_mut("/OCI/Process/Env")?.as_array_mut()?;
        let variable = env.iter_mut().find(|variable| {
            variable
                .as_str()
                .is_some_and(|text| text.starts_with("PATH="))
        })?;
        *variable = json!(format!("PATH={t}"));
        Some(())
    }),
    ("OCI.Process.Env: one more", |r, t| {
        push(r, "/OCI/Process/Env", json!(format!("LD_PRELOAD={t}")))
    }),
    ("OCI.Process.Env: two in one", |r, t| {
        push(r, "/OCI/Process/Env", json!(format!("TERM=xterm\n{t}=1")))
    }),
    ("OCI.Process.Env: no address", |r, t| {
        push(r, "/OCI/Process/Env", json!(format!("ADDRESS={t}")))
    }),
    ("OCI.Process.Capabilities.Ambient", |r, _| {
        push(
            r,
            "/OCI/Process/Capabilities/Ambient",
            json!("CAP_SYS_ADMIN"),
        )
    }),
    ("OCI.Process.Capabilities.Bounding", |r, _| {
        push(r, "/OCI/Process/Capabilities/Bounding", json!("SYS_ADMIN"))
    }),
    ("OCI.Process.Capabilities.Effective", |r, _| {
        push(
            r,
            "/OCI/Process/Capabilities/Effective",
            json!("CAP_SYS_ADMIN"),
        )
    }),
    ("OCI.Process.Capabilities.Inheritable", |r, _| {
        push(
            r,
            "/OCI/Process/Capabilities/Inheritable",
            json!("CAP_SYS_ADMIN"),
        )
    }),
    ("OCI.Process.Capabilities.Permitted", |r, _| {
        cut(r, "/OCI/Process/Capabilities/Permitted")
    }),
    ("OCI.Root.Path", |r, t| {
        set(r, "/OCI/Root/Path", json!(format!("/{t}")))
    }),
    ("OCI.Root.Path: another bundle", |r, _| {
        let path = r["OCI"]["Root"]["Path"]
            .as_str()?
            .replace("4bbf2a", "aaaaaa");
        set(r, "/OCI/Root/Path", json!(path))
    }),
    ("OCI.Root.Readonly", |r, _| flip(r, "/OCI/Root/Readonly")),
    ("OCI.Mounts: another destination", |r, t| {
        set(r, "/OCI/Mounts/3/destination", json!(format!("/{t}")))
    }),
    ("OCI.Mounts: another source", |r, t| {
        set(r, "/OCI/Mounts/3/source", json!(format!("/{t}")))
    }),
    ("OCI.Mounts: another source of a shared file", |r, t| {
        let mounts = r.pointer_mut("/OCI/Mounts")?.as_array_mut()?;
        let mount = mounts
            .iter_mut()
            .find(|mount| mount["destination"] == "/etc/hosts")?;
        mount["source"] = json!(format!("{}{t}", mount["source"].as_str()?));
        Some(())
    }),
    ("OCI.Mounts: another source of a volume", |r, t| {
        let mounts = r.pointer_mut("/OCI/Mounts")?.as_array_mut()?;
        let mount = mounts
            .iter_mut()
            .find(|mount| mount["destination"] == "/scratch")?;
        mount["source"] = json!(format!("{}{t}", mount["source"].as_str()?));
        Some(())
    }),
    ("OCI.Mounts: another type", |r, t| {
        set(r, "/OCI/Mounts/0/type_", json!(t))
    }),
    ("OCI.Mounts: options", |r, t| {
        push(r, "/OCI/Mounts/1/options", json!(t))
    }),
    ("OCI.Mounts: fewer options", |r, _| {
        cut(r, "/OCI/Mounts/0/options")
    }),
    ("OCI.Mounts: sysfs to write", |r, _| {
        let mounts = r.pointer_mut("/OCI/Mounts")?.as_array_mut()?;
        let mount = mounts.iter_mut().find(|mount| mount["type_"] == "sysfs")?;
        *mount["options"].as_array_mut()?.last_mut()? = json!("rw");
        Some(())
    }),
    ("OCI.Mounts: one more", |r, t| {
        push(
            r,
            "/OCI/Mounts",
            json!({"destination": format!("/{t}"), "source": "proc", "type_": "proc", "options": []}),
        )
    }),
    ("OCI.Mounts: one twice", |r, _| {
        let mount = r.pointer("/OCI/Mounts/0")?.clone();
        push(r, "/OCI/Mounts", mount)
    }),
    ("OCI.Annotations: container_type", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.katacontainers.pkg.oci.container_type",
            json!(t),
        )
    }),
    ("OCI.Annotations: cri.container-type", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.kubernetes.cri.container-type",
            json!(t),
        )
    }),
    ("OCI.Annotations: container-name", |r, t| {
        r["OCI"]["Annotations"]["io.kubernetes.cri.container-name"] = json!(t);
        Some(())
    }),
    ("OCI.Annotations: sandbox-id", |r, t| {
        set(r, "/OCI/Annotations/io.kubernetes.cri.sandbox-id", json!(t))
    }),
    ("OCI.Annotations: sandbox-name", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.kubernetes.cri.sandbox-name",
            json!(t),
        )
    }),
    ("OCI.Annotations: sandbox-namespace", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.kubernetes.cri.sandbox-namespace",
            json!(t),
        )
    }),
    ("OCI.Annotations: bundle_path", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.katacontainers.pkg.oci.bundle_path",
            json!(t),
        )
    }),
    ("OCI.Annotations: log directory", |r, t| {
        set(
            r,
            "/OCI/Annotations/io.kubernetes.cri.sandbox-log-directory",
            json!(t),
        )
    }),
    ("OCI.Annotations: network namespace", |r, t| {
        set(r, "/OCI/Annotations/nerdctl~1network-namespace", json!(t))
    }),
    ("OCI.Annotations: an unknown one", |r, t| {
        r["OCI"]["Annotations"]["io.katacontainers.config.x"] = json!(t);
        Some(())
    }),
    ("OCI.Linux.Seccomp", |r, t| {
        r["OCI"]["Linux"]["Seccomp"] = json!({"DefaultAction": t});
        Some(())
    }),
    ("OCI.Linux.IntelRdt", |r, t| {
        r["OCI"]["Linux"]["IntelRdt"] = json!({"L3CacheSchema": t});
        Some(())
    }),
    ("OCI.Linux.MountLabel", |r, t| {
        set(r, "/OCI/Linux/MountLabel", json!(t))
    }),
    ("OCI.Linux.RootfsPropagation", |r, t| {
        set(r, "/OCI/Linux/RootfsPropagation", json!(t))
    }),
    ("OCI.Linux.UIDMappings", |r, _| {
        push(r, "/OCI/Linux/UIDMappings", json!({"HostID": 0}))
    }),
    ("OCI.Linux.GIDMappings", |r, _| {
        push(r, "/OCI/Linux/GIDMappings", json!({"HostID": 0}))
    }),
    ("OCI.Linux.Sysctl", |r, t| {
        r["OCI"]["Linux"]["Sysctl"]["kernel.core_pattern"] = json!(t);
        Some(())
    }),
    ("OCI.Linux.Resources.Devices", |r, _| {
        push(r, "/OCI/Linux/Resources/Devices", json!({"Allow": true}))
    }),
    ("OCI.Linux.Resources.BlockIO", |r, _| {
        set(r, "/OCI/Linux/Resources/BlockIO", json!({"Weight": 1}))
    }),
    ("OCI.Linux.Resources.Network", |r, _| {
        set(r, "/OCI/Linux/Resources/Network", json!({"ClassID": 1}))
    }),
    ("OCI.Linux.Resources.Pids", |r, _| {
        set(r, "/OCI/Linux/Resources/Pids", json!({"Limit": 1}))
    }),
    ("OCI.Linux.Namespaces: one more", |r, _| {
        push(
            r,
            "/OCI/Linux/Namespaces",
            json!({"Type": "user", "Path": ""}),
        )
    }),
    ("OCI.Linux.Namespaces: one less", |r, _| {
        cut(r, "/OCI/Linux/Namespaces")
    }),
    ("OCI.Linux.Namespaces: another's", |r, t| {
        set(r, "/OCI/Linux/Namespaces/0/Path", json!(format!("/{t}")))
    }),
    ("OCI.Linux.Devices", |r, t| {
        push(r, "/OCI/Linux/Devices", json!({"Path": t}))
    }),
    ("OCI.Linux.MaskedPaths", |r, _| {
        cut(r, "/OCI/Linux/MaskedPaths")
    }),
    ("OCI.Linux.ReadonlyPaths", |r, _| {
        cut(r, "/OCI/Linux/ReadonlyPaths")
    }),
    ("storages: another driver", |r, t| {
        set(r, "/storages/0/driver", json!(t))
    }),
    ("storages: driver options", |r, t| {
        push(r, "/storages/0/driver_options", json!(t))
    }),
    ("storages: another file system", |r, t| {
        set(r, "/storages/0/fstype", json!(t))
    }),
    ("storages: options", |r, t| {
        push(r, "/storages/0/options", json!(t))
    }),
    ("storages: another mount point", |r, t| {
        set(r, "/storages/0/mount_point", json!(format!("/{t}")))
    }),
    ("storages: a group", |r, _| {
        set(r, "/storages/0/fs_group", json!({"group_id": 0}))
    }),
    ("storages: another root hash", |r, _| {
        let text = r["storages"].to_string();
        let changed = text
            .replace("root-hash=bbbb", "root-hash=bbba")
            .replace("root-hash=cccc", "root-hash=cccd");
        (changed != text).then(|| r["storages"] = serde_json::from_str(&changed).unwrap())
    }),
    ("storages: one less", |r, _| cut(r, "/storages")),
    ("storages: the first one less", |r, _| {
        let storages = r["storages"].as_array_mut()?;
        (!storages.is_empty()).then(|| drop(storages.remove(0)))
    }),
    ("storages: one twice", |r, _| {
        let storage = r.pointer("/storages/0")?.clone();
        push(r, "/storages", storage)
    }),
    ("storages: an image from elsewhere", |r, t| {
        let root = r["OCI"]["Root"]["Path"].clone();
        push(
            r,
            "/storages",
            json!({
                "driver": "image_guest_pull", "driver_options": ["image_guest_pull={}"], "source": t,
                "fstype": "overlay", "options": [], "mount_point": root, "fs_group": null,
            }),
        )
    }),
];

#[test]
pub(crate) fn a_container_of_the_policy_is_created_and_one_that_differs_in_any_field_is_not() {
    for profile in PROFILES {
        let data = build::data(profile, POD);
        let mut evaluator = build::evaluator(profile, &data);
        let requests: Vec<_> = (0..3).map(|index| create(&data, index)).collect();
        for (index, request) in requests.iter().enumerate() {
            let found = verdict(&mut evaluator, "CreateContainer", request);
            assert_eq!(found, Verdict::Allowed, "{profile:?} {index}");
        }
        for (name, change) in CHANGES {
            let mut applied = 0;
            for (index, request) in requests.iter().enumerate() {
                let mut changed = request.clone();
                if change(&mut changed, "zz").is_none() {
                    continue;
                }
                applied += 1;
                let found = verdict(&mut evaluator, "CreateContainer", &changed);
                assert_eq!(found, Verdict::Denied, "{profile:?} {index}: {name}");
            }
            let is_of_kata = profile == kms_policy::generate::Profile::Kata
                && *name == "storages: another root hash";
            assert!(
                applied > 0 || is_of_kata,
                "{profile:?} {name}: nothing was changed"
            );
        }
    }
}

#[test]
pub(crate) fn whatever_a_field_is_changed_to_the_container_is_not_created() {
    let profiles = PROFILES.map(|profile| {
        let data = build::data(profile, POD);
        (profile, build::evaluator(profile, &data), data)
    });
    let profiles = std::cell::RefCell::new(profiles);
    // Text that no pattern is meant to fit.
    let text = "[a-z./$^*(){}|\\\\ =:@-]{1,24}";
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let cases = (0..3_usize, 0..3_usize, 0..CHANGES.len(), text);
    TestRunner::new(config)
        .run(&cases, |(which, index, change, text)| {
            let (profile, evaluator, data) = &mut profiles.borrow_mut()[which];
            let original = create(data, index);
            let mut changed = original.clone();
            let (name, change) = CHANGES[change];
            prop_assume!(change(&mut changed, &text).is_some() && changed != original);
            let found = verdict(evaluator, "CreateContainer", &changed);
            prop_assert_eq!(
                found,
                Verdict::Denied,
                "{:?} {} {}: {}",
                profile,
                index,
                name,
                text
            );
            Ok(())
        })
        .unwrap();
}
