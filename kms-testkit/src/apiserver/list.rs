//! Lists, page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kms_core::ErrorKind;
use kms_core::object::{ObjectKey, ObjectSource as _, Revision, ScanOptions, ScanPage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::meta::{Form, decode};
use super::objects::unreadable;
use super::refusal::Refusal;
use super::schema::Resource;
use super::shared::Shared;

/// What to list.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) limit: Option<u32>,
    pub(super) after: Option<String>,
}

/// A continue token, as kube-apiserver makes them.
#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    rv: u64,
    /// The key after which the list goes on, below that of the resource, and a zero byte.
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Asked {
    /// Takes the part of a field selector in, one requirement after the other.
    pub(super) fn select(&mut self, selector: &str) -> Result<(), Refusal> {
        for requirement in split(selector, ',') {
            let mut sides = split(&requirement, '=').into_iter();
            let field = sides.next().unwrap_or_default();
            // `==` is the same as `=`.
            let value = sides.find(|side| !side.is_empty());
            let value = value.map(|value| unescape(&value));
            match (field.as_str(), value) {
                ("metadata.name", Some(name)) => self.name = Some(name),
                ("metadata.namespace", Some(namespace))
                    if self.namespace.as_ref().is_none_or(|it| *it == namespace) =>
                {
                    self.namespace = Some(namespace);
                }
                _ => {
                    let why = format!("field label not supported: {field}");
                    return Err(Refusal::bad_request(why));
                }
            }
        }
        Ok(())
    }
}

/// Splits where a mark stands without a backslash before it.
fn split(text: &str, mark: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == mark {
            parts.push(String::new());
            continue;
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
            if letter == '\\' {
                part.extend(letters.next());
            }
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter => plain.push(letter),
        }
    }
    plain
}

pub(super) async fn list(
    shared: &Shared,
    resource: &Resource,
    replica: usize,
    asked: &Asked,
    form: Form,
) -> Result<Value, Refusal> {
    let page = scan(shared, resource, asked).await?;
    let encryption = shared.encryption_of(replica);
    let mut objects = Vec::new();
    for stored in &page.objects {
        let key = core::str::from_utf8(stored.key.as_bytes()).unwrap_or_default();
        let Some((_, name)) = resource.place_of(key) else {
            continue;
        };
        if asked.name.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        // One that does not open fails the whole list.
        let (plaintext, _) = encryption
            .read(&resource.name(), &stored.key, &stored.value)
            .await
            .map_err(|error| unreadable(&stored.key, &error))?;
        objects.push(decode(plaintext.expose(), stored.revision)?);
    }
    let mut metadata = json!({ "resourceVersion": page.revision.to_string() });
    if let (Some(last), Some(fields)) = (&page.next, metadata.as_object_mut()) {
        fields.insert(
            "continue".to_owned(),
            json!(token(resource, page.revision, last)),
        );
        // How many follow is not said of a list that leaves some out.
        if asked.name.is_none() {
            let rest = ScanOptions::default()
                .with_prefix(resource.prefix(asked.namespace.as_deref()))
                .with_at(page.revision)
                .with_after(last.clone());
            let remaining = shared.store.count(&rest).map_err(Refusal::internal)?;
            fields.insert("remainingItemCount".to_owned(), json!(remaining));
        }
    }
    Ok(form.show_list(resource, metadata, objects))
}

async fn scan(shared: &Shared, resource: &Resource, asked: &Asked) -> Result<ScanPage, Refusal> {
    let prefix = resource.prefix(asked.namespace.as_deref());
    // Without a limit, all of it.
    let mut options = ScanOptions::default()
        .with_prefix(prefix)
        .with_page_limit(asked.limit.unwrap_or(u32::MAX))
        .with_page_bytes(usize::MAX);
    if let Some(text) = &asked.after {
        let bad = || Refusal::bad_request("continue key is not valid: illegal base64 data");
        let (revision, last) = read_token(resource, text).ok_or_else(bad)?;
        options = options.with_at(revision).with_after(last);
    }
    shared.store.scan(&options).await.map_err(|error| {
        if error.kind() == ErrorKind::Compacted {
            Refusal::expired()
        } else {
            Refusal::internal(error)
        }
    })
}

fn token(resource: &Resource, revision: Revision, last: &ObjectKey) -> String {
    let key = String::from_utf8_lossy(last.as_bytes()).into_owned();
    let start = key.strip_prefix(&resource.prefix(None)).unwrap_or(&key);
    let token = Token {
        v: VERSION.to_owned(),
        rv: revision.get(),
        start: format!("{start}\0"),
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn read_token(resource: &Resource, text: &str) -> Option<(Revision, ObjectKey)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let token: Token = serde_json::from_slice(&bytes).ok()?;
    if token.v != VERSION {
        return None;
    }
    let last = token.start.strip_suffix('\0')?;
    let key = ObjectKey::new(format!("{}{last}", resource.prefix(None))).ok()?;
    Some((Revision::new(token.rv), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_taken_apart_at_what_is_not_escaped() {
        let mut asked = Asked::default();
        asked
            .select(r"metadata.name==a\,b\=c,metadata.namespace=n")
            .unwrap();
        assert_eq!(asked.name.as_deref(), Some("a,b=c"));
        assert_eq!(asked.namespace.as_deref(), Some("n"));
        for bad in ["spec.x=1", "metadata.name", "metadata.name!=a", ""] {
            assert!(Asked::default().select(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_say_where_to_go_on() {
        let secrets = super::super::schema::default_resources().remove(2);
        let key = ObjectKey::new("/registry/secrets/a/b").unwrap();
        let text = token(&secrets, Revision::new(7), &key);
        assert_eq!(read_token(&secrets, &text), Some((Revision::new(7), key)));
        assert_eq!(read_token(&secrets, "no token"), None);
    }
}
