//! OCI image layouts: directories with an `index.json` and blobs by their digests.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::collect::{CollectOptions, CollectedImage, FoundImage, FoundLayer};
use super::digest::shown;
use super::oci::{self, Configuration, Descriptor, Document};
use super::{Digest, ImageReference, Platform};
use crate::file::failed;
use crate::{Error, ErrorKind};

/// The tag of an image, or its whole name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, as containerd writes it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How many indexes may lie one in another.
const MAX_DEPTH: usize = 4;

/// A directory of images.
///
/// ```no_run
/// use kms_policy::image::{CollectOptions, ImageReference, OciLayout};
///
/// let layout = OciLayout::open("images".as_ref())?;
/// let name = ImageReference::parse("registry.example/web:1")?;
/// let image = layout.image_as(&name, &CollectOptions::default())?;
/// println!("{:?}", image.facts.layers);
/// # Ok::<(), kms_policy::Error>(())
/// ```
#[derive(Debug)]
pub struct OciLayout {
    root: PathBuf,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl OciLayout {
    /// Reads a layout's index.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if a file cannot be read; [`ErrorKind::Image`] if the directory is no layout
    /// of version 1.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let read = |name: &str, max| crate::file::read_text(&root.join(name), max);
        let refused =
            |what: &str| Error::new(ErrorKind::Image, format!("{}: {what}", root.display()));
        let marker: Marker = serde_json::from_str(&read("oci-layout", 4096)?)
            .map_err(|_| refused("`oci-layout` is not of its form"))?;
        if !marker.image_layout_version.starts_with("1.") {
            return Err(refused("this OCI layout is not of version 1"));
        }
        let index = read("index.json", oci::MAX_MANIFEST)?;
        match Document::parse(index.as_bytes())? {
            Document::Index(manifests) => Ok(Self {
                root: root.to_owned(),
                manifests,
            }),
            Document::Image { .. } => Err(refused("`index.json` is no index")),
        }
    }

