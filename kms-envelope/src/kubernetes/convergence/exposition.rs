//! The text in which Prometheus takes metrics (exposition format 0.0.4), as far as it is needed:
//! some samples of some families. Comments and the rest are passed over.

use core::fmt;
use std::borrow::Cow;

use crate::{Error, ErrorKind};

/// The longest text that is read, in bytes. A busy API server has some 20 MiB.
const MAX_TEXT_LEN: usize = 64 << 20;
/// The longest line of a family that is wanted, in bytes.
const MAX_LINE_LEN: usize = 16 << 10;
/// The most samples that are wanted; a server keeps at most a hundred of a family.
const MAX_SAMPLES: usize = 20_000;
const MAX_LABELS: usize = 64;

/// One sample.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
}

impl Sample<'_> {
    /// The value of a label; a label that is not there is empty.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads the samples of the families that are wanted, in order.
///
/// # Errors
///
/// [`ErrorKind::Malformed`] with the number of the first line that is not of the format. Lines of
/// other families need to begin with a name, and no more.
pub(super) fn samples<'a>(
    text: &'a str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Sample<'a>>, Error> {
    if text.len() > MAX_TEXT_LEN {
        return Err(malformed(format_args!(
            "{} bytes, more than the {MAX_TEXT_LEN} that are read",
            text.len()
        )));
    }
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let read = read_line(line, &is_wanted);
        match read.map_err(|what| malformed(format_args!("line {number}: {what}")))? {
            Some(_) if found.len() >= MAX_SAMPLES => {
                return Err(malformed(format_args!(
                    "line {number}: more than {MAX_SAMPLES} samples about encryption"
                )));
            }
            Some(sample) => found.push(sample),
            None => {}
        }
    }
    Ok(found)
}

fn malformed(what: fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Malformed, format!("metrics: {what}"))
}

fn read_line<'a>(
    line: &'a str,
    is_wanted: &impl Fn(&str) -> bool,
) -> Result<Option<Sample<'a>>, &'static str> {
    let mut rest = Rest(line);
    rest.skip_blanks();
    if rest.0.is_empty() || rest.0.starts_with('#') {
        return Ok(None);
    }
    let name = rest.name(true).ok_or("does not begin with a name")?;
    if !is_wanted(name) {
        return Ok(None);
    }
    if line.len() > MAX_LINE_LEN {
        return Err("is too long");
    }
    rest.skip_blanks();
    let labels = if rest.take('{') {
        rest.labels()?
    } else {
        Vec::new()
    };
    let mut words = rest.0.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().ok_or("has no value")?;
    let value = value.parse().map_err(|_| "its value is no number")?;
    if let Some(timestamp) = words.next() {
        let _: i64 = timestamp
            .parse()
            .map_err(|_| "its timestamp is no number")?;
    }
    if words.next().is_some() {
        return Err("goes on behind its timestamp");
    }
    Ok(Some(Sample {
        name,
        labels,
        value,
    }))
}

