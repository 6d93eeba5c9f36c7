//! A census as one page that needs no network: the same numbers, as pictures.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use kms_envelope::kubernetes::ProviderKind;
use kms_envelope::reencrypt::CensusRow;

use super::text::{key_id_of, under};
use super::{CensusOutcome, Verification};
use crate::figures::{bytes, thousands};

/// Writes a census as an HTML page: no script, nothing that is loaded from elsewhere.
#[must_use]
pub fn html_report(outcome: &CensusOutcome) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, outcome);
    page
}

type Written = core::fmt::Result;

const STYLE: &str = "\
:root{--ink:#1c2430;--soft:#5d6b7c;--line:#dde3ea;--back:#fff;--plain:#c9a227;--bad:#c0392b;--good:#1e8449}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf3;--soft:#9fb0c3;--line:#33404f;--back:#151b22}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
p.of{color:var(--soft);margin:.2rem 0 1.4rem;overflow-wrap:anywhere}
.cards{display:flex;flex-wrap:wrap;gap:.8rem}.card{border:1px solid var(--line);border-radius:.5rem;padding:.6rem 1rem;min-width:8rem}
.card b{display:block;font-size:1.5rem}.card span{color:var(--soft)}
.bar{display:flex;height:1.5rem;border-radius:.3rem;overflow:hidden;background:var(--line)}
.bar i{display:block;height:100%}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;white-space:nowrap}
td.w{width:40%}.dot{display:inline-block;width:.8rem;height:.8rem;border-radius:50%;margin-right:.4rem}
.verdict{border-left:.4rem solid var(--good);padding:.5rem 1rem}.verdict.no{border-color:var(--bad)}
.bad{color:var(--bad)}code{font-size:.92em}";

fn write_page(page: &mut String, outcome: &CensusOutcome) -> Written {
    let source = &outcome.source;
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Census, revision {}</title><style>{STYLE}</style></head><body>\
         <h1>What is under which key</h1><p class=\"of\">{} <code>{}</code>, revision {}</p>",
        source.revision,
        Escaped(&source.kind),
        Escaped(&source.name),
        source.revision,
    )?;
    cards(page, outcome)?;
    if let Some(verification) = &outcome.verify {
        verdict(page, verification)?;
    }
    resources(page, outcome)?;
    rows(page, outcome)?;
    key_ids(page, outcome)?;
    damaged(page, outcome)?;
    page.write_str("</body></html>\n")
}

fn cards(page: &mut String, outcome: &CensusOutcome) -> Written {
    let live = &outcome.report.live;
    let encrypted: u64 = live
        .objects_by_resource
        .values()
        .map(|it| it.encrypted)
        .sum();
    let mut cards = vec![
        (thousands(live.keys), "objects"),
        (bytes(live.value_bytes), "stored"),
        (thousands(encrypted), "encrypted"),
        (thousands(live.keys.saturating_sub(encrypted)), "in clear"),
        (
            thousands((live.damaged.len() as u64).saturating_add(live.damaged_not_named)),
            "damaged",
        ),
    ];
    if let Some(history) = &outcome.report.history {
        cards.push((thousands(history.puts_not_live), "values only in history"));
    }
    page.write_str("<div class=\"cards\">")?;
    for (figure, name) in cards {
        write!(
            page,
            "<div class=\"card\"><b>{figure}</b><span>{name}</span></div>"
        )?;
    }
    page.write_str("</div>")
}

fn verdict(page: &mut String, verification: &Verification) -> Written {
    let (class, answer) = if verification.would_start {
        ("verdict", "Yes: every KMS answers and every object opens.")
    } else {
        ("verdict no", "No: something stands in the way.")
    };
    write!(
        page,
        "<h2>Would this cluster come back after a restart?</h2><div class=\"{class}\"><b>{answer}</b>\
         <p>{} objects open, {} do not; {} are not under what is written with now.</p><ul>",
        thousands(verification.opened),
        thousands(verification.failed),
        thousands(verification.stale),
    )?;
    for plugin in &verification.plugins {
        match (&plugin.reason, &plugin.remedy) {
            (Some(reason), Some(remedy)) => write!(
                page,
                "<li class=\"bad\">KMS <code>{}</code> does not answer: {}. To do: {}.</li>",
                Escaped(&plugin.name),
                Escaped(reason),
                Escaped(remedy)
            )?,
            _ => write!(
                page,
                "<li>KMS <code>{}</code> answers.</li>",
                Escaped(&plugin.name)
            )?,
        }
    }
    for blocker in &verification.blockers {
        write!(
            page,
            "<li class=\"bad\">{} under {} {}, such as <code>{}</code>: {}. To do: {}.</li>",
            thousands(blocker.objects),
            Escaped(&blocker.prefix),
            Escaped(blocker.key_id.as_deref().unwrap_or_default()),
            Escaped(&blocker.example),
            Escaped(&blocker.reason),
            Escaped(&blocker.remedy)
        )?;
    }
    page.write_str("</ul></div>")
}

