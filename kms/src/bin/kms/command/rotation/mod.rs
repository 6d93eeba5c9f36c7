//! `kms rotation`

mod status;
mod watch;

use std::sync::Arc;

use kms::Failure;
use kms_core::Clock;

use crate::args::rotation::Rotation;

pub(crate) async fn run(args: Rotation, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match args {
        Rotation::Status(args) => status::run(*args, clock).await,
        Rotation::Watch(args) => watch::run(*args, clock).await,
    }
}
