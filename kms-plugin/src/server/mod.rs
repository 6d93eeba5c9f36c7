//! A KMS plugin over any [`KeyProvider`](kms_core::KeyProvider).
//!
//! KMS v2 is always served; KMS v1 (`v1beta1`) only when [`PluginBuilder::serve_v1beta1`] asks for
//! it, on the same socket, for data that an old cluster still has.
//!
//! # What Status answers
//!
//! kube-apiserver asks for `Status` once a minute and from its health endpoints. The answer comes
//! from memory; a background task asks the provider for its current key every
//! [`poll_interval`](PluginBuilder::poll_interval), and **proves** it, by wrapping 32 random bytes
//! and unwrapping them again, at the start, at each change of key and every
//! [`prove_interval`](PluginBuilder::prove_interval). `ok` is never said of a key that has not
//! passed this.
//!
//! | state of the provider | Status | Encrypt | Decrypt | health |
//! |---|---|---|---|---|
//! | not asked yet | waits for the first answer | the same | asks the provider | starting |
//! | failing since the start | error `UNAVAILABLE`, with the reason | asks again, else the reason | asks the provider | starting |
//! | works | `ok` and the key id | asks the provider | cache, else the provider | ready |
//! | failing for less than `degraded_after`, retryable | `ok` and the key id | asks the provider | cache, else the provider | ready |
//! | failing longer, or not retryable (no permission, key disabled) | key id; `healthz` says why | asks the provider | cache while retryable, else the provider | degraded |
//! | failing for longer than `failing_after` | error `UNAVAILABLE`, with the reason | asks the provider | as above | failing |
//! | Decrypt alone is failing | as when failing, from the next proof on | asks the provider | cache, else the error | as above |
//! | new key | the old key id until the new one is proven, then the new one | proves the new key at once, then answers under it | both keys | ready |
//! | a key id comes back that had been replaced | as when failing and not retryable | error `INTERNAL` | asks the provider | degraded, then failing |
//! | slow | from memory | error `DEADLINE_EXCEEDED` | cache, else the same | as when failing |
//!
//! Why an error in the end, and not a `healthz` text: kube-apiserver goes on writing for as long
//! as `Status` names the same key, whatever `healthz` says, and would pile up data under a key that
//! may be gone. An error makes it stop three minutes after the last good answer. Reads go on from
//! its own cache in both cases.
//!
//! # KMS v1
//!
//! KMS v1 keeps the ciphertext alone. So while it is served a proof also unwraps without the key
//! id; if that fails, `Status` says so as of any other failed proof. `Encrypt` of KMS v1 refuses,
//! with `UNIMPLEMENTED`, a wrapped key that has annotations: dropping them could lose what is
//! written. KMS v2 and reading over KMS v1 go on beside that.
//!
//! # Key ids
//!
//! `Encrypt` answers under the key that `Status` names, or kube-apiserver would throw its answer
//! away: if the provider wraps with another one, the new key is proven and taken over first, once
//! for all callers. A key id that was replaced is not taken back; a provider that rolls back gives
//! the old version a new id (see [`KeyId`](kms_core::KeyId)). This memory goes with the process and
//! holds the last 1,024 ids.
//!
//! # Errors
//!
//! | kind of the provider's error | gRPC status |
//! |---|---|
//! | `InvalidInput`, `Crypto` | `INVALID_ARGUMENT` |
//! | `KeyNotFound` (so a `Decrypt` of an unknown key id) | `NOT_FOUND` |
//! | `KeyDisabled`, `KeyExpired`, `KeyNotYetValid`, `KeyDestroyed` | `FAILED_PRECONDITION` |
//! | `PermissionDenied` | `PERMISSION_DENIED` |
//! | `Unauthenticated` | `UNAUTHENTICATED` |
//! | `Throttled` | `RESOURCE_EXHAUSTED` |
//! | `Unavailable` | `UNAVAILABLE` |
//! | `DeadlineExceeded` | `DEADLINE_EXCEEDED` |
//! | `Conflict` | `ABORTED` |
//! | `Compacted` | `OUT_OF_RANGE` |
//! | `Corrupt` | `DATA_LOSS` |
//! | `Unsupported` | `UNIMPLEMENTED` |
//! | `Io`, `Protocol`, `Internal` | `INTERNAL` |
//!
//! The message is the error and its remedy; a `Crypto` error always has the same text. The trailer
//! `kms-error-kind` names the kind and `kms-remedy-bin` the remedy, for the client of this crate. A failing `Status` is
//! `UNAVAILABLE` whatever the kind. What the provider answers is checked against kube-apiserver's
//! limits before it is sent, and is `INTERNAL`, naming the limit, if it is beyond them.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | one provider call | [`call_limit`](PluginBuilder::call_limit) (3 s), or the caller's `grpc-timeout` if that is shorter |
//! | message | 128 KiB |
//! | header list of a request | 16 KiB |
//! | connections | 64 at a time; more wait. One that has not finished its HTTP/2 handshake (preface and SETTINGS) after 10 s is closed |
//! | calls on one connection | 128 at a time; a request must be complete within twice the `call_limit` |
//! | `Encrypt` calls at the provider | 16 at a time; more wait for their deadline |
//! | `Decrypt` calls at the provider | [`max_unwraps`](PluginBuilder::max_unwraps) (32) at a time; up to 1,024 wait, more are `RESOURCE_EXHAUSTED` |
//!
//! # Unwrapped keys in memory
//!
//! Identical `Decrypt` calls at the same time are one provider call. Its answer is kept for
//! [`cache`](PluginBuilder::cache) (256 keys, 10 minutes), so that an API server that restarts or
//! reloads does not wait for the KMS once for each seed; kube-apiserver itself keeps seeds for a
//! day, so longer would add nothing. Kept keys are compared in full and wiped when they leave the
//! cache (within one poll interval of their end). `None` turns the cache off.
//!
//! A key that was disabled or destroyed must not be answered from memory. All kept keys are dropped
//! when the provider says that the current key or the permission is gone. After every successful
//! poll a provider that [describes keys](kms_core::Capabilities::describes_keys) is asked after each
//! other key id that something is kept of, and what is under a key that is disabled, destroyed or
//! unknown is dropped; so is what names no key (KMS v1), if any key went. Up to 32 key ids are asked
//! after, all at once; what is kept of more is dropped. What remains:
//!
//! - up to one `poll_interval`, and the time of the calls, between the change and the next poll;
//! - for as long as the provider cannot be reached, up to the `keep_for` of the cache: bridging
//!   that is what the cache is for;
//! - up to `keep_for` if the provider does not describe keys, or if nothing but KMS v1 is read;
//! - kube-apiserver's own cache, which keeps seeds for a day or longer and which no plugin can
//!   empty. Only a restart of every API server ends the use of a key at once.
//!
//! Plaintext is wiped in the provider's types, in the cache and in the messages. What remains
//! beyond our reach are copies in the buffers of the gRPC and HTTP/2 libraries, which are freed
//! unwiped, and in the kernel's socket buffers.
//!
//! # Logs
//!
//! Through `tracing`. Few lines, for every operator, have the target `kms_plugin::lifecycle`: at
//! `info` "listening", "ready" (the first proof), "key changed" and "recovered after failure"; at
//! `warn` a failure to confirm the current key, once when it begins and again when its kind or text
//! changes. A call that fails is a `warn` with the module's own target, each `Encrypt` and `Decrypt`
//! that does not a `debug`, with the `uid` that kube-apiserver logs too (KMS v1 has none). No log
//! line holds a secret.
//!
//! # Clients with the socket path as authority
//!
//! kube-apiserver 1.32 and later sends `:authority: localhost` with KMS v2. Earlier ones, and
//! every KMS v1 client, send the path of the socket (`/run/kms.sock` or `%2Frun%2Fkms.sock`), which
//! the HTTP/2 library refuses as malformed: the stream is reset with `PROTOCOL_ERROR`, other
//! streams go on. Use an **abstract socket** for them (`unix:///@kms`): the authority is then
//! `@kms`, which is accepted, if the name is made of letters, digits, dots and hyphens. All three
//! are tests of this crate.

mod builder;
mod calls;
mod engine;
mod greeting;
mod key_board;
mod serve;
mod service;
mod unwraps;

/// The target of the log lines that are for every operator.
const LIFECYCLE: &str = "kms_plugin::lifecycle";

pub use builder::{CacheOptions, Plugin, PluginBuilder, StatusVersion};
