//! Requests: read, judged by our own rules, and explained. What is judged never makes the engine fail.

#![no_main]

use kms_policy::Policy;
use kms_policy::document::PolicyDocument;
use kms_policy::evaluate::{Evaluator, Verdict, explain_denial, requests};
use kms_policy::generate::Profile;
use kms_policy::rules::Rules;
use libfuzzer_sys::fuzz_target;

/// The least that the rules read.
const DATA: &str = r#"{"containers":[{"OCI":{"Version":"1.1.0","Process":{"Terminal":false,"User":{"UID":0,"GID":0,"AdditionalGids":[0],"Username":""},"Args":["/pause"],"Env":["A=$(pod-ip)"],"Cwd":"/","Capabilities":{"Ambient":[],"Bounding":[],"Effective":[],"Inheritable":[],"Permitted":[]},"NoNewPrivileges":true},"Root":{"Path":"/run/$(bundle-id)","Readonly":true},"Mounts":[],"Annotations":{"io.kubernetes.cri.container-type":"sandbox","io.katacontainers.pkg.oci.container_type":"pod_sandbox"},"Linux":{"Namespaces":[],"MaskedPaths":[],"ReadonlyPaths":[]}},"storages":[],"sandbox_pidns":false,"exec_commands":[["/x"]]}],"common":{"cpath":"/run","sfprefix":"^$(cpath)/"},"sandbox":{"storages":[]},"request_defaults":{"CreateContainerRequest":{"allow_env_regex":["^B=x$"]},"CopyFileRequest":["$(sfprefix)"]}}"#;

fuzz_target!(|text: &str| {
    let Ok(cases) = requests(text, Some("CreateContainerRequest")) else {
        return;
    };
    let text = format!(
        "{}policy_data := {DATA}",
        Rules::built_in(Profile::Kata).text()
    );
    let policy = Policy::from_text(text);
    let document = PolicyDocument::parse(&policy).expect("our own");
    let mut evaluator = Evaluator::new(Profile::Kata, &policy).expect("our own");
    for case in cases.iter().take(4) {
        let verdict = evaluator
            .judge(&case.request)
            .map(|decision| decision.verdict);
        let denial = explain_denial(&document, &case.request, evaluator.state());
        let _ = denial.to_string();
        // Nothing of a container is said where nothing of it is asked.
        if case.request.kind() == "SetPolicyRequest" {
            assert_eq!(verdict.ok(), Some(Verdict::Denied));
        }
    }
});
