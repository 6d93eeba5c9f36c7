//! `kms doctor …`

use core::time::Duration;
use std::sync::Arc;

use kms::Failure;
use kms_azure::doctor::{DoctorOptions, Report, Status, run as examine};
use kms_azure::key_url::KeyUrl;
use kms_azure::provider::{AesMode, AesSize, Operations};
use kms_core::Clock;
use serde_json::json;

use super::azure::usage;
use super::print_line;
use crate::args::doctor::{Aes, Doctor, DoctorAzure};

pub(crate) async fn run(command: Doctor, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    match command {
        Doctor::Azure(args) => azure(&args, clock).await,
    }
}

async fn azure(args: &DoctorAzure, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let key = KeyUrl::parse(&args.key_id, &args.access.hosts()?)
        .map_err(|error| usage(&error).at("--key-id"))?;
    let day = Duration::from_secs(24 * 3600);
    let mut options = DoctorOptions::new(key, args.access.caller()?, clock)
        .with_transport(args.access.transport()?)
        .with_aes(args.aes.into())
        .with_expiry_warning(day.saturating_mul(args.expiry_days));
    if let Some(authority) = args.access.authority()? {
        options = options.with_authority(authority);
    }
    if args.encrypt_decrypt {
        options = options.with_operations(Operations::EncryptDecrypt);
    }
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

impl From<Aes> for AesMode {
    fn from(aes: Aes) -> Self {
        match aes {
            Aes::A128Kw => Self::KeyWrap(AesSize::Aes128),
            Aes::A192Kw => Self::KeyWrap(AesSize::Aes192),
            Aes::A256Kw => Self::KeyWrap(AesSize::Aes256),
            Aes::A128Gcm => Self::Gcm(AesSize::Aes128),
            Aes::A192Gcm => Self::Gcm(AesSize::Aes192),
            Aes::A256Gcm => Self::Gcm(AesSize::Aes256),
        }
    }
}
