//! Making policy data, beside what cannot be left out: reading the YAML, and writing the JSON.
//!
//! Bare means: the manifest parsed into a tree by the same parser, and the finished data, as a tree,
//! written by the same serialiser. No registry and no files: the lock of images is in memory.

use std::fmt::Write as _;

use kms_benches::{Comparison, compare_on_cpu, machine, smoke};
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::settings::Settings;
use serde_json::Value;

const IMAGES: &str = include_str!("../../kms-policy/tests/data/images.lock.json");

fn main() {
    if !smoke() && std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("Machine: {}.\n", machine());
    println!("| containers | make | parse and write | ratio | per container |");
    println!("|---|---|---|---|---|");
    for containers in [1, 2, 10, 50] {
        if smoke() && containers > 2 {
            continue;
        }
        let found = measure(containers);
        println!(
            "| {containers} | {:.0} us | {:.0} us | {:.2} | {:.0} us |",
            found.candidate_ns / 1e3,
            found.baseline_ns / 1e3,
            found.ratio,
            found.candidate_ns / 1e3 / f64::from(containers)
        );
    }
}

fn measure(containers: u32) -> Comparison {
    let settings = Settings::built_in(Profile::AksAzl3).unwrap();
    let images = ImageLock::parse(IMAGES).unwrap();
    let yaml = pod(containers);
    let make = || {
        let manifest = Manifest::parse(&yaml, &ManifestOptions::default()).unwrap();
        let mut inputs = Inputs::default();
        inputs.add(&manifest);
        let generator = Generator::new(Profile::AksAzl3, &settings, &images).with_inputs(inputs);
        let workload = manifest.workloads().next().unwrap();
        generator.policy_data(workload).unwrap().to_text().unwrap()
    };
    let data: Value = serde_json::from_str(&make()).unwrap();
    compare_on_cpu(make, || {
        let tree: Value = serde_saphyr::from_str(&yaml).unwrap();
        (tree, serde_json::to_string_pretty(&data).unwrap())
    })
}

/// A pod of so many containers, with what pods usually have.
fn pod(containers: u32) -> String {
    let mut yaml = "\
apiVersion: v1
kind: Pod
metadata: {name: bench, labels: {app: bench}}
spec:
  runtimeClassName: kata-cc-isolation
  volumes:
    - name: scratch
      emptyDir: {}
  containers:
"
    .to_owned();
    for number in 0..containers {
        write!(
            yaml,
            "    - name: c{number}
      image: registry.example/web:1
      command: [/serve, --port, \"80{number:02}\"]
      env:
        - name: GREETING
          value: hello
        - name: NODE
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
      resources:
        limits: {{cpu: 500m, memory: 128Mi}}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
      livenessProbe:
        exec:
          command: [/check]
      volumeMounts:
        - name: scratch
          mountPath: /tmp/scratch
"
        )
        .unwrap();
    }
    yaml
}
