use kms_policy::Policy;
use kms_policy::document::PolicyDocument;
use kms_policy::evaluate::{Request, explain_denial};
use kms_policy::rules::Rules;
use serde_json::{Value, json};

use crate::build::{self, POD, PROFILES, create, probe};
use crate::changes::CHANGES;

fn document(profile: kms_policy::generate::Profile, data: &Value) -> PolicyDocument {
    let text = format!(
        "{}\npolicy_data := {data}",
        build::seen(Rules::built_in(profile).text())
    );
    PolicyDocument::parse(&Policy::from_text(text)).unwrap()
}

#[test]
pub(crate) fn every_denial_names_the_container_and_a_field() {
    let mut unexplained = Vec::new();
    for profile in PROFILES {
        let data = build::data(profile, POD);
        let document = document(profile, &data);
        for (index, name) in ["pause", "prepare", "web"].into_iter().enumerate() {
            let original = create(&data, index);
            let explain = |body: &Value| {
                let request = Request::new("CreateContainer", body.clone()).unwrap();
                explain_denial(&document, &request, None)
            };
            let denial = explain(&original);
            assert_eq!(denial.nearest.as_deref(), Some(name));
            assert_eq!(denial.differences, [], "{profile:?} {name}");
            for (change_name, change) in CHANGES {
                let mut changed = original.clone();
                if change(&mut changed, "zz").is_none() {
                    continue;
                }
                let denial = explain(&changed);
                if denial.differences.is_empty()
                    || denial.nearest.as_deref() != Some(name)
                        && !change_name.starts_with("OCI.Annotations")
                {
                    unexplained.push(format!("{profile:?} {name}: {change_name}: {denial}"));
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

#[test]
pub(crate) fn a_denial_says_what_was_expected_and_what_came_and_tells_no_secret() {
    let profile = kms_policy::generate::Profile::Kata;
    let data = build::data(profile, POD);
    let document = document(profile, &data);
    let mut request = create(&data, 2);
    request["OCI"]["Process"]["Cwd"] = json!("/tmp");
    request["OCI"]["Process"]["Env"]
        .as_array_mut()
        .unwrap()
        .push(json!("PASSWORD=hunter2"));
    let request = Request::new("CreateContainer", request).unwrap();
    let told = explain_denial(&document, &request, None).to_string();
    assert!(told.contains("nearest container: web"), "{told}");
    assert!(
        told.contains("OCI.Process.Cwd: expected \"/\", got \"/tmp\""),
        "{told}"
    );
    assert!(told.contains("OCI.Process.Env[PASSWORD]"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");

    let mut exec = probe(&data, 2);
    exec["process"]["Args"] = json!(["/bin/sh"]);
    let state = json!({"containers": {(exec["container_id"].as_str().unwrap()): 2}});
    let request = Request::new("ExecProcess", exec).unwrap();
    let denial = explain_denial(&document, &request, Some(&state));
    assert_eq!(denial.nearest.as_deref(), Some("web"));
    assert_eq!(denial.differences.len(), 1, "{denial}");
    assert_eq!(denial.differences[0].field, "process.Args");

    for (kind, body, field) in [
        (
            "WriteStream",
            json!({}),
            "request_defaults.WriteStreamRequest",
        ),
        ("SetPolicy", json!({}), "SetPolicyRequest"),
        (
            "CreateSandbox",
            json!({"guest_hook_path": "/x"}),
            "guest_hook_path",
        ),
        ("CopyFile", json!({"path": "/etc/passwd"}), "path"),
        (
            "UpdateRoutes",
            json!({}),
            "request_defaults.UpdateRoutesRequest",
        ),
    ] {
        let request = Request::new(kind, body).unwrap();
        let denial = explain_denial(&document, &request, None);
        assert_eq!(denial.differences[0].field, field);
    }
}
