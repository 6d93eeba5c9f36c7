//! Which API server, and who we are to it.

use core::fmt;
use std::path::PathBuf;

use kms_core::{Error, ErrorKind, SecretBytes};
use reqwest::Url;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use super::exec::ExecPlugin;
use super::file::MAX_CREDENTIAL_LEN;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MAX_AUTHORITY_LEN: usize = 1 << 20;
/// What may be said of a user, in bytes.
const MAX_NAME_LEN: usize = 1024;

/// Which API server, how to tell it from an impostor, and who we are to it.
///
/// From a [`Kubeconfig`](super::Kubeconfig), from a pod's
/// [service account](Self::in_cluster), or put together by hand. `Display` is the server's URL.
/// Secrets are wiped on drop and never printed.
///
/// ```
/// use kms_cluster::api::ApiTarget;
/// use kms_core::SecretBytes;
///
/// let token = SecretBytes::copy_from_slice(b"hunter2");
/// let target = ApiTarget::new("https://demo.example:6443")?.with_token(token)?;
/// assert!(!format!("{target:?}").contains("hunter2"));
/// assert!(ApiTarget::new("http://demo.example:8080").is_err());
/// # Ok::<(), kms_core::Error>(())
/// ```
pub struct ApiTarget {
    pub(super) server: Url,
    /// `None`: what this machine trusts.
    pub(super) authorities: Option<Vec<CertificateDer<'static>>>,
    pub(super) tls_server_name: Option<String>,
    pub(super) skips_verification: bool,
    /// May hold a password.
    pub(super) proxy: Option<Zeroizing<String>>,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) login: Login,
    pub(super) impersonation: Option<Impersonation>,
}

/// How we prove who we are, besides a client certificate.
pub(super) enum Login {
    Nothing,
    Token(SecretBytes),
    TokenFile(PathBuf),
    Exec(ExecPlugin),
}

/// A client certificate, and its key as PEM.
pub(super) struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key_pem: SecretBytes,
}

/// Whom we act for.
#[derive(Clone, Debug)]
pub(super) struct Impersonation {
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
}

impl ApiTarget {
    /// A server, of which nothing else is known yet. It is trusted if this machine trusts it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not an `https://` URL, or holds a user, a query or a
    /// fragment.
    pub fn new(server: &str) -> Result<Self, Error> {
        let url = Url::parse(server)
            .map_err(|_| invalid("the URL of the API server cannot be read"))
            .map_err(|error| error.with_remedy("write https://HOST:PORT"))?;
        let fault = if url.scheme() != "https" {
            "the API server is not reached by https://, so that a token would be seen on its way"
        } else if !url.has_host() {
            "the URL of the API server has no host"
        } else if !url.username().is_empty() || url.password().is_some() {
            "the URL of the API server holds a user"
        } else if url.query().is_some() || url.fragment().is_some() {
            "the URL of the API server has a query or a fragment"
        } else {
            return Ok(Self {
                server: url,
                authorities: None,
                tls_server_name: None,
                skips_verification: false,
                proxy: None,
                certificate: None,
                login: Login::Nothing,
                impersonation: None,
            });
        };
        Err(invalid(fault).with_remedy("write https://HOST:PORT"))
    }

    /// The server of the cluster that this pod runs in, and the pod's service account, whose token
    /// is read again as it is renewed.
    ///
    /// `host` and `port` are what the environment has as `KUBERNETES_SERVICE_HOST` and
    /// `KUBERNETES_SERVICE_PORT`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if they are no host and port; [`ErrorKind::Io`] if the service
    /// account's files are not there.
    pub fn in_cluster(host: &str, port: &str) -> Result<Self, Error> {
        Self::of_service_account(host, port, SERVICE_ACCOUNT.into())
    }

    fn of_service_account(host: &str, port: &str, folder: PathBuf) -> Result<Self, Error> {
        let port: u16 = port
            .parse()
            .map_err(|_| invalid("KUBERNETES_SERVICE_PORT is not a port"))?;
        let server = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        let authority = super::file::read(
            &folder.join("ca.crt"),
            MAX_AUTHORITY_LEN,
            "the certificate authority of the service account",
        )?;
        let token = folder.join("token");
        // A fault that shows now is better than one in the middle.
        super::file::read(
            &token,
            MAX_CREDENTIAL_LEN,
            "the token of the service account",
        )?;
        Ok(Self::new(&server)?
            .with_authority_pem(&authority)?
            .with_token_file(token))
    }

