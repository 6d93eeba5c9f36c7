//! What a census counted that is not as it should be.

use kms_envelope::kubernetes::{
    EncryptionConfiguration, KmsApiVersion, ProviderConfiguration, ProviderKind,
    resource_of_etcd_key_under,
};
use kms_envelope::reencrypt::{CensusReport, CensusRow};
use kms_envelope::rotation::{Remaining, Target};

/// What objects should be under.
pub(super) struct Wanted<'w> {
    pub(super) config: &'w EncryptionConfiguration,
    pub(super) etcd_prefix: &'w str,
    /// The KMS whose key is rotated.
    pub(super) kms: &'w str,
    pub(super) target: &'w Target,
}

impl Wanted<'_> {
    /// Compares each row with what API servers write its resource with. Calls no provider. What the
    /// configuration does not encrypt, and what it gives to another provider, is as it should be.
    pub(super) fn remaining(&self, report: &CensusReport) -> Remaining {
        let mut remaining = Remaining::NONE;
        for row in &report.live.census {
            let is_known = row.provider.is_some() && !row.unparsable;
            if !is_known {
                remaining.unreadable = remaining.unreadable.saturating_add(row.count);
                continue;
            }
            if self.is_right(row) {
                continue;
            }
            remaining.off_target = remaining.off_target.saturating_add(row.count);
            let names_its_key = matches!(
                row.provider,
                Some(ProviderKind::KmsV2 | ProviderKind::Identity)
            );
            if !names_its_key {
                remaining.unnamed = remaining.unnamed.saturating_add(row.count);
            }
        }
        remaining
    }

    fn is_right(&self, row: &CensusRow) -> bool {
        // Any object of the resource stands for all.
        let key = format!("{}/{}/any/any", self.etcd_prefix, row.resource);
        let resource = resource_of_etcd_key_under(self.etcd_prefix.as_bytes(), key.as_bytes());
        // Of what nobody knows the resource of, nobody knows what it should be under. What it is
        // under the evidence says.
        let Some(resource) = resource else {
            return true;
        };
        let providers = self.config.providers_for(resource.group, resource.resource);
        let Some(first) = providers.first() else {
            return true;
        };
        if matches!(self.target, Target::Plain) {
            return row.provider == Some(ProviderKind::Identity);
        }
        let is_under = |kind, scheme: &str, name: &str| {
            row.provider == Some(kind) && row.prefix == format!("k8s:enc:{scheme}:{name}:")
        };
        let is_under_local = |kind, scheme, keys: &[kms_envelope::kubernetes::NamedKey]| {
            keys.first()
                .is_some_and(|key| is_under(kind, scheme, &key.name))
        };
        match first {
            ProviderConfiguration::Identity => row.provider == Some(ProviderKind::Identity),
            ProviderConfiguration::AesCbc(keys) => {
                is_under_local(ProviderKind::AesCbc, "aescbc:v1", keys)
            }
            ProviderConfiguration::AesGcm(keys) => {
                is_under_local(ProviderKind::AesGcm, "aesgcm:v1", keys)
            }
            ProviderConfiguration::Secretbox(keys) => {
                is_under_local(ProviderKind::Secretbox, "secretbox:v1", keys)
            }
            ProviderConfiguration::Kms(kms) if kms.api_version == KmsApiVersion::V1 => {
                is_under(ProviderKind::KmsV1, "kms:v1", &kms.name)
            }
            ProviderConfiguration::Kms(kms) => {
                let has_key = kms.name != self.kms
                    || row.key_id.as_deref() == self.target.key().map(kms_core::KeyId::as_str);
                has_key && is_under(ProviderKind::KmsV2, "kms:v2", &kms.name)
            }
            // A kind that is not known here was refused when the configuration was read.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use kms_core::KeyId;
    use kms_envelope::reencrypt::{Census, CensusOptions};

    use super::*;

    const CONFIG: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [events]
    providers:
      - identity: {}
  - resources: [configmaps]
    providers:
      - aescbc: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
  - resources: [secrets]
    providers:
      - kms: {apiVersion: v2, name: my-kms, endpoint: \"unix:///nowhere\"}
      - aescbc: {keys: [{name: key1, secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}
      - identity: {}
";

    fn v2(kms: &str, key_id: &str) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            let length = u8::try_from(bytes.len()).unwrap();
            [&[number << 3 | 2, length], bytes].concat()
        };
        let prefix = format!("k8s:enc:kms:v2:{kms}:");
        let (wrapped, id) = (field(3, b"wrapped"), field(2, key_id.as_bytes()));
        [
            prefix.into_bytes(),
            field(1, &[7; 76]),
            id,
            wrapped,
            vec![5 << 3, 1],
        ]
        .concat()
    }

    fn remaining(target: &Target, objects: &[(&str, Vec<u8>)]) -> Remaining {
        let mut census = Census::new(CensusOptions::default());
        for (number, (resource, value)) in objects.iter().enumerate() {
            let key = format!("/registry/{resource}/ns/{number}");
            census.live(key.as_bytes(), value, false).unwrap();
        }
        let wanted = Wanted {
            config: &EncryptionConfiguration::parse(CONFIG).unwrap(),
            etcd_prefix: "/registry",
            kms: "my-kms",
            target,
        };
        wanted.remaining(&census.report())
    }

    fn counts(remaining: Remaining) -> [u64; 3] {
        [
            remaining.off_target,
            remaining.unnamed,
            remaining.unreadable,
        ]
    }

    #[test]
    fn an_object_is_off_target_by_what_its_own_resource_is_written_with() {
        let target = Target::Key {
            provider: "p".parse().unwrap(),
            id: KeyId::new("kek-2").unwrap(),
        };
        let aescbc = || [b"k8s:enc:aescbc:v1:key1:".as_slice(), &[7; 48]].concat();
        let plain = || b"k8s\0plain".to_vec();
        let right = [
            ("secrets", v2("my-kms", "kek-2")),
            ("configmaps", aescbc()),
            ("events", plain()),
            ("pods", plain()),
            ("pods", v2("my-kms", "kek-1")),
        ];
        assert_eq!(counts(remaining(&target, &right)), [0, 0, 0]);
        for (object, expected) in [
            (("secrets", v2("my-kms", "kek-1")), [1, 0, 0]),
            (("secrets", v2("another", "kek-2")), [1, 0, 0]),
            (("secrets", plain()), [1, 0, 0]),
            (("secrets", aescbc()), [1, 1, 0]),
            (("configmaps", v2("my-kms", "kek-2")), [1, 0, 0]),
            (("events", v2("my-kms", "kek-2")), [1, 0, 0]),
            (
                ("secrets", b"k8s:enc:kms:v2:my-kms:cut".to_vec()),
                [0, 0, 1],
            ),
            (("secrets", b"k8s:enc:rot13:v1:x".to_vec()), [0, 0, 1]),
        ] {
            let name = format!("{object:?}");
            assert_eq!(counts(remaining(&target, &[object])), expected, "{name}");
        }
        let on_the_way_out = [("secrets", v2("my-kms", "kek-2")), ("secrets", plain())];
        assert_eq!(
            counts(remaining(&Target::Plain, &on_the_way_out)),
            [1, 0, 0]
        );
    }
}
