//! `kms policy images`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kms::policy::LocalImages;
use kms_policy::image::Platform;

use super::ProfileName;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyImages {
    /// Take the facts of all images of manifests into a lock file: configuration, layers with their
    /// dm-verity root hashes, users and groups. With it, policies are made offline, and are the same
    /// on every machine.
    #[command(after_help = "\
Example:
  kms policy images lock -y consumer.yaml -o images.lock.json
  kms policy images lock -y consumer.yaml -o images.lock.json --offline \\
      --oci-layout layout=registry.example/web:1 --docker-archive pause.tar

Images are looked for in the directories and files that are given, then in their registries, with
what Docker's configuration says for logging in. Layers are hashed as they stream by, and not stored;
an image whose manifest is that of the lock file is not fetched again. What others added to the lock
file stays. A tag can be moved: the name to pin it with is said on standard error.

Exit codes: 0 the lock file has all images, 1 one could not be taken.")]
    Lock(ImagesLock),
}

#[derive(Args, Debug)]
pub(crate) struct ImagesLock {
    /// A manifest whose images are taken; `-` for standard input. May be given several times.
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) yaml_file: Vec<PathBuf>,
    /// The lock file to make, or to add to.
    #[arg(short, long, value_name = "FILE", default_value = "images.lock.json")]
    pub(crate) output: PathBuf,
    /// Which agent policies are made for; it says what the pause image is.
    #[arg(long, value_enum, value_name = "PROFILE", default_value = "aks-azl3")]
    pub(crate) profile: ProfileName,
    /// The settings, instead of the profile's own; they say what the pause image is.
    #[arg(
        short = 'j',
        long = "json-settings-path",
        visible_alias = "settings",
        value_name = "FILE|DIR"
    )]
    pub(crate) settings: Option<PathBuf>,
    /// What the images are for.
    #[arg(long, value_name = "OS/ARCH", default_value = "linux/amd64", value_parser = parse_platform)]
    pub(crate) platform: Platform,
    /// An OCI layout. It has the images whose whole names its index says, or whose digests; behind
    /// `=`, the image that it is meant to be. May be given several times.
    #[arg(long, value_name = "DIR[=IMAGE]", value_parser = parse_local)]
    pub(crate) oci_layout: Vec<LocalImages>,
    /// An archive that `docker save` made; behind `=`, the image that it is meant to be. May be given
    /// several times.
    #[arg(long, value_name = "FILE[=IMAGE]", value_parser = parse_local)]
    pub(crate) docker_archive: Vec<LocalImages>,
    /// Ask no registry.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Fetch and hash all layers again, of unchanged images too.
    #[arg(long)]
    pub(crate) refetch: bool,
    /// A registry to be asked over plain HTTP. Whoever is on the way can then read what is sent,
    /// passwords too. May be given several times.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
    /// Docker's configuration, for logging in. Credential helpers that it names are run. By default
    /// `config.json` in `DOCKER_CONFIG`, or in `.docker` of the home directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) docker_config: Option<PathBuf>,
    /// A PEM file of CA certificates to trust beside those of this machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_ca: Option<PathBuf>,
    /// The HTTP proxy on the way to registries.
    #[arg(long, env = "HTTPS_PROXY", hide_env_values = true, value_name = "URL")]
    pub(crate) registry_proxy: Option<String>,
    /// Hosts and domains that are reached without the proxy, with commas between.
    #[arg(long, env = "NO_PROXY", value_name = "LIST", default_value = "")]
    pub(crate) registry_no_proxy: String,
    /// Answer as one JSON object on standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a parser")]
fn parse_local(text: &str) -> Result<LocalImages, String> {
    Ok(LocalImages::parse(text))
}