    /// Trusts the certificate authorities of this PEM text, and no other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no certificate in it.
    pub fn with_authority_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.authorities = Some(certificates(pem)?);
        Ok(self)
    }

    /// Sets the name that the server's certificate must have, if it is not the URL's. It is sent
    /// as SNI, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not a DNS name.
    pub fn with_tls_server_name(mut self, name: &str) -> Result<Self, Error> {
        match ServerName::try_from(name) {
            Ok(ServerName::DnsName(_)) => {
                self.tls_server_name = Some(name.to_owned());
                Ok(self)
            }
            _ => Err(invalid("the TLS server name is not a DNS name")),
        }
    }

    /// Goes through this HTTP proxy, such as `http://proxy:3128`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not a URL; [`ErrorKind::Unsupported`] if it is neither
    /// `http://` nor `https://`.
    pub fn with_proxy(mut self, url: &str) -> Result<Self, Error> {
        let scheme = Url::parse(url)
            .map(|url| url.scheme().to_owned())
            .map_err(|_| invalid("the URL of the proxy cannot be read"))?;
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the proxy is neither http:// nor https://",
            )
            .with_remedy("use an HTTP proxy that knows CONNECT"));
        }
        self.proxy = Some(Zeroizing::new(url.to_owned()));
        Ok(self)
    }

    /// Trusts whoever answers. [`ApiOptions`](super::ApiOptions) must allow it, too.
    #[must_use]
    pub const fn without_tls_verification(mut self) -> Self {
        self.skips_verification = true;
        self
    }

    /// Shows this certificate, with its private key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no certificate or no key in it. Whether they fit is
    /// seen when the client is made.
    pub fn with_client_certificate(
        mut self,
        certificate_pem: &[u8],
        key_pem: SecretBytes,
    ) -> Result<Self, Error> {
        self.certificate = Some(ClientCertificate::new(certificate_pem, key_pem)?);
        Ok(self)
    }

    /// Sends this token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it cannot stand in a header.
    pub fn with_token(mut self, token: SecretBytes) -> Result<Self, Error> {
        self.login = Login::Token(check_token(token)?);
        Ok(self)
    }

    /// Sends the token of this file, which is read again every minute, and whenever the server
    /// refuses the old one.
    #[must_use]
    pub fn with_token_file(mut self, path: PathBuf) -> Self {
        self.login = Login::TokenFile(path);
        self
    }

    /// Logs in with what a plugin gives.
    #[must_use]
    pub fn with_exec(mut self, plugin: ExecPlugin) -> Self {
        self.login = Login::Exec(plugin);
        self
    }

    pub(super) fn with_impersonation(mut self, whom: Impersonation) -> Result<Self, Error> {
        let names = whom.groups.iter().chain(&whom.uid).chain([&whom.user]);
        for name in names {
            let is_fit = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(is_fit) {
                return Err(invalid(
                    "a name to act for is not 1 to 1024 printable ASCII bytes",
                ));
            }
        }
        self.impersonation = Some(whom);
        Ok(self)
    }
}

impl ClientCertificate {
    pub(super) fn new(certificate_pem: &[u8], key_pem: SecretBytes) -> Result<Self, Error> {
        PrivateKeyDer::from_pem_slice(key_pem.expose())
            .map_err(|_may_show_it| invalid("there is no private key in PEM"))?;
        Ok(Self {
            chain: certificates(certificate_pem)?,
            key_pem,
        })
    }
}

/// A token as it may stand in a header. White space around it is not part of it.
pub(super) fn check_token(token: SecretBytes) -> Result<SecretBytes, Error> {
    let text = token.expose().trim_ascii();
    let fault = if text.is_empty() {
        "the token is empty"
    } else if text.len() > MAX_CREDENTIAL_LEN {
        "the token is over 65536 bytes"
    } else if !text.iter().all(u8::is_ascii_graphic) {
        "the token holds what cannot stand in a header"
    } else if text.len() == token.len() {
        return Ok(token);
    } else {
        return Ok(SecretBytes::copy_from_slice(text));
    };
    Err(Error::new(ErrorKind::InvalidInput, fault))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| invalid("a certificate is not PEM"))?;
    if found.is_empty() {
        return Err(invalid("there is no certificate in PEM"));
    }
    Ok(found)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl fmt::Display for ApiTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.server.as_str().trim_end_matches('/'))
    }
}

/// Without secrets, and without a proxy's URL, which may hold a password.
impl fmt::Debug for ApiTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTarget")
            .field("server", &self.server.as_str())
            .field("has_authorities", &self.authorities.is_some())
            .field("tls_server_name", &self.tls_server_name)
            .field("skips_verification", &self.skips_verification)
            .field("has_proxy", &self.proxy.is_some())
            .field("has_client_certificate", &self.certificate.is_some())
            .field("login", &self.login)
            .field("impersonation", &self.impersonation)
            .finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Token(_) => f.write_str("token"),
            Self::TokenFile(path) => write!(f, "token file {}", path.display()),
            Self::Exec(plugin) => fmt::Debug::fmt(plugin, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_service_account_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let make = |host: &str, port: &str| {
            ApiTarget::of_service_account(host, port, folder.path().to_owned())
        };
        assert_eq!(make("10.0.0.1", "443").unwrap_err().kind(), ErrorKind::Io);
        let authority = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.crt"), authority.cert.pem()).unwrap();
        std::fs::write(folder.path().join("token"), "hunter2\n").unwrap();
        let target = make("10.0.0.1", "443").unwrap();
        assert_eq!(target.to_string(), "https://10.0.0.1");
        assert!(matches!(target.login, Login::TokenFile(_)));
        assert_eq!(
            make("fd00::1", "6443").unwrap().to_string(),
            "https://[fd00::1]:6443"
        );
        assert_eq!(
            make("10.0.0.1", "x").unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_token_can_stand_in_a_header() {
        for (bad, kind) in [
            ("", "empty"),
            (" \n", "empty"),
            ("a\nb", "header"),
            ("ä", "header"),
        ] {
            let token = SecretBytes::copy_from_slice(bad.as_bytes());
            let error = check_token(token).unwrap_err();
            assert!(error.message().contains(kind), "{bad:?}: {error}");
        }
        let token = check_token(SecretBytes::copy_from_slice(b" abc\n")).unwrap();
        assert_eq!(token.expose(), b"abc");
    }

    #[test]
    fn servers_are_https_and_hold_no_user() {
        for bad in [
            "demo.example:6443",
            "http://demo.example",
            "https://",
            "https://u:p@demo.example",
            "https://demo.example/?a",
            "https://demo.example/#a",
            "unix:///a",
        ] {
            let error = ApiTarget::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        }
        let target = ApiTarget::new("https://rancher.example/k8s/clusters/c-1/").unwrap();
        assert_eq!(
            target.to_string(),
            "https://rancher.example/k8s/clusters/c-1"
        );
    }
}
