//! What is taken and what is refused.

use kms_core::ErrorKind;
use proptest::prelude::*;

use super::*;
use crate::api::target::Login;

/// What no error and no `Debug` may show.
const HUSH: &str = "hunter2";

fn parse(text: &str) -> Result<Kubeconfig, Error> {
    Kubeconfig::parse(text, "/home/me/.kube")
}

/// A file with one context, for which these are the fields of its cluster and user.
fn file(cluster: &str, user: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "x", "preferences": {{}},
  "clusters": [{{"name": "c", "cluster": {{"server": "https://demo.example"{cluster}}}}}],
  "users": [{{"name": "u", "user": {{{user}}}}}],
  "contexts": [{{"name": "x", "context": {{"cluster": "c", "user": "u", "namespace": "n"}}}}]}}"#
    )
}

fn target(cluster: &str, user: &str) -> Result<ApiTarget, Error> {
    parse(&file(cluster, user))?.target(None)
}

fn pem() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["demo.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What `az aks get-credentials` and `kubelogin convert-kubeconfig` write.
#[test]
fn a_kubeconfig_of_aks_is_read() {
    let (certificate, key) = pem();
    let text = format!(
        "
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: https://demo-dns-1a2b3c.hcp.westeurope.azmk8s.io:443
  name: demo
contexts:
- context:
    cluster: demo
    user: clusterUser_rg_demo
  name: demo
- context:
    cluster: demo
    user: clusterAdmin_rg_demo
  name: demo-admin
current-context: demo
kind: Config
preferences: {{}}
users:
- name: clusterUser_rg_demo
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - get-token
      - --login
      - azurecli
      - --server-id
      - 6dae42f8-4368-4678-94ff-3960e28e3630
      command: kubelogin
      env: null
      installHint: |2

        kubelogin is not installed which is required to connect to AAD enabled cluster.

        To learn more, please go to https://aka.ms/aks/kubelogin
      provideClusterInfo: false
- name: clusterAdmin_rg_demo
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
    token: {HUSH}
",
        authority = base64(&certificate),
        certificate = base64(&certificate),
        key = base64(&key),
    );
    let kubeconfig = parse(&text).unwrap();
    assert_eq!(
        kubeconfig.contexts().collect::<Vec<_>>(),
        ["demo", "demo-admin"]
    );
    let user = kubeconfig.target(None).unwrap();
    assert_eq!(
        user.to_string(),
        "https://demo-dns-1a2b3c.hcp.westeurope.azmk8s.io"
    );
    assert!(matches!(user.login, Login::Exec(_)));
    let admin = kubeconfig.target(Some("demo-admin")).unwrap();
    assert!(matches!(admin.login, Login::Token(_)) && admin.certificate.is_some());
    for shown in [
        format!("{kubeconfig:?}"),
        format!("{user:?}"),
        format!("{admin:?} {admin}"),
    ] {
        assert!(
            !shown.contains(HUSH) && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }
}

#[test]
fn what_is_accepted() {
    let (certificate, key) = pem();
    let (certificate, key) = (base64(&certificate), base64(&key));
    let inline =
        format!(r#""client-certificate-data": "{certificate}", "client-key-data": "{key}""#);
    let authority = format!(r#", "certificate-authority-data": "{certificate}""#);
    let users: [(&str, &str); 9] = [
        ("", "nothing"),
        (r#""token": "abc""#, "token"),
        (
            r#""tokenFile": "tokens/x""#,
            "token file /home/me/.kube/tokens/x",
        ),
        (
            r#""tokenFile": "./x", "token": "abc""#,
            "token file /home/me/.kube/x",
        ),
        (r#""tokenFile": "/x""#, "token file /x"),
        (&inline, "nothing"),
        (
            r#""token": "abc", "as": "me", "as-uid": "7", "as-groups": ["a b"]"#,
            "token",
        ),
        (
            r#""exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "p",
                "interactiveMode": "Never", "args": ["hunter2"], "env": [{"name": "A", "value": "hunter2"}]}"#,
            r#"ExecPlugin { command: "p", version: V1, arguments: 1, variables: 1, .. }"#,
        ),
        (
            r#""exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "bin/p"}"#,
            r#"ExecPlugin { command: "/home/me/.kube/bin/p", version: V1Beta1, arguments: 0, variables: 0, .. }"#,
        ),
    ];
    for (user, login) in users {
        let target = target("", user).unwrap_or_else(|error| panic!("{user}: {error}"));
        assert_eq!(format!("{:?}", target.login), login, "{user}");
    }
    for cluster in [
        r#", "certificate-authority-data": """#,
        &authority,
        r#", "tls-server-name": "other.example""#,
        r#", "proxy-url": "http://u:hunter2@proxy:3128""#,
        r#", "insecure-skip-tls-verify": true"#,
        r#", "disable-compression": true, "new-field": {"a": [1]}"#,
        r#", "extensions": [{"name": "x", "extension": {"a": 1}}]"#,
    ] {
        let target = target(cluster, "").unwrap_or_else(|error| panic!("{cluster}: {error}"));
        assert!(!format!("{target:?}").contains(HUSH));
    }
}

#[test]
fn files_are_relative_to_the_kubeconfig() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = pem();
    std::fs::create_dir(folder.path().join("pki")).unwrap();
    std::fs::write(folder.path().join("pki/me.crt"), &certificate).unwrap();
    std::fs::write(folder.path().join("pki/me.key"), &key).unwrap();
    let text = file(
        r#", "certificate-authority": "pki/me.crt""#,
        r#""client-certificate": "./pki/me.crt", "client-key": "pki/me.key""#,
    );
    std::fs::write(folder.path().join("config"), &text).unwrap();
    let kubeconfig = Kubeconfig::read(&folder.path().join("config")).unwrap();
    let target = kubeconfig.target(None).unwrap();
    assert!(target.certificate.is_some() && target.authorities.is_some());

    std::fs::remove_file(folder.path().join("pki/me.key")).unwrap();
    let error = kubeconfig.target(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        error.message().contains(r#"users["u"].user.client-key"#),
        "{error}"
    );
    let error = Kubeconfig::read(&folder.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

/// Each with what its message must name.
#[test]
fn what_is_refused() {
    use ErrorKind::{InvalidInput, Unsupported};
    let exec = |fields: &str| format!(r#""exec": {{{fields}}}"#);
    let v1 = r#""apiVersion": "client.authentication.k8s.io/v1""#;
    let users = [
        (
            r#""client-certificate-data": "!""#.to_owned(),
            InvalidInput,
            "client-certificate-data",
        ),
        (
            format!(r#""client-certificate-data": "{}""#, base64(&pem().0)),
            InvalidInput,
            "client-key",
        ),
        (
            format!(r#""client-key-data": "{}""#, base64(&pem().1)),
            InvalidInput,
            "client-certificate",
        ),
        (
            format!(
                r#""client-certificate-data": "{0}", "client-key-data": "{0}""#,
                base64(HUSH)
            ),
            InvalidInput,
            "client-certificate",
        ),
        (
            r#""client-certificate": "a", "client-certificate-data": "YQ==""#.to_owned(),
            InvalidInput,
            "client-certificate and client-certificate-data",
        ),
        (
            format!(r#""token": "{HUSH} x""#),
            InvalidInput,
            "user.token",
        ),
        (
            format!(
                r#""auth-provider": {{"name": "azure", "config": {{"access-token": "{HUSH}"}}}}"#
            ),
            Unsupported,
            "auth-provider \"azure\"",
        ),
        (
            format!(r#""username": "a", "password": "{HUSH}""#),
            Unsupported,
            "username",
        ),
        (
            r#""as-user-extra": {"a": ["b"]}"#.to_owned(),
            Unsupported,
            "as-user-extra",
        ),
        (
            r#""as-groups": ["a"]"#.to_owned(),
            InvalidInput,
            "as-groups",
        ),
        (r#""as": "a\nb""#.to_owned(), InvalidInput, "user.as"),
        (exec(v1), InvalidInput, "exec.interactiveMode"),
        (
            exec(&format!(r#"{v1}, "interactiveMode": "Never""#)),
            InvalidInput,
            "exec.command",
        ),
        (
            exec(&format!(
                r#"{v1}, "interactiveMode": "Sometimes", "command": "p""#
            )),
            InvalidInput,
            "exec.interactiveMode",
        ),
        (
            exec(&format!(
                r#"{v1}, "interactiveMode": "Always", "command": "p""#
            )),
            Unsupported,
            "exec.interactiveMode",
        ),
        (
            exec(r#""apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "p""#),
            Unsupported,
            "exec.apiVersion",
        ),
        (exec(r#""command": "p""#), Unsupported, "exec.apiVersion"),
        (
            exec(&format!(
                r#"{v1}, "interactiveMode": "Never", "command": "p", "env": [{{"name": "A=B", "value": "{HUSH}"}}]"#
            )),
            InvalidInput,
            "exec.env",
        ),
        (
            format!(r#""token": "{HUSH}", {}"#, exec(v1)),
            InvalidInput,
            "exec and a token",
        ),
        (
            format!(r#""tokenFile": "a", {}"#, exec(v1)),
            InvalidInput,
            "exec and a tokenFile",
        ),
    ];
    for (user, kind, names) in users {
        let error = target("", &user).expect_err(&user);
        assert_eq!(error.kind(), kind, "{user}: {error}");
        assert!(error.message().contains(names), "{user}: {error}");
        assert!(
            !format!("{error:?} {}", error.remedy()).contains(HUSH),
            "{error:?}"
        );
    }
    let clusters = [
        (
            r#", "certificate-authority-data": "!""#.to_owned(),
            InvalidInput,
            "certificate-authority-data",
        ),
        (
            format!(r#", "certificate-authority-data": "{}""#, base64(HUSH)),
            InvalidInput,
            "certificate-authority",
        ),
        (
            r#", "certificate-authority": "a", "certificate-authority-data": "YQ==""#.to_owned(),
            InvalidInput,
            "exclude each other",
        ),
        (
            r#", "tls-server-name": "10.0.0.1""#.to_owned(),
            InvalidInput,
            "tls-server-name",
        ),
        (
            format!(r#", "proxy-url": "socks5://u:{HUSH}@proxy""#),
            Unsupported,
            "proxy-url",
        ),
        (
            format!(r#", "proxy-url": "u:{HUSH}@proxy""#),
            Unsupported,
            "proxy-url",
        ),
    ];
    for (cluster, kind, names) in clusters {
        let error = target(&cluster, "").expect_err(&cluster);
        assert_eq!(error.kind(), kind, "{cluster}: {error}");
        assert!(error.message().contains(names), "{cluster}: {error}");
        assert!(!format!("{error:?}").contains(HUSH), "{error:?}");
    }
}

#[test]
fn contexts_lead_to_what_is_there() {
    let context = |fields: &str| {
        let text = format!(
            r#"{{"clusters": [{{"name": "c", "cluster": {{"server": "https://a.example"}}}}, {{"name": "empty"}}],
  "contexts": [{{"name": "x", "context": {fields}}}]}}"#
        );
        parse(&text).unwrap().target(Some("x")).map(|_| ())
    };
    assert!(context(r#"{"cluster": "c"}"#).is_ok());
    for (fields, names) in [
        ("null", "cluster is missing"),
        (r#"{"cluster": "d"}"#, r#"no cluster "d""#),
        (r#"{"cluster": "empty"}"#, "server is missing"),
        (r#"{"cluster": "c", "user": "v"}"#, r#"no user "v""#),
    ] {
        let error = context(fields).unwrap_err();
        assert!(error.message().contains(names), "{fields}: {error}");
    }
    let kubeconfig = parse(&file("", "")).unwrap();
    let error = kubeconfig.target(Some("y")).unwrap_err();
    assert!(error.remedy().contains(r#""x""#), "{}", error.remedy());
    let error = parse("{}").unwrap().target(None).unwrap_err();
    assert!(error.message().contains("no current context"), "{error}");
}

#[test]
fn texts_that_are_no_kubeconfig() {
    let twice = r#"clusters: [{name: a}, {name: a}]"#;
    for (text, names) in [
        ("", "is empty"),
        ("# nothing", "is empty"),
        ("apiVersion: v2\nkind: Config", "apiVersion"),
        ("kind: Secret\nhunter2: hunter2", "kind"),
        ("a: b\n---\nc: d", "more than one YAML document"),
        ("clusters: hunter2", "line 1"),
        ("users:\n- name: u\n  user: {token: 1234567}", "line 3"),
        ("users:\n- name: u\n  user: {token: [hunter2]}", "line 3"),
        ("users: [{user: {}}]", "YAML of a kubeconfig"),
        ("kind: Config\nkind: Config", "twice"),
        (twice, r#"has "a" twice in `clusters`"#),
        ("a: &a [*a]", "kubeconfig"),
        ("{", "kubeconfig"),
        ("\t", "kubeconfig"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(error.message().contains(names), "{text:?}: {error}");
        assert!(!format!("{error:?}").contains(HUSH), "{error:?}");
    }
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let laughs = "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]";
    for text in [deep.as_str(), laughs, &"#".repeat(document::MAX_LEN + 1)] {
        assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Texts that are nearly kubeconfigs.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("clusters"),
        Just("users"),
        Just("contexts"),
        Just("current-context"),
        Just("name"),
        Just("cluster"),
        Just("user"),
        Just("context"),
        Just("server"),
        Just("token"),
        Just("exec"),
        Just("command"),
        Just("args"),
        Just("env"),
        Just("apiVersion"),
        Just("x"),
        Just("client-key-data"),
        Just("https://a.example"),
        Just("null"),
        Just("true"),
        Just("12"),
        Just("&a"),
        Just("*a"),
        Just("<<"),
        Just("!!binary"),
        Just("|"),
        Just(">-"),
        Just("as"),
        Just("extensions"),
        Just("extension"),
    ];
    let mark = prop_oneof![
        Just(": "),
        Just("\n"),
        Just("\n  "),
        Just("\n- "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(", "),
        Just("\""),
        Just("---\n"),
        Just(" "),
    ];
    proptest::collection::vec((word, mark), 0..40).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(word, mark)| format!("{word}{mark}"))
            .collect()
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), nearly()]) {
        if let Ok(kubeconfig) = parse(&text) {
            let names: Vec<String> = kubeconfig.contexts().map(str::to_owned).collect();
            let _ = kubeconfig.target(None);
            for name in &names {
                let _ = kubeconfig.target(Some(name));
            }
        }
    }

    #[test]
    fn no_change_of_a_good_one_panics(at in 0_usize..500, byte in any::<char>(), cut in any::<bool>()) {
        let good = file(
            r#", "tls-server-name": "a.example""#,
            r#""exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "p", "interactiveMode": "Never"}"#,
        );
        let at = at.min(good.len());
        let mut text = good[..at].to_owned();
        text.push(byte);
        if !cut {
            text.push_str(&good[at..]);
        }
        if let Ok(kubeconfig) = parse(&text) {
            let _ = kubeconfig.target(None);
        }
    }
}
