//! From text to the checked model, by kube-apiserver's rules.

use std::collections::BTreeSet;

use super::cursor::{Cursor, Fields, quoted};
use super::document::Node;
use super::provider::provider_configuration;
use super::rules::{self, EarlierWildcards};
use super::{EncryptionConfiguration, ResourceConfiguration};
use crate::{Error, ErrorKind};

/// The longest text that is parsed, in bytes.
const MAX_TEXT_LEN: usize = 1 << 20;

impl EncryptionConfiguration {
    /// Reads a configuration file, YAML or JSON, and checks it as kube-apiserver does.
    ///
    /// Fields and values have the meaning and the defaults that they have for kube-apiserver 1.31
    /// and later without automatic reload: unknown and repeated fields are refused, and so are
    /// unquoted booleans and numbers where a string belongs. `apiVersion` and `kind` are
    /// `apiserver.config.k8s.io/v1` and `EncryptionConfiguration`, or the old `v1` and
    /// `EncryptionConfig`, which kube-apiserver still takes.
    ///
    /// Three things that kube-apiserver lets pass are refused here: a second YAML document, which
    /// it never reads, an empty resource name, which matches nothing, and more than 1 MiB of text.
    /// A key's secret is base64 of the standard alphabet with padding; line breaks in it are
    /// skipped.
    ///
    /// The strings that hold a secret are wiped, except for copies inside the YAML parser and
    /// `text` itself.
    ///
    /// ```
    /// use kms_envelope::kubernetes::EncryptionConfiguration;
    ///
    /// let configuration = EncryptionConfiguration::parse(
    ///     "
    /// apiVersion: apiserver.config.k8s.io/v1
    /// kind: EncryptionConfiguration
    /// resources:
    ///   - resources: [secrets]
    ///     providers:
    ///       - kms:
    ///           apiVersion: v2
    ///           name: vault
    ///           endpoint: unix:///run/kms/plugin.sock
    ///       - identity: {}
    /// ",
    /// )?;
    /// assert_eq!(configuration.resources[0].providers.len(), 2);
    /// # Ok::<(), kms_envelope::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for the first fault that is found. The
    /// message begins with its path, such as `resources[0].providers[1].kms.timeout`, and gives the
    /// line where it is known. No part of a secret is in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT_LEN {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "EncryptionConfiguration: {} bytes, more than the {MAX_TEXT_LEN} that are read",
                    text.len()
                ),
            ));
        }
        let document = Node::parse(text)?;
        let root = Cursor::root(&document).fields(&["apiVersion", "kind", "resources"])?;
        check_type(&root)?;

        let mut seen = Seen::default();
        let resources = root
            .required_items("resources")?
            .iter()
            .map(|entry| resource_configuration(entry, &mut seen))
            .collect::<Result<_, _>>()?;
        Ok(Self { resources })
    }
}

fn check_type(root: &Fields<'_>) -> Result<(), Error> {
    const WANTED: &str =
        "write apiVersion: apiserver.config.k8s.io/v1 and kind: EncryptionConfiguration";
    let api_version = root.required_text("apiVersion")?;
    let kind = root.required_text("kind")?;
    match (api_version, kind) {
        ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") | ("v1", "EncryptionConfig") => {
            Ok(())
        }
        ("apiserver.config.k8s.io/v1", other) => Err(root.field_error(
            "kind",
            format_args!("{} is not known here; {WANTED}", quoted(other)),
        )),
        (other, _) => Err(root.field_error(
            "apiVersion",
            format_args!("{} is not known here; {WANTED}", quoted(other)),
        )),
    }
}

/// What earlier parts of the document forbid to later ones.
#[derive(Default)]
struct Seen<'a> {
    kms_names: BTreeSet<&'a str>,
    wildcards: EarlierWildcards<'a>,
}

fn resource_configuration<'a>(
    entry: &Cursor<'a>,
    seen: &mut Seen<'a>,
) -> Result<ResourceConfiguration, Error> {
    let fields = entry.fields(&["resources", "providers"])?;
    let mut names = Vec::new();
    for item in fields.required_items("resources")? {
        let name = item.text()?;
        rules::check_name(name)
            .map_err(|what| item.error(format_args!("{}: {what}", quoted(name))))?;
        if let Some(wildcard) = seen.wildcards.masking(name) {
            return Err(item.error(format_args!(
                "{}: {} of an earlier entry covers it, so these providers would never be used",
                quoted(name),
                quoted(&wildcard)
            )));
        }
        names.push(name);
    }
    rules::check_list(&names).map_err(|what| fields.field_error("resources", what))?;
    seen.wildcards.extend(&names);

    Ok(ResourceConfiguration {
        resources: names.into_iter().map(str::to_owned).collect(),
        providers: fields
            .required_items("providers")?
            .iter()
            .map(|provider| provider_configuration(provider, &mut seen.kms_names))
            .collect::<Result<_, _>>()?,
    })
}
