//! Putting a double together.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use kms_core::{Clock, Error, ErrorKind, TokioClock};

use super::access::{Access, Kind};
use super::admin::Admin;
use super::entra::{TokenKey, uuid};
use super::material::KeyPool;
use super::names::Names;
use super::route::is_name;
use super::running::Vault;
use super::server;
use super::shifted_clock::ShiftedClock;
use super::state::{Desk, DeskState, Entra, Network, Shared};
use super::store::{BackupKey, Retention, Store};
use super::throttle::Throttle;
use crate::loopback::bind;
use crate::loopback::certificates::Authority;
use crate::loopback::script::Script;

const DEFAULT_NAME: &str = "kms-testkit";
const DEFAULT_TENANT: &str = "5a9c1d3e-7f42-4b8e-9c1a-2e6b8d4f7a90";
/// Entra's own default is a random time between 60 and 90 minutes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3599);

/// What a double will be like. Made by [`Vault::builder`].
#[derive(Debug)]
pub struct VaultBuilder {
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    domain: String,
    tenant: String,
    more_vaults: Vec<String>,
    token_lifetime: Duration,
    throttle_scale: Option<f64>,
    limit_creation: bool,
    retention: Retention,
    deletion: Duration,
    generate_keys: bool,
    admin: bool,
    metadata: Option<SocketAddr>,
}

impl Default for VaultBuilder {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Arc::new(TokioClock::new()),
            domain: "localhost".to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            more_vaults: Vec::new(),
            token_lifetime: TOKEN_LIFETIME,
            throttle_scale: Some(1.0),
            limit_creation: true,
            retention: Retention {
                days: 90,
                purge_protection: false,
            },
            deletion: Duration::ZERO,
            generate_keys: false,
            admin: false,
            metadata: None,
        }
    }
}

