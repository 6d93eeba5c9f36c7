//! Many images, in a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImageFacts;
use crate::{Error, ErrorKind};

/// Facts of images by the reference that manifests name them with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImageLock {
    images: BTreeMap<String, ImageFacts>,
}

/// The version of the file's form.
const VERSION: u32 = 1;
/// The longest file, in bytes.
const MAX_LEN: usize = 64 * 1024 * 1024;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    images: BTreeMap<String, ImageFacts>,
}

impl ImageLock {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if it is over 64 MiB, of another version, or not of its form.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let refused = |message: String| {
            Error::new(ErrorKind::Image, format!("the image lock file {message}"))
        };
        if json.len() > MAX_LEN {
            return Err(refused("is over 64 MiB".to_owned()));
        }
        let document: Document = serde_json::from_str(json)
            .map_err(|error| refused(format!("is not of its form: {error}")))?;
        if document.version != VERSION {
            return Err(refused(format!(
                "is of version {}, not 1",
                document.version
            )));
        }
        Ok(Self {
            images: document.images,
        })
    }

    /// The file's text: the same for the same facts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the facts cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, Error> {
        let document = Document {
            version: VERSION,
            images: self.images.clone(),
        };
        let mut json = serde_json::to_string_pretty(&document)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        json.push('\n');
        Ok(json)
    }

    /// The facts of the image that is named so in a manifest.
    #[must_use]
    pub fn facts(&self, reference: &str) -> Option<&ImageFacts> {
        self.images.get(reference)
    }

    /// Sets the facts of an image; what was there before.
    pub fn insert(
        &mut self,
        reference: impl Into<String>,
        facts: ImageFacts,
    ) -> Option<ImageFacts> {
        self.images.insert(reference.into(), facts)
    }

    /// All images, in the order of their references.
    pub fn images(&self) -> impl Iterator<Item = (&str, &ImageFacts)> {
        self.images
            .iter()
            .map(|(reference, facts)| (&**reference, facts))
    }
}
