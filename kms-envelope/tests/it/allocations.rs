//! How often the memory allocator is called: what a reader of a million values pays.

use allocation_counter::measure;
use kms_envelope::kubernetes::inspect;
use serde_json::json;

use crate::{Cluster, ETCD_KEY, kms, now, plugin};

const KIB: [u8; 1024] = [7; 1024];

#[test]
fn a_kms_v2_value_takes_at_most_three_allocations() {
    let mut annotated = plugin();
    std::sync::Arc::get_mut(&mut annotated)
        .unwrap()
        .annotations
        .insert("version.example.com".to_owned(), b"7".to_vec());
    for plugin in [plugin(), annotated] {
        let cluster = Cluster::with(json!([kms("v2", "lab")]), plugin, |builder| builder);
        now(cluster.transformer.refresh()).unwrap();
        let current = cluster.write(&KIB);
        // Under a seed of before the rotation, so that the cache is asked.
        cluster.plugin.rotate_to("key-2");
        now(cluster.transformer.refresh()).unwrap();

        let written = measure(|| {
            now(cluster.transformer.write(ETCD_KEY, &KIB)).unwrap();
        });
        assert!(written.count_total <= 1, "write: {written:?}");
        for value in [&current, &cluster.write(&KIB)] {
            let read = measure(|| {
                now(cluster.transformer.read(ETCD_KEY, value)).unwrap();
            });
            assert!(read.count_total <= 3, "read: {read:?}");
            let inspected = measure(|| {
                inspect(value).unwrap();
            });
            assert!(inspected.count_total <= 2, "inspect: {inspected:?}");
        }
        assert_eq!(crate::count(&cluster.plugin.unwraps), 0);
    }
}
