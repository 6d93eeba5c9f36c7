//! Locking images: from names in manifests to facts in a lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_policy::generate::{Generator, Profile};
use kms_policy::image::{
    CollectOptions, CollectedImage, DockerArchive, HashedLayers, ImageFacts, ImageLock,
    ImageReference, LayerDone, OciLayout, Platform, Registry,
};
use kms_policy::manifest::{Manifest, ManifestOptions};
use kms_policy::settings::Settings;
use serde::Serialize;

use crate::Failure;

/// Every image that pods of these manifests run, the pause image of the settings too, as it is named
/// there. Fields that a policy cannot speak about do not matter here.
///
/// # Errors
///
/// A [`Failure`] if the settings or a manifest cannot be read.
pub fn images_of<'t>(
    manifests: impl IntoIterator<Item = &'t str>,
    profile: Profile,
    settings: Option<&Path>,
) -> Result<BTreeSet<String>, Failure> {
    let settings = match settings {
        Some(path) => Settings::read(path).map_err(|it| Failure::from(it).at(path.display()))?,
        None => Settings::built_in(profile)?,
    };
    let none = ImageLock::default();
    let generator = Generator::new(profile, &settings, &none);
    let options = ManifestOptions::default().with_ignore_unsupported_fields(true);
    let mut images = BTreeSet::new();
    for text in manifests {
        let manifest = Manifest::parse(text, &options)?;
        for workload in manifest.workloads() {
            images.extend(generator.images_of(workload).map(str::to_owned));
        }
    }
    Ok(images)
}

/// What is to be locked, and where images are.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImagesLockRequest {
    /// The names, as manifests have them.
    pub images: BTreeSet<String>,
    /// The lock file, which is added to.
    pub output: PathBuf,
    /// What the images are for.
    pub platform: Platform,
    /// Directories that are looked into first.
    pub layouts: Vec<LocalImages>,
    /// Files that are looked into next.
    pub archives: Vec<LocalImages>,
    /// Asked for what was not found so far, if there is one.
    pub registry: Option<Registry>,
    /// Whether layers are fetched again of images whose manifest is the one that the lock file has.
    pub refetch: bool,
}

impl ImagesLockRequest {
    /// For these images, with nowhere to take them from yet.
    #[must_use]
    pub fn new(images: BTreeSet<String>, output: impl Into<PathBuf>) -> Self {
        Self {
            images,
            output: output.into(),
            platform: Platform::default(),
            layouts: Vec::new(),
            archives: Vec::new(),
            registry: None,
            refetch: false,
        }
    }
}

/// A directory or file with images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalImages {
    /// Where it is.
    pub path: PathBuf,
    /// The name of the image that is meant, if it does not say so itself.
    pub image: Option<String>,
}

impl LocalImages {
    /// Reads `PATH` or `PATH=IMAGE`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once('=') {
            Some((path, image)) => Self {
                path: path.into(),
                image: Some(image.to_owned()),
            },
            None => Self {
                path: text.into(),
                image: None,
            },
        }
    }
}

/// What became of each image.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ImagesLockOutcome {
    /// The version of this form.
    pub schema_version: u32,
    /// The lock file.
    pub output: PathBuf,
    /// Images that the lock file has now.
    pub images: Vec<LockedImage>,
    /// Images that it has not, and why.
    pub failed: Vec<FailedImage>,
}

/// An image that was locked.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct LockedImage {
    /// As manifests name it.
    pub image: String,
    /// Whether the lock file had it.
    pub state: LockState,
    /// Where it was found: a path, or `registry`.
    pub source: String,
    /// The digest of its manifest.
    pub digest: Option<String>,
    /// The name to write into manifests, so that it stands for this image for ever; none if the name
    /// is pinned already, or nothing is known to pin it to.
    pub pin: Option<String>,
    /// How many layers it has.
    pub layers: usize,
}

/// What the lock file had of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LockState {
    /// Nothing.
    New,
    /// Other facts.
    Changed,
    /// These facts.
    Unchanged,
}

/// An image that could not be locked.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct FailedImage {
    /// As manifests name it.
    pub image: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Takes the facts of all images and adds them to the lock file, of those that fail too all others.
