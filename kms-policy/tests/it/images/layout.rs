//! OCI layouts.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;

use kms_policy::ErrorKind;
use kms_policy::image::{CollectOptions, Digest, LayerSummary, OciLayout, Platform, layer_names};

use super::made::{Blobs, blob_path, config, layers, name};

fn options() -> CollectOptions {
    CollectOptions::default()
}

#[test]
fn facts_are_what_the_layers_hold() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers(), "amd64");
    blobs.write_layout(directory.path(), &[(&manifest, "registry.example/web:1")]);
    let layout = OciLayout::open(directory.path()).unwrap();
    let found = layout
        .image(&name("registry.example/web:1"), &options())
        .unwrap()
        .unwrap();
    assert_eq!(found.resolved, Some(manifest.clone()));
    let facts = found.facts;
    assert_eq!(facts.digest.as_deref(), Some(manifest.as_str()));
    assert_eq!(facts.platform.as_deref(), Some("linux/amd64"));
    assert_eq!(facts.config.user.as_deref(), Some("web"));
    assert_eq!(facts.config.working_dir.as_deref(), Some("/srv"));
    assert!(facts.passwd.unwrap().contains("web:x:7:8"));
    assert_eq!(facts.group, None, "the highest layer deletes it");
    let tars: Vec<_> = layers().into_iter().map(|(_, tar)| tar).collect();
    let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
    let expected = tars.iter().zip(&diff_ids).zip(layer_names(&diff_ids));
    for (layer, ((tar, diff_id), name)) in facts.layers.iter().zip(expected) {
        assert_eq!(layer.diff_id.as_deref(), Some(diff_id.as_str()));
        assert_eq!(layer.name, Some(name));
        let summary = LayerSummary::read(&**tar).unwrap();
        assert_eq!(layer.verity, Some(summary.verity));
    }
    assert_eq!(facts.layers.len(), 3);
}

#[test]
fn threads_do_not_matter_and_every_layer_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&[layers(), layers(), layers(), layers()].concat(), "amd64");
    blobs.write_layout(directory.path(), &[(&manifest, "web")]);
    let layout = OciLayout::open(directory.path()).unwrap();
    let collect = |threads| {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let options = options()
            .with_threads(NonZeroUsize::new(threads).unwrap())
            .with_progress(move |done| telling.lock().unwrap().push((done.layer, done.layers)));
        let image = layout.image_as(&name("web"), &options).unwrap();
        let mut told = told.lock().unwrap().clone();
        told.sort_unstable();
        assert_eq!(told, (1..=12).map(|layer| (layer, 12)).collect::<Vec<_>>());
        image
    };
    assert_eq!(collect(1), collect(5));
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let amd64 = blobs.add_image(&layers(), "amd64");
    let arm64 = blobs.add_image(&layers()[..1], "arm64");
    let index = blobs.add_index(&[(&arm64, "arm64"), (&amd64, "amd64")]);
    blobs.write_layout(directory.path(), &[(&index, "registry.example/web:1")]);
    let layout = OciLayout::open(directory.path()).unwrap();
    let web = name("registry.example/web:1");
    for (platform, manifest, layers) in [("linux/amd64", &amd64, 3), ("linux/arm64", &arm64, 1)] {
        let options = options().with_platform(Platform::parse(platform).unwrap());
        let found = layout.image(&web, &options).unwrap().unwrap();
        assert_eq!(found.facts.digest.as_deref(), Some(manifest.as_str()));
        assert_eq!(found.facts.layers.len(), layers);
        // What to pin to is what the name stands for, on every platform.
        assert_eq!(found.resolved.as_ref(), Some(&index));
        // Pinned to the index or to the manifest, it is the same image.
        for digest in [&index, manifest] {
            let pinned = layout
                .image(&web.pinned_to(digest), &options)
                .unwrap()
                .unwrap();
            assert_eq!(pinned.facts, found.facts);
        }
    }
    let options = options().with_platform(Platform::parse("linux/s390x").unwrap());
    let error = layout.image(&web, &options).unwrap_err();
    assert!(
        error.to_string().contains("linux/arm64, linux/amd64"),
        "{error}"
    );
    // A manifest of another platform is no way around.
    let error = layout
        .image(&web.pinned_to(&arm64), &CollectOptions::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image);
}

