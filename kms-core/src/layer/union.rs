//! Several providers as one.

use core::fmt;
use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    CallOptions, Capabilities, ContextSupport, EncryptionContext, Error, ErrorKind, KeyId, KeyInfo,
    KeyProvider, SecretBytes, UnwrapOptions, WrapOptions, WrappedKey,
};

/// One provider that wraps, and older ones whose data can still be opened.
///
/// **Unwrapping** goes by the key id: the members whose claim function knows it are asked first,
/// then those without a claim function, in the order given; a member whose claim function says no
/// is not asked. A member that answers [`ErrorKind::KeyNotFound`] has nothing to say, and the next
/// is asked. Any other error is kept and the next is asked too, so one that is down does not fail
/// the others. If none opens it, the error that tells most is returned:
///
/// - With a key id: that of a member who knows the key (`Crypto`, `KeyDisabled`, `KeyDestroyed`
///   and the like); else a retryable one, since the member that could not be reached may hold the
///   key; else any other; else `KeyNotFound`.
/// - Without a key id every member that can is asked, and `Crypto` says only that the data is not
///   that member's: it ranks just above `KeyNotFound`.
///
/// A hostile key id costs one call to each member without a claim function.
///
/// **Describing** a key goes the same way. **Listing** takes all members, the older first, and
/// fails if one fails: a list that silently lacks a vault would be taken for the whole truth, and
/// keys have been destroyed for less.
///
/// **Capabilities** are what holds for everything the union is asked:
///
/// | capability | value |
/// |---|---|
/// | `wraps`, `max_plaintext_len`, `unwraps_without_key_id` | the current member's; data without key id that an older member opens is opened all the same |
/// | `context` | `Native` if every member is, else `None`, and then a context is refused even if the current member could bind it |
/// | `describes_keys`, `lists_keys` | whether every member does |
///
/// Members are asked one after another. A slow one delays what is behind it, so give each a
/// [`Timeout`](super::Timeout) of its own.
pub struct Union {
    current: Arc<dyn KeyProvider>,
    older: Vec<Older>,
}

type Claim = Box<dyn Fn(&KeyId) -> bool + Send + Sync>;

struct Older {
    provider: Arc<dyn KeyProvider>,
    claims: Option<Claim>,
}

impl Union {
    /// A union of one, which wraps.
    #[must_use]
    pub fn new(current: impl KeyProvider) -> Self {
        Self {
            current: Arc::new(current),
            older: Vec::new(),
        }
    }

    /// Adds a provider that unwraps only, older than those added before.
    #[must_use]
    pub fn with_older(mut self, provider: impl KeyProvider) -> Self {
        self.older.push(Older {
            provider: Arc::new(provider),
            claims: None,
        });
        self
    }

    /// As [`with_older`](Self::with_older), for a provider whose key ids can be told by their
    /// form: it is asked first for those that `claims` says yes to, and never for others.
    #[must_use]
    pub fn with_older_claiming(
        mut self,
        provider: impl KeyProvider,
        claims: impl Fn(&KeyId) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.older.push(Older {
            provider: Arc::new(provider),
            claims: Some(Box::new(claims)),
        });
        self
    }

    fn members(&self) -> impl Iterator<Item = &dyn KeyProvider> {
        core::iter::once(&*self.current).chain(self.older.iter().map(|older| &*older.provider))
    }

    /// Who may have a key, in the order of asking.
    fn candidates(&self, id: &KeyId) -> Vec<&dyn KeyProvider> {
        let (mut first, mut then) = (Vec::new(), vec![&*self.current]);
        for older in &self.older {
            match &older.claims {
                Some(claims) if claims(id) => first.push(&*older.provider),
                Some(_) => {}
                None => then.push(&*older.provider),
            }
        }
        first.append(&mut then);
        first
    }

    fn refuse_context(&self, context: &EncryptionContext) -> Result<(), Error> {
        if context.is_empty() || self.capabilities().context == ContextSupport::Native {
            return Ok(());
        }
        Err(self.error(
            ErrorKind::Unsupported,
            "not every provider of this union can bind a context",
        ))
    }

    fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, message).with_provider(self.to_string())
    }

    fn not_found(&self, id: &KeyId) -> Error {
        self.error(ErrorKind::KeyNotFound, "no provider has a key of this id")
            .with_key_id(id.clone())
    }
}

