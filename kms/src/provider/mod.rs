//! Provider URIs: how a key provider is named on a command line.

mod azure;
mod local;

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use kms_azure::compat::is_upstream_key_id;
use kms_core::layer::Union;
use kms_core::{Clock, KeyId, KeyProvider};
use kms_envelope::kubernetes::{KmsApiVersion, KmsConfiguration};
use kms_plugin::client::{ClientOptions, V1Beta1Client, V2Client};
use kms_plugin::socket::SocketAddress;

pub use azure::{AzureAes, AzureOperations, AzureOptions};
pub use local::{LocalUri, read_passphrase};

use crate::Failure;
use azure::Session;

/// Names a key provider.
///
/// | URI | provider |
/// |---|---|
/// | `local:PATH` | an embedded keyring file ([`kms_core::local`]) |
/// | `local:PATH?passphrase-file=FILE` | one with a passphrase: the first line of `FILE` |
/// | `https://VAULT/keys/NAME[/VERSION]` | a key in Azure Key Vault or Managed HSM ([`kms_azure`]) |
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
    /// The key's URL, whose host is checked when it is known which hosts are vaults.
    Vault(String),
    Socket(SocketAddress),
    #[cfg(feature = "testing")]
    Static(kms_testkit::StaticProvider),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(uri) => fmt::Debug::fmt(uri, f),
            Self::Vault(url) => f.write_str(url),
            Self::Socket(address) => fmt::Debug::fmt(address, f),
            #[cfg(feature = "testing")]
            Self::Static(_) => f.write_str("static"),
        }
    }
}

impl FromStr for ProviderUri {
    type Err = Failure;

    fn from_str(uri: &str) -> Result<Self, Failure> {
        let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
        match scheme {
            "local" => LocalUri::parse(rest).map(|local| Self(Kind::Local(local))),
            "https" => vault_url(uri).map(|url| Self(Kind::Vault(url))),
            "unix" => parse_address(uri).map(|address| Self(Kind::Socket(address))),
            #[cfg(feature = "testing")]
            "static" => rest
                .parse()
                .map(|keys| Self(Kind::Static(keys)))
                .map_err(wrong_usage),
            // What follows the scheme may be a secret: it is not repeated.
            _ => Err(Failure::usage(
                "the provider is of no known kind",
                "give local:PATH, https://VAULT/keys/NAME or unix:PATH",
            )),
        }
    }
}

impl fmt::Display for ProviderUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Local(uri) => write!(f, "local:{}", uri.path().display()),
            Kind::Vault(url) => f.write_str(url),
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

    /// How often a plugin over this provider should prove that it wraps and unwraps: every ten
    /// minutes, and every hour for a key in a vault, which is asked over a network and limits who
    /// asks. With the looks for a new version an hour of Status then costs a vault 15 calls at
    /// the most.
    #[must_use]
    pub const fn prove_interval(&self) -> Duration {
        match self.0 {
            Kind::Vault(_) => Duration::from_secs(3600),
            _ => Duration::from_secs(600),
        }
    }

    /// Whether keys of this provider are managed here.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.0, Kind::Local(_))
    }

    /// Opens the provider. A socket is not dialled before the first call, and spoken to as KMS
    /// v2. A vault is looked at in the background; one that cannot be reached yet is no failure.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file: a keyring that cannot be opened; or what is wrong with
    /// the identity and the options for vaults.
    pub fn open(self, environment: &mut Environment) -> Result<Arc<dyn KeyProvider>, Failure> {
        self.open_claiming(environment)
            .map(|(provider, _)| provider)
    }

    /// Opens this provider, which wraps, and older ones whose data can still be opened (R12, R24).
    ///
    /// # Errors
    ///
    /// As [`ProviderUri::open`].
    pub fn open_with_older(
        self,
        older: Vec<Self>,
        environment: &mut Environment,
    ) -> Result<Arc<dyn KeyProvider>, Failure> {
        let current = self.open(environment)?;
        if older.is_empty() {
            return Ok(current);
        }
        let mut union = Union::new(current);
        for uri in older {
            union = match uri.open_claiming(environment)? {
                (provider, Some(claims)) => union.with_older_claiming(provider, claims),
                (provider, None) => union.with_older(provider),
            };
        }
        Ok(Arc::new(union))
    }

    /// Opens the provider, with a way to tell its key ids by their form if there is one.
    fn open_claiming(
        self,
        environment: &mut Environment,
    ) -> Result<(Arc<dyn KeyProvider>, Option<Claim>), Failure> {
        let clock = Arc::clone(&environment.clock);
        Ok(match self.0 {
            Kind::Local(uri) => (Arc::new(uri.open(clock)?), None),
            Kind::Vault(url) => {
                let (provider, key) = environment.azure.open(&url, clock)?;
                let claims: Claim = Box::new(move |id| key.claims(id) || is_upstream_key_id(id));
                (Arc::new(provider), Some(claims))
            }
            Kind::Socket(address) => {
                let options = ClientOptions::default().with_clock(clock);
                (Arc::new(V2Client::new(address, options)), None)
            }
            #[cfg(feature = "testing")]
            Kind::Static(provider) => (Arc::new(provider), None),
        })
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
        environment: &mut Environment,
    ) -> Result<Arc<dyn KeyProvider>, Failure> {
        match self.0 {
            Kind::Socket(address) => dial(address, kms, Arc::clone(&environment.clock)),
            other => Self(other).open(environment),
        }
    }
}

/// Tells a provider's key ids by their form.
type Claim = Box<dyn Fn(&KeyId) -> bool + Send + Sync>;

/// What providers are opened with. Those of one vault share its connections, token and limits.
#[derive(Debug)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    azure: Session,
}

impl Environment {
    /// This clock, and no identity for vaults.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_azure(clock, AzureOptions::default())
    }

    /// This clock, and this way to vaults.
    #[must_use]
    pub fn with_azure(clock: Arc<dyn Clock>, azure: AzureOptions) -> Self {
        Self {
            clock,
            azure: Session::new(azure),
        }
    }

    /// The time that all of them go by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

/// A URL without user, password, query and fragment, so that it may be shown.
fn vault_url(url: &str) -> Result<String, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#".contains(&byte);
    if url.bytes().all(is_plain) {
        return Ok(url.to_owned());
    }
    Err(Failure::usage(
        "the URL of the key holds something else than host and path",
        "give https://VAULT/keys/NAME or https://VAULT/keys/NAME/VERSION",
    ))
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
        "give unix:PATH, unix:@NAME, local:PATH or https://VAULT/keys/NAME",
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
