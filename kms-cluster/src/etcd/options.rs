//! How to reach an etcd.

use core::fmt;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::Arc;

use kms_core::object::ObjectKey;
use kms_core::text::one_line;
use kms_core::{Clock, Error, ErrorKind, SecretBytes, TokioClock};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::status::MAX_TEXT_LEN;

/// How often a connection in use is asked for a sign of life, and how long it may take to give
/// one. etcd closes connections that ask more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(5);
/// What may be on its way to us unread, in bytes: of one answer, and of all on one connection.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// How to reach an etcd, and how long to wait for it.
#[derive(Debug)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// Members of one cluster, as `https://host:2379`. `http://` is for tests: values, and a
    /// password, cross the network in clear.
    pub endpoints: Vec<String>,
    /// How to tell etcd from an impostor, and who we are. Needed for `https://`.
    pub tls: Option<EtcdTls>,
    /// Who we are, if etcd asks for a password.
    pub user: Option<EtcdUser>,
    /// The longest one call may take, in which it may try every endpoint several times. 30 s. A
    /// deadline in the call's own options may shorten it.
    pub timeout: Duration,
    /// The longest one attempt to connect to one endpoint may take. 3 s.
    pub connect_timeout: Duration,
    /// The longest answer that is taken, in bytes: 32 MiB. Must be more than the largest object
    /// in the cluster, of which etcd takes 1.5 MiB unless it is told otherwise.
    pub max_message_len: usize,
    /// A key that is read to learn the newest revision. It need not exist. A user who may not
    /// read all keys needs one here that they may read. `/registry/`.
    pub identity_key: ObjectKey,
    /// What reading history holds of keys whose last change is older than the revision that was
    /// compacted to, in bytes: 16 MiB. With less it takes more passes over the keys.
    pub history_window_bytes: usize,
    /// The clock that callers' deadlines are ticks of.
    pub clock: Arc<dyn Clock>,
}

impl EtcdOptions {
    /// The default options for these endpoints.
    ///
    /// # Errors
    ///
    /// None as things are; the default identity key is checked as any key is.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        Ok(Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            user: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            max_message_len: 32 * 1024 * 1024,
            identity_key: ObjectKey::new("/registry/")?,
            history_window_bytes: 16 * 1024 * 1024,
            clock: Arc::new(TokioClock::new()),
        })
    }

    /// Sets how to tell etcd from an impostor, and who we are.
    #[must_use]
    pub fn with_tls(mut self, tls: EtcdTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets who we are.
    #[must_use]
    pub fn with_user(mut self, user: EtcdUser) -> Self {
        self.user = Some(user);
        self
    }

    /// Sets the longest one call may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the longest one attempt to connect may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest answer that is taken, in bytes.
    #[must_use]
    pub const fn with_max_message_len(mut self, bytes: usize) -> Self {
        self.max_message_len = bytes;
        self
    }

    /// Sets the key that is read to learn the newest revision.
    #[must_use]
    pub fn with_identity_key(mut self, key: ObjectKey) -> Self {
        self.identity_key = key;
        self
    }

    /// Sets what reading history holds of keys, in bytes.
    #[must_use]
    pub const fn with_history_window_bytes(mut self, bytes: usize) -> Self {
        self.history_window_bytes = bytes;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// How to tell etcd from an impostor, and who we are: certificates and a key, as PEM.
///
/// No certificate authority of the system is trusted: a cluster's etcd has one of its own, which
/// kubeadm keeps in `/etc/kubernetes/pki/etcd/ca.crt`.
pub struct EtcdTls {
    authority: Vec<u8>,
    client: Option<(Vec<u8>, SecretBytes)>,
    server_name: Option<String>,
}

impl EtcdTls {
    /// Trusts etcds whose certificate one of these authorities has signed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no certificate in it.
    pub fn new(authority_pem: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let authority = authority_pem.into();
        check_certificates(&authority, "the file of etcd's certificate authority")?;
        Ok(Self {
            authority,
            client: None,
            server_name: None,
        })
    }

    /// Shows etcd this certificate, with its private key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is no certificate in it. Whether the key fits is seen
    /// when connecting.
    pub fn with_client(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: SecretBytes,
    ) -> Result<Self, Error> {
        let certificate = certificate_pem.into();
        check_certificates(&certificate, "the file of the client certificate")?;
        self.client = Some((certificate, key_pem));
        Ok(self)
    }

    /// Sets the name that etcd's certificate must have, if it is not the endpoint's.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    fn to_config(&self) -> ClientTlsConfig {
        let mut config =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        if let Some((certificate, key)) = &self.client {
            config = config.identity(Identity::from_pem(certificate, key.expose()));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        config
    }
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls")
            .field("has_client_certificate", &self.client.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The transport below would take a file without certificates and then trust nobody.
fn check_certificates(pem: &[u8], what: &str) -> Result<(), Error> {
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        certificate.map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{what} is not PEM: {error}"),
            )
        })?;
        count = count.saturating_add(1);
    }
    if count == 0 {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{what} holds no certificate in PEM"),
        ));
    }
    Ok(())
}

/// A user of etcd and their password.
///
/// The password is wiped on drop and never printed. Copies of it that the gRPC and TLS libraries
/// make to send it are out of reach; so are those of the token that etcd gives for it.
#[derive(Debug)]
pub struct EtcdUser {
    name: String,
    password: SecretBytes,
}

