//! Says whether a key in a vault can serve a cluster, and if not, why, and what to do.
//!
//! [`run`] looks at everything between this machine and an unwrapped key, in the order in which a
//! plugin meets it. It changes nothing: it reads the key, lists its versions, wraps 32 random bytes
//! and unwraps them. Run it where the plugin will run: another machine has another way to the
//! vault.
//!
//! | check | rows | fails if | warns if |
//! |---|---|---|---|
//! | `identity` | R8, R18 | it is system-assigned | it is a person's |
//! | `dns` | R7, R30 | the vault's name has no address | |
//! | `connection` | R9, R30 | no connection | |
//! | `tls` | | the certificate is not trusted | |
//! | `challenge` | | what answers is no vault, or one that asks for another service's token | |
//! | `token` | R18 | there is no token, or the vault refuses it | |
//! | `tenant` | R11 | vault and identity are of two tenants | |
//! | `firewall` | R9, R50 | the vault lets only selected networks in, and not this one | |
//! | `private_endpoint` | R30, R31, R32 | public access is off, and this is no private link | |
//! | `read` | R17, R19, R20, R70 | the identity may not read the key | |
//! | `key` | R7 | it does not exist, or is deleted | |
//! | `state` | R44 | it is disabled, expired or not yet valid | |
//! | `expiry` | R44 | | it ends soon |
//! | `type` | | it is an elliptic curve, or RSA of another size | |
//! | `operations` | R19 | it lacks an operation that is used | |
//! | `recovery` | R7 | a deleted key is gone at once | it can be purged |
//! | `versions` | | | they may not be listed, or a Managed HSM's bound of 100 is near |
//! | `wrap` | R19, R20, R31 | it is refused | it is refused, but done here without the vault |
//! | `unwrap` | R19, R20, R31 | it is refused, or gives other bytes | |
//! | `latency` | | 3 s or more: kube-apiserver waits no longer | 1 s or more: no time for a second try |
//! | `call_rate` | | the vault throttles | a restart of all API servers asks for more than is taken in 3 s |
//! | `aks_roles` | R20, R51 | never: only the control plane knows | |
//! | `aks_view` | R43 | never: only the control plane knows | |
//!
//! What only the control plane knows is `unknown`, with the `az` command that tells, unless the
//! vault's own refusal shows it. What cannot be checked after a failure is `skipped`, with the
//! check it waits for. Evidence holds numbers, codes and names, and no secret or token.
//!
//! An expired key still unwraps, so a cluster goes on reading: if the key is RSA, that is proven
//! with bytes wrapped here by its public half.

mod challenge;
mod check;
mod claims;
mod commands;
mod examination;
mod key;
mod network;
mod options;
mod rate;
mod report;
mod trial;
mod usage;

pub use check::{CheckId, Status};
pub use options::{Caller, DoctorOptions};
pub use report::{Check, Report, Summary};

/// Examines a key. Never fails: what goes wrong is in the report.
///
/// Must be called within a tokio runtime. Takes as long as about ten calls to the vault, each of
/// which is given up after 10 s.
///
/// ```no_run
/// # async fn example(clock: std::sync::Arc<dyn kms_core::Clock>) -> Result<(), kms_core::Error> {
/// use kms_azure::credential::Identity;
/// use kms_azure::doctor::{Caller, DoctorOptions, run};
///
/// let key = "https://kv1.vault.azure.net/keys/etcd".parse()?;
/// let identity = Identity::managed("01234567-89ab-cdef-0123-456789abcdef")?;
/// let report = run(DoctorOptions::new(key, Caller::Identity(identity), clock)).await;
/// assert!(!report.summary.has_failed(), "{report}");
/// # Ok(())
/// # }
/// ```
pub async fn run(options: DoctorOptions) -> Report {
    examination::Examination::new(options).run().await
}
