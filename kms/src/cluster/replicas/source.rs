//! What can be asked, as it stands on a command line.

use core::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use kms_plugin::socket::SocketAddress;
use reqwest::Url;

use crate::Failure;
use crate::provider::parse_address;

/// One thing to ask: the socket of a plugin, or the metrics of an API server.
///
/// A name in front, `NAME=`, says which replica it is about; what is about one replica is judged
/// together and counted once. A name holds letters, digits, `.`, `-` and `_`. Without one, each
/// plugin is a replica of its own, and so is each server that the metrics tell of.
#[derive(Clone, Debug)]
pub struct ReplicaSource {
    pub(super) name: Option<String>,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Plugin(SocketAddress),
    File(PathBuf),
    Url(Url),
}

impl ReplicaSource {
    /// A plugin: `unix:PATH`, `unix:@NAME`, with or without `NAME=` in front.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if it is no address of a socket.
    pub fn plugin(text: &str) -> Result<Self, Failure> {
        let (name, address) = split_name(text);
        Ok(Self {
            name,
            place: Place::Plugin(parse_address(address)?),
        })
    }

    /// Metrics: `https://HOST:PORT`, of which `/metrics` is asked unless it has a path;
    /// `http://` for this machine alone, as `kubectl proxy` serves it; or a file, `-` for standard
    /// input. With or without `NAME=` in front.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] for a URL that is none, has a user in it, or would be asked without
    /// TLS over a network.
    pub fn metrics(text: &str) -> Result<Self, Failure> {
        let (name, place) = split_name(text);
        let place = if place.contains("://") {
            Place::Url(metrics_url(place)?)
        } else if place.is_empty() {
            return Err(Failure::usage(
                "the metrics are an empty path",
                "give a file or a URL",
            ));
        } else {
            Place::File(place.into())
        };
        Ok(Self { name, place })
    }
}

fn split_name(text: &str) -> (Option<String>, &str) {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    match text.split_once('=') {
        Some((name, rest)) if is_name(name) => (Some(name.to_owned()), rest),
        _ => (None, text),
    }
}

fn metrics_url(text: &str) -> Result<Url, Failure> {
    // The text may hold a password: it is not repeated.
    let refuse = |what: &str| {
        Failure::usage(
            format!("the URL of the metrics {what}"),
            "give https://HOST:PORT, a file, or http://127.0.0.1:8001 while `kubectl proxy` runs",
        )
    };
    let mut url: Url = text.parse().map_err(|_| refuse("is none"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("holds a user; a token is given as a file"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        "http" => return Err(refuse("goes over a network without TLS")),
        _ => return Err(refuse("is neither https nor http")),
    }
    if url.path() == "/" {
        url.set_path("/metrics");
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    })
}

/// Without the name.
impl fmt::Display for ReplicaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Plugin(address) => fmt::Display::fmt(address, f),
            Place::File(path) => fmt::Display::fmt(&path.display(), f),
            Place::Url(url) => f.write_str(url.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_front() {
        for (text, name, place) in [
            ("unix:/a", None, "unix:///a"),
            ("cp-1=unix:/a", Some("cp-1"), "unix:///a"),
        ] {
            let source = ReplicaSource::plugin(text).unwrap();
            assert_eq!(source.name.as_deref(), name);
            assert_eq!(source.to_string(), place);
        }
        for (text, name, place) in [
            ("a/b=c", None, "a/b=c"),
            ("=c", None, "=c"),
            ("cp.1=c=d", Some("cp.1"), "c=d"),
            ("https://h:6443", None, "https://h:6443/metrics"),
            ("x=https://h/a?b=c", Some("x"), "https://h/a?b=c"),
            (
                "http://127.0.0.1:8001",
                None,
                "http://127.0.0.1:8001/metrics",
            ),
            ("http://[::1]/m", None, "http://[::1]/m"),
        ] {
            let source = ReplicaSource::metrics(text).unwrap();
            assert_eq!(source.name.as_deref(), name, "{text}");
            assert_eq!(source.to_string(), place, "{text}");
        }
    }

    #[test]
    fn what_would_cross_a_network_in_clear_is_refused() {
        for text in [
            "http://10.0.0.1:8080",
            "http://127.0.0.1.example/",
            "https://u:secret@h/",
            "ftp://h/",
            "https://",
            "",
            "a=",
        ] {
            let failure = ReplicaSource::metrics(text).unwrap_err();
            assert!(failure.is_usage(), "{text}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
        assert!(ReplicaSource::plugin("cp-1=/a").unwrap_err().is_usage());
    }
}
