//! `--input`: the demo on the user's own EPCIS documents. What is valid flows; what is not is refused with its place.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tradelane_epcis::document;
use tradelane_epcis::validate::{Shape, validate};
use tradelane_tape::{Limits, Tape};

use super::compare::shorten;
use super::stage::Stage;
use super::story::{read_all, seen_by_all};
use super::world::PARTNERS;
use crate::client::places;
use crate::commands::{epcis, publish, read_input, rows, text};
use crate::failure::{Failure, Result};
use crate::out::Tone;

/// A product whose contract knows every field of the standard and no extension.
pub(super) const PRODUCT: &str = "acme-epcis";
/// Events that are shown side by side.
const SHOWN: usize = 2;
const MAX_FILE: u64 = 64 << 20;

/// What became of one file.
#[derive(Default)]
struct Outcome {
    events: usize,
    captured: usize,
    known: usize,
    refused: usize,
    why: Option<String>,
}

pub(super) fn run(path: &Path, stage: &mut Stage) -> Result<()> {
    let files = epcis::documents(&[path.to_owned()])?;
    if files.is_empty() {
        return Err(Failure::no(format!("{}: there is no .json or .jsonld file", path.display())));
    }
    stage.heading(&format!("Your documents: {} files from {}", files.len(), path.display()));
    stage.say(format!("They go to {PRODUCT}: examples/network/acme/epcis.odcs.yaml classifies every field of the standard;"));
    stage.say("extension fields are named by no rule, so they count as the most restricted class.");
    let outcomes = capture_all(stage, path, &files)?;
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (captured, known, refused) = (sum(|o| o.captured), sum(|o| o.known), sum(|o| o.refused));
    stage.say(format!("{captured} events captured, {known} known by their eventID, {refused} documents or events refused"));
    stage.fact("input", json!({"files": files.len(), "captured": captured, "known": known, "refused": refused}));
    if captured == 0 {
        return Err(Failure::no("none of the documents holds a valid event")
            .remedy("`tradelane epcis validate` says of each what is wrong"));
    }
    side_by_side(stage)?;
    seen_in_numbers(stage)
}

