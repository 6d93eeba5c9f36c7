//! Containers.

use super::environment::{EnvFrom, EnvVar, env_from, env_var};
use super::tree::{Node, Unsupported};
use crate::{Error, ErrorKind};

/// A container, as far as a policy speaks about it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image, as it is written.
    pub image: String,
    /// The command, instead of the image's.
    pub command: Option<Vec<String>>,
    /// The arguments, instead of the image's.
    pub args: Option<Vec<String>>,
    /// Variables.
    pub env: Vec<EnvVar>,
    /// Variables from a whole ConfigMap or Secret.
    pub env_from: Vec<EnvFrom>,
    /// The working directory, instead of the image's.
    pub working_dir: Option<String>,
    /// Where volumes appear.
    pub volume_mounts: Vec<VolumeMount>,
    /// Whom and what it runs as.
    pub security: ContainerSecurity,
    /// Commands that the kubelet runs in it: probes, then hooks.
    pub exec_commands: Vec<Vec<String>>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub stdin: bool,
    /// Where it leaves its last words.
    pub termination_message_path: Option<String>,
    /// Where block devices appear.
    pub device_paths: Vec<String>,
    /// What it may use, by resource; a limit counts over a request.
    pub resource_limits: Vec<(String, String)>,
}

/// `securityContext` of a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ContainerSecurity {
    /// Whether its root file system cannot be written.
    pub read_only_root_filesystem: bool,
    /// Whether a process may gain rights.
    pub allow_privilege_escalation: Option<bool>,
    /// Whether it has all rights.
    pub privileged: bool,
    /// Capabilities on top of those by default.
    pub added_capabilities: Vec<String>,
    /// Capabilities without which it runs.
    pub dropped_capabilities: Vec<String>,
    /// The user.
    pub run_as_user: Option<i64>,
    /// The group.
    pub run_as_group: Option<i64>,
}

/// Where a volume appears in a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// Whether it cannot be written there.
    pub read_only: bool,
    /// How mounts below it spread.
    pub propagation: Option<String>,
    /// Which part of the volume, if not all.
    pub sub_path: Option<String>,
}

pub(super) fn container(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Container, Error> {
    let mut fields = node.fields()?;
    let (no_name, no_image) = (fields.required("name"), fields.required("image"));
    let mut exec_commands = Vec::new();
    for probe_name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let found = fields.with(probe_name, |node| probe(node, unsupported))?;
        exec_commands.extend(found.flatten());
    }
    let hooks = fields.with("lifecycle", |node| lifecycle(node, unsupported))?;
    exec_commands.extend(hooks.unwrap_or_default());
    let container = Container {
        name: fields.text("name")?.ok_or(no_name)?,
        image: fields.text("image")?.ok_or(no_image)?,
        command: fields.texts("command")?,
        args: fields.texts("args")?,
        env: fields.list("env", |node| env_var(node, unsupported))?,
        env_from: fields.list("envFrom", |node| env_from(node, unsupported))?,
        working_dir: fields.text("workingDir")?,
        volume_mounts: fields.list("volumeMounts", |node| volume_mount(node, unsupported))?,
        security: fields
            .with("securityContext", |node| security(node, unsupported))?
            .unwrap_or_default(),
        exec_commands,
        tty: fields.boolean("tty")?.unwrap_or_default(),
        stdin: fields.boolean("stdin")?.unwrap_or_default(),
        termination_message_path: fields.text("terminationMessagePath")?,
        device_paths: fields.list("volumeDevices", |node| device(node, unsupported))?,
        resource_limits: fields
            .with("resources", |node| resources(node, unsupported))?
            .unwrap_or_default(),
    };
    fields.without_effect(&[
        "imagePullPolicy",
        "ports",
        "resizePolicy",
        "restartPolicy",
        "stdinOnce",
        "terminationMessagePolicy",
    ]);
    fields.finish(unsupported)?;
    Ok(container)
}

