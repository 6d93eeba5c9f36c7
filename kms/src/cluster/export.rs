//! Objects out of a backup or an etcd, decrypted.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_core::object::{FetchOptions, ObjectKey, Revision, Scan, ScanOptions, StoredObject};
use kms_envelope::kubernetes::{Manifest, ManifestOptions};
use kms_envelope::reencrypt::Place;
use serde::Serialize;
use zeroize::Zeroizing;

use super::own::is_own_key;
use super::{ClusterSource, ObjectOpener};
use crate::Failure;

/// How objects are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// YAML documents, for `kubectl apply`.
    #[default]
    Yaml,
    /// One JSON object a line, for `kubectl apply`.
    Json,
    /// One JSON object a line that holds the etcd key and the plaintext in base64. Takes any
    /// kind.
    Raw,
}

/// What to write, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportRequest {
    /// What keys begin with. Empty for all.
    pub prefix: Vec<u8>,
    /// The revision to read at; the newest if there is none.
    pub at: Option<Revision>,
    /// How to write them.
    pub format: ExportFormat,
    /// What to keep of their metadata.
    pub manifest: ManifestOptions,
    /// The API server's `--etcd-prefix`, to tell resources by. `/registry` by default.
    pub etcd_prefix: Vec<u8>,
}

impl Default for ExportRequest {
    fn default() -> Self {
        Self {
            prefix: Vec::new(),
            at: None,
            format: ExportFormat::default(),
            manifest: ManifestOptions::default(),
            etcd_prefix: b"/registry".to_vec(),
        }
    }
}

impl ExportRequest {
    /// Sets what keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the revision to read at.
    #[must_use]
    pub fn with_at(mut self, at: impl Into<Option<Revision>>) -> Self {
        self.at = at.into();
        self
    }

    /// Sets how to write them.
    #[must_use]
    pub const fn with_format(mut self, format: ExportFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets what to keep of their metadata.
    #[must_use]
    pub const fn with_manifest(mut self, manifest: ManifestOptions) -> Self {
        self.manifest = manifest;
        self
    }

    /// Sets the API server's `--etcd-prefix`.
    #[must_use]
    pub fn with_etcd_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.etcd_prefix = prefix.into();
        self
    }
}

/// What came of an export.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// Objects that were written.
    pub written: u64,
    /// Objects that did not open.
    pub failed: u64,
    /// Objects that opened, and are of a kind that only the raw format takes, by resource.
    pub raw_only: BTreeMap<String, u64>,
    /// Keys under which this software keeps where a migration or a rotation stands. They are no
    /// objects, and were left out unless the prefix names them.
    pub own: u64,
}

/// What an export tells while it runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExportEvent<'a> {
    /// A page was written.
    Progress {
        /// Objects read so far.
        read: u64,
        /// Objects to go, if the source knows.
        remaining: Option<u64>,
    },
    /// An object does not open. The rest goes on.
    Failed {
        /// Its key.
        key: &'a ObjectKey,
        /// Why.
        failure: &'a Failure,
    },
}

