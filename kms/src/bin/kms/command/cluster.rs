//! What the commands over a whole cluster have in common.

use std::sync::Arc;

use kms::cluster::{ClusterSource, ObjectOpener, OpenerOptions};
use kms::{Failure, read_text};
use kms_core::Clock;
use kms_envelope::kubernetes::EncryptionConfiguration;

use crate::args::cluster::{Keys, Source};

pub(crate) fn open_source(source: &Source) -> Result<ClusterSource, Failure> {
    match &source.snapshot {
        Some(path) => ClusterSource::snapshot(path),
        None => Err(Failure::usage(
            "there is nothing to read from",
            "give --snapshot FILE",
        )),
    }
}

/// What opens the objects; `None` without a configuration.
pub(crate) fn opener(keys: &Keys, clock: Arc<dyn Clock>) -> Result<Option<ObjectOpener>, Failure> {
    let Some(path) = &keys.encryption_config else {
        if keys.kek.is_empty() {
            return Ok(None);
        }
        return Err(Failure::usage(
            "--kek stands in for a KMS of a configuration, and there is none",
            "give --encryption-config FILE",
        ));
    };
    let text = read_text(path)?;
    let config = EncryptionConfiguration::parse(&text)
        .map_err(|error| Failure::from(error).at(path.display()))?;
    let keks = keys
        .kek
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let options = OpenerOptions::default()
        .with_etcd_prefix(keys.etcd_prefix.clone())
        .with_rebind_prefix(keys.rebind_prefix.clone());
    ObjectOpener::new(config, keks, options, clock).map(Some)
}
