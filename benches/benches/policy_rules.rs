//! Judging the creation of a container by our rules, beside other rules on the same engine and input:
//! those of `KMS_RULES=FILE`, else the first form of our own. An early denial is beside a full match.

use kms_benches::{compare, machine, smoke};
use kms_policy::Policy;
use kms_policy::evaluate::{Evaluator, Request};
use kms_policy::generate::Profile;
use kms_policy::rules::Rules;
use serde_json::{Value, json};

const FIRST_FORM: &str = include_str!("policy_first_form.rego");
const BUNDLE: &str = "4bbf2a6b6b510a279cd17b2bfc8b64d39c11ebb55f855ba78a0034c4fe394246";

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    let other = match std::env::var_os("KMS_RULES") {
        Some(file) => std::fs::read_to_string(file).expect("KMS_RULES"),
        None => FIRST_FORM.to_owned(),
    };
    let ours = Rules::built_in(Profile::Kata);
    let full = request(|_| {});
    let early = request(|body| body["OCI"]["Hooks"] = json!({"Prestart": []}));
    let mut candidate = evaluator(ours.text());
    let mut baseline = evaluator(&other);
    println!("| what | ours | beside | ratio |");
    println!("|---|---|---|---|");
    let against = compare(
        || candidate.judge(&full).expect("judged"),
        || baseline.judge(&full).expect("judged"),
    );
    tell(
        "a full match, beside other rules",
        against.candidate_ns,
        against.baseline_ns,
        against.ratio,
    );
    let mut denier = evaluator(ours.text());
    let against = compare(
        || denier.judge(&early).expect("judged"),
        || candidate.judge(&full).expect("judged"),
    );
    tell(
        "an early denial, beside a full match",
        against.candidate_ns,
        against.baseline_ns,
        against.ratio,
    );
}

fn tell(what: &str, candidate_ns: f64, baseline_ns: f64, ratio: f64) {
    let (ours, beside) = (candidate_ns / 1000.0, baseline_ns / 1000.0);
    println!("| {what} | {ours:.0} us | {beside:.0} us | {ratio:.2} |");
}

fn evaluator(rules: &str) -> Evaluator {
    let text = format!("{rules}\npolicy_data := {}", data());
    Evaluator::new(Profile::Kata, &Policy::from_text(text)).expect("rules")
}

const CAPABILITIES: [&str; 5] = [
    "Ambient",
    "Bounding",
    "Effective",
    "Inheritable",
    "Permitted",
];

/// Shared files of a container, by destination and last name.
const SHARED: [(&str, &str); 6] = [
    ("/etc/hosts", "hosts"),
    ("/dev/termination-log", "termination-log"),
    ("/etc/hostname", "hostname"),
    ("/etc/resolv.conf", "resolv.conf"),
    (
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "serviceaccount",
    ),
    ("/config", "config"),
];

