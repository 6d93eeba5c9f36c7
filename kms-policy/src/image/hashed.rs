//! Layers that were hashed before.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::collect::FoundLayer;
use super::{Digest, LayerSummary};

/// Layers that were hashed, so that those which several images share are fetched and hashed once.
/// Clones share what they know.
///
/// A layer is known by the digest and length of its blob, which were compared when it was read: it does
/// not matter where it came from. Blobs without a digest are not kept.
#[derive(Clone, Default)]
pub struct HashedLayers(Arc<Mutex<BTreeMap<(Digest, u64), LayerSummary>>>);

impl fmt::Debug for HashedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedLayers").finish_non_exhaustive()
    }
}

impl HashedLayers {
    pub(super) fn find(&self, layer: &FoundLayer) -> Option<LayerSummary> {
        let key = (layer.digest.clone()?, layer.size);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).cloned()
    }

    pub(super) fn add(&self, layer: &FoundLayer, summary: &LayerSummary) {
        let Some(digest) = layer.digest.clone() else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((digest, layer.size), summary.clone());
    }
}
