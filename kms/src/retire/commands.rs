//! The commands that a plan names, with what was given filled in.

use serde::Serialize;

use crate::figures::printable;

/// Something to do, and the commands that do it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What to do and why, for people.
    #[serde(rename = "do")]
    pub what: String,
    /// The commands, in their order. What stands in capitals is to be filled in.
    pub commands: Vec<String>,
}

impl Step {
    pub(super) fn new(what: impl Into<String>, commands: Vec<String>) -> Self {
        Self {
            what: printable(&what.into()),
            commands,
        }
    }
}

/// What the commands of a plan name: the words as they were given, without quotes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Places {
    /// How `kms` is told of the cluster's live etcd, such as `--etcd`, `https://127.0.0.1:2379`.
    pub etcd: Vec<String>,
    /// How `etcdctl` is told of it, such as `--endpoints=https://127.0.0.1:2379`.
    pub etcdctl: Vec<String>,
    /// How `kms` is told of the configuration, such as `--encryption-config`, `FILE`.
    pub configuration: Vec<String>,
    /// What else the plan was made with, waivers included.
    pub others: Vec<String>,
    /// Who knows the keys, such as `--provider`, `local:PATH`.
    pub keys: Vec<String>,
    /// Where the evidence is.
    pub evidence: Option<String>,
}

impl Default for Places {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            etcd: words(&["--etcd", "URL"]),
            etcdctl: words(&["--endpoints=URL"]),
            configuration: words(&["--encryption-config", "FILE"]),
            others: Vec::new(),
            keys: Vec::new(),
            evidence: None,
        }
    }
}

impl Places {
    pub(super) fn etcdctl(&self, words: &[&str]) -> String {
        command("etcdctl", &[&self.etcdctl, &owned(words)])
    }

    pub(super) fn kms(&self, before: &[&str], after: &[&[String]]) -> String {
        let mut groups = vec![owned(before)];
        groups.extend(after.iter().map(|words| words.to_vec()));
        let groups: Vec<&[String]> = groups.iter().map(Vec::as_slice).collect();
        command("kms", &groups)
    }
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn command(program: &str, groups: &[&[String]]) -> String {
    let mut text = program.to_owned();
    for word in groups.iter().flat_map(|words| *words) {
        text.push(' ');
        text.push_str(&quoted(word));
    }
    text
}

/// A word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if !word.chars().any(char::is_control) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // A terminal must not see it, and a shell must: Bash, ksh and zsh read this.
    let escape = |letter: char| match letter {
        '\'' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).bytes();
            bytes.map(|byte| format!("\\x{byte:02x}")).collect()
        }
        letter => letter.to_string(),
    };
    format!("$'{}'", word.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What a shell makes of it is what it was.
        #[test]
        fn a_word_comes_through_a_shell(word in "[ -~\u{7}\u{1b}äß€]{0,20}") {
            let script = format!("printf %s {}", quoted(&word));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
            prop_assert!(!script.chars().any(char::is_control));
        }
    }

    #[test]
    fn what_needs_no_quotes_has_none() {
        assert_eq!(
            quoted("--endpoints=https://10.0.0.1:2379"),
            "--endpoints=https://10.0.0.1:2379"
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
