//! Running the binary.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What came of one run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

pub(crate) fn kms(arguments: &[&str]) -> Ran {
    kms_with_input(arguments, b"")
}

/// With a directory in front of the search path.
pub(crate) fn kms_with_path(arguments: &[&str], bin: &Path) -> Ran {
    let mut paths = vec![bin.to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut command = command(arguments);
    command.env("PATH", std::env::join_paths(paths).unwrap());
    run(command, b"")
}

pub(crate) fn kms_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    run(command(arguments), input)
}

fn run(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments does not read; that is no fault of the test.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    Ran {
        code: status.code(),
        stdout,
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .env_remove("AZURE_FEDERATED_TOKEN_FILE")
        .env_remove("AZURE_AUTHORITY_HOST")
        .env_remove("KMS_AZURE_IDENTITY")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A server that is killed when the test ends.
pub(crate) struct Served(Child);

impl Served {
    /// Starts it and waits for its socket.
    pub(crate) fn start(arguments: &[&str], socket: &Path) -> Self {
        Self::start_until(arguments, || {
            std::os::unix::net::UnixStream::connect(socket).is_ok()
        })
    }

    /// Starts a server and waits until it is `ready`.
    pub(crate) fn start_until(arguments: &[&str], ready: impl Fn() -> bool) -> Self {
        let mut served = Self(command(arguments).stdin(Stdio::null()).spawn().unwrap());
        loop {
            if ready() {
                return served;
            }
            if let Some(status) = served.0.try_wait().unwrap() {
                panic!("kms ended with {status}");
            }
            std::thread::yield_now();
        }
    }

    /// Asks it to stop, as a service manager would, and returns its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that tells of events, one JSON object a line, and is killed when the test ends.
pub(crate) struct Events {
    child: Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
    told: Vec<Value>,
}

impl Events {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        // What it says to people is seen if the test fails.
        command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            lines: out.lines(),
            told: Vec::new(),
        }
    }

    /// The next event that is wanted.
    pub(crate) fn wait(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        for line in self.lines.by_ref() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            self.told.push(event.clone());
            if is_wanted(&event) {
                return event;
            }
        }
        panic!("it ended before that: {:#?}", self.told);
    }

    /// As a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(mut self) -> Option<i32> {
        for line in self.lines.by_ref() {
            let _ = line.unwrap();
        }
        self.child.wait().unwrap().code()
    }

    /// Asks it to stop, as a service manager would.
    pub(crate) fn terminate(self) -> Option<i32> {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.unwrap().success());
        self.end()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Standard error, which is one JSON object and nothing else.
    pub(crate) fn error_json(&self) -> Value {
        serde_json::from_str(&self.stderr).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Refused or failed: exit code 1, one paragraph that says what to do, and nothing on
    /// standard output.
    #[track_caller]
    pub(crate) fn refused(self) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.stderr.contains("To do: "), "{self:?}");
        self
    }
}