impl EtcdUser {
    /// A user and their password.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the name is empty, or the password is not UTF-8.
    pub fn new(name: impl Into<String>, password: SecretBytes) -> Result<Self, Error> {
        let name = name.into();
        let fault = if name.is_empty() {
            "the name of the etcd user is empty"
        } else if core::str::from_utf8(password.expose()).is_err() {
            "the password of the etcd user is not UTF-8"
        } else {
            return Ok(Self { name, password });
        };
        Err(Error::new(ErrorKind::InvalidInput, fault))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn password(&self) -> &str {
        // It was checked when it was taken.
        core::str::from_utf8(self.password.expose()).unwrap_or_default()
    }
}

/// One member: what it is called, and a connection to it that is made when it is needed, and made
/// again when it breaks.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) channel: Channel,
    /// Whether an answer has shown that it is of the cluster.
    pub(super) is_known: AtomicBool,
}

impl EtcdOptions {
    pub(super) fn members(&self) -> Result<Vec<Member>, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "there is no endpoint of etcd",
            ));
        }
        self.endpoints
            .iter()
            .map(|text| self.member(text))
            .collect()
    }

    fn member(&self, text: &str) -> Result<Member, Error> {
        let (name, is_tls) = check_endpoint(text)?;
        let refuse = |error: tonic::transport::Error| {
            let cause = core::error::Error::source(&error).map_or_else(String::new, |cause| {
                format!(": {}", one_line(&cause.to_string(), MAX_TEXT_LEN))
            });
            Error::new(
                ErrorKind::InvalidInput,
                format!("etcd endpoint {name}: {error}{cause}"),
            )
        };
        let mut endpoint = Endpoint::from_shared(name.clone())
            .map_err(refuse)?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        match &self.tls {
            Some(tls) if is_tls => {
                endpoint = endpoint.tls_config(tls.to_config()).map_err(refuse)?;
            }
            None if is_tls => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("etcd endpoint {name}: there is no certificate authority for it"),
                )
                .with_remedy(
                    "give the certificate of the authority that signed etcd's, as PEM; kubeadm \
                     keeps it in /etc/kubernetes/pki/etcd/ca.crt",
                ));
            }
            _ => {}
        }
        Ok(Member {
            name,
            channel: endpoint.connect_lazy(),
            is_known: AtomicBool::new(false),
        })
    }
}

/// The endpoint without a slash at its end, and whether it speaks TLS.
fn check_endpoint(text: &str) -> Result<(String, bool), Error> {
    // Not shown: it may be a password that does not parse.
    let refuse = |fault: &str| {
        Err(
            Error::new(ErrorKind::InvalidInput, format!("an etcd endpoint {fault}"))
                .with_remedy("give each endpoint as https://host:port"),
        )
    };
    let Ok(uri) = text.parse::<http::Uri>() else {
        return refuse("is not a URL");
    };
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return refuse("has neither https:// nor http://"),
    };
    let Some(authority) = uri.authority() else {
        return refuse("has no host");
    };
    if authority.as_str().contains('@') {
        return refuse("holds a user or password, which belong elsewhere");
    }
    if authority.host().is_empty() {
        return refuse("has no host");
    }
    if authority.port_u16().is_none() {
        return refuse("has no port; etcd's is 2379");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return refuse("has a path");
    }
    let scheme = if is_tls { "https" } else { "http" };
    Ok((format!("{scheme}://{authority}"), is_tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        assert_eq!(
            check_endpoint("https://etcd-1.example:2379/").unwrap(),
            ("https://etcd-1.example:2379".to_owned(), true)
        );
        assert_eq!(
            check_endpoint("http://[::1]:2379").unwrap(),
            ("http://[::1]:2379".to_owned(), false)
        );
        for bad in [
            "",
            "etcd-1:2379",
            "//etcd-1:2379",
            "ftp://etcd-1:2379",
            "https://etcd-1",
            "https://:2379",
            "https://etcd-1:2379/v3",
            "https://etcd-1:2379/?a=b",
            "https://root:hunter2@etcd-1:2379",
            "https://root:hunter2@",
            "https://etcd 1:2379",
        ] {
            let error = check_endpoint(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn tls_is_never_left_out_in_silence() {
        let options = EtcdOptions::new(["https://127.0.0.1:1"]).unwrap();
        let error = options.members().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.remedy().contains("ca.crt"), "{}", error.remedy());
        assert!(EtcdOptions::new([""; 0]).unwrap().members().is_err());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        for bad in ["", "not PEM", "-----BEGIN CERTIFICATE-----\n???\n"] {
            let error = EtcdTls::new(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let password = SecretBytes::copy_from_slice(b"hunter2");
        let user = EtcdUser::new("root", password).unwrap();
        let options = EtcdOptions::new(["http://127.0.0.1:1"])
            .unwrap()
            .with_user(user);
        let text = format!("{options:?}");
        assert!(text.contains("root") && !text.contains("hunter2"), "{text}");
        let not_text = SecretBytes::copy_from_slice(b"\xff");
        assert!(EtcdUser::new("root", not_text).is_err());
        assert!(EtcdUser::new("", SecretBytes::copy_from_slice(b"x")).is_err());
    }
}
