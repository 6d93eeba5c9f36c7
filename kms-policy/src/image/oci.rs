//! The documents that images are described by: indexes, manifests and configurations of the OCI image
//! specification, and Docker's of schema 2, which have the same fields.
//!
//! Others wrote them. Fields that are not known are left out, lists are bounded, and what could be read
//! in two ways is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Digest, ImageConfig, Platform};
use crate::{Error, ErrorKind};

/// The longest index or manifest, in bytes: what registries accept.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// The longest configuration, in bytes.
pub(super) const MAX_CONFIG: u64 = 8 * 1024 * 1024;
/// Docker and containerd stop at 127 layers.
const MAX_LAYERS: usize = 1024;

/// Content and where it lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    digest: String,
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<PlatformDocument>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PlatformDocument {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    /// One of a manifest that no index lists.
    pub(super) fn new(digest: &Digest, size: u64) -> Self {
        Self {
            digest: digest.to_string(),
            size,
            platform: None,
            annotations: None,
        }
    }

    pub(super) fn digest(&self) -> Result<Digest, Error> {
        Digest::parse(&self.digest)
    }

    /// Whether it says that it is for this platform.
    pub(super) fn is_for(&self, wanted: &Platform) -> bool {
        self.platform().is_some_and(|it| wanted.takes(&it))
    }

    fn platform(&self) -> Option<Platform> {
        let found = self.platform.as_ref()?;
        let variant = found.variant.as_deref();
        Some(Platform::new(&found.os, &found.architecture, variant))
    }
}

/// An index or a manifest.
#[derive(Debug)]
pub(super) enum Document {
    /// Manifests for several platforms.
    Index(Vec<Descriptor>),
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Error> {
        let refused = |what: &str| Error::new(ErrorKind::Image, format!("a manifest {what}"));
        if json.len() as u64 > MAX_MANIFEST {
            return Err(refused("is over 4 MiB"));
        }
        let found: Either = serde_json::from_slice(json)
            .map_err(|error| refused(&format!("is not of its form: {error}")))?;
        if found.fs_layers.is_some() || found.schema_version.is_some_and(|version| version != 2) {
            return Err(refused("is not of schema 2").with_remedy(
                "push the image again with a newer tool: it has Docker's first schema",
            ));
        }
        match (found.manifests, found.config, found.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), Some(layers)) => {
                if layers.len() > MAX_LAYERS {
                    return Err(refused("has over 1,024 layers"));
                }
                Ok(Self::Image { config, layers })
            }
            // Readers would differ on which of the two it is.
            (Some(_), _, _) => Err(refused("is an index and an image at once")),
            _ => Err(refused("is neither an index nor an image")),
        }
    }
}

/// The manifest of an index that is for a platform: the first that fits.
pub(super) fn choose<'d>(
    manifests: &'d [Descriptor],
    wanted: &Platform,
) -> Result<&'d Descriptor, Error> {
    if let Some(found) = manifests.iter().find(|it| it.is_for(wanted)) {
        return Ok(found);
    }
    // A single manifest need not say its platform: the configuration does.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let offered = manifests.iter().filter_map(Descriptor::platform);
    let offered = offered.map(|platform| super::digest::shown(&platform.to_string()));
    let offered: Vec<_> = offered.take(20).collect();
    Err(Error::new(
        ErrorKind::Image,
        format!(
            "the image is not there for {wanted}, but for: {}",
            offered.join(", ")
        ),
    )
    .with_remedy("choose one with --platform"))
}

/// What is taken of a configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) platform: Platform,
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct ConfigDocument {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<ContainerConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
}

