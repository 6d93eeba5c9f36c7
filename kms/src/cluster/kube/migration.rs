//! A migration through the API, with what can be checked before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use kms_cluster::api::KubeApi;
use kms_core::text::hex;
use kms_core::{CallOptions, Clock, KeyId};
use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::{
    ApiMigration, ApiMigrationOptions, ApiMigrationProgress, ApiMigrationReport, CheckpointStore,
};
use ring::digest;
use serde::Serialize;

use super::rights::missing_rights;
use super::{KubeSelection, MissingRight};
use crate::Failure;
use crate::cluster::migrate::preflight::{Preflight, settle, stopped_early};
use crate::cluster::replicas::{ReplicaReport, Replicas};

/// A migration that is ready to run.
#[derive(Debug)]
pub struct KubeMigration {
    api: KubeApi,
    clock: Arc<dyn Clock>,
    options: ApiMigrationOptions,
    missing_rights: Vec<MissingRight>,
    omitted: Vec<String>,
    preflight: Preflight,
    settles: bool,
}

/// What came of it. Serializes to the JSON of `kms migrate --kube --json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct KubeOutcome {
    /// The version of this form of JSON: 1.
    pub schema_version: u32,
    /// The API server.
    pub server: String,
    /// Rights that were missing before it began. To single objects or namespaces there may be some.
    pub missing_rights: Vec<MissingRight>,
    /// What was left out, and why.
    pub omitted: Vec<String>,
    /// What API servers said of the key beforehand.
    pub replicas: Vec<ReplicaReport>,
    /// What could not be checked, in sentences.
    pub unchecked: Vec<String>,
    /// What came of it.
    #[serde(flatten)]
    pub report: ApiMigrationReport,
}

/// Nothing on this path tells.
const CONVERGENCE: &str = "whether every API server uses the new key: one that does not holds old data for fresh. Name them with --metrics or --replica and --key-id, or wait until a restart or several minutes after the rotation have passed";
const WRITE_PROVIDER: &str = "what API servers write with: without --encryption-config it is not known whether that is KMS v1, with which nothing is rewritten if only the key under the provider's name changed";

impl KubeMigration {
    /// Finds the resources, and asks for the rights.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: the server cannot be asked, or a resource is not there.
    pub async fn prepare(
        api: KubeApi,
        selection: &KubeSelection,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let (scopes, omitted) = selection.find(&api).await?;
        let missing_rights = missing_rights(&api, &scopes).await?;
        let cluster = match api.cluster_id(&CallOptions::default()).await? {
            Some(uid) => format!("cluster {uid}"),
            None => api.to_string(),
        };
        Ok(Self {
            options: ApiMigrationOptions::new(cluster, scopes),
            api,
            clock,
            missing_rights,
            omitted,
            preflight: Preflight::default(),
            settles: true,
        })
    }

    /// Changes how it goes.
    #[must_use]
    pub fn with_options(
        mut self,
        change: impl FnOnce(ApiMigrationOptions) -> ApiMigrationOptions,
    ) -> Self {
        self.options = change(self.options);
        self
    }

    /// Sets whether to wait until API servers have followed their plugins, where only those were
    /// asked.
    #[must_use]
    pub const fn with_settle(mut self, settles: bool) -> Self {
        self.settles = settles;
        self
    }

    /// Asks API servers, or their plugins, whether they write with this key already. If one does
    /// not, the migration will not begin.
    ///
    /// # Errors
    ///
    /// A usage [`Failure`] if the configuration does not say of one KMS v2 that it is written with.
    pub async fn with_key(mut self, key: &KeyId, replicas: &Replicas) -> Result<Self, Failure> {
        let written = self.options.scopes.iter();
        let written = written.filter_map(|scope| scope.written_with.as_ref());
        let names: BTreeSet<_> = written
            .filter(|protection| protection.provider() == ProviderKind::KmsV2)
            .filter_map(|protection| protection.name().map(str::to_owned))
            .collect();
        let mut names = names.into_iter();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(Failure::usage(
                "a key id is that of one KMS v2, and the configuration does not write these resources with one",
                "name resources of one KMS with --resource, or leave --key-id away",
            ));
        };
        let report = replicas.check(&name, key, &self.clock).await;
        self.preflight.add(report);
        Ok(self)
    }

    /// The name of a file to keep the checkpoint in: another cluster, or other resources or
    /// namespaces of it, have another one.
    #[must_use]
    pub fn checkpoint_name(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.options.cluster.as_bytes());
        for scope in &self.options.scopes {
            context.update(format!("\n{scope}").as_bytes());
        }
        let digest = context.finish();
        let short = digest.as_ref().get(..12).unwrap_or_default();
        format!("migrate-{}.json", hex(short))
    }

    /// Rights that are missing.
    #[must_use]
    pub fn missing_rights(&self) -> &[MissingRight] {
        &self.missing_rights
    }

    /// What could not be checked, in sentences.
    #[must_use]
    pub fn unchecked(&self) -> Vec<String> {
        let mut unchecked = self.preflight.unchecked.clone();
        if self.preflight.reports.is_empty() {
            unchecked.push(CONVERGENCE.to_owned());
        }
        let mut scopes = self.options.scopes.iter();
        if scopes.any(|scope| scope.written_with.is_none()) {
            unchecked.push(WRITE_PROVIDER.to_owned());
        }
        unchecked
    }

    /// Migrates, until all is done or `stop` ends. `notice` is told what is waited for.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: what kept it from beginning, such as an API server that writes with another
    /// key. What stops it later is in the outcome.
    pub async fn run(
        self,
        checkpoints: Option<&dyn CheckpointStore>,
        stop: impl Future<Output = ()> + Send,
        mut notice: impl FnMut(&str),
        progress: impl FnMut(&ApiMigrationProgress) + Send,
    ) -> Result<KubeOutcome, Failure> {
        let mut stop = Box::pin(stop);
        if !self.options.dry_run {
            self.preflight.verdict()?;
            if self.settles && !settle(&self.preflight, &*self.clock, &mut notice, &mut stop).await
            {
                return Err(stopped_early());
            }
        }
        let mut migration = ApiMigration::new(&self.api, &*self.clock, &self.options);
        if let Some(checkpoints) = checkpoints {
            migration = migration.with_checkpoints(checkpoints);
        }
        let report = migration.run(stop, progress).await?;
        let unchecked = self.unchecked();
        Ok(KubeOutcome {
            schema_version: 1,
            server: self.api.to_string(),
            missing_rights: self.missing_rights,
            omitted: self.omitted,
            replicas: self.preflight.reports,
            unchecked,
            report,
        })
    }
}
