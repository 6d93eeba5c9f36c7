//! What stands behind command-line arguments: provider URIs, socket addresses, resource names and
//! encodings of stored values.
#![no_main]

use kms::provider::ProviderUri;
use kms_envelope::kubernetes::GroupResource;
use kms_plugin::socket::SocketAddress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(uri) = text.parse::<ProviderUri>() {
        assert!(!uri.to_string().is_empty());
    }
    if let Ok(address) = text.parse::<SocketAddress>() {
        assert_eq!(
            address.to_string().parse::<SocketAddress>().ok(),
            Some(address)
        );
    }
    let _ = GroupResource::parse(text);
});
