//! Query parameters, one `name=value` per line, then an empty line and an event: parsing and matching end, and a refusal
//! does not cite a value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tradelane_epcis::{Context, Query};
use tradelane_model::Timestamp;
use tradelane_tape::{Limits, Tape};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (parameters, event) = text.split_once("\n\n").unwrap_or((text, "{}"));
    let mut tape = Tape::new();
    if let Ok(doc) = tape.parse(parameters.as_bytes(), &Limits::EVENT) {
        let _ = Query::from_json(doc.root());
    }
    let pairs: Vec<(&str, &str)> = parameters.lines().filter_map(|line| line.split_once('=')).collect();
    let parsed = Query::from_pairs(pairs.iter().copied(), &Context::default());
    let query = match parsed {
        Ok(query) => query,
        Err(error) => {
            assert!(error.parameter.chars().count() <= 80);
            assert!(!error.to_string().chars().any(char::is_control));
            return;
        }
    };
    if let Ok(doc) = tape.parse(event.as_bytes(), &Limits::EVENT) {
        let once = query.matches(doc.root(), Timestamp(0));
        assert_eq!(once, query.matches(doc.root(), Timestamp(0)));
        let _ = query.order_key(doc.root(), &Context::default(), Timestamp(0));
    }
});
