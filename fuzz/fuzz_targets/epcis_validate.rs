//! Any text as EPCIS: validating, hashing and taking apart end; a report is bounded, and its places are pointers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tradelane_epcis::validate::{MOST_VIOLATIONS, validate};
use tradelane_epcis::{document, hash, hash_lines, validate_event, validate_lines};
use tradelane_tape::{Limits, Tape};

fuzz_target!(|json: &[u8]| {
    let lines = validate_lines("f", json);
    assert!(!lines.is_empty());
    let hashes = hash_lines("f", json);
    let mut tape = Tape::new();
    let Ok(doc) = tape.parse(json, &Limits::EVENT) else { return };
    let report = validate(doc);
    assert!(report.violations.len() <= MOST_VIOLATIONS);
    assert!(report.violations.iter().all(|found| found.place.is_empty() || found.place.starts_with('/')));
    let events = document::events(doc);
    assert_eq!(hashes.len(), events.len());
    let mut other = Tape::new();
    for event in events.iter().take(20) {
        let _ = validate_event(event.node, &event.context);
        let Some(surrounding) = event.surrounding else { continue };
        // What stands alone still parses, and is the same event.
        let alone = document::with_context(event.node, surrounding);
        if let Ok(single) = other.parse(&alone, &Limits::DOCUMENT)
            && report.is_valid()
        {
            let together = hash::event_hash(event.node, &event.context, &[]);
            assert_eq!(hash::event_hash(single.root(), &Default::default(), &[]), together);
        }
    }
});