/// How much an error tells; higher is more.
const fn weight(kind: ErrorKind, has_key_id: bool) -> u8 {
    match kind {
        ErrorKind::Unsupported => 0,
        ErrorKind::KeyNotFound => 1,
        ErrorKind::Crypto if !has_key_id => 2,
        // Whoever says this knows the key.
        ErrorKind::Crypto
        | ErrorKind::KeyDisabled
        | ErrorKind::KeyExpired
        | ErrorKind::KeyNotYetValid
        | ErrorKind::KeyDestroyed
            if has_key_id =>
        {
            5
        }
        kind if kind.is_retryable() => 4,
        _ => 3,
    }
}

/// Keeps the error that tells more, the earlier one of two that tell the same.
fn keep_weightier(kept: &mut Option<Error>, error: Error, has_key_id: bool) {
    let weighs = |error: &Error| weight(error.kind(), has_key_id);
    if kept
        .as_ref()
        .is_none_or(|kept| weighs(kept) < weighs(&error))
    {
        *kept = Some(error);
    }
}

/// The members' names, joined by `+`.
impl fmt::Display for Union {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.fmt(f)?;
        self.older
            .iter()
            .try_for_each(|older| write!(f, "+{}", older.provider))
    }
}

impl fmt::Debug for Union {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members()).finish()
    }
}

#[async_trait]
impl KeyProvider for Union {
    fn capabilities(&self) -> Capabilities {
        let current = self.current.capabilities();
        let every =
            |has: fn(Capabilities) -> bool| self.members().all(|member| has(member.capabilities()));
        let context = if every(|member| member.context == ContextSupport::Native) {
            ContextSupport::Native
        } else {
            ContextSupport::None
        };
        current
            .with_context(context)
            .with_describes_keys(every(|member| member.describes_keys))
            .with_lists_keys(every(|member| member.lists_keys))
    }

    async fn current_key(&self, options: &CallOptions) -> Result<KeyInfo, Error> {
        self.current.current_key(options).await
    }

    async fn wrap(&self, dek: &SecretBytes, options: &WrapOptions) -> Result<WrappedKey, Error> {
        self.refuse_context(&options.context)?;
        self.current.wrap(dek, options).await
    }

    async fn unwrap(
        &self,
        wrapped: &WrappedKey,
        options: &UnwrapOptions,
    ) -> Result<SecretBytes, Error> {
        self.refuse_context(&options.context)?;
        let candidates = match wrapped.key_id() {
            Some(id) => self.candidates(id),
            None => self
                .members()
                .filter(|member| member.capabilities().unwraps_without_key_id)
                .collect(),
        };
        let has_key_id = wrapped.key_id().is_some();
        let mut kept = None;
        for member in candidates {
            match member.unwrap(wrapped, options).await {
                Ok(dek) => return Ok(dek),
                Err(error) => keep_weightier(&mut kept, error, has_key_id),
            }
        }
        Err(match (kept, wrapped.key_id()) {
            (Some(error), _) if error.kind() != ErrorKind::KeyNotFound => error,
            (_, Some(id)) => self.not_found(id),
            (Some(error), None) => error,
            (None, None) => self.error(
                ErrorKind::Unsupported,
                "no provider of this union unwraps without a key id",
            ),
        })
    }

    async fn describe_key(&self, id: &KeyId, options: &CallOptions) -> Result<KeyInfo, Error> {
        if !self.capabilities().describes_keys {
            let message = "not every provider of this union describes its keys";
            return Err(self
                .error(ErrorKind::Unsupported, message)
                .with_key_id(id.clone()));
        }
        let mut kept = None;
        for member in self.candidates(id) {
            match member.describe_key(id, options).await {
                Ok(info) => return Ok(info),
                Err(error) => keep_weightier(&mut kept, error, true),
            }
        }
        Err(kept
            .filter(|error| error.kind() != ErrorKind::KeyNotFound)
            .unwrap_or_else(|| self.not_found(id)))
    }

    async fn list_keys(&self, options: &CallOptions) -> Result<Vec<KeyInfo>, Error> {
        if !self.capabilities().lists_keys {
            let message = "not every provider of this union lists its keys";
            return Err(self.error(ErrorKind::Unsupported, message));
        }
        let mut keys: Vec<KeyInfo> = Vec::new();
        let mut seen = HashSet::new();
        let members: Vec<&dyn KeyProvider> = self.members().collect();
        for member in members.into_iter().rev() {
            let listed = member.list_keys(options).await?;
            keys.extend(listed.into_iter().filter(|key| seen.insert(key.id.clone())));
        }
        Ok(keys)
    }
}
