//! Who hands out tokens.

use core::fmt;
use std::sync::Arc;

use kms_core::{Error, ErrorKind};

use crate::key_url::Cloud;

/// The token service of a cloud, such as `https://login.microsoftonline.com`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority(Arc<str>);

impl Authority {
    /// The one of a cloud; for [`Cloud::Custom`] the public one, since a host name does not tell.
    #[must_use]
    pub fn of(cloud: Cloud) -> Self {
        Self(
            match cloud {
                Cloud::China => "https://login.chinacloudapi.cn",
                Cloud::UsGovernment => "https://login.microsoftonline.us",
                Cloud::Germany => "https://login.microsoftonline.de",
                Cloud::Public | Cloud::Custom => "https://login.microsoftonline.com",
            }
            .into(),
        )
    }

    /// One given as a URL of scheme `https`, with nothing behind its host or port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not that.
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let host = url.strip_prefix("https://").filter(|host| {
            (1..=260).contains(&host.len())
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
        });
        match host {
            Some(_) => Ok(Self(url.into())),
            None => Err(Error::new(
                ErrorKind::InvalidInput,
                "the authority is not https://HOST",
            )),
        }
    }

    /// The URL, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host() {
        for good in ["https://login.example", "https://login.example:8443/"] {
            assert_eq!(
                Authority::new(good).unwrap().as_str(),
                good.trim_end_matches('/')
            );
        }
        for bad in [
            "",
            "https://",
            "http://login.example",
            "https://user@login.example",
            "https://login.example/tenant",
            "https://login.example?x",
        ] {
            assert!(Authority::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_cloud_has_one() {
        for cloud in [
            Cloud::Public,
            Cloud::China,
            Cloud::UsGovernment,
            Cloud::Germany,
            Cloud::Custom,
        ] {
            let authority = Authority::of(cloud);
            assert_eq!(Authority::new(authority.as_str()).unwrap(), authority);
        }
    }
}