/// A pod of two containers beside the pause container.
fn data() -> Value {
    let container = |name: &str| {
        let mounts = SHARED.map(|(destination, last)| {
            json!({"destination": destination, "source": format!("$(sfprefix){last}$"), "type_": "bind", "options": ["rbind", "rprivate", "rw"]})
        });
        let capabilities = CAPABILITIES.map(|kind| (kind.to_owned(), json!(["$(default_caps)"])));
        json!({
            "OCI": {
                "Version": "1.1.0",
                "Process": {
                    "Terminal": false,
                    "User": {"UID": 1000, "GID": 1000, "AdditionalGids": [1000], "Username": ""},
                    "Args": ["/serve", "--name", name],
                    "Env": ["PATH=/bin", "HOSTNAME=$(host-name)", "POD_IP=$(pod-ip)"],
                    "Cwd": "/",
                    "Capabilities": serde_json::Map::from_iter(capabilities),
                    "NoNewPrivileges": true,
                },
                "Root": {"Path": "$(root_path)", "Readonly": true},
                "Mounts": mounts,
                "Annotations": {
                    "io.katacontainers.pkg.oci.bundle_path": "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$(bundle-id)",
                    "io.katacontainers.pkg.oci.container_type": "pod_container",
                    "io.kubernetes.cri.container-type": "container",
                    "io.kubernetes.cri.container-name": name,
                    "io.kubernetes.cri.sandbox-id": "^[a-z0-9]{64}$",
                    "io.kubernetes.cri.sandbox-name": "^shop$",
                    "io.kubernetes.cri.sandbox-namespace": "",
                },
                "Linux": {
                    "Namespaces": [{"Type": "ipc", "Path": ""}, {"Type": "uts", "Path": ""}, {"Type": "mount", "Path": ""}],
                    "MaskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys"],
                    "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
                    "Devices": [],
                },
            },
            "storages": [],
            "devices": [],
            "sandbox_pidns": false,
            "exec_commands": [],
        })
    };
    json!({
        "containers": [container("other"), container("another"), container("web")],
        "common": {
            "cpath": "/run/kata-containers/shared/containers(?:/passthrough)?",
            "spath": "/run/kata-containers/sandbox/storage",
            "root_path": "/run/kata-containers/$(bundle-id)/rootfs",
            "sfprefix": "^$(cpath)/(watchable/)?$(bundle-id)-[a-z0-9]{16}-",
            "ip_p": "[0-9]{1,5}",
            "ipv4_a": "[0-9.]{7,15}",
            "svc_name_downward_env": "[A-Z](?:[A-Z0-9_]{0,61}[A-Z0-9])?",
            "dns_label": "[a-zA-Z0-9_\\.\\-]+",
            "default_caps": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"],
            "privileged_caps": [],
        },
        "cluster_config": {"guest_pull": true},
        "request_defaults": {"CreateContainerRequest": {"allow_env_regex": [
            "^HOSTNAME=$(dns_label)$",
            "^$(svc_name_downward_env)_PORT_$(ip_p)_(TCP|UDP)=(tcp|udp)://$(ipv4_a):$(ip_p)$",
            "^$(svc_name_downward_env)_PORT_$(ip_p)_(TCP|UDP)_PORT=$(ip_p)$",
            "^$(svc_name_downward_env)_SERVICE_HOST=$(ipv4_a)$",
            "^$(svc_name_downward_env)_SERVICE_PORT=$(ip_p)$",
            "^TERM=xterm$",
        ]}},
    })
}

fn request(change: impl Fn(&mut Value)) -> Request {
    let capabilities = data()["common"]["default_caps"].clone();
    let capabilities = CAPABILITIES.map(|kind| (kind.to_owned(), capabilities.clone()));
    let mounts = SHARED.map(|(destination, last)| {
        let source = format!("/run/kata-containers/shared/containers/{BUNDLE}-0123456789abcdef-{last}");
        json!({"destination": destination, "source": source, "type_": "bind", "options": ["rbind", "rprivate", "rw"]})
    });
    let mut body = json!({
        "container_id": BUNDLE,
        "OCI": {
            "Version": "1.1.0",
            "Annotations": {
                "io.katacontainers.pkg.oci.bundle_path": format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{BUNDLE}"),
                "io.katacontainers.pkg.oci.container_type": "pod_container",
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": "web",
                "io.kubernetes.cri.sandbox-id": BUNDLE,
                "io.kubernetes.cri.sandbox-name": "shop",
                "io.kubernetes.cri.sandbox-namespace": "default",
            },
            "Process": {
                "Args": ["/serve", "--name", "web"],
                "Env": [
                    "PATH=/bin", "HOSTNAME=shop", "POD_IP=10.0.0.1", "KUBERNETES_SERVICE_HOST=10.0.0.1",
                    "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443",
                ],
                "Cwd": "/",
                "NoNewPrivileges": true,
                "User": {"UID": 1000, "GID": 1000, "AdditionalGids": [1000]},
                "Capabilities": serde_json::Map::from_iter(capabilities),
            },
            "Root": {"Path": format!("/run/kata-containers/{BUNDLE}/rootfs"), "Readonly": true},
            "Mounts": mounts,
            "Linux": {
                "Namespaces": [{"Type": "ipc"}, {"Type": "uts"}, {"Type": "mount"}],
                "MaskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys"],
                "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
                "Resources": {},
            },
        },
    });
    change(&mut body);
    Request::new("CreateContainerRequest", body).expect("a request")
}