/// Writes all objects below a prefix, decrypted. Holds one page of objects at a time.
///
/// Without an opener only objects that are stored in clear are written.
///
/// # Errors
///
/// A [`Failure`]: the source cannot be read, or the output cannot be written. An object that does
/// not open is an event and is counted.
pub async fn export(
    source: &ClusterSource,
    mut opener: Option<ObjectOpener>,
    request: &ExportRequest,
    out: &mut (dyn Write + Send),
    mut tell: impl FnMut(ExportEvent<'_>),
) -> Result<ExportSummary, Failure> {
    let options = ScanOptions::default()
        .with_prefix(request.prefix.clone())
        .with_at(request.at);
    let mut pages = Scan::new(source.objects(), options);
    let mut summary = ExportSummary::default();
    let asks_for_own = request.prefix.starts_with(b"/kms/");
    let mut read = 0_u64;
    while let Some(page) = pages.next_page().await? {
        for object in &page.objects {
            let key = object.key.as_bytes();
            if !asks_for_own && is_own_key(key, &request.etcd_prefix) {
                summary.own = summary.own.saturating_add(1);
                continue;
            }
            match open_and_write(object, opener.as_mut(), request, out).await? {
                Verdict::Written => summary.written = summary.written.saturating_add(1),
                Verdict::RawOnly => {
                    let place = Place::of(&request.etcd_prefix, object.key.as_bytes());
                    let resource = place.map_or_else(String::new, |it| it.resource.into_owned());
                    let count = summary.raw_only.entry(resource).or_default();
                    *count = count.saturating_add(1);
                }
                Verdict::Failed(failure) => {
                    summary.failed = summary.failed.saturating_add(1);
                    tell(ExportEvent::Failed {
                        key: &object.key,
                        failure: &failure,
                    });
                }
            }
        }
        read = read.saturating_add(page.objects.len() as u64);
        tell(ExportEvent::Progress {
            read,
            remaining: page.remaining,
        });
    }
    out.flush().map_err(writing)?;
    Ok(summary)
}

/// Writes one object, decrypted; in the raw format the bytes themselves.
///
/// # Errors
///
/// A [`Failure`]: there is no such object, it does not open, or its kind is one that only the raw
/// format takes.
pub async fn get(
    source: &ClusterSource,
    mut opener: Option<ObjectOpener>,
    key: &ObjectKey,
    request: &ExportRequest,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let options = FetchOptions::default().with_at(request.at);
    let object = source.objects().fetch(key, &options).await?;
    let object = object.ok_or_else(|| {
        Failure::new(
            "not_found",
            format!("{source} has no object {key}"),
            "check the key, and the revision if one was given",
        )
    })?;
    if request.format == ExportFormat::Raw {
        let plaintext = open(&object, opener.as_mut()).await?;
        return out.write_all(&plaintext).map_err(writing);
    }
    match open_and_write(&object, opener.as_mut(), request, out).await? {
        Verdict::Written => out.flush().map_err(writing),
        Verdict::Failed(failure) => Err(failure.at(key)),
        Verdict::RawOnly => Err(Failure::new(
            "unsupported",
            format!("{key} is of a kind that is not decoded here"),
            "give --format raw",
        )),
    }
}

enum Verdict {
    Written,
    RawOnly,
    Failed(Failure),
}

async fn open_and_write(
    object: &StoredObject,
    opener: Option<&mut ObjectOpener>,
    request: &ExportRequest,
    out: &mut (dyn Write + Send),
) -> Result<Verdict, Failure> {
    let plaintext = match open(object, opener).await {
        Ok(plaintext) => plaintext,
        Err(failure) => return Ok(Verdict::Failed(failure)),
    };
    let mut text = Zeroizing::new(Vec::with_capacity(room_for(plaintext.len())));
    if request.format == ExportFormat::Raw {
        write_raw(object, &plaintext, &mut text)?;
    } else {
        let manifest = match Manifest::decode(&plaintext, &request.manifest) {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == kms_envelope::ErrorKind::Unsupported => {
                return Ok(Verdict::RawOnly);
            }
            Err(error) => return Ok(Verdict::Failed(error.into())),
        };
        write_manifest(&manifest, request.format, &mut text)?;
    }
    out.write_all(&text).map_err(writing)?;
    Ok(Verdict::Written)
}

/// Room for the text of an object, so that growing leaves no copy of it behind.
const fn room_for(plaintext: usize) -> usize {
    plaintext.saturating_mul(3).saturating_add(4096)
}

async fn open(
    object: &StoredObject,
    opener: Option<&mut ObjectOpener>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match opener {
        Some(opener) => {
            let opened = opener.open(object.key.as_bytes(), &object.value).await?;
            Ok(Zeroizing::new(opened.plaintext().to_vec()))
        }
        None if object.value.starts_with(b"k8s:enc:") => Err(Failure::new(
            "config",
            "the value is encrypted",
            "give --encryption-config FILE, and --kek NAME=PROVIDER if its plugin does not run here",
        )),
        None => Ok(Zeroizing::new(object.value.clone())),
    }
}

fn write_manifest(
    manifest: &Manifest<'_>,
    format: ExportFormat,
    text: &mut Vec<u8>,
) -> Result<(), Failure> {
    let failed = |error: String| Failure::new("internal", error, "report this as a defect");
    if format == ExportFormat::Yaml {
        text.extend(b"---\n");
        let yaml = serde_saphyr::to_string(manifest).map_err(|error| failed(error.to_string()))?;
        text.extend(Zeroizing::new(yaml).as_bytes());
    } else {
        serde_json::to_writer(&mut *text, manifest).map_err(|error| failed(error.to_string()))?;
    }
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    Ok(())
}

/// A line of the raw format.
#[derive(Serialize)]
struct RawLine<'a> {
    etcd_key: String,
    /// The key's bytes, where `etcd_key` had to escape some.
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_key_base64: Option<String>,
    mod_revision: u64,
    plaintext_base64: &'a str,
}

fn write_raw(object: &StoredObject, plaintext: &[u8], text: &mut Vec<u8>) -> Result<(), Failure> {
    let encoded = Zeroizing::new(STANDARD.encode(plaintext));
    let etcd_key = object.key.to_string();
    let is_escaped = etcd_key.as_bytes() != object.key.as_bytes();
    let line = RawLine {
        etcd_key,
        etcd_key_base64: is_escaped.then(|| STANDARD.encode(object.key.as_bytes())),
        mod_revision: object.revision.get(),
        plaintext_base64: &encoded,
    };
    serde_json::to_writer(&mut *text, &line)
        .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
    text.push(b'\n');
    Ok(())
}

fn writing(error: std::io::Error) -> Failure {
    Failure::io("writing the output", error)
}
