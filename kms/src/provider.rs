//! Provider URIs: how a key provider is named on a command line.

use core::fmt;
use core::str::FromStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_core::local::{LocalOptions, LocalProvider};
use kms_core::{Clock, KeyId, KeyProvider, SecretBytes};
use kms_envelope::kubernetes::{KmsApiVersion, KmsConfiguration};
use kms_plugin::client::{ClientOptions, V1Beta1Client, V2Client};
use kms_plugin::socket::SocketAddress;

use crate::{Failure, read_secret};

/// Names a key provider.
///
/// | URI | provider |
/// |---|---|
/// | `local:PATH` | an embedded keyring file ([`kms_core::local`]) |
/// | `local:PATH?passphrase-file=FILE` | one with a passphrase: the first line of `FILE` |
/// | `unix:PATH`, `unix:@NAME` | any KMS plugin behind a socket ([`kms_plugin::client`]) |
/// | `static:KEYID=HEX32[,…]` | keys on the command line; only with the feature `testing` |
///
/// ```
/// use kms::provider::ProviderUri;
///
/// let uri: ProviderUri = "local:/var/lib/kms/keyring.json".parse()?;
/// assert_eq!(uri.to_string(), "local:/var/lib/kms/keyring.json");
/// assert!("s3:bucket".parse::<ProviderUri>().is_err());
/// # Ok::<(), kms::Failure>(())
/// ```
#[derive(Debug)]
pub struct ProviderUri(Kind);

enum Kind {
    Local(LocalUri),
    Socket(SocketAddress),
    #[cfg(feature = "testing")]
    Static(kms_testkit::StaticProvider),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(uri) => fmt::Debug::fmt(uri, f),
            Self::Socket(address) => fmt::Debug::fmt(address, f),
            #[cfg(feature = "testing")]
            Self::Static(_) => f.write_str("static"),
        }
    }
}

/// A keyring file and how it is protected.
#[derive(Clone, Debug)]
pub struct LocalUri {
    path: PathBuf,
    passphrase_file: Option<PathBuf>,
}

const PASSPHRASE_FILE: &str = "passphrase-file";
/// Longer passphrases are keys, and a file of such a length is a mistake.
const MAX_PASSPHRASE_FILE: usize = 4096;

impl FromStr for ProviderUri {
    type Err = Failure;

    fn from_str(uri: &str) -> Result<Self, Failure> {
        let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
        match scheme {
            "local" => LocalUri::parse(rest).map(|local| Self(Kind::Local(local))),
            "unix" => parse_address(uri).map(|address| Self(Kind::Socket(address))),
            #[cfg(feature = "testing")]
            "static" => rest
                .parse()
                .map(|keys| Self(Kind::Static(keys)))
                .map_err(wrong_usage),
            // What follows the scheme may be a secret: it is not repeated.
            _ => Err(Failure::usage(
                "the provider is of no known kind",
                "give local:PATH or unix:PATH",
            )),
        }
    }
}

impl fmt::Display for ProviderUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Local(uri) => write!(f, "local:{}", uri.path.display()),
            Kind::Socket(address) => fmt::Display::fmt(address, f),
            #[cfg(feature = "testing")]
            Kind::Static(_) => f.write_str("static"),
        }
    }
}

impl ProviderUri {
    /// The keyring, if this is one; only keyrings can be created and changed here.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if the provider is of another kind.
    pub fn into_local(self) -> Result<LocalUri, Failure> {
        match self.0 {
            Kind::Local(uri) => Ok(uri),
            _ => Err(Failure::usage(
                "keys of this provider are not managed here",
                "give local:PATH, or manage the keys where they are kept",
            )),
        }
    }

