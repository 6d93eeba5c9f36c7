//! `kms policy eval`, `replay`, `explain`, `diff`, `lint` and `release`: what a person asks of a policy.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::command::kms;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: shop, namespace: store}
spec:
  runtimeClassName: kata-cc
  containers:
    - name: web
      image: registry.example/web:1
      command: [/serve]
      env: [{name: DB_PASSWORD, value: hunter2}]
      securityContext: {runAsUser: 1000, runAsGroup: 1000}
";

/// What a command said.
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A directory with a pod and facts of its images.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let lock = fs::read("../kms-policy/tests/data/images.lock.json").unwrap();
        fs::write(desk.path("images.lock.json"), lock).unwrap();
        desk.write("pod.yaml", POD);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs a subcommand with arguments in which `@` is the directory.
    fn run(&self, arguments: &str) -> Told {
        let directory = self.0.path().to_str().unwrap();
        let arguments = arguments.split(' ').map(|it| it.replace('@', directory));
        let mut all = vec!["policy".to_owned()];
        all.extend(arguments);
        let all: Vec<_> = all.iter().map(|argument| &**argument).collect();
        let ran = kms(&all);
        Told {
            code: ran.code,
            stdout: String::from_utf8(ran.stdout).unwrap(),
            stderr: ran.stderr,
        }
    }
}

const FROM: &str = "-y @/pod.yaml --profile kata --images @/images.lock.json";

fn json_of(ran: &Told) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

#[test]
fn requests_are_judged_and_a_denial_is_explained_without_secrets() {
    let desk = Desk::new();
    let sandbox = json!({"sandbox_pidns": false});
    let cases = json!([
        {"kind": "CreateSandboxRequest", "allowed": true, "description": "a sandbox", "request": sandbox},
        {"kind": "SetPolicyRequest", "allowed": false, "request": {}},
    ]);
    desk.write("cases.json", &cases.to_string());
    let ran = desk.run(&format!("eval {FROM} @/cases.json"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("allowed   CreateSandboxRequest  a sandbox"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("denied    SetPolicyRequest"),
        "{}",
        ran.stdout
    );

    let wrong = json!([{"kind": "CreateContainer", "allowed": true, "request": {"OCI": {
        "Annotations": {"io.kubernetes.cri.container-name": "web"},
        "Process": {"Env": ["DB_PASSWORD=hunter3"]},
    }}}]);
    desk.write("wrong.json", &wrong.to_string());
    let ran = desk.run(&format!("eval {FROM} @/wrong.json --json"));
    assert_eq!(ran.code, Some(1));
    let answer = json_of(&ran);
    let denial = &answer["requests"][0]["denial"];
    assert_eq!(denial["nearest"], "web");
    assert!(
        denial["differences"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["field"] == "OCI.Process.Env[DB_PASSWORD]")
    );
    assert!(!ran.stdout.contains("hunter"), "{}", ran.stdout);

    desk.write(
        "policy.jsonl",
        &format!(
            "{}\n",
            json!({"kind": "CreateSandboxRequest", "request": sandbox})
        ),
    );
    assert_eq!(
        desk.run(&format!("replay {FROM} @/policy.jsonl")).code,
        Some(0)
    );
    desk.write(
        "policy.jsonl",
        "{\"kind\":\"WriteStreamRequest\",\"request\":{}}\n",
    );
    let ran = desk.run(&format!("replay {FROM} @/policy.jsonl"));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains("request_defaults.WriteStreamRequest"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_policy_is_explained_linted_and_compared() {
    let desk = Desk::new();
    let ran = desk.run(&format!("explain {FROM}"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("1000:1000"), "{}", ran.stdout);
    let answer = json_of(&desk.run(&format!("explain {FROM} --json")));
    assert_eq!(answer["explanation"]["containers"][1]["name"], "web");

    let ran = desk.run(&format!("lint {FROM} --json"));
    assert_eq!(ran.code, Some(1), "a secret in clear is an error");
    let answer = json_of(&ran);
    assert_eq!(answer["findings"][0]["code"], "secret-in-clear");
    assert!(!ran.stdout.contains("hunter2"));

    let data = |cwd: &str| {
        let container = json!({"OCI": {"Process": {"Cwd": cwd}}});
        format!(
            "package agent_policy\npolicy_data := {}",
            json!({"containers": [container]})
        )
    };
    desk.write("a.rego", &data("/a"));
    desk.write("b.rego", &data("/b"));
    let ran = desk.run("diff @/a.rego @/b.rego");
    assert!(
        ran.stdout.contains("OCI.Process.Cwd: \"/a\" -> \"/b\""),
        "{}",
        ran.stdout
    );
    let ran = desk.run("diff @/a.rego @/a.rego --json");
    assert_eq!(json_of(&ran)["changes"], json!([]));
}

#[test]
fn a_release_policy_is_made_and_says_which_condition_fails() {
    let desk = Desk::new();
    let hash = "9bc1a6ed4b2a64a1e2ba1f0d8b9bd32f9a0f6f2b1c6f1a2b3c4d5e6f708192a3";
    let authority = "https://sharedeus2.eus2.attest.azure.net";
    let ran = desk.run(&format!(
        "release --hash {hash} --authority {authority} --json"
    ));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let answer = json_of(&ran);
    assert_eq!(answer["release_policy"]["immutable"], false);
    desk.write("policy.json", &answer["policy"].to_string());
    let claims = json!({
        "iss": authority, "x-ms-attestation-type": "sevsnpvm", "x-ms-sevsnpvm-hostdata": hash,
        "x-ms-compliance-status": "azure-signed-katacc-uvm", "x-ms-sevsnpvm-is-debuggable": false,
        "x-ms-sevsnpvm-vmpl": 0,
    });
    desk.write("claims.json", &claims.to_string());
    let ran = desk.run("release check @/policy.json @/claims.json");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // What the command prints, and what a vault holds, are policies as well.
    let printed = desk.run(&format!("release --hash {hash} --authority {authority}"));
    let held = json!({"release_policy": answer["release_policy"]}).to_string();
    for text in [printed.stdout, held, answer["release_policy"].to_string()] {
        desk.write("policy.json", &text);
        let ran = desk.run("release check @/policy.json @/claims.json");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    desk.write("policy.json", &format!("{0} {0}", answer["policy"]));
    let ran = desk.run("release check @/policy.json @/claims.json");
    assert_eq!(ran.code, Some(1), "which of the two?");
    desk.write("policy.json", &answer["policy"].to_string());
    desk.write("claims.json", &claims.to_string().replace("false", "true"));
    let ran = desk.run("release check @/policy.json @/claims.json");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("FAILS"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("x-ms-sevsnpvm-is-debuggable"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        desk.run("release --hash 12 --authority https://a").code,
        Some(1)
    );
}
