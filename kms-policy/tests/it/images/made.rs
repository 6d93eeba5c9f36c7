//! Images that tests make.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use kms_policy::image::{Digest, ImageReference};
use serde_json::{Value, json};
use tar::{EntryType, Header};

/// How a layer is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Plain,
    Gzip,
    Zstd,
}

impl Form {
    fn of(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => {
                let fast = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
                encoder.write_all(tar).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A header whose numbers are all there.
pub(crate) fn header() -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header.set_size(0);
    header
}

/// A tar of regular files; a name that ends with a slash is a directory.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = header();
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
        }
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Content by its digest, as registries and layouts keep it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs(pub(crate) BTreeMap<Digest, Vec<u8>>);

impl Blobs {
    pub(crate) fn add(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::sha256(&bytes);
        self.0.insert(digest.clone(), bytes);
        digest
    }

    pub(crate) fn add_json(&mut self, document: &Value) -> Digest {
        self.add(serde_json::to_vec(document).unwrap())
    }

    /// A descriptor of content that was added.
    pub(crate) fn descriptor(&self, digest: &Digest, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": digest.as_str(), "size": self.0[digest].len() })
    }

    /// An image of these layers for a platform. Its manifest's digest.
    pub(crate) fn add_image(&mut self, layers: &[(Form, Vec<u8>)], architecture: &str) -> Digest {
        let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| Digest::sha256(tar)).collect();
        let config = config(&diff_ids, architecture);
        self.add_image_with(layers, &config)
    }

    pub(crate) fn add_image_with(&mut self, layers: &[(Form, Vec<u8>)], config: &Value) -> Digest {
        let layers: Vec<_> = layers
            .iter()
            .map(|(form, tar)| {
                let digest = self.add(form.of(tar));
                self.descriptor(&digest, form.media_type())
            })
            .collect();
        let config = self.add_json(config);
        let config = self.descriptor(&config, "application/vnd.oci.image.config.v1+json");
        self.add_json(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        }))
    }

    /// An index of manifests for these architectures.
    pub(crate) fn add_index(&mut self, manifests: &[(&Digest, &str)]) -> Digest {
        let manifests: Vec<_> = manifests
            .iter()
            .map(|(digest, architecture)| {
                let mut descriptor = self.descriptor(digest, MANIFEST);
                descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
                descriptor
            })
            .collect();
        self.add_json(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }))
    }

    /// Writes an OCI layout whose index lists these, each with what its `ref.name` says.
    pub(crate) fn write_layout(&self, root: &Path, listed: &[(&Digest, &str)]) {
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &self.0 {
            std::fs::write(blob_path(root, digest), bytes).unwrap();
        }
        std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let manifests: Vec<_> = listed
            .iter()
            .map(|(digest, name)| {
                let mut descriptor = self.descriptor(digest, MANIFEST);
                descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
                descriptor
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        std::fs::write(root.join("index.json"), index.to_string()).unwrap();
    }
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn blob_path(root: &Path, digest: &Digest) -> std::path::PathBuf {
    root.join("blobs").join(digest.as_str().replace(':', "/"))
}

pub(crate) fn config(diff_ids: &[Digest], architecture: &str) -> Value {
    let diff_ids: Vec<_> = diff_ids.iter().map(Digest::as_str).collect();
    json!({
        "os": "linux", "architecture": architecture,
        "config": { "User": "web", "Env": ["PATH=/bin"], "Entrypoint": ["/web"], "WorkingDir": "/srv" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

/// Three layers, of which the highest changes the users of the lowest.
pub(crate) fn layers() -> Vec<(Form, Vec<u8>)> {
    let passwd = b"root:x:0:0::/:/bin/sh\nweb:x:7:8::/:/bin/sh\n";
    let big: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    vec![
        (
            Form::Gzip,
            tar(&[
                ("etc/", b""),
                ("etc/passwd", passwd),
                ("etc/group", b"web:x:8:\n"),
            ]),
        ),
        (Form::Plain, tar(&[("srv/", b""), ("srv/page", &big)])),
        (
            Form::Zstd,
            tar(&[("etc/.wh.group", b""), ("bin/web", b"\x7fELF")]),
        ),
    ]
}

pub(crate) fn name(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}
