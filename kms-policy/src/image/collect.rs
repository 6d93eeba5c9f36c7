//! From an image's parts to its facts.

use core::fmt;
use core::num::NonZeroUsize;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::compression::{Bounded, decompress};
use super::digest::Checked;
use super::oci::{Configuration, Descriptor};
use super::{Digest, HashedLayers, ImageFacts, LayerFacts, LayerSummary, Platform};
use crate::{Error, ErrorKind};

/// Layers that are hashed at the same time.
const MAX_THREADS: usize = 16;

/// How to take facts from an image.
#[derive(Clone)]
#[non_exhaustive]
pub struct CollectOptions {
    /// What the image is for. `linux/amd64` by default.
    pub platform: Platform,
    /// How many layers are fetched and hashed at the same time. As many as there are cores by default,
    /// and never over 16.
    pub threads: NonZeroUsize,
    /// The longest layer, uncompressed, in bytes. 64 GiB by default.
    pub max_layer_len: u64,
    /// Layers that need not be hashed again. None by default.
    pub hashed: HashedLayers,
    progress: Option<Arc<dyn Fn(LayerDone) + Send + Sync>>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            platform: Platform::default(),
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_layer_len: 64 * 1024 * 1024 * 1024,
            hashed: HashedLayers::default(),
            progress: None,
        }
    }
}

impl fmt::Debug for CollectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectOptions")
            .field("platform", &self.platform)
            .field("threads", &self.threads)
            .field("max_layer_len", &self.max_layer_len)
            .finish_non_exhaustive()
    }
}

impl CollectOptions {
    /// Sets the platform.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Sets how many layers are worked on at the same time.
    #[must_use]
    pub const fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the longest layer, uncompressed, in bytes.
    #[must_use]
    pub const fn with_max_layer_len(mut self, len: u64) -> Self {
        self.max_layer_len = len;
        self
    }

    /// Sets which layers need not be hashed again, and adds to them those that are: give the same to
    /// all images of a run.
    #[must_use]
    pub fn with_hashed(mut self, hashed: HashedLayers) -> Self {
        self.hashed = hashed;
        self
    }

    /// Is told of each layer that is done, from the thread that did it.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(LayerDone) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// How many of so many layers are worked on at once.
    pub(super) fn workers(&self, layers: usize) -> usize {
        self.threads.get().min(MAX_THREADS).min(layers)
    }

    pub(super) fn tell(&self, done: LayerDone) {
        if let Some(progress) = &self.progress {
            progress(done);
        }
    }
}

/// A layer was hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LayerDone {
    /// Which, counted from 1, the lowest first. They need not be done in this order.
    pub layer: usize,
    /// How many the image has.
    pub layers: usize,
    /// How long it is as it is stored, in bytes.
    pub stored_len: u64,
}

/// An image's facts, and where its name led.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CollectedImage {
    /// The facts.
    pub facts: ImageFacts,
    /// What to pin the name to: the digest of the index or manifest that it stands for. None if the
    /// source has no manifests.
    pub resolved: Option<Digest>,
}

impl CollectedImage {
    /// Facts that are known already, of an image that a name stands for still.
    #[must_use]
    pub const fn of_known(facts: ImageFacts, resolved: Digest) -> Self {
        Self {
            facts,
            resolved: Some(resolved),
        }
    }
}

/// An image that was found: what its documents say.
#[derive(Debug)]
pub(super) struct FoundImage {
    /// Of its manifest.
    pub(super) digest: Option<Digest>,
    /// Of what the name stands for.
    pub(super) resolved: Option<Digest>,
    pub(super) configuration: Configuration,
    /// The lowest first.
    pub(super) layers: Vec<FoundLayer>,
}

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub(super) struct FoundLayer {
    /// None where blobs have no digest.
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
}

impl FoundLayer {
    pub(super) fn all(descriptors: &[Descriptor]) -> Result<Vec<Self>, Error> {
        let layers = descriptors.iter().map(|it| {
            Ok(Self {
                digest: Some(it.digest()?),
                size: it.size,
            })
        });
        layers.collect()
    }
}

