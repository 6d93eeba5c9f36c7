//! Which key an API server writes with, by what its metrics look like from 1.27 to 1.37 (R24, R28).

use std::time::{Duration, SystemTime};

use kms_core::KeyId;
use kms_envelope::kubernetes::convergence::{
    Judgement, Role, ServerMetrics, Tolerance, Verdict, judge_status, key_id_hash,
};

/// When the metrics below were taken, in seconds.
const NOW: u64 = 1_767_225_600;
const SERVER: &str = "sha256:3c607df3b2bf22c9d9f01d5314b4bbf411c48ef43ff44ff29b1d55b41367c795";

fn at(ago: f64) -> String {
    format!("{:e}", NOW as f64 - ago)
}

fn hash(key: &str) -> String {
    key_id_hash(&KeyId::new(key).unwrap())
}

/// What `/metrics` of one release tells: which labels there are, and which metrics of reloads.
#[derive(Clone, Copy)]
struct Release {
    has_identity: bool,
    has_old_reloads: bool,
    has_reloads: bool,
    has_config_hash: bool,
}

const RELEASES: [(&str, Release); 5] = [
    ("1.27", release(false, true, false, false)),
    ("1.29", release(true, true, false, false)),
    ("1.30", release(true, true, true, false)),
    ("1.34", release(true, false, true, true)),
    ("1.37", release(true, false, true, true)),
];

const fn release(
    has_identity: bool,
    has_old_reloads: bool,
    has_reloads: bool,
    has_config_hash: bool,
) -> Release {
    Release {
        has_identity,
        has_old_reloads,
        has_reloads,
        has_config_hash,
    }
}

impl Release {
    /// `told` and `written` are keys and how many seconds ago.
    fn metrics(
        self,
        told: &[(&str, f64)],
        written: &[(&str, f64)],
        reloaded: Option<f64>,
    ) -> String {
        let id = if self.has_identity {
            format!("apiserver_id_hash=\"{SERVER}\",")
        } else {
            String::new()
        };
        let mut text = String::from(
            "# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated.\n\
             # TYPE apiserver_audit_event_total counter\n\
             apiserver_audit_event_total 0\n\
             # HELP apiserver_envelope_encryption_dek_source_cache_size [ALPHA] Number of records.\n\
             # TYPE apiserver_envelope_encryption_dek_source_cache_size gauge\n\
             apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"vault\"} 2\n\
             # TYPE apiserver_envelope_encryption_kms_operations_latency_seconds histogram\n\
             apiserver_envelope_encryption_kms_operations_latency_seconds_bucket{grpc_status_code=\"OK\",method_name=\"/v2.KeyManagementService/Status\",provider_name=\"vault\",le=\"0.0001\"} 0\n\
             apiserver_envelope_encryption_kms_operations_latency_seconds_bucket{grpc_status_code=\"OK\",method_name=\"/v2.KeyManagementService/Status\",provider_name=\"vault\",le=\"+Inf\"} 31\n\
             apiserver_envelope_encryption_kms_operations_latency_seconds_sum{grpc_status_code=\"OK\",method_name=\"/v2.KeyManagementService/Status\",provider_name=\"vault\"} 0.03\n",
        );
        for (key, ago) in written {
            let labels = format!(
                "{{{id}key_id_hash=\"{}\",provider_name=\"vault\",transformation_type=\"to_storage\"}}",
                hash(key)
            );
            text += &format!(
                "apiserver_envelope_encryption_key_id_hash_total{labels} 4\n\
                 apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{labels} {}\n",
                at(*ago)
            );
        }
        // Whatever was read a moment ago says nothing.
        text += &format!(
            "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{{{id}key_id_hash=\"{}\",provider_name=\"vault\",transformation_type=\"from_storage\"}} {}\n",
            hash("something/read"),
            at(0.5)
        );
        for (key, ago) in told {
            text += &format!(
                "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{{{id}key_id_hash=\"{}\",provider_name=\"vault\"}} {}\n",
                hash(key),
                at(*ago)
            );
        }
        if let Some(ago) = reloaded {
            let controller = "apiserver_encryption_config_controller_automatic_reload";
            text += &format!(
                "{controller}_last_timestamp_seconds{{{id}status=\"success\"}} {}\n\
                 {controller}_last_timestamp_seconds{{{id}status=\"failure\"}} {}\n",
                at(ago),
                at(ago + 100.0)
            );
            let own = id.trim_end_matches(',');
            if self.has_old_reloads {
                text += &format!("{controller}_success_total{{{own}}} 3\n");
                text += &format!("{controller}_failures_total{{{own}}} 1\n");
            }
            if self.has_reloads {
                text += &format!("{controller}s_total{{{id}status=\"success\"}} 3\n");
                text += &format!("{controller}s_total{{{id}status=\"failure\"}} 1\n");
            }
        }
        if self.has_config_hash {
            text += &format!(
                "apiserver_encryption_config_controller_last_config_info{{{id}hash=\"sha256:c0\"}} 1\n"
            );
        }
        text
    }
}

