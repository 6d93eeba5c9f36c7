//! The first state of a rotation.

use kms_core::CallOptions;
use kms_envelope::rotation::{Start, State};

use super::Driver;
use crate::Failure;
use crate::rotation::Doubt;

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
        let now = self.clock.wall_time();
        Ok(State::new(cluster_id, start, self.options.policy, now)?)
    }
}
