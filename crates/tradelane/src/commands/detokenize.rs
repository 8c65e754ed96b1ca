//! `tradelane detokenize`: the value behind a token. Every call is on record.

use serde_json::{Value, json};

use crate::client::{Client, escape};
use crate::failure::Result;
use crate::out::Out;
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product in whose events the token was
    product: String,
    /// The token
    token: String,
    /// The grant whose reader was given the token
    #[arg(long)]
    grant: String,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let path = format!("/v1/products/{}/detokenize", escape(&args.product));
    let answer = client.post(&path, &json!({ "grant": args.grant, "token": args.token }))?;
    let value = answer.get("value").unwrap_or(&answer);
    match value {
        Value::String(text) => out.line(text),
        other => out.line(other.to_string()),
    }
    out.value(&answer);
    Ok(())
}
