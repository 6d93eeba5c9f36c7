//! What to change in a text.

use core::ops::Range;

use granit_parser::ScalarStyle;

use super::Step;
use super::flow::{Tree, scalar};
use super::layout::{Id, Kind, Layout, Node};
use crate::{Error, ErrorKind};

/// A part of a text, and what comes in its place.
pub(super) struct Edit {
    range: Range<usize>,
    text: String,
}

impl Edit {
    const fn insert(at: usize, text: String) -> Self {
        Self {
            range: at..at,
            text,
        }
    }
}

/// A way of writing YAML that is not provided for.
pub(super) fn beyond_us() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the manifest is written in a way in which an annotation cannot be put in its place",
    )
    .with_remedy("write the metadata of the pod in the usual block style, without anchors")
}

/// Makes all changes.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> Result<String, Error> {
    edits.sort_by_key(|edit| edit.range.start);
    let mut edited = String::with_capacity(text.len());
    let mut done = 0;
    for edit in edits {
        // Changes in the same place, or one within another, fail here.
        edited.push_str(text.get(done..edit.range.start).ok_or_else(beyond_us)?);
        edited.push_str(&edit.text);
        done = edit.range.end;
    }
    edited.push_str(text.get(done..).ok_or_else(beyond_us)?);
    Ok(edited)
}

/// The changes that set the text at the end of the path.
pub(super) fn edits(
    layout: &Layout<'_>,
    root: Id,
    path: &[Step<'_>],
    value: &str,
) -> Result<Vec<Edit>, Error> {
    let mut anchors = Vec::new();
    let mut edits = vec![change(layout, root, path, value, &mut anchors)?];
    for anchor in anchors {
        // What the anchor is at changes; what stands for it does not.
        let original = Tree::of(layout, layout.anchored(anchor)?)?;
        for alias in layout.aliases_of(anchor) {
            let mut text = String::new();
            original.write(&mut text);
            let range = layout.node(alias)?.range.clone();
            edits.push(Edit { range, text });
        }
    }
    Ok(edits)
}

fn change(
    layout: &Layout<'_>,
    root: Id,
    path: &[Step<'_>],
    value: &str,
    anchors: &mut Vec<usize>,
) -> Result<Edit, Error> {
    let mut place = Place {
        layout,
        key: None,
        is_flow: false,
    };
    let mut id = root;
    let mut rest = path;
    loop {
        let node = layout.node(id)?;
        if node.anchor != 0 {
            anchors.push(node.anchor);
        }
        let Some((step, after)) = rest.split_first() else {
            return place.replace(node, value);
        };
        match (step, &node.kind) {
            (Step::Item(index), Kind::List { items, is_flow }) => {
                place.is_flow = *is_flow;
                place.key = None;
                id = *items.get(*index).ok_or_else(beyond_us)?;
                rest = after;
            }
            (Step::Key(name), Kind::Map { entries, is_flow }) => {
                if let Some((key, value)) = layout.entry(entries, name) {
                    place.is_flow = *is_flow;
                    place.key = Some(key);
                    id = value;
                    rest = after;
                    continue;
                }
                let merged = layout.merged(entries, name)?;
                let new = New::under(layout, merged, rest, value)?;
                return place.insert(node, entries, *is_flow, &new);
            }
            (_, Kind::Alias(anchor)) => {
                let mut tree = Tree::of(layout, layout.anchored(*anchor)?)?;
                tree.set(rest, &scalar(value, false))?;
                let mut text = String::new();
                tree.write(&mut text);
                return Ok(Edit {
                    range: node.range.clone(),
                    text,
                });
            }
            (Step::Key(_), _) if node.is_null() => {
                let new = New::under(layout, None, rest, value)?;
                return place.fill(node, &new);
            }
            _ => return Err(beyond_us()),
        }
    }
}

/// An entry to be made: names, each within the one before, and what the last one has.
struct New<'a> {
    names: Vec<&'a str>,
    text: String,
    /// Whether the text is no scalar to be quoted.
    is_written: bool,
}

impl<'a> New<'a> {
    fn under(
        layout: &Layout<'_>,
        merged: Option<Id>,
        path: &[Step<'a>],
        value: &str,
    ) -> Result<Self, Error> {
        let names = path.iter().map(|step| match step {
            Step::Key(name) => Ok(*name),
            Step::Item(_) => Err(beyond_us()),
        });
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        let Some(merged) = merged else {
            return Ok(Self {
                names,
                text: value.to_owned(),
                is_written: false,
            });
        };
        // An entry of its own hides the merged one, so it says that too.
        names.truncate(1);
        let mut tree = Tree::of(layout, merged)?;
        tree.set(path.get(1..).unwrap_or_default(), &scalar(value, false))?;
        let mut text = String::new();
        tree.write(&mut text);
        Ok(Self {
            names,
            text,
            is_written: true,
        })
    }

    fn value(&self, is_json: bool) -> String {
        if self.is_written {
            self.text.clone()
        } else {
            scalar(&self.text, is_json)
        }
    }

    fn name(name: &str, is_json: bool) -> String {
        // Names of fields are plain; `metadata` and `annotations` are, too.
        scalar(name, is_json)
    }

    /// Lines in block style. The first one has no indent, and the last one no end.
    fn block(&self, indent: &str, line_end: &str) -> String {
        let mut text = String::new();
        let mut indent = indent.to_owned();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                indent.push_str("  ");
                text.push_str(line_end);
                text.push_str(&indent);
            }
            text.push_str(&Self::name(name, false));
            text.push(':');
        }
        text.push(' ');
        text.push_str(&self.value(false));
        text
    }

    /// An entry of a mapping in flow style.
    fn flow(&self, is_json: bool) -> String {
        let mut text = String::new();
        for (index, name) in self.names.iter().enumerate() {
            if index > 0 {
                text.push('{');
            }
            text.push_str(&Self::name(name, is_json));
            text.push_str(": ");
        }
        text.push_str(&self.value(is_json));
        text.push_str(&"}".repeat(self.names.len().saturating_sub(1)));
        text
    }
}

