use kms_policy::evaluate::Verdict;
use serde_json::{Value, json};

use crate::build::{self, POD, PROFILES, verdict};

fn allowed(kind: &str, body: &Value) -> Vec<bool> {
    let of = |profile| {
        let mut evaluator = build::evaluator(profile, &build::data(profile, POD));
        verdict(&mut evaluator, kind, body) == Verdict::Allowed
    };
    PROFILES.into_iter().map(of).collect()
}

#[track_caller]
fn expect(kind: &str, body: Value, is_allowed: bool) {
    assert_eq!(allowed(kind, &body), [is_allowed; 3], "{kind} {body}");
}

#[test]
pub(crate) fn the_loopback_device_is_not_the_hosts() {
    let route = |device: &str, source: &str| json!({"routes": {"Routes": [{"device": device, "source": source}]}});
    expect("UpdateRoutesRequest", route("eth0", ""), true);
    expect("UpdateRoutesRequest", route("eth0", "10.1.27.0"), true);
    expect("UpdateRoutesRequest", route("lo", ""), false);
    for source in [
        "127.0.0.1",
        "127.0.0.1/32",
        "0127.0.0.1",
        "::1",
        "::1/128",
        "0:0:0:0:0:0:0:1",
        "0000:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "::FFFF:7f00:1",
        "0:0:0:0:0:ffff:7f00:1",
        "::0.0.0.1",
        "0:0:0:0:0:0:0.0.0.1",
        "::127.0.0.1",
        "localhost",
    ] {
        expect("UpdateRoutesRequest", route("eth0", source), false);
    }
    for source in [
        "fe80::1",
        "FD00::1/64",
        "2001:db8::7f00:1",
        "172.127.0.1/16",
    ] {
        expect("UpdateRoutesRequest", route("eth0", source), true);
    }
    let neighbor = |device: &str, flags: u32, state: u32, address: &str| {
        json!({"neighbors": {"ARPNeighbors": [{
            "device": device, "flags": flags, "state": state, "toIPAddress": {"address": address},
        }]}})
    };
    expect(
        "AddARPNeighborsRequest",
        neighbor("eth0", 136, 128, "10.0.0.1"),
        true,
    );
    expect(
        "AddARPNeighborsRequest",
        neighbor("lo", 0, 128, "10.0.0.1"),
        false,
    );
    expect(
        "AddARPNeighborsRequest",
        neighbor("eth0", 4, 128, "10.0.0.1"),
        false,
    );
    expect(
        "AddARPNeighborsRequest",
        neighbor("eth0", 0, 1, "10.0.0.1"),
        false,
    );
    expect(
        "AddARPNeighborsRequest",
        neighbor("eth0", 0, 128, "127.9.9.9"),
        false,
    );
    expect(
        "AddARPNeighborsRequest",
        neighbor("eth0", 0, 128, "::1"),
        false,
    );
    let interface = |name: &str, flags: u32, hardware: &str, address: &str| {
        json!({"interface": {
            "name": name, "raw_flags": flags, "hwAddr": hardware, "IPAddresses": [{"address": address}],
        }})
    };
    expect(
        "UpdateInterfaceRequest",
        interface("eth0", 0, "02:00:00:00:00:01", "10.0.0.2"),
        true,
    );
    expect(
        "UpdateInterfaceRequest",
        interface("eth0", 128, "02:00:00:00:00:01", "fe80::1"),
        true,
    );
    expect(
        "UpdateInterfaceRequest",
        interface("lo", 0, "02:00:00:00:00:01", "10.0.0.2"),
        false,
    );
    for hw_addr in [
        "00:00:00:00:00:00",
        "0:0:0:0:0:0",
        "000:00:00:00:00:00",
        "+0:00:00:00:00:00",
    ] {
        let body = interface("eth0", 128, hw_addr, "10.0.0.2");
        expect("UpdateInterfaceRequest", body, false);
    }
    expect(
        "UpdateInterfaceRequest",
        interface("eth0", 2, "02:00:00:00:00:01", "10.0.0.2"),
        false,
    );
    expect(
        "UpdateInterfaceRequest",
        interface("eth0", 0, "00:00:00:00:00:00", "10.0.0.2"),
        false,
    );
    expect(
        "UpdateInterfaceRequest",
        interface("eth0", 0, "02:00:00:00:00:01", "127.0.0.1"),
        false,
    );
}