fn capture_all(stage: &Stage, root: &Path, files: &[PathBuf]) -> Result<Vec<Outcome>> {
    let out = stage.out;
    let mut table = out.table(&["file", "events", "captured", "known", "refused", "where and why"]);
    let bar = out.progress(files.len() as u64, "capturing");
    let mut outcomes = Vec::new();
    for file in files {
        let outcome = capture(stage, file)?;
        bar.inc(1);
        let name = file.strip_prefix(root).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(file);
        let tone = if outcome.refused > 0 { Tone::Bad } else { Tone::Good };
        table.add_row([
            out.cell(Tone::Plain, shorten(&name.display().to_string(), 48)),
            out.cell(Tone::Plain, outcome.events),
            out.cell(Tone::Good, outcome.captured),
            out.cell(Tone::Dim, outcome.known),
            out.cell(tone, outcome.refused),
            out.cell(Tone::Plain, outcome.why.clone().unwrap_or_default()),
        ]);
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    out.print(&table);
    Ok(outcomes)
}

/// Sends one file as what it is: a document to `/capture`; events, lists and query results as a document around them.
fn capture(stage: &Stage, file: &Path) -> Result<Outcome> {
    let bytes = read_input(file, MAX_FILE)?;
    let mut tape = Tape::new();
    let limits = Limits { max_bytes: MAX_FILE as usize, ..Limits::DOCUMENT };
    let (body, events) = match tape.parse(&bytes, &limits) {
        // What cannot be read is sent as it is: the hub says what is wrong with it.
        Err(_) => (None, 0),
        Ok(doc) => {
            let report = validate(doc);
            let events = document::events(doc);
            let body = match report.shape {
                Shape::QueryDocument | Shape::EventList | Shape::Event if report.is_valid() => {
                    let raw: Vec<&[u8]> = events.iter().map(|event| event.node.raw()).collect();
                    let context = doc.root().get("@context").map(|node| node.raw());
                    Some(document_around(context, &raw))
                }
                _ => None,
            };
            (body, report.events.max(events.len()))
        }
    };
    let mut outcome = Outcome { events, ..Outcome::default() };
    match publish::captured(&stage.of("acme-erp"), PRODUCT, body.as_deref().unwrap_or(&bytes), true) {
        Ok(job) => judge(&job, &mut outcome),
        Err(failure) if failure.exit == crate::failure::Exit::No => {
            outcome.refused = 1;
            let place = failure.places.first().cloned().unwrap_or_default();
            let code = failure.code.unwrap_or_default();
            outcome.why = Some(if place.is_empty() { format!("{code} {}", failure.message) } else { place });
        }
        Err(failure) => return Err(failure),
    }
    Ok(outcome)
}

/// Counts what a job says: an event whose id was captured before is no error of the document.
fn judge(job: &Value, outcome: &mut Outcome) {
    let errors = rows(job, "errors");
    let is_known = |error: &Value| text(error, "code") == "TL-1009" || text(error, "rule") == "TL-1009";
    outcome.known = errors.iter().filter(|error| is_known(error)).count();
    let wrong: Vec<&Value> = errors.iter().filter(|error| !is_known(error)).collect();
    outcome.refused = wrong.len();
    let captured = job.get("captured").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    outcome.captured = captured.unwrap_or_else(|| outcome.events.saturating_sub(outcome.known + outcome.refused));
    outcome.why = wrong.first().map(|error| {
        let inner = places(error);
        let alone = places(&json!({ "places": [error] }));
        inner.into_iter().next().or_else(|| alone.into_iter().next()).unwrap_or_default()
    });
}

/// A document whose events are these bytes, as they are.
fn document_around(context: Option<&[u8]>, events: &[&[u8]]) -> Vec<u8> {
    let context = context.unwrap_or(b"\"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld\"");
    let head = [b"{\"@context\":", context, b",\"type\":\"EPCISDocument\",\"schemaVersion\":\"2.0\","].concat();
    let open = b"\"creationDate\":\"2026-01-01T00:00:00Z\",\"epcisBody\":{\"eventList\":[";
    [&head[..], open, &events.join(&b","[..]), b"]}}"].concat()
}

/// The events that tell the most, in all views.
fn side_by_side(stage: &mut Stage) -> Result<()> {
    stage.heading("Your events, as each partner sees them");
    let events = read_all(&stage.of("acme-desk"), PRODUCT)?;
    let mut by_size: Vec<_> = events.iter().collect();
    by_size.sort_by_key(|got| std::cmp::Reverse(super::compare::fields(&got.event).len().min(40)));
    let mut kinds: Vec<String> = Vec::new();
    for got in by_size {
        let kind = text(&got.event, "type");
        if kinds.contains(&kind) || kinds.len() == SHOWN {
            continue;
        }
        stage.say(format!("{} #{} {}", stage.out.paint(Tone::Strong, &kind), got.offset, text(&got.event, "eventID")));
        let tallies = seen_by_all(stage, PRODUCT, got.offset)?.print(stage, 24);
        stage.must(tallies.len() == PARTNERS.len(), "every partner has a view")?;
        kinds.push(kind);
    }
    Ok(())
}

/// For each partner: how many of all fields are shown.
fn seen_in_numbers(stage: &mut Stage) -> Result<()> {
    let out = stage.out;
    let mut table = out.table(&["partner", "events", "fields", "of the owner's"]);
    let mut full = 0;
    let mut told = Vec::new();
    for partner in PARTNERS {
        let events = read_all(&stage.of(partner.reader), PRODUCT)?;
        let count: usize = events.iter().map(|got| super::compare::fields(&got.event).len()).sum();
        if full == 0 {
            full = count;
        }
        let share = format!("{:.0} %", 100.0 * count as f64 / full.max(1) as f64);
        table.add_row([partner.name.to_owned(), events.len().to_string(), count.to_string(), share]);
        told.push(json!({"organization": partner.name, "events": events.len(), "fields": count}));
    }
    out.print(&table);
    stage.fact("seen", json!(told));
    Ok(())
}
