//! Requests, from test cases and from the agent's log.

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, ErrorKind};

/// The longest request in JSON, in bytes.
pub const MAX_REQUEST_LEN: usize = 4 * 1024 * 1024;
/// The longest file of requests, in bytes.
const MAX_FILE_LEN: usize = 256 * 1024 * 1024;

/// Entry points of a policy that the agent asks, one for each request.
pub(crate) const ENTRY_POINTS: &[&str] = &[
    "AddARPNeighborsRequest",
    "AddSwapPathRequest",
    "AddSwapRequest",
    "CloseStdinRequest",
    "CopyFileRequest",
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "DestroySandboxRequest",
    "ExecProcessRequest",
    "GetDiagnosticDataRequest",
    "GetIPTablesRequest",
    "GetMetricsRequest",
    "GetOOMEventRequest",
    "GuestDetailsRequest",
    "ListInterfacesRequest",
    "ListRoutesRequest",
    "MemAgentCompactConfig",
    "MemAgentMemcgConfig",
    "MemHotplugByProbeRequest",
    "OnlineCPUMemRequest",
    "PauseContainerRequest",
    "ReadStreamRequest",
    "RemoveContainerRequest",
    "RemoveStaleVirtiofsShareMountsRequest",
    "ReseedRandomDevRequest",
    "ResizeVolumeRequest",
    "ResumeContainerRequest",
    "SetGuestDateTimeRequest",
    "SetIPTablesRequest",
    "SetPolicyRequest",
    "SignalProcessRequest",
    "StartContainerRequest",
    "StartTracingRequest",
    "StatsContainerRequest",
    "StopTracingRequest",
    "TtyWinResizeRequest",
    "UpdateContainerRequest",
    "UpdateEphemeralMountsRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "VolumeStatsRequest",
    "WaitProcessRequest",
    "WriteStreamRequest",
];

/// A request to the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    kind: String,
    body: Value,
}

impl Request {
    /// A request of this kind, such as `CreateContainerRequest`, with its fields as JSON. Fields that
    /// are left out have their default values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`] if the kind is no name, or the fields are no JSON object.
    pub fn new(kind: &str, body: Value) -> Result<Self, Error> {
        let is_name =
            kind.len() <= 128 && kind.chars().all(|letter| letter.is_ascii_alphanumeric());
        if kind.is_empty() || !is_name {
            return Err(refused("its kind is no name of letters and digits"));
        }
        if !body.is_object() {
            return Err(refused("its fields are no JSON object"));
        }
        Ok(Self {
            kind: full_name(kind),
            body,
        })
    }

    /// As [`Request::new`], from text.
    ///
    /// # Errors
    ///
    /// As [`Request::new`]; also if the text is no JSON, or over 4 MiB.
    pub fn parse(kind: &str, body: &str) -> Result<Self, Error> {
        if body.len() > MAX_REQUEST_LEN {
            return Err(refused("it is over 4 MiB"));
        }
        let body = serde_json::from_str(body)
            .map_err(|error| refused(&format!("its fields are no JSON: {error}")))?;
        Self::new(kind, body)
    }

    /// Which entry point of a policy judges it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its fields, as they were given.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }
}

/// The entry point that is meant: its name in any case, with or without `Request`.
fn full_name(kind: &str) -> String {
    let short = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.strip_suffix("request").unwrap_or(&lower).to_owned()
    };
    let known = ENTRY_POINTS
        .iter()
        .find(|known| short(known) == short(kind));
    known.map_or_else(|| kind.to_owned(), |known| (*known).to_owned())
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::Request, format!("a request is wrong: {what}"))
}

/// A request with what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Case {
    /// What it shows, if that is said.
    pub description: Option<String>,
    /// Whether it is to be allowed, if that is said.
    pub allowed: Option<bool>,
    /// The request.
    pub request: Request,
}

#[derive(Deserialize)]
struct Recorded {
    description: Option<String>,
    allowed: Option<bool>,
    kind: Option<String>,
    request: Value,
}

impl Recorded {
    fn case(self, default_kind: Option<&str>) -> Result<Case, Error> {
        let kind = self.kind.as_deref().or(default_kind);
        let kind = kind.ok_or_else(|| refused("it does not say its kind"))?;
        Ok(Case {
            description: self.description,
            allowed: self.allowed,
            request: Request::new(kind, self.request)?,
        })
    }
}

/// Reads requests: a JSON list of test cases (`description`, `allowed`, `kind`, `request`), one such
/// object, or the agent's log with one in each line. `default_kind` is the kind of those that do not
/// say it.
///
/// # Errors
///
/// [`ErrorKind::Request`] if the text is none of these, with the place in it; or over 256 MiB.
pub fn requests(text: &str, default_kind: Option<&str>) -> Result<Vec<Case>, Error> {
    if text.len() > MAX_FILE_LEN {
        return Err(refused("the file is over 256 MiB"));
    }
    if let Some(recorded) = serde_json::from_str::<Value>(text)
        .ok()
        .filter(Value::is_array)
    {
        let recorded = Vec::<Recorded>::deserialize(recorded)
            .map_err(|error| refused(&format!("no test case: {error}")))?;
        let cases = recorded.into_iter().enumerate();
        let cases = cases.map(|(index, one)| {
            one.case(default_kind)
                .map_err(|error| error.at(format!("[{index}]")))
        });
        return cases.collect();
    }
    if let Ok(one) = serde_json::from_str::<Recorded>(text) {
        return Ok(vec![one.case(default_kind)?]);
    }
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let cases = lines.map(|(index, line)| {
        let at = |error: Error| error.at(format!("line {}", index.saturating_add(1)));
        if line.len() > MAX_REQUEST_LEN {
            return Err(at(refused("it is over 4 MiB")));
        }
        let recorded: Recorded = serde_json::from_str(line)
            .map_err(|error| at(refused(&format!("no JSON of a request: {error}"))))?;
        recorded.case(default_kind).map_err(at)
    });
    cases.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_logs_are_read() {
        let list = r#"[{"description": "d", "allowed": true, "request": {"path": "/a"}}]"#;
        let cases = requests(list, Some("copyfile")).unwrap();
        assert_eq!(cases[0].request.kind(), "CopyFileRequest");
        assert_eq!(cases[0].allowed, Some(true));
        let log = "{\"kind\":\"CreateSandboxRequest\",\"request\":{}}\n\n{\"kind\":\"MemAgentMemcgConfig\",\"request\":{}}\n";
        let cases = requests(log, None).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[1].request.kind(), "MemAgentMemcgConfig");
        for (text, path) in [
            ("[{\"request\": {}}]", Some("[0]")),
            ("{\"kind\":\"X\",\"request\":{}}\n{", Some("line 2")),
            ("{\"kind\":\"a.b\",\"request\":{}}", None),
            ("{\"kind\":\"X\",\"request\":[]}", None),
        ] {
            let error = requests(text, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{text}");
            assert_eq!(error.path(), path, "{text}");
        }
    }
}
