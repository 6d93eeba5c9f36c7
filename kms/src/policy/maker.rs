//! Making policies for a file of manifests.

use std::collections::BTreeSet;

use kms_policy::annotate::annotate;
use kms_policy::generate::{Generator, Inputs, Profile};
use kms_policy::image::ImageLock;
use kms_policy::initdata::{Initdata, InitdataAlgorithm, MAX_INITDATA_LEN, Tee};
use kms_policy::manifest::{MAX_MANIFEST_LEN, Manifest, ManifestOptions, Workload};
use kms_policy::rules::Rules;
use kms_policy::settings::Settings;
use kms_policy::{MAX_ANNOTATIONS_LEN, Policy};

use super::PolicyRequest;
use crate::Failure;
use crate::input::read_long_text;

/// The longest lock file of images, in bytes.
const MAX_IMAGES_LEN: usize = 64 * 1024 * 1024;

/// Everything that policies are made from but the manifest, read and checked.
#[derive(Debug)]
pub struct PolicyMaker {
    profile: Profile,
    settings: Settings,
    images: ImageLock,
    rules: Rules,
    inputs: Vec<Manifest>,
    options: ManifestOptions,
    runtime_classes: Vec<String>,
    /// What a policy is added to, where it comes in initdata.
    initdata: Option<Initdata>,
}

/// The policies of one file of manifests.
#[derive(Debug)]
#[non_exhaustive]
pub struct MadePolicies {
    /// One for each workload, in the order of the file; none where its runtime class was not asked
    /// for.
    pub policies: Vec<Option<MadePolicy>>,
    /// Fields that were passed over, as asked.
    pub ignored_fields: Vec<String>,
}

/// The policy of one workload.
#[derive(Debug)]
#[non_exhaustive]
pub struct MadePolicy {
    /// Kind and name, such as `Deployment/web`.
    pub workload: String,
    /// The text of its data.
    pub data: String,
    /// Rules and data together.
    pub policy: Policy,
    /// The initdata that hold the policy, with the profile `kata`.
    pub initdata: Option<Initdata>,
    /// What whoever reads the log should know of it.
    pub remarks: Vec<String>,
    /// The length of the pod's other annotations, in bytes.
    other_annotations_len: usize,
}

impl PolicyMaker {
    /// Reads what the request names.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file and what is wrong with it.
    pub fn open(request: &PolicyRequest) -> Result<Self, Failure> {
        let settings = match &request.settings {
            Some(path) => {
                Settings::read(path).map_err(|error| Failure::from(error).at(path.display()))?
            }
            None => Settings::built_in(request.profile)?,
        };
        let rules = match &request.rules {
            Some(path) => {
                Rules::read(path).map_err(|error| Failure::from(error).at(path.display()))?
            }
            None => Rules::built_in(request.profile),
        };
        let options = ManifestOptions::default()
            .with_ignore_unsupported_fields(request.ignore_unsupported_fields);
        let inputs = request.config_files.iter().map(|path| {
            let text = read_long_text(path, MAX_MANIFEST_LEN)?;
            Manifest::parse(&text, &options)
                .map_err(|error| Failure::from(error).at(path.display()))
        });
        Ok(Self {
            profile: request.profile,
            settings,
            images: read_images(request)?,
            rules,
            inputs: inputs.collect::<Result<_, _>>()?,
            options,
            runtime_classes: request.runtime_classes.clone(),
            initdata: read_initdata(request)?,
        })
    }

    /// Makes the policies of everything in this text that runs pods.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the field, image or setting that stands in the way.
    pub fn make(&self, yaml: &str) -> Result<MadePolicies, Failure> {
        let manifest = Manifest::parse(yaml, &self.options)?;
        let mut inputs = Inputs::default();
        inputs.add(&manifest);
        for file in &self.inputs {
            inputs.add(file);
        }
        let generator =
            Generator::new(self.profile, &self.settings, &self.images).with_inputs(inputs);
        let policies = manifest.workloads().map(|workload| {
            if !self.is_wanted(workload) {
                return Ok(None);
            }
            self.policy(&generator, workload).map(Some)
        });
        Ok(MadePolicies {
            policies: policies.collect::<Result<_, Failure>>()?,
            ignored_fields: manifest.ignored_fields.clone(),
        })
    }

    /// Whether the workload's runtime class begins with one of those that were asked for.
    fn is_wanted(&self, workload: &Workload) -> bool {
        let class = &workload.pod.runtime_class_name;
        let mut wanted = self.runtime_classes.iter();
        self.runtime_classes.is_empty() || wanted.any(|prefix| class.starts_with(&**prefix))
    }