#[test]
fn an_image_is_never_taken_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let one = blobs.add_image(&layers(), "amd64");
    let two = blobs.add_image(&layers()[..2], "amd64");
    blobs.write_layout(
        directory.path(),
        &[(&one, "registry.example/web:1"), (&two, "2")],
    );
    let layout = OciLayout::open(directory.path()).unwrap();
    let facts = |text: &str| layout.image(&name(text), &options()).unwrap();
    assert!(facts("registry.example/web:1").is_some());
    for other in [
        "registry.example/web:2",
        "other.example/web:1",
        "web:1",
        "registry.example/x:1",
    ] {
        assert!(facts(other).is_none(), "{other}");
    }
    let absent = Digest::sha256(b"absent");
    let pinned = name("registry.example/web:1").pinned_to(&absent);
    assert!(layout.image(&pinned, &options()).unwrap().is_none());
    layout.image_as(&pinned, &options()).unwrap_err();
    // A tag alone counts where it was said whose layout it is.
    let by_tag = layout
        .image_as(&name("registry.example/web:2"), &options())
        .unwrap();
    assert_eq!(by_tag.facts.layers.len(), 2);
    let error = layout
        .image_as(&name("registry.example/web:3"), &options())
        .unwrap_err();
    assert!(
        error.to_string().contains("registry.example/web:1"),
        "{error}"
    );
}

#[test]
fn whatever_was_changed_is_an_error() {
    let (layers, good) = (layers(), tempfile::tempdir().unwrap());
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers, "amd64");
    for digest in blobs.0.keys() {
        for change in [0, 1, 2] {
            let root = good
                .path()
                .join(format!("{change}-{}", &digest.as_str()[7..]));
            blobs.write_layout(&root, &[(&manifest, "web")]);
            let mut bytes = blobs.0[digest].clone();
            match change {
                0 => *bytes.last_mut().unwrap() ^= 1,
                1 => bytes.push(b' '),
                _ => drop(bytes.pop()),
            }
            std::fs::write(blob_path(&root, digest), bytes).unwrap();
            let layout = OciLayout::open(&root).unwrap();
            let error = layout.image_as(&name("web"), &options()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Image, "{change} {digest}: {error}");
        }
    }
}

#[test]
fn a_configuration_of_other_layers_is_an_error_that_names_the_layer() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let mut diff_ids: Vec<_> = layers()
        .iter()
        .map(|(_, tar)| Digest::sha256(tar))
        .collect();
    diff_ids[1] = Digest::sha256(b"another");
    let lied = blobs.add_image_with(&layers(), &config(&diff_ids, "amd64"));
    let fewer = blobs.add_image_with(&layers(), &config(&diff_ids[..2], "amd64"));
    blobs.write_layout(
        directory.path(),
        &[(&lied, "r.example/a:1"), (&fewer, "r.example/a:2")],
    );
    let layout = OciLayout::open(directory.path()).unwrap();
    let error = layout
        .image_as(&name("r.example/a:1"), &options())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Image);
    assert!(
        error.path().unwrap().starts_with("layer 2 of 3 (sha256:"),
        "{error}"
    );
    let error = layout
        .image_as(&name("r.example/a:2"), &options())
        .unwrap_err();
    assert!(error.to_string().contains("3 layers"), "{error}");
}

#[test]
fn what_unpacks_to_too_much_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers(), "amd64");
    blobs.write_layout(directory.path(), &[(&manifest, "web")]);
    let layout = OciLayout::open(directory.path()).unwrap();
    let error = layout
        .image_as(&name("web"), &options().with_max_layer_len(1_000_000))
        .unwrap_err();
    assert!(error.path().unwrap().starts_with("layer 2 of 3"), "{error}");
    assert!(error.to_string().contains("longer than allowed"), "{error}");
}
