//! Docker archives.

use std::path::Path;

use kms_policy::ErrorKind;
use kms_policy::image::{CollectOptions, Digest, DockerArchive, OciLayout};
use serde_json::json;
use tar::EntryType;

use super::made::{Blobs, Form, config, header, layers, name};

/// Writes an archive of an image, as Docker before 25 did: a layer that an other one equals is a link.
fn write(path: &Path, tags: &[&str], layers: &[(Form, Vec<u8>)]) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = header();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| Digest::sha256(tar)).collect();
    let config = serde_json::to_vec(&config(&diff_ids, "amd64")).unwrap();
    let config_name = format!("{}.json", &Digest::sha256(&config).as_str()[7..]);
    add(&config_name, &config);
    let mut names = Vec::new();
    for (index, (_, tar)) in layers.iter().enumerate() {
        add(&format!("layer{index}/layer.tar"), tar);
        names.push(format!("layer{index}/layer.tar"));
    }
    names[0] = "link/layer.tar".to_owned();
    let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]);
    add("manifest.json", manifest.to_string().as_bytes());
    let mut header = header();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    builder
        .append_link(&mut header, "link/layer.tar", "../layer0/layer.tar")
        .unwrap();
    builder.finish().unwrap();
}

#[test]
fn an_archive_gives_the_facts_that_a_layout_gives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.tar");
    write(&path, &["registry.example/web:1", "web:latest"], &layers());
    let archive = DockerArchive::open(&path).unwrap();
    let options = CollectOptions::default();
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers(), "amd64");
    blobs.write_layout(directory.path(), &[(&manifest, "web")]);
    let layout = OciLayout::open(directory.path()).unwrap();
    let mut expected = layout.image_as(&name("web"), &options).unwrap().facts;
    expected.digest = None;
    for text in [
        "registry.example/web:1",
        "web",
        "docker.io/library/web:latest",
    ] {
        let found = archive.image(&name(text), &options).unwrap().unwrap();
        assert_eq!(found.facts, expected, "{text}");
        assert_eq!(found.resolved, None);
    }
    assert!(archive.image(&name("web:2"), &options).unwrap().is_none());
    let only = archive.image_as(&name("web:2"), &options).unwrap();
    assert_eq!(only.facts, expected);
    // It cannot show that it holds what a digest says.
    let pinned = name("registry.example/web:1").pinned_to(&manifest);
    assert!(archive.image(&pinned, &options).unwrap().is_none());
    let error = archive.image_as(&pinned, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image);
}

#[test]
fn what_is_no_archive_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        DockerArchive::open(&path).unwrap_err()
    };
    let tar = |members: &[(&str, &[u8])]| super::made::tar(members);
    for bad in [
        b"".to_vec(),
        b"no tar".to_vec(),
        tar(&[("x", b"")]),
        tar(&[("manifest.json", b"{}")]),
        tar(&[("manifest.json", b"[{}]")]),
        tar(&[("manifest.json", &b" ".repeat(5 << 20))]),
    ] {
        assert_eq!(open(&bad).kind(), ErrorKind::Image);
    }
    assert!(open(&[0x1f, 0x8b, 8, 0]).remedy().contains("decompress"));
    let whole = tar(&[("manifest.json", b"[]"), ("x", b"abc")]);
    assert_eq!(open(&whole[..whole.len() - 1536]).kind(), ErrorKind::Image);
    assert_eq!(
        DockerArchive::open(directory.path()).unwrap_err().kind(),
        ErrorKind::Image
    );
}

#[test]
fn a_list_that_leads_nowhere_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let config = config(&[Digest::sha256(b"")], "amd64").to_string();
    let named = format!("{}.json", "0".repeat(64));
    for (config_name, layer) in [
        ("absent.json", "layer.tar"),
        ("config.json", "absent.tar"),
        ("config.json", "../layer.tar"),
        // Its name says another digest.
        (&*named, "layer.tar"),
    ] {
        let manifest = json!([{ "Config": config_name, "Layers": [layer] }]).to_string();
        let members = super::made::tar(&[
            ("manifest.json", manifest.as_bytes()),
            ("config.json", config.as_bytes()),
            (&named, config.as_bytes()),
            ("layer.tar", b""),
        ]);
        std::fs::write(&path, members).unwrap();
        let archive = DockerArchive::open(&path).unwrap();
        let error = archive
            .image_as(&name("web"), &CollectOptions::default())
            .unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Image,
            "{config_name} {layer}: {error}"
        );
    }
}
