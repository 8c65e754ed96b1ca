//! `tradelane products`: the catalog, without any data.

use serde_json::Value;

use super::{rows, text};
use crate::client::{Client, escape};
use crate::failure::Result;
use crate::out::{Out, Tone};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this product alone, with its fields and their classes
    product: Option<String>,
    /// Print the JSON Schema of the product's events as your organization sees them
    #[arg(long, requires = "product")]
    schema: bool,
    /// The purpose for which the schema is asked, if you have more than one grant
    #[arg(long, requires = "schema")]
    purpose: Option<String>,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let Some(product) = &args.product else {
        let answer = client.get("/v1/products")?;
        list(&answer, out);
        out.value(&answer);
        return Ok(());
    };
    let path = format!("/v1/products/{}", escape(product));
    if args.schema {
        let purpose = args.purpose.as_deref().map(|p| format!("?purpose={}", escape(p))).unwrap_or_default();
        let schema = client.get(&format!("{path}/schema{purpose}"))?;
        out.line(serde_json::to_string_pretty(&schema).unwrap_or_default());
        out.value(&schema);
        return Ok(());
    }
    let entry = client.get(&path)?;
    show(&entry, out);
    out.value(&entry);
    Ok(())
}

fn list(answer: &Value, out: Out) {
    let mut table = out.table(&["product", "owner", "format", "contract", "your access", "what it is"]);
    for entry in rows(answer, "products") {
        let access = text(entry, "access");
        let tone = if matches!(access.as_str(), "owner" | "granted") { Tone::Good } else { Tone::Dim };
        let contract = format!("{} {}", text(entry, "contract"), text(entry, "version"));
        table.add_row([
            out.cell(Tone::Accent, text(entry, "id")),
            out.cell(Tone::Plain, text(entry, "owner")),
            out.cell(Tone::Plain, text(entry, "format")),
            out.cell(Tone::Plain, contract),
            out.cell(tone, access),
            out.cell(Tone::Plain, text(entry, "description")),
        ]);
    }
    out.print(&table);
}

fn show(entry: &Value, out: Out) {
    let purposes: Vec<&str> = rows(&entry["purposes"], "").iter().filter_map(Value::as_str).collect();
    out.line(format!("{} of {}", out.paint(Tone::Accent, text(entry, "id")), text(entry, "owner")));
    out.line(format!("  {}", text(entry, "description")));
    out.line(format!("  contract {} {}", text(entry, "contract"), text(entry, "version")));
    out.line(format!("  for {}", if purposes.is_empty() { "any purpose".into() } else { purposes.join(", ") }));
    out.line(format!("  your access: {}", text(entry, "access")));
    if entry.get("topic").is_some() {
        out.line(format!("  Kafka topic: {}", out.paint(Tone::Accent, text(entry, "topic"))));
    }
    let mut table = out.table(&["field", "class"]);
    for field in rows(&entry["fields"], "") {
        table.add_row([text(field, "at"), text(field, "class")]);
    }
    out.print(&table);
}
