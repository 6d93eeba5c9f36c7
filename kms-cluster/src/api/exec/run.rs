//! Running a plugin.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kms_core::{Clock, Error, ErrorKind};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::ExecPlugin;
use super::protocol::{ExecCredential, info};

/// The most that a plugin may print, in bytes: a token, or a chain of certificates and a key.
const MAX_OUTPUT_LEN: usize = 256 * 1024;

/// How a plugin is run.
#[derive(Debug)]
pub(in crate::api) struct RunOptions<'a> {
    pub(in crate::api) timeout: Duration,
    /// Whether its standard error is this program's.
    pub(in crate::api) shows_messages: bool,
    /// What it is told of the cluster, if it asks.
    pub(in crate::api) cluster: Option<&'a Value>,
    pub(in crate::api) clock: &'a dyn Clock,
}

/// Runs a plugin to its end and reads what it gave.
pub(in crate::api) async fn run(
    plugin: &ExecPlugin,
    options: &RunOptions<'_>,
) -> Result<ExecCredential, Error> {
    let program = find(plugin)?;
    let failed = |what: &str| {
        Error::new(
            ErrorKind::Unauthenticated,
            format!("the exec plugin {} {what}", plugin.name()),
        )
        .with_remedy("run the plugin by hand to see what it says, and log in as it asks: for AKS, `az login`")
    };
    let mut command = Command::new(program);
    command
        .args(plugin.arguments.iter().map(|argument| argument.as_str()))
        .env("KUBERNETES_EXEC_INFO", info(plugin, options.cluster))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if options.shows_messages {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .kill_on_drop(true);
    for (name, value) in &plugin.environment {
        command.env(name, value.as_str());
    }
    let mut child = command
        .spawn()
        .map_err(|source| failed("cannot be started").with_source(source))?;
    let output = child
        .stdout
        .take()
        .ok_or_else(|| failed("cannot be heard"))?;
    let mut printed = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT_LEN.saturating_add(64)));
    let limit = u64::try_from(MAX_OUTPUT_LEN).unwrap_or(u64::MAX);
    let work = async {
        let mut output = output.take(limit.saturating_add(1));
        output.read_to_end(&mut printed).await?;
        if printed.len() > MAX_OUTPUT_LEN {
            return Ok(None);
        }
        child.wait().await.map(Some)
    };
    let deadline = options.clock.now() + options.timeout;
    let ended = tokio::select! {
        biased;
        ended = work => ended,
        // The child is killed as it is dropped.
        () = options.clock.sleep_until(deadline) => {
            return Err(failed(&format!("did not end within {:?}", options.timeout)));
        }
    };
    match ended {
        Err(source) => Err(failed("cannot be heard").with_source(source)),
        Ok(None) => Err(failed("printed more than 262144 bytes")),
        Ok(Some(status)) if !status.success() => Err(failed(&format!("ended with {status}"))),
        Ok(Some(_)) => ExecCredential::read(&printed, plugin.version).map_err(failed),
    }
}

/// The program behind a command. A folder of `PATH` that is relative would let whoever can write
/// to the current one be run.
fn find(plugin: &ExecPlugin) -> Result<PathBuf, Error> {
    if plugin.command.components().count() > 1 {
        return Ok(plugin.command.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&plugin.command))
        .find(|program| is_executable(program))
        .ok_or_else(|| {
            let name = plugin.name();
            let hint = plugin.install_hint.clone();
            Error::new(
                ErrorKind::Io,
                format!("the exec plugin {name} is not in PATH"),
            )
            .with_remedy(hint.unwrap_or_else(|| format!("install {name}")))
        })
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
