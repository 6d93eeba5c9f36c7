//! Kata agent policies for confidential pods.
//!
//! A confidential pod runs in a virtual machine whose agent obeys only what its policy allows, and whose
//! attestation report holds the hash of that policy. This crate makes the policy of a pod, offline and
//! the same on every machine, byte for byte as genpolicy makes it from the same input:
//!
//! - [`manifest`] reads the pod's YAML, and refuses what a policy could not speak about;
//! - [`settings`] are genpolicy's own file of what holds for every pod of a cluster;
//! - [`image`] is what is known of the pod's images: their configuration, and the dm-verity root hash of
//!   each layer;
//! - [`generate`] puts these together to the data of a policy;
//! - [`rules`] judge requests by that data; a [`Policy`] is both, with its hash;
//! - [`initdata`] is what it comes in on Kata Containers' main line;
//! - [`annotate`] puts it into the pod's file, and changes nothing else there;
//! - `evaluate` judges requests by a policy, as the agent does, and says why one was denied (feature
//!   `evaluate`);
//! - [`explain`], [`diff`] and [`lint`] tell a person what is in a policy;
//! - [`release`] is the policy of a key that only such a pod may have.
//!
//! Policies are made without network and clock, and files are read only where a path is given. The
//! feature `evaluate` reads the system's clock, to stop rules after 10 seconds, and judges on
//! a thread of its own; `registry` needs the network.
//!
//! ```no_run
//! use kms_policy::Policy;
//! use kms_policy::generate::{Generator, Inputs, Profile};
//! use kms_policy::image::ImageLock;
//! use kms_policy::manifest::{Manifest, ManifestOptions};
//! use kms_policy::rules::Rules;
//! use kms_policy::settings::Settings;
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let settings = Settings::read("genpolicy-settings.json".as_ref())?;
//! let images = ImageLock::parse(&std::fs::read_to_string("images.lock.json")?)?;
//! let rules = Rules::read("rules.rego".as_ref())?;
//! let manifest = Manifest::parse(&std::fs::read_to_string("pod.yaml")?, &ManifestOptions::default())?;
//! let mut inputs = Inputs::default();
//! inputs.add(&manifest);
//! let generator = Generator::new(Profile::AksAzl3, &settings, &images).with_inputs(inputs);
//! for workload in manifest.workloads() {
//!     let policy = Policy::assemble(&rules, &generator.policy_data(workload)?)?;
//!     println!("{}", policy.sha256_hex());
//! }
//! # Ok(())
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod annotate;
pub mod diff;
pub mod document;
mod error;
#[cfg(feature = "evaluate")]
pub mod evaluate;
pub mod explain;
mod file;
pub mod generate;
pub mod image;
pub mod initdata;
pub mod lint;
pub mod manifest;
mod policy;
pub mod release;
pub mod rules;
pub mod settings;

pub use error::{Error, ErrorKind};
pub use policy::{MAX_ANNOTATIONS_LEN, POLICY_ANNOTATION, Policy};
