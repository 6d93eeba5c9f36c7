//! Settings: what a policy says about every pod of a cluster.
//!
//! They are genpolicy's own file, `genpolicy-settings.json`, so that a cluster's settings are kept as
//! they are. Parts of them become parts of the policy; the rest decides how it is made.

mod built_in;
mod patch;
mod typed;

#[cfg(feature = "evaluate")]
pub(crate) use patch::apply as patch;
pub use typed::{
    Capabilities, ContainerSettings, MountSettings, Settings, SmbStorageClass, VolumeSettings,
};
