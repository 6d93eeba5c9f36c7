//! What kube-apiserver stores in etcd, and the configuration that says how.

mod config;

pub use config::{
    EncryptionConfiguration, GroupResource, KmsApiVersion, KmsConfiguration, NamedKey,
    ProviderConfiguration, ResourceConfiguration, resource_of_etcd_key, resource_of_etcd_key_under,
};
