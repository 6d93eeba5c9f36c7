use kms_policy::Policy;
use kms_policy::evaluate::{Evaluator, Verdict};
use kms_policy::generate::Profile;
use kms_policy::rules::Rules;
use serde_json::json;

use crate::build::{self, POD, PROFILES, verdict};

/// Requests that are served whatever is in them.
const OPEN: [&str; 11] = [
    "DestroySandboxRequest",
    "GetOOMEventRequest",
    "GuestDetailsRequest",
    "OnlineCPUMemRequest",
    "RemoveContainerRequest",
    "RemoveStaleVirtiofsShareMountsRequest",
    "SignalProcessRequest",
    "StartContainerRequest",
    "StatsContainerRequest",
    "TtyWinResizeRequest",
    "WaitProcessRequest",
];

/// Requests that a policy opens or shuts, or judges by what is in them.
const JUDGED: [&str; 32] = [
    "AddARPNeighborsRequest",
    "AddSwapPathRequest",
    "AddSwapRequest",
    "CloseStdinRequest",
    "CopyFileRequest",
    "CreateContainerRequest",
    "CreateSandboxRequest",
    "ExecProcessRequest",
    "GetDiagnosticDataRequest",
    "GetIPTablesRequest",
    "GetMetricsRequest",
    "ListInterfacesRequest",
    "ListRoutesRequest",
    "MemAgentCompactConfig",
    "MemAgentMemcgConfig",
    "MemHotplugByProbeRequest",
    "PauseContainerRequest",
    "ReadStreamRequest",
    "ReseedRandomDevRequest",
    "ResizeVolumeRequest",
    "ResumeContainerRequest",
    "SetGuestDateTimeRequest",
    "SetIPTablesRequest",
    "SetPolicyRequest",
    "StartTracingRequest",
    "StopTracingRequest",
    "UpdateContainerRequest",
    "UpdateEphemeralMountsRequest",
    "UpdateInterfaceRequest",
    "UpdateRoutesRequest",
    "VolumeStatsRequest",
    "WriteStreamRequest",
];

#[test]
pub(crate) fn every_request_has_a_gate_and_an_unknown_one_is_not_let_through() {
    for profile in PROFILES {
        let mut evaluator = build::evaluator(profile, &build::data(profile, POD));
        for kind in OPEN {
            let found = verdict(&mut evaluator, kind, &json!({"container_id": "c"}));
            assert_eq!(found, Verdict::Allowed, "{profile:?} {kind}");
        }
        for kind in JUDGED {
            // The settings of this profile open it.
            let is_open = profile == Profile::AksAzl3 && kind == "ReadStreamRequest";
            // Nothing is asked for.
            let body = match kind {
                "CreateSandboxRequest" => json!({"sandbox_pidns": true}),
                _ => json!({}),
            };
            let found = verdict(&mut evaluator, kind, &body);
            assert_eq!(found == Verdict::Allowed, is_open, "{profile:?} {kind}");
            assert_ne!(found, Verdict::Undefined, "{profile:?} {kind}");
        }
        let found = verdict(&mut evaluator, "OfTheFutureRequest", &json!({}));
        assert_eq!(found, Verdict::Undefined);
    }
}

#[test]
pub(crate) fn the_rules_are_of_both_dialects() {
    for profile in PROFILES {
        let text = format!("{}policy_data := {{}}\n", Rules::built_in(profile).text());
        // `kata` stands for the newer dialect, `aks-3.15` for the older.
        for dialect in [Profile::Kata, Profile::Aks3_15] {
            Evaluator::new(dialect, &Policy::from_text(&*text)).unwrap();
        }
        assert!(Rules::parse(text.replace("policy_data :=", "x :=")).is_ok());
        assert!(text.lines().all(|line| line.len() <= 1024));
        assert_eq!(text.matches("package ").count(), 1);
    }
}

#[test]
pub(crate) fn settings_open_a_stream() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        for kind in [
            "ReadStreamRequest",
            "WriteStreamRequest",
            "CloseStdinRequest",
        ] {
            for is_open in [true, false] {
                data["request_defaults"][kind] = json!(is_open);
                let mut evaluator = build::evaluator(profile, &data);
                let found = verdict(&mut evaluator, kind, &json!({}));
                assert_eq!(found == Verdict::Allowed, is_open, "{profile:?} {kind}");
            }
        }
    }
}

#[test]
pub(crate) fn settings_without_expressions_allow_no_variable() {
    for profile in PROFILES {
        let mut data = build::data(profile, POD);
        let mut request = build::create(&data, 2);
        data["request_defaults"]["CreateContainerRequest"]["allow_env_regex"] = json!([]);
        let mut evaluator = build::evaluator(profile, &data);
        let found = verdict(&mut evaluator, "CreateContainer", &request);
        assert_eq!(found, Verdict::Allowed, "{profile:?}");
        for variable in ["LD_PRELOAD=/x", "TERM=xterm", "A\nB=1", ""] {
            request["OCI"]["Process"]["Env"] = json!([variable]);
            let found = verdict(&mut evaluator, "CreateContainer", &request);
            assert_eq!(found, Verdict::Denied, "{profile:?} {variable:?}");
        }
    }
}
