//! `tradelane read`: a product's events from a cursor on, as your organization may see them. Each line is an event.

use http::Method;

use crate::client::{Answer, Client, Send, escape};
use crate::failure::Result;
use crate::out::{Out, remark};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    product: String,
    /// Where to begin: earliest, latest, or an offset
    #[arg(long, default_value = "earliest", value_name = "CURSOR")]
    from: String,
    /// At most so many events
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    limit: u64,
    /// Wait so many seconds for events if there are none yet
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
    /// What for, if you have more than one grant
    #[arg(long)]
    purpose: Option<String>,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let (mut from, mut left) = (args.from.clone(), args.limit);
    let mut total = 0;
    while left > 0 {
        // Only who has seen nothing yet waits.
        let wait = if total == 0 { args.wait } else { 0 };
        let answer = page(&client, &args.product, &from, left.min(10_000), wait, args.purpose.as_deref())?;
        let lines = answer.body.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let mut count = 0;
        for line in lines {
            out.raw(line)?;
            count += 1;
        }
        total += count;
        left = left.saturating_sub(count);
        // Events that a row filter leaves out move the cursor without a line; a cursor that stays is the end.
        match cursor(&answer) {
            Some(next) if next != from => from = next,
            _ => break,
        }
    }
    if !out.is_json() {
        remark(&format!("{total} events; continue with --from {from}"));
    }
    Ok(())
}

/// One page of NDJSON.
pub(crate) fn page(
    client: &Client,
    product: &str,
    from: &str,
    limit: u64,
    wait: u64,
    purpose: Option<&str>,
) -> Result<Answer> {
    let purpose = purpose.map(|purpose| format!("&purpose={}", escape(purpose))).unwrap_or_default();
    let path =
        format!("/v1/products/{}/events?from={}&limit={limit}&wait={wait}{purpose}", escape(product), escape(from));
    client.send(Method::GET, &path, &Send { accept: Some("application/x-ndjson"), ..Send::default() })
}

/// Where to go on after a page.
pub(crate) fn cursor(answer: &Answer) -> Option<String> {
    answer.header("tradelane-next").map(str::to_owned)
}
