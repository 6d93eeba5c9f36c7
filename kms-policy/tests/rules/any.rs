//! What holds for containers of any kind, and not for those of one pod alone.

use std::collections::BTreeMap;

use kms_policy::evaluate::{Evaluator, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::build::{self, PROFILES, create, verdict};

/// Text that means something to an expression, but nothing to Kubernetes.
const TEXT: &str = r"[a-z0-9./^*(){}|\\ =:@+?\[\]-]{1,12}";

#[derive(Clone, Debug)]
struct Any {
    command: Vec<String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    is_read_only: bool,
    is_privileged: bool,
    user: u32,
    groups: Vec<u32>,
    terminal: bool,
}

fn any_container() -> impl Strategy<Value = Any> {
    let words = |at_least| proptest::collection::vec(TEXT, at_least..4);
    let env = proptest::collection::btree_map("[A-Z][A-Z0-9_]{0,6}", TEXT, 0..4);
    let groups = proptest::collection::vec(1_u32..70_000, 0..3);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (words(1), words(0), env, flags, 0_u32..70_000, groups).prop_map(
        |(command, args, env, (is_read_only, is_privileged, terminal), user, groups)| Any {
            command,
            args,
            env,
            is_read_only,
            is_privileged,
            user,
            groups,
            terminal,
        },
    )
}

impl Any {
    fn manifest(&self, name: &str) -> Value {
        let env: Vec<_> = self
            .env
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({
            "name": name, "image": "registry.example/web:1",
            "command": self.command, "args": self.args, "env": env, "tty": self.terminal,
            "securityContext": {
                "readOnlyRootFilesystem": self.is_read_only,
                "privileged": self.is_privileged,
                "runAsUser": self.user,
            },
        })
    }
}

/// The names tell them apart, since nothing else may.
fn pod(containers: &[&Any]) -> String {
    let groups = containers[0].groups.clone();
    let containers: Vec<_> = containers
        .iter()
        .zip(["first", "second", "third"])
        .map(|(any, name)| any.manifest(name))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop.v2", "namespace": "store"},
        "spec": {
            "runtimeClassName": "kata-cc",
            "securityContext": {"supplementalGroups": groups},
            "containers": containers,
        },
    })
    .to_string()
}

fn created(evaluator: &mut Evaluator, request: &Value) -> bool {
    verdict(evaluator, "CreateContainer", request) == Verdict::Allowed
}

/// What the process of a request is given, a little different.
fn changed(request: &Value, field: &str, at: usize, to: &str) -> Option<Value> {
    let mut request = request.clone();
    let list = request["OCI"]["Process"][field].as_array_mut()?;
    let count = list.len();
    let place = list.get_mut(at % count.max(1))?;
    let text = place.as_str()?;
    // The runtime fills some in, and may fill in much.
    if text.starts_with("HOSTNAME=") {
        return None;
    }
    *place = json!(format!("{text}{to}"));
    Some(request)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_its_manifest_says_is_created_and_one_letter_more_is_not(
        profile in proptest::sample::select(PROFILES.to_vec()),
        first in any_container(),
        second in any_container(),
        third in any_container(),
        at: usize,
        to in TEXT,
    ) {
        let two = build::data(profile, &pod(&[&first, &second]));
        let three = build::data(profile, &pod(&[&first, &second, &third]));
        let mut of_two = build::evaluator(profile, &two);
        let mut of_three = build::evaluator(profile, &three);
        let requests: Vec<_> = (0..3).map(|index| create(&two, index)).collect();
        for (index, request) in requests.iter().enumerate() {
            prop_assert!(created(&mut of_two, request), "{index}");
        }
        prop_assert!(created(&mut of_two, &requests[1]), "a second time");

        let mut judged: Vec<_> = requests.iter().map(|request| (request.clone(), true)).collect();
        for request in &requests {
            for field in ["Args", "Env"] {
                let changed = changed(request, field, at, &to);
                judged.extend(changed.map(|request| (request, false)));
            }
        }
        for (request, expected) in &judged {
            prop_assert_eq!(created(&mut of_two, request), *expected, "{}", request);
            prop_assert_eq!(created(&mut of_three, request), *expected, "{}", request);
        }
    }
}