fn probe(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Option<Vec<String>>, Error> {
    let mut fields = node.fields()?;
    let command = fields.with("exec", |node| exec(node, unsupported))?;
    fields.without_effect(&[
        "failureThreshold",
        "grpc",
        "httpGet",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "tcpSocket",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    ]);
    fields.finish(unsupported)?;
    Ok(command)
}

fn lifecycle(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Vec<Vec<String>>, Error> {
    let mut fields = node.fields()?;
    let mut commands = Vec::new();
    for hook in ["postStart", "preStop"] {
        let found = fields.with(hook, |node| {
            let mut fields = node.fields()?;
            let command = fields.with("exec", |node| exec(node, unsupported))?;
            fields.without_effect(&["httpGet", "sleep", "tcpSocket"]);
            fields.finish(unsupported)?;
            Ok(command)
        })?;
        commands.extend(found.flatten());
    }
    fields.without_effect(&["stopSignal"]);
    fields.finish(unsupported)?;
    Ok(commands)
}

fn exec(node: Node<'_>, unsupported: &mut Unsupported) -> Result<Vec<String>, Error> {
    let mut fields = node.fields()?;
    let command = fields.texts("command")?.unwrap_or_default();
    fields.finish(unsupported)?;
    Ok(command)
}

fn volume_mount(node: Node<'_>, unsupported: &mut Unsupported) -> Result<VolumeMount, Error> {
    let mut fields = node.fields()?;
    let (no_name, no_path) = (fields.required("name"), fields.required("mountPath"));
    let expression = fields.text("subPathExpr")?;
    let mount = VolumeMount {
        name: fields.text("name")?.ok_or(no_name)?,
        mount_path: fields.text("mountPath")?.ok_or(no_path)?,
        read_only: fields.boolean("readOnly")?.unwrap_or_default(),
        propagation: fields.text("mountPropagation")?,
        sub_path: fields.text("subPath")?.or(expression),
    };
    fields.finish(unsupported)?;
    Ok(mount)
}

fn device(node: Node<'_>, unsupported: &mut Unsupported) -> Result<String, Error> {
    let mut fields = node.fields()?;
    let missing = fields.required("devicePath");
    let path = fields.text("devicePath")?.ok_or(missing)?;
    fields.without_effect(&["name"]);
    fields.finish(unsupported)?;
    Ok(path)
}

fn security(node: Node<'_>, unsupported: &mut Unsupported) -> Result<ContainerSecurity, Error> {
    let mut fields = node.fields()?;
    let capabilities = fields.with("capabilities", |node| {
        let mut fields = node.fields()?;
        let lists = (fields.texts("add")?, fields.texts("drop")?);
        fields.finish(unsupported)?;
        Ok(lists)
    })?;
    let (added, dropped) = capabilities.unwrap_or_default();
    let security = ContainerSecurity {
        read_only_root_filesystem: fields
            .boolean("readOnlyRootFilesystem")?
            .unwrap_or_default(),
        allow_privilege_escalation: fields.boolean("allowPrivilegeEscalation")?,
        privileged: fields.boolean("privileged")?.unwrap_or_default(),
        added_capabilities: added.unwrap_or_default(),
        dropped_capabilities: dropped.unwrap_or_default(),
        run_as_user: fields.integer("runAsUser")?,
        run_as_group: fields.integer("runAsGroup")?,
    };
    fields.without_effect(&["runAsNonRoot", "seccompProfile"]);
    fields.finish(unsupported)?;
    Ok(security)
}

fn resources(
    node: Node<'_>,
    unsupported: &mut Unsupported,
) -> Result<Vec<(String, String)>, Error> {
    let mut fields = node.fields()?;
    let mut found: Vec<(String, String)> = Vec::new();
    for kind in ["limits", "requests"] {
        let entries = fields.with(kind, |node| node.entries())?;
        for (name, value) in entries.unwrap_or_default() {
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), value.scalar()?));
            }
        }
    }
    fields.without_effect(&["claims"]);
    fields.finish(unsupported)?;
    Ok(found)
}

impl Container {
    /// Refuses names that could not be Kubernetes' own.
    pub(super) fn check(&self, path: &str) -> Result<(), Error> {
        if self.image.is_empty() || self.image.chars().any(char::is_whitespace) {
            return Err(
                Error::new(ErrorKind::Manifest, "is no reference to an image")
                    .at(format!("{path}.image")),
            );
        }
        Ok(())
    }
}
