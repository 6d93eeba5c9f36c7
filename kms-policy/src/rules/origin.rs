//! Whose rules a policy has.

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::Rules;
use crate::generate::Profile;
use crate::policy::hex;

/// Whose rules a policy has. What is told of a policy by its data holds under rules that are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RulesOrigin {
    /// Ours, of this version.
    BuiltIn,
    /// Those of a genpolicy that this crate knows by their SHA-256.
    Genpolicy,
    /// Somebody's. They may allow whatever they like.
    Unknown,
}

/// SHA-256 of `rules.rego` in microsoft/kata-containers, tags 3.2.0.azl3.genpolicy3 and
/// 3.15.0.aks0.genpolicy0.
const GENPOLICY: [&str; 2] = [
    "2ca6c0e9617f97a922724112bd738fd73881d35b9ae5d31d573f0871d1ecf897",
    "fc6b7c4db8b0b1179ff36d2c028952b9787387ce7f17d2b5a8b174b2b900d92c",
];

const PROFILES: [Profile; 3] = [Profile::AksAzl3, Profile::Aks3_15, Profile::Kata];

impl RulesOrigin {
    /// Tells it from the text of the rules, as [`PolicyDocument`](crate::document::PolicyDocument)
    /// has it.
    ///
    /// ```
    /// use kms_policy::generate::Profile;
    /// use kms_policy::rules::{Rules, RulesOrigin};
    ///
    /// let ours = Rules::built_in(Profile::Kata);
    /// assert_eq!(RulesOrigin::of(ours.text()), RulesOrigin::BuiltIn);
    /// assert_eq!(RulesOrigin::of("package agent_policy\n"), RulesOrigin::Unknown);
    /// ```
    #[must_use]
    pub fn of(rules: &str) -> Self {
        let is_ours = |profile| Rules::built_in(profile).text().trim_end() == rules.trim_end();
        if PROFILES.into_iter().any(is_ours) {
            return Self::BuiltIn;
        }
        let hash = hex(digest(&SHA256, rules.as_bytes()).as_ref());
        if GENPOLICY.contains(&&*hash) {
            return Self::Genpolicy;
        }
        Self::Unknown
    }
}

/// Requests that rules of unknown origin plainly open and ours do not, by the way that such rules are
/// mostly written: `default NAME := true` at the beginning of a line. There are other ways.
pub(crate) fn opened(rules: &str) -> BTreeSet<String> {
    let mut opened = named(rules);
    for profile in PROFILES {
        for harmless in named(Rules::built_in(profile).text()) {
            opened.remove(&harmless);
        }
    }
    opened
}

fn named(rules: &str) -> BTreeSet<String> {
    let lines = rules.lines().filter_map(|line| {
        let line = line.strip_prefix("default ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let name = name.trim_end().trim_end_matches(':').trim_end();
        let is_name = name.starts_with(|letter: char| letter.is_ascii_uppercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_name && value.trim() == "true").then(|| name.to_owned())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_opened_is_found() {
        let rules = "default A := true\ndefault B = true\nC := true\nD=true\nE := false\nf := true\n G := true\nStartContainerRequest := true\n";
        let found: Vec<_> = opened(rules).into_iter().collect();
        assert_eq!(found, ["A", "B", "C", "D"]);
    }
}