#[test]
pub(crate) fn files_land_where_shared_files_are_and_nowhere_else() {
    let shared = "/run/kata-containers/shared/containers/";
    let id = "4bbf2a6b6b510a279cd17b2bfc8b64d39c11ebb55f855ba78a0034c4fe394246";
    let path = |rest: &str| format!("{shared}{id}-0123456789abcdef-{rest}");
    let verdicts = |body: Value| allowed("CopyFileRequest", &body);
    let file = |path: &str| json!({"path": path, "file_mode": 0o100_644, "file_type": "Regular"});
    // Agents of AKS do not name the type.
    let both = |is_allowed: bool, body: Value| {
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove("file_type");
        let kata = verdicts(body.clone())[2];
        assert_eq!(kata, is_allowed, "{body}");
        assert_eq!(verdicts(without.clone())[..2], [is_allowed; 2], "{without}");
    };
    both(true, file(&path("hosts")));
    both(true, file(&path("config/..2024_01_01_00_00_00.123/key")));
    both(false, file("/etc/passwd"));
    both(false, file(&path("config/../../../../../etc/passwd")));
    both(false, file(&format!("x{}", path("hosts"))));
    both(false, file(&path("hosts").replace(id, "../../..")));
    let link = |path: &str, target: &str| {
        json!({
            "path": path, "file_mode": 0o120_777, "file_type": "Symlink",
            "symlink_target": target, "symlink_src": target,
        })
    };
    both(
        true,
        link(&path("config/..data"), "..2024_01_01_00_00_00.123"),
    );
    both(true, link(&path("config/key"), "..data/key"));
    for around in ["config", "config/", "config//key", "config/./key"] {
        both(false, link(&path(around), "..data/key"));
    }
    for target in [
        "/etc/passwd",
        "../x",
        "..data/../../x",
        "./x",
        "..data//x",
        "",
    ] {
        both(false, link(&path("config/key"), target));
    }
    // Agents of AKS know how the kubelet calls its folders.
    let body = link(&path("config/key"), "another/key");
    assert!(verdicts(body.clone())[2]);
    let mut without = body;
    without.as_object_mut().unwrap().remove("file_type");
    assert_eq!(verdicts(without)[..2], [false; 2]);
    // Without a type, the mode says what it is, and a target that it is a link.
    for (mode, target) in [
        (0o020_666, "..data/key"),
        (0o100_644, "/etc/passwd"),
        (0, "/etc/passwd"),
        (0, "..data/key"),
    ] {
        let body = json!({"path": path("config/key"), "file_mode": mode, "symlink_src": target});
        assert_eq!(verdicts(body.clone())[..2], [false; 2], "{body}");
    }
    // A device.
    both(
        false,
        json!({"path": path("null"), "file_mode": 0o020_666, "file_type": "Unknown"}),
    );
}

#[test]
pub(crate) fn a_sandbox_brings_no_code_and_only_the_storages_of_the_settings() {
    let storage = json!({
        "driver": "ephemeral", "source": "shm", "fstype": "tmpfs",
        "options": ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
        "mount_point": "/run/kata-containers/sandbox/shm",
    });
    expect("CreateSandboxRequest", json!({}), true);
    expect("CreateSandboxRequest", json!({"storages": [storage]}), true);
    expect(
        "CreateSandboxRequest",
        json!({"storages": [storage, storage]}),
        false,
    );
    expect(
        "CreateSandboxRequest",
        json!({"sandbox_pidns": true}),
        false,
    );
    expect(
        "CreateSandboxRequest",
        json!({"guest_hook_path": "/hooks"}),
        false,
    );
    expect(
        "CreateSandboxRequest",
        json!({"kernel_modules": [{"name": "m"}]}),
        false,
    );
    for (field, value) in [
        ("driver", json!("blk")),
        ("source", json!("other")),
        ("fstype", json!("ext4")),
        ("options", json!([])),
        ("mount_point", json!("/usr/bin")),
        ("fs_group", json!({"group_id": 0})),
        ("driver_options", json!(["x"])),
    ] {
        let mut storage = storage.clone();
        storage[field] = value;
        expect(
            "CreateSandboxRequest",
            json!({"storages": [storage]}),
            false,
        );
    }
}
