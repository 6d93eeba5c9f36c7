//! Where everything stands in a text.

use core::ops::Range;
use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use crate::{Error, ErrorKind};

/// The number of a node in its [`Layout`].
pub(super) type Id = usize;

/// The nodes of a text. It may hold a Secret, hence no `Debug`.
pub(super) struct Layout<'t> {
    pub(super) text: &'t str,
    nodes: Vec<Node>,
    roots: Vec<Id>,
    /// The node of each anchor.
    anchors: BTreeMap<usize, Id>,
}

pub(super) struct Node {
    pub(super) kind: Kind,
    /// Its text, without tag and anchor; the content alone of a block scalar; of a block collection
    /// up to the end of its last item.
    pub(super) range: Range<usize>,
    /// Where its tag or anchor begins, or itself.
    pub(super) outer_start: usize,
    /// Where its tag and anchor end.
    pub(super) properties_end: usize,
    pub(super) tag: Option<Range<usize>>,
    /// The number of its anchor, or 0.
    pub(super) anchor: usize,
}

pub(super) enum Kind {
    Scalar {
        text: String,
        style: ScalarStyle,
    },
    Map {
        is_flow: bool,
        entries: Vec<(Id, Id)>,
    },
    List {
        is_flow: bool,
        items: Vec<Id>,
    },
    Alias(usize),
}

impl Node {
    /// Whether it is a scalar that says nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: ScalarStyle::Plain }
            if self.tag.is_none() && ["", "~", "null", "Null", "NULL"].contains(&&**text))
    }

    /// Whether nothing at all is written there.
    pub(super) const fn is_empty(&self) -> bool {
        self.range.start == self.range.end
    }
}