/// A bar for each resource that has an encrypted object, in the colours of what it is under.
fn resources(page: &mut String, outcome: &CensusOutcome) -> Written {
    let mut resources = BTreeMap::<&str, Vec<&CensusRow>>::new();
    for row in &outcome.report.live.census {
        resources.entry(&row.resource).or_default().push(row);
    }
    page.write_str("<h2>By resource</h2><table>")?;
    for (resource, rows) in resources {
        let total: u64 = rows.iter().map(|row| row.count).sum();
        write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"w\"><div class=\"bar\">",
            Escaped(resource),
            thousands(total)
        )?;
        for row in rows {
            let share = row.count as f64 / total.max(1) as f64 * 100.0;
            write!(
                page,
                "<i style=\"width:{share:.3}%;background:{}\" title=\"{}: {}\"></i>",
                colour(row),
                Escaped(&label(row)),
                thousands(row.count)
            )?;
        }
        page.write_str("</div></td></tr>")?;
    }
    page.write_str("</table>")
}

fn rows(page: &mut String, outcome: &CensusOutcome) -> Written {
    page.write_str(
        "<h2>By key</h2><table><tr><th>Resource</th><th>Under</th><th>Key id</th>\
         <th class=\"n\">Objects</th><th class=\"n\">Bytes</th><th class=\"n\">DEKs</th></tr>",
    )?;
    for row in &outcome.report.live.census {
        write!(
            page,
            "<tr><td>{}</td><td><span class=\"dot\" style=\"background:{}\"></span>{}</td>\
             <td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&row.resource),
            colour(row),
            Escaped(&under(row)),
            Escaped(&key_id_of(row)),
            thousands(row.count),
            bytes(row.value_bytes),
            match row.distinct_encrypted_dek_sources {
                0 => String::new(),
                sources => thousands(sources),
            }
        )?;
    }
    page.write_str("</table>")
}

fn key_ids(page: &mut String, outcome: &CensusOutcome) -> Written {
    let uses = &outcome.report.key_ids;
    if uses.is_empty() {
        return Ok(());
    }
    page.write_str(
        "<h2>What still needs a key</h2><table><tr><th>Key id</th><th>Provider</th>\
         <th class=\"n\">Live objects</th><th class=\"n\">Values only in history</th><th></th></tr>",
    )?;
    for found in uses {
        let note = if found.is_only_in_history() {
            "only history: needed to restore an older revision"
        } else {
            ""
        };
        write!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{note}</td></tr>",
            Escaped(found.key_id.as_deref().unwrap_or("unknown: KMS v1")),
            Escaped(&found.prefix),
            thousands(found.live_objects),
            found
                .records_not_live
                .map_or_else(|| "not read".to_owned(), thousands),
        )?;
    }
    page.write_str("</table>")
}

fn damaged(page: &mut String, outcome: &CensusOutcome) -> Written {
    const MAX_LISTED: usize = 1000;
    let damaged = &outcome.report.live.damaged;
    if damaged.is_empty() {
        return Ok(());
    }
    page.write_str("<h2>Damaged objects</h2><table><tr><th>Key</th><th>What is wrong</th></tr>")?;
    for object in damaged.iter().take(MAX_LISTED) {
        write!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td></tr>",
            Escaped(&object.etcd_key),
            Escaped(&object.reason)
        )?;
    }
    let listed = damaged.len().min(MAX_LISTED) as u64;
    let all = (damaged.len() as u64).saturating_add(outcome.report.live.damaged_not_named);
    match all.saturating_sub(listed) {
        0 => {}
        more => write!(
            page,
            "<tr><td>and {} more</td><td></td></tr>",
            thousands(more)
        )?,
    }
    page.write_str("</table>")
}

fn label(row: &CensusRow) -> String {
    match key_id_of(row) {
        id if id.is_empty() => under(row),
        id => format!("{} {id}", under(row)),
    }
}

/// The same key has the same colour everywhere; what is in clear and what is damaged stand out.
fn colour(row: &CensusRow) -> String {
    if row.unparsable {
        return "var(--bad)".to_owned();
    }
    if row.provider == Some(ProviderKind::Identity) {
        return "var(--plain)".to_owned();
    }
    let hash = label(row).bytes().fold(0xcbf2_9ce4_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    // Hues from green to violet: red and yellow mean something else.
    let hue = hash
        .checked_rem(180)
        .unwrap_or_default()
        .saturating_add(120);
    let light = (hash >> 16)
        .checked_rem(25)
        .unwrap_or_default()
        .saturating_add(35);
    format!("hsl({hue} 55% {light}%)")
}

/// Text that is no markup, whoever wrote it: names of objects and keys are anybody's.
struct Escaped<'a>(&'a str);

impl core::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter if letter.is_control() => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_markup() {
        let text = Escaped("<script>alert('\"&\"')</script>\n").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;&quot;&amp;&quot;&#39;)&lt;/script&gt;\u{fffd}"
        );
    }
}
