//! Pods for tests: what differs, in YAML, and the data that comes of it.

use serde_json::Value;

use super::{Generator, Inputs, Profile};
use crate::Error;
use crate::image::{ImageFacts, ImageLock, LayerFacts};
use crate::manifest::{Manifest, ManifestOptions};
use crate::settings::Settings;

pub(super) const ALL: [Profile; 3] = [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata];
pub(super) const IMAGE: &str = "registry.example/web:1";

/// What is known of [`IMAGE`], unless a test says otherwise.
pub(super) fn facts() -> ImageFacts {
    let layer = LayerFacts {
        name: Some("11".repeat(32)),
        verity: Some("aa".repeat(32)),
        ..LayerFacts::default()
    };
    let mut facts = ImageFacts {
        layers: vec![layer],
        ..ImageFacts::default()
    };
    facts.config.env = Some(vec!["PATH=/bin".to_owned()]);
    facts.config.entrypoint = Some(vec!["/entry".to_owned()]);
    facts.config.cmd = Some(vec!["serve".to_owned()]);
    facts
}

/// A workload of one container, from parts of YAML.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) profile: Profile,
    pub(super) facts: ImageFacts,
    pub(super) settings: Settings,
    kind: &'static str,
    metadata: &'static str,
    pod: String,
    container: String,
    others: String,
}

impl Sample {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            facts: facts(),
            settings: Settings::built_in(profile).unwrap(),
            kind: "Pod",
            metadata: "{name: web}",
            pod: String::new(),
            container: String::new(),
            others: String::new(),
        }
    }

    pub(super) const fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// In flow style.
    pub(super) const fn metadata(mut self, metadata: &'static str) -> Self {
        self.metadata = metadata;
        self
    }

    /// A field of the pod in one line.
    pub(super) fn pod(mut self, field: &str) -> Self {
        self.pod = format!("{}\n{field}", self.pod);
        self
    }

    /// A field of the container in one line.
    pub(super) fn container(mut self, field: &str) -> Self {
        self.container = format!("{}\n  {field}", self.container);
        self
    }

    /// A document beside it, in flow style.
    pub(super) fn with(mut self, document: &str) -> Self {
        self.others = format!("{}\n---\n{document}", self.others);
        self
    }

    fn yaml(&self) -> String {
        let Self {
            kind,
            metadata,
            pod,
            container,
            others,
            ..
        } = self;
        let spec = format!("containers:\n- name: c\n  image: {IMAGE}{container}{pod}")
            .replace('\n', "\n          ");
        let body = match *kind {
            "Pod" => format!("spec:\n          {spec}"),
            "CronJob" => format!(
                "spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          {spec}"
            ),
            "StatefulSet" => format!(
                "spec:\n  volumeClaimTemplates:\n  - {{metadata: {{name: claim}}, spec: {{storageClassName: cc-local-csi}}}}\n  template:\n    spec:\n          {spec}"
            ),
            _ => format!("spec:\n  template:\n    spec:\n          {spec}"),
        };
        format!("kind: {kind}\nmetadata: {metadata}\n{body}{others}\n")
    }

    pub(super) fn data(&self) -> Result<Value, Error> {
        let manifest = Manifest::parse(&self.yaml(), &ManifestOptions::default())?;
        let mut images = ImageLock::default();
        images.insert(IMAGE, self.facts.clone());
        let mut pause = facts();
        pause.config.entrypoint = Some(vec!["/pause".to_owned()]);
        pause.config.cmd = None;
        pause.config.user = Some("65535:65535".to_owned());
        images.insert("mcr.microsoft.com/oss/kubernetes/pause:3.6", pause);
        let mut inputs = Inputs::default();
        inputs.add(&manifest);
        let generator = Generator::new(self.profile, &self.settings, &images).with_inputs(inputs);
        let workload = manifest.workloads().next().unwrap();
        let text = generator.policy_data(workload)?.to_text()?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[track_caller]
    pub(super) fn containers(&self) -> Vec<Value> {
        let data = self
            .data()
            .unwrap_or_else(|error| panic!("{error}\n{}", self.yaml()));
        data["containers"].as_array().unwrap().clone()
    }

    /// Data of the pause container.
    #[track_caller]
    pub(super) fn pause(&self) -> Value {
        self.containers().remove(0)
    }

    /// Data of the container.
    #[track_caller]
    pub(super) fn made(&self) -> Value {
        self.containers().remove(1)
    }

    /// Why there is none.
    #[track_caller]
    pub(super) fn refused(&self) -> Error {
        self.data().unwrap_err()
    }
}
