//! Storages that an image's layers come by.

use super::data::Storage;
use crate::image::ImageFacts;
use crate::{Error, ErrorKind};

/// A block device for each layer, the topmost first, and the overlay over all of them.
pub(super) fn storages(
    image: &str,
    facts: &ImageFacts,
    root_path: &str,
) -> Result<Vec<Storage>, Error> {
    let unknown = |what: &str| {
        Error::new(
            ErrorKind::Image,
            format!("the {what} of a layer of `{image}` is not known"),
        )
    };
    if facts.layers.is_empty() {
        return Err(unknown("list"));
    }
    let (mut names, mut hashes, mut storages) = (Vec::new(), Vec::new(), Vec::new());
    for (index, layer) in facts.layers.iter().rev().enumerate() {
        names.push(layer.name.as_deref().ok_or_else(|| unknown("name"))?);
        hashes.push(
            layer
                .verity
                .as_deref()
                .ok_or_else(|| unknown("root hash"))?,
        );
        storages.push(storage(
            "blk",
            "tar",
            vec![format!("$(hash{index})")],
            &format!("$(layer{index})"),
        ));
    }
    storages.push(storage(
        "overlayfs",
        "fuse3.kata-overlay",
        vec![names.join(":"), hashes.join(":")],
        root_path,
    ));
    Ok(storages)
}

fn storage(driver: &str, fstype: &str, options: Vec<String>, mount_point: &str) -> Storage {
    Storage {
        driver: driver.to_owned(),
        driver_options: Vec::new(),
        source: String::new(),
        fstype: fstype.to_owned(),
        options,
        mount_point: mount_point.to_owned(),
        fs_group: None,
    }
}
