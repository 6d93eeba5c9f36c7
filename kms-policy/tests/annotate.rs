//! Annotations in manifests of every style.

use kms_policy::annotate::annotate;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NAME: &str = "io.katacontainers.config.agent.policy";
const VALUE: &str = "cGFja2FnZSBhZ2VudF9wb2xpY3k=";

/// How a mapping or list is written.
#[derive(Clone, Copy, Debug)]
enum Style {
    Block,
    Flow,
    Json,
}

/// Choices of a writer, used up one by one.
#[derive(Clone, Debug)]
struct Pen {
    choices: Vec<u8>,
    at: usize,
}

impl Pen {
    fn choose(&mut self, most: u8) -> u8 {
        self.at += 1;
        self.choices.get(self.at % self.choices.len()).unwrap_or(&0) % most
    }

    fn scalar(&mut self, value: &Value, style: Style) -> String {
        let Value::String(text) = value else {
            return value.to_string();
        };
        let is_plain = text.chars().all(|letter| letter.is_ascii_lowercase());
        match (style, self.choose(3)) {
            (Style::Json, _) => value.to_string(),
            (_, 0)
                if is_plain
                    && ![
                        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "",
                    ]
                    .contains(&&**text) =>
            {
                text.clone()
            }
            (_, 1) if !text.contains(['\n', '\r']) => format!("'{}'", text.replace('\'', "''")),
            _ => value.to_string(),
        }
    }

    fn comment(&mut self) -> &'static str {
        match self.choose(4) {
            0 => " # says: [nothing] {at} all",
            _ => "",
        }
    }

    /// A value behind its key, or behind a dash; `indent` is that of what is in it.
    fn value(&mut self, value: &Value, indent: usize, style: Style, out: &mut String) {
        let style = match style {
            Style::Block if self.choose(5) == 0 => Style::Flow,
            style => style,
        };
        let pad = " ".repeat(indent);
        match (value, style) {
            (Value::Object(map), Style::Block) if !map.is_empty() => {
                out.push_str(self.comment());
                out.push('\n');
                self.block(map, indent, out);
            }
            (Value::Array(items), Style::Block) if !items.is_empty() => {
                out.push('\n');
                for item in items {
                    out.push_str(&pad);
                    out.push('-');
                    self.value(item, indent + 2, Style::Block, out);
                }
            }
            _ => {
                out.push(' ');
                self.flow(value, style, out);
                out.push_str(self.comment());
                out.push('\n');
            }
        }
    }

    fn block(&mut self, map: &Map<String, Value>, indent: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        for (name, value) in map {
            if self.choose(6) == 0 {
                out.push_str(&format!("{pad}# of {name}\n"));
            }
            if self.choose(8) == 0 {
                out.push('\n');
            }
            out.push_str(&pad);
            out.push_str(&self.scalar(&json!(name), Style::Block));
            out.push(':');
            self.value(
                value,
                indent + 1 + usize::from(self.clone().choose(3)),
                Style::Block,
                out,
            );
        }
    }

    fn flow(&mut self, value: &Value, style: Style, out: &mut String) {
        let space = if self.choose(2) == 0 { " " } else { "" };
        match value {
            Value::Object(map) => {
                out.push('{');
                for (index, (name, value)) in map.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(space);
                    out.push_str(&self.scalar(&json!(name), style));
                    out.push_str(": ");
                    self.flow(value, style, out);
                }
                out.push_str(space);
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { space });
                    self.flow(item, style, out);
                }
                out.push(']');
            }
            _ => out.push_str(&self.scalar(value, style)),
        }
    }

    fn document(&mut self, value: &Value) -> String {
        let mut out = String::new();
        match (value, self.choose(6)) {
            (_, 0) => self.flow(value, Style::Json, &mut out),
            (_, 1) => self.flow(value, Style::Flow, &mut out),
            (Value::Object(map), _) => self.block(map, 0, &mut out),
            _ => self.flow(value, Style::Flow, &mut out),
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }
}

fn texts() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-z]{1,5}", "[a-z:#'\" \\n{},\u{e9}-]{0,12}", 0..4)
        .prop_map(|map| json!(map))
}