/// Where one stands on the way: under which key, in which style.
struct Place<'l, 't> {
    layout: &'l Layout<'t>,
    key: Option<Id>,
    is_flow: bool,
}

impl Place<'_, '_> {
    fn line_end(&self) -> &'static str {
        match self.layout.text.find('\n') {
            Some(at) if self.before(at).ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }

    fn before(&self, at: usize) -> &str {
        self.layout.text.get(..at).unwrap_or_default()
    }

    fn after(&self, at: usize) -> &str {
        self.layout.text.get(at..).unwrap_or_default()
    }

    fn line_start(&self, at: usize) -> usize {
        self.before(at)
            .rfind('\n')
            .map_or(0, |found| found.saturating_add(1))
    }

    /// The text of the line in front of a place.
    fn prefix(&self, at: usize) -> &str {
        let start = self.line_start(at);
        self.layout.text.get(start..at).unwrap_or_default()
    }

    fn is_quoted(&self, key: Option<Id>) -> Result<bool, Error> {
        let Some(key) = key else {
            return Ok(false);
        };
        let kind = &self.layout.node(key)?.kind;
        Ok(matches!(
            kind,
            Kind::Scalar {
                style: ScalarStyle::DoubleQuoted,
                ..
            }
        ))
    }

    /// Puts another text in the place of a value.
    fn replace(&self, node: &Node, value: &str) -> Result<Edit, Error> {
        let is_json = self.is_flow && self.is_quoted(self.key)?;
        match &node.kind {
            Kind::Alias(_) => Ok(Edit {
                range: node.range.clone(),
                text: scalar(value, is_json),
            }),
            Kind::Scalar { .. } if node.is_empty() => {
                let at = self.after_colon()?;
                Ok(Edit::insert(at, format!(" {}", scalar(value, is_json))))
            }
            Kind::Scalar {
                style: ScalarStyle::Literal | ScalarStyle::Folded,
                ..
            } => {
                let header = self.after_colon()?.max(node.properties_end);
                let between = self.layout.text.get(header..node.range.start);
                let found = between.and_then(|between| between.find(['|', '>']));
                let start = header.saturating_add(found.ok_or_else(beyond_us)?);
                let whole = self.layout.text.get(start..node.range.end);
                let len = whole.ok_or_else(beyond_us)?.trim_end().len();
                Ok(Edit {
                    range: start..start.saturating_add(len),
                    text: scalar(value, false),
                })
            }
            Kind::Scalar { style, .. } => {
                let is_quoted = is_json || *style == ScalarStyle::DoubleQuoted;
                Ok(Edit {
                    range: node.range.clone(),
                    text: scalar(value, is_quoted),
                })
            }
            Kind::Map { .. } | Kind::List { .. } => Err(beyond_us()),
        }
    }

