//! Rules: how a policy judges a request by its data.

mod built_in;

use std::path::Path;

use crate::generate::Profile;
use crate::{Error, ErrorKind};

/// The longest rules, in bytes: the limit of the agent's engine.
const MAX_LEN: u64 = 16 * 1024 * 1024;

/// Rules in Rego, of the package `agent_policy`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    text: String,
}

impl Rules {
    /// Somebody's rules. Their bytes are kept as they are, so that a policy's hash is that of any
    /// other tool with the same rules.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Rules`] if no line says `package agent_policy`, or they define `policy_data`
    /// themselves.
    pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let refused = |what: &str| Error::new(ErrorKind::Rules, format!("the rules {what}"));
        let mut lines = text.lines().map(str::trim);
        if !lines.any(|line| line == "package agent_policy") {
            return Err(refused(
                "are not of the package agent_policy: the agent would not find them",
            ));
        }
        if text.lines().any(|line| line.starts_with("policy_data :=")) {
            return Err(refused("hold policy data already: give rules alone"));
        }
        Ok(Self { text })
    }

    /// Reads a file of rules.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read, is not UTF-8 or is over 16 MiB; and as
    /// [`Rules::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(crate::file::read_text(path, MAX_LEN)?)
    }

    /// Our own rules for the agent of this profile: a request that they do not open is denied.
    ///
    /// ```
    /// use kms_policy::generate::Profile;
    /// use kms_policy::rules::Rules;
    ///
    /// assert!(Rules::built_in(Profile::Kata).text().starts_with("package agent_policy\n"));
    /// ```
    #[must_use]
    pub fn built_in(profile: Profile) -> Self {
        Self {
            text: built_in::text(profile),
        }
    }

    /// Their text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_their_package_and_bring_no_data() {
        assert!(Rules::parse("# ours\npackage agent_policy\n").is_ok());
        for text in [
            "",
            "package policy\n",
            "package agent_policy\npolicy_data := {}\n",
        ] {
            assert_eq!(
                Rules::parse(text).unwrap_err().kind(),
                ErrorKind::Rules,
                "{text}"
            );
        }
    }
}
