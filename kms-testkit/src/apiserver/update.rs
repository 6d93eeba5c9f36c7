//! Updates: written if the object changes, or if what is stored is stale.

use kms_core::object::{Swap, SwapOutcome};
use serde_json::{Value, json};

use super::meta::{encode, merge, metadata_mut, text};
use super::objects::Desk;
use super::refusal::Refusal;

/// What is to become of an object.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// PUT: this in its place.
    Replace(Value),
    /// PATCH, `application/merge-patch+json`.
    Merge(Value),
    /// PATCH, `application/apply-patch+yaml`, of metadata alone.
    Apply(Value),
}

/// What the fields of an object that nobody has tracked are said to be managed by, once somebody
/// applies.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

impl Change {
    /// What it makes of an object.
    fn on(&self, current: &Value) -> Value {
        match self {
            Self::Replace(object) => object.clone(),
            Self::Merge(patch) => {
                let mut object = current.clone();
                merge(&mut object, patch);
                object
            }
            Self::Apply(applied) => {
                let mut object = current.clone();
                // Server-side apply begins to track who manages which fields.
                let is_untracked = current.pointer("/metadata/managedFields").is_none();
                if let (true, Ok(metadata)) = (is_untracked, metadata_mut(&mut object)) {
                    let managed = json!([{ "manager": BEFORE_FIRST_APPLY, "operation": "Update" }]);
                    metadata.insert("managedFields".to_owned(), managed);
                }
                merge(&mut object, applied);
                object
            }
        }
    }

    const fn given(&self) -> &Value {
        match self {
            Self::Replace(given) | Self::Merge(given) | Self::Apply(given) => given,
        }
    }
}

impl Desk<'_> {
    pub(super) async fn update(&self, change: &Change) -> Result<Value, Refusal> {
        let (resource, name) = (&*self.place.resource, &*self.place.name);
        loop {
            let current = match self.current().await {
                Err(refusal) if refusal.code == 404 => return self.absent(change, refusal).await,
                current => current?,
            };
            let mut object = change.on(&current.object);
            let wanted = text(&object, "resourceVersion").to_owned();
            let found = text(&current.object, "resourceVersion");
            if let Change::Replace(given) = change {
                let uid = text(given, "uid");
                if !uid.is_empty() && uid != text(&current.object, "uid") {
                    let why = "Precondition failed: UID in precondition is not that of the object";
                    return Err(Refusal::conflict(resource, name, why));
                }
            }
            if !wanted.is_empty() && wanted != found {
                return Err(Refusal::modified(resource, name));
            }
            self.keep_immutable(&mut object, &current.object)?;
            self.shared.admit(&self.place)?;
            let plaintext = encode(&object)?;
            // The rule of kube-apiserver's store.
            if plaintext == current.plaintext.expose() && !current.is_stale {
                return Ok(current.object);
            }
            let swap = Swap::Replace {
                expected: current.revision,
                value: self.seal(&plaintext).await?,
            };
            if let SwapOutcome::Swapped { revision } = self.swap(&swap).await? {
                metadata_mut(&mut object)?
                    .insert("resourceVersion".to_owned(), json!(revision.to_string()));
                return Ok(object);
            }
            // Somebody else came in between: again, with what is there now.
        }
    }

    /// What is not there is made by an apply that names no uid, and by nothing else.
    async fn absent(&self, change: &Change, refusal: Refusal) -> Result<Value, Refusal> {
        match change {
            Change::Apply(applied) if text(applied, "uid").is_empty() => {
                self.create(applied.clone()).await
            }
            Change::Apply(_) => Err(Refusal::conflict(
                &self.place.resource,
                &self.place.name,
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            )),
            Change::Replace(_) | Change::Merge(_) => Err(refusal),
        }
    }

    fn keep_immutable(&self, object: &mut Value, current: &Value) -> Result<(), Refusal> {
        for field in ["uid", "name", "namespace", "creationTimestamp"] {
            let (was, is) = (text(current, field).to_owned(), text(object, field));
            if is.is_empty() && !was.is_empty() {
                metadata_mut(object)?.insert(field.to_owned(), json!(was));
            } else if is != was {
                let why = format!("metadata.{field}: Invalid value: field is immutable");
                let (resource, name) = (&self.place.resource, &self.place.name);
                return Err(Refusal::invalid(resource, name, &why));
            }
        }
        Ok(())
    }
}

impl Change {
    /// Refuses what this server cannot do.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let given = self.given();
        let Some(fields) = given.as_object() else {
            return Err(Refusal::bad_request("the body is no mapping"));
        };
        let is_metadata =
            |field: &String| matches!(field.as_str(), "apiVersion" | "kind" | "metadata");
        if matches!(self, Self::Apply(_)) && !fields.keys().all(is_metadata) {
            return Err(Refusal::bad_request(
                "this server applies metadata alone; use a merge patch",
            ));
        }
        Ok(())
    }
}