impl FoundImage {
    /// Refuses an image whose configuration does not go with its layers.
    pub(super) fn check(&self) -> Result<(), Error> {
        let (layers, ids) = (self.layers.len(), self.configuration.diff_ids.len());
        if layers == ids {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Image,
            format!("the image has {layers} layers, and its configuration speaks of {ids}"),
        ))
    }

    /// Hashes all layers, several at once, and puts the facts together.
    pub(super) fn collect<R: Read>(
        self,
        options: &CollectOptions,
        open: impl Fn(usize, &FoundLayer) -> Result<R, Error> + Sync,
    ) -> Result<CollectedImage, Error> {
        self.check()?;
        let next = AtomicUsize::new(0);
        let has_failed = AtomicBool::new(false);
        let done: Mutex<Vec<(usize, Result<LayerSummary, Error>)>> = Mutex::default();
        let work = || {
            while !has_failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = self.layers.get(index) else {
                    return;
                };
                let summary = match options.hashed.find(layer) {
                    Some(known) => Ok(known),
                    None => open(index, layer).and_then(|blob| summarise(blob, layer, options)),
                };
                let summary = summary.map_err(|error| self.at_layer(index, error));
                match &summary {
                    Ok(_) => options.tell(self.progress(index)),
                    Err(_) => has_failed.store(true, Ordering::Relaxed),
                }
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((index, summary));
            }
        };
        thread::scope(|scope| {
            for _ in 1..options.workers(self.layers.len()) {
                // Where there is no thread to be had, those that there are do the work.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        let summaries = done.into_iter().map(|(_, summary)| summary);
        let summaries = summaries.collect::<Result<Vec<_>, _>>()?;
        self.assemble(&summaries)
    }

    pub(super) fn progress(&self, index: usize) -> LayerDone {
        LayerDone {
            layer: index.saturating_add(1),
            layers: self.layers.len(),
            stored_len: self.layers.get(index).map_or(0, |layer| layer.size),
        }
    }

    /// Says which layer it was.
    pub(super) fn at_layer(&self, index: usize, error: Error) -> Error {
        let number = index.saturating_add(1);
        let of = self.layers.len();
        let digest = self.layers.get(index).and_then(|it| it.digest.as_ref());
        let blob = digest
            .map(|digest| format!(" ({digest})"))
            .unwrap_or_default();
        error.at(format!("layer {number} of {of}{blob}"))
    }

    /// The facts, from what the layers are, the lowest first.
    pub(super) fn assemble(self, summaries: &[LayerSummary]) -> Result<CollectedImage, Error> {
        let ids = &self.configuration.diff_ids;
        let names = layer_names(ids);
        let (mut passwd, mut group, mut layers) = (None, None, Vec::new());
        for (index, ((summary, id), name)) in summaries.iter().zip(ids).zip(names).enumerate() {
            if summary.diff_id != id.as_str() {
                let found = &summary.diff_id;
                let error = Error::new(
                    ErrorKind::Image,
                    format!("the configuration says {id}, and the layer's content is {found}"),
                );
                return Err(self.at_layer(
                    index,
                    error.with_remedy(
                        "do not use this image: its configuration does not belong to its layers",
                    ),
                ));
            }
            summary.passwd.over(&mut passwd);
            summary.group.over(&mut group);
            layers.push(LayerFacts {
                diff_id: Some(summary.diff_id.clone()),
                name: Some(name),
                verity: Some(summary.verity.clone()),
            });
        }
        let facts = ImageFacts {
            digest: self.digest.map(|digest| digest.to_string()),
            platform: Some(self.configuration.platform.to_string()),
            config: self.configuration.config,
            layers,
            passwd,
            group,
        };
        Ok(CollectedImage {
            facts,
            resolved: self.resolved,
        })
    }
}

/// Reads one layer, and compares it with its digest.
pub(super) fn summarise(
    blob: impl Read,
    layer: &FoundLayer,
    options: &CollectOptions,
) -> Result<LayerSummary, Error> {
    let mut checked = Checked::new(blob, layer.digest.as_ref(), layer.size);
    let summary = decompress(&mut checked).and_then(|tar| {
        LayerSummary::read(Bounded {
            inner: tar,
            left: options.max_layer_len,
        })
    });
    // A blob that is not what it should be is the cause of all else that is wrong with it.
    checked.finish()?;
    let summary = summary?;
    options.hashed.add(layer, &summary);
    Ok(summary)
}

/// The names that the layers of an image have in a guest, from their diff ids, the lowest first: for
/// each, the SHA-256 of its chain id as text, in hexadecimal. A chain id is that of the OCI image
/// specification: it stands for a layer and all below it.
#[must_use]
pub fn layer_names(diff_ids: &[Digest]) -> Vec<String> {
    let mut chain: Option<Digest> = None;
    let names = diff_ids.iter().map(|diff_id| {
        let next = match &chain {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        let name = Digest::sha256(next.as_str().as_bytes()).digits().to_owned();
        chain = Some(next);
        name
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_the_names_that_published_policies_show() {
        let name = |id: &str| layer_names(&[Digest::parse(id).unwrap()]).remove(0);
        // An empty layer, and the pause image 3.6.
        assert_eq!(
            name("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"),
            "652858e0b6d29a80b9a4de6b15b724dd91e74133df6f3661500d71c929baf6ed"
        );
        assert_eq!(
            name("sha256:9760f55e20e3f4eb6b837e1b323b3c6f29b1ef4a4617fe98625ead879e91b1c1"),
            "5a5aad80055ff20012a50dc25f8df7a29924474324d65f7d5306ee8ee27ff71d"
        );
    }
}
