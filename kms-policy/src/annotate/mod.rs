//! Annotations put into the text of a manifest, so that nothing else of it changes.
//!
//! Comments, order, quoting, anchors, indentation and line endings stay as they are: a diff shows the
//! annotation. Where an alias stands in the way, what it stands for is written out in its place.

mod edit;
mod flow;
mod layout;
mod outcome;

use edit::{Edit, apply, edits};
use layout::Layout;
use outcome::{same, set, workload_paths};

use crate::manifest::Value;
use crate::{Error, ErrorKind};

/// The most work that aliases may make, in bytes read: with them, each annotation is put in by itself.
const MAX_WORK: usize = 1 << 30;

/// A step on the way from a document to a place in it.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// Puts an annotation on the pods of each workload: one value for each, in the order of
/// [`Manifest::workloads`](crate::manifest::Manifest::workloads); `None` leaves a workload as it is.
///
/// An annotation of this name that is there is replaced; `metadata` and `annotations` are made where
/// they are missing. The outcome is read again before it is returned: it holds what the text held, and
/// the annotations.
///
/// # Errors
///
/// [`ErrorKind::Manifest`] if the text is not YAML, or the number of values is not that of its
/// workloads; [`ErrorKind::Unsupported`] for a way of writing YAML that cannot be changed in place.
///
/// ```
/// use kms_policy::annotate::annotate;
///
/// let pod = "kind: Pod\nmetadata:\n  name: web # ours\nspec: {containers: []}\n";
/// let annotated = annotate(pod, "example.org/policy", &[Some("cGFja2FnZQ==".to_owned())])?;
/// assert_eq!(
///     annotated,
///     "kind: Pod\nmetadata:\n  annotations:\n    example.org/policy: cGFja2FnZQ==\n  name: web # ours\nspec: {containers: []}\n"
/// );
/// # Ok::<(), kms_policy::Error>(())
/// ```
pub fn annotate(text: &str, name: &str, values: &[Option<String>]) -> Result<String, Error> {
    let mut expected = Value::parse_all(text)?;
    let targets = workload_paths(&expected);
    if targets.len() != values.len() {
        return Err(Error::new(
            ErrorKind::Manifest,
            format!("{} values for {} workloads", values.len(), targets.len()),
        ));
    }
    let mut wanted = Vec::new();
    for ((document, mut path), value) in targets.into_iter().zip(values) {
        if let Some(value) = value {
            path.extend([Step::Key("annotations"), Step::Key(name)]);
            if let Some(root) = expected.get_mut(document) {
                set(root, &path, value);
            }
            wanted.push((document, path, &**value));
        }
    }
    let documents = Documents::of(&expected);
    let edited = if Layout::parse(text)?.has_aliases() {
        one_by_one(text, &documents, &wanted)?
    } else {
        let layout = Layout::parse(text)?;
        let mut all = Vec::new();
        for wanted in &wanted {
            all.extend(of_one(&layout, &documents, wanted)?);
        }
        apply(text, all)?
    };
    if same(&Value::parse_all(&edited)?, &expected) {
        Ok(edited)
    } else {
        Err(edit::beyond_us())
    }
}

type Wanted<'a> = (usize, Vec<Step<'a>>, &'a str);

/// Which document of the layout a value is: empty ones have no value.
struct Documents(Vec<Option<usize>>);

impl Documents {
    fn of(values: &[Value]) -> Self {
        let mut mappings = 0_usize;
        let numbers = values.iter().map(|value| {
            let is_mapping = matches!(value, Value::Map(_));
            let number = is_mapping.then_some(mappings);
            mappings = mappings.saturating_add(usize::from(is_mapping));
            number
        });
        Self(numbers.collect())
    }
}

fn of_one(
    layout: &Layout<'_>,
    documents: &Documents,
    (document, path, value): &Wanted<'_>,
) -> Result<Vec<Edit>, Error> {
    let number = documents.0.get(*document).copied().flatten();
    let root = number.and_then(|number| layout.mapping_root(number));
    edits(layout, root.ok_or_else(edit::beyond_us)?, path, value)
}

