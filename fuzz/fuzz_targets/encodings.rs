//! Values that are valid survive their encodings, and what decodes is encoded so and not otherwise.
#![no_main]

use kms_core::{EncryptionContext, WrappedKey};
use kms_envelope::kubernetes::{EncryptionConfiguration, GroupResource};
use kms_plugin::proto::{check_wrapped, v2, wrapped_key};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    context: EncryptionContext,
    answer: v2::EncryptResponse,
    request: v2::DecryptRequest,
    configuration: EncryptionConfiguration,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let context = input.context.to_canonical_bytes();
    let read = EncryptionContext::from_canonical_bytes(&context);
    assert_eq!(read.ok(), Some(input.context));
    if let Ok(context) = EncryptionContext::from_canonical_bytes(input.bytes) {
        assert_eq!(context.to_canonical_bytes(), input.bytes);
    }

    let read = v2::EncryptResponse::decode(&*input.answer.encode_to_vec());
    assert_eq!(read.ok().as_ref(), Some(&input.answer));
    let v2::EncryptResponse {
        ciphertext,
        key_id,
        annotations,
    } = input.answer;
    let wrapped: WrappedKey = wrapped_key(&key_id, ciphertext, annotations).expect("within limits");
    assert!(check_wrapped(&wrapped).is_ok());
    let read = v2::DecryptRequest::decode(&*input.request.encode_to_vec());
    assert_eq!(read.ok().as_ref(), Some(&input.request));

    for entry in &input.configuration.resources {
        for name in &entry.resources {
            let name = GroupResource::parse(name);
            let providers = input.configuration.providers_for(name.group, name.resource);
            assert!(!providers.is_empty());
        }
    }
});
