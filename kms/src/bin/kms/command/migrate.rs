//! `kms migrate`

use std::sync::Arc;

use kms::Failure;
use kms_core::Clock;

use super::cluster::etcd_options;
use crate::args::migrate::Migrate;

pub(crate) async fn run(args: Migrate, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let _options = etcd_options(&args.way.etcd, &clock)?;
    Err(Failure::new(
        "unsupported",
        "the migration is not wired up yet",
        "use a later build",
    ))
}