    /// The place behind the colon of the key.
    fn after_colon(&self) -> Result<usize, Error> {
        let key = self.layout.node(self.key.ok_or_else(beyond_us)?)?;
        let rest = self.after(key.range.end);
        let blank = rest
            .len()
            .saturating_sub(rest.trim_start_matches([' ', '\t']).len());
        let colon = key.range.end.saturating_add(blank);
        if self.after(colon).starts_with(':') {
            Ok(colon.saturating_add(1))
        } else {
            Err(beyond_us())
        }
    }

    /// Gives a key something whose value is nothing.
    fn fill(&self, node: &Node, new: &New<'_>) -> Result<Edit, Error> {
        let key = self.layout.node(self.key.ok_or_else(beyond_us)?)?;
        let is_json = self.is_flow && self.is_quoted(self.key)?;
        if !node.is_empty() {
            return Ok(Edit {
                range: node.range.clone(),
                text: format!("{{{}}}", new.flow(is_json)),
            });
        }
        if self.is_flow {
            let flow = new.flow(is_json);
            return Ok(match self.after_colon() {
                Ok(at) => Edit::insert(at, format!(" {{{flow}}}")),
                Err(_) => Edit::insert(key.range.end, format!(": {{{flow}}}")),
            });
        }
        let colon = self.after_colon()?.max(node.properties_end);
        let line = self.after(colon);
        let line = line.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let at = colon.saturating_add(line.len());
        let column = self.prefix(key.outer_start).chars().count();
        let indent = " ".repeat(column.saturating_add(2));
        let line_end = self.line_end();
        let block = new.block(&indent, line_end);
        Ok(Edit::insert(at, format!("{line_end}{indent}{block}")))
    }

    /// Adds an entry to a mapping.
    fn insert(
        &self,
        map: &Node,
        entries: &[(Id, Id)],
        is_flow: bool,
        new: &New<'_>,
    ) -> Result<Edit, Error> {
        if is_flow {
            return self.insert_in_flow(map, entries, new);
        }
        // Metadata stand before the spec, annotations before anything.
        let index = entries.iter().position(|(key, _)| {
            let key = self.layout.node(*key).map(|node| &node.kind);
            let is_metadata = new.names.first() == Some(&"metadata");
            is_metadata && matches!(key, Ok(Kind::Scalar { text, .. }) if text == "spec")
        });
        let index = index.unwrap_or_default();
        let (key, _) = entries.get(index).ok_or_else(beyond_us)?;
        let at = self.layout.node(*key)?.outer_start;
        let prefix = self.prefix(at);
        let line_end = self.line_end();
        if prefix.chars().all(|letter| letter == ' ') {
            let previous = index.checked_sub(1).and_then(|index| entries.get(index));
            let limit = match previous {
                Some((key, value)) => {
                    let key_end = self.layout.node(*key)?.range.end;
                    key_end.max(self.layout.node(*value)?.range.end)
                }
                None => map.properties_end,
            };
            let block = new.block(prefix, line_end);
            let at = self.above_comments(self.line_start(at), limit);
            return Ok(Edit::insert(at, format!("{prefix}{block}{line_end}")));
        }
        let indent = " ".repeat(prefix.chars().count());
        let block = new.block(&indent, line_end);
        Ok(Edit::insert(at, format!("{block}{line_end}{indent}")))
    }

    /// The place above the comment that belongs to a line.
    fn above_comments(&self, mut line: usize, limit: usize) -> usize {
        while let Some(above) = line.checked_sub(1).map(|end| self.line_start(end)) {
            let text = self.layout.text.get(above..line).unwrap_or_default();
            if above < limit || !text.trim_start().starts_with('#') {
                break;
            }
            line = above;
        }
        line
    }

    fn insert_in_flow(
        &self,
        map: &Node,
        entries: &[(Id, Id)],
        new: &New<'_>,
    ) -> Result<Edit, Error> {
        let brace = map.range.start;
        if !self.after(brace).starts_with('{') {
            return Err(beyond_us());
        }
        let inside = brace.saturating_add(1);
        let Some((key, _)) = entries.first() else {
            let is_json = self.is_quoted(self.key)?;
            return Ok(Edit::insert(inside, new.flow(is_json)));
        };
        let flow = new.flow(self.is_quoted(Some(*key))?);
        let first = self.layout.node(*key)?.outer_start;
        let prefix = self.prefix(first);
        if prefix.chars().all(|letter| " \t".contains(letter)) && self.line_start(first) > brace {
            let at = self.above_comments(self.line_start(first), inside);
            let line_end = self.line_end();
            return Ok(Edit::insert(at, format!("{prefix}{flow},{line_end}")));
        }
        Ok(Edit::insert(inside, format!("{flow}, ")))
    }
}
