//! Which resources a server has.

use std::collections::BTreeSet;

use kms_core::object::ApiResource;
use kms_core::{CallOptions, Error, ErrorKind};
use reqwest::StatusCode;
use serde::Deserialize;

use super::partial::{self, ACCEPT_ONE};
use super::server::{KubeApi, group_segments};
use super::status::Status;
use super::transport::{Answer, Ask};

/// The longest answer to a question about groups or resources, in bytes. A group with 1,000
/// resources takes some 300 KiB.
const MAX_ANSWER_LEN: usize = 8 * 1024 * 1024;
/// Clusters with every product of a vendor have some 200 groups.
const MAX_GROUPS: usize = 2000;
const MAX_VERSIONS: usize = 32;
const MAX_RESOURCES: usize = 20_000;

/// A resource that a server has.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServedResource {
    /// What it is called, in the version of its group that the server prefers among those that
    /// have it.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// Whether its objects can be listed and patched, which a rewrite takes. What cannot is not
    /// stored, as a rule.
    pub can_be_rewritten: bool,
}

/// What a server has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Discovery {
    /// Its resources, group by group, without subresources.
    pub resources: Vec<ServedResource>,
    /// Groups and versions that it names and does not serve at the moment, as with an aggregated
    /// API whose server is down.
    pub unserved: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    versions: Vec<Version>,
    #[serde(default)]
    preferred_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

impl Group {
    /// The core group, which is in a place of its own.
    fn core() -> Self {
        Self {
            name: String::new(),
            versions: vec![Version {
                version: "v1".to_owned(),
            }],
            preferred_version: None,
        }
    }

    /// Its versions, the preferred one first.
    fn versions(&self) -> Vec<&str> {
        let preferred = self.preferred_version.iter();
        let mut versions: Vec<&str> = Vec::new();
        for version in preferred.chain(&self.versions).take(MAX_VERSIONS) {
            if !versions.contains(&version.version.as_str()) {
                versions.push(&version.version);
            }
        }
        versions
    }
}

impl KubeApi {
    /// Every resource, group by group: some fifty requests.
    ///
    /// # Errors
    ///
    /// Any kind; [`ErrorKind::Protocol`] if there is no end of groups or resources. A group that is
    /// not served at the moment is no error.
    pub async fn discover(&self, call: &CallOptions) -> Result<Discovery, Error> {
        let ask = Ask::get(vec!["apis"], MAX_ANSWER_LEN);
        let answer = self.ask(&ask, "the API groups", call).await?;
        let mut groups: Groups = self.parse(&answer, "the API groups")?;
        if groups.groups.len() > MAX_GROUPS {
            return Err(self.fault(ErrorKind::Protocol, "there are over 2000 API groups"));
        }
        groups.groups.insert(0, Group::core());
        let mut found = Discovery::default();
        for group in &groups.groups {
            self.add_group(group, &mut found, call).await?;
        }
        Ok(found)
    }

    /// One resource, named as in an `EncryptionConfiguration`: `secrets`, `deployments.apps`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the server has no such resource, and any other kind.
    pub async fn find_resource(
        &self,
        name: &str,
        call: &CallOptions,
    ) -> Result<ServedResource, Error> {
        let (plural, group_name) = name.split_once('.').unwrap_or((name, ""));
        // Checked as parts of a path before they become parts of one.
        ApiResource::new(group_name, "v1", plural)?;
        let group = if group_name.is_empty() {
            Group::core()
        } else {
            let what = format!("the API group {group_name}");
            let ask = Ask::get(vec!["apis", group_name], MAX_ANSWER_LEN);
            let answer = self.ask(&ask, &what, call).await?;
            self.parse(&answer, &what)?
        };
        let mut found = Discovery::default();
        self.add_group(&group, &mut found, call).await?;
        found
            .resources
            .into_iter()
            .find(|served| served.resource.plural() == plural)
            .ok_or_else(|| {
                self.fault(
                    ErrorKind::InvalidInput,
                    format!("the server has no resource {name}"),
                )
                .with_remedy("write the plural, with the group after a dot: `secrets`, `deployments.apps`; `kubectl api-resources` lists them")
            })
    }

    /// What tells the cluster from every other: the uid of its namespace `kube-system`. `None` if
    /// we may not read that.
    ///
    /// # Errors
    ///
    /// Any kind but [`ErrorKind::PermissionDenied`].
    pub async fn cluster_id(&self, call: &CallOptions) -> Result<Option<String>, Error> {
        let mut ask = Ask::get(
            vec!["api", "v1", "namespaces", "kube-system"],
            MAX_ANSWER_LEN,
        );
        ask.accept = ACCEPT_ONE;
        let answer = self.send(&ask, call).await?;
        match answer.status {
            StatusCode::OK if !answer.is_too_long => {
                let namespaces = ApiResource::new("", "v1", "namespaces")?;
                let object = partial::read_one(&answer.body, &namespaces)
                    .map_err(|error| error.with_provider(self.to_string()))?;
                Ok(object.uid().map(str::to_owned))
            }
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            _ => {
                let status = Status::read(&answer);
                Err(self.refusal(&answer, &status, "reading the namespace kube-system"))
            }
        }
    }

    async fn add_group(
        &self,
        group: &Group,
        found: &mut Discovery,
        call: &CallOptions,
    ) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        for version in group.versions() {
            // A name that cannot be part of a path is no group of a real server.
            ApiResource::new(&group.name, version, "x").map_err(|_| {
                self.fault(ErrorKind::Protocol, "an API group or version has no name")
            })?;
            let name = if group.name.is_empty() {
                version.to_owned()
            } else {
                format!("{}/{version}", group.name)
            };
            let what = format!("the resources of {name}");
            let ask = Ask::get(group_segments(&group.name, version), MAX_ANSWER_LEN);
            let answer = match self.ask(&ask, &what, call).await {
                Ok(answer) => answer,
                Err(error) if !group.name.is_empty() && is_unserved(&error) => {
                    found.unserved.push(name);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let list: Resources = self.parse(&answer, &what)?;
            for resource in list.resources {
                if resource.name.contains('/') || !seen.insert(resource.name.clone()) {
                    continue;
                }
                if found.resources.len() >= MAX_RESOURCES {
                    let message = "there are over 20000 resources";
                    return Err(self.fault(ErrorKind::Protocol, message));
                }
                let has = |verb: &str| resource.verbs.iter().any(|found| found == verb);
                found.resources.push(ServedResource {
                    can_be_rewritten: has("list") && has("patch"),
                    is_namespaced: resource.namespaced,
                    resource: ApiResource::new(&group.name, version, &resource.name).map_err(
                        |_| self.fault(ErrorKind::Protocol, "a resource has no fit name"),
                    )?,
                });
            }
        }
        Ok(())
    }

    async fn ask(&self, ask: &Ask<'_>, what: &str, call: &CallOptions) -> Result<Answer, Error> {
        let answer = self.send(ask, call).await?;
        if answer.status == StatusCode::OK && !answer.is_too_long {
            return Ok(answer);
        }
        if answer.is_too_long {
            let message = format!("{what}: the answer is over 8 MiB");
            return Err(self.fault(ErrorKind::Protocol, message));
        }
        let status = Status::read(&answer);
        Err(self.refusal(&answer, &status, what))
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, answer: &Answer, what: &str) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|_| {
            let message = format!("{what}: the answer is not what Kubernetes gives");
            self.fault(ErrorKind::Protocol, message)
        })
    }
}

/// Whether a group's own server is at fault, and not the whole API server or us.
fn is_unserved(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
    )
}
