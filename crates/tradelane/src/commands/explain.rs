//! `tradelane explain`: what a partner would see of an event, field by field, and which rule decides.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{read_input, rows, text};
use crate::client::{Client, escape};
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone};
use crate::profile::Connection;

/// Characters of a value that the table shows; `--json` has all of it.
const LONGEST: usize = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    product: String,
    /// The organization as which to look
    #[arg(long = "as", value_name = "ORG")]
    reader: String,
    /// The event at this offset
    #[arg(long, conflicts_with = "event", required_unless_present = "event")]
    offset: Option<u64>,
    /// A file that holds one event, whether published or not; - reads stdin
    event: Option<PathBuf>,
    /// What for, if the organization has more than one grant
    #[arg(long)]
    purpose: Option<String>,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let mut body = json!({"organization": args.reader});
    if let Some(purpose) = &args.purpose {
        body["purpose"] = json!(purpose);
    }
    match (&args.event, args.offset) {
        (Some(file), _) => {
            let bytes = read_input(file, 1 << 20)?;
            let event: Value = serde_json::from_slice(&bytes)
                .map_err(|_| Failure::no(format!("{}: is not one JSON document", file.display())))?;
            body["event"] = event;
        }
        (None, Some(offset)) => body["offset"] = json!(offset),
        (None, None) => return Err(Failure::usage("no event is named").remedy("give --offset N or a file")),
    }
    let answer = client.post(&format!("/v1/products/{}/explain", escape(&args.product)), &body)?;
    show(&answer, out);
    out.value(&answer);
    Ok(())
}

/// The explanation as a table.
pub(crate) fn show(answer: &Value, out: Out) {
    let mut table = out.table(&["field", "class", "action", "sees", "because"]);
    for field in rows(answer, "fields") {
        let action = action(field.get("action").unwrap_or(&Value::Null));
        let tone = tone(&action);
        let seen = match field.get("rendered") {
            None | Some(Value::Null) => "(left out)".to_owned(),
            Some(Value::String(json)) => brief(json),
            Some(other) => other.to_string(),
        };
        table.add_row([
            out.cell(Tone::Plain, text(field, "pointer")),
            out.cell(Tone::Plain, text(field, "class")),
            out.cell(tone, &action),
            out.cell(tone, seen),
            out.cell(Tone::Dim, because(field)),
        ]);
    }
    out.print(&table);
    let filter = text(answer, "filter");
    let passes = answer.get("rowPasses").and_then(Value::as_bool) != Some(false);
    match (filter.is_empty(), passes) {
        (true, _) => out.line("No row filter: every event is shown."),
        (false, true) => out.line(format!("{} the row filter: {filter}", out.paint(Tone::Good, "passes"))),
        (false, false) => out.line(format!("{} the row filter: {filter}", out.paint(Tone::Bad, "held back by"))),
    }
}

/// A value as the reader sees it, on one line and not too long.
fn brief(json: &str) -> String {
    let line = json.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

/// An action in a word or two: `reveal`, `partial 0..3`, `generalize date year`.
pub(crate) fn action(action: &Value) -> String {
    match action {
        Value::String(name) => name.clone(),
        Value::Object(object) => {
            let one = |(name, inner): (&String, &Value)| match inner {
                Value::Object(inner) if name == "partial" => {
                    let n = |key: &str| inner.get(key).and_then(Value::as_u64).unwrap_or(0);
                    format!("partial {}…{}", n("first"), n("last"))
                }
                Value::Object(_) => format!("{name} {}", self::action(inner)),
                other => format!("{name} {}", other.to_string().trim_matches('"')),
            };
            object.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// The colour of an action.
pub(crate) fn tone(action: &str) -> Tone {
    match action.split(' ').next().unwrap_or_default() {
        "reveal" => Tone::Good,
        "drop" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn because(field: &Value) -> String {
    let rule = text(field, "rule");
    let contract = if rule.is_empty() { "named by no rule".to_owned() } else { format!("contract {rule}") };
    format!("{contract}; {}", text(field, "because"))
}