/// Metadata with and without annotations, with an old policy or none.
fn metadata() -> impl Strategy<Value = Option<Value>> {
    let annotations = proptest::option::of((texts(), any::<bool>()));
    let made =
        (annotations, any::<bool>(), any::<bool>()).prop_map(|(annotations, name, is_null)| {
            let mut metadata = Map::new();
            if name {
                metadata.insert("name".to_owned(), json!("web"));
            }
            if let Some((mut annotations, is_old)) = annotations {
                if is_old {
                    annotations[NAME] = json!("b2xk");
                }
                metadata.insert("annotations".to_owned(), annotations);
            } else if is_null {
                metadata.insert("annotations".to_owned(), Value::Null);
            }
            Value::Object(metadata)
        });
    proptest::option::of(made)
}

fn workload() -> impl Strategy<Value = Value> {
    (metadata(), texts(), 0..4_u8).prop_map(|(metadata, other, kind)| {
        let mut template = Map::new();
        if let Some(metadata) = metadata {
            template.insert("metadata".to_owned(), metadata);
        }
        template.insert("spec".to_owned(), json!({ "note": other, "list": [other, [1, "x"]] }));
        let template = Value::Object(template);
        match kind {
            0 => {
                let mut pod = template;
                pod["kind"] = json!("Pod");
                pod
            }
            1 => json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": template } } } }),
            2 => json!({ "kind": "Service", "spec": template }),
            _ => json!({ "kind": "Deployment", "metadata": { "name": "own" }, "spec": { "template": template } }),
        }
    })
}

/// Where the annotations of a workload are.
fn pod_of(document: &mut Value) -> Option<&mut Value> {
    Some(match document["kind"].as_str()? {
        "Pod" => document,
        "CronJob" => &mut document["spec"]["jobTemplate"]["spec"]["template"],
        "Deployment" => &mut document["spec"]["template"],
        _ => return None,
    })
}

fn workloads_of(document: &mut Value) -> Vec<&mut Value> {
    if document["kind"] == "List" {
        let items = document["items"].as_array_mut().expect("a list");
        return items.iter_mut().filter_map(pod_of).collect();
    }
    pod_of(document).into_iter().collect()
}

fn parsed(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_tree_is_the_old_one_and_the_annotation(
        documents in proptest::collection::vec((workload(), any::<bool>()), 1..4),
        choices in proptest::collection::vec(any::<u8>(), 8..200),
        is_crlf: bool,
        is_cut: bool,
    ) {
        let mut pen = Pen { choices, at: 0 };
        let documents: Vec<Value> = documents
            .into_iter()
            .map(|(document, in_list)| match in_list {
                true => json!({ "kind": "List", "items": [document.clone(), document] }),
                false => document,
            })
            .collect();
        let texts: Vec<_> = documents.iter().map(|document| pen.document(document)).collect();
        let mut text = texts.join("--- # next\n");
        if is_crlf {
            text = text.replace('\n', "\r\n");
        }
        if is_cut {
            text.truncate(text.trim_end().len());
        }
        let mut expected = parsed(&text);
        let mut count = 0;
        for pod in expected.iter_mut().flat_map(workloads_of) {
            count += 1;
            if pod["metadata"].is_null() {
                pod["metadata"] = json!({});
            }
            if pod["metadata"]["annotations"].is_null() {
                pod["metadata"]["annotations"] = json!({});
            }
            pod["metadata"]["annotations"][NAME] = json!(VALUE);
        }
        let edited = annotate(&text, NAME, &vec![Some(VALUE.to_owned()); count]);
        let edited = edited.unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(parsed(&edited), expected, "{}\n{}", text, edited);
        // Everything that was there is there still, in its order.
        let mut rest = edited.as_str();
        let is_old = |line: &&str| !line.contains("b2xk") && !line.contains("null");
        for line in text.lines().filter(is_old).filter(|line| !line.contains(['{', '['])) {
            let at = rest.find(line);
            prop_assert!(at.is_some(), "{line:?} is gone:\n{edited}");
            rest = &rest[at.unwrap()..];
        }
        // And what is annotated already stays.
        let again = annotate(&edited, NAME, &vec![Some(VALUE.to_owned()); count]).unwrap();
        prop_assert_eq!(again, edited);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-a-zA-Z:{}\\[\\]&*<|>#'\",?! \n]{0,80}", count in 0..3_usize) {
        let _ = annotate(&text, NAME, &vec![Some(VALUE.to_owned()); count]);
        let pod = format!("kind: Pod\nmetadata:{text}\n");
        let _ = annotate(&pod, NAME, &[Some(VALUE.to_owned())]);
    }
}
