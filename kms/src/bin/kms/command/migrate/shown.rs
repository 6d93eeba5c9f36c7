//! How far something has come.

use core::fmt::Write as _;
use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use kms_core::{Clock, Tick};

/// Shows how far it has come: a bar on a terminal, else a line every now and then.
pub(super) struct Shown {
    bar: ProgressBar,
    clock: Arc<dyn Clock>,
    writes_lines: bool,
    last_line: Tick,
}

const LINE_EVERY: Duration = Duration::from_secs(10);

impl Shown {
    pub(super) fn new(is_quiet: bool, clock: Arc<dyn Clock>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = match is_terminal && !is_quiet {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            last_line: clock.now(),
            clock,
            writes_lines: !is_terminal && !is_quiet,
        }
    }

    /// `text` goes on after how many are done, of how many.
    pub(super) fn show(&mut self, pace: &Pace, what: &str, text: &str) {
        if let Some(total) = pace.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(pace.done);
        let text = pace.line(what, text);
        self.bar.set_message(text.clone());
        let now = self.clock.now();
        if self.writes_lines && now.since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            eprintln!("kms: {text}");
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What all kinds of progress have.
pub(super) struct Pace {
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) per_second: Option<f64>,
    pub(super) eta: Option<Duration>,
}

impl Pace {
    fn line(&self, what: &str, counts: &str) -> String {
        let mut line = format!("{what}{}", self.done);
        // Writing to a string cannot fail.
        if let Some(total) = self.total {
            let _ = write!(line, " of {total}");
        }
        let _ = write!(line, " objects; {counts}");
        if let Some(rate) = self.per_second {
            let _ = write!(line, "; {rate:.0}/s");
        }
        if let Some(eta) = self.eta {
            let seconds = eta.as_secs();
            let _ = match seconds {
                0..120 => write!(line, ", {seconds} s to go"),
                _ => write!(line, ", {} min to go", seconds.div_ceil(60)),
            };
        }
        line
    }
}