fn judge(text: &str) -> Judgement {
    judge_as(Role::Writer, text)
}

fn judge_as(role: Role, text: &str) -> Judgement {
    let servers = ServerMetrics::read(text).unwrap();
    let [server] = servers.as_slice() else {
        panic!("{servers:?}");
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let target = KeyId::new("etcd/2").unwrap();
    server.judge("vault", &target, role, now, &Tolerance::default())
}

/// What was told, what was written, when a configuration was taken; and what follows of a writer,
/// and of a reader.
type Row = (
    &'static [(&'static str, f64)],
    &'static [(&'static str, f64)],
    Option<f64>,
    &'static str,
    &'static str,
);

const ROWS: [Row; 16] = [
    // It is so.
    (
        &[("etcd/2", 20.0)],
        &[("etcd/2", 9000.0)],
        None,
        "wrote_with_target",
        "told_target",
    ),
    (
        &[("etcd/1", 300.0), ("etcd/2", 20.0)],
        &[("etcd/2", 10.0), ("etcd/1", 250.0)],
        Some(90_000.0),
        "wrote_with_target",
        "told_target",
    ),
    // Within what clocks may differ, and what a file may be old.
    (
        &[("etcd/2", -20.0)],
        &[("etcd/2", -29.0)],
        None,
        "wrote_with_target",
        "told_target",
    ),
    (
        &[("etcd/2", 239.0)],
        &[("etcd/2", 250.0)],
        None,
        "wrote_with_target",
        "told_target",
    ),
    // Another.
    (
        &[("etcd/1", 20.0)],
        &[("etcd/1", 9.0)],
        None,
        "told_another",
        "told_another",
    ),
    (
        &[("etcd/2", 300.0), ("etcd/1", 20.0)],
        &[("etcd/2", 9.0)],
        None,
        "told_another",
        "told_another",
    ),
    (
        &[("etcd/1", 61.0), ("etcd/2", 1.0)],
        &[("etcd/1", 5.0)],
        None,
        "wrote_with_another",
        "told_target",
    ),
    // Nobody knows.
    (&[], &[], None, "no_such_kms", "no_such_kms"),
    (&[], &[("etcd/2", 9.0)], None, "no_such_kms", "no_such_kms"),
    (
        &[("etcd/2", 241.0)],
        &[("etcd/2", 9.0)],
        None,
        "told_long_ago",
        "told_long_ago",
    ),
    (
        &[("etcd/2", -31.0)],
        &[("etcd/2", 9.0)],
        None,
        "ahead_of_us",
        "ahead_of_us",
    ),
    (
        &[("etcd/2", 5.0)],
        &[("etcd/2", -31.0)],
        None,
        "ahead_of_us",
        "told_target",
    ),
    (
        &[("etcd/2", 20.0)],
        &[],
        None,
        "nothing_written",
        "told_target",
    ),
    (
        &[("etcd/2", 20.0)],
        &[("etcd/1", 9000.0)],
        None,
        "nothing_written_since",
        "told_target",
    ),
    (
        &[("etcd/2", 20.0), ("etcd/1", 20.0)],
        &[("etcd/2", 9.0)],
        None,
        "two_at_once",
        "two_at_once",
    ),
    (
        &[("etcd/2", 20.0)],
        &[("etcd/2", 500.0)],
        Some(400.0),
        "reloaded_since",
        "told_target",
    ),
];

