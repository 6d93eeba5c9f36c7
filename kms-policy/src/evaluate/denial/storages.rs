//! Storages of a request, beside those of a container.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

use super::Difference;
use super::text::{quoted, shown};
use crate::document::{DocumentContainer, DocumentStorage};

/// Whether a path is what a template says.
type Fits<'f> = &'f dyn Fn(&str, &str) -> bool;

const LAYERS: &str = "/run/kata-containers/sandbox/layers";
const SOURCE_PREFIX: &str = "io.katacontainers.fs-opt.layer-src-prefix=/var/lib/containerd/io.containerd.snapshotter.v1.tardev/layers";

pub(super) fn compare(
    container: &DocumentContainer,
    given: &[Value],
    root: &str,
    fits: Fits<'_>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let is_pull =
        |it: &&Value| it.get("driver").and_then(Value::as_str) == Some("image_guest_pull");
    let is_bind = |it: &&Value| it.get("fstype").and_then(Value::as_str) == Some("bind");
    let required = container
        .storages
        .iter()
        .filter(|it| it.fstype != "bind")
        .count();
    let own = || given.iter().filter(|it| !is_pull(it));
    let got = own().filter(|it| !is_bind(it)).count();
    if required != got {
        differences.push(Difference::new(
            "storages",
            required.to_string(),
            got.to_string(),
        ));
    }
    let mut points = BTreeSet::new();
    for storage in given {
        let point = storage
            .get("mount_point")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !points.insert(point) {
            let field = format!("storages[{point}]");
            differences.push(Difference::new(field, "one", "two"));
        }
    }
    let expected = expected(container, root);
    for storage in own() {
        let compared = expected.iter().map(|known| one(known, storage, fits));
        match compared.min_by_key(Vec::len) {
            Some(fewest) => differences.extend(fewest),
            None => {
                let driver = storage.get("driver").unwrap_or(&Value::Null);
                differences.push(Difference::new("storages", "none", shown(driver)));
            }
        }
    }
    for storage in given.iter().filter(is_pull) {
        differences.extend(pull(container, storage, root));
    }
    differences
}

/// The container's storages, as a request has them: layers and what they are put together to filled in.
fn expected(container: &DocumentContainer, root: &str) -> Vec<DocumentStorage> {
    let overlay = container
        .storages
        .iter()
        .find(|it| it.driver == "overlayfs");
    let listed = |place: usize| -> Vec<&str> {
        let text = overlay.and_then(|overlay| overlay.options.get(place));
        text.map_or_else(Vec::new, |text| text.split(':').collect())
    };
    let names = listed(0);
    let layers: Vec<_> = names.iter().copied().zip(listed(1)).collect();
    let options = |hash: &str| {
        [
            "io.katacontainers.fs-opt.block_device=file".to_owned(),
            "io.katacontainers.fs-opt.is-layer".to_owned(),
            format!("io.katacontainers.fs-opt.root-hash={hash}"),
        ]
    };
    let mut rest = layers.iter();
    let storages = container.storages.iter().map(|known| {
        let mut known = known.clone();
        if known.fstype == "tar" {
            if let Some((name, hash)) = rest.next() {
                known.mount_point = format!("{LAYERS}/{name}");
                known.options = [&["ro".to_owned()], &options(hash)[..]].concat();
            }
        } else if known.driver == "overlayfs" {
            root.clone_into(&mut known.mount_point);
            known.options = vec![SOURCE_PREFIX.to_owned()];
            for (name, hash) in &layers {
                let line = format!("{name},tar,ro,{}", options(hash).join(","));
                let line = STANDARD.encode(line);
                known
                    .options
                    .push(format!("io.katacontainers.fs-opt.layer={line}"));
            }
            let overlay = "io.katacontainers.fs-opt.overlay-rw";
            known.options.push(overlay.to_owned());
            known.options.push(format!("lowerdir={}", names.join(":")));
        }
        known
    });
    storages.collect()
}

fn one(known: &DocumentStorage, given: &Value, fits: Fits<'_>) -> Vec<Difference> {
    let got = DocumentStorage::from_json(given);
    let field = |name: &str| format!("storages[{}].{name}", got.mount_point);
    let mut differences = Vec::new();
    let mut differ = |name: &str, expected: String, got: String| {
        differences.push(Difference::new(field(name), expected, got));
    };
    let is_disk = known.driver.is_empty();
    let drivers = ["blk", "blk-ccw", "mmioblk", "scsi"];
    if known.driver != got.driver && !(is_disk && drivers.contains(&&*got.driver)) {
        differ("driver", quoted(&known.driver), quoted(&got.driver));
    }
    if known.fstype != got.fstype && !known.fstype.starts_with("$(") {
        differ("fstype", quoted(&known.fstype), quoted(&got.fstype));
    }
    if known.options != got.options && known.driver != "smb" {
        let expected = format!("{:?}", known.options);
        differ("options", expected, format!("{:?}", got.options));
    }
    if known.driver_options != got.driver_options {
        let expected = format!("{:?}", known.driver_options);
        differ(
            "driver_options",
            expected,
            format!("{:?}", got.driver_options),
        );
    }
    let group = given.get("fs_group").unwrap_or(&Value::Null);
    if !group.is_null() {
        differ("fs_group", "nothing".to_owned(), shown(group));
    }
    let template = known
        .mount_point
        .replace("$(b64_device_id)", &URL_SAFE.encode(&got.source));
    let point = if is_disk {
        format!("^{template}$")
    } else {
        template
    };
    if !fits(&point, &got.mount_point) {
        differ("mount_point", quoted(&point), quoted(&got.mount_point));
    }
    differences
}

/// An image that the guest pulls.
fn pull(container: &DocumentContainer, storage: &Value, root: &str) -> Vec<Difference> {
    let of = |field: &str| {
        storage
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let mut differences = Vec::new();
    if !container.root_hashes().is_empty() {
        let expected = "layers that are proved by root hashes";
        differences.push(Difference::new(
            "storages",
            expected,
            "an image that the guest pulls",
        ));
    }
    let image = if container.is_pause() {
        "pause"
    } else {
        container.image()
    };
    let normal = |image: &str| {
        let (name, digest) = image.split_once('@').unwrap_or((image, ""));
        let last = name.rsplit('/').next().unwrap_or_default();
        let (tag, name) = match last.rsplit_once(':') {
            Some((_, tag)) => (tag, name.strip_suffix(&format!(":{tag}")).unwrap_or(name)),
            None => ("latest", name),
        };
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        let version = if digest.is_empty() { tag } else { digest };
        format!("{name}@{version}")
    };
    if normal(image) != normal(of("source")) {
        let field = "storages[image_guest_pull].source";
        differences.push(Difference::new(field, quoted(image), quoted(of("source"))));
    }
    if of("mount_point") != root {
        let field = "storages[image_guest_pull].mount_point";
        differences.push(Difference::new(
            field,
            quoted(root),
            quoted(of("mount_point")),
        ));
    }
    differences
}
