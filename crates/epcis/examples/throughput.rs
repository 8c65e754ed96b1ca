//! Events per second on one core: `cargo run --release -p tradelane-epcis --example throughput`.
//!
//! Events are ObjectEvents of about 1 KiB that it makes itself, a thousand different ones; parsing is included.

use std::io::Write;
use std::time::Instant;

use tradelane_epcis::{Context, Query, document, hash, validate_event};
use tradelane_model::Timestamp;
use tradelane_tape::{Limits, Tape};

/// An ObjectEvent of about 1 KiB, with the fields that one usually has.
fn event(number: usize) -> Vec<u8> {
    let epcs: Vec<String> =
        (0..8).map(|at| format!("\"urn:epc:id:sgtin:9521321.012345.{}\"", number * 8 + at)).collect();
    format!(
        r#"{{"type":"ObjectEvent","eventID":"urn:uuid:0b5e2a52-6d3c-4c0d-9e0f-{number:012x}","eventTime":"2026-03-01T08:30:00.{:03}+01:00","eventTimeZoneOffset":"+01:00","epcList":[{}],"action":"OBSERVE","bizStep":"shipping","disposition":"in_transit","readPoint":{{"id":"urn:epc:id:sgln:9521321.00001.dock-3"}},"bizLocation":{{"id":"https://id.gs1.org/414/9521321000018"}},"bizTransactionList":[{{"type":"po","bizTransaction":"urn:epcglobal:cbv:bt:9521321000008:{number}"}}],"sourceList":[{{"type":"owning_party","source":"urn:epc:id:pgln:9521321.00000"}}],"destinationList":[{{"type":"owning_party","destination":"urn:epc:id:pgln:9521987.00000"}}],"lane:driver":"A. Example","lane:temperature":4.5}}"#,
        number % 1000,
        epcs.join(",")
    )
    .into_bytes()
}

/// CPU time of this process so far where the system tells (a busy machine does not blur it), else the time that passed.
fn spent(start: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanos = told.as_deref().and_then(|text| text.split(' ').next()).and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.map_or_else(|| start.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// Passes over all events, the first uncounted, and tells how many events per second that were.
#[expect(clippy::disallowed_methods, reason = "measures how long something takes")]
fn rate(events: &[Vec<u8>], mut pass: impl FnMut(&[u8])) -> f64 {
    const PASSES: usize = 200;
    events.iter().for_each(|event| pass(event));
    let start = Instant::now();
    let before = spent(start);
    for _ in 0..PASSES {
        events.iter().for_each(|event| pass(event));
    }
    (PASSES * events.len()) as f64 / (spent(start) - before)
}

fn main() -> std::io::Result<()> {
    let events: Vec<Vec<u8>> = (0..1000).map(event).collect();
    let bytes = events.iter().map(Vec::len).sum::<usize>() / events.len();
    let mut context_tape = Tape::new();
    let declared = format!(r#"["{}",{{"lane":"https://ns.tradelane.example/epcis/"}}]"#, document::EPCIS_CONTEXT);
    let parsed = context_tape.parse(declared.as_bytes(), &Limits::EVENT).map_err(std::io::Error::other)?;
    let context = Context::of(parsed.root());
    let pairs = [("MATCH_epc", "urn:epc:idpat:sgtin:9521321.012345.*"), ("EQ_bizStep", "shipping")];
    let query = Query::from_pairs(pairs, &context).map_err(std::io::Error::other)?;

    let mut tape = Tape::new();
    let mut wrong = 0usize;
    let parse = rate(&events, |json| wrong += usize::from(tape.parse(json, &Limits::EVENT).is_err()));
    let validate = rate(&events, |json| match tape.parse(json, &Limits::EVENT) {
        Ok(doc) => wrong += validate_event(doc.root(), &context).len(),
        Err(_) => wrong += 1,
    });
    let mut hashed = 0usize;
    let hash = rate(&events, |json| {
        if let Ok(doc) = tape.parse(json, &Limits::EVENT) {
            hashed += hash::event_hash(doc.root(), &context, &[]).len();
        }
    });
    let mut missed = 0usize;
    let matching = rate(&events, |json| {
        if let Ok(doc) = tape.parse(json, &Limits::EVENT) {
            missed += usize::from(!query.matches_in(doc.root(), &context, Timestamp(0)));
        }
    });
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "events of {bytes} bytes on average, one core; invalid: {wrong}, not matched: {missed}, hashed: {}",
        hashed > 0
    )?;
    for (what, rate) in [("parsed", parse), ("validated", validate), ("hashed", hash), ("matched", matching)] {
        writeln!(out, "{what:>10} {rate:>12.0} events/s {:>8.0} ns per event", 1e9 / rate)?;
    }
    Ok(())
}
