//! `kms quickstart`

use kms::Failure;
use kms::quickstart::{Progress, QuickstartOptions};

use crate::args::Quickstart;

pub(crate) async fn run(args: Quickstart) -> Result<(), Failure> {
    let mut progress = Progress::new(std::io::stdout());
    kms::quickstart::run(
        QuickstartOptions::new(args.dir, args.secrets),
        &mut progress,
    )
    .await
}
