//! Messages that `Arbitrary` makes are within the limits, and survive the wire.

use arbitrary::{Arbitrary as _, Unstructured};
use kms_core::WrappedKey;
use kms_plugin::proto::{check_wrapped, v1beta1, v2, wrapped_key};
use proptest::prelude::*;
use prost::Message as _;

proptest! {
    #[test]
    fn every_message_is_within_the_limits_and_survives_the_wire(
        input in proptest::collection::vec(any::<u8>(), 0..600)
    ) {
        let mut u = Unstructured::new(&input);
        let answer = v2::EncryptResponse::arbitrary(&mut u).unwrap();
        let read = v2::EncryptResponse::decode(&*answer.encode_to_vec()).unwrap();
        prop_assert_eq!(&read, &answer);
        let wrapped = wrapped_key(&read.key_id, read.ciphertext, read.annotations).unwrap();
        prop_assert!(check_wrapped(&wrapped).is_ok());

        let request = v2::DecryptRequest::arbitrary(&mut u).unwrap();
        let read = v2::DecryptRequest::decode(&*request.encode_to_vec()).unwrap();
        prop_assert_eq!(&read, &request);
        prop_assert!(wrapped_key(&read.key_id, read.ciphertext, read.annotations).is_ok());

        let old = v1beta1::DecryptRequest::arbitrary(&mut u).unwrap();
        prop_assert!(WrappedKey::without_key_id(old.cipher).is_ok());
    }
}
