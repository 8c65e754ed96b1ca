#![no_main]
//! No text makes the reader of Protobuf schemas panic, overflow its stack or take long; what it takes has a canonical form that
//! it takes again, and follows itself. A file that imports another, behind a line `---`, becomes one file or is refused.

use libfuzzer_sys::fuzz_target;
use tradelane_model::registry::SchemaKind::Protobuf;
use tradelane_registry::{Reference, Schema, canonical, compare, in_one_file};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((text, other)) = text.split_once("\n---\n") {
        let other = Reference { name: "o.proto".to_owned(), text: other.to_owned() };
        let _ = in_one_file(text, &[other]);
        return;
    }
    let Ok(schema) = Schema::parse(Protobuf, text, &[]) else { return };
    let mut steps = 20_000;
    if let Ok(changes) = compare(&schema, &schema, &mut steps) {
        assert!(changes.is_empty(), "it does not follow itself: {changes:?}");
    }
    for normalize in [false, true] {
        let Ok(first) = canonical(Protobuf, text, &[], normalize) else { continue };
        assert_eq!(canonical(Protobuf, &first, &[], normalize).as_ref(), Ok(&first));
        let again = Schema::parse(Protobuf, &first, &[]).expect("its canonical form");
        if let Ok(changes) = compare(&schema, &again, &mut steps) {
            assert!(changes.iter().all(|change| change.is_compatible), "{changes:?}");
        }
    }
});
