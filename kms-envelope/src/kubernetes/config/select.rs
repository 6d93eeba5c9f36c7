//! Which providers are responsible for a resource.

use super::{EncryptionConfiguration, GroupResource, ProviderConfiguration};

impl EncryptionConfiguration {
    /// The providers of a resource, in order: all of them read, the first one writes.
    ///
    /// The entries that name it exactly decide, in order and appended to each other; if there are
    /// none, those with `*.group`; if there are none either, those with `*.*`. An empty list means
    /// that the resource is stored as it is, and that a value beginning with `k8s:enc:` is refused.
    /// The core group is empty.
    ///
    /// The allocations of service addresses and ports, which have no API of their own, go with
    /// `services`.
    ///
    /// ```
    /// use kms_envelope::kubernetes::{EncryptionConfiguration, ProviderConfiguration};
    ///
    /// let configuration = EncryptionConfiguration::parse(
    ///     r#"{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
    ///         "resources": [
    ///           {"resources": ["events"], "providers": [{"identity": {}}]},
    ///           {"resources": ["*.*"], "providers": [
    ///             {"kms": {"apiVersion": "v2", "name": "a", "endpoint": "unix:///a"}}]}]}"#,
    /// )?;
    /// let of_events = configuration.providers_for("", "events");
    /// assert!(matches!(of_events[..], [ProviderConfiguration::Identity]));
    /// let of_deployments = configuration.providers_for("apps", "deployments");
    /// assert!(matches!(of_deployments[..], [ProviderConfiguration::Kms(_)]));
    /// # Ok::<(), kms_envelope::Error>(())
    /// ```
    #[must_use]
    pub fn providers_for(&self, group: &str, resource: &str) -> Vec<&ProviderConfiguration> {
        let resource = match (group, resource) {
            ("", "serviceipallocations" | "servicenodeportallocations") => "services",
            (_, resource) => resource,
        };
        [
            GroupResource::new(group, resource),
            GroupResource::new(group, "*"),
            GroupResource::ALL,
        ]
        .into_iter()
        .map(|wanted| self.providers_named(wanted))
        .find(|providers| !providers.is_empty())
        .unwrap_or_default()
    }

    fn providers_named(&self, wanted: GroupResource<'_>) -> Vec<&ProviderConfiguration> {
        self.resources
            .iter()
            .filter(|entry| {
                let mut names = entry.resources.iter();
                names.any(|name| GroupResource::parse(name) == wanted)
            })
            .flat_map(|entry| &entry.providers)
            .collect()
    }
}
