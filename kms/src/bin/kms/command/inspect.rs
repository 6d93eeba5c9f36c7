//! `kms inspect`

use std::os::unix::ffi::OsStrExt as _;

use kms::{Failure, advice_on_damage, advice_on_encoding, read_value};
use kms_envelope::kubernetes::{Inspection, ProviderKind, inspect};
use serde_json::json;

use super::{print, print_line};
use crate::args::Inspect;

pub(crate) fn run(args: &Inspect) -> Result<(), Failure> {
    let chosen = args.etcd_key.as_ref().map(|key| key.as_bytes());
    let value = read_value(&args.file, args.encoding.into(), chosen)?.value;
    match inspect(&value) {
        Ok(inspection) => {
            if inspection.provider == ProviderKind::Identity
                && let Some(advice) = advice_on_encoding(&value)
            {
                eprintln!("kms: {advice}");
            }
            if args.json {
                print_line(&json!(inspection))
            } else {
                print(text(&inspection).as_bytes())
            }
        }
        Err(damaged) => {
            let failure = Failure::from(kms_envelope::Error::from(damaged));
            Err(match advice_on_damage(&value) {
                Some(advice) => failure.with_advice(advice),
                None => failure,
            })
        }
    }
}

fn text(inspection: &Inspection<'_>) -> String {
    let plain = inspection.provider == ProviderKind::Identity;
    let mut rows = vec![(
        "provider",
        if plain {
            "identity (NOT encrypted)".to_owned()
        } else {
            inspection.provider.to_string()
        },
    )];
    let mut row = |name, cell: Option<String>| rows.extend(cell.map(|cell| (name, cell)));
    // Quoted, as these come from outside.
    row("name", inspection.name.map(|name| format!("{name:?}")));
    row("key id", inspection.key_id.map(|id| format!("{id:?}")));
    row(
        "DEK source type",
        inspection.dek_source_type.map(|kind| kind.to_string()),
    );
    row(
        "DEK source digest",
        inspection
            .dek_source_digest
            .map(|digest| digest.to_string()),
    );
    row(
        "encrypted DEK source",
        inspection.encrypted_dek_source_len.map(bytes),
    );
    if !inspection.annotation_names.is_empty() {
        row("annotations", Some(inspection.annotation_names.join(", ")));
    }
    if !plain {
        row("encrypted data", Some(bytes(inspection.encrypted_data_len)));
    }
    row("stored value", Some(bytes(inspection.value_len)));
    rows.into_iter()
        .map(|(name, cell)| format!("{name:<21} {cell}\n"))
        .collect()
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}