#[test]
fn what_follows_is_the_same_in_every_release() {
    for (name, release) in RELEASES {
        for (told, written, reloaded, as_writer, as_reader) in ROWS {
            let text = release.metrics(told, written, reloaded);
            for (role, reason) in [(Role::Writer, as_writer), (Role::Reader, as_reader)] {
                let judged = judge_as(role, &text);
                assert_eq!(judged.reason(), reason, "{name}, {role:?}: {text}");
                let verdict = match reason {
                    "wrote_with_target" | "told_target" => Verdict::Target,
                    "told_another" | "wrote_with_another" => Verdict::Another,
                    _ => Verdict::Unknown,
                };
                assert_eq!(judged.verdict(), verdict, "{name}: {reason}");
                assert_eq!(judged.settles_in(), Duration::ZERO);
            }
        }
    }
}

#[test]
fn each_release_tells_what_it_has() {
    for (name, release) in RELEASES {
        let text = release.metrics(&[("etcd/2", 1.0)], &[], Some(50.0));
        let server = ServerMetrics::read(&text).unwrap().remove(0);
        assert_eq!(server.server.is_some(), release.has_identity, "{name}");
        assert_eq!(
            server.config_hash.as_deref(),
            release.has_config_hash.then_some("sha256:c0")
        );
        assert_eq!((server.reloads, server.reload_failures), (3, 1), "{name}");
        assert!(server.reloaded > server.reload_failed);
        assert!(server.labels.is_empty(), "{name}: {:?}", server.labels);
    }
}

#[test]
fn the_newer_of_two_keys_counts_whatever_their_order() {
    let (_, release) = RELEASES[4];
    let told = [("etcd/2", 20.0), ("etcd/1", 90.0)];
    let written = [("etcd/1", 70.0), ("etcd/2", 5.0)];
    for (a, b) in [(0, 1), (1, 0)] {
        let text = release.metrics(&[told[a], told[b]], &[written[a], written[b]], None);
        assert_eq!(judge(&text).verdict(), Verdict::Target);
    }
}

#[test]
fn a_sentence_says_what_was_found_and_json_says_it_too() {
    let (_, release) = RELEASES[4];
    for (told, written, reloaded, reason, _) in ROWS {
        let judged = judge(&release.metrics(told, written, reloaded));
        let json = serde_json::to_value(&judged).unwrap();
        assert_eq!(json["reason"], reason);
        assert_eq!(json["verdict"], judged.verdict().as_str());
        assert_eq!(json["detail"], judged.to_string());
        if judged.verdict() == Verdict::Another {
            assert_eq!(json["key_id_hash"], hash("etcd/1"));
        }
    }
}

#[test]
fn a_plugins_word_takes_three_minutes_to_be_true() {
    let (one, two) = (KeyId::new("etcd/1").unwrap(), KeyId::new("etcd/2").unwrap());
    let judged = judge_status(&two, &two);
    assert_eq!(judged.verdict(), Verdict::Target);
    assert_eq!(judged.settles_in(), Duration::from_secs(180));
    let judged = judge_status(&one, &two);
    assert_eq!(judged.verdict(), Verdict::Another);
    assert!(judged.to_string().contains("etcd/1"));
}
