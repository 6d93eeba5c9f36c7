//! What a caller may ask of a vault or of the token service.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One kind of call, for counting, granting and disturbing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Operation {
    /// A call without a token, which is answered with a challenge.
    Challenge,
    /// A token asked of the token service.
    Token,
    /// A token asked of a machine's metadata service, for its managed identity.
    ManagedIdentityToken,
    /// `POST /keys/{name}/create`
    Create,
    /// `PUT /keys/{name}`
    Import,
    /// `GET /keys/{name}/{version}`, with or without a version.
    Get,
    /// `GET /keys/{name}/versions`
    ListVersions,
    /// `GET /keys`
    List,
    /// `PATCH /keys/{name}/{version}`
    Update,
    /// `POST /keys/{name}/{version}/encrypt`
    Encrypt,
    /// `POST /keys/{name}/{version}/decrypt`
    Decrypt,
    /// `POST /keys/{name}/{version}/wrapkey`
    WrapKey,
    /// `POST /keys/{name}/{version}/unwrapkey`
    UnwrapKey,
    /// `POST /keys/{name}/{version}/sign`
    Sign,
    /// `POST /keys/{name}/{version}/verify`
    Verify,
    /// `POST /keys/{name}/{version}/release`
    Release,
    /// `GET /keys/{name}/{version}/attestation`
    Attestation,
    /// `POST /keys/{name}/rotate`
    Rotate,
    /// `GET /keys/{name}/rotationpolicy`
    GetRotationPolicy,
    /// `PUT /keys/{name}/rotationpolicy`
    SetRotationPolicy,
    /// `DELETE /keys/{name}`
    Delete,
    /// `GET /deletedkeys/{name}`
    GetDeleted,
    /// `GET /deletedkeys`
    ListDeleted,
    /// `POST /deletedkeys/{name}/recover`
    Recover,
    /// `DELETE /deletedkeys/{name}`
    Purge,
    /// `POST /keys/{name}/backup`
    Backup,
    /// `POST /keys/restore`
    Restore,
    /// `POST /rng`, of a Managed HSM alone.
    RandomBytes,
}

impl Operation {
    /// The name that the service's own messages use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Token => "token",
            Self::ManagedIdentityToken => "managed identity token",
            Self::Create => "create",
            Self::Import => "import",
            Self::Get | Self::GetDeleted | Self::Attestation => "get",
            Self::ListVersions | Self::List | Self::ListDeleted => "list",
            Self::Update => "update",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Release => "release",
            Self::Rotate => "rotate",
            Self::GetRotationPolicy => "getrotationpolicy",
            Self::SetRotationPolicy => "setrotationpolicy",
            Self::Delete => "delete",
            Self::Recover => "recover",
            Self::Purge => "purge",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::RandomBytes => "rng",
        }
    }

    /// The last part of the data action that role-based access control checks.
    pub(super) const fn data_action(self) -> &'static str {
        match self {
            Self::Challenge | Self::Token | Self::ManagedIdentityToken => "none",
            Self::Create => "keys/create/action",
            Self::Import => "keys/import/action",
            Self::Get
            | Self::ListVersions
            | Self::List
            | Self::GetDeleted
            | Self::ListDeleted
            | Self::Attestation => "keys/read",
            Self::Update => "keys/update/action",
            Self::Encrypt => "keys/encrypt/action",
            Self::Decrypt => "keys/decrypt/action",
            Self::WrapKey => "keys/wrap/action",
            Self::UnwrapKey => "keys/unwrap/action",
            Self::Sign => "keys/sign/action",
            Self::Verify => "keys/verify/action",
            Self::Release => "keys/release/action",
            Self::Rotate => "keys/rotate/action",
            Self::GetRotationPolicy => "keyrotationpolicies/read",
            Self::SetRotationPolicy => "keyrotationpolicies/write",
            Self::Delete => "keys/delete",
            Self::Recover => "keys/recover/action",
            Self::Purge => "keys/purge/action",
            Self::Backup => "keys/backup/action",
            Self::Restore => "keys/restore/action",
            Self::RandomBytes => "rng/action",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
