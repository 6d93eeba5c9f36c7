//! `kms policy images`

use std::path::PathBuf;

use kms::policy::{ImagesLockOutcome, ImagesLockRequest, LockState, images_of, lock_images};
use kms::{Failure, read_manifest};
use kms_policy::image::{DockerConfig, Registry, RegistryOptions};
use serde_json::json;

use super::super::census::spinner;
use super::super::{print, print_line};
use crate::args::policy::{ImagesLock, PolicyImages};

pub(super) async fn run(command: PolicyImages) -> Result<(), Failure> {
    match command {
        PolicyImages::Lock(args) => lock(args).await,
    }
}

async fn lock(args: ImagesLock) -> Result<(), Failure> {
    let texts = args
        .yaml_file
        .iter()
        .map(|path| read_manifest(path).map_err(|failure| failure.at(path.display())));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let texts = texts.iter().map(|text| &**text);
    let images = images_of(texts, args.profile.into(), args.settings.as_deref())?;
    let mut request = ImagesLockRequest::new(images, &args.output);
    request.registry = registry(&args)?;
    request.platform = args.platform;
    request.layouts = args.oci_layout;
    request.archives = args.docker_archive;
    request.refetch = args.refetch;
    let bar = spinner();
    let shown = bar.clone();
    let outcome = lock_images(request, move |image, done| {
        shown.set_message(format!("{image}: layer {} of {}", done.layer, done.layers));
        shown.tick();
    })
    .await;
    bar.finish_and_clear();
    let outcome = outcome?;
    if args.json {
        print_line(&json!(outcome))?;
    } else {
        print(text(&outcome).as_bytes())?;
        for image in &outcome.images {
            if let Some(pin) = &image.pin {
                eprintln!(
                    "kms: {} is a tag, which can be moved: pin it as {pin}",
                    image.image
                );
            }
        }
    }
    verdict(&outcome)
}

fn registry(args: &ImagesLock) -> Result<Option<Registry>, Failure> {
    if args.offline {
        return Ok(None);
    }
    let mut options = RegistryOptions::default();
    for host in &args.insecure_registry {
        options = options.with_insecure(host)?;
    }
    let given = args.docker_config.clone();
    if let Some(path) = given.or_else(default_docker_config) {
        let config = DockerConfig::read(&path);
        let config = config.map_err(|error| Failure::from(error).at(path.display()))?;
        options = options.with_docker_config(config);
    }
    if let Some(path) = &args.registry_ca {
        let pem = kms::read_text(path)?;
        options = options.with_extra_ca_pem(pem.as_bytes())?;
    }
    if let Some(proxy) = args.registry_proxy.as_ref().filter(|it| !it.is_empty()) {
        options = options.with_proxy(proxy, &args.registry_no_proxy);
    }
    Ok(Some(Registry::new(options)?))
}

/// Where Docker has its configuration, if there is one.
fn default_docker_config() -> Option<PathBuf> {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .filter(|it| !it.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".docker")))?;
    Some(directory.join("config.json")).filter(|file| file.is_file())
}

fn text(outcome: &ImagesLockOutcome) -> String {
    let mut text = String::new();
    for image in &outcome.images {
        let state = match image.state {
            LockState::New => "new",
            LockState::Changed => "changed",
            LockState::Unchanged => "unchanged",
            _ => "locked",
        };
        let digest = image.digest.as_deref().unwrap_or("without a digest");
        text.push_str(&format!("{state:9} {} {digest}\n", image.image));
    }
    text
}

fn verdict(outcome: &ImagesLockOutcome) -> Result<(), Failure> {
    let Some(first) = outcome.failed.first() else {
        return Ok(());
    };
    let all = outcome.failed.iter();
    let all: Vec<_> = all
        .map(|it| format!("{}: {}", it.image, it.message))
        .collect();
    Err(Failure::new("image", all.join("; "), &first.remedy))
}
