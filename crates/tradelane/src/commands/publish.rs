//! `tradelane publish`: one event, an array, NDJSON, CloudEvents, or an EPCIS document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{read_input, rows, text};
use crate::client::{Client, Send, escape};
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone, remark};
use crate::profile::Connection;

/// The largest input, and the largest piece of NDJSON that is sent in one request.
const MAX_INPUT: u64 = 1 << 30;
const BATCH_BYTES: usize = 4 << 20;
const BATCH_LINES: usize = 5_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The product
    product: String,
    /// The events; - reads stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What the file holds; found out from its content unless said
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Retry safely: the same key and events are published once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Put events that are not valid in quarantine instead of refusing the batch
    #[arg(long)]
    proceed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One event, or an array of events
    Json,
    /// One event a line
    Ndjson,
    /// A CloudEvent in structured mode
    Cloudevent,
    /// An array of CloudEvents
    Cloudevents,
    /// An EPCIS document, captured as the standard says
    Epcis,
}

impl Format {
    fn media(self) -> &'static str {
        match self {
            Self::Json | Self::Epcis => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Cloudevent => "application/cloudevents+json",
            Self::Cloudevents => "application/cloudevents-batch+json",
        }
    }

    /// What these bytes are, if nobody said.
    fn of(bytes: &[u8], name: &str) -> Self {
        if name.ends_with(".ndjson") || name.ends_with(".jsonl") {
            return Self::Ndjson;
        }
        match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(object)) if object.get("type").and_then(Value::as_str) == Some("EPCISDocument") => {
                Self::Epcis
            }
            Ok(Value::Object(object)) if object.contains_key("specversion") => Self::Cloudevent,
            Ok(Value::Array(list)) if list.first().is_some_and(|first| first.get("specversion").is_some()) => {
                Self::Cloudevents
            }
            Ok(_) => Self::Json,
            Err(_) => Self::Ndjson,
        }
    }
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let bytes = read_input(&args.file, MAX_INPUT)?;
    let format = args.format.unwrap_or_else(|| Format::of(&bytes, &args.file.to_string_lossy()));
    let client = Client::new(&connection.resolve()?)?;
    if format == Format::Epcis {
        return capture(&client, &args, &bytes, out);
    }
    let pieces = if format == Format::Ndjson { batches(&bytes) } else { vec![&*bytes] };
    let bar = out.progress(bytes.len() as u64, "publishing");
    let mut answers = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let key = args.idempotency_key.as_ref();
        let key = key.map(|key| if pieces.len() > 1 { format!("{key}-{n}") } else { key.clone() });
        answers.push(publish(&client, &args.product, piece, format, key.as_deref(), args.proceed)?);
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    let count = |answer: &Value| answer.get("count").and_then(Value::as_u64).unwrap_or(0);
    let total: u64 = answers.iter().map(count).sum();
    let quarantined: Vec<&Value> = answers.iter().flat_map(|answer| rows(answer, "quarantined")).collect();
    let parts: Vec<&Value> = answers.iter().flat_map(|answer| rows(answer, "parts")).collect();
    out.line(format!("{} {total} events{}", out.paint(Tone::Good, "published"), places(&parts)));
    if !quarantined.is_empty() {
        remark(&format!("{} events went to quarantine; `tradelane quarantine` shows why", quarantined.len()));
    }
    out.value(&json!({"published": total, "parts": parts, "quarantined": quarantined, "answers": answers}));
    Ok(())
}

/// Where they begin in each partition, for people.
fn places(parts: &[&Value]) -> String {
    let mut first: BTreeMap<u64, &Value> = BTreeMap::new();
    for part in parts {
        let partition = part.get("partition").and_then(Value::as_u64).unwrap_or(0);
        first.entry(partition).or_insert(part);
    }
    let place =
        |(partition, part): (&u64, &&Value)| format!("partition {partition} from offset {}", text(part, "offset"));
    let places: Vec<String> = first.iter().map(place).collect();
    if places.is_empty() { String::new() } else { format!(": {}", places.join(", ")) }
}

