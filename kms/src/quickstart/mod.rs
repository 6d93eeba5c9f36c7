//! The main job from beginning to end, on embedded defaults.
//!
//! A keyring is made and served as a KMS v2 plugin on a socket. Through that socket this process
//! plays kube-apiserver: Status, one Encrypt of a seed, and then each Secret under a key of its own,
//! in an object store in memory. Values that a real kube-apiserver wrote are opened as well. Then
//! the key is rotated and a driver carries that through: it waits for the plugin, re-encrypts, and counts
//! until nothing needs the old key, which is then retired on that evidence and switched off.

mod recorded;
mod replay;
mod report;
mod scenario;
mod secret;
mod tally;

use std::path::PathBuf;

pub use report::Progress;
pub use scenario::run;

/// What quickstart should do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuickstartOptions {
    /// Where to work: a directory that is new or empty, and stays. Otherwise a temporary one is
    /// made and removed.
    pub dir: Option<PathBuf>,
    /// How many Secrets to store.
    pub secrets: u32,
}

impl QuickstartOptions {
    /// The options as the command line gives them.
    #[must_use]
    pub const fn new(dir: Option<PathBuf>, secrets: u32) -> Self {
        Self { dir, secrets }
    }
}
