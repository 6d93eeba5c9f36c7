//! `kms etcd`

use std::sync::Arc;

use kms::Failure;
use kms_core::Clock;

use crate::args::cluster::Etcd;

pub(crate) async fn run(args: Etcd, _clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let _ = args;
    Err(Failure::new("unsupported", "not yet", "wait"))
}
