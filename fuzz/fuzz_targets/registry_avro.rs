#![no_main]
//! No text makes the reader of Avro schemas panic, overflow its stack or take long; what it takes has a canonical form that
//! it takes again, and follows itself.

use libfuzzer_sys::fuzz_target;
use tradelane_model::registry::SchemaKind::Avro;
use tradelane_registry::{Schema, canonical, compare};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(schema) = Schema::parse(Avro, text, &[]) else { return };
    let mut steps = 20_000;
    if let Ok(changes) = compare(&schema, &schema, &mut steps) {
        assert!(changes.is_empty(), "it does not follow itself: {changes:?}");
    }
    for normalize in [false, true] {
        let Ok(first) = canonical(Avro, text, &[], normalize) else { continue };
        assert_eq!(canonical(Avro, &first, &[], normalize).as_ref(), Ok(&first));
        let again = Schema::parse(Avro, &first, &[]).expect("its canonical form");
        if let Ok(changes) = compare(&schema, &again, &mut steps) {
            assert!(changes.iter().all(|change| change.is_compatible), "{changes:?}");
        }
    }
});
