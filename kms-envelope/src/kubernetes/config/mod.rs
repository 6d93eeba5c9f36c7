//! `EncryptionConfiguration`, as kube-apiserver reads it with `--encryption-provider-config`.

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod cursor;
mod document;
mod duration;
mod model;
mod parse;
mod provider;
mod resource;
mod rules;
mod select;
mod write;

pub use model::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration,
    ResourceConfiguration,
};
pub(crate) use resource::etcd_paths_of;
pub use resource::{GroupResource, resource_of_etcd_key, resource_of_etcd_key_under};
pub(super) use write::{EntryRef, ProviderRef, write};
