//! What validation costs on the tape, beside the way of serde_json and jsonschema on a DOM.
//!
//! ```sh
//! cargo run --release -p tradelane-schema --example cost                          # a shipment contract, 1 KiB events
//! cargo run --release -p tradelane-schema --example cost -- SCHEMA.json DOC.json...  # one's own
//! ```

#![allow(clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "measures time")]

use serde_json::{Value, json};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use tradelane_schema::Schema;
use tradelane_tape::{Limits, Tape};

type Way<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = std::env::args().skip(1);
    let (schema, documents): (Value, Vec<Vec<u8>>) = match files.next() {
        Some(schema) => {
            (serde_json::from_slice(&std::fs::read(schema)?)?, files.map(std::fs::read).collect::<Result<_, _>>()?)
        }
        None => (contract(), (0..1000).map(|i| event(i).into_bytes()).collect()),
    };
    let compiled = Schema::compile(&schema)?;
    let peer = jsonschema::options().should_validate_formats(true).build(&schema)?;
    let (mut tape, mut other) = (Tape::new(), Tape::new());
    let mut valid = Vec::new();
    for document in documents {
        match tape.parse(&document, &Limits::DOCUMENT).map(|doc| compiled.validate(doc.root(), 3)) {
            Ok(Ok(())) => valid.push(document),
            Ok(Err(violations)) => violations.iter().for_each(|violation| println!("invalid: {violation}")),
            Err(error) => println!("refused: {error}"),
        }
    }
    let bytes: usize = valid.iter().map(Vec::len).sum();
    println!("{} valid documents of {} bytes on average", valid.len(), bytes / valid.len().max(1));
    let mut best = [f64::INFINITY; 4];
    for _ in 0..(40_000 / valid.len().max(1)).clamp(10, 500) {
        let ways: [Way<'_>; 4] = [
            &mut |json| tape.parse(json, &Limits::DOCUMENT).is_ok(),
            &mut |json| other.parse(json, &Limits::DOCUMENT).is_ok_and(|doc| compiled.is_valid(doc.root())),
            &mut |json| serde_json::from_slice::<Value>(json).is_ok(),
            &mut |json| serde_json::from_slice::<Value>(json).is_ok_and(|value| peer.is_valid(&value)),
        ];
        for (way, best) in ways.into_iter().zip(&mut best) {
            let start = Instant::now();
            let all = valid.iter().filter(|document| way(black_box(document))).count();
            *best = best.min(start.elapsed().as_nanos() as f64 / all.max(1) as f64);
        }
    }
    let [parse, both, dom, peers] = best;
    println!("tape: parse {parse:.0} ns, validate {:.0} ns, both {both:.0} ns", both - parse);
    println!("DOM:  parse {dom:.0} ns, validate {:.0} ns, both {peers:.0} ns", peers - dom);
    println!("the tape takes {:.2} of the DOM's time; {:.0} documents/s", both / peers, 1e9 / both);
    Ok(())
}

fn contract() -> Value {
    let text = json!({"type": "string", "maxLength": 80});
    let place = json!({"type": "object", "required": ["code"], "additionalProperties": false, "properties": {
        "code": {"type": "string", "pattern": "^[A-Z]{2}[A-Z0-9]{3}$"}, "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180}}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
        "required": ["shipmentId", "status", "legs", "consignee", "packages"],
        "properties": {
            "shipmentId": {"type": "string", "pattern": "^SHP-[0-9]{9}$"}, "carrier": text,
            "status": {"enum": ["PLANNED", "IN_TRANSIT", "DELIVERED", "LOST"]},
            "legs": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["seq", "mode", "from", "to"], "properties": {
                "seq": {"type": "integer", "minimum": 1}, "mode": {"enum": ["ROAD", "SEA", "RAIL", "AIR"]},
                "from": {"$ref": "#/$defs/place"}, "to": {"$ref": "#/$defs/place"},
                "departed": {"type": ["string", "null"], "format": "date-time"}, "arrived": {"type": ["string", "null"], "format": "date-time"}}}},
            "consignee": {"type": "object", "required": ["name"], "properties": {
                "name": text, "email": {"type": "string", "format": "email"}, "phone": text,
                "address": {"type": "object", "additionalProperties": text}}},
            "packages": {"type": "array", "items": {"type": "object", "required": ["sscc"], "properties": {
                "sscc": {"type": "string", "pattern": "^[0-9]{20}$"}, "weightKg": {"type": "number", "exclusiveMinimum": 0}, "dangerous": {"type": "boolean"}}}},
            "value": {"type": "object", "properties": {"amount": {"type": "number"}, "currency": {"type": "string", "minLength": 3, "maxLength": 3}}},
            "priority": {"type": "boolean"}, "notes": {"type": "string"},
        },
        "$defs": {"place": place},
    })
}

fn event(i: usize) -> String {
    let n = i.wrapping_mul(2_654_435_761) % 1_000_000;
    format!(
        r#"{{"shipmentId":"SHP-{n:09}","carrier":"Nordfracht","status":"IN_TRANSIT","legs":[{{"seq":1,"mode":"ROAD","from":{{"code":"DEHAM","lat":53.5{n},"lon":9.9}},"to":{{"code":"SEGOT","lat":57.70{n},"lon":11.97}},"departed":"2026-11-21T06:15:00Z","arrived":null}},{{"seq":2,"mode":"SEA","from":{{"code":"SEGOT"}},"to":{{"code":"FIHEL"}},"departed":null,"arrived":null}}],"consignee":{{"name":"Anna Svensson","email":"anna.{n}@example.com","phone":"+46 70 {n}","address":{{"street":"Storgatan {n}","zip":"411 05","city":"Göteborg","country":"SE"}}}},"packages":[{{"sscc":"00340123450000{n:06}","weightKg":{n}.5,"dangerous":false}},{{"sscc":"00340123450001{n:06}","weightKg":7,"dangerous":true}}],"value":{{"amount":{n}.99,"currency":"EUR"}},"priority":false,"notes":"Leave at the \"back door\"\nif nobody answers"}}"#
    )
}
