//! What a name stands for.

use super::client::{Client, What};
use crate::image::collect::FoundLayer;
use crate::image::oci::{self, Descriptor, Document};
use crate::image::{Digest, ImageReference, Platform};
use crate::{Error, ErrorKind};

/// How many indexes may lead one to another.
const MAX_DEPTH: usize = 4;

/// An image that a registry has: its manifest, and not yet its layers.
#[derive(Debug)]
pub struct ResolvedImage {
    pub(super) name: ImageReference,
    pub(super) resolved: Digest,
    pub(super) manifest: Digest,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<FoundLayer>,
}

impl ResolvedImage {
    /// What to pin the name to: the digest of the index or manifest that it stands for.
    #[must_use]
    pub const fn resolved(&self) -> &Digest {
        &self.resolved
    }

    /// The digest of the manifest for the platform. As long as it is the same, so are the facts.
    #[must_use]
    pub const fn manifest(&self) -> &Digest {
        &self.manifest
    }
}

pub(super) async fn resolve(
    client: &Client,
    name: &ImageReference,
    platform: &Platform,
) -> Result<ResolvedImage, Error> {
    let first = match name.digest() {
        Some(digest) => What::Manifest(digest),
        None => What::Tag(name.tag().unwrap_or("latest")),
    };
    let (mut digest, mut bytes) = client.manifest(name, &first).await?;
    let resolved = digest.clone();
    for _ in 0..MAX_DEPTH {
        match Document::parse(&bytes)? {
            Document::Index(manifests) => {
                let chosen = oci::choose(&manifests, platform)?.digest()?;
                (digest, bytes) = client.manifest(name, &What::Manifest(&chosen)).await?;
            }
            Document::Image { config, layers } => {
                return Ok(ResolvedImage {
                    name: name.clone(),
                    resolved,
                    manifest: digest,
                    config,
                    layers: FoundLayer::all(&layers)?,
                });
            }
        }
    }
    Err(Error::new(
        ErrorKind::Image,
        "over 4 indexes lead one to another",
    ))
}