/// `progress` is told of each layer, with the image's name.
///
/// # Errors
///
/// A [`Failure`] if the lock file, a directory or a file cannot be read, or the lock file not written.
pub async fn lock_images(
    request: ImagesLockRequest,
    progress: impl Fn(&str, LayerDone) + Send + Sync + 'static,
) -> Result<ImagesLockOutcome, Failure> {
    let old = match request.output.exists() {
        true => ImageLock::read(&request.output)
            .map_err(|error| Failure::from(error).at(request.output.display()))?,
        false => ImageLock::default(),
    };
    let sources = open_sources(&request)?;
    let progress = Arc::new(progress);
    let hashed = HashedLayers::default();
    let (mut locked, mut failed, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for image in &request.images {
        let (telling, name) = (Arc::clone(&progress), image.clone());
        let options = CollectOptions::default()
            .with_platform(request.platform.clone())
            .with_hashed(hashed.clone())
            .with_progress(move |done| telling(&name, done));
        let known = old.facts(image);
        match find(image, &sources, &request, known, options).await {
            Ok((source, found)) => {
                locked.push(describe(image, source, &found, known)?);
                new.push((image.clone(), found.facts));
            }
            Err(error) => failed.push(FailedImage {
                image: image.clone(),
                message: with_cause(&error),
                remedy: error.remedy().to_owned(),
            }),
        }
    }
    // Others may have changed the file meanwhile: what they added stays.
    ImageLock::update(&request.output, |lock| {
        for (image, facts) in new {
            lock.insert(image, facts);
        }
    })?;
    Ok(ImagesLockOutcome {
        schema_version: 1,
        output: request.output,
        images: locked,
        failed,
    })
}

/// A directory or file that was opened.
#[derive(Debug)]
struct Source {
    place: String,
    images: Images,
    /// The only image that it is asked for.
    only: Option<String>,
}

#[derive(Debug)]
enum Images {
    Layout(OciLayout),
    Archive(DockerArchive),
}

fn open_sources(request: &ImagesLockRequest) -> Result<Vec<Arc<Source>>, Failure> {
    let layouts = request.layouts.iter().map(|local| {
        let images = OciLayout::open(&local.path).map(Images::Layout);
        (local, images)
    });
    let archives = request.archives.iter().map(|local| {
        let images = DockerArchive::open(&local.path).map(Images::Archive);
        (local, images)
    });
    let sources = layouts.chain(archives).map(|(local, images)| {
        if let Some(image) = local
            .image
            .as_ref()
            .filter(|it| !request.images.contains(*it))
        {
            return Err(Failure::usage(
                format!(
                    "no manifest has the image `{image}` of {}",
                    local.path.display()
                ),
                "write the image as it stands in the manifest",
            ));
        }
        Ok(Arc::new(Source {
            place: local.path.display().to_string(),
            images: images.map_err(|error| Failure::from(error).at(local.path.display()))?,
            only: local.image.clone(),
        }))
    });
    sources.collect()
}

impl Source {
    fn find(
        &self,
        image: &str,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<Option<CollectedImage>, kms_policy::Error> {
        let is_meant = self.only.as_deref() == Some(image);
        if self.only.is_some() && !is_meant {
            return Ok(None);
        }
        match &self.images {
            Images::Layout(layout) if is_meant => layout.image_as(name, options).map(Some),
            Images::Layout(layout) => layout.image(name, options),
            Images::Archive(archive) if is_meant => archive.image_as(name, options).map(Some),
            Images::Archive(archive) => archive.image(name, options),
        }
    }
}

/// Where an image is, and its facts.
async fn find(
    image: &str,
    sources: &[Arc<Source>],
    request: &ImagesLockRequest,
    known: Option<&ImageFacts>,
    options: CollectOptions,
) -> Result<(String, CollectedImage), kms_policy::Error> {
    let name = ImageReference::parse(image)?;
    for source in sources {
        let (source, image) = (Arc::clone(source), image.to_owned());
        let (name, options, place) = (name.clone(), options.clone(), source.place.clone());
        let found = tokio::task::spawn_blocking(move || source.find(&image, &name, &options));
        let found = found.await.map_err(|error| {
            kms_policy::Error::new(kms_policy::ErrorKind::Internal, "hashing ended")
                .with_source(error)
        })?;
        if let Some(found) = found? {
            return Ok((place, found));
        }
    }
    let registry = request.registry.as_ref().ok_or_else(|| {
        kms_policy::Error::new(
            kms_policy::ErrorKind::Image,
            "it is in none of the directories and files that were given",
        )
        .with_remedy("name it as DIR=IMAGE or FILE=IMAGE, or leave --offline out")
    })?;
    let resolved = registry.resolve(&name, &request.platform).await?;
    let is_same = |facts: &&ImageFacts| {
        facts.digest.as_deref() == Some(resolved.manifest().as_str())
            && facts
                .platform
                .as_deref()
                .map(Platform::parse)
                .is_some_and(|it| it.is_ok_and(|it| it == request.platform))
    };
    let found = match known.filter(is_same).filter(|_| !request.refetch) {
        Some(facts) => CollectedImage::of_known(facts.clone(), resolved.resolved().clone()),
        None => registry.collect(&resolved, &options).await?,
    };
    Ok(("registry".to_owned(), found))
}

fn describe(
    image: &str,
    source: String,
    found: &CollectedImage,
    known: Option<&ImageFacts>,
) -> Result<LockedImage, Failure> {
    let name = ImageReference::parse(image)?;
    let digest = found.resolved.as_ref().filter(|_| name.digest().is_none());
    Ok(LockedImage {
        image: image.to_owned(),
        state: match known {
            None => LockState::New,
            Some(facts) if *facts == found.facts => LockState::Unchanged,
            Some(_) => LockState::Changed,
        },
        source,
        digest: found.facts.digest.clone(),
        pin: digest.map(|digest| name.pinned_to(digest).to_string()),
        layers: found.facts.layers.len(),
    })
}

/// An error with its causes, which are not kept.
fn with_cause(error: &kms_policy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = core::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
