//! How quickstart shows what it does.

use core::time::Duration;
use std::io::{self, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::figures::thousands;

/// Writes steps and tables for a person, and shows progress on standard error if that is a
/// terminal.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    step: u32,
}

impl<W: Write> Progress<W> {
    /// Writes to `out`.
    #[must_use]
    pub const fn new(out: W) -> Self {
        Self { out, step: 0 }
    }

    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.step = self.step.saturating_add(1);
        writeln!(self.out, "\n{}. {title}", self.step)
    }

    pub(super) fn line(&mut self, text: impl core::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "   {text}")
    }

    /// A bar for `total` things; it draws nothing where nobody watches.
    pub(super) fn bar(total: u64) -> ProgressBar {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(total)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("   [{bar:40}] {pos}/{len} {per_sec} {eta}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// `1,234 in 5.6 ms, 4.5 us each`.
pub(super) fn rate(count: u64, took: Duration) -> String {
    let each = took.as_secs_f64() / (count.max(1) as f64);
    format!(
        "{} in {}, {} each",
        thousands(count),
        seconds(took.as_secs_f64()),
        seconds(each)
    )
}

/// Seconds in the unit that fits.
pub(super) fn seconds(s: f64) -> String {
    if s >= 1.0 {
        format!("{s:.1} s")
    } else if s >= 1e-3 {
        format!("{:.1} ms", s * 1e3)
    } else {
        format!("{:.1} us", s * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!(seconds(2.04), "2.0 s");
        assert_eq!(seconds(0.0021), "2.1 ms");
        assert_eq!(seconds(0.000_003_2), "3.2 us");
    }
}
