//! `tradelane grants`: ask for access, and decide on it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{read_input, rows, text};
use crate::client::{Client, escape};
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone};
use crate::profile::Connection;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// The grants that your organization uses or gave
    List,
    /// Ask the owner of a product for a grant
    Request {
        /// The product
        product: String,
        /// What for; one of the contract's purposes
        #[arg(long)]
        purpose: String,
        /// A word to the owner
        #[arg(long, default_value = "")]
        note: String,
        /// The Kafka topic under which to find it; otherwise as the owner decides
        #[arg(long)]
        topic: Option<String>,
    },
    /// Agree to a request, or change a grant
    Approve {
        /// The grant
        id: String,
        /// YAML with view, filter, attributes, expires, terms and topic, as under `spec` of a grant's manifest
        #[arg(long, value_name = "FILE")]
        conditions: Option<PathBuf>,
    },
    /// Refuse a request
    Deny {
        /// The grant
        id: String,
        /// Why, for the consumer
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// The versions of contracts that end: of what you read, and of your products
    Notices,
    /// Take the newest version of a contract before its notice is over
    Move {
        /// The grant
        id: String,
    },
    /// End a grant; the next read is refused
    Revoke {
        /// The grant
        id: String,
        /// Why, for the consumer
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let answer = match args {
        Args::List => {
            let answer = client.get("/v1/grants")?;
            list(&answer, out);
            out.value(&answer);
            return Ok(());
        }
        Args::Request { product, purpose, note, topic } => {
            let request = json!({"product": product, "purpose": purpose, "note": note, "topic": topic});
            client.post("/v1/access-requests", &request)?
        }
        Args::Approve { id, conditions } => {
            let conditions = match conditions {
                None => json!({}),
                Some(file) => {
                    let bytes = read_input(&file, 1 << 20)?;
                    serde_saphyr::from_slice(&bytes)
                        .map_err(|error| Failure::no(format!("{}: {error}", file.display())))?
                }
            };
            client.post(&format!("/v1/grants/{}/approve", escape(&id)), &conditions)?
        }
        Args::Notices => {
            let answer = client.get("/v1/notices")?;
            notices(&answer, out);
            out.value(&answer);
            return Ok(());
        }
        Args::Move { id } => client.post(&format!("/v1/grants/{}/move", escape(&id)), &json!({}))?,
        Args::Deny { id, reason } => decide(&client, &id, "deny", &reason)?,
        Args::Revoke { id, reason } => decide(&client, &id, "revoke", &reason)?,
    };
    out.line(format!("grant {}: {}", out.paint(Tone::Accent, text(&answer, "id")), state(&answer)));
    out.value(&answer);
    Ok(())
}

/// Denies or revokes.
pub(crate) fn decide(client: &Client, id: &str, verb: &str, reason: &str) -> Result<Value> {
    client.post(&format!("/v1/grants/{}/{verb}", escape(id)), &json!({ "reason": reason }))
}

fn state(grant: &Value) -> String {
    grant.get("status").map(|status| text(status, "state")).unwrap_or_default()
}

fn list(answer: &Value, out: Out) {
    let mut table = out.table(&["grant", "product", "consumer", "purpose", "state", "ends"]);
    for grant in rows(answer, "grants") {
        let state = state(grant);
        let tone = match state.as_str() {
            "active" => Tone::Good,
            "requested" => Tone::Warn,
            _ => Tone::Dim,
        };
        table.add_row([
            out.cell(Tone::Accent, text(grant, "id")),
            out.cell(Tone::Plain, text(grant, "product")),
            out.cell(Tone::Plain, text(grant, "consumer")),
            out.cell(Tone::Plain, text(grant, "purpose")),
            out.cell(tone, state),
            out.cell(Tone::Plain, text(grant, "expires")),
        ]);
    }
    out.print(&table);
}

fn notices(answer: &Value, out: Out) {
    let mut table = out.table(&["grant", "product", "consumer", "reads", "then", "until"]);
    for notice in rows(answer, "notices") {
        let cell = |name: &str| out.cell(Tone::Plain, text(notice, name));
        table.add_row([
            out.cell(Tone::Accent, text(notice, "grant")),
            cell("product"),
            cell("consumer"),
            cell("version"),
            cell("next"),
            out.cell(Tone::Warn, text(notice, "until")),
        ]);
    }
    out.print(&table);
}
