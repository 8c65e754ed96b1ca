//! What the demo measured: through the same API, on this machine, with one client. `tradelane bench` measures in earnest.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{OPERATOR, Stage, millis};
use super::story::parse;
use super::world::STOCK;
use crate::commands::audit::fetch_text;
use crate::commands::{publish, read};
use crate::failure::Result;
use crate::out::Tone;
use crate::stopwatch::Stopwatch;

const PRODUCT: &str = "acme-stock";
const BATCH: usize = 1_000;
const SINGLES: usize = 200;

/// Publishes so many events in batches, reads them masked, and times single requests.
pub(super) fn measure(stage: &mut Stage, events: usize) -> Result<()> {
    stage.heading("Measured here");
    let bar = stage.out.progress(events as u64, "publishing");
    let erp = stage.of("acme-erp");
    let before = log_bytes(stage);
    let mut made = 0;
    let mut sending = Duration::ZERO;
    let mut sent_bytes = 0;
    while made < events {
        let count = BATCH.min(events - made);
        let body = batch(made, count);
        sent_bytes += body.len();
        let begin = Stopwatch::start();
        publish::publish(&erp, PRODUCT, body.as_bytes(), publish::Format::Ndjson, None, false)?;
        sending += begin.elapsed();
        made += count;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    let stored = log_bytes(stage).saturating_sub(before);
    let publish_rate = events as f64 / sending.as_secs_f64();
    stage.say(format!(
        "Published {events} events in batches of {BATCH}, governed and durable: {publish_rate:.0} events/s"
    ));
    let (seen, reading) = read_everything(stage)?;
    let read_rate = seen as f64 / reading.as_secs_f64();
    stage.say(format!("Read {seen} of them back as medidis sees them, filtered and masked: {read_rate:.0} events/s"));
    let publishes = timed(|i| {
        let body = batch(events + i, 1);
        publish::publish(&erp, PRODUCT, body.trim_end().as_bytes(), publish::Format::Json, None, false).map(drop)
    })?;
    let reader = stage.of("medidis-desk");
    let reads = timed(|_| read::page(&reader, PRODUCT, "latest", 1, 0, None).map(drop))?;
    stage.fact("publishEventsPerSecond", json!(publish_rate.round() as u64));
    stage.fact("readEventsPerSecond", json!(read_rate.round() as u64));
    stage.fact("publishOneMs", json!({"median": publishes.0, "p99": publishes.1}));
    stage.fact("readOneMs", json!({"median": reads.0, "p99": reads.1}));
    stage.fact("storedBytesPerEvent", json!(stored / events.max(1) as u64));
    stage.fact("sentBytesPerEvent", json!(sent_bytes / events.max(1)));
    Ok(())
}

/// NDJSON of stock events that differ.
fn batch(first: usize, count: usize) -> String {
    let templates: Vec<Value> = STOCK.1.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut body = String::new();
    for i in first..first + count {
        let Some(mut event) = templates.get(i % templates.len().max(1)).cloned() else { continue };
        let (on_hand, reserved) = (500 + i % 977, i % 91);
        event["eventId"] = json!(format!("load-{i}"));
        event["onHand"] = json!(on_hand);
        event["reserved"] = json!(reserved);
        event["available"] = json!(on_hand - reserved);
        event["countedBy"]["employeeId"] = json!(format!("E-{}", 3_000 + i % 50));
        body.push_str(&event.to_string());
        body.push('\n');
    }
    body
}

fn read_everything(stage: &Stage) -> Result<(u64, Duration)> {
    let client = stage.of("medidis-desk");
    let (mut seen, mut from) = (0, "earliest".to_owned());
    let begin = Stopwatch::start();
    loop {
        let answer = read::page(&client, PRODUCT, &from, 10_000, 0, None)?;
        seen += answer.body.iter().filter(|&&b| b == b'\n').count() as u64;
        match read::cursor(&answer) {
            Some(next) if next != from => from = next,
            _ => break,
        }
    }
    let took = begin.elapsed();
    // That what was counted are events is checked on one page, outside the time.
    parse(&read::page(&client, PRODUCT, "earliest", 100, 0, None)?)?;
    Ok((seen, took))
}

/// Median and 99th percentile in milliseconds of single requests, one after the other.
fn timed(mut request: impl FnMut(usize) -> Result<()>) -> Result<(f64, f64)> {
    let mut times = Vec::with_capacity(SINGLES);
    for i in 0..SINGLES {
        let begin = Stopwatch::start();
        request(i)?;
        times.push(begin.elapsed());
    }
    times.sort();
    let at = |share: usize| times.get((times.len() - 1) * share / 100).copied().map(millis).unwrap_or_default();
    Ok((at(50), at(99)))
}

/// The size of the event log: its segments, without the zeros that are ready to be written over, and their index.
fn log_bytes(stage: &Stage) -> u64 {
    let data = stage.folder.path().join("data");
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let written = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
    };
    let segments = fs::read_dir(data.join("log.db-segments")).into_iter().flatten().flatten();
    let segments: usize = segments.map(|segment| written(&segment.path())).sum();
    segments as u64 + size(&data.join("log.db")) + size(&data.join("log.db-wal"))
}

/// Resident memory of this process, which holds hub and client, in MiB.
fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}

/// The figures of all steps.
pub(super) fn summary(stage: &mut Stage) -> Result<()> {
    let checkpoint = fetch_text(&stage.of(OPERATOR), "/tlog/checkpoint")?;
    let leaves = checkpoint.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
    stage.fact("leaves", json!(leaves));
    stage.fact("residentMiB", json!(resident()));
    stage.heading("Summary");
    let out = stage.out;
    let mut table = out.table(&["what", "figure"]);
    let number = |name: &str| stage.known(name).to_string();
    let pair = |name: &str| format!("{} ms, {} ms", stage.known(name)["median"], stage.known(name)["p99"]);
    let mut rows = vec![("start to first answer", format!("{} ms", number("startToFirstAnswerMs")))];
    if !stage.known("publishEventsPerSecond").is_null() {
        rows.extend([
            (
                "published, validated, sealed, durable, on record",
                format!("{} events/s", number("publishEventsPerSecond")),
            ),
            ("read, filtered and masked", format!("{} events/s", number("readEventsPerSecond"))),
            ("publish one event, median and p99", pair("publishOneMs")),
            ("read one event, median and p99", pair("readOneMs")),
            (
                "stored per event at most (sent)",
                format!("{} bytes ({})", number("storedBytesPerEvent"), number("sentBytesPerEvent")),
            ),
        ]);
    }
    rows.push(("revoked reader cut off after", format!("{} ms", stage.known("revocation")["cutOffMs"])));
    rows.push(("receipt verified offline in", format!("{} ms", stage.known("proof")["verifyMs"])));
    rows.push(("leaves in the audit log", number("leaves")));
    rows.push(("memory of hub and client", format!("{} MiB", number("residentMiB"))));
    for (what, figure) in rows {
        table.add_row([out.cell(Tone::Plain, what), out.cell(Tone::Strong, figure)]);
    }
    stage.table(&table);
    stage.say("One client, this machine, a few seconds; docs/benchmarks.md has what was measured in earnest.");
    Ok(())
}
