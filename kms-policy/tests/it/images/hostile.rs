//! Layouts that somebody made to do harm.

use kms_policy::ErrorKind;
use kms_policy::image::{CollectOptions, Digest, OciLayout};
use serde_json::json;

use super::made::{Blobs, MANIFEST, layers, name};

#[test]
fn what_is_no_layout_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let open = || OciLayout::open(directory.path()).unwrap_err().kind();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    assert_eq!(open(), ErrorKind::Io);
    write("oci-layout", "{}");
    assert_eq!(open(), ErrorKind::Image);
    write("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    assert_eq!(open(), ErrorKind::Image);
    write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(open(), ErrorKind::Io);
    for bad in [
        "",
        "[",
        "{}",
        r#"{"config":{"digest":"","size":0},"layers":[]}"#,
    ] {
        write("index.json", bad);
        assert_eq!(open(), ErrorKind::Image, "{bad}");
    }
    write("index.json", &" ".repeat(5 << 20));
    assert_eq!(open(), ErrorKind::Io);
    write("index.json", &"[".repeat(1 << 20));
    assert_eq!(open(), ErrorKind::Image);
}

/// A layout whose index lists this descriptor.
fn refusal(descriptor: &serde_json::Value, blobs: &Blobs) -> kms_policy::Error {
    let directory = tempfile::tempdir().unwrap();
    blobs.write_layout(directory.path(), &[]);
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    std::fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    let layout = OciLayout::open(directory.path()).unwrap();
    layout
        .image_as(&name("web"), &CollectOptions::default())
        .unwrap_err()
}

#[test]
fn digests_do_not_lead_out_and_sizes_are_bounded() {
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers(), "amd64");
    let zeros = "0".repeat(61);
    for digest in [
        "sha256:../../../etc/passwd",
        &format!("sha256:../{zeros}"),
        "/:x",
        "",
    ] {
        let descriptor = json!({ "mediaType": MANIFEST, "digest": digest, "size": 1 });
        assert_eq!(
            refusal(&descriptor, &blobs).kind(),
            ErrorKind::Image,
            "{digest}"
        );
    }
    for size in [0, 1, 4 * 1024 * 1024 + 1, u64::MAX] {
        let descriptor =
            json!({ "mediaType": MANIFEST, "digest": manifest.as_str(), "size": size });
        assert_eq!(
            refusal(&descriptor, &blobs).kind(),
            ErrorKind::Image,
            "{size}"
        );
    }
    let absent = Digest::sha256(b"absent");
    let descriptor = json!({ "mediaType": MANIFEST, "digest": absent.as_str(), "size": 1 });
    assert_eq!(refusal(&descriptor, &blobs).kind(), ErrorKind::Io);
}

#[test]
fn indexes_do_not_nest_without_end() {
    let mut blobs = Blobs::default();
    let mut top = blobs.add_image(&layers(), "amd64");
    for _ in 0..6 {
        top = blobs.add_index(&[(&top, "amd64")]);
    }
    let error = refusal(&blobs.descriptor(&top, MANIFEST), &blobs);
    assert!(error.to_string().contains("indexes"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_blob_does_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let manifest = blobs.add_image(&layers(), "amd64");
    blobs.write_layout(directory.path(), &[(&manifest, "web")]);
    let blob = super::made::blob_path(directory.path(), &manifest);
    std::fs::remove_file(&blob).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&blob).status();
    assert!(made.unwrap().success());
    let layout = OciLayout::open(directory.path()).unwrap();
    let error = layout.image_as(&name("web"), &CollectOptions::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Image);
}
