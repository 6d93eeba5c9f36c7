//! What to do next, in which order.

use kms_core::KeyId;
use kms_envelope::reencrypt::{Objection, UnknownKey, UnscannedKind};

use super::commands::owned;
use super::text::named;
use super::{NeededBy, Places, Step};

/// The steps to a key that may go. The order is that in which they have an effect: who still
/// writes under the key undoes all that follows, and compacting helps only after rewriting.
pub(super) fn next(
    key_id: &KeyId,
    objections: &[Objection],
    needed: &NeededBy,
    places: &Places,
) -> Vec<Step> {
    let has = |is_it: &dyn Fn(&Objection) -> bool| objections.iter().any(is_it);
    let mut steps = Vec::new();
    steps.extend(never_seen(objections));
    steps.extend(current(objections));
    steps
        .extend(has(&|it| matches!(it, Objection::ReplicaWrites { .. })).then(|| replicas(needed)));
    steps.extend((needed.live.objects > 0).then(|| migrate(needed, places)));
    steps.extend(unknown(objections, needed, places));
    steps.extend(
        needed
            .history
            .compact_to
            .map(|to| compact(needed, to, places)),
    );
    steps.extend(backups(objections, places));
    steps.extend(not_scanned(objections));
    steps.extend(scan_live(objections));
    if objections.is_empty() {
        steps.push(retire(key_id, places));
    } else {
        steps.push(again(key_id, objections, places));
    }
    steps
}

fn never_seen(objections: &[Objection]) -> Option<Step> {
    let is_it = |it: &Objection| matches!(it, Objection::NeverSeen { .. });
    objections.iter().any(is_it).then(|| {
        Step::new(
            "see whether the key id is right and whole: it is not in anything that was looked at. If it \
             was compacted away, name who knows it: --provider PROVIDER, --state PLACE of the rotation, \
             a --backup, or in --out the evidence of before. If nobody does, --never-seen takes it on \
             your responsibility",
            Vec::new(),
        )
    })
}

fn current(objections: &[Objection]) -> Option<Step> {
    let is_it = |it: &Objection| matches!(it, Objection::CurrentKey { .. });
    objections.iter().any(is_it).then(|| {
        Step::new(
            "keep it: it is the key that its provider wraps with. If it is to go, rotate first, and \
             move everything to the new key",
            Vec::new(),
        )
    })
}

fn replicas(needed: &NeededBy) -> Step {
    let names: Vec<_> = needed.replicas.iter().map(|it| it.name.as_str()).collect();
    Step::new(
        format!(
            "wait until every replica writes with the current key: {} do not. An API server asks its \
             plugin every minute; what it wrote last shows in its metrics",
            names.join(", ")
        ),
        vec!["kubectl get --raw /metrics > FILE".to_owned()],
    )
}

fn migrate(needed: &NeededBy, places: &Places) -> Step {
    let resources: Vec<_> = needed
        .live
        .by_resource
        .iter()
        .map(|it| format!("{} {}", it.count, named(&it.resource)))
        .collect();
    Step::new(
        format!(
            "re-encrypt {} live objects under the current key: {}",
            needed.live.objects,
            resources.join(", ")
        ),
        vec![places.kms(&["migrate"], &[&places.etcd, &places.configuration])],
    )
}

fn unknown(objections: &[Objection], needed: &NeededBy, places: &Places) -> Vec<Step> {
    let mut steps = Vec::new();
    let has = |wanted: UnknownKey| {
        objections
            .iter()
            .any(|it| matches!(it, Objection::UnknownKey { reason, .. } if *reason == wanted))
    };
    let groups = |wanted: UnknownKey| {
        let all = needed.unknown.groups.iter();
        all.filter(move |it| it.reason == wanted && !it.waived)
    };
    if has(UnknownKey::KmsV1) {
        let mut providers: Vec<_> = groups(UnknownKey::KmsV1)
            .filter_map(|it| it.waive_as.strip_prefix("kms-v1:"))
            .collect();
        providers.sort_unstable();
        providers.dedup();
        steps.push(Step::new(
            format!(
                "KMS v1 values do not name their key ({}): re-encrypt them under KMS v2, as the first \
                 provider of the configuration; or say which key their provider uses and has always \
                 used: --kms-v1 PROVIDER=KEY_ID",
                providers.join(", ")
            ),
            vec![places.kms(&["migrate"], &[&places.etcd, &places.configuration])],
        ));
    }
    let damaged = || groups(UnknownKey::Damaged).chain(groups(UnknownKey::UnknownProvider));
    let is_live = damaged().any(|it| it.objects > 0);
    if (has(UnknownKey::Damaged) || has(UnknownKey::UnknownProvider)) && is_live {
        let mut keys: Vec<_> = damaged()
            .filter(|it| it.objects > 0)
            .flat_map(|it| it.examples.iter())
            .collect();
        keys.sort();
        keys.dedup();
        let looks = keys
            .into_iter()
            .map(|key| {
                let get = places.etcdctl(&["get", key, "-w", "json"]);
                format!("{get} | kms inspect --encoding etcd-json -")
            })
            .take(super::plan::EXAMPLES);
        steps.push(Step::new(
            "look at what is damaged, and restore it from a backup or delete it; in history it goes \
             with the compaction below",
            looks.collect(),
        ));
    }
    steps
}

