//! As much of TOML 1.0 as initdata has: keys, tables, and the four kinds of strings.

use std::collections::BTreeMap;

use super::refused;
use crate::Error;

/// Values by table (empty at the beginning) and key.
pub(super) type Document = BTreeMap<(String, String), String>;

/// A text as a basic string in one line.
pub(super) fn line(text: &str) -> String {
    let mut written = String::from("\"");
    for letter in text.chars() {
        escape(letter, &mut written);
    }
    written.push('"');
    written
}

/// A text as a string of several lines: literal, unless it holds what such a string cannot.
pub(super) fn lines(text: &str) -> String {
    let is_literal = !text.contains("'''")
        && !text.ends_with('\'')
        && text
            .chars()
            .all(|letter| letter == '\n' || letter == '\t' || !is_control(letter));
    if is_literal {
        return format!("'''\n{text}'''");
    }
    let mut written = String::from("\"\"\"\n");
    for letter in text.chars() {
        if letter == '\n' {
            written.push('\n');
        } else {
            escape(letter, &mut written);
        }
    }
    written.push_str("\"\"\"");
    written
}

const fn is_control(letter: char) -> bool {
    matches!(letter, '\0'..='\u{1f}' | '\u{7f}')
}

fn escape(letter: char, written: &mut String) {
    use core::fmt::Write as _;
    match letter {
        '"' => written.push_str("\\\""),
        '\\' => written.push_str("\\\\"),
        '\n' => written.push_str("\\n"),
        '\t' => written.push_str("\\t"),
        letter if is_control(letter) => {
            // Writing to a string does not fail.
            let _ = write!(written, "\\u{:04X}", u32::from(letter));
        }
        letter => written.push(letter),
    }
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Document, Error> {
    let mut reader = Reader {
        rest: text,
        whole: text,
    };
    let mut document = Document::new();
    let mut table = String::new();
    loop {
        reader.skip_to_content();
        if reader.rest.is_empty() {
            return Ok(document);
        }
        if reader.take("[") {
            reader.skip_blanks();
            table = reader.key()?;
            reader.skip_blanks();
            if !reader.take("]") {
                return Err(reader.wrong("a table's name"));
            }
        } else {
            let key = reader.key()?;
            reader.skip_blanks();
            if !reader.take("=") {
                return Err(reader.wrong("an equals sign"));
            }
            reader.skip_blanks();
            let value = reader.string()?;
            if document.insert((table.clone(), key), value).is_some() {
                return Err(reader.wrong("each key once"));
            }
        }
        reader.end_of_line()?;
    }
}

struct Reader<'t> {
    rest: &'t str,
    whole: &'t str,
}

impl<'t> Reader<'t> {
    fn wrong(&self, wanted: &str) -> Error {
        let read = self.whole.len().saturating_sub(self.rest.len());
        let lines = self.whole.get(..read).unwrap_or_default().matches('\n');
        let line = lines.count().saturating_add(1);
        refused(&format!("does not have {wanted} in line {line}"))
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, matches: impl Fn(char) -> bool) -> &'t str {
        let taken = self.rest.find(|letter| !matches(letter));
        let (taken, rest) = self.rest.split_at(taken.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(|letter| letter == ' ' || letter == '\t');
    }

    fn skip_comment(&mut self) {
        if self.rest.starts_with('#') {
            self.take_while(|letter| letter != '\n');
        }
    }

    /// Skips blank lines and comments.
    fn skip_to_content(&mut self) {
        loop {
            self.take_while(|letter| " \t\r\n".contains(letter));
            if !self.rest.starts_with('#') {
                return;
            }
            self.skip_comment();
        }
    }

    fn end_of_line(&mut self) -> Result<(), Error> {
        self.skip_blanks();
        self.skip_comment();
        if self.rest.is_empty() || self.take("\n") || self.take("\r\n") {
            Ok(())
        } else {
            Err(self.wrong("the end of a line"))
        }
    }