    /// The facts of the image of this name, if the layout has it. It has it if it holds a manifest of
    /// the digest that the name is pinned to, or says the whole name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if a file cannot be read; [`ErrorKind::Image`] if something is not what its
    /// digest says, is not of its form, or is over what is allowed.
    pub fn image(
        &self,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<Option<CollectedImage>, Error> {
        let Some(found) = self.named(name, &options.platform)? else {
            return Ok(None);
        };
        self.collect(&found, options).map(Some)
    }

    /// The facts of the image that is meant by this name: as [`OciLayout::image`]; else the one whose
    /// tag alone the layout says; else the only one there is, unless the name is pinned.
    ///
    /// # Errors
    ///
    /// As [`OciLayout::image`], and [`ErrorKind::Image`] if it is not known which one is meant.
    pub fn image_as(
        &self,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<CollectedImage, Error> {
        let platform = &options.platform;
        let found = match self.named(name, platform)? {
            Some(found) => found,
            None if name.digest().is_some() => return Err(self.unknown(name)),
            None => {
                let by_tag = self.matching(|text| Some(text) == name.tag());
                let all = if by_tag.is_empty() {
                    one_of(&self.manifests, None)
                } else {
                    one_of(&by_tag, Some(platform))
                };
                all.ok_or_else(|| self.unknown(name))?
            }
        };
        self.collect(&found, options)
    }

    fn unknown(&self, name: &ImageReference) -> Error {
        let names = self
            .manifests
            .iter()
            .filter_map(|it| it.annotations.as_ref());
        let names = names.filter_map(|it| it.get(CONTAINERD_NAME).or_else(|| it.get(REF_NAME)));
        let names: Vec<_> = names.take(20).map(|name| shown(name)).collect();
        let root = self.root.display();
        Error::new(
            ErrorKind::Image,
            format!(
                "{root} does not tell which image is {name}; it has: {}",
                names.join(", ")
            ),
        )
    }

    /// The descriptor of what this name stands for.
    fn named(
        &self,
        name: &ImageReference,
        platform: &Platform,
    ) -> Result<Option<Descriptor>, Error> {
        if let Some(digest) = name.digest() {
            let listed = self
                .manifests
                .iter()
                .find(|it| it.digest().is_ok_and(|it| it == *digest));
            if let Some(listed) = listed {
                return Ok(Some(listed.clone()));
            }
            let len = match std::fs::metadata(self.blob(digest)) {
                Ok(metadata) if metadata.is_file() => metadata.len(),
                _ => return Ok(None),
            };
            return Ok(Some(Descriptor::new(digest, len)));
        }
        let is_name = |text: &str| ImageReference::parse(text).is_ok_and(|it| it.has_name_of(name));
        let matching = self.matching(|text| text.contains('/') && is_name(text));
        if matching.is_empty() {
            return Ok(None);
        }
        let found = one_of(&matching, Some(platform));
        found.map(Some).ok_or_else(|| self.unknown(name))
    }

    /// Descriptors with an annotation that names them so.
    fn matching(&self, is_name: impl Fn(&str) -> bool) -> Vec<Descriptor> {
        let fits = |it: &&Descriptor| {
            let annotations = it.annotations.as_ref();
            let named = |key| annotations.and_then(|it| it.get(key));
            let names = [named(CONTAINERD_NAME), named(REF_NAME)];
            names.into_iter().flatten().any(|name| is_name(name))
        };
        self.manifests.iter().filter(fits).cloned().collect()
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let blobs = self.root.join("blobs");
        blobs.join(digest.algorithm()).join(digest.digits())
    }

    fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.blob(digest);
        let unread = |error| failed("reading", &path, error);
        // A pipe would never end.
        if !std::fs::metadata(&path).map_err(unread)?.is_file() {
            let message = format!("{} is no file", path.display());
            return Err(Error::new(ErrorKind::Image, message));
        }
        File::open(&path).map_err(unread)
    }

    /// A document, as its descriptor says it is.
    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Vec<u8>, Error> {
        let digest = descriptor.digest()?;
        if descriptor.size > max {
            return Err(Error::new(
                ErrorKind::Image,
                format!("{digest} is over {max} bytes"),
            ));
        }
        let mut bytes = Vec::new();
        let mut bounded = self
            .open_blob(&digest)?
            .take(descriptor.size.saturating_add(1));
        bounded
            .read_to_end(&mut bytes)
            .map_err(|error| failed("reading", &self.blob(&digest), error))?;
        digest.check(&bytes)?;
        Ok(bytes)
    }

    fn collect(
        &self,
        found: &Descriptor,
        options: &CollectOptions,
    ) -> Result<CollectedImage, Error> {
        let resolved = found.digest()?;
        let mut at = found.clone();
        for _ in 0..MAX_DEPTH {
            match Document::parse(&self.document(&at, oci::MAX_MANIFEST)?)? {
                Document::Index(manifests) => {
                    at = oci::choose(&manifests, &options.platform)?.clone();
                }
                Document::Image { config, layers } => {
                    let image = FoundImage {
                        digest: Some(at.digest()?),
                        resolved: Some(resolved),
                        configuration: Configuration::parse(
                            &self.document(&config, oci::MAX_CONFIG)?,
                            &options.platform,
                        )?,
                        layers: FoundLayer::all(&layers)?,
                    };
                    return image.collect(options, |_, layer| match &layer.digest {
                        Some(digest) => self.open_blob(digest),
                        None => Err(Error::new(ErrorKind::Internal, "a layer without a digest")),
                    });
                }
            }
        }
        Err(Error::new(
            ErrorKind::Image,
            "over 4 indexes lie one in another",
        ))
    }
}

/// The only one of these, or the only one of these for the platform.
fn one_of(found: &[Descriptor], platform: Option<&Platform>) -> Option<Descriptor> {
    let only = |found: &[&Descriptor]| {
        let digests: BTreeSet<_> = found.iter().map(|it| it.digest().ok()).collect();
        (digests.len() == 1).then(|| found.first().copied().cloned())?
    };
    let all: Vec<_> = found.iter().collect();
    only(&all).or_else(|| {
        let platform = platform?;
        let fitting: Vec<_> = found.iter().filter(|it| it.is_for(platform)).collect();
        only(&fitting)
    })
}
