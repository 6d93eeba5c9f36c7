//! `kms decrypt`

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms::provider::ProviderUri;
use kms::{DecryptRequest, Failure, read_text, read_value};
use kms_core::Clock;
use kms_envelope::kubernetes::EncryptionConfiguration;
use serde_json::json;
use zeroize::Zeroizing;

use super::print;
use crate::args::Decrypt;

pub(crate) async fn run(args: Decrypt, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    let keks = args
        .kek
        .iter()
        .map(|text| parse_kek(text))
        .collect::<Result<_, _>>()?;
    let text = Zeroizing::new(read_text(&args.encryption_config)?);
    let config = EncryptionConfiguration::parse(&text)
        .map_err(|error| Failure::from(error).at(args.encryption_config.display()))?;
    let value = read_value(&args.value_file, args.encoding.into())?;
    let request = DecryptRequest {
        config: &config,
        keks,
        etcd_key: args.etcd_key.as_bytes(),
        etcd_prefix: &args.etcd_prefix,
        resource: args.resource.as_deref(),
        value: &value,
    };
    let opened = kms::decrypt(request, clock).await.map_err(|failure| {
        // What `etcdctl get --print-value-only` appends makes every authenticated value fail.
        match value.as_slice() {
            [.., b'\n'] if failure.kind() == "crypto" => failure
                .with_hint("the value ends in a line feed: if etcdctl appended it, cut it off"),
            _ => failure,
        }
    })?;
    if !args.json {
        return print(opened.plaintext());
    }
    let plaintext = Zeroizing::new(STANDARD.encode(opened.plaintext()));
    let object = json!({
        "plaintext_base64": *plaintext,
        "stale": opened.is_stale(),
        "provider": opened.provider().as_str(),
        "name": opened.name(),
        "key_id": opened.key_id().map(|id| id.as_str()),
    });
    super::print_line(&object)
}

/// `NAME=PROVIDER`. A v1 name may hold a colon, but none holds an equals sign here.
fn parse_kek(text: &str) -> Result<(String, ProviderUri), Failure> {
    match text.split_once('=') {
        Some((name, uri)) if !name.is_empty() => {
            let uri = uri
                .parse()
                .map_err(|failure: Failure| failure.at(format!("--kek {name}")))?;
            Ok((name.to_owned(), uri))
        }
        _ => Err(Failure::usage(
            "--kek is not NAME=PROVIDER",
            "give for example my-kms=local:PATH",
        )),
    }
}
