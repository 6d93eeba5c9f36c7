//! The names of annotations, and collecting them.

use super::super::Fault;

/// All annotations of one object, names and values, in bytes.
const MAX_TOTAL_LEN: usize = 32 * 1024;
const MAX_NAME_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;
const FIELD: &str = "annotations";

/// Whether this is a fully qualified domain name (RFC 1123): lower case, two labels or more.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fault = Fault::new(FIELD, "have a name that is no fully qualified domain name");
    if name.len() > MAX_NAME_LEN {
        return Err(fault);
    }
    let mut labels = 0_usize;
    for label in name.split('.') {
        labels = labels.saturating_add(1);
        let bytes = label.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(fault);
        };
        let alphanumeric = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        if bytes.len() > MAX_LABEL_LEN
            || !alphanumeric(first)
            || !alphanumeric(last)
            || !bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        {
            return Err(fault);
        }
    }
    if labels < 2 { Err(fault) } else { Ok(()) }
}

/// The entries of a map field as they come: a later one replaces an earlier one of its name.
///
/// A hostile value may repeat a name a million times; duplicates are thrown out as the list
/// grows, so that it stays within what valid annotations can take.
#[derive(Debug, Default)]
pub(super) struct Collector<'a> {
    entries: Vec<(&'a str, &'a [u8])>,
    compact_at: usize,
}

const FIRST_COMPACTION: usize = 64;

impl<'a> Collector<'a> {
    pub(super) fn push(&mut self, name: &'a str, value: &'a [u8]) -> Result<(), Fault> {
        if self.entries.len() >= self.compact_at.max(FIRST_COMPACTION) {
            self.compact();
            // A name stays even when its value changes, so this cannot become valid again.
            if total(&self.entries, false) > MAX_TOTAL_LEN {
                return Err(Fault::new(FIELD, "are over 32768 bytes in all"));
            }
            self.compact_at = self.entries.len().saturating_mul(2);
        }
        self.entries.push((name, value));
        Ok(())
    }

    /// The entries in order of their names, checked.
    pub(super) fn finish(mut self) -> Result<Vec<(&'a str, &'a [u8])>, Fault> {
        self.compact();
        for (name, _) in &self.entries {
            check_name(name)?;
        }
        if total(&self.entries, true) > MAX_TOTAL_LEN {
            return Err(Fault::new(FIELD, "are over 32768 bytes in all"));
        }
        Ok(self.entries)
    }

    fn compact(&mut self) {
        self.entries.sort_by_key(|(name, _)| *name);
        // `dedup_by` keeps the first of a run; the sort is stable, so the last one is to stay.
        self.entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = later.1;
            }
            same
        });
    }
}

fn total(entries: &[(&str, &[u8])], values: bool) -> usize {
    entries.iter().fold(0_usize, |sum, (name, value)| {
        sum.saturating_add(name.len())
            .saturating_add(if values { value.len() } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_domains() {
        let label = "a".repeat(63);
        let long = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(long.len(), 253);
        for good in ["a.b", "a.b.", "0.1", "x-y.example.com", long.as_str()] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let longer = format!("{long}a");
        let long_label = format!("{label}a.b");
        for bad in [
            "",
            ".",
            "a",
            "a.",
            "a..b",
            "a.b..",
            ".a.b",
            "A.b",
            "a_b.c",
            "-a.b",
            "a-.b",
            "a.b/c",
            "ä.b",
            &longer,
            &long_label,
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let mut collector = Collector::default();
        for (name, value) in [("b.c", "1"), ("a.b", "2"), ("b.c", "3")] {
            collector.push(name, value.as_bytes()).unwrap();
        }
        assert_eq!(
            collector.finish().unwrap(),
            [("a.b", &b"2"[..]), ("b.c", &b"3"[..])]
        );
    }

    #[test]
    fn a_flood_of_one_name_takes_no_room() {
        let mut collector = Collector::default();
        for _ in 0..1_000_000 {
            collector.push("a.b", b"").unwrap();
        }
        assert!(collector.entries.capacity() <= 256);
        assert_eq!(collector.finish().unwrap().len(), 1);
    }

    #[test]
    fn a_flood_of_names_is_refused_early() {
        let names: Vec<String> = (0..100_000).map(|number| format!("a.{number}")).collect();
        let mut collector = Collector::default();
        let refused = names
            .iter()
            .position(|name| collector.push(name, b"").is_err());
        assert!(refused.unwrap() < 20_000);
    }

    #[test]
    fn the_total_has_a_bound() {
        let value = vec![0; MAX_TOTAL_LEN - 3];
        let mut collector = Collector::default();
        collector.push("a.b", &value).unwrap();
        assert!(collector.finish().is_ok());
        let value = vec![0; MAX_TOTAL_LEN - 2];
        let mut collector = Collector::default();
        collector.push("a.b", &value).unwrap();
        assert!(collector.finish().is_err());
    }
}
