//! A data key for each message under an intermediate key that is kept, with no call of the KMS for
//! a message. It knows no AAD: what is bound is the partition, by which key it is.

use std::sync::Arc;

use asherah::aead::AES256GCM;
use asherah::kms::StaticKMS;
use asherah::metastore::InMemoryMetastore;
use asherah::session::PublicSession;
use asherah::{Config, api};

use crate::{Dek, KEK, Sealer, Side};

pub(super) fn side() -> Side {
    Side::new("asherah", Dek::Kept, Asherah::new)
}

struct Asherah {
    session: PublicSession<AES256GCM, StaticKMS<AES256GCM>, InMemoryMetastore>,
    plaintext: Vec<u8>,
    message: Vec<u8>,
}

impl Asherah {
    fn new() -> Self {
        let crypto = Arc::new(AES256GCM::new());
        let kms = StaticKMS::new(Arc::clone(&crypto), KEK.to_vec()).expect("32 bytes");
        let metastore = Arc::new(InMemoryMetastore::new());
        let config = Config::new("service", "product");
        let factory = api::new_session_factory(config, metastore, Arc::new(kms), crypto);
        Self {
            session: factory.get_session("users"),
            plaintext: Vec::new(),
            message: Vec::new(),
        }
    }
}

impl Sealer for Asherah {
    fn take_plaintext(&mut self, plaintext: &[u8]) {
        self.plaintext = plaintext.to_vec();
    }

    fn seal(&mut self) -> Vec<u8> {
        let record = self.session.encrypt(&self.plaintext).expect("seals");
        serde_json::to_vec(&record).expect("encodes")
    }

    fn take_message(&mut self, message: &[u8]) {
        self.message = message.to_vec();
    }

    fn open(&mut self) -> usize {
        let record = serde_json::from_slice(&self.message).expect("decodes");
        self.session.decrypt(record).expect("opens").len()
    }
}
