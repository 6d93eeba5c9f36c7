//! Policies of a pod, and the requests that its own containers make.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use kms_policy::Policy;
use kms_policy::evaluate::{Evaluator, Request, Verdict};
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;
use serde_json::{Map, Value, json};

#[cfg(not(debug_assertions))]
pub(crate) use crate::mutants::seen;

/// The rules as tests are to see them: all of them.
#[cfg(debug_assertions)]
pub(crate) fn seen(text: &str) -> String {
    text.to_owned()
}

pub(crate) const PROFILES: [Profile; 3] = [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata];

pub(crate) const IMAGES: &str = include_str!("../data/images.lock.json");

/// A pod with something of everything.
pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: shop.v2
  namespace: store
spec:
  runtimeClassName: kata-cc
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
  volumes:
    - name: scratch
      emptyDir: {}
    - name: fast
      emptyDir: {medium: Memory}
  initContainers:
    - name: prepare
      image: registry.example/web:1
      command: [/prepare]
  containers:
    - name: web
      image: registry.example/web:1
      command: [/serve, --name, $(POD), a$$b]
      env:
        - {name: GREETING, value: hello}
        - name: POD
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: ADDRESS
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
      securityContext:
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
      livenessProbe:
        exec: {command: [/check, --fast]}
      volumeMounts:
        - {name: scratch, mountPath: /scratch}
        - {name: fast, mountPath: /fast}
";

/// One container more.
pub(crate) const EXTRA: &str = "
    - name: extra
      image: registry.example/web:1
      command: [/extra]
";

pub(crate) fn data(profile: Profile, yaml: &str) -> Value {
    let settings = Settings::built_in(profile).unwrap();
    let images = ImageLock::parse(IMAGES).unwrap();
    let manifest = Manifest::parse(yaml, &ManifestOptions::default()).unwrap();
    let mut inputs = Inputs::default();
    inputs.add(&manifest);
    let generator = Generator::new(profile, &settings, &images).with_inputs(inputs);
    let data = generator.policy_data(manifest.workloads().next().unwrap());
    serde_json::from_str(&data.unwrap().to_text().unwrap()).unwrap()
}

pub(crate) fn evaluator(profile: Profile, data: &Value) -> Evaluator {
    let rules = Rules::built_in(profile);
    let text = format!("{}\npolicy_data := {data}", seen(rules.text()));
    Evaluator::new(profile, &Policy::from_text(text)).unwrap()
}

pub(crate) fn verdict(evaluator: &mut Evaluator, kind: &str, body: &Value) -> Verdict {
    let request = Request::new(kind, body.clone()).unwrap();
    evaluator.judge(&request).unwrap().verdict
}

const BUNDLE: &str = "4bbf2a6b6b510a279cd17b2bfc8b64d39c11ebb55f855ba78a0034c4fe39424";
const SANDBOX: &str = "00ff2a6b6b510a279cd17b2bfc8b64d39c11ebb55f855ba78a0034c4fe394246";
const UUID: &str = "3a371de8-72b3-4bf8-9b5d-9dbb91e59fe3";

/// The request to create this container of the data, as a node makes it.
pub(crate) fn create(data: &Value, index: usize) -> Value {
    let container = &data["containers"][index];
    let oci = &container["OCI"];
    let common = &data["common"];
    // Of each container its own.
    let bundle = format!("{BUNDLE}{index}");
    let expand = |text: &str| {
        let root_path = common["root_path"].as_str().unwrap_or_default();
        text.replace("$(root_path)", root_path)
            .replace("$(sfprefix)", common["sfprefix"].as_str().unwrap())
            .replace("$(cpath)", common["cpath"].as_str().unwrap())
            .replace("$(spath)", common["spath"].as_str().unwrap())
            .replace("(?:/passthrough)?", "")
            .replace("(watchable/)?", "")
            .replace("[a-z0-9]{16}", "0123456789abcdef")
            .replace("$(bundle-id)", &bundle)
            .replace("$(sandbox-id)", SANDBOX)
            .trim_start_matches('^')
            .trim_end_matches('$')
            .to_owned()
    };
    let mut annotations = Map::new();
    for (key, value) in oci["Annotations"].as_object().unwrap() {
        let value = match &**key {
            "io.kubernetes.cri.sandbox-id" => SANDBOX.to_owned(),
            "io.kubernetes.cri.sandbox-name" => "shop.v2".to_owned(),
            "io.kubernetes.cri.sandbox-log-directory" => {
                format!("/var/log/pods/store_shop.v2_{UUID}")
            }
            "nerdctl/network-namespace" => format!("/var/run/netns/cni-{UUID}"),
            _ => expand(value.as_str().unwrap()),
        };
        annotations.insert(key.clone(), json!(value));
    }
    let root = expand(oci["Root"]["Path"].as_str().unwrap());
    let (storages, disks) = storages(container, &root, &expand);
    let mut disks = disks.into_iter();
    let mounts = oci["Mounts"].as_array().unwrap().iter().map(|mount| {
        let mut mount = mount.clone();
        let source = mount["source"].as_str().unwrap();
        mount["source"] = if source.contains("b64_device_id") {
            json!(disks.next().unwrap())
        } else if source.contains("$(") || source.starts_with('^') {
            json!(expand(source))
        } else {
            json!(source)
        };
        mount
    });
    let mounts: Vec<_> = mounts.collect();
    let names = |kind: &str| match oci["Process"]["Capabilities"][kind].as_array() {
        Some(names) if names == &[json!("$(default_caps)")] => common["default_caps"].clone(),
        Some(names) => json!(names),
        None => json!([]),
    };
    let fill = |texts: &Value| -> Vec<String> {
        let texts = texts.as_array().unwrap().iter();
        let texts = texts.map(|text| {
            text.as_str()
                .unwrap()
                .replace("$(POD)", "shop.v2")
                .replace("$(sandbox-name)", "shop.v2")
                .replace("$(pod-ip)", "10.0.0.7")
                .replace("$(host-name)", "shop.v2")
                .replace("$$", "$")
        });
        texts.collect()
    };
    json!({
        "container_id": bundle,
        "OCI": {
            "Version": oci["Version"],
            "Annotations": annotations,
            "Mounts": mounts,
            "Root": {"Path": root, "Readonly": oci["Root"]["Readonly"]},
            "Process": {
                "Terminal": oci["Process"]["Terminal"],
                "Args": fill(&oci["Process"]["Args"]),
                "Env": fill(&oci["Process"]["Env"]),
                "Cwd": oci["Process"]["Cwd"],
                "NoNewPrivileges": oci["Process"]["NoNewPrivileges"],
                "SelinuxLabel": "",
                "User": oci["Process"]["User"],
                "Capabilities": {
                    "Ambient": names("Ambient"), "Bounding": names("Bounding"),
                    "Effective": names("Effective"), "Inheritable": names("Inheritable"),
                    "Permitted": names("Permitted"),
                },
            },
            "Linux": {
                "Namespaces": oci["Linux"]["Namespaces"],
                "MaskedPaths": oci["Linux"]["MaskedPaths"],
                "ReadonlyPaths": oci["Linux"]["ReadonlyPaths"],
                "Resources": {"Devices": [], "BlockIO": null, "Network": null, "Pids": null},
                "Sysctl": {}, "Devices": [], "UIDMappings": [], "GIDMappings": [],
                "MountLabel": "", "RootfsPropagation": "",
            },
        },
        "storages": storages,
        "devices": [],
        "shared_mounts": [],
        "sandbox_pidns": container["sandbox_pidns"],
    })
}

