//! `kms etcd`

use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use indicatif::ProgressBar;
use kms::Failure;
use kms::cluster::{ExportEvent, ExportFormat, ExportRequest, ExportSummary, export, get};
use kms_core::Clock;
use kms_core::object::{ObjectKey, Revision};
use kms_envelope::kubernetes::ManifestOptions;

use super::cluster::{open_source, opener};
use crate::args::cluster::{Etcd, EtcdExport, EtcdGet, Format, Read};

pub(crate) async fn run(args: Etcd, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match args {
        Etcd::Get(args) => run_get(args, clock).await,
        Etcd::Export(args) => run_export(args, clock).await,
    }
}

async fn run_get(args: EtcdGet, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let source = open_source(&args.read.source, &clock).await?;
    let opener = opener(&args.read.keys, clock)?;
    let key = ObjectKey::new(args.key.as_bytes())
        .map_err(|error| Failure::usage(error.to_string(), "give a whole etcd key"))?;
    let request = request(args.format, &args.read);
    get(&source, opener, &key, &request, &mut io::stdout()).await
}

async fn run_export(args: EtcdExport, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let source = open_source(&args.read.source, &clock).await?;
    let opener = opener(&args.read.keys, clock)?;
    let prefix = args.prefix.unwrap_or_default();
    let request = request(args.format, &args.read).with_prefix(prefix.as_bytes());
    let bar = if io::stderr().is_terminal() {
        ProgressBar::no_length()
    } else {
        ProgressBar::hidden()
    };
    let mut out = io::BufWriter::new(io::stdout());
    let summary = export(&source, opener, &request, &mut out, |event| match event {
        ExportEvent::Progress { read, remaining } => {
            bar.set_position(read);
            if let Some(remaining) = remaining {
                bar.set_length(read.saturating_add(remaining));
            }
        }
        ExportEvent::Failed { key, failure } => {
            bar.suspend(|| eprintln!("kms: {key}: {failure}. To do: {}.", failure.remedy()));
        }
        _ => {}
    })
    .await;
    bar.finish_and_clear();
    let summary = summary?;
    if summary == ExportSummary::default() {
        let prefix = prefix.display();
        eprintln!("kms: no key begins with `{prefix}`: nothing was written");
    }
    conclude(&summary)
}

fn request(format: Format, read: &Read) -> ExportRequest {
    let format = match format {
        Format::Yaml => ExportFormat::Yaml,
        Format::Json => ExportFormat::Json,
        Format::Raw => ExportFormat::Raw,
    };
    ExportRequest::default()
        .with_format(format)
        .with_at(read.at_revision.map(Revision::new))
        .with_manifest(ManifestOptions::default().with_keep_metadata(read.keep_metadata))
        .with_etcd_prefix(read.keys.etcd_prefix.as_bytes())
}

fn conclude(summary: &ExportSummary) -> Result<(), Failure> {
    let raw_only: u64 = summary.raw_only.values().sum();
    if raw_only > 0 {
        eprintln!(
            "kms: {raw_only} objects of {} resources are not decoded here and were left out; --format raw takes them",
            summary.raw_only.len()
        );
    }
    if summary.own > 0 {
        eprintln!(
            "kms: {} keys below /kms/ are no objects and were left out: kms keeps there where a migration or a rotation stands",
            summary.own
        );
    }
    if summary.failed == 0 {
        return Ok(());
    }
    Err(Failure::new(
        "incomplete",
        format!(
            "{} objects were written, and {} could not be opened",
            summary.written, summary.failed
        ),
        "see the reasons above",
    ))
}
