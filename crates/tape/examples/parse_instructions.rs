//! What a parse costs.
//!
//! `parse_instructions N` parses N documents of about 1 KiB in a function named `measured`, for callgrind:
//!
//! ```sh
//! cargo build --release -p tradelane-tape --example parse_instructions
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='*measured*' \
//!   target/release/examples/parse_instructions 1000
//! ```
//!
//! Without a number it takes times instead, beside serde_json's DOM.

#![allow(clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "measures time")]

use std::hint::black_box;
use std::time::Instant;
use tradelane_tape::{Limits, Tape};

/// Four shapes of logistics events; `i` varies their values, so that no branch is learnt by heart.
fn document(i: usize) -> String {
    let n = i.wrapping_mul(2_654_435_761) % 1_000_000_007;
    match i % 4 {
        0 => format!(
            r#"{{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",{{"example":"http://ns.example.com/epcis/"}}],"type":"ObjectEvent","eventID":"ni:///sha-256;{n:064x}?ver=CBV2.0","eventTime":"2026-04-{:02}T2{}:33:31.116Z","eventTimeZoneOffset":"-06:00","recordTime":"2026-04-05T02:33:31.116Z","epcList":["urn:epc:id:sgtin:0614141.107346.{n}","urn:epc:id:sgtin:0614141.107346.{}"],"action":"OBSERVE","bizStep":"shipping","disposition":"in_transit","readPoint":{{"id":"urn:epc:id:sgln:0614141.07346.{}"}},"bizTransactionList":[{{"type":"po","bizTransaction":"http://transaction.acme.com/po/{n}"}}],"sensorElementList":[{{"sensorMetadata":{{"time":"2026-04-05T02:33:31Z","deviceID":"urn:epc:id:giai:4000001.{}"}},"sensorReport":[{{"type":"Temperature","value":{}.{},"uom":"CEL"}},{{"type":"RelativeHumidity","value":{},"uom":"A93"}}]}}]}}"#,
            1 + n % 28,
            n % 4,
            n + 1,
            n % 10_000,
            n % 999,
            n % 40,
            n % 10,
            n % 100,
        ),
        1 => format!(
            r#"{{"shipmentId":"SHP-{n:09}","carrier":"Nordfracht","status":"IN_TRANSIT","legs":[{{"seq":1,"mode":"ROAD","from":{{"code":"DEHAM","lat":53.5{},"lon":9.9{}}},"to":{{"code":"SEGOT","lat":57.70{},"lon":11.97}},"departed":"2026-11-{:02}T06:15:00Z","arrived":null}},{{"seq":2,"mode":"SEA","from":{{"code":"SEGOT"}},"to":{{"code":"FIHEL"}},"departed":null,"arrived":null}}],"consignee":{{"name":"Anna Svensson","email":"anna.{n}@example.com","phone":"+46 70 {n:07}","address":{{"street":"Storgatan {}","zip":"411 {:02}","city":"Göteborg","country":"SE"}}}},"packages":[{{"sscc":"00340123450000{n:06}","weightKg":{}.5,"dangerous":false}},{{"sscc":"00340123450001{n:06}","weightKg":{},"dangerous":true}}],"value":{{"amount":{}.99,"currency":"EUR"}},"priority":{},"notes":"Leave at the \"back door\"\nif nobody answers"}}"#,
            n % 1000,
            n % 777,
            n % 99,
            1 + n % 28,
            n % 300,
            n % 100,
            n % 80,
            n % 1200,
            n % 10_000,
            n.is_multiple_of(2),
        ),
        2 => format!(
            "{{\n  \"type\": \"inventory.level\",\n  \"product\": \"SKU-{n}\",\n  \"site\": {{\n    \"gln\": \"40123450{:05}\",\n    \"zone\": \"A{}\"\n  }},\n  \"onHand\": {},\n  \"reserved\": {},\n  \"reorderPoint\": {},\n  \"unit\": \"EA\",\n  \"lots\": [\n    {{\n      \"lot\": \"L{n}\",\n      \"expires\": \"2027-0{}-15\",\n      \"quantity\": {}\n    }},\n    {{\n      \"lot\": \"M{n}\",\n      \"expires\": \"2027-11-30\",\n      \"quantity\": {}\n    }}\n  ],\n  \"countedBy\": {{\n    \"name\": \"Jonas Weber\",\n    \"badge\": \"B-{}\"\n  }},\n  \"countedAt\": \"2026-11-20T14:02:{:02}.250Z\",\n  \"history\": [{}, {}, {}, {}, {}, {}, {}, {}],\n  \"flags\": {{\n    \"quarantine\": false,\n    \"cycleCount\": true,\n    \"blocked\": null\n  }},\n  \"remark\": \"Counted twice, once by hand and once by scanner; the difference was booked to shrinkage.\"\n}}",
            n % 99_999,
            n % 20,
            n % 5000,
            n % 100,
            n % 500,
            1 + n % 9,
            n % 900,
            n % 77,
            n % 9999,
            n % 60,
            n % 11,
            n % 101,
            n % 1009,
            n % 13,
            n % 103,
            n % 1013,
            n % 17,
            n % 107,
        ),
        _ => format!(
            r#"{{"deviceId":"reefer-{n}","ts":{},"position":{{"lat":{}.{:06},"lon":-{}.{:06},"accuracy":4.5}},"readings":[{}],"door":{{"open":{},"changed":"2026-11-21T0{}:00:00Z"}},"battery":0.{},"driver":{{"id":"D-{}","name":"Maria Kowalska"}},"firmware":"4.2.{}","alarms":[]}}"#,
            1_795_000_000_000_usize + n,
            n % 80,
            n % 1_000_000,
            n % 170,
            n % 999_983,
            (0..9)
                .map(|k| format!(
                    r#"{{"t":{},"setpoint":-18.0,"supply":-{}.{},"return":-17.{},"humidity":{}}}"#,
                    1_795_000_000 + k * 300,
                    17 + (n + k) % 3,
                    (n + k) % 10,
                    (n + 3 * k) % 10,
                    40 + (n + k) % 30
                ))
                .collect::<Vec<_>>()
                .join(","),
            n.is_multiple_of(3),
            n % 10,
            n % 100,
            n % 5000,
            n % 30,
        ),
    }
}

