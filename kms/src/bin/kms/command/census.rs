//! `kms census`

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use kms::Failure;
use kms::cluster::{CensusOutcome, CensusRequest, census, html_report, text_report};
use kms_core::Clock;
use kms_envelope::reencrypt::{CensusOptions, CensusProgress};

use super::cluster::{open_source, opener};
use super::output::Kind;
use super::{print, print_line};
use crate::args::cluster::Census;

pub(crate) async fn run(args: Census, clock: Arc<dyn Clock>) -> Result<(), Failure> {
    args.html
        .as_deref()
        .map_or(Ok(()), |path| Kind::Page.check(path))?;
    let source = open_source(&args.source, &clock).await?;
    let opener = opener(&args.keys, Arc::clone(&clock))?;
    let options = CensusOptions::default()
        .with_names(opener.as_ref().map(|opener| opener.names()))
        .with_etcd_prefix(args.keys.etcd_prefix.as_bytes())
        .with_by_namespace(args.by_namespace)
        .with_key_digests(args.key_digests);
    let request = CensusRequest::new(options)
        .with_history(args.history)
        .with_verify(opener.filter(|_| args.verify));
    let bar = spinner();
    let shown = bar.clone();
    let outcome = census(&source, request, clock, move |progress| {
        show(&shown, progress);
    })
    .await;
    bar.finish_and_clear();
    let outcome = outcome?;
    if let Some(path) = &args.html {
        Kind::Page.write(path, html_report(&outcome).as_bytes())?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&outcome)
            .map_err(|e| Failure::new("internal", "writing JSON", "report this").with_source(e))?;
        print_line(&json)?;
    } else {
        print(text_report(&outcome).as_bytes())?;
    }
    refuse_if_in_the_way(&outcome)
}

pub(super) fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

pub(super) fn show(bar: &ProgressBar, progress: CensusProgress) {
    bar.set_message(match progress.remaining {
        Some(left) => format!("{} objects, {left} to go", progress.objects),
        None => format!("{} objects, {} changes", progress.objects, progress.changes),
    });
    bar.tick();
}

fn refuse_if_in_the_way(outcome: &CensusOutcome) -> Result<(), Failure> {
    match &outcome.verify {
        Some(verification) if !verification.would_start => Err(Failure::new(
            "verify",
            format!(
                "this cluster would not come back after a restart: {} objects do not open, {} of {} KMS do not answer",
                verification.failed,
                verification
                    .plugins
                    .iter()
                    .filter(|plugin| !plugin.ok)
                    .count(),
                verification.plugins.len(),
            ),
            "see what stands in the way above",
        )),
        _ => Ok(()),
    }
}
