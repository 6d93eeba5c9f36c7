//! Do all API servers write with this key already?
//!
//! Nothing may be re-encrypted before they do: a server that has not seen the new key id takes old
//! data for fresh and skips it, and what it writes is under the old key. Each server tells in its
//! metrics which key its KMS named last, and which key it wrote with last. [`ServerMetrics::read`]
//! finds that in the text of `/metrics`, and [`judge`](ServerMetrics::judge) says what follows from
//! it. [`judge_status`] does the same for what a plugin's Status says.
//!
//! A verdict is never better than what was seen. "Cannot tell" is not "yes".
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use kms_core::KeyId;
//! use kms_envelope::kubernetes::convergence::{Role, ServerMetrics, Tolerance, Verdict, key_id_hash};
//!
//! let target = KeyId::new("vault/etcd/2")?;
//! let hash = key_id_hash(&target);
//! let text = format!(
//!     "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds{{\
//!          key_id_hash=\"{hash}\",provider_name=\"vault\",transformation_type=\"to_storage\"}} 1.7e+09\n\
//!      apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{{\
//!          key_id_hash=\"{hash}\",provider_name=\"vault\"}} 1.7e+09\n"
//! );
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_020);
//! let servers = ServerMetrics::read(&text)?;
//! let judged = servers[0].judge("vault", &target, Role::Writer, now, &Tolerance::default());
//! assert_eq!(judged.verdict(), Verdict::Target);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exposition;
mod judgement;
mod metrics;

pub use judgement::{Judgement, Role, Tolerance, Verdict, judge_status};
pub use metrics::{KeyUse, KmsMetrics, ServerMetrics, key_id_hash};
