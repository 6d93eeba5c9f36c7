//! Devices that are passed through to a container, and the annotations by which the runtime names them.

use std::collections::BTreeMap;

use super::Profile;
use super::data::PassedDevice;
use crate::manifest::Container;
use crate::settings::Settings;
use crate::{Error, ErrorKind};

/// The most devices of one container.
const MAX_DEVICES: u32 = 64;

/// What a container has of devices.
#[derive(Default)]
pub(super) struct Passed {
    /// The devices, where the agent knows devices at all.
    pub(super) devices: Option<Vec<PassedDevice>>,
    /// Annotations by which the runtime names them.
    pub(super) annotations: BTreeMap<String, String>,
}

/// The devices that a container's limits ask for.
pub(super) fn devices(
    settings: &Settings,
    profile: Profile,
    container: Option<&Container>,
) -> Result<Passed, Error> {
    if profile == Profile::AksAzl3 {
        return Ok(Passed::default());
    }
    let mut passed = Passed {
        devices: Some(Vec::new()),
        ..Passed::default()
    };
    let (Some(vfio), Some(container)) = (&settings.typed.devices.vfio, container) else {
        return Ok(passed);
    };
    let mut number: u32 = 0;
    for (resource, quantity) in &container.resource_limits {
        if !vfio.nvidia.pgpu_resource_keys.contains(resource) {
            continue;
        }
        let asked = quantity.parse().ok().filter(|asked| *asked <= MAX_DEVICES);
        number = number.saturating_add(asked.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("asks for `{quantity}` devices, which is no number up to {MAX_DEVICES}"),
            )
            .at(format!("{}.resources.limits.{resource}", container.name))
        })?);
    }
    if number > 0 {
        let device = || PassedDevice {
            id: String::new(),
            type_: vfio.nvidia.gpu_gk_device_type.clone(),
            vm_path: String::new(),
            container_path: vfio.device_path.clone(),
            options: Vec::new(),
        };
        passed.devices = Some((0..number).map(|_| device()).collect());
        let value = vfio.nvidia.gpu_anno_value_regex.clone();
        let key = vfio.anno_key_regex.clone();
        passed.annotations.insert(key, value);
    }
    Ok(passed)
}
