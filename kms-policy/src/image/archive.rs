//! Docker archives: what `docker save` writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Take};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::collect::{CollectOptions, CollectedImage, FoundImage, FoundLayer};
use super::digest::{is_hex, shown};
use super::layer::archive::{Entries, Stream};
use super::layer::names;
use super::oci::{self, Configuration};
use super::{Digest, ImageReference};
use crate::file::failed;
use crate::{Error, ErrorKind};

/// The most members of an archive: a few for each layer.
const MAX_MEMBERS: usize = 65_536;

/// A tar of images. It must not be compressed itself, so that its members can be read in any order.
#[derive(Debug)]
pub struct DockerArchive {
    path: PathBuf,
    members: BTreeMap<Vec<u8>, Member>,
    images: Vec<Listed>,
}

#[derive(Debug)]
enum Member {
    File {
        at: u64,
        len: u64,
    },
    /// Layers that several images share are links.
    Link(Vec<u8>),
}

/// An image, as `manifest.json` lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl DockerArchive {
    /// Reads what an archive holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::Image`] if it is compressed, no tar, or no
    /// archive of images.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unread = |error| failed("reading", path, error);
        let refused =
            |what: &str| Error::new(ErrorKind::Image, format!("{}: {what}", path.display()));
        let file = File::open(path).map_err(unread)?;
        let metadata = file.metadata().map_err(unread)?;
        if !metadata.is_file() {
            return Err(refused("it is no file"));
        }
        let mut stream = SeekStream {
            inner: BufReader::new(file),
            left: metadata.len(),
        };
        let mut start = [0; 4];
        let _ = stream.inner.read(&mut start).map_err(unread)?;
        if start.starts_with(&[0x1f, 0x8b]) || start == [0x28, 0xb5, 0x2f, 0xfd] {
            return Err(refused("it is compressed").with_remedy("decompress it first"));
        }
        stream.inner.rewind().map_err(unread)?;
        let mut entries = Entries::new(stream);
        let mut members = BTreeMap::new();
        while let Some(entry) = entries.next()? {
            let kind = entry.header.entry_type();
            let member = if kind.is_file() {
                Member::File {
                    at: entry.data_at,
                    len: entry.size,
                }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link.clone().unwrap_or_default();
                Member::Link(match kind.is_symlink() {
                    true => beside(&entry.path, &target),
                    false => target,
                })
            } else {
                continue;
            };
            let Some(name) = plain(&entry.path) else {
                continue;
            };
            members.insert(name, member);
            if members.len() > MAX_MEMBERS {
                return Err(refused("it has over 65,536 members"));
            }
        }
        let mut archive = Self {
            path: path.to_owned(),
            members,
            images: Vec::new(),
        };
        let json = archive
            .document("manifest.json", oci::MAX_MANIFEST)?
            .ok_or_else(|| refused("it has no `manifest.json`"))?;
        archive.images = serde_json::from_slice(&json)
            .map_err(|error| refused(&format!("`manifest.json` is not of its form: {error}")))?;
        Ok(archive)
    }

    /// The facts of the image of this name and tag, if the archive has it. It has none that is pinned
    /// to a digest: an archive does not hold the manifest that the digest is of.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if it cannot be read; [`ErrorKind::Image`] if something in it is not of its
    /// form, is over what is allowed, or does not go with the rest.
    pub fn image(
        &self,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<Option<CollectedImage>, Error> {
        if name.digest().is_some() {
            return Ok(None);
        }
        let is_name =
            |tag: &String| ImageReference::parse(tag).is_ok_and(|it| it.has_name_of(name));
        let mut named = self.images.iter().filter(|image| {
            let tags = image.repo_tags.as_deref().unwrap_or_default();
            tags.iter().any(is_name)
        });
        named.next().map(|it| self.collect(it, options)).transpose()
    }

    /// The facts of the image that is meant by this name: as [`DockerArchive::image`]; else the only
    /// one there is.
    ///
    /// # Errors
    ///
    /// As [`DockerArchive::image`], and [`ErrorKind::Image`] if it is not known which one is meant, or
    /// the name is pinned to a digest.
    pub fn image_as(
        &self,
        name: &ImageReference,
        options: &CollectOptions,
    ) -> Result<CollectedImage, Error> {
        if name.digest().is_some() {
            return Err(Error::new(
                ErrorKind::Image,
                format!("a Docker archive cannot show that it holds {name}: it has no manifest"),
            )
            .with_remedy("take the image from a registry or an OCI layout"));
        }
        if let Some(found) = self.image(name, options)? {
            return Ok(found);
        }
        if let [only] = self.images.as_slice() {
            return self.collect(only, options);
        }
        let tags = self
            .images
            .iter()
            .flat_map(|it| it.repo_tags.iter().flatten());
        let tags: Vec<_> = tags.take(20).map(|tag| shown(tag)).collect();
        let path = self.path.display();
        Err(Error::new(
            ErrorKind::Image,
            format!(
                "{path} does not tell which image is {name}; it has: {}",
                tags.join(", ")
            ),
        ))
    }

    fn collect(&self, image: &Listed, options: &CollectOptions) -> Result<CollectedImage, Error> {
        let missing = |name: &str| {
            let (path, name) = (self.path.display(), shown(name));
            Error::new(ErrorKind::Image, format!("{path} has no member `{name}`"))
        };
        let config = self
            .document(&image.config, oci::MAX_CONFIG)?
            .ok_or_else(|| missing(&image.config))?;
        if let Some(digest) = named_digest(&image.config) {
            digest.check(&config)?;
        }
        let places = image.layers.iter().map(|name| {
            let place = self.place(name.as_bytes());
            place.ok_or_else(|| missing(name))
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let layers = places.iter().map(|(_, size)| FoundLayer {
            digest: None,
            size: *size,
        });
        let found = FoundImage {
            digest: None,
            resolved: None,
            configuration: Configuration::parse(&config, &options.platform)?,
            layers: layers.collect(),
        };
        found.collect(options, |index, _| {
            let place = places.get(index).copied();
            let (at, len) = place.ok_or_else(|| missing("a layer"))?;
            self.read(at, len)
        })
    }

    /// A member's place and length.
    fn place(&self, name: &[u8]) -> Option<(u64, u64)> {
        let mut name = plain(name)?;
        // A link to a link does not occur; two that lead to each other would.
        for _ in 0..2 {
            match self.members.get(&name)? {
                Member::File { at, len } => return Some((*at, *len)),
                Member::Link(target) => name = plain(target)?,
            }
        }
        None
    }

    fn read(&self, at: u64, len: u64) -> Result<Take<File>, Error> {
        let unread = |error| failed("reading", &self.path, error);
        let mut file = File::open(&self.path).map_err(unread)?;
        file.seek(SeekFrom::Start(at)).map_err(unread)?;
        Ok(file.take(len))
    }

    fn document(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some((at, len)) = self.place(name.as_bytes()) else {
            return Ok(None);
        };
        if len > max {
            let message = format!("`{}` is over {max} bytes", shown(name));
            return Err(Error::new(ErrorKind::Image, message));
        }
        let mut bytes = Vec::new();
        self.read(at, len)?
            .read_to_end(&mut bytes)
            .map_err(|error| failed("reading", &self.path, error))?;
        Ok(Some(bytes))
    }
}

/// A path without what means nothing in it; none if it leads out.
fn plain(path: &[u8]) -> Option<Vec<u8>> {
    names(path).map(|names| names.join(&b'/'))
}

/// A link's target, which counts from where the link is.
fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let directory = link.rsplitn(2, |byte| *byte == b'/').nth(1);
    [directory.unwrap_or_default(), target].join(&b'/')
}

/// The digest that a configuration's name is made of: `HEX.json` or `blobs/sha256/HEX`.
fn named_digest(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let digits = last.strip_suffix(".json").unwrap_or(last);
    let is_digest = digits.len() == 64 && is_hex(digits);
    is_digest.then(|| Digest::parse(&format!("sha256:{digits}")).ok())?
}

/// A file, in which what is left out is not read.
struct SeekStream {
    inner: BufReader<File>,
    /// How many bytes there are from here on.
    left: u64,
}

impl Stream for SeekStream {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.left = self.left.saturating_sub(filled as u64);
        Ok(filled)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        self.left = self.left.checked_sub(len).ok_or(end)?;
        let len = i64::try_from(len).map_err(io::Error::other)?;
        self.inner.seek_relative(len)
    }
}
