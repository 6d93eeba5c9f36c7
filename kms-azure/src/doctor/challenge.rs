//! What a vault answers to whoever comes without a token.

use azure_core::http::headers::{HeaderName, Headers};

use crate::error::readable;
use crate::key_url::VaultHost;

const WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("www-authenticate");

/// The vault's own word on whose tokens it takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Challenge {
    /// The token service's URL, without the tenant.
    pub(super) authority: String,
    pub(super) tenant: String,
    /// What a token is asked for.
    pub(super) scope: String,
}

impl Challenge {
    pub(super) fn of(headers: &Headers) -> Option<Self> {
        Self::parse(headers.get_optional_str(&WWW_AUTHENTICATE)?)
    }

    fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |names: [&str; 2]| {
            parameters.split(',').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                let is_it = names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
                is_it.then(|| readable(value.trim_matches('"')))
            })
        };
        let authorization = parameter(["authorization", "authorization_uri"])?;
        let (authority, tenant) = authorization.trim_end_matches('/').rsplit_once('/')?;
        let resource = parameter(["resource", "scope"])?;
        let resource = resource.trim_end_matches("/.default").trim_end_matches('/');
        (authority.starts_with("https://") && resource.starts_with("https://")).then(|| Self {
            authority: authority.to_owned(),
            tenant: tenant.to_owned(),
            scope: format!("{resource}/.default"),
        })
    }

    /// Whether it asks for a token of the service that this host belongs to. Any other could be
    /// used elsewhere.
    pub(super) fn is_of(&self, host: &VaultHost) -> bool {
        let resource = self.scope.trim_start_matches("https://");
        let resource = resource.split(['/', ':']).next().unwrap_or_default();
        let resource = resource.to_ascii_lowercase();
        host.name()
            .strip_suffix(&resource)
            .is_some_and(|label| label.ends_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_url::KeyUrl;

    #[test]
    fn every_variant_is_read() {
        for header in [
            r#"Bearer authorization="https://login.example/t1", resource="https://vault.azure.net""#,
            r#"bearer authorization_uri="https://login.example/t1/",resource="https://vault.azure.net/""#,
            r#"Bearer scope="https://vault.azure.net/.default", authorization="https://login.example/t1""#,
        ] {
            let challenge = Challenge::parse(header).unwrap();
            assert_eq!(challenge.authority, "https://login.example", "{header}");
            assert_eq!(challenge.tenant, "t1");
            assert_eq!(challenge.scope, "https://vault.azure.net/.default");
        }
        for bad in [
            "",
            "Basic realm=x",
            "Bearer x",
            r#"Bearer authorization="https://login.example/t1""#,
            r#"Bearer authorization="http://login.example/t1", resource="https://v""#,
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_vaults_own_service_may_ask() {
        let url: KeyUrl = "https://kv1.vault.azure.net/keys/etcd".parse().unwrap();
        let asks_for = |resource: &str| {
            let header =
                format!(r#"Bearer authorization="https://l/t", resource="https://{resource}""#);
            Challenge::parse(&header).unwrap().is_of(url.host())
        };
        assert!(asks_for("vault.azure.net"));
        assert!(asks_for("VAULT.azure.net:443"));
        for other in [
            "management.azure.com",
            "ault.azure.net",
            "kv1.vault.azure.net",
            "x",
        ] {
            assert!(!asks_for(other), "{other}");
        }
    }
}
