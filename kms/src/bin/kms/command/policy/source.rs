//! A policy to look at.

use std::path::Path;

use kms::{Failure, read_manifest};
use kms_policy::Policy;
use kms_policy::document::PolicyDocument;
use kms_policy::generate::Profile;

use super::{make, manifest};
use crate::args::policy::PolicySource;

/// A policy and the agent that it is for.
pub(super) struct Source {
    pub(super) profile: Profile,
    pub(super) policy: Policy,
    pub(super) document: PolicyDocument,
}

impl PolicySource {
    pub(super) fn open(&self) -> Result<Source, Failure> {
        if let Some(path) = &self.policy {
            return read(path);
        }
        let text = manifest(&self.inputs)?;
        let mut request = self.inputs.request();
        request.rules.clone_from(&self.rules);
        let made = make(&request, &text)?;
        let made = made.only()?;
        let policy = made.policy.clone();
        Ok(Source {
            profile: request.profile,
            document: PolicyDocument::parse(&policy)?,
            policy,
        })
    }
}

/// Reads a policy as text, or as the value of its annotation.
pub(super) fn read(path: &Path) -> Result<Source, Failure> {
    let text = read_manifest(path)?;
    let failed = |error: kms_policy::Error| Failure::from(error).at(path.display());
    let policy = if text.contains("policy_data") {
        Policy::from_text(text)
    } else {
        Policy::from_base64(&text).map_err(failed)?
    };
    let document = PolicyDocument::parse(&policy).map_err(failed)?;
    Ok(Source {
        profile: document.profile(),
        policy,
        document,
    })
}
