//! Pointers to providers are providers.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    CallOptions, Capabilities, Error, KeyId, KeyInfo, KeyProvider, SecretBytes, UnwrapOptions,
    WrapOptions, WrappedKey,
};

macro_rules! delegate_through {
    ($pointer:ident) => {
        #[async_trait]
        impl<P: KeyProvider + ?Sized> KeyProvider for $pointer<P> {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
                (**self).current_key(options).await
            }

            async fn wrap(
                &self,
                dek: &SecretBytes,
                options: &WrapOptions,
            ) -> Result<WrappedKey, Error> {
                (**self).wrap(dek, options).await
            }

            async fn unwrap(
                &self,
                wrapped: &WrappedKey,
                options: &UnwrapOptions,
            ) -> Result<SecretBytes, Error> {
                (**self).unwrap(wrapped, options).await
            }

            async fn describe_key(
                &self,
                id: &KeyId,
                options: &CallOptions,
            ) -> Result<KeyInfo, Error> {
                (**self).describe_key(id, options).await
            }

            async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
                (**self).list_keys(options).await
            }
        }
    };
}

delegate_through!(Arc);
delegate_through!(Box);
