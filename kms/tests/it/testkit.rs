//! `kms testkit vault`

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::command::{Served, kms};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_says_where_it_is_and_whom_to_trust_and_stops_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let [ca, info, hosts] = ["ca.pem", "info.json", "hosts"].map(path);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (ca_out, info_out, hosts_out) = (text(&ca), text(&info), text(&hosts));
    let arguments = [
        "testkit",
        "vault",
        "--listen",
        "127.0.0.1:0",
        "--ca-out",
        &ca_out,
        "--info-out",
        &info_out,
        "--hosts-out",
        &hosts_out,
    ];
    let served = Served::start_until(&arguments, || info.exists());
    assert_eq!(
        (mode(&ca), mode(&info), mode(&hosts)),
        (0o644, 0o600, 0o644)
    );
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(read(&ca).starts_with("-----BEGIN CERTIFICATE-----"));
    let found: Value = serde_json::from_str(&read(&info)).unwrap();
    let names: Vec<String> = read(&hosts)
        .lines()
        .map(|line| line.strip_prefix("127.0.0.1 ").unwrap().to_owned())
        .collect();
    let mut port = None;
    for field in ["vault_url", "managed_hsm_url", "authority", "admin_url"] {
        let url = found[field].as_str().unwrap();
        let (name, rest) = url
            .strip_prefix("https://")
            .unwrap()
            .split_once(':')
            .unwrap();
        assert!(names.contains(&name.to_owned()), "{field}: {names:?}");
        let digits = rest.split('/').next().unwrap().parse::<u16>().unwrap();
        assert_eq!(*port.get_or_insert(digits), digits);
    }
    for field in ["tenant_id", "client_id", "client_secret"] {
        assert!(found[field].as_str().unwrap().len() > 30, "{field}");
    }
    std::net::TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
    assert_eq!(served.terminate(), Some(0), "a graceful stop");
}

#[test]
fn it_refuses_what_it_cannot_listen_on_or_write() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    kms(&["testkit", "vault", "--listen", &address]).refused();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--info-out",
        "/nowhere/info.json",
    ];
    kms(&[&["testkit", "vault"], &arguments[..]].concat()).refused();
}
