//! Our own rules, from the files in `rules/`.

use crate::generate::Profile;

/// What every agent's rules have.
const COMMON: &[&str] = &[
    include_str!("../../rules/gates.rego"),
    include_str!("../../rules/text.rego"),
    include_str!("../../rules/container.rego"),
    include_str!("../../rules/process.rego"),
    include_str!("../../rules/annotations.rego"),
    include_str!("../../rules/mounts.rego"),
    include_str!("../../rules/storages.rego"),
    include_str!("../../rules/devices.rego"),
    include_str!("../../rules/exec.rego"),
    include_str!("../../rules/files.rego"),
    include_str!("../../rules/network.rego"),
    include_str!("../../rules/sandbox.rego"),
];

/// What else the agent of a profile needs.
const fn of_profile(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::AksAzl3 => &[include_str!("../../rules/stateless.rego")],
        Profile::Aks3_15 => &[
            include_str!("../../rules/state.rego"),
            include_str!("../../rules/aks_3_15.rego"),
        ],
        Profile::Kata => &[
            include_str!("../../rules/disks.rego"),
            include_str!("../../rules/state.rego"),
        ],
    }
}

/// The rules as one module. Comments stay in the source: a policy is an annotation, and the
/// annotations of an object have 256 KiB.
pub(super) fn text(profile: Profile) -> String {
    let mut text = String::new();
    let mut is_first = true;
    for file in COMMON.iter().chain(of_profile(profile)) {
        for line in file.lines() {
            let is_head = line.starts_with("package ") || line.starts_with("import ");
            let is_comment = line.trim_start().starts_with('#');
            let is_empty = line.is_empty();
            if (is_head && !is_first) || is_comment || is_empty {
                continue;
            }
            text.push_str(line);
            text.push('\n');
        }
        is_first = false;
    }
    text
}
