//! Rules: how a policy judges a request by its data.
//!
//! [`Rules::built_in`] are our own. They are written once for both dialects of Rego, in `rules/*.rego`,
//! one concern a file; `stateless.rego` is for agents without state between requests, `state.rego` for
//! the others. A request that no rule opens is denied, and one that is opened is judged whole.
//!
//! # What a container may not differ in
//!
//! A request to create a container is allowed if one container of the data allows all of it. A
//! change of any of these fields alone is denied (`tests/rules/changes.rs` changes each):
//!
//! - of the request: `shared_mounts`, `string_user`, `sandbox_pidns`, `devices`; of each of `storages`
//!   the driver and its options, file system, options, mount point and group, and how many there are;
//!   with dm-verity each layer's name, root hash and place;
//! - of `OCI`: `Version`, `Hooks`, `Solaris`, `Windows`, `Root` (path and whether it is read-only), each
//!   of `Mounts` (destination, source, type, options, and no destination twice), `Annotations`;
//! - of `OCI.Process`: `Terminal`, `User`, `Args`, each of `Env` (and no name twice), `Cwd`, the five sets
//!   of `Capabilities`, `NoNewPrivileges`, `SelinuxLabel`;
//! - of `OCI.Linux`: `Namespaces`, `MaskedPaths`, `ReadonlyPaths`, `Sysctl`, `Devices`, `Seccomp`, `IntelRdt`,
//!   `MountLabel`, `RootfsPropagation`, `UIDMappings`, `GIDMappings`, and of `Resources` the devices, block
//!   IO, network and pids.
//!
//! Not judged, as they take nothing from the workload that the host could not take anyway: `Hostname`,
//! `CgroupsPath`, `Rlimits`, `OOMScoreAdj`, `ConsoleSize`, `ApparmorProfile` (the guest has none), CPU and
//! memory, ports of streams, the annotation with the image's name, and `io.kubernetes.cri.*` annotations
//! that the data lack. More of `/proc` and `/sys` may be masked or read-only than the data say, as newer
//! nodes do, and nothing else; a masked path counts as read-only; a process's own group may stand among
//! its further groups or not. A variable or mount that is missing is allowed, as with genpolicy's rules:
//! [`lint`](mod@crate::lint) says so of each container.
//!
//! # Where they are stricter than genpolicy's
//!
//! - A storage by which the guest pulls an image is judged: at most one, onto the container's root, of
//!   the name, and with a digest the digest, that the policy says; never where layers are proved by
//!   dm-verity root hashes. One recorded case that genpolicy's rules allow is denied for this (`aks-3.15`,
//!   "sysctls listed in yaml or settings": an image that the guest pulls in place of proved layers).
//! - Sources of routes, neighbours and interfaces have addresses that are surely not the loopback's,
//!   however they are written, and with `aks-azl3` too, whose settings say nothing of it. The loopback
//!   device is not found by its hardware address either.
//! - A container does not take the place of another: with state neither its id nor its bundle, and with
//!   `aks-azl3`, which has none, its id is that of its bundle.
//! - Of a variable that the image and the manifest set, the manifest's value counts, and settings that
//!   allow a name open it only to containers that do not set it.
//! - Two volumes that are disks of their own are not one disk; so a disk that a container mounts in two
//!   places is refused, as the data do not tell it from two. Making the policy
//!   [says so](crate::generate::Generator::remarks).
//! - An image is pulled as what the container is: the pause image for the sandbox alone.
//! - Names of pods and sandboxes are of their own form before they become part of an expression, and
//!   the bundle of the root, of the mounts and of the annotation is one.
//! - No variable comes twice.
//!
//! What cannot be closed here is told by [`lint`](mod@crate::lint): what is in a file that the host copies
//! in, what is in an image that the guest pulls by a tag, variables that may have any value, what may be
//! left out, and commands that older data hold as one text. Not closed either: in which order containers
//! are created, and which disk is whose among several containers.
//!
//! With `aks-3.15` any version 1 of the OCI runtime specification is allowed, as nodes of one pool speak
//! several; with the other profiles it is the one of the settings.

mod built_in;
mod origin;

use std::path::Path;

pub use self::origin::RulesOrigin;
pub(crate) use self::origin::opened;

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
