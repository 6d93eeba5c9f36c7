//! A password for a token, again whenever the token has run out.

use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::options::EtcdUser;
use super::proto::AuthenticateRequest;
use super::proto::auth_client::AuthClient;

/// What a request shows for who we are.
#[derive(Clone, Default)]
pub(super) struct Token {
    /// None if etcd asks for no password.
    pub(super) value: Option<MetadataValue<Ascii>>,
    /// Which login it is from; zero is none.
    number: u64,
}

/// A user who logs in once, for all calls.
pub(super) struct Login {
    user: EtcdUser,
    token: Mutex<Token>,
}

impl Login {
    pub(super) fn new(user: EtcdUser) -> Self {
        Self {
            user,
            token: Mutex::new(Token::default()),
        }
    }

    /// The token at hand, unless it is the one that was refused: then a new one.
    pub(super) async fn token(
        &self,
        channel: &Channel,
        refused: Option<&Token>,
    ) -> Result<Token, Status> {
        // Held while waiting for etcd: one login is enough for all who need one.
        let mut token = self.token.lock().await;
        let is_good = token.number > 0 && refused.is_none_or(|old| old.number != token.number);
        if !is_good {
            *token = Token {
                value: self.authenticate(channel).await?,
                number: token.number.saturating_add(1),
            };
        }
        Ok(token.clone())
    }

    async fn authenticate(
        &self,
        channel: &Channel,
    ) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let request = AuthenticateRequest {
            name: self.user.name().to_owned(),
            password: self.user.password().to_owned(),
        };
        match AuthClient::new(channel.clone()).authenticate(request).await {
            Ok(answer) => {
                let mut value = MetadataValue::try_from(&*answer.get_ref().token)
                    .map_err(|_| Status::unauthenticated("etcd gave a token that is not ASCII"))?;
                value.set_sensitive(true);
                Ok(Some(value))
            }
            // As etcd's own client does: whoever asks for no password gets none.
            Err(status)
                if status.code() == Code::FailedPrecondition
                    && status.message().contains("authentication is not enabled") =>
            {
                Ok(None)
            }
            Err(status) => Err(status),
        }
    }
}
