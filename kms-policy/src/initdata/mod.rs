//! Initdata: what a pod's virtual machine is started with, and measured by, on Kata Containers' main
//! line.
//!
//! It is a TOML file that holds the policy and, if wanted, settings of the guest's own parts. Its
//! digest stands in the attestation report of the pod; a gzip of it is the annotation
//! [`INITDATA_ANNOTATION`]. Keys are written in order, so that the digest is the same wherever it is
//! made.

mod toml;

use core::fmt;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use ring::digest;

use crate::policy::hex;
use crate::{Error, ErrorKind, Policy};

/// The annotation that holds it.
pub const INITDATA_ANNOTATION: &str = "io.katacontainers.config.hypervisor.cc_init_data";
/// The longest initdata that is read, in bytes.
pub const MAX_INITDATA_LEN: usize = 16 * 1024 * 1024;

/// The entry that is the policy.
const POLICY: &str = "policy.rego";
/// The version of the form.
const VERSION: &str = "0.1.0";

/// How initdata is measured.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InitdataAlgorithm {
    /// SHA-256, 32 bytes.
    #[default]
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl InitdataAlgorithm {
    /// Its name in initdata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    const fn of_ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl fmt::Display for InitdataAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of confidential hardware, by the field of its report that holds the digest.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Tee {
    /// AMD SEV-SNP: `HOST_DATA`, 32 bytes.
    Snp,
    /// Intel TDX: `MRCONFIGID`, 48 bytes.
    Tdx,
    /// Arm CCA: the realm's personalization value, 64 bytes.
    Cca,
    /// IBM Secure Execution, 256 bytes.
    Se,
}

impl Tee {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Snp, Self::Tdx, Self::Cca, Self::Se];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Cca => "cca",
            Self::Se => "se",
        }
    }

    /// The length of the field, in bytes.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Snp => 32,
            Self::Tdx => 48,
            Self::Cca => 64,
            Self::Se => 256,
        }
    }
}

/// What a pod's virtual machine is started with.
///
/// ```
/// use kms_policy::Policy;
/// use kms_policy::initdata::{Initdata, InitdataAlgorithm, Tee};
///
/// let policy = Policy::from_text("package agent_policy\n");
/// let initdata = Initdata::new(InitdataAlgorithm::Sha256).with_policy(&policy);
/// assert_eq!(initdata.digest_for(Tee::Snp).len(), 32);
/// let annotation = initdata.to_annotation()?;
/// assert_eq!(Initdata::from_annotation(&annotation)?, initdata);
/// # Ok::<(), kms_policy::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Initdata {
    version: String,
    algorithm: InitdataAlgorithm,
    entries: BTreeMap<String, String>,
}

impl Initdata {
    /// One without entries.
    #[must_use]
    pub fn new(algorithm: InitdataAlgorithm) -> Self {
        Self {
            version: VERSION.to_owned(),
            algorithm,
            entries: BTreeMap::new(),
        }
    }

