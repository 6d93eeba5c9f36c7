//! Credential helpers: programs `docker-credential-NAME` that know credentials.
//!
//! They are run as Docker runs them: with the word `get`, the registry on standard input, and one JSON
//! object as the answer. No shell is between, the answer is bounded, and so is the time.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::credentials::{Credentials, Secret};
use super::docker_config::DOCKER_HUB;
use crate::image::digest::shown;
use crate::{Error, ErrorKind};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// A helper may ask a cloud; none needs a minute.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a helper says, in these words, of a registry that it does not know.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";
/// The name that goes with an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Asks a helper for the credentials of a registry; none if it has none.
pub(super) async fn ask(name: &str, registry: &str) -> Result<Option<Credentials>, Error> {
    let failed = |what: &str| {
        Error::new(
            ErrorKind::Registry,
            format!("the credential helper docker-credential-{} {what}", shown(name)),
        )
        .with_remedy("run it by hand with the word `get` and the registry on standard input, or correct Docker's configuration")
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_letter) {
        return Err(failed("has a name that is none"));
    }
    let program = find(name).ok_or_else(|| failed("is not in PATH"))?;
    ask_program(&program, server(registry), TIMEOUT, failed).await
}

async fn ask_program(
    program: &Path,
    server: &str,
    timeout: Duration,
    failed: impl Fn(&str) -> Error,
) -> Result<Option<Credentials>, Error> {
    let ran = tokio::time::timeout(timeout, run(program, server.as_bytes())).await;
    let (is_success, printed) = ran
        .map_err(|_| failed("did not end within 30 s"))?
        .map_err(|source| failed("cannot be run").with_source(source))?;
    if printed.len() > MAX_ANSWER {
        return Err(failed("printed over 256 KiB"));
    }
    if !is_success {
        if printed.trim_ascii().starts_with(NOT_FOUND) {
            return Ok(None);
        }
        return Err(failed("failed"));
    }
    // The cause might show what it printed.
    let answer: Answer =
        serde_json::from_slice(&printed).map_err(|_| failed("did not answer as helpers do"))?;
    Ok(Some(if answer.username == TOKEN {
        Credentials::IdentityToken(answer.secret)
    } else {
        Credentials::Password {
            name: answer.username,
            password: answer.secret,
        }
    }))
}

/// What Docker calls a registry before helpers.
fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB {
        "https://index.docker.io/v1/"
    } else {
        registry
    }
}

/// Whether it ended well, and what it printed: a little over the bound, if it printed more.
async fn run(program: &Path, input: &[u8]) -> std::io::Result<(bool, Zeroizing<Vec<u8>>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Of a future that is dropped, as a time-out does it.
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read need not: its answer tells.
        let _ = stdin.write_all(input).await;
    }
    // As large as it gets, so that no smaller copy is left behind.
    let mut printed = Zeroizing::new(Vec::with_capacity(MAX_ANSWER.saturating_add(64)));
    if let Some(stdout) = child.stdout.take() {
        let mut bounded = stdout.take((MAX_ANSWER as u64).saturating_add(1));
        bounded.read_to_end(&mut printed).await?;
    }
    if printed.len() > MAX_ANSWER {
        return Ok((false, printed));
    }
    Ok((child.wait().await?.success(), printed))
}

/// The program, in `PATH`. A folder there that is relative would let whoever can write to the current
/// one be run.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("docker-credential-{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&file))
        .find(|program| program.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What comes of a program that does this and would go on for ever.
    async fn ask_endless(script: &str, timeout: Duration) -> String {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let failed = |what: &str| Error::new(ErrorKind::Registry, what.to_owned());
        let error = ask_program(&program, "registry.example", timeout, failed)
            .await
            .unwrap_err();
        error.to_string()
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_not_waited_for() {
        let timeout = Duration::from_millis(50);
        for script in ["exec sleep 600", "exec >&-; exec sleep 600"] {
            let said = ask_endless(script, timeout).await;
            assert!(said.contains("did not end"), "{script}: {said}");
        }
    }

    #[tokio::test]
    async fn a_program_that_prints_for_ever_is_not_read_for_ever() {
        let said = ask_endless("exec cat /dev/zero", Duration::from_secs(600)).await;
        assert!(said.contains("over 256 KiB"), "{said}");
    }
}