    fn policy(
        &self,
        generator: &Generator<'_>,
        workload: &Workload,
    ) -> Result<MadePolicy, Failure> {
        let metadata = &workload.metadata;
        let name = metadata.name.as_ref().or(metadata.generate_name.as_ref());
        let name = name.map_or("", |name| name);
        let workload_name = format!("{}/{name}", workload.kind.as_str());
        let data = generator
            .policy_data(workload)
            .map_err(|error| Failure::from(error).at(&workload_name))?;
        let policy = Policy::assemble(&self.rules, &data)?;
        let initdata = self.initdata.clone();
        let initdata = initdata.map(|initdata| initdata.with_policy(&policy));
        let others = workload.pod_metadata.annotations.iter();
        let others = others.map(|(name, value)| name.len().saturating_add(value.len()));
        Ok(MadePolicy {
            remarks: generator.remarks(workload, &data),
            data: data.to_text()?,
            policy,
            initdata,
            workload: workload_name,
            other_annotations_len: others.fold(0, usize::saturating_add),
        })
    }
}

/// What policies are added to; none where they come by themselves.
fn read_initdata(request: &PolicyRequest) -> Result<Option<Initdata>, Failure> {
    if request.profile != Profile::Kata {
        let is_asked = request.initdata.is_some()
            || request.initdata_algorithm.is_some()
            || !request.initdata_entries.is_empty();
        return if is_asked {
            Err(Failure::usage(
                format!("the agent of {} has no initdata", request.profile.as_str()),
                "give --profile kata, or leave initdata out",
            ))
        } else {
            Ok(None)
        };
    }
    let mut initdata = match &request.initdata {
        Some(path) => Initdata::parse(&read_long_text(path, MAX_INITDATA_LEN)?)
            .map_err(|error| Failure::from(error).at(path.display()))?,
        None => Initdata::new(InitdataAlgorithm::default()),
    };
    if let Some(algorithm) = request.initdata_algorithm {
        initdata = initdata.with_algorithm(algorithm);
    }
    let mut given = BTreeSet::from(["policy.rego"]);
    for (name, path) in &request.initdata_entries {
        if !given.insert(name) {
            return Err(Failure::usage(
                format!("--entry {name}: it is given twice, or is the policy, which is made here"),
                "give each entry once, and the policy's rules with --rego-rules-path",
            ));
        }
        let text = read_long_text(path, MAX_INITDATA_LEN)?;
        initdata = initdata.with_entry(name, &**text);
    }
    Ok(Some(initdata))
}

fn read_images(request: &PolicyRequest) -> Result<ImageLock, Failure> {
    let path = &request.images;
    if !path.exists() {
        return Err(Failure::new(
            "image",
            format!("there is no lock file of images at {}", path.display()),
            "make one with `kms policy images lock`, and name it with --images",
        ));
    }
    let text = read_long_text(path, MAX_IMAGES_LEN)?;
    ImageLock::parse(&text).map_err(|error| Failure::from(error).at(path.display()))
}

impl MadePolicies {
    /// The manifest with its policies put in their places, and nothing else changed.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the pod's annotations would be longer than Kubernetes takes, or the manifest is
    /// written in a way that cannot be changed in place.
    pub fn annotate(&self, yaml: &str, profile: Profile) -> Result<String, Failure> {
        let name = profile.annotation();
        let values = self.policies.iter().map(|policy| {
            let Some(policy) = policy else {
                return Ok(None);
            };
            let value = policy.annotation()?;
            let len = name.len().saturating_add(value.len());
            let len = len.saturating_add(policy.other_annotations_len);
            if len > MAX_ANNOTATIONS_LEN {
                return Err(Failure::new(
                    "manifest",
                    format!("the annotations would take {len} bytes, and Kubernetes takes 262144"),
                    "split the pod: each container adds to its policy; or use a profile whose policies are compressed",
                )
                .at(&policy.workload));
            }
            Ok(Some(value))
        });
        let values = values.collect::<Result<Vec<_>, Failure>>()?;
        Ok(annotate(yaml, name, &values)?)
    }

    /// The only policy there is.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none, or several: their texts one behind the other would be no
    /// policy, and their hash that of no pod.
    pub fn only(&self) -> Result<&MadePolicy, Failure> {
        let mut policies = self.policies.iter().flatten();
        match (policies.next(), policies.next()) {
            (Some(policy), None) => Ok(policy),
            (None, _) => Err(Failure::new(
                "manifest",
                "nothing in the file gets a policy",
                "give a file with something that runs pods, of the runtime class that was asked for",
            )),
            (Some(first), Some(second)) => Err(Failure::new(
                "manifest",
                format!(
                    "several workloads get a policy here, {} and {} among them, and their policies joined would be that of none",
                    first.workload, second.workload
                ),
                "give a file with one workload, or use `kms policy hash`, which has one line for each",
            )),
        }
    }
}

impl MadePolicy {
    /// The value of the annotation that brings it to the agent.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if initdata cannot be compressed.
    pub fn annotation(&self) -> Result<String, Failure> {
        match &self.initdata {
            Some(initdata) => Ok(initdata.to_annotation()?),
            None => Ok(self.policy.to_base64()),
        }
    }

    /// The 64 hexadecimal digits that the report of the pod's AMD SEV-SNP machine holds: over the
    /// policy, or over the initdata that hold it.
    #[must_use]
    pub fn host_data(&self) -> String {
        match &self.initdata {
            Some(initdata) => initdata.hex_for(Tee::Snp),
            None => self.policy.sha256_hex(),
        }
    }
}
