//! `tradelane apply`: a plan first, then the same plan carried out.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{confirm, rows, text};
use crate::client::Client;
use crate::failure::Result;
use crate::manifests;
use crate::out::{Out, Tone};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A YAML file, or a folder of them
    #[arg(short, long, value_name = "PATH")]
    file: PathBuf,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete what the organizations in these files have and no file names
    #[arg(long)]
    prune: bool,
    /// Apply without asking
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let files = manifests::collect(&args.file)?;
    let client = Client::new(&connection.resolve()?)?;
    let body = manifests::body(&files);
    let path = |dry: bool| format!("/v1/apply?dry-run={dry}&prune={}", args.prune);
    let plan = client.post(&path(true), &body)?;
    show(&plan, out);
    let changes = changes(&plan);
    if args.dry_run || changes == 0 {
        out.line(if changes == 0 { "Nothing to do: everything is as the files say." } else { "Nothing was changed." });
        out.value(&json!({"plan": rows(&plan, "steps"), "applied": false}));
        return Ok(());
    }
    confirm(&format!("Make {changes} changes?"), args.yes)?;
    let done = client.post(&path(false), &body)?;
    out.line(out.paint(Tone::Good, format!("Applied {changes} changes.")));
    out.value(&json!({"plan": rows(&done, "steps"), "applied": true}));
    Ok(())
}

/// How many steps of a plan are more than a no-op.
pub(crate) fn changes(plan: &Value) -> usize {
    rows(plan, "steps").iter().filter(|step| text(step, "verb") != "no-op").count()
}

/// The plan as a table.
pub(crate) fn show(plan: &Value, out: Out) {
    let mut table = out.table(&["", "kind", "id"]);
    for step in rows(plan, "steps") {
        let verb = text(step, "verb");
        let tone = match verb.as_str() {
            "create" => Tone::Good,
            "change" => Tone::Warn,
            "delete" => Tone::Bad,
            _ => Tone::Dim,
        };
        table.add_row([
            out.cell(tone, &verb),
            out.cell(Tone::Plain, text(step, "kind")),
            out.cell(tone, text(step, "id")),
        ]);
    }
    out.print(&table);
}