    /// Reads the TOML: a template to put a policy into, or a whole one.
    ///
    /// What it says is kept, its form is not: it is written again with its keys in order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Manifest`] with the line, if it is over [`MAX_INITDATA_LEN`], not TOML, or has
    /// anything but `version`, `algorithm` and texts in `[data]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_INITDATA_LEN {
            return Err(refused("is over 16 MiB"));
        }
        let document = toml::parse(text)?;
        let mut initdata = Self::new(InitdataAlgorithm::default());
        for ((table, key), value) in document {
            match (&*table, &*key) {
                ("", "version") => initdata.version = value,
                ("", "algorithm") => {
                    let named = InitdataAlgorithm::named(&value);
                    let unknown =
                        || refused("names an algorithm other than sha256, sha384 and sha512");
                    initdata.algorithm = named.ok_or_else(unknown)?;
                }
                ("data", _) => {
                    initdata.entries.insert(key, value);
                }
                _ => return Err(refused(&format!("has the unknown key `{key}`"))),
            }
        }
        Ok(initdata)
    }

    /// Reads an annotation's value.
    ///
    /// # Errors
    ///
    /// As [`Initdata::parse`], and if it is not base64 of gzip.
    pub fn from_annotation(value: &str) -> Result<Self, Error> {
        let bytes = STANDARD
            .decode(value.trim())
            .map_err(|_| refused("is not base64"))?;
        let most = u64::try_from(MAX_INITDATA_LEN).unwrap_or(u64::MAX);
        let mut text = String::new();
        MultiGzDecoder::new(&*bytes)
            .take(most.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(|error| refused(&format!("is not gzip of UTF-8: {error}")))?;
        Self::parse(&text)
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_policy(self, policy: &Policy) -> Self {
        self.with_entry(POLICY, policy.text())
    }

    /// Sets how it is measured.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: InitdataAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets an entry, such as `aa.toml` or `cdh.toml`.
    #[must_use]
    pub fn with_entry(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.entries.insert(name.into(), text.into());
        self
    }

    /// The policy, if it has one.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.entries.get(POLICY).map(Policy::from_text)
    }

    /// How it is measured.
    #[must_use]
    pub const fn algorithm(&self) -> InitdataAlgorithm {
        self.algorithm
    }

    /// The names and texts of its entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Its text, which is what is measured.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "version = {}\nalgorithm = {}\n\n[data]\n",
            toml::line(&self.version),
            toml::line(self.algorithm.as_str())
        );
        for (name, entry) in &self.entries {
            text.push_str(&toml::line(name));
            text.push_str(" = ");
            text.push_str(&toml::lines(entry));
            text.push('\n');
        }
        text
    }

    /// The digest of its text, as long as its algorithm makes it.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        let text = self.to_toml();
        digest::digest(self.algorithm.of_ring(), text.as_bytes())
            .as_ref()
            .to_vec()
    }

    /// The digest as the report of this hardware holds it: cut off, or filled with zeros at the end.
    #[must_use]
    pub fn digest_for(&self, tee: Tee) -> Vec<u8> {
        let mut digest = self.digest();
        digest.resize(tee.width(), 0);
        digest
    }

    /// That digest as lower-case hexadecimal digits.
    #[must_use]
    pub fn hex_for(&self, tee: Tee) -> String {
        hex(&self.digest_for(tee))
    }

    /// The value of its annotation: base64 of gzip. The same everywhere: no time is in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if it cannot be compressed.
    pub fn to_annotation(&self) -> Result<String, Error> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Internal, "compressing initdata").with_source(error)
        };
        let mut encoder = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::default());
        encoder
            .write_all(self.to_toml().as_bytes())
            .map_err(failed)?;
        Ok(STANDARD.encode(encoder.finish().map_err(failed)?))
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::Manifest, format!("the initdata {what}"))
        .with_remedy("give TOML with version, algorithm and texts in [data]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Initdata {
        Initdata::new(InitdataAlgorithm::Sha384)
            .with_entry("cdh.toml", "[kbc]\nname = 'x'\n")
            .with_entry("aa.toml", "")
            .with_policy(&Policy::from_text(
                "package agent_policy\n\npolicy_data := {}",
            ))
    }

    #[test]
    fn keys_are_in_order_and_texts_as_they_are() {
        assert_eq!(
            sample().to_toml(),
            "version = \"0.1.0\"\nalgorithm = \"sha384\"\n\n[data]\n\
             \"aa.toml\" = '''\n'''\n\
             \"cdh.toml\" = '''\n[kbc]\nname = 'x'\n'''\n\
             \"policy.rego\" = '''\npackage agent_policy\n\npolicy_data := {}'''\n"
        );
    }

    #[test]
    fn a_policy_alone_takes_71_bytes_more() {
        let text = "package agent_policy\n";
        let initdata =
            Initdata::new(InitdataAlgorithm::Sha256).with_policy(&Policy::from_text(text));
        assert_eq!(initdata.to_toml().len(), text.len() + 71);
    }

    #[test]
    fn a_digest_is_cut_or_filled_to_the_field_of_a_report() {
        let of = |algorithm| Initdata::new(algorithm).with_entry("a", "b");
        let short = of(InitdataAlgorithm::Sha256);
        let long = of(InitdataAlgorithm::Sha512);
        for tee in Tee::ALL {
            for initdata in [&short, &long] {
                let (digest, field) = (initdata.digest(), initdata.digest_for(tee));
                assert_eq!(field.len(), tee.width());
                let kept = digest.len().min(tee.width());
                assert_eq!(field[..kept], digest[..kept]);
                assert!(field[kept..].iter().all(|byte| *byte == 0));
            }
        }
        assert_eq!(
            short.digest(),
            digest::digest(&digest::SHA256, short.to_toml().as_bytes()).as_ref()
        );
    }

    #[test]
    fn the_annotation_is_the_same_each_time_and_is_read_back() {
        let annotation = sample().to_annotation().unwrap();
        assert_eq!(annotation, sample().to_annotation().unwrap());
        // The gzip header: no name, no time.
        assert_eq!(
            STANDARD.decode(&annotation).unwrap()[..8],
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]
        );
        let read = Initdata::from_annotation(&annotation).unwrap();
        assert_eq!(read, sample());
        assert_eq!(read.policy().unwrap().text().lines().count(), 3);
    }

    #[test]
    fn what_is_no_initdata_is_refused() {
        for text in [
            "algorithm = \"md5\"",
            "name = \"x\"",
            "[other]\na = \"b\"",
            "version = 1",
        ] {
            let error = Initdata::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Manifest, "{text}");
        }
        assert!(Initdata::from_annotation("!").is_err());
        assert!(Initdata::from_annotation(&STANDARD.encode("no gzip")).is_err());
    }
}
