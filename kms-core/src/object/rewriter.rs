//! Re-encryption through the Kubernetes API.

use core::fmt;

use async_trait::async_trait;

use crate::{CallOptions, Error, ErrorKind};

/// Makes an API server write objects again without changing them (the no-op update).
///
/// The server reads the object, and if what it read is stale, that is under another key than the
/// one it writes with, it stores it anew. Stored bytes never show, so nothing here proves which key
/// an object is under: that takes a census over an [`ObjectSource`](crate::object::ObjectSource).
///
/// `Display` names the server in errors and logs, and must not show credentials. No object's
/// content is kept or logged. The conformance suite in `kms-testkit` checks what follows.
///
/// # Contract
///
/// - A list gives each object that exists throughout the listing exactly once. A token that the
///   server does not honour any more is refused with [`ErrorKind::Compacted`]; start again then.
/// - A rewrite changes nothing but how the object is stored. It names the object by resource,
///   namespace, name, uid and resource version, so it never touches one that was made anew under
///   the same name, and never undoes the write of another.
/// - What concerns this one object is an outcome. What would meet the next object just as well (no
///   rights on the resource, throttling, an unreachable server) is an error;
///   [`ErrorKind::Throttled`] carries the server's `Retry-After` as
///   [`retry_after`](Error::retry_after).
/// - A rewrite may be repeated at will. A call is cancelled by dropping its future; whether the
///   server carried it out is then unknown, and repeating it tells.
#[async_trait]
pub trait Rewriter: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Lists one page of objects, without their content.
    ///
    /// # Errors
    ///
    /// Any kind; see the contract above.
    async fn list(&self, options: &ListOptions) -> Result<ApiPage, Error>;

    /// Asks the server to write one object again.
    ///
    /// # Errors
    ///
    /// Any kind; see the contract above.
    async fn rewrite(
        &self,
        object: &ApiObject,
        options: &CallOptions,
    ) -> Result<RewriteOutcome, Error>;
}

/// What became of a rewrite.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RewriteOutcome {
    /// The server stored the object anew.
    Written {
        /// Its new resource version.
        resource_version: String,
    },
    /// The server saw nothing to do. It holds the object for fresh: because it is, or because the
    /// server does not know of the new key yet, or because with KMS v1 a new key under the same
    /// provider name does not make an object stale.
    Unchanged,
    /// Someone else wrote the object since it was listed (409). List it again: their server may
    /// have used the old key.
    Conflict,
    /// The object is no longer there, or another one has its name.
    Gone,
    /// The server refused this object (admission, validation, quota). It stays as it is.
    Refused {
        /// The server's words, shortened, without control characters.
        reason: String,
    },
}

impl RewriteOutcome {
    /// The longest reason, in bytes.
    pub const MAX_REASON_LEN: usize = 1024;

    /// A refusal; the server's words are shortened and freed of control characters.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let mut text = String::new();
        for letter in reason.chars() {
            let letter = if letter.is_control() { ' ' } else { letter };
            if text.len().saturating_add(letter.len_utf8()) > Self::MAX_REASON_LEN {
                break;
            }
            text.push(letter);
        }
        Self::Refused { reason: text }
    }
}

/// A resource of the Kubernetes API, such as `v1 secrets` or `apps/v1 deployments`.
///
/// Its parts become segments of a URL path and are checked for that.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ApiResource {
    group: String,
    version: String,
    plural: String,
}

impl ApiResource {
    /// A resource; `group` is empty for the core group.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if a part cannot be a segment of a path.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        plural: impl Into<String>,
    ) -> Result<Self, Error> {
        let group = group.into();
        Ok(Self {
            group: if group.is_empty() {
                group
            } else {
                segment("group", group)?
            },
            version: segment("version", version.into())?,
            plural: segment("resource", plural.into())?,
        })
    }

    /// The group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The plural name in lower case, as in paths.
    #[must_use]
    pub fn plural(&self) -> &str {
        &self.plural
    }
}

/// As an `EncryptionConfiguration` names it: `secrets`, `deployments.apps`.
impl fmt::Display for ApiResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// The longest segment of a path, in bytes: the bound of Kubernetes on names.
const MAX_SEGMENT_LEN: usize = 253;

/// Takes what Kubernetes takes as a path segment, less what would upset a URL or a terminal.
fn segment(field: &str, text: String) -> Result<String, Error> {
    let fault = match text.as_str() {
        "" => "is empty",
        "." | ".." => "is a dot segment",
        text if text.len() > MAX_SEGMENT_LEN => "is over 253 bytes",
        text if text.contains(['/', '%', '?', '#', '\\']) => "holds one of / % ? # \\",
        text if text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            "holds white space or a control character"
        }
        _ => return Ok(text),
    };
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("{field} of an API object {fault}"),
    ))
}

/// Takes a short word of the server's: a uid or a resource version.
fn word(field: &str, text: String) -> Result<String, Error> {
    if (1..=MAX_SEGMENT_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("{field} of an API object is not 1 to 253 printable ASCII bytes"),
    ))
}

/// An object as a list names it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ApiObject {
    resource: ApiResource,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    resource_version: String,
}

impl ApiObject {
    /// An object; `namespace` is `None` if the resource is not namespaced.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the namespace or name cannot be a segment of a path, or the
    /// resource version is not a word.
    pub fn new(
        resource: ApiResource,
        namespace: Option<String>,
        name: impl Into<String>,
        resource_version: impl Into<String>,
    ) -> Result<Self, Error> {
        Ok(Self {
            resource,
            namespace: namespace
                .map(|namespace| segment("namespace", namespace))
                .transpose()?,
            name: segment("name", name.into())?,
            uid: None,
            resource_version: word("resource version", resource_version.into())?,
        })
    }