impl Configuration {
    /// Reads one, and refuses it if it is for another platform.
    pub(super) fn parse(json: &[u8], wanted: &Platform) -> Result<Self, Error> {
        let refused =
            |what: String| Error::new(ErrorKind::Image, format!("an image's configuration {what}"));
        if json.len() as u64 > MAX_CONFIG {
            return Err(refused("is over 8 MiB".to_owned()));
        }
        let found: ConfigDocument = serde_json::from_slice(json)
            .map_err(|error| refused(format!("is not of its form: {error}")))?;
        let os = found.os.as_deref().filter(|os| !os.is_empty());
        let platform = Platform::new(
            os.unwrap_or("linux"),
            &found.architecture.unwrap_or_default(),
            found.variant.as_deref(),
        );
        if !wanted.takes(&platform) {
            let platform = super::digest::shown(&platform.to_string());
            return Err(refused(format!("is for {platform}, not for {wanted}"))
                .with_remedy("choose the platform with --platform"));
        }
        let diff_ids = found.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() > MAX_LAYERS {
            return Err(refused("has over 1,024 layers".to_owned()));
        }
        let diff_ids = diff_ids.iter().map(|id| Digest::parse(id));
        let container = found.config.unwrap_or_default();
        // The keys of a map, and so sorted.
        let volumes = container.volumes.unwrap_or_default().into_keys();
        Ok(Self {
            platform,
            config: ImageConfig {
                env: container.env.filter(|it| !it.is_empty()),
                entrypoint: container.entrypoint.filter(|it| !it.is_empty()),
                cmd: container.cmd.filter(|it| !it.is_empty()),
                working_dir: container.working_dir.filter(|it| !it.is_empty()),
                user: container.user.filter(|it| !it.is_empty()),
                volumes: volumes.collect(),
            },
            diff_ids: diff_ids.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Document, ErrorKind> {
        Document::parse(json.as_bytes()).map_err(|error| error.kind())
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let descriptor = r#"{"digest":"x","size":1}"#;
        let image = format!(r#""config":{descriptor},"layers":[{descriptor}]"#);
        assert!(matches!(
            parse(&format!("{{{image}}}")),
            Ok(Document::Image { .. })
        ));
        assert!(matches!(
            parse(r#"{"manifests":[]}"#),
            Ok(Document::Index(_))
        ));
        for bad in [
            "",
            "{}",
            "[]",
            &format!(r#"{{{image},"manifests":[]}}"#),
            &format!(r#"{{{image},"schemaVersion":1}}"#),
            &format!(r#"{{{image},"fsLayers":[]}}"#),
            &format!(r#"{{"config":{descriptor}}}"#),
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"manifests":[{"digest":"x","size":-1}]}"#,
        ] {
            assert_eq!(parse(bad).unwrap_err(), ErrorKind::Image, "{bad}");
        }
    }

    #[test]
    fn a_platform_is_chosen_and_never_guessed() {
        let index = |platforms: &[&str]| {
            let manifests = platforms.iter().map(|platform| {
                let mut parts = platform.split('/');
                let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
                format!(
                    r#"{{"digest":"{platform}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
                )
            });
            let manifests: Vec<_> = manifests.collect();
            let json = format!(r#"{{"manifests":[{}]}}"#, manifests.join(","));
            match Document::parse(json.as_bytes()).unwrap() {
                Document::Index(manifests) => manifests,
                Document::Image { .. } => panic!("an index"),
            }
        };
        let all = index(&["unknown/unknown", "linux/arm64", "linux/amd64"]);
        let chosen = choose(&all, &Platform::default()).unwrap();
        assert_eq!(chosen.digest, "linux/amd64");
        let message = choose(&all, &Platform::parse("linux/s390x").unwrap()).unwrap_err();
        assert!(message.to_string().contains("linux/arm64"), "{message}");
        choose(&index(&["linux/arm64"]), &Platform::default()).unwrap_err();
        choose(&[], &Platform::default()).unwrap_err();
    }

    #[test]
    fn a_configuration_is_taken_as_it_is_meant() {
        let json = r#"{"architecture":"amd64","os":"linux","history":[1],
            "config":{"User":"","Env":["A=1"],"Cmd":null,"Volumes":{"/b":{},"/a":{}},"Entrypoint":[]},
            "rootfs":{"type":"layers","diff_ids":[]}}"#;
        let read = Configuration::parse(json.as_bytes(), &Platform::default()).unwrap();
        assert_eq!(read.config.env.unwrap(), ["A=1"]);
        assert_eq!(read.config.volumes, ["/a", "/b"]);
        assert_eq!(read.config.user, None);
        assert_eq!(read.config.entrypoint, None);
        let other = Platform::parse("linux/arm64").unwrap();
        Configuration::parse(json.as_bytes(), &other).unwrap_err();
        Configuration::parse(b"{}", &Platform::default()).unwrap_err();
    }
}
