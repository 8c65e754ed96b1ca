//! `tradelane keys`: API keys and client secrets. A key is shown once, or written to a file that only you can read.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{rows, text};
use crate::client::{Client, escape};
use crate::failure::Result;
use crate::out::{Out, Tone, remark};
use crate::profile::{Connection, write_private};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// The credentials of your organization
    List,
    /// Issue a key to a principal
    Issue {
        /// The principal
        principal: String,
        #[command(flatten)]
        options: Options,
    },
    /// Issue a key in place of another one
    Rotate {
        /// The credential to replace
        id: String,
        /// Whose it is
        #[arg(long)]
        principal: String,
        /// Hours that the old one goes on working; 0 after a compromise
        #[arg(long, default_value_t = 24)]
        overlap_hours: i64,
        #[command(flatten)]
        options: Options,
    },
    /// Revoke a credential; what it opened stops at once
    Revoke {
        /// The credential
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to issue
    #[arg(long, value_enum, default_value_t = Kind::ApiKey)]
    kind: Kind,
    /// Days until it expires
    #[arg(long, default_value_t = 90)]
    days: i64,
    /// Write it to this file (mode 0600) instead of printing it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// A bearer key
    ApiKey,
    /// An OAuth 2 client secret, exchanged for short-lived tokens
    ClientSecret,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    match args {
        Args::List => {
            let answer = client.get("/v1/credentials")?;
            list(&answer, out);
            out.value(&answer);
            Ok(())
        }
        Args::Issue { principal, options } => {
            let answer = issue(&client, &principal, options.kind, options.days, None)?;
            hand_over(&answer, &options, out)
        }
        Args::Rotate { id, principal, overlap_hours, options } => {
            let replaces = Some((id.as_str(), overlap_hours.saturating_mul(3_600)));
            let answer = issue(&client, &principal, options.kind, options.days, replaces)?;
            hand_over(&answer, &options, out)
        }
        Args::Revoke { id } => {
            client.delete(&format!("/v1/credentials/{}", escape(&id)))?;
            out.line(format!("{} {id}", out.paint(Tone::Good, "revoked")));
            out.value(&json!({ "revoked": id }));
            Ok(())
        }
    }
}

/// Issues a credential, in place of another one if that is given with the seconds that it goes on.
pub(crate) fn issue(
    client: &Client,
    principal: &str,
    kind: Kind,
    days: i64,
    replaces: Option<(&str, i64)>,
) -> Result<Value> {
    let kind = match kind {
        Kind::ApiKey => "api-key",
        Kind::ClientSecret => "client-secret",
    };
    let mut body = json!({"kind": kind, "lifetimeSeconds": days.saturating_mul(86_400)});
    if let Some((id, overlap)) = replaces {
        body["replaces"] = json!(id);
        body["overlapSeconds"] = json!(overlap);
    }
    client.post(&format!("/v1/principals/{}/credentials", escape(principal)), &body)
}

fn hand_over(answer: &Value, options: &Options, out: Out) -> Result<()> {
    let secret = secret_of(answer);
    let (id, expires) = (text(answer, "id"), text(answer, "expires"));
    match &options.output {
        Some(file) => {
            write_private(file, &format!("{secret}\n"))?;
            out.line(format!("{} {id}, until {expires}, in {}", out.paint(Tone::Good, "issued"), file.display()));
            out.value(&json!({"id": id, "expires": expires, "file": file}));
        }
        None => {
            out.line(&secret);
            if !out.is_json() {
                remark(&format!("{id}, until {expires}. It is shown this once."));
            }
            out.value(answer);
        }
    }
    Ok(())
}

/// The secret in an answer that issues one.
pub(crate) fn secret_of(answer: &Value) -> String {
    ["secret", "text", "key"].iter().map(|name| text(answer, name)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn list(answer: &Value, out: Out) {
    let mut table = out.table(&["credential", "principal", "kind", "issued", "expires", "revoked"]);
    for credential in rows(answer, "credentials") {
        let revoked = text(credential, "revoked");
        let tone = if revoked.is_empty() { Tone::Plain } else { Tone::Dim };
        let cells = ["id", "principal", "kind", "issued", "expires", "revoked"];
        table.add_row(cells.map(|name| out.cell(tone, text(credential, name))));
    }
    out.print(&table);
}
