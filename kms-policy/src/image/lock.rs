//! Many images, in a file.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::is_hex;
use super::{Digest, ImageFacts, ImageReference, LayerFacts, Platform, layer_names};
use crate::{Error, ErrorKind};

/// Facts of images by the reference that manifests name them with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImageLock {
    images: BTreeMap<String, ImageFacts>,
}

/// The version of the file's form.
const VERSION: u32 = 1;
/// The longest file, in bytes.
pub(super) const MAX_LEN: usize = 64 * 1024 * 1024;
/// The most images.
const MAX_IMAGES: usize = 10_000;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(deserialize_with = "each_once")]
    images: BTreeMap<String, ImageFacts>,
}

impl ImageLock {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if it is over 64 MiB, of another version, not of its form, or says of an
    /// image what cannot be: a name of a layer, for example, that does not follow from the diff ids.
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
        let lock = Self {
            images: document.images,
        };
        lock.check()?;
        Ok(lock)
    }

    /// Refuses what no source gives.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (reference, facts) in &self.images {
            ImageReference::parse(reference).map_err(|error| error.at("images"))?;
            check(facts).map_err(|error| {
                let path = format!("images.{reference}.{}", error.path().unwrap_or_default());
                error.at(path)
            })?;
        }
        Ok(())
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

/// Images, none of them twice: which of the two would count?
fn each_once<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ImageFacts>, D::Error> {
    struct Images;

    impl<'de> Visitor<'de> for Images {
        type Value = BTreeMap<String, ImageFacts>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("images by their references")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut images = BTreeMap::new();
            while let Some((reference, facts)) = map.next_entry::<String, ImageFacts>()? {
                if images.len() == MAX_IMAGES {
                    return Err(A::Error::custom("over 10,000 images"));
                }
                if images.contains_key(&reference) {
                    return Err(A::Error::custom("an image is there twice"));
                }
                images.insert(reference, facts);
            }
            Ok(images)
        }
    }

    deserializer.deserialize_map(Images)
}

fn check(facts: &ImageFacts) -> Result<(), Error> {
    if let Some(digest) = &facts.digest {
        Digest::parse(digest).map_err(|error| error.at("digest"))?;
    }
    if let Some(platform) = &facts.platform {
        Platform::parse(platform).map_err(|error| error.at("platform"))?;
    }
    for (index, layer) in facts.layers.iter().enumerate() {
        let hashes = [("name", &layer.name), ("verity", &layer.verity)];
        for (field, value) in hashes {
            if value
                .as_deref()
                .is_some_and(|it| it.len() != 64 || !is_hex(it))
            {
                return Err(Error::new(ErrorKind::Image, "is not 64 hexadecimal digits")
                    .at(format!("layers[{index}].{field}")));
            }
        }
    }
    let parse = |layer: &LayerFacts| layer.diff_id.as_deref().map(Digest::parse);
    let diff_ids = facts.layers.iter().map_while(parse);
    let diff_ids = diff_ids.collect::<Result<Vec<_>, _>>();
    let diff_ids = diff_ids.map_err(|error| error.at("layers"))?;
    let names = layer_names(&diff_ids);
    for (index, (layer, name)) in facts.layers.iter().zip(names).enumerate() {
        if layer.name.as_ref().is_some_and(|said| *said != name) {
            return Err(Error::new(
                ErrorKind::Image,
                "does not follow from the diff ids of this layer and those below",
            )
            .at(format!("layers[{index}].name")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF_ID: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    const NAME: &str = "652858e0b6d29a80b9a4de6b15b724dd91e74133df6f3661500d71c929baf6ed";

    fn lock(images: &str) -> String {
        format!(r#"{{"version":1,"images":{{{images}}}}}"#)
    }

    fn layer(name: &str, diff_id: &str) -> String {
        format!(r#""a":{{"config":{{}},"layers":[{{"name":"{name}","diff_id":"{diff_id}"}}]}}"#)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let lock = ImageLock::parse(&lock(&layer(NAME, DIFF_ID))).unwrap();
        assert_eq!(ImageLock::parse(&lock.to_json().unwrap()).unwrap(), lock);
    }

    #[test]
    fn a_lock_that_cannot_be_is_refused() {
        let other = "0".repeat(64);
        for (bad, place) in [
            (layer(&other, DIFF_ID), "images.a.layers[0].name"),
            (layer("00", DIFF_ID), "images.a.layers[0].name"),
            (layer(NAME, "sha256:00"), "images.a.layers"),
            (r#""A":{"config":{}}"#.to_owned(), "images"),
            (
                r#""a":{"config":{},"digest":"x"}"#.to_owned(),
                "images.a.digest",
            ),
            (
                r#""a":{"config":{},"platform":"x"}"#.to_owned(),
                "images.a.platform",
            ),
        ] {
            let error = ImageLock::parse(&lock(&bad)).unwrap_err();
            assert_eq!(error.path(), Some(place), "{bad}");
        }
        let twice = r#""a":{"config":{}},"a":{"config":{}}"#;
        for bad in [
            lock(twice),
            lock(r#""a":{"config":{},"more":1}"#),
            r#"{"version":2,"images":{}}"#.to_owned(),
            r#"{"images":{}}"#.to_owned(),
            "[]".to_owned(),
        ] {
            let error = ImageLock::parse(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Image, "{bad}");
        }
    }
}
