//! `tradelane impact`: who would notice a change of contracts, and how. Changes nothing.

use std::path::PathBuf;

use serde_json::Value;

use super::{rows, text};
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::manifests;
use crate::out::{Out, Tone};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A YAML file with contracts, or a folder of them
    #[arg(short, long, value_name = "PATH")]
    file: PathBuf,
}

/// The answer is no where a contract could not be applied.
pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let files = manifests::collect(&args.file)?;
    let client = Client::new(&connection.resolve()?)?;
    let answer = client.post("/v1/impact", &manifests::body(&files))?;
    let contracts = rows(&answer, "contracts");
    if contracts.is_empty() {
        out.line("Nothing to compare: no contract in these files is on the hub.");
    }
    contracts.iter().for_each(|contract| show(contract, out));
    out.value(&answer);
    let is_refused = |contract: &&Value| contract.get("mayApply").and_then(Value::as_bool) == Some(false);
    match contracts.iter().find(is_refused) {
        None => Ok(()),
        Some(contract) => Err(Failure::no(text(contract, "refused"))),
    }
}

/// Somebody else's word, which may be anything, on a terminal.
fn shown(name: &str) -> String {
    name.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

fn show(contract: &Value, out: Out) {
    let name = out.paint(Tone::Accent, text(contract, "contract"));
    out.line(format!("contract {name}: {} -> {}", text(contract, "from"), text(contract, "to")));
    for broken in rows(contract, "breaks") {
        out.line(out.paint(Tone::Bad, format!("  breaks: {}", broken.as_str().unwrap_or_default())));
    }
    let until = text(contract, "until");
    if !until.is_empty() {
        out.line(format!("  grants of now would be served {} until {until}", text(contract, "from")));
    }
    let mut table = out.table(&["grant", "consumer", "what", "where", "from", "to", "read lately by"]);
    for grant in rows(contract, "grants") {
        let principals = rows(grant, "readers").iter().map(|reader| text(reader, "principal"));
        let groups = rows(grant, "groups").iter().map(|group| format!("group {}", shown(&text(group, "group"))));
        let readers: Vec<String> = principals.chain(groups).collect();
        let mut row = |tone: Tone, what: &str, at: String, from: String, to: String| {
            table.add_row([
                out.cell(Tone::Accent, text(grant, "grant")),
                out.cell(Tone::Plain, text(grant, "consumer")),
                out.cell(tone, what),
                out.cell(Tone::Plain, at),
                out.cell(Tone::Plain, from),
                out.cell(Tone::Plain, to),
                out.cell(Tone::Dim, readers.join(", ")),
            ]);
        };
        if grant.get("isAffected").and_then(Value::as_bool) == Some(false) {
            row(Tone::Good, "nothing", String::new(), String::new(), String::new());
        }
        for field in rows(grant, "fields") {
            let change = text(field, "change");
            let tone = if change == "appears" { Tone::Good } else { Tone::Warn };
            row(tone, &change, text(field, "at"), text(field, "from"), text(field, "to"));
        }
        let view = text(grant, "view");
        if !view.is_empty() {
            row(Tone::Bad, "view breaks", view, String::new(), String::new());
        }
        for filter in rows(grant, "filter") {
            let why = filter.as_str().unwrap_or_default().to_owned();
            row(Tone::Bad, "filter breaks", why, String::new(), String::new());
        }
    }
    out.print(&table);
}