impl<'t> Layout<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Error> {
        let options = granit_parser::options! { emit_anchor_events: true };
        let mut builder = Builder {
            layout: Self {
                text,
                nodes: Vec::new(),
                roots: Vec::new(),
                anchors: BTreeMap::new(),
            },
            open: Vec::new(),
            last: 0,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event
                .map_err(|error| Error::new(ErrorKind::Manifest, format!("not YAML: {error}")))?;
            builder.event(event, &span)?;
        }
        Ok(builder.layout)
    }

    pub(super) fn node(&self, id: Id) -> Result<&Node, Error> {
        self.nodes.get(id).ok_or_else(super::edit::beyond_us)
    }

    /// The root of the document of this number among those that are mappings.
    pub(super) fn mapping_root(&self, number: usize) -> Option<Id> {
        let roots = self.roots.iter().copied();
        let is_map = |id: &Id| {
            let node = self.nodes.get(*id);
            node.is_some_and(|node| matches!(node.kind, Kind::Map { .. }))
        };
        roots.filter(is_map).nth(number)
    }

    pub(super) fn has_aliases(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| matches!(node.kind, Kind::Alias(_)))
    }

    /// Everything that stands for what this anchor is at.
    pub(super) fn aliases_of(&self, anchor: usize) -> impl Iterator<Item = Id> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(move |(id, node)| {
            matches!(node.kind, Kind::Alias(of) if of == anchor).then_some(id)
        })
    }

    /// What an anchor is at.
    pub(super) fn anchored(&self, anchor: usize) -> Result<Id, Error> {
        let found = self.anchors.get(&anchor).copied();
        found.ok_or_else(super::edit::beyond_us)
    }

    /// The entry of a mapping that is written in it.
    pub(super) fn entry(&self, entries: &[(Id, Id)], name: &str) -> Option<(Id, Id)> {
        entries.iter().copied().find(|(key, _)| {
            let key = self.nodes.get(*key).map(|node| &node.kind);
            matches!(key, Some(Kind::Scalar { text, .. }) if text == name)
        })
    }

    /// What a mapping has under this name by merging others (`<<`).
    pub(super) fn merged(&self, entries: &[(Id, Id)], name: &str) -> Result<Option<Id>, Error> {
        let Some((_, merged)) = self.entry(entries, "<<") else {
            return Ok(None);
        };
        let merged = self.resolved(merged)?;
        let mut sources = vec![merged];
        if let Kind::List { items, .. } = &self.node(merged)?.kind {
            sources.clone_from(items);
        }
        for source in sources {
            let source = self.resolved(source)?;
            if let Kind::Map { entries, .. } = &self.node(source)?.kind {
                if let Some((_, value)) = self.entry(entries, name) {
                    return Ok(Some(value));
                }
                // A mapping cannot merge itself, so this ends.
                if let Some(value) = self.merged(entries, name)? {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    fn resolved(&self, id: Id) -> Result<Id, Error> {
        match self.node(id)?.kind {
            Kind::Alias(anchor) => self.anchored(anchor),
            _ => Ok(id),
        }
    }
}

struct Builder<'t> {
    layout: Layout<'t>,
    /// Collections that have not ended, with what they hold so far.
    open: Vec<(Id, Vec<Id>)>,
    /// The node that an anchor belongs to.
    last: Id,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Error> {
        let range = span.byte_range().unwrap_or_default();
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let text = text.into_owned();
                let id = self.node(Kind::Scalar { text, style }, span, anchor);
                self.attach(id);
            }
            Event::Alias(anchor) => {
                let id = self.node(Kind::Alias(anchor), span, 0);
                self.attach(id);
            }
            Event::MappingStart(style, anchor, _) => {
                let is_flow = style == StructureStyle::Flow;
                let entries = Vec::new();
                let id = self.node(Kind::Map { is_flow, entries }, span, anchor);
                self.open.push((id, Vec::new()));
            }
            Event::SequenceStart(style, anchor, _) => {
                let is_flow = style == StructureStyle::Flow;
                let items = Vec::new();
                let id = self.node(Kind::List { is_flow, items }, span, anchor);
                self.open.push((id, Vec::new()));
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(&range)?,
            Event::Anchor(anchor, _) => {
                self.layout.anchors.insert(anchor, self.last);
                if let Some(node) = self.layout.nodes.get_mut(self.last) {
                    node.outer_start = node.outer_start.min(range.start);
                    node.properties_end = node.properties_end.max(range.end);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn node(&mut self, kind: Kind, span: &Span, anchor: usize) -> Id {
        let range = span.byte_range().unwrap_or_default();
        let tag = span.tag_span().and_then(|tag| tag.byte_range());
        let outer_start = tag.as_ref().map_or(range.start, |tag| tag.start);
        self.layout.nodes.push(Node {
            kind,
            outer_start: outer_start.min(range.start),
            properties_end: tag.as_ref().map_or(0, |tag| tag.end),
            range,
            tag,
            anchor,
        });
        self.last = self.layout.nodes.len().saturating_sub(1);
        self.last
    }

    fn attach(&mut self, id: Id) {
        match self.open.last_mut() {
            Some((_, held)) => held.push(id),
            None => self.layout.roots.push(id),
        }
    }

    fn close(&mut self, end: &Range<usize>) -> Result<(), Error> {
        let (id, held) = self.open.pop().ok_or_else(super::edit::beyond_us)?;
        let last_end = held
            .last()
            .and_then(|last| self.layout.nodes.get(*last))
            .map(|node| node.range.end);
        let node = self.layout.nodes.get_mut(id);
        let node = node.ok_or_else(super::edit::beyond_us)?;
        let is_flow = match &mut node.kind {
            Kind::Map { is_flow, entries } => {
                let (pairs, _) = held.as_chunks::<2>();
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                *is_flow
            }
            Kind::List { is_flow, items } => {
                items.extend(held);
                *is_flow
            }
            Kind::Scalar { .. } | Kind::Alias(_) => false,
        };
        node.range.end = if is_flow {
            end.end
        } else {
            last_end.unwrap_or(node.range.end)
        };
        self.attach(id);
        Ok(())
    }
}
