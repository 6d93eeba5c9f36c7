//! The first state of a rotation.

use kms_core::{CallOptions, KeyId};
use kms_envelope::reencrypt::ScannedSource;
use kms_envelope::rotation::{Observation, Start, State, Target};

use super::Driver;
use crate::Failure;
use crate::rotation::{CensusOrder, Doubt};

impl Driver {
    /// Says so if the objects are of another cluster than the state. If they do not say of which they
    /// are now, they are asked again before anything is done with them.
    pub(super) async fn other_cluster(&self, state: &State) -> Option<Doubt> {
        let objects = self.parts.objects.identity().await.ok()?.cluster_id;
        let is_other = objects.as_deref() != Some(state.cluster_id());
        is_other.then(|| Doubt::OtherCluster {
            state: state.cluster_id().to_owned(),
            objects,
        })
    }

    /// A state from nothing but what can be seen now: the cluster, and the key that the provider
    /// wraps with. What older objects are under the first census says.
    ///
    /// Somebody has to know a key of the provider. What is begun with another one than the cluster's
    /// would wait for ever, or bring objects to a key that no API server has.
    pub(super) async fn begin(&self) -> Result<State, Failure> {
        let identity = self.parts.objects.identity().await?;
        let Some(cluster_id) = identity.cluster_id else {
            return Err(Failure::new(
                "no_cluster_id",
                format!("{} does not say which cluster it is", identity.name),
                "give a source that names its cluster, such as a live etcd",
            ));
        };
        let options = CallOptions::default();
        let seen = self.parts.keys.observe(&options).await?;
        let is_current = |id| seen.current.as_ref() == Some(id);
        let Some(key) = seen.keys.iter().find(|key| is_current(&key.id)) else {
            return Err(Failure::new(
                "key_not_found",
                format!("{} names no key that it wraps with", seen.provider),
                "make a key there first, or enable it",
            ));
        };
        let start = Start::Key {
            provider: seen.provider.clone(),
            key: key.clone(),
        };
        let target = Target::Key {
            provider: seen.provider.clone(),
            id: key.id.clone(),
        };
        self.check_known(&seen, target).await?;
        let now = self.clock.wall_time();
        Ok(State::new(cluster_id, start, self.options.policy, now)?)
    }

    /// Refuses a provider of which no API server writes with a key, and no object names one. Where
    /// there is nobody to ask and nothing that names a key, there is nothing to compare with.
    async fn check_known(&self, seen: &Observation, target: Target) -> Result<(), Failure> {
        let writers = self.parts.writers.states(&target).await;
        let nobody_was_asked = writers.known.is_empty() && writers.unknown.is_empty();
        let keys: Vec<_> = seen.keys.iter().map(|key| key.id.clone()).collect();
        let order = CensusOrder {
            target,
            keys: keys.clone(),
            writers,
        };
        let evidence = self.parts.objects.verify(&order).await?.evidence;
        let is_known = |key: &KeyId| {
            let mut references = evidence.references_to(key);
            evidence.replicas_with(key).next().is_some()
                || references.any(|found| found.unknown.is_none())
        };
        let mut references = evidence
            .sources()
            .iter()
            .flat_map(ScannedSource::references);
        let names_none = references.all(|reference| reference.key_id().is_none());
        if keys.iter().any(is_known) || (nobody_was_asked && names_none) {
            return Ok(());
        }
        Err(Failure::new(
            "another_provider",
            format!(
                "no API server that answers writes with a key of {}, and no stored object names one",
                seen.provider
            ),
            "give the provider that the KMS plugins of this cluster use, and check that one of them answers",
        ))
    }
}
