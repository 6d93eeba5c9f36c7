//! Where the state of a rotation is kept, as it stands on a command line.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;
use std::sync::Arc;

use kms_core::Clock;
use kms_core::object::{ObjectKey, ObjectStore};
use kms_core::state::{FileStateOptions, FileStateStore, ObjectStateStore, StateStore};

use crate::Failure;
use crate::cluster::ClusterSource;
use crate::cluster::own::ROTATIONS;

/// Where the state of a rotation is kept.
///
/// | argument | place |
/// |---|---|
/// | `file:PATH` | a file on this machine |
/// | `etcd`, `etcd:NAME` | the cluster's own etcd, under `/kms/rotation/NAME`; `default` if there is no name |
///
/// ```
/// use kms::rotation::StatePlace;
///
/// let place: StatePlace = "etcd".parse()?;
/// assert_eq!(place.to_string(), "etcd:default");
/// assert!("etcd:a/b".parse::<StatePlace>().is_err());
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatePlace(Kind);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    File(PathBuf),
    Etcd(String),
}

const MAX_NAME_LEN: usize = 63;

impl FromStr for StatePlace {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
        };
        match scheme {
            "file" if !rest.is_empty() => Ok(Self(Kind::File(rest.into()))),
            "etcd" if text == "etcd" => Ok(Self(Kind::Etcd("default".to_owned()))),
            "etcd"
                if !rest.is_empty() && rest.len() <= MAX_NAME_LEN && rest.bytes().all(is_plain) =>
            {
                Ok(Self(Kind::Etcd(rest.to_owned())))
            }
            "etcd" => Err(Failure::usage(
                "the name of a rotation is 1 to 63 of a to z, 0 to 9, `-` and `.`",
                "give etcd or etcd:NAME",
            )),
            _ => Err(Failure::usage(
                "the place of the state is of no known kind",
                "give file:PATH, etcd or etcd:NAME",
            )),
        }
    }
}

impl StatePlace {
    /// Whether it is in the cluster's etcd.
    #[must_use]
    pub const fn is_in_etcd(&self) -> bool {
        matches!(self.0, Kind::Etcd(_))
    }

    /// Opens it beside the objects of a cluster. Nothing is read yet.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); a snapshot is no etcd.
    pub fn open_beside(
        &self,
        source: Option<&ClusterSource>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        let etcd = match source {
            Some(ClusterSource::Etcd(etcd)) => Some(Arc::new(etcd.clone()) as Arc<dyn ObjectStore>),
            _ => None,
        };
        self.open(etcd, clock)
    }

    /// Opens it. Nothing is read yet.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if it is in etcd and there is none.
    pub fn open(
        &self,
        etcd: Option<Arc<dyn ObjectStore>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        match (&self.0, etcd) {
            (Kind::File(path), _) => {
                let options = FileStateOptions::new(clock);
                Ok(Arc::new(FileStateStore::new(path, options)))
            }
            (Kind::Etcd(name), Some(etcd)) => {
                let key = ObjectKey::new(format!("{ROTATIONS}{name}"))?;
                Ok(Arc::new(ObjectStateStore::new(etcd, key)))
            }
            (Kind::Etcd(_), None) => Err(Failure::usage(
                "the state is in etcd, and it is not said where that is",
                "give --etcd URL",
            )),
        }
    }
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) => write!(f, "file:{}", path.display()),
            Kind::Etcd(name) => write!(f, "etcd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in ["", "file:", "etcd:", "etcd:A", "etcd:a/../b", "s3:x"] {
            assert!(bad.parse::<StatePlace>().unwrap_err().is_usage(), "{bad}");
        }
        assert!(
            format!("etcd:{}", "a".repeat(64))
                .parse::<StatePlace>()
                .is_err()
        );
        assert_eq!(
            "file:a:b".parse::<StatePlace>().unwrap().to_string(),
            "file:a:b"
        );
    }
}
