//! `tradelane tail`: events as they come, over server-sent events, until the grant ends or you stop it.

use serde_json::Value;

use super::text;
use crate::client::{Client, Send, escape};
use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::profile::Connection;
use crate::sse::Events;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    product: String,
    /// Where to begin: earliest, latest, or an offset
    #[arg(long, default_value = "latest", value_name = "CURSOR")]
    from: String,
    /// What for, if you have more than one grant
    #[arg(long)]
    purpose: Option<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    max: Option<u64>,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let client = Client::new(&connection.resolve()?)?;
    let purpose = args.purpose.as_deref().map(|p| format!("&purpose={}", escape(p))).unwrap_or_default();
    let base = format!("/v1/products/{}/events", escape(&args.product));
    let path = format!("{base}?from={}{purpose}", escape(&args.from));
    let mut last: Option<String> = None;
    let mut left = args.max.unwrap_or(u64::MAX);
    while left > 0 {
        // A cursor that was received wins over `from` (Last-Event-ID).
        let resume: Vec<(&str, &str)> = last.iter().map(|id| ("last-event-id", id.as_str())).collect();
        let send = Send { accept: Some("text/event-stream"), headers: &resume, ..Send::default() };
        let mut events = Events::new(client.stream(&path, &send)?);
        // A connection that breaks is taken up again where it broke; a refusal ends it.
        while let Ok(Some(event)) = events.next_event() {
            if let Some(failure) = refusal(&event.name, &event.data) {
                return Err(failure);
            }
            if event.name == "message" {
                out.raw(event.data.as_bytes())?;
                left -= 1;
            }
            if left == 0 {
                return Ok(());
            }
        }
        last = events.last_id().map(str::to_owned).or(last);
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    Ok(())
}

/// An event by which the hub says that the stream is over for this reader.
pub(crate) fn refusal(name: &str, data: &str) -> Option<Failure> {
    let problem: Value = match name {
        "message" => return None,
        _ => serde_json::from_str(data).ok()?,
    };
    let code = text(&problem, "code");
    (!code.is_empty()).then(|| Failure::no(text(&problem, "detail")).coded(code))
}
