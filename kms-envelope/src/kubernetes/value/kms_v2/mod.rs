//! KMS v2: the protobuf message `v2.EncryptedObject`.

mod annotation;
mod object;
mod seal;

pub(crate) use annotation::check_name as check_annotation_name;
pub(crate) use object::{EncryptedObject, MAX_DEK_SOURCE_LEN};
pub(crate) use seal::{Tail, check_dek_source, min_encrypted_data_len, open, seal};
