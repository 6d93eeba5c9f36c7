//! `kms doctor …`

use core::time::Duration;
use std::sync::Arc;

use kms::Failure;
use kms_azure::doctor::{Report, Status, run as examine};
use kms_core::Clock;
use serde_json::json;

use super::print_line;
use crate::args::doctor::{Doctor, DoctorAzure};

pub(crate) async fn run(command: Doctor, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match command {
        Doctor::Azure(args) => azure(&args, clock).await,
    }
}

async fn azure(args: &DoctorAzure, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let day = Duration::from_secs(24 * 3600);
    let options = args
        .azure
        .options()
        .examination(&args.key_id, clock)?
        .with_expiry_warning(day.saturating_mul(args.expiry_days))
        .with_deks(args.deks);
    let report = examine(options).await;
    if args.json {
        print_line(&json!(report))?;
    } else {
        print_line(&report)?;
    }
    verdict(&report)
}

fn verdict(report: &Report) -> Result<(), Failure> {
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| check.id.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        "unhealthy",
        format!("the key cannot serve: {}", failed.join(", ")),
        "do what the report says, and examine it again",
    ))
}
