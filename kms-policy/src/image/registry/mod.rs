//! Images in registries, by the OCI distribution protocol.
//!
//! A registry is asked over HTTPS with TLS by `ring`; over plain HTTP only if it was named as insecure.
//! It is trusted with nothing: what it sends is bounded, and compared with the digest that was asked for
//! or that the manifest says.

mod blob;
mod challenge;
mod client;
mod credentials;
mod docker_config;
mod helper;
mod options;
mod resolve;
mod tls;
mod token;

use core::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

pub use docker_config::DockerConfig;
pub use options::RegistryOptions;
pub use resolve::ResolvedImage;

use client::Client;

use super::collect::{CollectOptions, CollectedImage, FoundImage, summarise};
use super::oci::{self, Configuration};
use super::{ImageReference, LayerSummary, Platform};
use crate::{Error, ErrorKind};

/// Registries, and what is known of how to log in to them. Clones share it.
///
/// ```no_run
/// use kms_policy::image::{CollectOptions, ImageReference, Registry, RegistryOptions};
///
/// # async fn facts() -> Result<(), kms_policy::Error> {
/// let registry = Registry::new(RegistryOptions::default())?;
/// let name = ImageReference::parse("mcr.microsoft.com/oss/kubernetes/pause:3.6")?;
/// let image = registry.image(&name, &CollectOptions::default()).await?;
/// println!("{:?}", image.facts.layers);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Client>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Makes a client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Registry`] if the proxy is not a URL; [`ErrorKind::Io`] if this machine has no
    /// trusted certificates.
    pub fn new(options: RegistryOptions) -> Result<Self, Error> {
        Client::new(options).map(|client| Self(Arc::new(client)))
    }

    /// Asks what a name stands for now, without its layers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Registry`] if the registry refuses, does not answer, or has no such image;
    /// [`ErrorKind::Image`] if what it sends is not what its digest says, is not of its form, or is
    /// not for this platform.
    pub async fn resolve(
        &self,
        name: &ImageReference,
        platform: &Platform,
    ) -> Result<ResolvedImage, Error> {
        resolve::resolve(&self.0, name, platform).await
    }

    /// The facts of an image that was asked for before. Layers are fetched and hashed several at once,
    /// and never stored.
    ///
    /// # Errors
    ///
    /// As [`Registry::resolve`]; the error names the layer.
    pub async fn collect(
        &self,
        image: &ResolvedImage,
        options: &CollectOptions,
    ) -> Result<CollectedImage, Error> {
        let bytes = self.0.document(&image.name, &image.config, oci::MAX_CONFIG);
        let found = FoundImage {
            digest: Some(image.manifest.clone()),
            resolved: Some(image.resolved.clone()),
            configuration: Configuration::parse(&bytes.await?, &options.platform)?,
            layers: image.layers.clone(),
        };
        found.check()?;
        let found = Arc::new(found);
        let mut summaries: Vec<Option<LayerSummary>> = vec![None; found.layers.len()];
        let mut tasks = JoinSet::new();
        let mut next = 0..found.layers.len();
        for index in next.by_ref().take(options.workers(found.layers.len())) {
            self.start(&mut tasks, &found, index, &image.name, options);
        }
        while let Some(done) = tasks.join_next().await {
            let (index, summary) = done.map_err(|error| {
                Error::new(ErrorKind::Internal, "a download ended").with_source(error)
            })?;
            // The other downloads end as their tasks are dropped.
            let summary = summary.map_err(|error| found.at_layer(index, error))?;
            options.tell(found.progress(index));
            if let Some(slot) = summaries.get_mut(index) {
                *slot = Some(summary);
            }
            if let Some(index) = next.next() {
                self.start(&mut tasks, &found, index, &image.name, options);
            }
        }
        drop(tasks);
        let summaries: Vec<_> = summaries.into_iter().flatten().collect();
        let found = Arc::into_inner(found)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a download goes on"))?;
        found.assemble(&summaries)
    }

    /// The facts of an image: [`Registry::resolve`] and [`Registry::collect`].
    ///
    /// # Errors
    ///
    /// As these.
    pub async fn image(
        &self,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<CollectedImage, Error> {
        let image = self.resolve(name, &options.platform).await?;
        self.collect(&image, options).await
    }

    /// Starts a layer's download.
    fn start(
        &self,
        tasks: &mut JoinSet<(usize, Result<LayerSummary, Error>)>,
        found: &FoundImage,
        index: usize,
        name: &ImageReference,
        options: &CollectOptions,
    ) {
        let Some(layer) = found.layers.get(index).cloned() else {
            return;
        };
        let (client, name) = (Arc::clone(&self.0), name.clone());
        let hashing = options.clone();
        tasks.spawn(async move {
            if let Some(known) = hashing.hashed.find(&layer) {
                return (index, Ok(known));
            }
            let (sender, reader) = blob::pipe();
            let described = layer.clone();
            let hashing =
                tokio::task::spawn_blocking(move || summarise(reader, &described, &hashing));
            let sent = blob::send(&client, &name, &layer, sender).await;
            let summary = hashing.await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Internal, "hashing ended").with_source(error))
            });
            // What could not be fetched is the cause of what is wrong with what was.
            (index, sent.and(summary))
        });
    }
}
