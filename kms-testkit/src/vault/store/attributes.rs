//! What can be said of a key version beside the key.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::vault::api_version::ApiVersion;
use crate::vault::refusal::Refusal;

/// How a store keeps what is deleted.
#[derive(Clone, Copy, Debug)]
pub(in crate::vault) struct Retention {
    /// 7 to 90.
    pub(in crate::vault) days: u32,
    pub(in crate::vault) purge_protection: bool,
}

impl Retention {
    /// The `recoveryLevel` of every key.
    pub(in crate::vault) const fn level(self) -> &'static str {
        match (self.days, self.purge_protection) {
            (90.., false) => "Recoverable+Purgeable",
            (90.., true) => "Recoverable",
            (_, false) => "CustomizedRecoverable+Purgeable",
            (_, true) => "CustomizedRecoverable",
        }
    }
}

/// Times are seconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(in crate::vault) struct Attributes {
    pub(in crate::vault) enabled: bool,
    pub(in crate::vault) not_before: Option<i64>,
    pub(in crate::vault) expires: Option<i64>,
    pub(in crate::vault) created: i64,
    pub(in crate::vault) updated: i64,
    pub(in crate::vault) exportable: bool,
}

/// The `attributes` of a request. `null` and absence are the same.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::vault) struct AttributesRequest {
    pub(in crate::vault) enabled: Option<bool>,
    #[serde(rename = "nbf")]
    pub(in crate::vault) not_before: Option<i64>,
    #[serde(rename = "exp")]
    pub(in crate::vault) expires: Option<i64>,
    pub(in crate::vault) exportable: Option<bool>,
}

impl Attributes {
    pub(in crate::vault) fn new(request: AttributesRequest, now: i64) -> Result<Self, Refusal> {
        let attributes = Self {
            enabled: true,
            not_before: None,
            expires: None,
            created: now,
            updated: now,
            exportable: request.exportable.unwrap_or_default(),
        };
        attributes.with(request, now)
    }

    /// What the request says, and the rest as it was.
    pub(in crate::vault) fn with(
        self,
        request: AttributesRequest,
        now: i64,
    ) -> Result<Self, Refusal> {
        let attributes = Self {
            enabled: request.enabled.unwrap_or(self.enabled),
            not_before: request.not_before.or(self.not_before),
            expires: request.expires.or(self.expires),
            updated: now,
            ..self
        };
        let window = attributes.not_before.zip(attributes.expires);
        if window.is_some_and(|(start, end)| start >= end) {
            return Err(Refusal::bad_parameter(
                "Property exp must be later than property nbf.",
            ));
        }
        if request
            .exportable
            .is_some_and(|exportable| exportable != self.exportable)
        {
            return Err(Refusal::bad_parameter(
                "AKV.SKR.1003: The exportable attribute of an existing key cannot be changed.",
            ));
        }
        Ok(attributes)
    }

    pub(in crate::vault) fn to_json(
        self,
        retention: Retention,
        hsm: bool,
        api: ApiVersion,
    ) -> Value {
        let mut object = Map::new();
        let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
        set("enabled", self.enabled.into());
        if let Some(time) = self.not_before {
            set("nbf", time.into());
        }
        if let Some(time) = self.expires {
            set("exp", time.into());
        }
        set("created", self.created.into());
        set("updated", self.updated.into());
        set("recoveryLevel", retention.level().into());
        set("recoverableDays", retention.days.into());
        if api >= ApiVersion::V7_3 {
            set("exportable", self.exportable.into());
        }
        if api >= ApiVersion::V7_6 {
            set("hsmPlatform", json!(if hsm { "2" } else { "0" }));
        }
        Value::Object(object)
    }
}
