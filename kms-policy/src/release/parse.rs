//! Reading policies, as the grammar says or as people write them.

use super::node::Node;
use super::{Authority, ClaimCondition, Condition, Operator, ReleasePolicy, Scalar};
use crate::{Error, ErrorKind};

/// The longest policy, in bytes. What the service takes is not documented.
pub const MAX_POLICY_LEN: usize = 256 * 1024;
/// How deep conditions may stand in each other.
const MAX_DEPTH: usize = 16;
/// The most conditions of a policy.
const MAX_CONDITIONS: usize = 4096;
const VERSION: &str = "1.0.0";

/// How a policy is read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Strictness {
    /// As the grammar says.
    #[default]
    Strict,
    /// Also as samples and older tools write it: commas before closing brackets, the versions `1.0`
    /// and `0.2`, and `{"claim": …, "condition": "equals", "value": …}`.
    Lenient,
}

impl ReleasePolicy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Release`] with the place, such as `anyOf[0].allOf[2]`: not JSON, over 256 KiB,
    /// a name that the grammar does not have or that comes twice, a value that is no text, integer
    /// or flag, nothing to fulfil, or conditions over 16 deep.
    pub fn parse(text: &str, strictness: Strictness) -> Result<Self, Error> {
        if text.len() > MAX_POLICY_LEN {
            return Err(refused("is over 256 KiB"));
        }
        let is_lenient = strictness == Strictness::Lenient;
        let trimmed;
        let text = if is_lenient {
            trimmed = without_trailing_commas(text);
            &trimmed
        } else {
            text
        };
        let node: Node =
            serde_json::from_str(text).map_err(|error| refused(&format!("is no JSON: {error}")))?;
        let mut reader = Reader {
            is_lenient,
            conditions: 0,
        };
        reader.policy(node)
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::Release, format!("the release policy {what}"))
}

/// Commas before closing brackets taken out, outside of texts.
fn without_trailing_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let (mut in_text, mut is_escaped) = (false, false);
    while let Some(letter) = rest.next() {
        if in_text {
            in_text = is_escaped || letter != '"';
            is_escaped = letter == '\\' && !is_escaped;
        } else if letter == '"' {
            in_text = true;
        } else if letter == ',' {
            let mut ahead = rest.clone();
            let next = ahead.find(|letter| !letter.is_whitespace());
            if matches!(next, Some('}' | ']')) {
                continue;
            }
        }
        out.push(letter);
    }
    out
}

struct Reader {
    is_lenient: bool,
    conditions: usize,
}

impl Reader {
    fn policy(&mut self, node: Node) -> Result<ReleasePolicy, Error> {
        let entries = map(node, "")?;
        let (mut version, mut authorities) = (None, None);
        for (name, value) in entries {
            match &*name {
                "version" => version = Some(self.version(&value)?),
                "anyOf" => authorities = Some(list(value, "anyOf")?),
                "allOf" => {
                    return Err(
                        refused("has `allOf` at its top: only `anyOf` may be there").at("allOf")
                    );
                }
                name => return Err(unknown(name, "")),
            }
        }
        let version = version.ok_or_else(|| refused("has no `version`"))?;
        let authorities = authorities.ok_or_else(|| refused("has no `anyOf`"))?;
        if authorities.is_empty() {
            return Err(refused("has no authority: it releases to nobody").at("anyOf"));
        }
        let authorities = authorities.into_iter().enumerate();
        let authorities =
            authorities.map(|(index, node)| self.authority(node, &format!("anyOf[{index}]")));
        Ok(ReleasePolicy {
            version,
            authorities: authorities.collect::<Result<_, _>>()?,
        })
    }

    fn version(&self, value: &Node) -> Result<String, Error> {
        match value {
            Node::Text(text) if text == VERSION => Ok(text.clone()),
            Node::Text(text) if self.is_lenient && ["1.0", "0.2"].contains(&&**text) => {
                Ok(text.clone())
            }
            _ => Err(refused("is of another version than \"1.0.0\"").at("version")),
        }
    }

    fn authority(&mut self, node: Node, path: &str) -> Result<Authority, Error> {
        let (mut url, mut condition) = (None, None);
        for (name, value) in map(node, path)? {
            match (&*name, value) {
                ("authority", Node::Text(text)) if !text.is_empty() => url = Some(text),
                ("authority", _) => {
                    return Err(
                        refused("has an authority that is no text").at(format!("{path}.authority"))
                    );
                }
                ("allOf" | "anyOf", value) => {
                    if condition.is_some() {
                        return Err(refused("has both `allOf` and `anyOf` in one place").at(path));
                    }
                    condition = Some(self.group(&name, value, path, 1)?);
                }
                (name, _) => return Err(unknown(name, path)),
            }
        }
        Ok(Authority {
            url: url.ok_or_else(|| refused("has an entry without `authority`").at(path))?,
            condition: condition
                .ok_or_else(|| refused("has an authority without `allOf` or `anyOf`").at(path))?,
        })
    }

    fn group(
        &mut self,
        name: &str,
        value: Node,
        path: &str,
        depth: usize,
    ) -> Result<Condition, Error> {
        let path = format!("{path}.{name}");
        if depth > MAX_DEPTH {
            return Err(refused("has conditions over 16 deep").at(path));
        }
        let nodes = list(value, &path)?;
        if nodes.is_empty() {
            return Err(refused("has nothing to fulfil").at(path));
        }
        let nodes = nodes.into_iter().enumerate();
        let conditions =
            nodes.map(|(index, node)| self.condition(node, &format!("{path}[{index}]"), depth));
        let conditions = conditions.collect::<Result<_, _>>()?;
        Ok(if name == "allOf" {
            Condition::AllOf(conditions)
        } else {
            Condition::AnyOf(conditions)
        })
    }

    fn condition(&mut self, node: Node, path: &str, depth: usize) -> Result<Condition, Error> {
        self.conditions = self.conditions.saturating_add(1);
        if self.conditions > MAX_CONDITIONS {
            return Err(refused("has over 4,096 conditions").at(path));
        }
        let mut entries = map(node, path)?;
        let is_group = |(name, _): &(String, Node)| name == "allOf" || name == "anyOf";
        if entries.iter().any(is_group) {
            return match (entries.pop(), entries.is_empty()) {
                (Some((name, value)), true) => {
                    self.group(&name, value, path, depth.saturating_add(1))
                }
                _ => Err(refused("has something beside `allOf` or `anyOf`").at(path)),
            };
        }
        self.claim(entries, path).map(Condition::Claim)
    }

    fn claim(&self, entries: Vec<(String, Node)>, path: &str) -> Result<ClaimCondition, Error> {
        let at = |what: &str| refused(what).at(path);
        let (mut claim, mut operator, mut value) = (None, None, None);
        let (mut legacy_operator, mut legacy_value) = (None, None);
        for (name, node) in entries {
            match (&*name, node) {
                ("claim", Node::Text(text)) if is_path(&text) => claim = Some(text),
                ("claim", _) => return Err(at("has a claim that is no dotted name")),
                ("condition", Node::Text(text)) if self.is_lenient => {
                    let named = Operator::named(&text);
                    legacy_operator = Some(named.ok_or_else(|| unknown(&text, path))?);
                }
                ("value", node) if self.is_lenient => legacy_value = Some(scalar(node, path)?),
                (name, node) => {
                    let named = Operator::named(name).ok_or_else(|| unknown(name, path))?;
                    if operator.replace(named).is_some() {
                        return Err(at("compares one claim twice in one condition"));
                    }
                    value = Some(scalar(node, path)?);
                }
            }
        }
        if legacy_operator.is_some() != legacy_value.is_some()
            || (operator.is_some() && legacy_operator.is_some())
        {
            return Err(at(
                "has `condition` or `value` without the other, or beside an operator",
            ));
        }
        Ok(ClaimCondition {
            claim: claim.ok_or_else(|| at("has a condition without `claim`"))?,
            operator: operator
                .or(legacy_operator)
                .ok_or_else(|| at("has a condition without an operator"))?,
            value: value
                .or(legacy_value)
                .ok_or_else(|| at("has a condition without a value"))?,
        })
    }
}

/// Names with dots between them.
fn is_path(text: &str) -> bool {
    text.len() <= 1024 && text.split('.').all(|part| !part.is_empty())
}

fn scalar(node: Node, path: &str) -> Result<Scalar, Error> {
    match node {
        Node::Text(text) => Ok(Scalar::Text(text)),
        Node::Integer(number) => Ok(Scalar::Integer(number)),
        Node::Flag(flag) => Ok(Scalar::Flag(flag)),
        Node::Number(_) => Err(refused("has a number that is no integer").at(path)),
        Node::Null => Err(refused("compares with null").at(path)),
        Node::List(_) => {
            Err(refused("compares with a list, which the service does not take").at(path))
        }
        Node::Map(_) => {
            Err(refused("compares with an object, which the grammar does not have").at(path))
        }
    }
}

fn unknown(name: &str, path: &str) -> Error {
    let near = Operator::ALL
        .into_iter()
        .find(|it| it.as_str().eq_ignore_ascii_case(name));
    let error = refused(&format!(
        "has `{name}`, which the grammar does not have there"
    ))
    .at(path);
    match (near, name) {
        (Some(operator), _) => error.with_remedy(format!("write `{}`", operator.as_str())),
        (None, "contains" | "in") => {
            error.with_remedy("write `anyOf` with one `equals` for each value")
        }
        _ => error,
    }
}

fn map(node: Node, path: &str) -> Result<Vec<(String, Node)>, Error> {
    let Node::Map(entries) = node else {
        return Err(refused("has something that is no object").at(path));
    };
    let twice = entries.iter().enumerate().find(|(index, (name, _))| {
        let mut before = entries.iter().take(*index);
        before.any(|(other, _)| other == name)
    });
    match twice {
        None => Ok(entries),
        Some((_, (name, _))) => Err(refused(&format!("has `{name}` twice")).at(path)),
    }
}

fn list(node: Node, path: &str) -> Result<Vec<Node>, Error> {
    match node {
        Node::List(nodes) => Ok(nodes),
        _ => Err(refused("has something that is no list").at(path)),
    }
}