/// Storages, and where the disks among them are mounted.
fn storages(
    container: &Value,
    root: &str,
    expand: &dyn Fn(&str) -> String,
) -> (Vec<Value>, Vec<String>) {
    let mut disks = Vec::new();
    let all = container["storages"].as_array().unwrap();
    let overlay = all.iter().find(|storage| storage["driver"] == "overlayfs");
    let listed = |place: usize| -> Vec<String> {
        let text = overlay.and_then(|overlay| overlay["options"][place].as_str());
        text.unwrap_or_default()
            .split(':')
            .map(str::to_owned)
            .collect()
    };
    let (names, hashes) = (listed(0), listed(1));
    let layer = |hash: &str| {
        vec![
            "io.katacontainers.fs-opt.block_device=file".to_owned(),
            "io.katacontainers.fs-opt.is-layer".to_owned(),
            format!("io.katacontainers.fs-opt.root-hash={hash}"),
        ]
    };
    let mut place = 0;
    let storages = all.iter().map(|policy| {
        let mut storage = policy.clone();
        match policy["driver"].as_str().unwrap() {
            "overlayfs" => {
                let mut options = vec!["io.katacontainers.fs-opt.layer-src-prefix=/var/lib/containerd/io.containerd.snapshotter.v1.tardev/layers".to_owned()];
                for (name, hash) in names.iter().zip(&hashes) {
                    let line = [vec![name.clone(), "tar".to_owned(), "ro".to_owned()], layer(hash)].concat();
                    options.push(format!("io.katacontainers.fs-opt.layer={}", STANDARD.encode(line.join(","))));
                }
                options.push("io.katacontainers.fs-opt.overlay-rw".to_owned());
                options.push(format!("lowerdir={}", names.join(":")));
                storage["options"] = json!(options);
                storage["mount_point"] = json!(root);
                storage["source"] = json!("none");
            }
            "blk" if policy["fstype"] == "tar" => {
                let options = [vec!["ro".to_owned()], layer(&hashes[place])].concat();
                storage["options"] = json!(options);
                storage["mount_point"] =
                    json!(format!("/run/kata-containers/sandbox/layers/{}", names[place]));
                storage["source"] = json!(format!("0001:00:0{place}.0"));
                place += 1;
            }
            "" => {
                let device = format!("0{}/00", disks.len());
                let point = expand("$(spath)/ID").replace("ID", &URL_SAFE.encode(&device));
                storage["driver"] = json!("blk");
                storage["source"] = json!(device);
                storage["mount_point"] = json!(point);
                storage["shared"] = json!(true);
                disks.push(point);
            }
            _ => storage["mount_point"] = json!(expand(policy["mount_point"].as_str().unwrap())),
        }
        storage
    });
    let storages = storages.collect();
    (storages, disks)
}

/// The request to run the probe of the container that was created by `create(data, index)`.
pub(crate) fn probe(data: &Value, index: usize) -> Value {
    let process = &create(data, index)["OCI"]["Process"];
    json!({
        "container_id": format!("{BUNDLE}{index}"),
        "process": {
            "Args": ["/check", "--fast"],
            "Cwd": process["Cwd"],
            "Env": process["Env"],
            "NoNewPrivileges": process["NoNewPrivileges"],
            "Terminal": process["Terminal"],
            "User": process["User"],
        },
    })
}
