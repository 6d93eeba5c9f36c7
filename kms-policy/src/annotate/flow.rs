//! A part of a text written out in flow style, where an alias cannot stay.

use granit_parser::ScalarStyle;

use super::Step;
use super::edit::beyond_us;
use super::layout::{Id, Kind, Layout, Node};
use crate::Error;

/// How deep what is written out may be, and how long, in bytes.
const MAX_DEPTH: usize = 128;
const MAX_LEN: usize = 16 * 1024 * 1024;

/// A part of a text without aliases. Scalars are as they will be written.
pub(super) enum Tree {
    Scalar(String),
    Map(Vec<Entry>),
    List(Vec<Self>),
}

pub(super) struct Entry {
    name: String,
    written: String,
    value: Tree,
}

impl Tree {
    /// What this node says.
    pub(super) fn of(layout: &Layout<'_>, id: Id) -> Result<Self, Error> {
        let mut room = MAX_LEN;
        Self::within(layout, id, MAX_DEPTH, &mut room)
    }

    fn within(layout: &Layout<'_>, id: Id, depth: usize, room: &mut usize) -> Result<Self, Error> {
        let depth = depth.checked_sub(1).ok_or_else(beyond_us)?;
        let node = layout.node(id)?;
        *room = room.checked_sub(4).ok_or_else(beyond_us)?;
        match &node.kind {
            Kind::Alias(anchor) => Self::within(layout, layout.anchored(*anchor)?, depth, room),
            Kind::Scalar { text, style } => {
                let written = written(layout, node, text, *style);
                *room = room.checked_sub(written.len()).ok_or_else(beyond_us)?;
                Ok(Self::Scalar(written))
            }
            Kind::List { items, .. } => {
                let items = items.iter();
                let items = items.map(|item| Self::within(layout, *item, depth, room));
                items.collect::<Result<_, _>>().map(Self::List)
            }
            Kind::Map { entries, .. } => {
                let entries = entries.iter().map(|(key, value)| {
                    let key = layout.node(*key)?;
                    let Kind::Scalar { text, style } = &key.kind else {
                        return Err(beyond_us());
                    };
                    let written = written(layout, key, text, *style);
                    *room = room.checked_sub(written.len()).ok_or_else(beyond_us)?;
                    Ok(Entry {
                        name: text.clone(),
                        written,
                        value: Self::within(layout, *value, depth, room)?,
                    })
                });
                entries.collect::<Result<_, _>>().map(Self::Map)
            }
        }
    }

    /// Sets a text, and makes the mappings on the way to it.
    pub(super) fn set(&mut self, path: &[Step<'_>], text: &str) -> Result<(), Error> {
        let Some((step, rest)) = path.split_first() else {
            *self = Self::Scalar(text.to_owned());
            return Ok(());
        };
        match (step, &mut *self) {
            (Step::Item(index), Self::List(items)) => {
                items.get_mut(*index).ok_or_else(beyond_us)?.set(rest, text)
            }
            (Step::Key(name), Self::Map(entries)) => {
                if let Some(entry) = entries.iter_mut().find(|entry| entry.name == *name) {
                    return entry.value.set(rest, text);
                }
                if entries.iter().any(|entry| entry.name == "<<") {
                    // It might be there by merging.
                    return Err(beyond_us());
                }
                let mut value = Self::Map(Vec::new());
                value.set(rest, text)?;
                entries.insert(
                    0,
                    Entry {
                        name: (*name).to_owned(),
                        written: scalar(name, false),
                        value,
                    },
                );
                Ok(())
            }
            (Step::Key(_), Self::Scalar(_)) => {
                *self = Self::Map(Vec::new());
                self.set(path, text)
            }
            _ => Err(beyond_us()),
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(&entry.written);
                    out.push_str(": ");
                    entry.value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// A scalar as it was written, unless flow style or a single line asks for quotes. A plain one stays
/// plain, so that every reader sees the type that it saw before.
fn written(layout: &Layout<'_>, node: &Node, text: &str, style: ScalarStyle) -> String {
    let tag = node.tag.clone().and_then(|tag| layout.text.get(tag));
    let content = match style {
        ScalarStyle::Plain if node.is_empty() && tag.is_none() => "null".to_owned(),
        ScalarStyle::Plain if node.is_empty() => "\"\"".to_owned(),
        ScalarStyle::Plain if is_plain_in_flow(text) => text.to_owned(),
        _ => quoted(text),
    };
    match tag {
        Some(tag) => format!("{tag} {content}"),
        None => content,
    }
}

fn is_plain_in_flow(text: &str) -> bool {
    !text.contains([',', '[', ']', '{', '}', '\n', '#', '"', '\''])
        && !text.contains(": ")
        && !text.starts_with([':', '?', '-'])
        && !text.ends_with(':')
        || is_number(text)
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
    }) && text
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "-+._:".contains(letter))
}

/// A text as a scalar that no reader takes for anything but text.
pub(super) fn scalar(text: &str, is_json: bool) -> String {
    // No word of YAML that means something is that long, and no number begins with a letter.
    let is_plain = text.len() >= 8
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "+/=._-".contains(letter));
    if is_plain && !is_json {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    use core::fmt::Write as _;
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // What YAML does not take as it is, or takes for the end of a line.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
