//! `--input`: the demo on the user's own EPCIS documents. What is valid flows; what is not is refused with its place.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tradelane_epcis::validate::validate;
use tradelane_tape::{Limits, Tape};

use super::compare::{Tally, tally};
use super::stage::Stage;
use super::story::{read_all, seen_by_all};
use super::world::PARTNERS;
use crate::client::places;
use crate::commands::{epcis, publish, read_input, rows, text};
use crate::failure::{Exit, Failure, Result};
use crate::out::Tone;

/// A product whose contract knows every field of the standard and no extension.
pub(super) const PRODUCT: &str = "acme-epcis";
/// Events that are shown side by side.
const SHOWN: usize = 2;
const MAX_FILE: u64 = 64 << 20;
/// The rule that an event breaks whose `eventID` was captured before.
const DUPLICATE: &str = "duplicate-event";

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
    stage.say(format!(
        "They go to {PRODUCT}: examples/network/acme/epcis.odcs.yaml classifies every field of the standard;"
    ));
    stage.say("extension fields are named by no rule, so they count as the most restricted class.");
    let outcomes = capture_all(stage, path, &files)?;
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (captured, known, refused) = (sum(|o| o.captured), sum(|o| o.known), sum(|o| o.refused));
    stage.say(format!(
        "{captured} events captured, {known} known by their eventID, {refused} documents or events refused"
    ));
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
    let bar = out.progress(files.len() as u64, "capturing");
    stage.say(
        out.paint(Tone::Strong, format!("  {:>6} {:>8} {:>6} {:>7}  file", "events", "captured", "known", "refused")),
    );
    let mut outcomes = Vec::new();
    for file in files {
        let outcome = capture(stage, file)?;
        let name = file.strip_prefix(root).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(file);
        let Outcome { events, captured, known, refused, why } = &outcome;
        let line = format!("{events:>6} {captured:>8} {known:>6} {refused:>7}  {}", name.display());
        bar.suspend(|| {
            if *refused == 0 {
                stage.holds(line)
            } else {
                stage.refused(line)
            }
            why.iter().for_each(|why| stage.say(format!("{:34}{}", "", out.paint(Tone::Warn, why))));
        });
        bar.inc(1);
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    Ok(outcomes)
}

/// Captures one file as it is. The hub takes documents, query results, lists of events and single events.
fn capture(stage: &Stage, file: &Path) -> Result<Outcome> {
    let bytes = read_input(file, MAX_FILE)?;
    let mut tape = Tape::new();
    let events = tape.parse(&bytes, &Limits::DOCUMENT).map_or(0, |doc| validate(doc).events);
    let mut outcome = Outcome { events, ..Outcome::default() };
    match publish::captured(&stage.of("acme-erp"), PRODUCT, &bytes, true) {
        Ok(job) => judge(&job, &mut outcome),
        Err(failure) if failure.exit == Exit::No => {
            outcome.refused = 1;
            let code = failure.code.clone().unwrap_or_default();
            outcome.why = Some(failure.places.first().cloned().unwrap_or(format!("{code} {}", failure.message)));
        }
        Err(failure) => return Err(failure),
    }
    Ok(outcome)
}

/// Counts what a job says: an event whose id was captured before is no error of the document.
fn judge(job: &Value, outcome: &mut Outcome) {
    let (known, wrong): (Vec<&Value>, Vec<&Value>) =
        rows(job, "errors").iter().partition(|error| text(error, "rule") == DUPLICATE);
    outcome.known = known.len();
    // An event may break several rules; it is refused once.
    let mut refused: Vec<String> = wrong.iter().map(|error| event_of(&text(error, "pointer"))).collect();
    refused.sort();
    refused.dedup();
    outcome.refused = refused.len();
    outcome.captured = job["captured"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    outcome.why = wrong.first().and_then(|error| places(&json!({ "places": [error] })).into_iter().next());
}

/// The part of a pointer that names the event; empty for the document itself.
fn event_of(pointer: &str) -> String {
    let numbered = |(at, _): &(usize, &str)| pointer[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let end = pointer.match_indices('/').find(numbered).map(|(at, _)| at + 1);
    end.map(|end| pointer.chars().take(end).chain(pointer[end..].chars().take_while(char::is_ascii_digit)).collect())
        .unwrap_or_default()
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

/// Over all events, what each partner sees of the fields that the owner sees.
fn seen_in_numbers(stage: &mut Stage) -> Result<()> {
    let out = stage.out;
    let mut table = out.table(&["partner", "events", "fields as published", "changed", "left out"]);
    let owner = read_all(&stage.of("acme-desk"), PRODUCT)?;
    let mut told = Vec::new();
    for partner in PARTNERS {
        let events = read_all(&stage.of(partner.reader), PRODUCT)?;
        let mut sum = Tally::default();
        for full in &owner {
            let seen = events.iter().find(|got| got.offset == full.offset).map(|got| &got.event);
            sum.add(tally(&full.event, seen));
        }
        let Tally { shown, changed, gone } = sum;
        let figures = [events.len(), shown, changed, gone].map(|figure| figure.to_string());
        table.add_row([partner.name.to_owned()].into_iter().chain(figures));
        told.push(json!({
            "organization": partner.name, "events": events.len(), "asPublished": shown, "changed": changed, "leftOut": gone,
        }));
    }
    stage.table(&table);
    stage.fact("seen", json!(told));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_breaks_several_rules_is_refused_once() {
        let error = |pointer: &str, rule: &str| json!({"pointer": pointer, "rule": rule, "message": "No."});
        let errors = [
            error("/epcisBody/eventList/0/action", "EPCIS-017"),
            error("/epcisBody/eventList/0/epcList/1", "EPCIS-037"),
            error("/epcisBody/eventList/12", DUPLICATE),
            error("/schemaVersion", "EPCIS-005"),
        ];
        let mut outcome = Outcome::default();
        judge(&json!({"captured": 3, "errors": errors}), &mut outcome);
        assert_eq!((outcome.captured, outcome.known, outcome.refused), (3, 1, 2));
        assert!(outcome.why.unwrap().contains("EPCIS-017"));
        assert_eq!(event_of("/epcisBody/eventList/12/x"), "/epcisBody/eventList/12");
    }
}
