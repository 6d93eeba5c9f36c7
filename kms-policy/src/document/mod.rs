//! A policy, read back: its rules, and its data as fields. What tells a person about a policy reads
//! this; it takes the data of every profile, and what it does not know it leaves aside.

mod data;

pub(crate) use data::words;
pub use data::{
    DocumentContainer, DocumentData, DocumentLinux, DocumentMount, DocumentNamespace, DocumentOci,
    DocumentProcess, DocumentRoot, DocumentStorage, DocumentUser,
};

use crate::generate::Profile;
use crate::{Error, ErrorKind, Policy};

/// The longest policy that is read back, in bytes: the limit of the agent's engine.
const MAX_LEN: usize = 16 * 1024 * 1024;
/// What stands before the data.
const MARK: &str = "policy_data := ";

/// A policy, read back.
///
/// ```
/// use kms_policy::Policy;
/// use kms_policy::document::PolicyDocument;
///
/// let policy = Policy::from_text("package agent_policy\npolicy_data := {\"containers\": []}");
/// let document = PolicyDocument::parse(&policy).unwrap();
/// assert!(document.data.containers.is_empty());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyDocument {
    /// The text of its rules: what stands before the data, and behind them.
    pub rules: String,
    /// Its data.
    pub data: DocumentData,
}

impl PolicyDocument {
    /// Which agent it is for, by what only that agent's data have.
    #[must_use]
    pub fn profile(&self) -> Profile {
        if self.data.cluster_config.is_some() {
            Profile::Kata
        } else if self
            .data
            .request_defaults
            .contains_key("UpdateRoutesRequest")
        {
            Profile::Aks3_15
        } else {
            Profile::AksAzl3
        }
    }

    /// Reads a policy that was put together as genpolicy does: rules, then `policy_data := ` at the
    /// beginning of a line, then JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rules`] if it is over 16 MiB, has no such data, or they are not of their form.
    pub fn parse(policy: &Policy) -> Result<Self, Error> {
        let refused = |what: String| Error::new(ErrorKind::Rules, format!("the policy {what}"));
        let text = policy.text();
        if text.len() > MAX_LEN {
            return Err(refused("is over 16 MiB".to_owned()));
        }
        let (rules, json) = match text.strip_prefix(MARK) {
            Some(json) => ("", json),
            None => text.rsplit_once(&format!("\n{MARK}")).ok_or_else(|| {
                refused("has no line that begins with `policy_data := `".to_owned())
            })?,
        };
        let mut reader = serde_json::Deserializer::from_str(json).into_iter();
        let data: DocumentData = reader
            .next()
            .ok_or_else(|| refused("has no data".to_owned()))?
            .map_err(|error| refused(format!("has data that are not of their form: {error}")))?;
        // Rules may follow the data, and count as much as those before.
        let behind = json.get(reader.byte_offset()..).unwrap_or_default();
        let mut rules = rules.to_owned();
        if !behind.trim().is_empty() {
            rules.push_str(behind);
        }
        Ok(Self { rules, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_data_is_read() {
        for text in [
            "",
            "package agent_policy\n",
            "policy_data := 7",
            "x policy_data := {}",
        ] {
            let error = PolicyDocument::parse(&Policy::from_text(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rules, "{text}");
        }
        let text =
            "package agent_policy\npolicy_data := {\"containers\": [{}]}\ndefault X := false\n";
        let document = PolicyDocument::parse(&Policy::from_text(text)).unwrap();
        assert_eq!(document.data.containers.len(), 1);
        assert_eq!(
            document.rules, "package agent_policy\ndefault X := false\n",
            "those behind the data count as much"
        );
    }
}
