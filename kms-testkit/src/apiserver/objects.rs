//! What a server does with one object.

use kms_core::CallOptions;
use kms_core::object::{
    FetchOptions, ObjectKey, ObjectSource as _, ObjectStore as _, Swap, SwapOutcome,
};
use serde_json::{Value, json};

use super::encryption::Encryption;
use super::meta::{decode, encode, metadata_mut, text};
use super::place::Place;
use super::refusal::Refusal;
use super::schema::Resource;
use super::shared::Shared;

/// One replica at work on one object.
pub(super) struct Desk<'s> {
    pub(super) shared: &'s Shared,
    pub(super) resource: &'s Resource,
    pub(super) place: Place,
    pub(super) key: ObjectKey,
    pub(super) encryption: Encryption,
}

/// An object as it is stored now.
pub(super) struct Current {
    pub(super) object: Value,
    /// As it was serialized when it was stored.
    pub(super) plaintext: kms_core::SecretBytes,
    pub(super) is_stale: bool,
    pub(super) revision: kms_core::object::Revision,
}

impl<'s> Desk<'s> {
    pub(super) fn new(
        shared: &'s Shared,
        resource: &'s Resource,
        replica: usize,
        place: Place,
    ) -> Result<Self, Refusal> {
        if resource.is_namespaced != place.namespace.is_some() {
            return Err(Refusal::no_route());
        }
        let key = resource
            .key(place.namespace.as_deref(), &place.name)
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(Self {
            encryption: shared.encryption_of(replica),
            shared,
            resource,
            place,
            key,
        })
    }

    /// What is stored; refused if it is not there or does not open.
    pub(super) async fn current(&self) -> Result<Current, Refusal> {
        let stored = self
            .shared
            .store
            .fetch(&self.key, &FetchOptions::default())
            .await
            .map_err(Refusal::internal)?
            .ok_or_else(|| self.not_found())?;
        let (plaintext, is_stale) = self
            .encryption
            .read(&self.resource.name(), &self.key, &stored.value)
            .await
            .map_err(|error| unreadable(&self.key, &error))?;
        Ok(Current {
            object: decode(plaintext.expose(), stored.revision)?,
            plaintext,
            is_stale,
            revision: stored.revision,
        })
    }

    pub(super) async fn create(&self, mut object: Value) -> Result<Value, Refusal> {
        self.shared.admit(&self.place)?;
        let uid = self.shared.next_uid();
        self.set_type(&mut object)?;
        let metadata = metadata_mut(&mut object)?;
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert(
            "creationTimestamp".to_owned(),
            json!("2026-01-01T00:00:00Z"),
        );
        let swap = Swap::Create {
            value: self.seal(&encode(&object)?).await?,
        };
        match self.swap(&swap).await? {
            SwapOutcome::Swapped { revision } => {
                metadata_mut(&mut object)?
                    .insert("resourceVersion".to_owned(), json!(revision.to_string()));
                Ok(object)
            }
            SwapOutcome::Changed { .. } => Err(Refusal::already_exists(
                &self.place.resource,
                &self.place.name,
            )),
        }
    }

    /// `preconditions` are those of `DeleteOptions`.
    pub(super) async fn delete(&self, preconditions: &Value) -> Result<Value, Refusal> {
        loop {
            let current = self.current().await?;
            for field in ["uid", "resourceVersion"] {
                let wanted = preconditions.get(field).and_then(Value::as_str);
                let found = text(&current.object, field);
                if wanted.is_some_and(|wanted| wanted != found) {
                    let why = format!("the {field} in the precondition is not that of the object");
                    return Err(Refusal::conflict(
                        &self.place.resource,
                        &self.place.name,
                        &why,
                    ));
                }
            }
            let expected = current.revision;
            if let SwapOutcome::Swapped { .. } = self.swap(&Swap::Delete { expected }).await? {
                return Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }));
            }
        }
    }

    /// Kind, version, name and namespace are those of the place.
    pub(super) fn set_type(&self, object: &mut Value) -> Result<(), Refusal> {
        metadata_mut(object)?.insert("name".to_owned(), json!(self.place.name));
        if let Some(namespace) = &self.place.namespace {
            metadata_mut(object)?.insert("namespace".to_owned(), json!(namespace));
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("kind".to_owned(), json!(self.resource.kind));
            fields.insert("apiVersion".to_owned(), json!(self.resource.api_version()));
        }
        Ok(())
    }

    pub(super) async fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.encryption
            .write(&self.resource.name(), &self.key, plaintext)
            .await
            .map_err(|error| Refusal::internal(format!("unable to transform: {error}")))
    }

    pub(super) async fn swap(&self, swap: &Swap) -> Result<SwapOutcome, Refusal> {
        self.shared
            .store
            .compare_and_swap(&self.key, swap, &CallOptions::default())
            .await
            .map_err(Refusal::internal)
    }

    pub(super) fn not_found(&self) -> Refusal {
        Refusal::not_found(&self.place.resource, &self.place.name)
    }
}

/// In kube-apiserver's words.
pub(super) fn unreadable(key: &ObjectKey, error: &kms_envelope::Error) -> Refusal {
    Refusal::internal(format!("unable to transform key \"{key}\": {error}"))
}