/// Publishes one body.
pub(crate) fn publish(
    client: &Client,
    product: &str,
    body: &[u8],
    format: Format,
    key: Option<&str>,
    proceed: bool,
) -> Result<Value> {
    let path = format!("/v1/products/{}/events{}", escape(product), if proceed { "?on-error=quarantine" } else { "" });
    // The header is a quoted string (RFC 8941).
    let key = key.map(|key| format!("\"{}\"", key.replace(['"', '\\'], "")));
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
    let send = Send { content_type: Some(format.media()), headers: &headers, body, ..Send::default() };
    client.send(Method::POST, &path, &send)?.json()
}

/// Captures an EPCIS document and waits for its job.
fn capture(client: &Client, args: &Args, body: &[u8], out: Out) -> Result<()> {
    let job = captured(client, &args.product, body, args.proceed)?;
    let errors = crate::client::places(&job);
    if job.get("success").and_then(Value::as_bool) != Some(true) {
        out.value(&job);
        let mut failure = Failure::no("the document was not captured").coded("TL-1003");
        failure.places = errors;
        return Err(failure.remedy("`tradelane epcis validate` checks it offline"));
    }
    out.line(format!("{} {} events", out.paint(Tone::Good, "captured"), text(&job, "captured")));
    errors.iter().for_each(|error| remark(error));
    out.value(&job);
    Ok(())
}

/// Sends a document to `/capture` and gives the finished job; the standard answers 202 and works in the background.
pub(crate) fn captured(client: &Client, product: &str, body: &[u8], proceed: bool) -> Result<Value> {
    let path = format!("/epcis/{}/capture", escape(product));
    let behaviour = if proceed { "proceed" } else { "rollback" };
    let headers = [("gs1-capture-error-behaviour", behaviour)];
    let send = Send { content_type: Some("application/json"), headers: &headers, body, ..Send::default() };
    let answer = client.send(Method::POST, &path, &send)?;
    if answer.status != StatusCode::ACCEPTED {
        return answer.json();
    }
    let location = answer.header("location").unwrap_or_default().to_owned();
    let place = location.strip_prefix(client.base()).unwrap_or(&location).to_owned();
    let place = if place.starts_with('/') { place } else { format!("{path}/{place}") };
    let mut pause = std::time::Duration::from_millis(2);
    for _ in 0..600 {
        let job = client.get(&place)?;
        if job.get("running").and_then(Value::as_bool) != Some(true) {
            return Ok(job);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_millis(500));
    }
    Err(Failure::failed("the capture job does not end").remedy(format!("ask for {place} later")))
}

/// NDJSON in pieces of whole lines.
fn batches(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut begin, mut end, mut lines) = (0, 0, 0);
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        if end > begin && (end - begin + line.len() > BATCH_BYTES || lines == BATCH_LINES) {
            pieces.extend(bytes.get(begin..end));
            (begin, lines) = (end, 0);
        }
        end += line.len();
        lines += 1;
    }
    pieces.extend(bytes.get(begin..end).filter(|rest| !rest.is_empty()));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_where_the_events_begin_in_each_partition() {
        let part = |partition: u32, offset: u64| json!({"partition": partition, "offset": offset, "count": 1});
        let parts = [part(6, 3), part(7, 0), part(6, 9)];
        let parts: Vec<&Value> = parts.iter().collect();
        assert_eq!(places(&parts), ": partition 6 from offset 3, partition 7 from offset 0");
        assert_eq!(places(&[]), "");
    }

    #[test]
    fn what_a_file_holds_is_found_out_from_its_content() {
        let cases: [(&str, &str, Format); 6] = [
            ("{\"a\":1}", "x.json", Format::Json),
            ("[{\"a\":1}]", "x", Format::Json),
            ("{\"a\":1}\n{\"a\":2}\n", "x", Format::Ndjson),
            ("{\"type\":\"EPCISDocument\"}", "x", Format::Epcis),
            ("{\"specversion\":\"1.0\"}", "x", Format::Cloudevent),
            ("[{\"specversion\":\"1.0\"}]", "x", Format::Cloudevents),
        ];
        for (text, name, format) in cases {
            assert_eq!(Format::of(text.as_bytes(), name), format, "{text}");
        }
    }

    #[test]
    fn ndjson_is_cut_between_lines() {
        let text = "{}\n".repeat(BATCH_LINES * 2 + 1);
        let pieces = batches(text.as_bytes());
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.concat(), text.as_bytes());
        assert!(pieces.iter().all(|piece| piece.ends_with(b"\n")));
    }
}
