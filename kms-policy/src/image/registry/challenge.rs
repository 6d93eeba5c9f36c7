//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, and Distribution's token
//! authentication).

/// What a registry asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from elsewhere.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The longest header that is looked at, in bytes.
const MAX_LEN: usize = 8 * 1024;

impl Challenge {
    /// Reads one header.
    pub(super) fn parse(header: &str) -> Option<Self> {
        if header.len() > MAX_LEN {
            return None;
        }
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after.trim_start())?;
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
            if rest.len() == after.len() && !rest.is_empty() {
                return None;
            }
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
            scope,
        })
    }
}

/// A value, quoted or not, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at.checked_add(1)?..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_registries_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                r#"bearer Realm=https://a.example/t , error="invalid_token", service="a \"b\"""#,
                bearer("https://a.example/t", Some(r#"a "b""#), None),
            ),
            (r#"Basic realm="x""#, Challenge::Basic),
            ("basic", Challenge::Basic),
        ] {
            assert_eq!(Challenge::parse(header), Some(expected), "{header}");
        }
        for bad in [
            "",
            "Negotiate",
            "Bearer",
            "Bearer realm",
            r#"Bearer service="x""#,
            r#"Bearer realm="x"#,
            r#"Bearer realm="x\"#,
            r#"Bearer realm="x" y"#,
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad}");
        }
        let long = format!(r#"Bearer realm="{}""#, "x".repeat(10_000));
        assert_eq!(Challenge::parse(&long), None);
    }
}