    fn key(&mut self) -> Result<String, Error> {
        if self.rest.starts_with(['"', '\'']) {
            return self.string();
        }
        let bare = self
            .take_while(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
        if bare.is_empty() {
            return Err(self.wrong("a key"));
        }
        Ok(bare.to_owned())
    }

    fn string(&mut self) -> Result<String, Error> {
        if self.take("'''") {
            self.skip_first_line_end();
            return self.until("'''", false);
        }
        if self.take("\"\"\"") {
            self.skip_first_line_end();
            return self.until("\"\"\"", true);
        }
        if self.take("'") {
            return self.until("'", false);
        }
        if self.take("\"") {
            return self.until("\"", true);
        }
        Err(self.wrong("a string"))
    }

    fn skip_first_line_end(&mut self) {
        if !self.take("\n") {
            self.take("\r\n");
        }
    }

    /// The text up to a delimiter, which is taken, too.
    fn until(&mut self, delimiter: &str, has_escapes: bool) -> Result<String, Error> {
        let is_one_line = delimiter.len() == 1;
        let mut text = String::new();
        loop {
            if self.take(delimiter) {
                // Up to two more quotes in front of the delimiter are text.
                let quote = delimiter.get(..1).unwrap_or_default();
                for _ in 0..2 {
                    if !is_one_line && self.take(quote) {
                        text.push_str(quote);
                    }
                }
                return Ok(text);
            }
            if has_escapes && self.take("\\") {
                self.escaped(&mut text, is_one_line)?;
                continue;
            }
            let Some(letter) = self.rest.chars().next() else {
                return Err(self.wrong("the end of a string"));
            };
            if is_control(letter) && letter != '\t' {
                let is_line_end = self.rest.starts_with('\n') || self.rest.starts_with("\r\n");
                if is_one_line || !is_line_end {
                    return Err(self.wrong("printable text in a string"));
                }
            }
            text.push(letter);
            self.rest = self.rest.get(letter.len_utf8()..).unwrap_or_default();
            if letter == '\r' && self.take("\n") {
                text.push('\n');
            }
        }
    }

    fn escaped(&mut self, text: &mut String, is_one_line: bool) -> Result<(), Error> {
        for (letter, meaning) in [
            ("b", '\u{8}'),
            ("t", '\t'),
            ("n", '\n'),
            ("f", '\u{c}'),
            ("r", '\r'),
            ("\"", '"'),
            ("\\", '\\'),
        ] {
            if self.take(letter) {
                text.push(meaning);
                return Ok(());
            }
        }
        for (letter, digits) in [("u", 4), ("U", 8)] {
            if self.take(letter) {
                let number = self.rest.get(..digits);
                let number = number.filter(|number| !number.starts_with('+'));
                let number = number.and_then(|number| u32::from_str_radix(number, 16).ok());
                let letter = number.and_then(char::from_u32);
                text.push(letter.ok_or_else(|| self.wrong("a character's number"))?);
                self.rest = self.rest.get(digits..).unwrap_or_default();
                return Ok(());
            }
        }
        let blank = self.take_while(|letter| " \t\r\n".contains(letter));
        if is_one_line || !blank.contains('\n') {
            return Err(self.wrong("a known escape"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, Error> {
        let mut document = parse(&format!("a = {text}\n"))?;
        Ok(document.remove(&(String::new(), "a".to_owned())).unwrap())
    }

    #[test]
    fn every_kind_of_string_is_read() {
        for (text, expected) in [
            (r#""a\tb\u00e9\U0001F511\"""#, "a\tb\u{e9}\u{1f511}\""),
            (r"'a\tb'", r"a\tb"),
            ("'''\na\r\nb''''", "a\r\nb'"),
            ("\"\"\"a\\\n   b\"\"\" # c", "ab"),
            ("''", ""),
        ] {
            assert_eq!(value(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "1",
            "'a",
            "\"\\q\"",
            "'a\nb'",
            "'a' b",
            "\"\\ud800\"",
            "'\u{1}'",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tables_and_comments_are_read() {
        let document = parse("# x\n\nb = 'c'\r\n[ data ] # y\n\"d e\" = \"f\"").unwrap();
        let found: Vec<_> = document
            .iter()
            .map(|((table, key), value)| (&**table, &**key, &**value))
            .collect();
        assert_eq!(found, [("", "b", "c"), ("data", "d e", "f")]);
        assert!(parse("a = 'b'\na = 'c'").is_err());
        let error = parse("a = 'b'\n\nc").unwrap_err();
        assert!(error.message().contains("line 3"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "",
            "a'b",
            "a'",
            "'''",
            "\"\"\"\\",
            "\n\n",
            "a\r\nb",
            "\u{7f}\t\u{e9}",
        ] {
            assert_eq!(value(&lines(text)).unwrap(), text, "{text:?}");
            assert_eq!(value(&line(text)).unwrap(), text, "{text:?}");
        }
    }
}
