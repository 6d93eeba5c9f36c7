//! A plugin, any vendor's, as a [`KeyProvider`](kms_core::KeyProvider).
//!
//! [`V2Client`] and [`V1Beta1Client`] speak as kube-apiserver does: over a Unix socket, in the
//! clear, with the authority `localhost`; they connect when first called, wait within the deadline
//! for a plugin that is not there yet, and connect again after it has restarted. What a plugin
//! answers is bounded and checked against kube-apiserver's limits; an answer beyond them is
//! [`ErrorKind::Protocol`](kms_core::ErrorKind::Protocol).
//!
//! A call that fails in transport is made again until its deadline: the three calls change nothing
//! at the plugin, so a second one does no harm. What the plugin itself answers is final. So is a
//! socket that is not there (`ENOENT`), or that the operating system does not let us use (`EACCES`,
//! `EPERM`), for half a second: a plugin that is restarted has made its socket again by then, and
//! one that is not running is not worth the whole time. A socket that is there and refuses
//! connections is waited for until the deadline.
//!
//! # Errors
//!
//! | gRPC status of the plugin | kind |
//! |---|---|
//! | any, with the trailer `kms-error-kind` of this crate's server | the kind it names |
//! | `INVALID_ARGUMENT` to `Decrypt` (the limits were checked before) | `Crypto` |
//! | `INVALID_ARGUMENT` else, `OUT_OF_RANGE` | `InvalidInput` |
//! | `NOT_FOUND` | `KeyNotFound` |
//! | `FAILED_PRECONDITION` | `KeyDisabled` |
//! | `PERMISSION_DENIED` | `PermissionDenied` |
//! | `UNAUTHENTICATED` | `Unauthenticated` |
//! | `RESOURCE_EXHAUSTED` | `Throttled` |
//! | `UNAVAILABLE`, `CANCELLED`, or no connection by the deadline | `Unavailable` |
//! | `DEADLINE_EXCEEDED`, or no answer by the deadline | `DeadlineExceeded` |
//! | `ABORTED`, `ALREADY_EXISTS` | `Conflict` |
//! | `DATA_LOSS` | `Corrupt` |
//! | `UNIMPLEMENTED` | `Unsupported`: the plugin does not serve this version of the API |
//! | no socket at the address for 0.5 s | `Unavailable` |
//! | the socket may not be used, for 0.5 s | `PermissionDenied` |
//! | `UNKNOWN`, `INTERNAL`: what plugins in Go return for any error | `Internal`, with the remedy to read the plugin's log |
//! | `OK` without a message | `Protocol` |
//!
//! The plugin's text becomes the message, cut at 768 bytes and freed of control characters. The
//! remedy is the one that this crate's server sent (trailer `kms-remedy-bin`, cut at 512 bytes), else
//! that of the kind.
//!
//! # Secrets
//!
//! Keys are wiped in this crate's types and messages. Copies in the buffers of the gRPC and HTTP/2
//! libraries and in the kernel's socket buffers are freed unwiped.

mod link;
mod v1beta1;
mod v2;

pub use link::ClientOptions;
pub use v1beta1::V1Beta1Client;
pub use v2::V2Client;
