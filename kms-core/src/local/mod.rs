//! An embedded key provider: a keyring file, and nothing else to run.
//!
//! [`LocalProvider`] holds numbered versions of one AES-256 key and wraps DEKs with the newest. It
//! is the provider to begin with, for tests, and for machines that have no vault; what it cannot
//! give is a key that root on this machine cannot read.
//!
//! ```
//! # use kms_core::{Clock, Sleep, Tick};
//! # #[derive(Debug)]
//! # struct Wall;
//! # impl Clock for Wall {
//! #     fn now(&self) -> Tick { Tick::ORIGIN }
//! #     fn wall_time(&self) -> std::time::SystemTime { std::time::SystemTime::UNIX_EPOCH }
//! #     fn sleep_until(&self, _: Tick) -> Sleep { Box::pin(core::future::pending()) }
//! # }
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("keyring.json");
//! use std::sync::Arc;
//! use kms_core::local::{LocalOptions, LocalProvider};
//! use kms_core::{KeyProvider as _, SecretBytes, WrapOptions};
//!
//! # futures_util::FutureExt::now_or_never(async {
//! // Any `Clock`; `TokioClock` in a program that runs on tokio.
//! let provider = LocalProvider::create(&path, LocalOptions::new(Arc::new(Wall)))?;
//! let dek = SecretBytes::from_vec(vec![7; 32]);
//! let wrapped = provider.wrap(&dek, &WrapOptions::default()).await?;
//! provider.rotate()?;
//! let again = provider.unwrap(&wrapped, &Default::default()).await?;
//! assert_eq!(again, dek);
//! # Ok::<(), kms_core::Error>(())
//! # }).expect("nothing here waits")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it protects against
//!
//! | who | without a passphrase | with one |
//! |---|---|---|
//! | reads the file, or a backup of it | has the keys | must guess the passphrase, at Argon2id's price for each guess |
//! | changes the file | can do anything: the digest is against accidents, not attackers | is found out by the MAC, whatever was changed |
//! | puts an older copy back | is found out by a running provider, not by a new one | the same |
//! | reads this process's memory | has the keys | has the keys |
//!
//! Only the owner may have rights to the file; a mode wider than 0600 is refused. So is a directory
//! that everybody can write to, since they could put another file in its place; where the sticky
//! bit keeps them from that, as in `/tmp`, it is taken. The directory's group is trusted.
//! [`LocalOptions::wide_permissions`] lifts both. Directories further up are not looked at.
//!
//! # Limits
//!
//! Nonces are random, so NIST SP 800-38D, section 8.3, allows 2^32 wraps with one version, counted
//! over all processes that share the keyring. Nobody counts them here; rotate long before that. At
//! one wrap a second 2^32 takes 136 years; at 1,000 a second, 49 days.
//!
//! A keyring has at most 10,000 versions, destroyed ones included, and its file 4 MiB.
//!
//! # Life of a version
//!
//! | | `disable` | `enable` | `schedule_destruction` | `cancel_destruction` | `destroy_due`, when due |
//! |---|---|---|---|---|---|
//! | current | refused | – | refused | refused | – |
//! | enabled | disabled | – | pending | refused | – |
//! | disabled | – | enabled | pending | refused | – |
//! | pending destruction | refused | refused | refused | disabled | destroyed |
//! | destroyed | refused | refused | refused | refused | – |
//!
//! – changes nothing. The newest version is the current one, always: it is made by `create`,
//! `rotate` or `import`, and gives way only to a newer one, so wrapping never goes back to an
//! older key by itself. Only enabled versions unwrap. A destroyed version leaves a tombstone, and
//! its number and key id are never used again in that keyring.
//!
//! # Several processes
//!
//! Any number of processes may have one keyring open. Readers take no lock: a writer replaces the
//! file as a whole, by a rename, and every call looks whether that has happened. Writers take turns
//! by a lock on the file `PATH.lock`, which stays where it is, and read the keyring again under it,
//! so no change is lost. Whoever finds a changed file makes sure that it is on the disk before it
//! wraps with it, whether or not the writer got that far: no data outlives its key in a power
//! failure. That takes the right to read the directory. Locks and renames are those of a local file system. If the path is a
//! symbolic link, its target is replaced, and owner and mode are kept.
//!
//! # When the file cannot be read any more
//!
//! It is never replaced by an empty or a new one. A provider that is running remembers the last
//! keyring it could read. It goes on unwrapping with it; `wrap`, `current_key` and everything else
//! report what is wrong, until the file is in order again: data that is wrapped now might be
//! readable by this process's memory alone.
//!
//! # Copies and backups
//!
//! A keyring has one history. Copies of it that are changed apart, on two nodes or because a backup
//! was restored, each give the next version number to a key of their own, and neither opens what
//! the other has wrapped. So either let all nodes share **one** file, or **rotate in one place**
//! and copy the file to the others, which never change theirs: everywhere before anything is
//! wrapped under the new version, or nodes that have it not cannot open that for a while.
//!
//! A mistake shows, because a key id contains a fingerprint of the key: the copies announce
//! different key ids, data that names another copy's key is
//! [`KeyNotFound`](crate::ErrorKind::KeyNotFound) with a message that says so, and a provider that
//! runs does not take over a file whose history is not a continuation of its own. Only a wrapped
//! DEK without a key id (KMS v1) cannot say whose it is; there the answer is
//! [`Crypto`](crate::ErrorKind::Crypto).
//!
//! A backup that is older than the last rotation or import lacks keys: what they wrapped can be
//! opened again only with a newer copy of the file. Look for one before anything else. If there is
//! none, the restored keyring may be used and rotated; its new keys get ids of their own.
//!
//! # The file, format version 1
//!
//! JSON as `serde_json` prints it with an indent of two blanks, and a line feed at its end; every
//! other spelling is refused, and so are fields that are not listed here.
//!
//! ```text
//! format        "kms-local-keyring"
//! version       1
//! content
//!   keyring_id  128 random bits, 32 lower-case hexadecimal digits
//!   revision    counts the changes
//!   updated_ms  when it was last changed, ms since the Unix epoch; never goes back
//!   passphrase  only with a passphrase:
//!     kdf         "argon2id" (version 0x13, 32 bytes out)
//!     memory_kib, passes, lanes
//!     salt        32 bytes, also the salt of HKDF
//!     check       32 bytes, HKDF label "kms local keyring v1: check"
//!   keys        versions 1, 2, 3, … without a gap; of each:
//!     version
//!     fingerprint of the key, 16 lower-case hexadecimal digits; stays when the key is destroyed
//!     state       "enabled", "disabled", "pending_destruction" or "destroyed"
//!     origin      "generated" or "imported"
//!     created_ms
//!     destroy_due_ms   only if pending
//!     material    unless destroyed: 32 bytes; with a passphrase nonce 12 ‖ AES-256-GCM 32 ‖ tag 16,
//!                 under the HKDF label "kms local keyring v1: wrap", AAD "kms local material v1" ‖
//!                 keyring id, 16 bytes ‖ version, u32 big-endian
//! digest        SHA-256 of "kms local keyring v1: digest" ‖ `content` as JSON without white space
//! mac           only with a passphrase: HMAC-SHA256 of the same JSON,
//!               under the HKDF label "kms local keyring v1: mac"
//! ```
//!
//! Bytes are Base64 (RFC 4648, section 4). A wrapped DEK is
//! `0x01 ‖ version, u32 ‖ nonce, 12 bytes ‖ ciphertext ‖ tag, 16 bytes`, AAD
//! `"kms local wrap v1" ‖ u16 length of key id ‖ key id ‖ canonical context`, integers big-endian.
//! A key id is `local/<keyring id>/<version>-<fingerprint>`; the fingerprint is the first 8 bytes of
//! HMAC-SHA256 of `"kms local key id v1"` under the key.

mod check;
mod document;
mod gcm;
mod id;
mod options;
mod protect;
mod provider;
mod state;
mod wrap;

pub use check::{KeyringSummary, check_keyring};
pub use options::LocalOptions;
pub use protect::PassphraseCost;
pub use provider::LocalProvider;
pub use state::KeyringVersion;