/// An edit may write out what an alias stands for, which is then no part of the next edit's layout.
fn one_by_one(text: &str, documents: &Documents, wanted: &[Wanted<'_>]) -> Result<String, Error> {
    if text.len().saturating_mul(wanted.len()) > MAX_WORK {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "aliases in so many workloads cannot be kept",
        )
        .with_remedy("give fewer workloads in one file, or write the aliases out"));
    }
    let mut text = text.to_owned();
    for wanted in wanted {
        let edits = of_one(&Layout::parse(&text)?, documents, wanted)?;
        text = apply(&text, edits)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "io.katacontainers.config.agent.policy";
    const VALUE: &str = "cGFja2FnZQ==";

    fn annotated(text: &str) -> Result<String, Error> {
        let count = workload_paths(&Value::parse_all(text)?).len();
        annotate(text, NAME, &vec![Some(VALUE.to_owned()); count])
    }

    /// `@` stands for the annotation.
    #[track_caller]
    fn check(before: &str, after: &str) {
        let after = after.replace('@', &format!("{NAME}: {VALUE}"));
        for line_end in ["\n", "\r\n"] {
            let (before, after) = (
                before.replace('\n', line_end),
                after.replace('\n', line_end),
            );
            assert_eq!(annotated(&before).unwrap(), after, "{before}");
            // What is there already stays as it is.
            assert_eq!(annotated(&after).unwrap(), after, "{before}");
        }
    }

    #[test]
    fn in_block_style_it_is_a_line() {
        check(
            "kind: Pod\nmetadata:\n  name: a # ours\n  labels: {b: c}\nspec:\n",
            "kind: Pod\nmetadata:\n  annotations:\n    @\n  name: a # ours\n  labels: {b: c}\nspec:\n",
        );
        check(
            "metadata:\n    annotations: # all\n        # of b\n        b: c\n    name: a\nkind: Pod",
            "metadata:\n    annotations: # all\n        @\n        # of b\n        b: c\n    name: a\nkind: Pod",
        );
        check(
            "kind: Pod\nmetadata:\n  name: |\n    a\n    # no comment\n# about the spec\nspec: x\n",
            "kind: Pod\nmetadata:\n  annotations:\n    @\n  name: |\n    a\n    # no comment\n# about the spec\nspec: x\n",
        );
    }

    #[test]
    fn what_is_missing_is_made() {
        check(
            "kind: Pod\nnote: |\n  a\n  # no comment\n# of the spec\nspec: x\n",
            "kind: Pod\nnote: |\n  a\n  # no comment\nmetadata:\n  annotations:\n    @\n# of the spec\nspec: x\n",
        );
        check(
            "kind: Job\nspec:\n  template:\n    spec: {}\n",
            "kind: Job\nspec:\n  template:\n    metadata:\n      annotations:\n        @\n    spec: {}\n",
        );
        check(
            "kind: Pod\nmetadata:\n  annotations:   # none yet\n  name: a",
            "kind: Pod\nmetadata:\n  annotations:   # none yet\n    @\n  name: a",
        );
        check(
            "kind: Pod\nmetadata:",
            "kind: Pod\nmetadata:\n  annotations:\n    @",
        );
        check(
            "kind: Pod\nmetadata: ~ # none\n",
            "kind: Pod\nmetadata: {annotations: {@}} # none\n",
        );
        check(
            "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {}}}}}\n",
            "kind: CronJob\nspec: {jobTemplate: {spec: {template: {metadata: {annotations: {@}}, spec: {}}}}}\n",
        );
    }

    #[test]
    fn an_old_one_is_replaced_and_nothing_beside_it() {
        let (head, tail) = (
            "kind: Pod\nmetadata:\n  annotations:\n    a: b\n    ",
            "    c: d # e\n",
        );
        for (old, new) in [
            ("K: old # x\n", "K: V # x\n"),
            ("K: 'old'\n", "K: V\n"),
            ("\"K\" : \"old\"\n", "\"K\" : \"V\"\n"),
            ("K: |\n      old\n      older\n\n", "K: V\n\n"),
            ("K: >-\n      old\n", "K: V\n"),
            ("K: !!str |2-\n        old\n", "K: !!str V\n"),
            ("K: one\n      two\n", "K: V\n"),
            ("K:\n", "K: V\n"),
            ("K: # x\n      old\n", "K: # x\n      V\n"),
        ] {
            let whole = |part: &str| {
                let part = part.replace('K', NAME).replace('V', VALUE);
                format!("{head}{part}{tail}")
            };
            check(&whole(old), &whole(new));
        }
    }

    #[test]
    fn flow_style_and_json_stay_what_they_are() {
        check(
            "{kind: Pod, metadata: {name: a, annotations: {b: c}}}\n",
            "{kind: Pod, metadata: {name: a, annotations: {@, b: c}}}\n",
        );
        check(
            "kind: Pod\nmetadata: {annotations: {}}\n",
            "kind: Pod\nmetadata: {annotations: {@}}\n",
        );
        check(
            "kind: Pod\nmetadata: {annotations, name: a}\n",
            "kind: Pod\nmetadata: {annotations: {@}, name: a}\n",
        );
        let json = "{\n  \"kind\": \"Pod\",\n  \"metadata\": {\n    \"name\": \"a\"\n  }\n}\n";
        let expected = format!(
            "{{\n  \"kind\": \"Pod\",\n  \"metadata\": {{\n    \"annotations\": {{\"{NAME}\": \"{VALUE}\"}},\n    \"name\": \"a\"\n  }}\n}}\n"
        );
        assert_eq!(annotated(json).unwrap(), expected);
        let compact = r#"{"kind":"Pod","metadata":{"annotations":{"b":"c"}}}"#;
        let expected = format!(
            r#"{{"kind":"Pod","metadata":{{"annotations":{{"{NAME}": "{VALUE}", "b":"c"}}}}}}"#
        );
        assert_eq!(annotated(compact).unwrap(), expected);
        serde_json::from_str::<serde_json::Value>(&expected).unwrap();
    }

    #[test]
    fn every_document_and_every_item_of_a_list_has_its_own() {
        let text = "\
# first
kind: Service
---
---
kind: Pod
metadata:
  name: a
--- # a list
kind: List
items:
- metadata: # b
    name: b
  kind: Pod
- kind: ConfigMap
- kind: Deployment
  spec:
    template:
      spec: {}
...
";
        let values: Vec<_> = (1..=3).map(|n| Some(format!("policy-{n}"))).collect();
        let expected = text
            .replace(
                "  name: a\n",
                "  annotations:\n    K: policy-1\n  name: a\n",
            )
            .replace(
                "    name: b\n",
                "    annotations:\n      K: policy-2\n    name: b\n",
            )
            .replace(
                "      spec: {}\n",
                "      metadata:\n        annotations:\n          K: policy-3\n      spec: {}\n",
            )
            .replace("K:", &format!("{NAME}:"));
        assert_eq!(annotate(text, NAME, &values).unwrap(), expected);
        let some = [None, Some("policy-2".to_owned()), None];
        let expected = text.replace(
            "    name: b\n",
            &format!("    annotations:\n      {NAME}: policy-2\n    name: b\n"),
        );
        assert_eq!(annotate(text, NAME, &some).unwrap(), expected);
        assert_eq!(
            annotate(text, NAME, &values[1..]).unwrap_err().kind(),
            ErrorKind::Manifest
        );
    }

    #[test]
    fn an_alias_in_the_way_is_written_out() {
        // The pod's metadata are another's.
        check(
            "kind: Deployment\nmetadata: &m\n  labels: {a: b, port: 08}\nspec:\n  template:\n    metadata: *m\n",
            "kind: Deployment\nmetadata: &m\n  labels: {a: b, port: 08}\nspec:\n  template:\n    metadata: {annotations: {@}, labels: {a: b, port: 08}}\n",
        );
        // Another's are the pod's.
        check(
            "kind: Pod\nmetadata: &m\n  name: 'a, b'\nother: *m\nthird: {<<: *m, c: d}\n",
            "kind: Pod\nmetadata: &m\n  annotations:\n    @\n  name: 'a, b'\nother: {name: \"a, b\"}\nthird: {<<: {name: \"a, b\"}, c: d}\n",
        );
        // They are merged.
        check(
            "base: &b {annotations: {c: d}}\nkind: Pod\nmetadata:\n  <<: *b\n  name: a\n",
            "base: &b {annotations: {c: d}}\nkind: Pod\nmetadata:\n  annotations: {@, c: d}\n  <<: *b\n  name: a\n",
        );
        // The policy itself is elsewhere, too.
        check(
            &format!("x: &x old\nkind: Pod\nmetadata: {{annotations: {{{NAME}: *x}}}}\n"),
            "x: &x old\nkind: Pod\nmetadata: {annotations: {@}}\n",
        );
        check(
            &format!("kind: Pod\nmetadata:\n  annotations:\n    {NAME}: &x old\ny: *x\n"),
            &format!("kind: Pod\nmetadata:\n  annotations:\n    {NAME}: &x {VALUE}\ny: old\n"),
        );
    }

    #[test]
    fn a_text_that_is_no_manifest_is_refused() {
        for text in [
            "kind: [",
            "a: b\n a: c",
            "kind: Pod\nmetadata: &a {b: *a}\n",
            "*x",
        ] {
            assert_eq!(
                annotate(text, NAME, &[]).unwrap_err().kind(),
                ErrorKind::Manifest
            );
        }
        let strange = "kind: Pod\nmetadata: [annotations: {a: b}]\n";
        assert_eq!(
            annotated(strange).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
