//! `EncryptionConfiguration`, as kube-apiserver reads it with `--encryption-provider-config`.

mod model;

pub use model::{
    EncryptionConfiguration, KmsApiVersion, KmsConfiguration, NamedKey, ProviderConfiguration,
    ResourceConfiguration,
};
