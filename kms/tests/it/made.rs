//! A snapshot of a large cluster, made with everything that can be in one, and what is in it by
//! the books of whoever made it.
//!
//! Tens of thousands of objects, so that the tree has several levels; values that overflow their
//! page; compacted history; provider names with colons, one of which begins like another;
//! damages of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::object::{HistoryPosition, LeaseId, Revision};
use kms_core::{Clock, KeyProvider, OsRandom, TokioClock};
use kms_envelope::kubernetes::{
    EncryptionConfiguration, KmsApiVersion, ProviderConfiguration, Transformer,
};
use kms_testkit::objects::DatabaseWriter;

const CONFIG: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets, configmaps, gadgets.made.example]
    providers:
      - kms: {apiVersion: v2, name: plug-b, endpoint: \"unix:///nonexistent/b.sock\", timeout: 100ms}
      - kms: {apiVersion: v1, name: \"team:vault:one\", endpoint: \"unix:///nonexistent/1.sock\", timeout: 100ms}
      - kms: {apiVersion: v1, name: team, endpoint: \"unix:///nonexistent/t.sock\", timeout: 100ms}
      - aesgcm: {keys: [{name: gcm-a, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - aescbc: {keys: [{name: cbc-a, secret: AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - secretbox: {keys: [{name: box-a, secret: AgECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";
const KEYRINGS: [&str; 3] = ["plug-b", "team:vault:one", "team"];

/// What tells rows of a census apart: resource, prefix, key id, and whether it is damaged.
pub(crate) type RowKey = (String, String, Option<String>, bool);

/// What a row counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) count: u64,
    pub(crate) value_bytes: u64,
    /// Which DEKs, by numbers of the maker's own.
    pub(crate) sources: BTreeSet<u64>,
}

pub(crate) type Rows = BTreeMap<RowKey, Row>;

/// A value, and what it is under.
#[derive(Clone)]
struct Value {
    bytes: Vec<u8>,
    prefix: String,
    key_id: Option<String>,
    source: Option<u64>,
    is_unparsable: bool,
}

struct Change {
    key: String,
    /// None for a deletion.
    value: Option<Value>,
    has_lease: bool,
}

/// What writes values in one way: one prefix, one key, one seed.
struct Hand {
    transformer: Transformer,
    prefix: String,
    key_id: Option<String>,
    /// KMS v1 has a DEK of its own for each value, so a new number each time.
    has_own_deks: bool,
    seed: Option<u64>,
}

pub(crate) struct Books {
    pub(crate) live: Rows,
    pub(crate) all_puts: Rows,
    pub(crate) not_live: Rows,
    pub(crate) keys: u64,
    pub(crate) leases: u64,
    pub(crate) records: u64,
    pub(crate) tombstones: u64,
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
    /// Keys that do not open, and whether that can be seen without a key.
    pub(crate) damaged: BTreeMap<String, bool>,
}

pub(crate) struct Made {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) books: Books,
}

impl Made {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What opens all of it: `--kek` arguments.
    pub(crate) fn keks(&self) -> Vec<String> {
        let kek = |name: &&str| {
            let keyring = self.path(&file_of(name));
            [
                "--kek".to_owned(),
                format!("{name}=local:{}", keyring.display()),
            ]
        };
        KEYRINGS.iter().flat_map(kek).collect()
    }
}

fn file_of(name: &str) -> String {
    format!("{}.json", name.replace(':', "-"))
}

pub(crate) fn make(objects: usize) -> Made {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(Maker::new().make(objects))
}

struct Maker {
    directory: tempfile::TempDir,
    config: EncryptionConfiguration,
    clock: Arc<dyn Clock>,
    keyrings: BTreeMap<String, Arc<LocalProvider>>,
    hands: Vec<Hand>,
    sources: u64,
    changes: Vec<Change>,
}

impl Maker {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.yaml"), CONFIG).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let keyring = |name: &&str| {
            let path = directory.path().join(file_of(name));
            let options = LocalOptions::new(Arc::clone(&clock));
            let keyring = LocalProvider::create(path, options).unwrap();
            ((*name).to_owned(), Arc::new(keyring))
        };
        Self {
            keyrings: KEYRINGS.iter().map(keyring).collect(),
            directory,
            config: EncryptionConfiguration::parse(CONFIG).unwrap(),
            clock,
            hands: Vec::new(),
            sources: 0,
            changes: Vec::new(),
        }
    }

    async fn make(mut self, objects: usize) -> Made {
        // Two seeds under the first key, one under the second.
        for index in 0..6 {
            self.take_hand(index).await;
        }
        self.take_hand(0).await;
        self.keyrings["plug-b"].rotate().unwrap();
        self.take_hand(0).await;

        for number in 0..objects {
            self.object(number).await;
        }
        let compacted = self.changes.len() / 3;
        for number in 0..objects / 4 {
            match number % 3 {
                0 => self.delete(number),
                _ => self.object(number * 2).await,
            }
        }
        let damaged = self.damage().await;
        self.write(compacted, damaged)
    }

    /// A transformer that writes by the provider at this place of the configuration.
    async fn take_hand(&mut self, index: usize) {
        let provider = &self.config.resources[0].providers[index];
        let random = Arc::new(OsRandom);
        let mut builder = Transformer::builder([provider], Arc::clone(&self.clock), random);
        let (mut key_id, mut has_own_deks, mut seed) = (None, false, None);
        let prefix = match provider {
            ProviderConfiguration::Kms(kms) => {
                let keyring = &self.keyrings[&kms.name];
                builder = builder.kms(&kms.name, Arc::clone(keyring) as Arc<dyn KeyProvider>);
                if kms.api_version == KmsApiVersion::V2 {
                    let current = keyring.current_key(&Default::default()).await.unwrap();
                    key_id = Some(current.id.to_string());
                    self.sources += 1;
                    seed = Some(self.sources);
                    format!("k8s:enc:kms:v2:{}:", kms.name)
                } else {
                    has_own_deks = true;
                    format!("k8s:enc:kms:v1:{}:", kms.name)
                }
            }
            ProviderConfiguration::AesGcm(_) => "k8s:enc:aesgcm:v1:gcm-a:".to_owned(),
            ProviderConfiguration::AesCbc(_) => "k8s:enc:aescbc:v1:cbc-a:".to_owned(),
            _ => "k8s:enc:secretbox:v1:box-a:".to_owned(),
        };
        let transformer = builder.build().unwrap();
        transformer.refresh().await.unwrap();
        self.hands.push(Hand {
            transformer,
            prefix,
            key_id,
            has_own_deks,
            seed,
        });
    }

    /// A value for this key by one of the hands; in clear by none.
    async fn value(&mut self, hand: usize, key: &str, plaintext: &[u8]) -> Value {
        let Some(hand) = self.hands.get(hand) else {
            return Value {
                bytes: plaintext.to_vec(),
                prefix: String::new(),
                key_id: None,
                source: None,
                is_unparsable: false,
            };
        };
        let bytes = hand.transformer.write(key.as_bytes(), plaintext).await;
        let source = match hand.has_own_deks {
            true => {
                self.sources += 1;
                Some(self.sources)
            }
            false => hand.seed,
        };
        Value {
            bytes: bytes.unwrap(),
            prefix: hand.prefix.clone(),
            key_id: hand.key_id.clone(),
            source,
            is_unparsable: false,
        }
    }

    /// One object or a change of it. Some are so large that they overflow their page, or are
    /// longer than anything a wrong split of a name could take for a DEK.
    async fn object(&mut self, number: usize) {
        let (resource, hands) = match number % 10 {
            0..=5 => ("secrets", 9),
            6 | 7 => ("configmaps", 9),
            8 => ("made.example/gadgets", 9),
            _ => ("events", 0),
        };
        let key = format!("/registry/{resource}/ns-{}/object-{number:06}", number % 13);
        let length = match number % 997 {
            5 => 300_000,
            6 | 7 => 40_000,
            other => 40 + other % 300,
        };
        let mut plaintext = b"k8s\0".to_vec();
        plaintext.resize(length, number as u8);
        // In turn, and none for one of nine; not in step with the resources.
        let hand = if hands == 0 {
            usize::MAX
        } else {
            (number / 10 + number) % hands
        };
        let value = self.value(hand, &key, &plaintext).await;
        self.put(key, value, resource == "events");
    }

    fn put(&mut self, key: String, value: Value, has_lease: bool) {
        self.changes.push(Change {
            key,
            value: Some(value),
            has_lease,
        });
    }

    fn delete(&mut self, number: usize) {
        let Some(change) = self.changes.get(number) else {
            return;
        };
        let key = change.key.clone();
        self.changes.push(Change {
            key,
            value: None,
            has_lease: false,
        });
    }

    /// Every kind of damage, each to an object of its own.
    async fn damage(&mut self) -> BTreeMap<String, bool> {
        let (v2, colon, short, gcm, cbc, secretbox) = (0, 1, 2, 3, 4, 5);
        let elsewhere = "/registry/secrets/ns-0/elsewhere";
        type Change = Box<dyn Fn(&mut Value)>;
        let cases: Vec<(&str, usize, Change)> = vec![
            ("v2-cut", v2, Box::new(|value| cut(value, 100))),
            (
                "v2-nothing",
                v2,
                Box::new(|value| value.bytes.truncate(value.prefix.len())),
            ),
            ("v2-flipped", v2, Box::new(|value| value.bytes[80] ^= 1)),
            (
                "v2-source-type",
                v2,
                Box::new(|value| *value.bytes.last_mut().unwrap() = 7),
            ),
            ("v1-cut-in-dek", colon, Box::new(|value| cut(value, 30))),
            (
                "v1-cut-in-body",
                colon,
                Box::new(|value| cut_end(value, 68)),
            ),
            ("v1-flipped", colon, Box::new(flip_last)),
            (
                "v1-length",
                short,
                Box::new(|value| value.bytes[value.prefix.len()] = 0xff),
            ),
            ("gcm-short", gcm, Box::new(|value| cut(value, 20))),
            ("gcm-flipped", gcm, Box::new(flip_last)),
            ("cbc-short", cbc, Box::new(|value| cut(value, 33))),
            ("box-short", secretbox, Box::new(|value| cut(value, 39))),
            ("box-flipped", secretbox, Box::new(flip_last)),
            ("gcm-of-another-key", gcm, Box::new(|_| {})),
            ("v2-of-another-key", v2, Box::new(|_| {})),
            (
                "unknown",
                v2,
                Box::new(|value| {
                    value.bytes = b"k8s:enc:kms:v3:plug-b:whatever follows".to_vec();
                    "k8s:enc:".clone_into(&mut value.prefix);
                }),
            ),
        ];
        let mut damaged = BTreeMap::new();
        for (name, hand, damage) in cases {
            let key = format!("/registry/secrets/damaged/{name}");
            let bound_to = if name.ends_with("of-another-key") {
                elsewhere
            } else {
                &key
            };
            let mut value = self.value(hand, bound_to, &[b'x'; 60]).await;
            damage(&mut value);
            let opens_not = ["flipped", "another-key"];
            let is_seen = !opens_not.iter().any(|end| name.ends_with(end));
            if is_seen {
                (value.is_unparsable, value.key_id, value.source) = (true, None, None);
            }
            damaged.insert(key.clone(), is_seen);
            self.put(key, value, false);
        }
        damaged
    }

    /// Writes the file: of what was compacted only what was live then.
    fn write(self, compacted: usize, damaged: BTreeMap<String, bool>) -> Made {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.directory.path().join("backup.db"))
            .unwrap();
        let mut writer = DatabaseWriter::new(file).unwrap();
        // The first change is of revision two.
        let revision_of = |index: usize| index as u64 + 2;
        let newest_of = |changes: &[Change]| -> BTreeMap<String, usize> {
            let indexed = changes.iter().enumerate();
            indexed
                .map(|(index, change)| (change.key.clone(), index))
                .collect()
        };
        let newest_then = newest_of(&self.changes[..=compacted]);
        let newest = newest_of(&self.changes);
        let mut books = Books {
            live: Rows::new(),
            all_puts: Rows::new(),
            not_live: Rows::new(),
            keys: 0,
            leases: 0,
            records: 0,
            tombstones: 0,
            revision: revision_of(self.changes.len() - 1),
            compacted: revision_of(compacted),
            damaged,
        };
        for (index, change) in self.changes.iter().enumerate() {
            let is_gone =
                index <= compacted && (newest_then[&change.key] != index || change.value.is_none());
            if is_gone {
                continue;
            }
            let position = HistoryPosition::new(Revision::new(revision_of(index)), 0);
            let bytes = change.value.as_ref().map(|value| value.bytes.as_slice());
            let lease = change.has_lease.then(|| LeaseId::new(77)).flatten();
            writer
                .record(position, bytes, change.key.as_bytes(), lease)
                .unwrap();
            books.enter(change, newest[&change.key] == index);
        }
        writer.set_compacted(Revision::new(books.compacted));
        writer.finish_snapshot().unwrap();
        Made {
            directory: self.directory,
            books,
        }
    }
}

impl Books {
    fn enter(&mut self, change: &Change, is_newest: bool) {
        self.records += 1;
        let Some(value) = &change.value else {
            self.tombstones += 1;
            return;
        };
        add(&mut self.all_puts, change, value);
        if is_newest {
            self.keys += 1;
            self.leases += u64::from(change.has_lease);
            add(&mut self.live, change, value);
        } else {
            add(&mut self.not_live, change, value);
        }
    }
}

fn add(rows: &mut Rows, change: &Change, value: &Value) {
    let mut segments = change.key.split('/').skip(2);
    let first = segments.next().unwrap();
    let resource = match first.contains('.') {
        true => format!("{first}/{}", segments.next().unwrap()),
        false => first.to_owned(),
    };
    let key = (
        resource,
        value.prefix.clone(),
        value.key_id.clone(),
        value.is_unparsable,
    );
    let row = rows.entry(key).or_default();
    row.count += 1;
    row.value_bytes += value.bytes.len() as u64;
    row.sources.extend(value.source);
}

/// Leaves so many bytes behind the prefix.
fn cut(value: &mut Value, left: usize) {
    value.bytes.truncate(value.prefix.len() + left);
}

fn cut_end(value: &mut Value, bytes: usize) {
    value.bytes.truncate(value.bytes.len() - bytes);
}

fn flip_last(value: &mut Value) {
    *value.bytes.last_mut().unwrap() ^= 1;
}
