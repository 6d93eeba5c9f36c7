//! Exec plugins, as shell scripts.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use kms_cluster::api::{ApiOptions, KubeApi, Kubeconfig};
use kms_core::object::{ListOptions, Rewriter as _};
use kms_core::{Clock as _, Error, ErrorKind};
use kms_testkit::ManualClock;
use kms_testkit::apiserver::ApiServer;
use tempfile::TempDir;

use super::{only, secrets, with_secret};

/// A plugin that is a script, and what it leaves behind.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let counted = format!("echo run >>\"$(dirname \"$0\")/runs\"\n{script}\n");
        std::fs::write(folder.path().join("plugin.sh"), counted).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).map_or(0, |text| text.lines().count())
    }

    /// `/bin/sh` runs it, so that no file is executed that was just written.
    fn api(&self, server: &ApiServer, options: ApiOptions) -> KubeApi {
        self.api_with(server, "", options)
    }

    fn api_with(&self, server: &ApiServer, more: &str, options: ApiOptions) -> KubeApi {
        let user = format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, \
             command: sh, args: [plugin.sh], env: [{{name: GREETING, value: hunter3}}]{more}}}"
        );
        let kubeconfig = server
            .kubeconfig_with(&user)
            .replace("plugin.sh", &self.path("plugin.sh").display().to_string());
        let parsed = Kubeconfig::parse(&kubeconfig, self.folder.path()).unwrap();
        KubeApi::new(parsed.target(None).unwrap(), options).unwrap()
    }
}

/// Prints a credential with this token and these fields.
fn prints(token: &str, more: &str) -> String {
    format!(
        r#"cat <<'END'
{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": "{token}"{more}}}}}
END"#
    )
}

async fn refused(api: &KubeApi) -> Error {
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    for shown in [
        format!("{error:?}"),
        error.remedy().to_owned(),
        format!("{api:?}"),
    ] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    error
}

#[tokio::test]
async fn a_plugin_logs_in_once_for_all() {
    let server = with_secret("db").await;
    let plugin = Plugin::new(&prints(&server.token("admin"), ""));
    let api = plugin.api(&server, ApiOptions::default());
    let calls = (0..8).map(|_| only(&api));
    futures_util::future::join_all(calls).await;
    assert_eq!(plugin.runs(), 1);
}

#[tokio::test]
async fn a_plugin_is_told_what_the_protocol_says() {
    let server = with_secret("db").await;
    let token = server.token("admin");
    let script = format!(
        "printf '%s' \"$KUBERNETES_EXEC_INFO\" >\"$(dirname \"$0\")/info\"\n\
         printf '%s' \"$GREETING\" >\"$(dirname \"$0\")/greeting\"\n\
         cat >\"$(dirname \"$0\")/stdin\"\n{}",
        prints(&token, "")
    );
    let plugin = Plugin::new(&script);
    let api = plugin.api_with(&server, ", provideClusterInfo: true", ApiOptions::default());
    only(&api).await;
    let info = std::fs::read_to_string(plugin.path("info")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["kind"], "ExecCredential");
    assert_eq!(info["spec"]["interactive"], false);
    assert_eq!(info["spec"]["cluster"]["server"], server.url());
    assert!(info["spec"]["cluster"]["certificate-authority-data"].is_string());
    let read = |name| std::fs::read_to_string(plugin.path(name)).unwrap();
    assert_eq!(
        (read("greeting").as_str(), read("stdin").as_str()),
        ("hunter3", "")
    );
}

#[tokio::test]
async fn a_credential_is_renewed_before_it_ends_and_when_it_is_refused() {
    let server = with_secret("db").await;
    server.accept_token("first", "admin");
    let clock = ManualClock::new();
    let end = jiff::Timestamp::try_from(clock.wall_time() + Duration::from_secs(3600)).unwrap();
    let expiry = format!(r#", "expirationTimestamp": "{end}""#);
    let plugin = Plugin::new(&format!(
        "if [ -e \"$(dirname \"$0\")/later\" ]\nthen\n{}\nelse\n{}\nfi",
        prints("second", ""),
        prints("first", &expiry)
    ));
    let options = ApiOptions::default().with_clock(Arc::new(clock.clone()));
    let api = plugin.api(&server, options);
    only(&api).await;
    only(&api).await;
    assert_eq!(plugin.runs(), 1);
    clock.advance(Duration::from_secs(3600 - 31));
    only(&api).await;
    assert_eq!(plugin.runs(), 1, "it is good for another second");

    std::fs::write(plugin.path("later"), "").unwrap();
    server.accept_token("second", "admin");
    clock.advance(Duration::from_secs(1));
    only(&api).await;
    assert_eq!(plugin.runs(), 2, "it is about to end");

    // The second one has no end but what the server says.
    clock.advance(Duration::from_secs(1_000_000));
    only(&api).await;
    assert_eq!(plugin.runs(), 2);
    server.revoke_token("second");
    let error = refused(&api).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(plugin.runs(), 3, "run once more, and no more than that");
    server.accept_token("second", "admin");
    only(&api).await;
}

#[tokio::test]
async fn a_certificate_of_a_plugin_is_shown() {
    let server = with_secret("db").await;
    let (certificate, key) = server.client_certificate("admin").unwrap();
    let credential = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": certificate, "clientKeyData": key},
    });
    let plugin = Plugin::new(&format!("cat <<'END'\n{credential}\nEND"));
    let api = plugin.api(&server, ApiOptions::default());
    only(&api).await;
}

#[tokio::test]
async fn what_a_plugin_does_wrong_is_said_without_its_words() {
    let server = with_secret("db").await;
    for (script, says) in [
        ("echo hunter2 >&2; exit 3", "exit status: 3"),
        ("echo hunter2", "not the JSON"),
        ("kill -9 $$", "signal: 9"),
        ("yes hunter2", "more than 262144 bytes"),
        ("exec >&-; exit 0", "not the JSON"),
        (&prints("hunter2 hunter2", ""), "header"),
        (&prints("", ""), "neither a token"),
    ] {
        let plugin = Plugin::new(script);
        let error = refused(&plugin.api(&server, ApiOptions::default())).await;
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{script}");
        assert!(error.message().contains(says), "{script}: {error}");
        assert!(error.remedy().contains("by hand"), "{}", error.remedy());
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed() {
    let server = with_secret("db").await;
    let plugin = Plugin::new("echo $$ >\"$(dirname \"$0\")/pid\"; exec sleep 1000");
    let options = ApiOptions::default().with_exec_timeout(Duration::from_millis(300));
    let error = refused(&plugin.api(&server, options)).await;
    assert!(error.message().contains("did not end within"), "{error}");
    let pid = std::fs::read_to_string(plugin.path("pid")).unwrap();
    let process = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    for _ in 0..200 {
        // Empty once it is dead, and gone once it was waited for.
        match std::fs::read(&process) {
            Ok(command) if !command.is_empty() => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => return,
        }
    }
    panic!("it still runs");
}

#[tokio::test]
async fn a_plugin_that_is_not_there_comes_with_its_hint() {
    let server = with_secret("db").await;
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: kms-no-such-plugin, \
                installHint: \"get it\\nthere\"}";
    let kubeconfig = server.kubeconfig_with(user);
    let target = Kubeconfig::parse(&kubeconfig, "/")
        .unwrap()
        .target(None)
        .unwrap();
    let api = KubeApi::new(target, ApiOptions::default()).unwrap();
    let error = refused(&api).await;
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.remedy(), "get it there");
    assert!(error.message().contains("kms-no-such-plugin"), "{error}");
}