/// What of a line is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A name of a metric, which may hold a colon, or of a label.
    fn name(&mut self, with_colon: bool) -> Option<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (with_colon && c == ':');
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at_checked(end)?;
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        Some(name)
    }

    /// Labels up to the closing brace; the opening one has been read.
    fn labels(&mut self) -> Result<Vec<(&'a str, Cow<'a, str>)>, &'static str> {
        let mut labels: Vec<(&str, Cow<'_, str>)> = Vec::new();
        loop {
            self.skip_blanks();
            if self.take('}') {
                return Ok(labels);
            }
            let name = self.name(false).ok_or("a label has no name")?;
            if labels.len() >= MAX_LABELS {
                return Err("has too many labels");
            }
            if labels.iter().any(|(other, _)| *other == name) {
                return Err("has a label twice");
            }
            self.skip_blanks();
            if !self.take('=') {
                return Err("a label has no value");
            }
            self.skip_blanks();
            if !self.take('"') {
                return Err("a label's value is not in quotes");
            }
            labels.push((name, self.quoted()?));
            self.skip_blanks();
            if !self.take(',') && !self.0.starts_with('}') {
                return Err("its labels are not closed");
            }
        }
    }

    /// Text up to the closing quote; the opening one has been read.
    fn quoted(&mut self) -> Result<Cow<'a, str>, &'static str> {
        let mut value = Cow::Borrowed("");
        loop {
            let end = self
                .0
                .find(['"', '\\'])
                .ok_or("a label's value is not closed")?;
            let (plain, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
            if value.is_empty() {
                value = Cow::Borrowed(plain);
            } else {
                value.to_mut().push_str(plain);
            }
            self.0 = rest;
            if self.take('"') {
                return Ok(value);
            }
            let escaped = match self.0.get(..2) {
                Some("\\\\") => '\\',
                Some("\\\"") => '"',
                Some("\\n") => '\n',
                _ => return Err("a label's value has an unknown escape"),
            };
            value.to_mut().push(escaped);
            self.0 = self.0.get(2..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Sample<'_>>, String> {
        samples(text, |name| name.starts_with("a_")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_spelling_of_a_sample() {
        for text in [
            "a_x{l=\"v\",m=\"\"} 1.5",
            "a_x{l=\"v\",m=\"\",} 1.5e0 1700000000000",
            " \ta_x { l = \"v\" , m=\"\" }\t+1.5 \t-5 ",
            "# TYPE a_x gauge\r\na_x{l=\"v\"} 1.5\r\n",
        ] {
            let found = read(text).unwrap();
            let [sample] = found.as_slice() else {
                panic!("{text}: {found:?}");
            };
            assert_eq!((sample.name, sample.value), ("a_x", 1.5), "{text}");
            assert_eq!((sample.label("l"), sample.label("m")), ("v", ""), "{text}");
        }
        assert_eq!(read("a_x 7").unwrap()[0].value, 7.0);
        assert!(read("a_x{} NaN").unwrap()[0].value.is_nan());
        assert_eq!(read("a_x{} -Inf").unwrap()[0].value, f64::NEG_INFINITY);
    }

    #[test]
    fn escapes_are_read() {
        let text = r#"a_x{l="a\\b\"c\nd}, #",m="\""} 1"#;
        let found = read(text).unwrap();
        assert_eq!(found[0].label("l"), "a\\b\"c\nd}, #");
        assert_eq!(found[0].label("m"), "\"");
    }

    #[test]
    fn other_families_need_only_a_name() {
        let text = "b_bucket{le=\"0.1\"} 3 # {trace=\"x\"} 0.06\nb_x{this is not read\n\n# EOF";
        assert!(read(text).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_of_the_format_is_refused_with_its_line() {
        for (line, why) in [
            ("<html>", "name"),
            ("{\"kind\":\"Status\"}", "name"),
            ("1x 1", "name"),
            ("a_x", "no value"),
            ("a_x{} one", "no number"),
            ("a_x{} 1 now", "timestamp"),
            ("a_x{} 1 1 1", "behind"),
            ("a_x{l} 1", "no value"),
            ("a_x{l=v} 1", "quotes"),
            ("a_x{l=\"v} 1", "not closed"),
            ("a_x{l=\"v\" 1", "not closed"),
            ("a_x{l=\"v\"m=\"w\"} 1", "not closed"),
            ("a_x{l=\"\\t\"} 1", "escape"),
            ("a_x{l=\"\\", "escape"),
            ("a_x{,} 1", "no name"),
            ("a_x{l=\"1\",l=\"2\"} 1", "twice"),
        ] {
            let error = read(&format!("a_x 1\n{line}\n")).unwrap_err();
            assert!(error.contains("line 2"), "{line}: {error}");
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn everything_is_bounded() {
        let long = format!("a_x{{l=\"{}\"}} 1", "v".repeat(MAX_LINE_LEN));
        assert!(read(&long).unwrap_err().contains("too long"));
        let labels: String = (0..=MAX_LABELS).map(|n| format!("l{n}=\"\",")).collect();
        assert!(
            read(&format!("a_x{{{labels}}} 1"))
                .unwrap_err()
                .contains("labels")
        );
        let many = "a_x 1\n".repeat(MAX_SAMPLES + 1);
        assert!(read(&many).unwrap_err().contains("more than"));
        // A long line of another family is nobody's business.
        assert!(read(&long.replace("a_x", "b_x")).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(a_x|b|\\{|\\}|\"|\\\\|=|,| |\n|#|l|1|\u{20ac}){0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_is_read(
            labels in proptest::collection::btree_map("[a-z_][a-z0-9_]{0,8}", ".{0,20}", 0..5),
            value in any::<f64>(),
        ) {
            let inside: String = labels
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    format!("{name}=\"{value}\",")
                })
                .collect();
            let text = format!("a_x{{{inside}}} {value:?}");
            let found = read(&text).unwrap();
            prop_assert_eq!(found.len(), 1);
            for (name, value) in &labels {
                prop_assert_eq!(found[0].label(name), value);
            }
            prop_assert!(found[0].value == value || (found[0].value.is_nan() && value.is_nan()));
        }
    }
}
