//! An expression, an empty line, an event, an empty line and a reader's attributes: compiling and evaluating end within
//! bounds of time and memory, give the same answer twice, and the short cuts agree with the interpreter.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use tradelane_model::Timestamp;
use tradelane_policy::cel::{MAX_EXPRESSION, QualityRule, Reader, RowFilter};
use tradelane_tape::{Limits, Tape};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.splitn(3, "\n\n");
    let (source, event) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("{}"));
    let attributes: BTreeMap<String, serde_json::Value> =
        parts.next().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let (filter, rule) = (RowFilter::compile(source), QualityRule::compile(source));
    assert!(source.len() <= MAX_EXPRESSION || (filter.is_err() && rule.is_err()));
    let mut tape = Tape::new();
    let Ok(event) = tape.parse(event.as_bytes(), &Limits::EVENT) else { return };
    if let Ok(filter) = filter {
        let reader = Reader::new(&attributes);
        let verdict = filter.evaluate(event.root(), &reader, NOW);
        assert_eq!(verdict, filter.evaluate(event.root(), &reader, NOW));
        assert_eq!(verdict, filter.interpret(event.root(), &reader, NOW));
    }
    if let Ok(rule) = rule {
        assert_eq!(rule.evaluate(event.root(), NOW), rule.evaluate(event.root(), NOW));
    }
});
