//! What one configuration means.

use serde::Serialize;

use super::caution::{Caution, of_configuration};
use super::class::{Lists, classes, lists};
use super::reader::Reader;
use super::step::ResourceReaders;
use crate::kubernetes::EncryptionConfiguration;

/// What a configuration does with each resource, and what is worth knowing of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// What writes and what reads.
    pub resources: Vec<ResourceReaders>,
    /// What kube-apiserver takes and an operator may not have meant.
    pub cautions: Vec<Caution>,
}

/// Says what a configuration means.
///
/// ```
/// use kms_envelope::kubernetes::EncryptionConfiguration;
/// use kms_envelope::kubernetes::plan::survey;
///
/// let configuration = EncryptionConfiguration::parse(r#"
/// apiVersion: apiserver.config.k8s.io/v1
/// kind: EncryptionConfiguration
/// resources:
///   - resources: [secrets]
///     providers: [{identity: {}}]
/// "#)?;
/// assert_eq!(survey(&configuration).cautions[0].kind(), "secrets_in_clear");
/// # Ok::<(), kms_envelope::Error>(())
/// ```
#[must_use]
pub fn survey(configuration: &EncryptionConfiguration) -> Survey {
    let lists = lists(&classes(&[configuration]), configuration);
    Survey {
        resources: resources(&lists, |_| true),
        cautions: of_configuration(configuration),
    }
}

/// What lists mean, of the classes that are wanted.
pub(super) fn resources(
    lists: &Lists<'_>,
    is_wanted: impl Fn(&super::class::Class) -> bool,
) -> Vec<ResourceReaders> {
    let one = |(class, readers): (&super::class::Class, &Vec<Reader<'_>>)| {
        let mut names = readers.iter().map(ToString::to_string);
        ResourceReaders {
            resource: class.to_string(),
            writes: names.next().unwrap_or_default(),
            reads: names.collect(),
        }
    };
    let wanted = lists.iter().filter(|(class, _)| is_wanted(class));
    wanted.map(one).collect()
}