#[inline(never)]
fn measured<'d>(tape: &mut Tape, documents: impl Iterator<Item = &'d String>) -> usize {
    let nodes = |json: &[u8]| tape.parse(json, &Limits::EVENT).map_or(0, |doc| doc.node_count() as usize);
    documents.map(|document| black_box(document.as_bytes())).map(nodes).sum()
}

type Way<'a> = &'a mut dyn FnMut(&[u8]);

fn main() {
    let documents: Vec<String> = (0..4000).map(document).collect();
    let bytes: usize = documents.iter().map(String::len).sum();
    let mean = bytes as f64 / documents.len() as f64;
    let mut tape = Tape::new();
    if let Some(n) = std::env::args().nth(1).and_then(|n| n.parse::<usize>().ok()) {
        let parsed: usize = documents.iter().cycle().take(n).map(String::len).sum();
        let nodes = measured(&mut tape, documents.iter().cycle().take(n));
        println!("{n} documents, {parsed} bytes, {nodes} nodes");
        return;
    }
    let nodes: u32 =
        documents.iter().map(|d| tape.parse(d.as_bytes(), &Limits::EVENT).map_or(0, |doc| doc.node_count())).sum();
    println!("{mean:.0} bytes and {:.0} nodes per document", f64::from(nodes) / documents.len() as f64);
    let mut best = [f64::INFINITY; 3];
    for _ in 0..40 {
        let ways: [Way<'_>; 3] = [
            &mut |json| {
                black_box(tape.parse(json, &Limits::EVENT).is_ok());
            },
            &mut |json| {
                black_box(serde_json::from_slice::<serde_json::Value>(json).is_ok());
            },
            &mut |json| {
                black_box(std::str::from_utf8(json).is_ok());
            },
        ];
        for (way, best) in ways.into_iter().zip(&mut best) {
            let start = Instant::now();
            documents.iter().for_each(|document| way(black_box(document.as_bytes())));
            *best = best.min(start.elapsed().as_nanos() as f64 / documents.len() as f64);
        }
    }
    let [ours, dom, utf8] = best;
    println!("tape              {ours:6.0} ns/doc  {:.2} GB/s", mean / ours);
    println!("serde_json Value  {dom:6.0} ns/doc  {:.2} GB/s  (tape takes {:.2} of it)", mean / dom, ours / dom);
    println!("UTF-8 check alone {utf8:6.0} ns/doc  {:.2} GB/s", mean / utf8);
}
