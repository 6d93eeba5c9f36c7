//! What the commands over a whole cluster have in common.

use std::sync::Arc;

use kms::cluster::{ClusterSource, ObjectOpener, OpenerOptions};
use kms::provider::{Environment, read_passphrase};
use kms::{Failure, read_secret, read_text};
use kms_cluster::etcd::{EtcdOptions, EtcdTls, EtcdUser};
use kms_core::Clock;
use kms_envelope::kubernetes::EncryptionConfiguration;

use crate::args::cluster::{EtcdAddress, Keys, Source};

pub(crate) async fn open_source(
    source: &Source,
    clock: &Arc<dyn Clock>,
) -> Result<ClusterSource, Failure> {
    match &source.snapshot {
        Some(path) => ClusterSource::snapshot(path),
        None if source.etcd.urls.is_empty() => Err(Failure::usage(
            "it is not said where the objects are",
            "give --snapshot FILE or --etcd URL",
        )),
        None => ClusterSource::etcd(etcd_options(&source.etcd, clock)?).await,
    }
}

pub(crate) fn etcd_options(
    etcd: &EtcdAddress,
    clock: &Arc<dyn Clock>,
) -> Result<EtcdOptions, Failure> {
    let mut options = EtcdOptions::new(etcd.urls.iter().cloned())?.with_clock(Arc::clone(clock));
    if let Some(authority) = &etcd.etcd_ca {
        let mut tls = EtcdTls::new(read_text(authority)?.as_bytes())?;
        if let (Some(certificate), Some(key)) = (&etcd.etcd_cert, &etcd.etcd_key_file) {
            tls = tls.with_client(
                read_text(certificate)?.as_bytes(),
                read_secret(key, MAX_KEY_FILE)?,
            )?;
        }
        if let Some(name) = &etcd.etcd_server_name {
            tls = tls.with_server_name(name);
        }
        options = options.with_tls(tls);
    }
    if let (Some(user), Some(file)) = (&etcd.etcd_user, &etcd.etcd_password_file) {
        options = options.with_user(EtcdUser::new(user, read_passphrase(file)?)?);
    }
    Ok(options)
}

/// The most that is read of a private key in PEM, in bytes.
const MAX_KEY_FILE: usize = 64 * 1024;

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
    let mut environment = Environment::with_azure(clock, keys.azure.options());
    ObjectOpener::new(config, keks, options, &mut environment).map(Some)
}
