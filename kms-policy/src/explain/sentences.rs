//! The explanation as text.

use core::fmt;

use super::{ContainerExplanation, Explanation, ImageProof};
use crate::rules::RulesOrigin;

/// The longest command in the table, in letters.
const MAX_COMMAND: usize = 48;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workloads = self
            .containers
            .iter()
            .filter(|it| it.name != "pause")
            .count();
        if self.rules == RulesOrigin::Unknown {
            writeln!(
                f,
                "ITS RULES ARE NOT KNOWN. They may allow anything; what follows is what the data would allow under rules that heed them."
            )?;
            if !self.opened_by_rules.is_empty() {
                let opened = self.opened_by_rules.join(", ");
                writeln!(f, "They open, whatever the data say: {opened}.")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "The pod may run {workloads} container(s) beside the pause container, each as listed and no other."
        )?;
        match &*self.open_requests {
            [] => writeln!(
                f,
                "The host may neither read nor write the containers' streams."
            )?,
            open => writeln!(f, "The host may always ask for: {}.", open.join(", "))?,
        }
        match &*self.commands_anywhere {
            [] => writeln!(f, "No command may be run in every container.")?,
            commands => writeln!(f, "May be run in every container: {}.", commands.join("; "))?,
        }
        if self.guest_pulls_images {
            writeln!(
                f,
                "The guest pulls images itself: the policy checks their names, not what is in them."
            )?;
        }
        writeln!(f)?;
        let rows = self.containers.iter().map(row);
        let head = [
            "CONTAINER",
            "USER",
            "RIGHTS",
            "ROOT",
            "IMAGE PROVED BY",
            "COMMAND",
        ];
        let mut table = vec![head.map(str::to_owned)];
        table.extend(rows);
        let mut widths = [0_usize; 6];
        for row in &table {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &table {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", line.trim_end())?;
        }
        for container in &self.containers {
            details(f, container)?;
        }
        Ok(())
    }
}

fn row(container: &ContainerExplanation) -> [String; 6] {
    let rights = if container.is_privileged {
        "all".to_owned()
    } else if container.capabilities.is_empty() {
        "none".to_owned()
    } else {
        container.capabilities.join(",")
    };
    let root = if container.root_is_writable {
        "writable"
    } else {
        "read-only"
    };
    let proof = match container.proof {
        ImageProof::RootHashes => "root hashes",
        ImageProof::Digest => "its digest",
        ImageProof::Nothing => "nothing",
    };
    let command = container.command.join(" ").replace('\n', " ");
    let short: String = command.chars().take(MAX_COMMAND).collect();
    [
        container.name.clone(),
        format!("{}:{}", container.user, container.group),
        rights,
        root.to_owned(),
        proof.to_owned(),
        short,
    ]
}

fn details(f: &mut fmt::Formatter<'_>, container: &ContainerExplanation) -> fmt::Result {
    let lists = [
        (
            "sees files that the host provides at",
            &container.shared_with_host,
        ),
        ("may have any value in", &container.free_variables),
        ("may be asked to run", &container.commands),
    ];
    let name = &container.name;
    for (what, list) in lists {
        if !list.is_empty() {
            write!(f, "\n{name} {what}: {}.", list.join(", "))?;
        }
    }
    if container.may_gain_privileges {
        write!(f, "\n{name} may gain privileges (set-user-id programs).")?;
    }
    if container.devices > 0 {
        write!(f, "\n{name} gets {} device(s).", container.devices)?;
    }
    Ok(())
}
