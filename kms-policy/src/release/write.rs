//! Writing policies: always the same bytes for the same policy.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Condition, ReleasePolicy, Scalar};

impl ReleasePolicy {
    /// The policy as JSON, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// The policy as JSON for people, indented.
    #[must_use]
    pub fn to_pretty_json(&self) -> String {
        format!("{:#}", self.to_value())
    }

    fn to_value(&self) -> Value {
        let authorities = self.authorities.iter().map(|authority| {
            let mut value = json!({ "authority": authority.url });
            if let (Value::Object(all), Value::Object(group)) =
                (&mut value, written(&authority.condition))
            {
                all.extend(group);
            }
            value
        });
        json!({
            "version": self.version,
            "anyOf": authorities.collect::<Vec<_>>(),
        })
    }

    /// The object that Key Vault takes as `release_policy` when a key is made or imported. What is
    /// `immutable` can never be changed again.
    #[must_use]
    pub fn to_key_vault(&self, immutable: bool) -> Value {
        json!({
            "contentType": "application/json; charset=utf-8",
            "data": URL_SAFE_NO_PAD.encode(self.to_json()),
            "immutable": immutable,
        })
    }
}

fn written(condition: &Condition) -> Value {
    let list = |conditions: &[Condition]| conditions.iter().map(written).collect::<Vec<_>>();
    match condition {
        Condition::AllOf(conditions) => json!({ "allOf": list(conditions) }),
        Condition::AnyOf(conditions) => json!({ "anyOf": list(conditions) }),
        Condition::Claim(one) => {
            let value = match &one.value {
                Scalar::Text(text) => json!(text),
                Scalar::Integer(number) => json!(number),
                Scalar::Flag(flag) => json!(flag),
            };
            json!({ "claim": one.claim, one.operator.as_str(): value })
        }
    }
}