    /// Opens the provider. A socket is not dialled before the first call, and spoken to as KMS
    /// v2.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file: a keyring that cannot be opened.
    pub fn open(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn KeyProvider>, Failure> {
        match self.0 {
            Kind::Local(uri) => Ok(Arc::new(uri.open(clock)?)),
            Kind::Socket(address) => Ok(Arc::new(V2Client::new(
                address,
                ClientOptions::default().with_clock(clock),
            ))),
            #[cfg(feature = "testing")]
            Kind::Static(provider) => Ok(Arc::new(provider)),
        }
    }

    /// Opens the provider that is to stand behind this entry of an `EncryptionConfiguration`: as
    /// [`ProviderUri::open`], but a socket is spoken to in the entry's version, with its time-out.
    ///
    /// # Errors
    ///
    /// As [`ProviderUri::open`].
    pub fn open_for(
        self,
        kms: &KmsConfiguration,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn KeyProvider>, Failure> {
        match self.0 {
            Kind::Socket(address) => dial(address, kms, clock),
            other => Self(other).open(clock),
        }
    }
}

/// Reads the address of a socket, as it stands on a command line.
///
/// # Errors
///
/// A usage [`Failure`] that says what is wrong with it.
pub fn parse_address(text: &str) -> Result<SocketAddress, Failure> {
    text.parse().map_err(wrong_usage)
}

fn wrong_usage(error: kms_core::Error) -> Failure {
    Failure::usage(
        error.to_string(),
        "give unix:PATH, unix:@NAME or local:PATH",
    )
}

/// A client of the plugin that an entry of an `EncryptionConfiguration` names.
///
/// # Errors
///
/// A [`Failure`] if the endpoint is not a socket's address.
pub fn open_endpoint(
    kms: &KmsConfiguration,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn KeyProvider>, Failure> {
    let address: SocketAddress = kms.endpoint.parse().map_err(|error: kms_core::Error| {
        Failure::from(error).at(format!("endpoint of KMS `{}`", kms.name))
    })?;
    dial(address, kms, clock)
}

fn dial(
    address: SocketAddress,
    kms: &KmsConfiguration,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn KeyProvider>, Failure> {
    let options = ClientOptions::default()
        .with_clock(clock)
        .with_timeout(kms.timeout);
    Ok(match kms.api_version {
        // KMS v1 tells no key id; the name stands for the plugin.
        KmsApiVersion::V1 => Arc::new(V1Beta1Client::new(address, KeyId::new(&kms.name)?, options)),
        KmsApiVersion::V2 => Arc::new(V2Client::new(address, options)),
    })
}

impl LocalUri {
    /// A keyring file without a passphrase.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            passphrase_file: None,
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let (path, passphrase_file) = match text.split_once('?') {
            Some((path, parameter)) => match parameter.split_once('=') {
                Some((PASSPHRASE_FILE, file)) => (path, Some(PathBuf::from(file))),
                // A typing error must not make a keyring without a passphrase.
                _ => {
                    return Err(Failure::usage(
                        "the keyring has an unknown parameter behind `?`",
                        "the only one is passphrase-file=FILE; a path cannot hold a question mark",
                    ));
                }
            },
            None => (text, None),
        };
        if path.is_empty() || passphrase_file.as_deref() == Some(Path::new("")) {
            return Err(Failure::usage(
                "the provider names no file",
                "give local:PATH or local:PATH?passphrase-file=FILE",
            ));
        }
        Ok(Self {
            path: PathBuf::from(path),
            passphrase_file,
        })
    }

    /// The keyring file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new keyring; an existing file is left alone and is an error.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn create(&self, clock: Arc<dyn Clock>) -> Result<LocalProvider, Failure> {
        Ok(LocalProvider::create(&self.path, self.options(clock)?)?)
    }

    /// Opens an existing keyring.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<LocalProvider, Failure> {
        Ok(LocalProvider::open(&self.path, self.options(clock)?)?)
    }

    fn options(&self, clock: Arc<dyn Clock>) -> Result<LocalOptions, Failure> {
        let options = LocalOptions::new(clock);
        match &self.passphrase_file {
            Some(file) => Ok(options.with_passphrase(read_passphrase(file)?)),
            None => Ok(options),
        }
    }
}

/// Reads a passphrase: the first line of a file that only its owner can read.
///
/// # Errors
///
/// A [`Failure`] that names the file: it cannot be read, others can read it, or its first line is
/// empty.
pub fn read_passphrase(path: &Path) -> Result<SecretBytes, Failure> {
    check_private(path)?;
    let text = read_secret(path, MAX_PASSPHRASE_FILE)?;
    let line = text
        .expose()
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(
            "invalid_input",
            format!(
                "the first line of the passphrase file {} is empty",
                path.display()
            ),
            "put the passphrase there",
        ));
    }
    Ok(SecretBytes::copy_from_slice(line))
}

/// A passphrase that others can read protects nothing.
fn check_private(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path)
        .map_err(|e| Failure::io(format!("reading the passphrase file {}", path.display()), e))?;
    // A pipe, such as a shell's <(…), belongs to nobody else.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(
            "permission_denied",
            format!(
                "others have rights to the passphrase file {}",
                path.display()
            ),
            format!("chmod 600 {}", path.display()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_local_uri_has_a_path_and_perhaps_a_passphrase_file() {
        let uri = LocalUri::parse("/a?passphrase-file=/b").unwrap();
        assert_eq!(uri.path(), Path::new("/a"));
        assert_eq!(uri.passphrase_file.as_deref(), Some(Path::new("/b")));
        for bad in [
            "",
            "?passphrase-file=/b",
            "/a?passphrase-file=",
            "/a?pasphrase-file=/b",
            "/a?",
            "/a?passphrase-file",
        ] {
            assert!(LocalUri::parse(bad).unwrap_err().is_usage(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_not_repeated() {
        let failure = "vault:hvs.secret-token".parse::<ProviderUri>().unwrap_err();
        assert!(
            !format!("{failure} {failure:?}").contains("secret"),
            "{failure}"
        );
    }

    #[cfg(not(feature = "testing"))]
    #[test]
    fn static_keys_are_refused_outside_tests() {
        assert!("static:k=00".parse::<ProviderUri>().unwrap_err().is_usage());
    }

    #[test]
    fn a_passphrase_is_the_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pass");
        std::fs::write(&path, "correct horse\nignored\n").unwrap();
        assert_eq!(
            read_passphrase(&path).unwrap_err().kind(),
            "permission_denied"
        );
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_passphrase(&path).unwrap().expose(), b"correct horse");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_passphrase(&path).is_err());
    }
}