    /// Sets the uid, which tells the object from a later one of the same name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is not a word.
    pub fn with_uid(mut self, uid: impl Into<String>) -> Result<Self, Error> {
        self.uid = Some(word("uid", uid.into())?);
        Ok(self)
    }

    /// Its resource.
    #[must_use]
    pub const fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Its namespace, if the resource is namespaced.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid, if the list gave one.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// Its resource version when it was listed. Opaque: compare it for equality only.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// `secrets default/token`.
impl fmt::Display for ApiObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Where a list goes on. Opaque, the server's own, and good for minutes only: unlike the cursor of
/// a scan it is not worth keeping in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContinueToken(String);

impl ContinueToken {
    /// The longest token, in bytes.
    pub const MAX_LEN: usize = 16 * 1024;

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is empty or over [`ContinueToken::MAX_LEN`] bytes.
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        if (1..=Self::MAX_LEN).contains(&token.len()) {
            return Ok(Self(token));
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            "continue token is empty or over 16384 bytes",
        ))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What to list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ListOptions {
    /// What every call can be told.
    pub call: CallOptions,
    /// The resource.
    pub resource: ApiResource,
    /// Only this namespace; all if there is none.
    pub namespace: Option<String>,
    /// Only the object of this name, to look at one again: after a conflict, for instance. Of a
    /// resource with namespaces there may be one in each, unless `namespace` is set too.
    pub name: Option<String>,
    /// The most objects on a page. Zero is taken as one. The server may give fewer.
    pub page_limit: u32,
    /// Where to go on: [`ApiPage::next`] of the page before, with all else the same.
    pub after: Option<ContinueToken>,
}

impl ListOptions {
    /// A list of one object: what is there under its name now.
    #[must_use]
    pub fn of_object(object: &ApiObject) -> Self {
        Self {
            namespace: object.namespace.clone(),
            name: Some(object.name.clone()),
            ..Self::new(object.resource.clone())
        }
    }

    /// A list of all objects of a resource, 500 at a time.
    #[must_use]
    pub fn new(resource: ApiResource) -> Self {
        Self {
            call: CallOptions::default(),
            resource,
            namespace: None,
            name: None,
            page_limit: super::ScanOptions::DEFAULT_PAGE_LIMIT,
            after: None,
        }
    }

    /// Sets what every call can be told.
    #[must_use]
    pub fn with_call(mut self, call: CallOptions) -> Self {
        self.call = call;
        self
    }

    /// Sets the namespace.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it cannot be a segment of a path.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Result<Self, Error> {
        self.namespace = Some(segment("namespace", namespace.into())?);
        Ok(self)
    }

    /// Sets the name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it cannot be a segment of a path.
    pub fn with_name(mut self, name: impl Into<String>) -> Result<Self, Error> {
        self.name = Some(segment("name", name.into())?);
        Ok(self)
    }

    /// Sets the most objects on a page.
    #[must_use]
    pub const fn with_page_limit(mut self, objects: u32) -> Self {
        self.page_limit = objects;
        self
    }

    /// Sets where to go on.
    #[must_use]
    pub fn with_after(mut self, after: impl Into<Option<ContinueToken>>) -> Self {
        self.after = after.into();
        self
    }
}

/// One page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiPage {
    /// The objects. A page may be empty and not be the last.
    pub objects: Vec<ApiObject>,
    /// Where the next page begins; `None` if this page is the last.
    pub next: Option<ContinueToken>,
    /// How many objects follow, if the server says so.
    pub remaining: Option<u64>,
}

impl ApiPage {
    /// A page with objects.
    #[must_use]
    pub const fn new(objects: Vec<ApiObject>, next: Option<ContinueToken>) -> Self {
        Self {
            objects,
            next,
            remaining: None,
        }
    }

    /// Sets how many objects follow.
    #[must_use]
    pub const fn with_remaining(mut self, remaining: Option<u64>) -> Self {
        self.remaining = remaining;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> ApiResource {
        ApiResource::new("", "v1", "secrets").unwrap()
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a%2fb",
            "a?b",
            "a#b",
            "a b",
            "a\n",
            &"a".repeat(254),
        ] {
            assert!(
                ApiObject::new(secrets(), None, bad, "1").is_err(),
                "name {bad:?}"
            );
            assert!(
                ApiObject::new(secrets(), Some(bad.to_owned()), "a", "1").is_err(),
                "namespace {bad:?}"
            );
            assert!(ApiResource::new("", "v1", bad).is_err(), "resource {bad:?}");
            assert!(
                ListOptions::new(secrets()).with_namespace(bad).is_err(),
                "list {bad:?}"
            );
            assert!(
                ListOptions::new(secrets()).with_name(bad).is_err(),
                "list of one {bad:?}"
            );
        }
        // RBAC names hold colons.
        assert!(ApiObject::new(secrets(), None, "system:node", "1").is_ok());
    }

    #[test]
    fn resources_are_named_as_in_an_encryption_configuration() {
        assert_eq!(secrets().to_string(), "secrets");
        let deployments = ApiResource::new("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.to_string(), "deployments.apps");
    }

    #[test]
    fn a_refusal_is_bounded_and_harmless() {
        let RewriteOutcome::Refused { reason } =
            RewriteOutcome::refused(&format!("\u{1b}[31m{}", "ä".repeat(2000)))
        else {
            panic!("not a refusal");
        };
        assert!(reason.len() <= RewriteOutcome::MAX_REASON_LEN);
        assert!(!reason.chars().any(char::is_control));
    }
}
