//! Laws that hold for any text.

use kms_envelope::ErrorKind;
use kms_envelope::kubernetes::{
    EncryptionConfiguration, GroupResource, resource_of_etcd_key, resource_of_etcd_key_under,
};
use proptest::prelude::*;

use super::SNAPSHOT;

fn parse_either_way(text: &str) -> Result<(), TestCaseError> {
    match EncryptionConfiguration::parse(text) {
        Ok(configuration) => {
            prop_assert!(!configuration.resources.is_empty());
            for entry in &configuration.resources {
                prop_assert!(!entry.providers.is_empty());
                for name in &entry.resources {
                    let name = GroupResource::parse(name);
                    let providers = configuration.providers_for(name.group, name.resource);
                    prop_assert!(!providers.is_empty());
                }
            }
        }
        Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}|[-a-z0-9:{}\\[\\]\n \"'*&!|>#%@,?]{0,200}") {
        parse_either_way(&text)?;
    }

    #[test]
    fn no_edit_of_a_valid_file_panics(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0usize..8, "[-a-zA-Z0-9:{}\\[\\]\n \"'*&!|=~]{0,8}"),
            1..4,
        ),
    ) {
        let mut text = SNAPSHOT.to_owned();
        for (at, cut, inserted) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + cut).min(text.len());
            text.replace_range(start..end, &inserted);
        }
        parse_either_way(&text)?;
    }

    #[test]
    fn no_swap_of_lines_panics(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut lines: Vec<_> = SNAPSHOT.lines().collect();
        let (a, b) = (a.index(lines.len()), b.index(lines.len()));
        lines.swap(a, b);
        parse_either_way(&lines.join("\n"))?;
    }

    #[test]
    fn every_key_has_at_most_one_resource(
        prefix in "[/a-z]{0,6}",
        key in prop::collection::vec(any::<u8>(), 0..40),
        path in "(/[a-z.]{0,8}){0,5}",
    ) {
        let _ = resource_of_etcd_key_under(prefix.as_bytes(), &key);
        if let Some(found) = resource_of_etcd_key(format!("/registry{path}").as_bytes()) {
            prop_assert!(!found.resource.is_empty() && !found.resource.contains('/'));
            let printed = found.to_string();
            prop_assert_eq!(GroupResource::parse(&printed), found);
        }
    }
}