fn compact(needed: &NeededBy, to: u64, places: &Places) -> Step {
    let to = to.to_string();
    let then = if needed.live.objects > 0 || needed.unknown.objects > 0 {
        ". What is rewritten above joins history: plan again for the revision that clears it as well"
    } else {
        ""
    };
    Step::new(
        format!(
            "clear history of what needs the key: compact up to revision {to}, then defragment each \
             member, since free pages of its file still hold them. Clients that read older revisions \
             start again{then}"
        ),
        vec![
            places.etcdctl(&["compaction", &to, "--physical"]),
            places.etcdctl(&["defrag", "--cluster"]),
        ],
    )
}

fn backups(objections: &[Objection], places: &Places) -> Option<Step> {
    let names: Vec<_> = objections
        .iter()
        .filter_map(|it| match it {
            Objection::Backup { source, .. } => Some(source.as_str()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| {
        Step::new(
            format!(
                "keep the key for as long as one of these backups may be restored: {}. Take a new one, \
                 and give up an old one by name when it is destroyed: --waive 'NAME=REASON'",
                names.join(", ")
            ),
            vec![places.etcdctl(&["snapshot", "save", "NEW_BACKUP"])],
        )
    })
}

fn not_scanned(objections: &[Objection]) -> Option<Step> {
    let names: Vec<_> = objections
        .iter()
        .filter_map(|it| match it {
            Objection::NotScanned { name, kind } => Some(format!("{name} ({})", how(*kind))),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| {
        Step::new(
            format!(
                "scan what was not scanned, or waive it by name: --waive 'NAME=REASON'. It is: {}",
                names.join("; ")
            ),
            Vec::new(),
        )
    })
}

const fn how(kind: UnscannedKind) -> &'static str {
    match kind {
        UnscannedKind::Backup => "scan with --backup FILE, for each backup that may be restored",
        UnscannedKind::Replica => {
            "check with --replica unix:PATH or metrics:FILE, for each API server"
        }
        UnscannedKind::Cluster => "name others under this key with --not-scanned cluster:NAME",
        UnscannedKind::History => "a source without history",
        _ => "named with --not-scanned",
    }
}

fn scan_live(objections: &[Objection]) -> Option<Step> {
    objections.contains(&Objection::NoLiveSource).then(|| {
        Step::new(
            "scan the live cluster with --etcd: a copy does not say what the cluster holds by now",
            Vec::new(),
        )
    })
}

/// The same again, with the evidence written down.
fn again(key_id: &KeyId, objections: &[Objection], places: &Places) -> Step {
    let mut words = places.etcd.clone();
    words.extend(places.others.iter().cloned());
    for objection in objections {
        if let (Some(name), Objection::NotScanned { .. }) = (objection.waivable_as(), objection) {
            words.extend(["--waive".to_owned(), format!("{name}=REASON")]);
        }
    }
    words.extend(owned(&["--out", evidence(places)]));
    Step::new(
        "plan again when that is done",
        vec![places.kms(&["key", "plan-retire", key_id.as_str()], &[&words])],
    )
}

fn retire(key_id: &KeyId, places: &Places) -> Step {
    let words = owned(&["--evidence", evidence(places)]);
    Step::new(
        "let the cluster be scanned once more, and the retirement be recorded. It deletes nothing",
        vec![places.kms(
            &["key", "retire", key_id.as_str()],
            &[
                &words,
                &places.etcd,
                &places.keys,
                &owned(&["--out", "retirement.json", "--yes"]),
            ],
        )],
    )
}

fn evidence(places: &Places) -> &str {
    places.evidence.as_deref().unwrap_or("evidence.json")
}
