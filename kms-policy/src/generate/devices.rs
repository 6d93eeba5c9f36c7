//! Devices that are passed through to containers.

use std::collections::BTreeMap;

use super::data::{Device, LinuxDevice};
use crate::manifest::Container;
use crate::settings::{Settings, SettingsLinux};

/// The block devices that the manifest names, and a device for each graphics card that it asks for.
pub(super) fn of_container(settings: &Settings, container: Option<&Container>) -> Vec<Device> {
    let Some(container) = container else {
        return Vec::new();
    };
    let blocks = container.device_paths.iter().map(|path| Device {
        container_path: path.clone(),
        ..Device::default()
    });
    let mut devices: Vec<_> = blocks.collect();
    if let Some(known) = &settings.typed.devices {
        let card = Device {
            type_: known.vfio.nvidia.gpu_gk_device_type.clone(),
            container_path: known.vfio.device_path.clone(),
            ..Device::default()
        };
        devices.extend(vec![card; cards(settings, container)]);
    }
    devices
}

/// Annotations by which the runtime names the cards that a container has.
pub(super) fn annotations(
    settings: &Settings,
    container: Option<&Container>,
) -> BTreeMap<String, String> {
    let mut patterns = BTreeMap::new();
    if let (Some(container), Some(known)) = (container, &settings.typed.devices)
        && cards(settings, container) > 0
    {
        patterns.insert(
            known.vfio.anno_key_regex.clone(),
            known.vfio.nvidia.gpu_anno_value_regex.clone(),
        );
    }
    patterns
}

/// Device files of the manifest, then those of the settings.
pub(super) fn files(settings: &SettingsLinux, container: Option<&Container>) -> Vec<LinuxDevice> {
    let paths = container.map(|container| &*container.device_paths);
    let named = paths.unwrap_or_default().iter().map(|path| LinuxDevice {
        r#type: String::new(),
        path: path.clone(),
    });
    let of_settings = settings.devices.iter().map(|device| LinuxDevice {
        r#type: device.kind.clone(),
        path: device.path.clone(),
    });
    named.chain(of_settings).collect()
}

/// The most cards that are counted; no machine has as many.
const MAX_CARDS: usize = 256;

/// How many cards a container asks for, by the names of resources that the settings list.
fn cards(settings: &Settings, container: &Container) -> usize {
    let Some(devices) = &settings.typed.devices else {
        return 0;
    };
    let keys = &devices.vfio.nvidia.pgpu_resource_keys;
    let limits = container.resource_limits.iter();
    let wanted = limits.filter(|(name, _)| keys.contains(name));
    let counts = wanted.filter_map(|(_, count)| count.parse::<usize>().ok());
    counts.fold(0, usize::saturating_add).min(MAX_CARDS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Profile;
    use super::super::support::Sample;

    #[test]
    fn each_card_that_is_asked_for_is_a_device_with_its_annotation() {
        let sample = Sample::new(Profile::Kata)
            .container("resources: {limits: {nvidia.com/pgpu: '2', cpu: '3'}}");
        let made = sample.made();
        let card = json!({
            "id": "", "type_": "vfio-pci-gk", "vm_path": "",
            "container_path": "/dev/vfio/devices/vfio", "options": [],
        });
        assert_eq!(made["devices"], json!([card, card]));
        let patterns = json!({ r"^cdi\.k8s\.io/vfio[0-9]+$": r"^nvidia\.com/gpu=[0-9]+$" });
        assert_eq!(made["runtime_anno_patterns"], patterns);
        assert_eq!(sample.pause()["runtime_anno_patterns"], json!({}));
        assert_eq!(sample.pause()["devices"], json!([]));
        let none = Sample::new(Profile::AksAzl3)
            .container("resources: {limits: {nvidia.com/pgpu: 2}}")
            .made();
        assert_eq!(
            (none.get("devices"), none.get("runtime_anno_patterns")),
            (None, None)
        );
    }

    #[test]
    fn block_devices_are_where_the_manifest_has_them() {
        let sample = Sample::new(Profile::Aks3_15)
            .container("volumeDevices: [{name: disk, devicePath: /dev/xvda}]");
        let made = sample.made();
        assert_eq!(made["devices"][0]["container_path"], "/dev/xvda");
        assert_eq!(made["devices"][0]["type_"], "");
        assert_eq!(
            made["OCI"]["Linux"]["Devices"],
            json!([{"Type": "", "Path": "/dev/xvda"}])
        );
    }
}
