//! Digests of content.

use core::fmt;
use std::io::{self, Read};

use ring::digest::{Context, SHA256, SHA512};

use crate::policy::hex;
use crate::{Error, ErrorKind};

/// The digest of a blob or manifest: `sha256:` and 64 hexadecimal digits, or `sha512:` and 128.
///
/// ```
/// use kms_policy::image::Digest;
///
/// let digest = Digest::sha256(b"");
/// assert!(digest.as_str().starts_with("sha256:e3b0c442"));
/// assert_eq!(Digest::parse(digest.as_str())?, digest);
/// # Ok::<(), kms_policy::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(String);

impl Digest {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Image`] if it is of another algorithm, or not lower-case digits of its length.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (algorithm, digits) = text.split_once(':').unwrap_or_default();
        let len = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => 0,
        };
        if len == 0 || digits.len() != len || !is_hex(digits) {
            return Err(Error::new(
                ErrorKind::Image,
                format!("`{}` is not sha256: and 64 hexadecimal digits", shown(text)),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The SHA-256 of these bytes.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&SHA256, bytes);
        Self(format!("sha256:{}", hex(digest.as_ref())))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub(super) fn algorithm(&self) -> &str {
        self.0.split_once(':').unwrap_or_default().0
    }

    /// The digits.
    pub(super) fn digits(&self) -> &str {
        self.0.split_once(':').unwrap_or_default().1
    }

    /// Refuses other bytes than those that it is the digest of.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut context = self.context();
        context.update(bytes);
        self.compare(context)
    }

    fn context(&self) -> Context {
        let is_long = self.algorithm() == "sha512";
        Context::new(if is_long { &SHA512 } else { &SHA256 })
    }

    fn compare(&self, context: Context) -> Result<(), Error> {
        if hex(context.finish().as_ref()) == self.digits() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Image,
            format!("the content of {self} does not have this digest"),
        )
        .with_remedy("fetch it again: it was damaged, or somebody changed it"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether these are lower-case hexadecimal digits.
pub(super) fn is_hex(digits: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.bytes().all(is_digit)
}

/// The beginning of a text from outside, for a message.
pub(super) fn shown(text: &str) -> String {
    let text: String = text.chars().take(200).collect();
    text.escape_debug().to_string()
}

/// A blob whose length and digest are checked as it is read.
#[derive(Debug)]
pub(super) struct Checked<R> {
    inner: R,
    /// None for a blob that has no digest.
    digest: Option<(Digest, Hash)>,
    /// How many bytes may still come.
    left: u64,
}

/// A digest in the making, which has nothing to show.
struct Hash(Context);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl<R: Read> Checked<R> {
    /// A blob of exactly this many bytes.
    pub(super) fn new(inner: R, digest: Option<&Digest>, size: u64) -> Self {
        Self {
            inner,
            digest: digest.map(|digest| (digest.clone(), Hash(digest.context()))),
            left: size,
        }
    }

    /// Reads what is left, and compares.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let unread = |error: io::Error| {
            Error::new(ErrorKind::Io, format!("a blob cannot be read: {error}")).with_source(error)
        };
        io::copy(&mut self, &mut io::sink()).map_err(unread)?;
        if self.left == 0 && self.inner.read(&mut [0]).map_err(unread)? > 0 {
            return Err(Error::new(
                ErrorKind::Image,
                "a blob is longer than was announced",
            ));
        }
        if self.left > 0 {
            return Err(Error::new(
                ErrorKind::Image,
                format!("a blob is {} bytes shorter than was announced", self.left),
            ));
        }
        match self.digest {
            Some((digest, Hash(context))) => digest.compare(context),
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = self
            .inner
            .read(buffer.get_mut(..most).unwrap_or_default())?;
        if let Some((_, Hash(context))) = &mut self.digest {
            context.update(buffer.get(..read).unwrap_or_default());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_its_form() {
        let long = format!("sha512:{}", "0".repeat(128));
        assert_eq!(Digest::parse(&long).unwrap().algorithm(), "sha512");
        let upper = format!("sha256:{}", "A".repeat(64));
        let short = format!("sha256:{}", "0".repeat(63));
        let other = format!("md5:{}", "0".repeat(32));
        let way_out = format!("sha256:../{}", "0".repeat(61));
        for bad in ["", "sha256:", &upper, &short, &other, &way_out] {
            assert_eq!(
                Digest::parse(bad).unwrap_err().kind(),
                ErrorKind::Image,
                "{bad}"
            );
        }
    }

    #[test]
    fn other_content_and_other_lengths_are_refused() {
        let digest = Digest::sha256(b"abc");
        let finish = |bytes: &'static [u8], size| Checked::new(bytes, Some(&digest), size).finish();
        finish(b"abc", 3).unwrap();
        for (bytes, size) in [(&b"abd"[..], 3), (b"abc", 4), (b"abcd", 3), (b"", 0)] {
            assert!(finish(bytes, size).is_err(), "{bytes:?} {size}");
        }
        digest.check(b"abc").unwrap();
        digest.check(b"ab").unwrap_err();
    }
}