impl VaultBuilder {
    /// Where to listen; a free port of 127.0.0.1 by default.
    #[must_use]
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The time that keys, tokens, limits and slow answers go by; the real one by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What host names end in: `NAME.vault.DOMAIN`, `NAME.managedhsm.DOMAIN`, `login.DOMAIN`.
    /// `localhost` by default, which no name server is ever asked for.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into().to_ascii_lowercase();
        self
    }

    /// The tenant of the stores and of all identities.
    #[must_use]
    pub fn tenant_id(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// One more vault beside the default one.
    #[must_use]
    pub fn vault(mut self, name: impl Into<String>) -> Self {
        self.more_vaults.push(name.into().to_ascii_lowercase());
        self
    }

    /// How long a token is good for; an hour by default.
    #[must_use]
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// The part of the documented request limits that a vault has: 1 by default, less to reach
    /// them sooner, `None` for no limit. A Managed HSM has none.
    #[must_use]
    pub const fn throttle_scale(mut self, scale: Option<f64>) -> Self {
        self.throttle_scale = scale;
        self
    }

    /// Lets keys be made without limit, whatever else is limited. The documented limit is 20 keys in
    /// ten seconds, or 10 in hardware: less than a test program wants that fills a list.
    #[must_use]
    pub const fn unlimited_creation(mut self) -> Self {
        self.limit_creation = false;
        self
    }

    /// How many days a deleted key is kept, from 7 to 90, and whether it may be purged before.
    #[must_use]
    pub const fn soft_delete(mut self, days: u32, purge_protection: bool) -> Self {
        self.retention = Retention {
            days,
            purge_protection,
        };
        self
    }

    /// How long a deletion takes, on the double's clock; no time by default. Until it is done the
    /// key is neither there nor among the deleted ones, and its name is taken.
    #[must_use]
    pub const fn deletion_takes(mut self, duration: Duration) -> Self {
        self.deletion = duration;
        self
    }

    /// Serves a machine's metadata here too, over plain HTTP, for managed identities; see
    /// [`Vault::metadata_url`].
    #[must_use]
    pub const fn metadata(mut self, address: SocketAddr) -> Self {
        self.metadata = Some(address);
        self
    }

    /// Takes commands over HTTP too, at [`Vault::admin_url`], for test programs in other languages:
    /// they do there what a Rust test does through its handles. The clock then runs as it did, and
    /// can be moved ahead.
    ///
    /// | request | body |
    /// |---|---|
    /// | `POST /clock` | `{"advance_seconds": 3600}` |
    /// | `POST /faults` | `{"store": "vault", "operation": "unwrapKey", "fault": "status", "status": 503, "times": 1}` |
    /// | `DELETE /faults` | |
    /// | `POST /identities` | `{"secret": "…"}` |
    /// | `POST /roles`, `DELETE /roles` | `{"store": "managed_hsm", "object_id": "…", "role": "CryptoUser", "key": "kek", "delay_seconds": 60}` |
    /// | `POST /network` | `{"store": "vault", "network": "Private"}` |
    /// | `GET /calls` | |
    ///
    /// Stores are `vault` and `managed_hsm`; faults of `tokens` are those of the token service. Faults
    /// are `slow` with `ms`, `throttled` with or without `retry_after_seconds`, `status` and
    /// `proxy_status` with `status`, `drop`, `hang`, `wrong_kid` and `truncated`. What is optional:
    /// `operation` (any), `times` (always), `key` (the whole store), `delay_seconds`.
    #[must_use]
    pub const fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Makes every RSA key anew. By default the first few of each size come from a set that stands
    /// in the source, because making them is slow: good for tests, and public.
    #[must_use]
    pub const fn generate_keys(mut self) -> Self {
        self.generate_keys = true;
        self
    }

    /// Starts listening, on the tokio runtime this is called on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for a vault name or a retention that Azure would refuse, or a domain
    /// that is none, [`ErrorKind::Io`] if the address cannot be listened on, [`ErrorKind::Internal`] if keys or
    /// certificates cannot be made.
    pub async fn start(self) -> Result<Vault, Error> {
        self.check()?;
        let (listener, address) = bind(self.address).await?;
        let metadata = match self.metadata {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let names = Names::new(self.domain.clone(), address.port());
        let vault = self.desk(&names, Kind::KeyVault, DEFAULT_NAME, true);
        let managed_hsm = self.desk(&names, Kind::ManagedHsm, DEFAULT_NAME, true);
        let more = self.more_vaults.iter();
        let more = more.map(|name| self.desk(&names, Kind::KeyVault, name, false));
        let stores: BTreeMap<_, _> = [&vault, &managed_hsm]
            .map(Arc::clone)
            .into_iter()
            .chain(more)
            .map(|desk| (desk.host.clone(), desk))
            .collect();
        let mut hosts: Vec<String> = stores.keys().cloned().chain([names.login_host()]).collect();
        let mut clock = self.clock;
        let mut admin = None;
        if self.admin {
            let shifted = Arc::new(ShiftedClock::new(clock));
            clock = Arc::clone(&shifted) as Arc<dyn Clock>;
            hosts.push(names.admin_host());
            admin = Some(Admin {
                path: format!("/{}", uuid()?),
                clock: shifted,
            });
        }
        let authority = Authority::new()?;
        let tls = authority.listener(hosts.clone(), "kms-testkit loopback vault", false)?;
        let shared = Arc::new(Shared {
            clock,
            names,
            stores,
            pool: if self.generate_keys {
                KeyPool::generating()
            } else {
                KeyPool::ready_made()
            },
            token_key: TokenKey::generate()?,
            cluster_key: TokenKey::generate()?,
            token_lifetime: self.token_lifetime,
            backup_key: BackupKey::generate()?,
            deletion: self.deletion,
            admin,
            entra: Mutex::new(Entra {
                tenants: vec![self.tenant.clone()],
                ..Entra::default()
            }),
        });
        let serving = server::listen(listener, tls, Arc::clone(&shared));
        let mut tasks = vec![tokio::spawn(serving).abort_handle()];
        let metadata = metadata.map(|(listener, address)| {
            let serving = server::listen_metadata(listener, Arc::clone(&shared));
            tasks.push(tokio::spawn(serving).abort_handle());
            address
        });
        Ok(Vault {
            shared,
            address,
            ca_pem: authority.ca_pem().to_owned(),
            tenant_id: self.tenant,
            host_names: hosts,
            vault,
            managed_hsm,
            metadata,
            tasks,
        })
    }

    fn check(&self) -> Result<(), Error> {
        let invalid = |what: &str, name: &str| {
            let message = format!("{what} `{name}` is not a valid name");
            Err(Error::new(ErrorKind::InvalidInput, message))
        };
        let is_label = |label: &str| is_name(label) && !label.starts_with('-');
        if let Some(name) = self
            .more_vaults
            .iter()
            .find(|name| !is_label(name) || !(3..=24).contains(&name.len()))
        {
            return invalid("vault", name);
        }
        if !self.domain.split('.').all(is_label) {
            return invalid("domain", &self.domain);
        }
        if !(7..=90).contains(&self.retention.days) {
            let message = "deleted keys are kept for 7 to 90 days";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn desk(&self, names: &Names, kind: Kind, name: &str, is_default: bool) -> Arc<Desk> {
        let state = DeskState {
            store: Store::new(self.retention),
            access: Access::default(),
            throttle: Throttle::new(self.throttle_scale, self.limit_creation),
            network: Network::default(),
            tenant: self.tenant.clone(),
            faults: Script::default(),
            calls: BTreeMap::new(),
        };
        let host = names.store_host(kind, name);
        Arc::new(Desk::new(name.to_owned(), kind, host, is_default, state))
    }
}
