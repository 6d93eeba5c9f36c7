//! What kube-apiserver stores in etcd, and the configuration that says how.

mod config;

pub use config::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration,
    ResourceConfiguration,
};
