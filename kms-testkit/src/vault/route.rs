//! From method and path to an operation.

use http::Method;

use super::operation::Operation;

/// What a request asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) name: Option<String>,
    /// `None` means the newest.
    pub(super) version: Option<String>,
}

/// `None` if there is no such route. Paths are matched without regard to case, as the service does;
/// an empty version (`/keys/kek//wrapkey`, which the official Rust client sends) means the newest.
pub(super) fn route(method: &Method, path: &str) -> Option<Route> {
    use Operation as O;
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let lower: Vec<String> = segments
        .iter()
        .map(|segment| segment.to_ascii_lowercase())
        .collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let at = |place: usize| segments.get(place).map(|text| (*text).to_owned());
    let store = |operation| Some((operation, None, None));
    let key = |operation| Some((operation, at(1), None));
    let version = |operation| {
        let version = at(2).filter(|version| !version.is_empty());
        Some((operation, at(1), version))
    };
    let (operation, name, version) = match (method.as_str(), lower.as_slice()) {
        ("GET", ["keys"] | ["keys", ""]) => store(O::List),
        ("GET", ["deletedkeys"] | ["deletedkeys", ""]) => store(O::ListDeleted),
        ("POST", ["keys", "restore"]) => store(O::Restore),
        ("POST", ["rng"]) => store(O::RandomBytes),
        ("GET", ["deletedkeys", _]) => key(O::GetDeleted),
        ("DELETE", ["deletedkeys", _]) => key(O::Purge),
        ("POST", ["deletedkeys", _, "recover"]) => key(O::Recover),
        ("PUT", ["keys", _]) => key(O::Import),
        ("DELETE", ["keys", _]) => key(O::Delete),
        ("GET", ["keys", _, "versions"]) => key(O::ListVersions),
        ("GET", ["keys", _, "rotationpolicy"]) => key(O::GetRotationPolicy),
        ("PUT", ["keys", _, "rotationpolicy"]) => key(O::SetRotationPolicy),
        ("POST", ["keys", _, "create"]) => key(O::Create),
        ("POST", ["keys", _, "rotate"]) => key(O::Rotate),
        ("POST", ["keys", _, "backup"]) => key(O::Backup),
        ("GET", ["keys", _] | ["keys", _, _]) => version(O::Get),
        ("PATCH", ["keys", _] | ["keys", _, _]) => version(O::Update),
        ("GET", ["keys", _, _, "attestation"]) => version(O::Attestation),
        ("POST", ["keys", _, verb]) => Some((cryptographic(verb)?, at(1), None)),
        ("POST", ["keys", _, _, verb]) => version(cryptographic(verb)?),
        _ => None,
    }?;
    // A name that could not have been given has no route.
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        return None;
    }
    Some(Route {
        operation,
        name,
        version,
    })
}

/// `^[0-9a-zA-Z-]{1,127}$`
pub(super) fn is_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn cryptographic(verb: &str) -> Option<Operation> {
    Some(match verb {
        "encrypt" => Operation::Encrypt,
        "decrypt" => Operation::Decrypt,
        "wrapkey" => Operation::WrapKey,
        "unwrapkey" => Operation::UnwrapKey,
        "sign" => Operation::Sign,
        "verify" => Operation::Verify,
        "release" => Operation::Release,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> Option<(Operation, Option<String>, Option<String>)> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        route(&method, path).map(|route| (route.operation, route.name, route.version))
    }

    #[test]
    fn versions_may_be_missing_in_every_way() {
        let kek = Some("kek".to_owned());
        for path in [
            "/keys/kek/wrapkey",
            "/keys/kek//wrapkey",
            "/keys/kek//wrapKey",
        ] {
            assert_eq!(
                asked("POST", path),
                Some((Operation::WrapKey, kek.clone(), None)),
                "{path}"
            );
        }
        assert_eq!(
            asked("POST", "/keys/kek/0a/unwrapkey"),
            Some((Operation::UnwrapKey, kek.clone(), Some("0a".to_owned())))
        );
        for path in ["/keys/kek", "/keys/kek/"] {
            assert_eq!(
                asked("GET", path),
                Some((Operation::Get, kek.clone(), None)),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_route() {
        for (method, path) in [
            ("GET", "/secrets/x"),
            ("GET", "/keys/a b"),
            ("GET", "/keys/a%2Fb"),
            ("POST", "/keys/kek/melt"),
            ("POST", "/keys/"),
            ("GET", "keys"),
            ("TRACE", "/keys"),
        ] {
            assert_eq!(asked(method, path), None, "{method} {path}");
        }
    }
}
