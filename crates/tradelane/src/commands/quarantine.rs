//! `tradelane quarantine`: events that were withheld or set aside, and why. For their owner.

use serde_json::Value;

use super::{rows, text};
use crate::client::{Client, escape, places};
use crate::failure::Result;
use crate::out::{Out, Tone};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    product: String,
    /// Begin at this number
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: u64,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// Show the events themselves as well
    #[arg(long)]
    events: bool,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let path = format!("/v1/products/{}/quarantine?from={}&limit={}", escape(&args.product), args.from, args.limit);
    let answer = client.get(&path)?;
    let mut table = out.table(&["#", "when", "code", "where and why"]);
    for entry in rows(&answer, "events") {
        table.add_row([
            out.cell(Tone::Plain, text(entry, "offset")),
            out.cell(Tone::Plain, text(entry, "time")),
            out.cell(Tone::Bad, text(entry, "code")),
            out.cell(Tone::Plain, places(entry).join("\n")),
        ]);
    }
    out.print(&table);
    if args.events && !out.is_json() {
        for entry in rows(&answer, "events") {
            match entry.get("event") {
                Some(Value::String(text)) => out.line(text),
                Some(event) => out.line(event.to_string()),
                None => {}
            }
        }
    }
    out.value(&answer);
    Ok(())
}
